//! A view of one version of one stream.

use std::sync::Arc;

use pingthings_types::{Points, PreciseWindows, TimeRange, Version};

use crate::error::Error;
use crate::live::{Hold, View};
use crate::masks::Masks;
use crate::segment::Segments;
use crate::tree::Address;

/// A view of one version of one stream, held for as long as this lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) segments: Arc<Segments>,
    pub(crate) root: Option<Address>,
    /// Points on top of the tree, sorted by time.
    pub(crate) buffered: Arc<Points>,
    /// Where points of the tree no longer count.
    pub(crate) masks: Masks,
    version: Version,
    /// Keeps the blocks of the version where they are.
    pub(crate) hold: Arc<Hold>,
}

impl Snapshot {
    /// The latest of everything.
    pub(crate) fn of_view(segments: Arc<Segments>, view: &View) -> Self {
        Self {
            segments,
            root: view.root,
            buffered: view.buffer.points(),
            masks: view.buffer.masks().clone(),
            version: view.version(),
            hold: Arc::clone(&view.hold),
        }
    }

    /// A committed version.
    pub(crate) fn of_version(
        segments: Arc<Segments>,
        major: u64,
        root: Option<Address>,
        hold: Arc<Hold>,
    ) -> Self {
        Self {
            segments,
            root,
            buffered: Arc::default(),
            masks: Masks::default(),
            version: Version { major, minor: 0 },
            hold,
        }
    }

    /// The version seen: its real number, and how many buffered points are seen on top of it.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Exact number of points in `range`, from statistics.
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
