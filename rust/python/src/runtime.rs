//! The tokio runtime and the one thread that hands results to Python.
//!
//! Only this file may make a runtime, and only its completer thread may attach to Python. It
//! attaches once per batch of results, wakes each event loop once per batch, and is gone before
//! the interpreter is. After a fork everything here is left to the parent (its threads do not
//! exist in the child, so nothing of it may be dropped) and made anew at the next call.

use std::{
    any::Any,
    cell::RefCell,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, LazyLock, mpsc},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::{
    FutureExt,
    future::{BoxFuture, CatchUnwind},
};
use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind};
use pyo3::{prelude::*, types::PyTuple};
use pyo3_async_runtimes::{TaskLocals, generic};
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};

use crate::{
    exit::{self, Entered, is_stopped},
    log,
};

/// Results handed over in one go, so that Python code gets its turn in between.
const BATCH: usize = 256;

/// How long the end of the interpreter may wait for the completer's current batch, and for threads
/// that are inside.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

static CURRENT: LazyLock<ArcSwapOption<Bridge>> = LazyLock::new(ArcSwapOption::empty);

/// A runtime with its completer.
pub(crate) struct Bridge {
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    handle: Handle,
    jobs: mpsc::Sender<Job>,
    /// Hangs up when the completer has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

enum Job {
    Run(Box<dyn FnOnce(Python<'_>) + Send>),
    Stop,
}

impl Bridge {
    fn start() -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            Error::new(
                ErrorKind::Server,
                format!("the client's threads cannot be started: {error}"),
            )
        };
        log::install(|job| with_gil_later(job));
        let tokio = multi_thread("pingthings").map_err(failed)?;
        let (jobs, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        thread::Builder::new()
            .name("pingthings-completer".to_owned())
            .spawn(move || {
                complete(&queue);
                drop::<mpsc::Sender<()>>(alive);
            })
            .map_err(failed)?;
        Ok(Self {
            handle: tokio.handle().clone(),
            tokio: Mutex::new(Some(tokio)),
            jobs,
            ended: Mutex::new(ended),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has the completer do something that needs the GIL.
    fn run(&self, job: impl FnOnce(Python<'_>) + Send + 'static) {
        // Without a completer the process is ending, and nobody is left who could be told.
        let _ = self.jobs.send(Job::Run(Box::new(job)));
    }

    /// Ends the completer after its current batch.
    fn stop_completer(&self) {
        let _ = self.jobs.send(Job::Stop);
        let _ = self.ended.lock().recv_timeout(STOP_TIMEOUT);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the file that makes runtimes"
)]
fn multi_thread(name: &str) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        .build()
}

/// A runtime of its own for an embedded server, so that neither can starve the other.
pub(crate) fn for_server() -> std::io::Result<tokio::runtime::Runtime> {
    multi_thread("pingthings-server")
}

/// Has the completer do something that needs the GIL, if there is one.
pub(crate) fn with_gil_later(job: impl FnOnce(Python<'_>) + Send + 'static) {
    if let Some(bridge) = CURRENT.load_full() {
        bridge.run(job);
    }
}

/// The bridge of this process, started on first use.
pub(crate) fn current() -> Result<Arc<Bridge>, Error> {
    if is_stopped() {
        return Err(Error::new(
            ErrorKind::Closed,
            "the interpreter is exiting: no call can be made",
        ));
    }
    if let Some(bridge) = CURRENT.load_full() {
        return Ok(bridge);
    }
    let fresh = Arc::new(Bridge::start()?);
    let before = CURRENT.compare_and_swap(&None::<Arc<Bridge>>, Some(Arc::clone(&fresh)));
    match &*before {
        // Another thread was quicker.
        Some(first) => {
            fresh.stop_completer();
            if let Some(tokio) = fresh.tokio.lock().take() {
                tokio.shutdown_background();
            }
            Ok(Arc::clone(first))
        }
        None => Ok(fresh),
    }
}

/// Called in the child of a fork.
#[pyfunction]
pub(crate) fn forked() {
    std::mem::forget(CURRENT.swap(None));
    exit::forked();
    pingthings_client::after_fork_in_child();
}

/// Called when the interpreter exits: afterwards no thread of ours is inside Python.
///
/// The runtime itself goes on until the process ends: daemon threads may wait in it, and a runtime
/// that is shut down would panic under them.
#[pyfunction]
pub(crate) fn stop(py: Python<'_>) {
    exit::begin();
    let bridge = CURRENT.swap(None);
    py.detach(|| {
        if let Some(bridge) = &bridge {
            bridge.stop_completer();
        }
        exit::wait_for_others(STOP_TIMEOUT);
    });
    std::mem::forget(bridge);
}

/// Memory that came from Python: given back by the completer, since its owner may need the GIL.
pub(crate) struct Foreign<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Foreign<T> {
    pub(crate) const fn new(memory: T) -> Self {
        Self(Some(memory))
    }
}

impl<T: Send + 'static> Drop for Foreign<T> {
    fn drop(&mut self) {
        let Some(memory) = self.0.take() else { return };
        match CURRENT.load_full() {
            // Without a completer the process is ending, or is the child of a fork: leak it.
            None => std::mem::forget(memory),
            Some(bridge) => {
                if let Err(mpsc::SendError(Job::Run(job))) =
                    bridge.jobs.send(Job::Run(Box::new(move |_| drop(memory))))
                {
                    std::mem::forget(job);
                }
            }
        }
    }
}

// --- the completer ------------------------------------------------------------------------------

thread_local! {
    /// Callbacks of the current batch, with the event loop each belongs to.
    static WAKE_UPS: RefCell<Vec<(Py<PyAny>, Py<PyTuple>)>> = const { RefCell::new(Vec::new()) };
}

fn complete(queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        // The interpreter refuses once it is ending; the rest of the queue is of no use then.
        let more = Python::try_attach(|py| {
            let mut next = Some(first);
            for _ in 0..BATCH {
                if is_stopped() {
                    return false;
                }
                match next {
                    Some(Job::Run(job)) => job(py),
                    Some(Job::Stop) => return false,
                    None => break,
                }
                next = queue.try_recv().ok();
            }
            wake(py, WAKE_UPS.take());
            // One taken from the queue when the batch was full.
            if let Some(job) = next {
                match job {
                    Job::Run(job) => job(py),
                    Job::Stop => return false,
                }
                wake(py, WAKE_UPS.take());
            }
            true
        });
        if more != Some(true) {
            break;
        }
    }
}

/// Wakes each event loop once, with all of its callbacks.
fn wake(py: Python<'_>, wake_ups: Vec<(Py<PyAny>, Py<PyTuple>)>) {
    let mut loops: Vec<(Py<PyAny>, Vec<Py<PyTuple>>)> = Vec::new();
    for (event_loop, callback) in wake_ups {
        match loops.iter_mut().find(|(known, _)| known.is(&event_loop)) {
            Some((_, callbacks)) => callbacks.push(callback),
            None => loops.push((event_loop, vec![callback])),
        }
    }
    for (event_loop, callbacks) in loops {
        let event_loop = event_loop.into_bound(py);
        let woken = Py::new(
            py,
            Completions {
                callbacks: Mutex::new(callbacks),
            },
        )
        .and_then(|run| event_loop.call_method1(pyo3::intern!(py, "call_soon_threadsafe"), (run,)));
        if let Err(error) = woken {
            // Nobody waits on a loop that was closed, so its results have no one to go to.
            let closed = event_loop
                .call_method0(pyo3::intern!(py, "is_closed"))
                .and_then(|closed| closed.extract::<bool>());
            if !closed.unwrap_or(false) {
                error.write_unraisable(py, Some(&event_loop));
            }
        }
    }
}

/// Runs on the event loop: sets the results of one batch.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
struct Completions {
    callbacks: Mutex<Vec<Py<PyTuple>>>,
}

#[pymethods]
impl Completions {
    fn __call__(slf: Entered<'_, Self>, py: Python<'_>) -> PyResult<()> {
        let callbacks = std::mem::take(&mut *slf.callbacks.lock());
        for callback in callbacks {
            let callback = callback.bind(py);
            let (function, arguments) =
                (callback.get_item(0)?, callback.get_slice(1, callback.len()));
            function.call1(arguments)?;
        }
        Ok(())
    }
}

/// Stands for an event loop towards the bridge library: collects what it is asked to call soon.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct LoopProxy(Py<PyAny>);

impl LoopProxy {
    pub(crate) fn locals(running: Bound<'_, PyAny>) -> PyResult<TaskLocals> {
        let py = running.py();
        Ok(TaskLocals::new(
            Bound::new(py, Self(running.unbind()))?.into_any(),
        ))
    }
}

#[pymethods]
impl LoopProxy {
    fn create_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0
            .bind(py)
            .call_method0(pyo3::intern!(py, "create_future"))
    }

    /// Only the completer calls slf.
    #[pyo3(signature = (*callback, context=None))]
    fn call_soon_threadsafe(
        &self,
        py: Python<'_>,
        callback: Py<PyTuple>,
        context: Option<Py<PyAny>>,
    ) {
        drop(context);
        WAKE_UPS.with_borrow_mut(|wake_ups| wake_ups.push((self.0.clone_ref(py), callback)));
    }
}

// --- what pyo3-async-runtimes asks of a runtime -------------------------------------------------

/// Our runtime, as the bridge library sees it.
pub(crate) struct Tokio;

/// What was spawned. It goes on when this is dropped, as a task does.
pub(crate) enum Spawned {
    /// A task of its own; none where the process is ending.
    Task(Option<JoinHandle<()>>),
    /// Part of the task that spawned it, which runs it by waiting for it: one task is enough for a
    /// call.
    Here(Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, ()>>>>),
    /// A job of the completer.
    Job(oneshot::Receiver<()>),
}

/// What a future panicked with, if it has not just been given up.
pub(crate) struct Failed(Option<Box<dyn Any + Send>>);

impl generic::JoinError for Failed {
    fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.0.unwrap_or_else(|| Box::new("it was given up"))
    }
}

impl Future for Spawned {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Task(Some(task)) => Pin::new(task)
                .poll(cx)
                .map_err(|error| Failed(error.try_into_panic().ok())),
            Self::Here(here) => {
                let Some(future) = here else {
                    return Poll::Ready(Ok(()));
                };
                let done = ready!(Pin::new(future).poll(cx));
                // What has ended must not go on when this is dropped.
                *here = None;
                Poll::Ready(done.map_err(|panic| Failed(Some(panic))))
            }
            Self::Job(done) => Pin::new(done).poll(cx).map_err(|_| Failed(None)),
            Self::Task(None) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Self::Here(future) = self
            && let Some(future) = future.take()
            && let Some(bridge) = CURRENT.load_full()
        {
            drop(bridge.handle.spawn(future.map(drop)));
        }
    }
}

impl generic::Runtime for Tokio {
    type JoinError = Failed;
    type JoinHandle = Spawned;

    fn spawn<F>(future: F) -> Spawned
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if tokio::task::try_id().is_some() {
            return Spawned::Here(Some(AssertUnwindSafe(future.boxed()).catch_unwind()));
        }
        // Without a runtime the process is ending, and nobody is left who waits.
        Spawned::Task(current().ok().map(|bridge| bridge.handle.spawn(future)))
    }

    fn spawn_blocking<F>(job: F) -> Spawned
    where
        F: FnOnce() + Send + 'static,
    {
        let (tell, done) = oneshot::channel();
        with_gil_later(move |_| {
            job();
            // Nobody waits for most jobs.
            let _ = tell.send(());
        });
        Spawned::Job(done)
    }
}

impl generic::ContextExt for Tokio {
    fn scope<F, R>(_locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(future)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}
