//! The extension module `pyo3_client`: the client core and the embedded server, for Python.
//!
//! It converts arguments, passes a future to [`call`](call::call), and converts the result. The
//! rules for time series are in the crates it uses.

#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 extracts by value, and a receiver lives as long as the call"
)]

mod arguments;
mod arrow;
mod call;
mod client;
mod error;
mod exit;
mod insert_steps;
mod iterators;
mod log;
mod management;
mod metadata;
mod read;
mod runtime;
mod server;
mod write;

/// The Rust core of `pingthings`.
#[pyo3::pymodule]
mod pyo3_client {
    use pyo3::{prelude::*, types::PyDict};

    use crate::runtime;
    #[pymodule_export]
    use crate::{
        client::{Client, connect, route, status_codes},
        insert_steps::InsertSteps,
        iterators::{ChangeIterator, TableIterator},
        metadata::StreamInfo,
        server::{Server, compact, log_to_stderr},
    };

    /// Registers the handlers for exit and fork. Threads of the runtime do not exist in the child
    /// of a fork, and none of them may be attached to Python while the interpreter finalizes.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        let at_exit = wrap_pyfunction!(runtime::stop, module)?;
        py.import("atexit")?.call_method1("register", (at_exit,))?;
        let os = py.import("os")?;
        if os.hasattr("register_at_fork")? {
            let hooks = PyDict::new(py);
            hooks.set_item("after_in_child", wrap_pyfunction!(runtime::forked, module)?)?;
            os.call_method("register_at_fork", (), Some(&hooks))?;
        }
        Ok(())
    }
}
