//! Inserts that are told of on the way.

use std::{future::Future, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind, Insert, InsertProgress, MemoryBorrow};
use pingthings_types::{MergePolicy, Version};
use pyo3::{IntoPyObjectExt, prelude::*};

use crate::{
    call::{Mode, call},
    exit::Entered,
};

type Versions = Vec<Version>;
type Work = Pin<Box<dyn Future<Output = Result<Versions, Error>> + Send>>;

/// Inserts into one or more streams, which go on while somebody waits for the next step.
///
/// Whoever wants to be told is never called from here: they come for each step, and may take their
/// time.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct Inserting {
    /// None once it has ended, or while somebody waits: who ceases to wait ends it.
    work: Arc<Mutex<Option<Work>>>,
    progress: Arc<InsertProgress>,
    borrow: Arc<MemoryBorrow>,
    mode: Mode,
}

impl Inserting {
    pub(crate) fn new(
        core: pingthings_client::Client,
        mode: Mode,
        inserts: Vec<Insert>,
        policy: MergePolicy,
        borrow: Arc<MemoryBorrow>,
    ) -> Self {
        let progress = Arc::new(InsertProgress::default());
        let insert_progress = Arc::clone(&progress);
        let inserts: Vec<_> = inserts
            .into_iter()
            .map(|insert| insert.with_progress(Arc::clone(&insert_progress)))
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

    fn take(work: &Mutex<Option<Work>>) -> Result<Work, Error> {
        let taken = work.lock().take();
        taken.ok_or_else(|| Error::new(ErrorKind::Closed, "the insert has ended"))
    }
}

#[pymethods]
impl Inserting {
    /// How many points are durable, once there are more; at the end the version of each stream.
    fn next<'py>(slf: Entered<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (slot, progress) = (Arc::clone(&slf.work), Arc::clone(&slf.progress));
        call(&slf.inside, py, slf.mode, async move {
            let mut work = Self::take(&slot)?;
            tokio::select! {
                biased;
                versions = &mut work => Ok(Step::Over(versions?)),
                points = progress.more() => {
                    *slot.lock() = Some(work);
                    Ok(Step::Points(points))
                }
            }
        })
    }

    /// Sends nothing further, waits for the answers to what is under way, and returns how many
    /// points are durable.
    fn stop<'py>(slf: Entered<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (slot, progress) = (Arc::clone(&slf.work), Arc::clone(&slf.progress));
        progress.stop();
        call(&slf.inside, py, slf.mode, async move {
            if let Ok(work) = Self::take(&slot) {
                // Whoever stops it has a reason of their own to tell, and it is not this error.
                let _ = work.await;
            }
            Ok(progress.points())
        })
    }

    /// Ends it where it is, if it has not ended.
    fn close(&self) {
        self.borrow.end();
        *self.work.lock() = None;
    }
}

/// What there is to tell.
enum Step {
    Points(usize),
    Over(Versions),
}

impl<'py> IntoPyObject<'py> for Step {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Points(points) => Ok(points.into_pyobject(py)?.into_any()),
            Self::Over(versions) => {
                let majors = versions.into_iter().map(|version| version.major);
                majors.collect::<Vec<_>>().into_bound_py_any(py)
            }
        }
    }
}
