//! The tokio runtime, and the completer: the one thread that passes results to Python.
//!
//! Only this file may create a runtime, and of the core's threads only the completer may attach to
//! Python. It attaches once per batch of results and wakes each event loop once per batch. It ends
//! before the interpreter does.
//!
//! The child of a fork has none of the parent's threads. It leaks what is here, because dropping it
//! would wait for these threads, and creates it again at its next call.

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
    exit::{self, Receiver, is_exiting},
    log,
};

/// The maximum number of results per batch. Between batches other Python threads get the GIL.
const MAX_BATCH: usize = 256;

/// How long the exit of the interpreter waits for the completer's current batch, and again for
/// threads that are inside this module.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

static CURRENT: LazyLock<ArcSwapOption<Bridge>> = LazyLock::new(ArcSwapOption::empty);

/// The runtime and its completer.
pub(crate) struct Bridge {
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    handle: Handle,
    jobs: mpsc::Sender<Job>,
    /// Disconnected once the completer has ended.
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
                format!("cannot start the threads of the client: {error}"),
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

    /// Queues a job that needs the GIL for the completer.
    fn run(&self, job: impl FnOnce(Python<'_>) + Send + 'static) {
        // The completer has ended only if the process is exiting. Nobody needs the job then.
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
    reason = "this is the file that creates runtimes"
)]
fn multi_thread(name: &str) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        .build()
}

/// The runtime of an embedded server. It is separate, so that server and client do not starve each
/// other.
pub(crate) fn for_server() -> std::io::Result<tokio::runtime::Runtime> {
    multi_thread("pingthings-server")
}

/// Queues a job that needs the GIL for the completer. Without a completer the job is dropped.
pub(crate) fn with_gil_later(job: impl FnOnce(Python<'_>) + Send + 'static) {
    if let Some(bridge) = CURRENT.load_full() {
        bridge.run(job);
    }
}

/// The bridge of this process, started on first use.
pub(crate) fn current() -> Result<Arc<Bridge>, Error> {
    if is_exiting() {
        return Err(Error::new(
            ErrorKind::Closed,
            "the interpreter is exiting: no call can be made",
        ));
    }
    if let Some(bridge) = CURRENT.load_full() {
        return Ok(bridge);
    }
    let new = Arc::new(Bridge::start()?);
    let previous = CURRENT.compare_and_swap(&None::<Arc<Bridge>>, Some(Arc::clone(&new)));
    match &*previous {
        // Another thread has started a bridge meanwhile.
        Some(first) => {
            new.stop_completer();
            if let Some(tokio) = new.tokio.lock().take() {
                tokio.shutdown_background();
            }
            Ok(Arc::clone(first))
        }
        None => Ok(new),
    }
}

/// The handler in the child of a fork.
#[pyfunction]
pub(crate) fn forked() {
    std::mem::forget(CURRENT.swap(None));
    exit::forked();
    pingthings_client::after_fork_in_child();
}

/// The handler at the exit of the interpreter. Afterwards no thread of the core runs Python code.
///
/// The runtime itself runs until the process ends, because daemon threads may wait in it. If it
/// were shut down, they would panic.
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

/// Memory that belongs to Python. The completer releases it, because freeing it may need the GIL.
pub(crate) struct PythonMemory<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> PythonMemory<T> {
    pub(crate) const fn new(memory: T) -> Self {
        Self(Some(memory))
    }
}

impl<T: Send + 'static> Drop for PythonMemory<T> {
    fn drop(&mut self) {
        let Some(memory) = self.0.take() else { return };
        match CURRENT.load_full() {
            // Without a completer the process is exiting or is the child of a fork: leak it.
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
        // This fails once the interpreter is finalizing. Nobody needs the rest of the queue then.
        let more = Python::try_attach(|py| {
            let mut next = Some(first);
            for _ in 0..MAX_BATCH {
                if is_exiting() {
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
            // This job was taken from the queue when the batch was full.
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
        let wake_result = Py::new(
            py,
            Completions {
                callbacks: Mutex::new(callbacks),
            },
        )
        .and_then(|run| event_loop.call_method1(pyo3::intern!(py, "call_soon_threadsafe"), (run,)));
        if let Err(error) = wake_result {
            // Results for a closed loop are dropped: nothing can await them any more.
            let closed = event_loop
                .call_method0(pyo3::intern!(py, "is_closed"))
                .and_then(|closed| closed.extract::<bool>());
            if !closed.unwrap_or(false) {
                error.write_unraisable(py, Some(&event_loop));
            }
        }
    }
}

/// A callback that runs on the event loop and sets the results of one batch.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
struct Completions {
    callbacks: Mutex<Vec<Py<PyTuple>>>,
}

#[pymethods]
impl Completions {
    fn __call__(slf: Receiver<'_, Self>, py: Python<'_>) -> PyResult<()> {
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

/// A proxy of an event loop for `pyo3-async-runtimes`. It collects the callbacks of a batch instead
/// of waking the loop for each.
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

    /// Called only by the completer.
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

// --- the traits of pyo3-async-runtimes ----------------------------------------------------------

/// The implementation of the traits of `pyo3-async-runtimes`.
pub(crate) struct Tokio;

/// The handle of a spawned future or job, which continues when the handle is dropped.
pub(crate) enum TaskHandle {
    /// A task of tokio, or none if the process is exiting.
    Task(Option<JoinHandle<()>>),
    /// A future that the spawning task polls itself when it awaits this handle, so that a call
    /// needs only one task.
    Inline(Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, ()>>>>),
    /// A job of the completer.
    Job(oneshot::Receiver<()>),
}

/// Why a task has no result: the payload of its panic, or nothing if it was cancelled.
pub(crate) struct TaskError(Option<Box<dyn Any + Send>>);

impl generic::JoinError for TaskError {
    fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.0.unwrap_or_else(|| Box::new("the task was cancelled"))
    }
}

impl Future for TaskHandle {
    type Output = Result<(), TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Task(Some(task)) => Pin::new(task)
                .poll(cx)
                .map_err(|error| TaskError(error.try_into_panic().ok())),
            Self::Inline(slot) => {
                let Some(future) = slot else {
                    return Poll::Ready(Ok(()));
                };
                let done = ready!(Pin::new(future).poll(cx));
                // A finished future must not be spawned when this handle is dropped.
                *slot = None;
                Poll::Ready(done.map_err(|panic| TaskError(Some(panic))))
            }
            Self::Job(done) => Pin::new(done).poll(cx).map_err(|_| TaskError(None)),
            Self::Task(None) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if let Self::Inline(future) = self
            && let Some(future) = future.take()
            && let Some(bridge) = CURRENT.load_full()
        {
            drop(bridge.handle.spawn(future.map(drop)));
        }
    }
}

impl generic::Runtime for Tokio {
    type JoinError = TaskError;
    type JoinHandle = TaskHandle;

    fn spawn<F>(future: F) -> TaskHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if tokio::task::try_id().is_some() {
            return TaskHandle::Inline(Some(AssertUnwindSafe(future.boxed()).catch_unwind()));
        }
        // This fails only if the process is exiting. Nobody waits for the result then.
        TaskHandle::Task(current().ok().map(|bridge| bridge.handle.spawn(future)))
    }

    fn spawn_blocking<F>(job: F) -> TaskHandle
    where
        F: FnOnce() + Send + 'static,
    {
        let (sender, done) = oneshot::channel();
        with_gil_later(move |_| {
            job();
            // Nobody waits for most jobs.
            let _ = sender.send(());
        });
        TaskHandle::Job(done)
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
