//! What is known of the other end of a connection, and what can be done to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use crate::entrance::Places;
use crate::owner::Owner;
use crate::patience::{Patience, Verdict};
use futures_util::task::AtomicWaker;

/// Stands for no limit.
pub(crate) const UNLIMITED: u64 = u64::MAX;
/// How often a reader that is slow on purpose reads.
pub(crate) const SLOW_TICK: Duration = Duration::from_millis(50);
/// Calls under way of a stranger; what comes beyond is not read until some of them have ended.
const CALLS_OF_STRANGER: usize = 32;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum End {
    /// Not yet.
    Open,
    /// Its peer is told to calm down.
    Calm,
    /// At once.
    Cut,
}

/// A connection as those see it who have to do with its calls.
#[derive(Debug)]
pub(crate) struct Control {
    /// Accounts for its calls if they have no key.
    pub(crate) owner: Arc<Owner>,
    /// Bytes that are still sent before it breaks.
    sendable: AtomicU64,
    /// Bytes that are read from it in each [`SLOW_TICK`].
    readable: AtomicU64,
    /// Calls whose work or answer has not ended, those that were given up included.
    calls: AtomicUsize,
    /// Most of them that may be open; more were given up and have not noticed.
    most_calls: usize,
    /// Whether it made a call that its peer was allowed to make.
    is_known: AtomicBool,
    /// What is left of the patience with it while it is a stranger's.
    patience: Patience,
    /// Whether more calls came to nothing lately than one expects.
    is_suspect: AtomicBool,
    end: AtomicU8,
    /// The task that serves it.
    task: AtomicWaker,
    places: Weak<Places>,
    /// Which of all connections it is.
    number: u64,
}

impl Control {
    pub(crate) fn new(
        owner: Arc<Owner>,
        most_calls: usize,
        places: Weak<Places>,
        number: u64,
    ) -> Self {
        Self {
            owner,
            sendable: AtomicU64::new(UNLIMITED),
            readable: AtomicU64::new(UNLIMITED),
            calls: AtomicUsize::new(0),
            most_calls,
            is_known: AtomicBool::new(false),
            patience: Patience::with_stranger(),
            is_suspect: AtomicBool::new(false),
            end: AtomicU8::new(End::Open as u8),
            task: AtomicWaker::new(),
            places,
            number,
        }
    }

    /// Breaks the connection after so many more bytes.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.sendable.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that may still be sent.
    pub(crate) fn sendable(&self) -> u64 {
        self.sendable.load(Ordering::Relaxed)
    }

    /// Reads no faster from now on.
    pub(crate) fn slow_down(&self, bytes_per_second: u64) {
        let ticks = Duration::from_secs(1).as_millis() / SLOW_TICK.as_millis();
        let bytes = bytes_per_second / u64::try_from(ticks).unwrap_or(1);
        self.readable.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Bytes that may be read in each [`SLOW_TICK`].
    pub(crate) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Relaxed)
    }

    /// Its peer may call: it is no stranger any more, and keeps its place.
    pub(crate) fn recognize(&self) {
        if self.is_known.load(Ordering::Relaxed) || self.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(places) = self.places.upgrade() {
            places.recognize(self.number);
        }
        self.task.wake();
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Whether its peer may call and is not about to do so in vain all the time.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_known() && !self.is_suspect.load(Ordering::Relaxed)
    }

    /// Counts a call that was made in vain; with too many of them the connection ends.
    pub(crate) fn count_vain_call(&self, owner: Option<&Owner>) {
        let patience = owner.map_or(&self.patience, |owner| &owner.patience);
        let verdict = patience.count(Instant::now());
        let is_suspect = verdict != Verdict::Usual;
        self.is_suspect.store(is_suspect, Ordering::Relaxed);
        if verdict == Verdict::TooMany {
            self.end(End::Calm);
        }
    }

    /// Ends the connection.
    pub(crate) fn end(&self, how: End) {
        let before = self.end.fetch_max(how as u8, Ordering::Relaxed);
        if before == End::Open as u8
            && how == End::Calm
            && let Some(places) = self.places.upgrade()
        {
            places.count_calmed();
        }
        self.task.wake();
    }

    /// How the connection is to end; wakes the task once that changes, or a call ends.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> End {
        self.task.register(cx.waker());
        match self.end.load(Ordering::Relaxed) {
            0 => End::Open,
            1 => End::Calm,
            _ => End::Cut,
        }
    }

    pub(crate) fn begin_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_call(&self) {
        let before = self.calls.fetch_sub(1, Ordering::Relaxed);
        if before == self.most_calls() + 1 {
            self.task.wake();
        }
    }

    /// Whether more calls may be read: those given up must have noticed before.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.load(Ordering::Relaxed) <= self.most_calls()
    }

    fn most_calls(&self) -> usize {
        if self.is_known() {
            self.most_calls
        } else {
            CALLS_OF_STRANGER
        }
    }
}

/// Who called, and by which connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) control: Arc<Control>,
}
