//! Iterators over the messages of an answer, as they arrive.

use std::sync::Arc;

use pyo3::prelude::*;
use tokio::sync::Mutex;

use crate::{
    arrow::PyArrowTable,
    call::{Mode, call},
    exit::Receiver,
};

macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident over $source:ty, $convert:expr) => {
        $(#[$doc])*
        #[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
        pub(crate) struct $name {
            /// None once closed.
            source: Arc<Mutex<Option<$source>>>,
            mode: Mode,
        }

        impl $name {
            pub(crate) fn new(source: $source, mode: Mode) -> Self {
                Self {
                    source: Arc::new(Mutex::new(Some(source))),
                    mode,
                }
            }
        }

        #[pymethods]
        impl $name {
            /// The next item, or None at the end.
            fn next<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                let source = Arc::clone(&slf.source);
                call(&slf.guard, py, slf.mode, async move {
                    let mut source = source.lock().await;
                    let next = match source.as_mut() {
                        Some(open) => open.next().await?,
                        None => None,
                    };
                    if next.is_none() {
                        *source = None;
                    }
                    Ok(next.map($convert))
                })
            }

            /// Cancels the call unless it has ended.
            fn close(slf: Receiver<'_, Self>) {
                // A task that awaits the next item holds the lock. The call then ends when that
                // task is cancelled.
                if let Ok(mut source) = slf.source.try_lock() {
                    *source = None;
                }
            }
        }
    };
}

iterator! {
    /// Rows: a table for each message of the server.
    TableIterator over pingthings_client::TableStream, PyArrowTable
}

iterator! {
    /// Changed time ranges: a list for each message of the server.
    ChangeIterator over pingthings_client::Changes, std::convert::identity
}
