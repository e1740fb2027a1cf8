//! Inserts that report their progress in steps.

use std::{future::Future, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind, Insert, InsertProgress, MemoryBorrow};
use pingthings_types::{MergePolicy, Version};
use pyo3::{IntoPyObjectExt, prelude::*};

use crate::{
    call::{Mode, call},
    exit::Receiver,
};

type Versions = Vec<Version>;
type InsertFuture = Pin<Box<dyn Future<Output = Result<Versions, Error>> + Send>>;

/// Inserts into one or more streams. Awaiting the next step drives them.
///
/// Rust never calls Python to report progress. The caller awaits each step instead, and may do
/// other work between steps.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct InsertSteps {
    /// None once the insert has ended, and while a step is awaited. Cancelling that step therefore
    /// drops the future, which ends the insert.
    work: Arc<Mutex<Option<InsertFuture>>>,
    progress: Arc<InsertProgress>,
    borrow: Arc<MemoryBorrow>,
    mode: Mode,
}

impl InsertSteps {
    pub(crate) fn new(
        core: pingthings_client::Client,
        mode: Mode,
        inserts: Vec<Insert>,
        policy: MergePolicy,
        borrow: Arc<MemoryBorrow>,
    ) -> Self {
        let progress = Arc::new(InsertProgress::default());
        let inserts: Vec<_> = inserts
            .into_iter()
            .map(|insert| insert.with_progress(Arc::clone(&progress)))
            .collect();
        let work = async move {
            let work = move |core: pingthings_client::Client, insert| async move {
                core.insert(insert, policy).await
            };
            core.for_each(inserts, work).await
        };
        Self {
            work: Arc::new(Mutex::new(Some(Box::pin(work)))),
            progress,
            borrow,
            mode,
        }
    }

    fn take(work: &Mutex<Option<InsertFuture>>) -> Result<InsertFuture, Error> {
        let taken = work.lock().take();
        taken.ok_or_else(|| Error::new(ErrorKind::Closed, "the insert has ended"))
    }
}

#[pymethods]
impl InsertSteps {
    /// Waits until more points are durable and returns how many are. At the end it returns the
    /// version of each stream.
    fn next<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (slot, progress) = (Arc::clone(&slf.work), Arc::clone(&slf.progress));
        call(&slf.guard, py, slf.mode, async move {
            let mut work = Self::take(&slot)?;
            tokio::select! {
                biased;
                versions = &mut work => Ok(Step::Done(versions?)),
                points = progress.more() => {
                    *slot.lock() = Some(work);
                    Ok(Step::Points(points))
                }
            }
        })
    }

    /// Sends no further requests, waits for the answers to those in flight, and returns how many
    /// points are durable.
    fn stop<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (slot, progress) = (Arc::clone(&slf.work), Arc::clone(&slf.progress));
        progress.stop();
        call(&slf.guard, py, slf.mode, async move {
            if let Ok(work) = Self::take(&slot) {
                // The caller stops the insert because of another error, which it will raise.
                let _ = work.await;
            }
            Ok(progress.points())
        })
    }

    /// Cancels the insert unless it has ended.
    fn close(&self) {
        self.borrow.end();
        *self.work.lock() = None;
    }
}

/// The result of one step.
enum Step {
    /// The number of points that are durable.
    Points(usize),
    /// The insert has ended.
    Done(Versions),
}

impl<'py> IntoPyObject<'py> for Step {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Points(points) => Ok(points.into_pyobject(py)?.into_any()),
            Self::Done(versions) => {
                let majors = versions.into_iter().map(|version| version.major);
                majors.collect::<Vec<_>>().into_bound_py_any(py)
            }
        }
    }
}
