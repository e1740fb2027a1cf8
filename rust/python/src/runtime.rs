//! The tokio runtime and the one thread that hands results to Python.
//!
//! Only this file may make a runtime, and only its completer thread may attach to Python. It
//! attaches once per batch of results, wakes each event loop once per batch, and is gone before
//! the interpreter is. After a fork everything here is left to the parent (its threads do not
//! exist in the child, so nothing of it may be dropped) and made anew at the next call.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, LazyLock, mpsc},
    task::{Context, Poll},
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
use tokio::runtime::Handle;

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
    pingthings_client::forked();
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

thread_local! {
    /// Whether the next future to spawn on this thread is a call, which nobody waits for.
    static IS_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Has `start` hand the bridge library a call, for which it spawns a future that spawns another.
pub(crate) fn starting<T>(start: impl FnOnce() -> T) -> T {
    // Meanwhile Python may run anything, another call among it.
    let before = IS_CALL.replace(true);
    let started = start();
    IS_CALL.set(before);
    started
}

/// What was to be spawned.
pub(crate) enum Spawned {
    /// A task of its own.
    Task,
    /// Part of the task that waits for it: one task is enough for a call.
    Here(CatchUnwind<AssertUnwindSafe<BoxFuture<'static, ()>>>),
    /// A job of the completer, which nobody waits for.
    Job,
}

/// What a future panicked with.
pub(crate) struct Failed(Box<dyn Any + Send>);

impl generic::JoinError for Failed {
    fn is_panic(&self) -> bool {
        true
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.0
    }
}

impl Future for Spawned {
    type Output = Result<(), Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Here(future) => Pin::new(future).poll(cx).map_err(Failed),
            Self::Task | Self::Job => Poll::Ready(Ok(())),
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
        if !IS_CALL.replace(false) {
            return Spawned::Here(AssertUnwindSafe(future.boxed()).catch_unwind());
        }
        // Without a runtime the process is ending, and nobody is left who waits.
        if let Ok(bridge) = current() {
            drop(bridge.handle.spawn(future));
        }
        Spawned::Task
    }

    fn spawn_blocking<F>(job: F) -> Spawned
    where
        F: FnOnce() + Send + 'static,
    {
        with_gil_later(|_| job());
        Spawned::Job
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
