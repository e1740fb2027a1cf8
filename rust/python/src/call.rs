//! The one function through which Python calls the core: [`call`], asynchronous or blocking.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::FutureExt;
use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind};
use pyo3::{IntoPyObjectExt, exceptions::PyStopIteration, prelude::*};
use pyo3_async_runtimes::generic::future_into_py_with_locals;

use crate::{
    error::to_exception,
    exit::{self, EntryGuard, Receiver},
    runtime::{self, LoopProxy, Tokio},
};

/// How often a blocking call checks for Ctrl-C.
const SIGNAL_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How the calls of a client return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Calls return asyncio futures.
    Async,
    /// Calls wait for their result and return an awaitable that is already finished.
    Blocking,
}

/// Runs `future` on the runtime and returns an awaitable of its output.
pub(crate) fn call<'py, T, F>(
    guard: &EntryGuard,
    py: Python<'py>,
    mode: Mode,
    future: F,
) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    // A panic is a bug in this client. The caller still gets one of the documented exceptions.
    let future = AssertUnwindSafe(future).catch_unwind().map(|caught| {
        caught.unwrap_or_else(|panic| Err(Error::new(ErrorKind::Server, panic_message(&*panic))))
    });
    // The interpreter may have begun to exit while the arguments were extracted.
    guard.check_exit(py);
    match mode {
        Mode::Async => {
            runtime::current().map_err(|error| to_exception(py, &error))?;
            let running = pyo3_async_runtimes::get_running_loop(py)?;
            let locals = LoopProxy::locals(running)?;
            // The future is large, and the code below moves it several times.
            let future = Box::pin(future);
            let outcome = async move { Ok(Outcome(future.await)) };
            future_into_py_with_locals::<Tokio, _, _>(py, locals, outcome)
        }
        Mode::Blocking => {
            let value = Outcome(block(guard, py, future)?).into_py_any(py)?;
            Ready(Mutex::new(Some(value))).into_bound_py_any(py)
        }
    }
}

/// Runs the future on this thread without the GIL, and checks for signals meanwhile.
fn block<T: Send>(
    guard: &EntryGuard,
    py: Python<'_>,
    future: impl Future<Output = Result<T, Error>> + Send,
) -> PyResult<Result<T, Error>> {
    let bridge = runtime::current().map_err(|error| to_exception(py, &error))?;
    guard.without_gil(py, || {
        bridge.handle().block_on(async {
            let mut future = pin!(future);
            loop {
                if let Ok(output) = tokio::time::timeout(SIGNAL_CHECK_INTERVAL, &mut future).await {
                    return Ok(output);
                }
                exit::with_gil(check_signals)?;
            }
        })
    })
}

fn check_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("internal error of the client, please report it: {text}")
}

/// A result whose error is converted to an exception together with the value, under the GIL.
pub(crate) struct Outcome<T>(pub(crate) Result<T, Error>);

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Outcome<T> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.0 {
            Ok(value) => value.into_bound_py_any(py),
            Err(error) => Err(to_exception(py, &error)),
        }
    }
}

/// A finished awaitable: `await` returns its value at once, without an event loop.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
struct Ready(Mutex<Option<Py<PyAny>>>);

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Receiver<'_, Self>, py: Python<'_>) -> PyResult<()> {
        let value = slf.0.lock().take().unwrap_or_else(|| py.None());
        Err(PyStopIteration::new_err((value,)))
    }
}
