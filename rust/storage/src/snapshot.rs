//! A view of one version of one stream.

use std::sync::Arc;

use pingthings_types::{Points, PreciseWindows, TimeRange, Version};

use crate::error::Error;
use crate::live::{ReadGuard, View};
use crate::masks::Masks;
use crate::segment::Segments;
use crate::tree::Address;

/// A view of one version of one stream, valid for as long as it lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) segments: Arc<Segments>,
    pub(crate) root: Option<Address>,
    /// Points on top of the tree, sorted by time.
    pub(crate) buffered: Arc<Points>,
    /// Ranges in which points of the tree are hidden.
    pub(crate) masks: Masks,
    version: Version,
    /// Keeps the blocks of the version from being reclaimed.
    pub(crate) guard: Arc<ReadGuard>,
}

impl Snapshot {
    /// The latest version with its buffered points.
    pub(crate) fn of_view(segments: Arc<Segments>, view: &View) -> Self {
        Self {
            segments,
            root: view.root,
            buffered: view.buffer.points(),
            masks: view.buffer.masks().clone(),
            version: view.version(),
            guard: Arc::clone(&view.guard),
        }
    }

    /// A committed version.
    pub(crate) fn of_version(
        segments: Arc<Segments>,
        major: u64,
        root: Option<Address>,
        guard: Arc<ReadGuard>,
    ) -> Self {
        Self {
            segments,
            root,
            buffered: Arc::default(),
            masks: Masks::default(),
            version: Version { major, minor: 0 },
            guard,
        }
    }

    /// The version that this reads: its number, and the number of buffered points on top of it.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Exact number of points in `range`, computed from statistics.
    pub fn count(&self, range: TimeRange) -> Result<u64, Error> {
        let whole = PreciseWindows {
            width: range.width(),
            start: range.start(),
            count: 1,
        };
        let window = self.windows(whole).next_batch(1)?;
        Ok(window.map_or(0, |window| window.counts.iter().sum()))
    }
}
