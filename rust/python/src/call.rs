//! The only way from Python into the core: one function, two faces.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::FutureExt;
use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind};
use pyo3::{IntoPyObjectExt, exceptions::PyStopIteration, prelude::*};
use pyo3_async_runtimes::generic::future_into_py_with_locals;

use crate::{
    error::to_exception,
    exit::{self, Entered, Inside},
    runtime::{self, LoopProxy, Tokio},
};

/// How often a blocking call looks for Ctrl-C.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// Which face a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Calls return asyncio futures.
    Async,
    /// Calls run to their end and return an awaitable that is finished.
    Blocking,
}

/// Runs `future` on the runtime and returns an awaitable of its output.
pub(crate) fn call<'py, T, F>(
    inside: &Inside,
    py: Python<'py>,
    mode: Mode,
    future: F,
) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    // A panic is a bug of ours, but the caller gets an error of the documented tree all the same.
    let future = AssertUnwindSafe(future).catch_unwind().map(|caught| {
        caught.unwrap_or_else(|panic| Err(Error::new(ErrorKind::Server, panic_message(&*panic))))
    });
    // Extracting the arguments may have taken until then.
    inside.stay(py);
    match mode {
        Mode::Async => {
            runtime::current().map_err(|error| to_exception(py, &error))?;
            let running = pyo3_async_runtimes::get_running_loop(py)?;
            let locals = LoopProxy::locals(running)?;
            // Moved from hand to hand below, and large.
            let future = Box::pin(future);
            let outcome = async move { Ok(Outcome(future.await)) };
            future_into_py_with_locals::<Tokio, _, _>(py, locals, outcome)
        }
        Mode::Blocking => {
            let value = Outcome(block(inside, py, future)?).into_py_any(py)?;
            Ready(Mutex::new(Some(value))).into_bound_py_any(py)
        }
    }
}

/// Waits with the GIL released, checking for signals.
fn block<T: Send>(
    inside: &Inside,
    py: Python<'_>,
    future: impl Future<Output = Result<T, Error>> + Send,
) -> PyResult<Result<T, Error>> {
    let bridge = runtime::current().map_err(|error| to_exception(py, &error))?;
    inside.away(py, || {
        bridge.handle().block_on(async {
            let mut future = pin!(future);
            loop {
                if let Ok(output) = tokio::time::timeout(SIGNAL_CHECK, &mut future).await {
                    return Ok(output);
                }
                exit::attached(check_signals)?;
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
    format!("the client failed in a way it should not; please report this: {text}")
}

/// A result whose error becomes an exception where the GIL is held anyway.
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

/// An awaitable that is finished: awaiting it returns at once, without an event loop.
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

    fn __next__(slf: Entered<'_, Self>, py: Python<'_>) -> PyResult<()> {
        let value = slf.0.lock().take().unwrap_or_else(|| py.None());
        Err(PyStopIteration::new_err((value,)))
    }
}
