//! What is known of the other end of a connection, and what can be done to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
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
/// Calls that were given up and have not noticed; the same.
const CALLS_GIVEN_UP: usize = 32;

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
    /// Whether it is not read before some of them have ended.
    is_full: AtomicBool,
    /// Who accounts for the first call that its peer was allowed to make.
    known_as: OnceLock<Arc<Owner>>,
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
    pub(crate) fn new(owner: Arc<Owner>, places: Weak<Places>, number: u64) -> Self {
        Self {
            owner,
            sendable: AtomicU64::new(UNLIMITED),
            readable: AtomicU64::new(UNLIMITED),
            calls: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            known_as: OnceLock::new(),
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
    pub(crate) fn recognize(&self, owner: &Arc<Owner>) {
        if self.is_known() || self.known_as.set(Arc::clone(owner)).is_err() {
            return;
        }
        // Another connection does not make anybody trusted again.
        let verdict = owner.patience.count(0, Instant::now());
        self.is_suspect
            .store(verdict != Verdict::Usual, Ordering::Relaxed);
        if let Some(places) = self.places.upgrade() {
            places.recognize(self.number);
        }
        self.task.wake();
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known_as.get().is_some()
    }

    /// Whether its peer may call and is not about to do so in vain all the time.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.is_suspect.load(Ordering::Relaxed) {
            self.count_in_vain(0);
        }
        self.is_known() && !self.is_suspect.load(Ordering::Relaxed)
    }

    /// Counts calls that were refused for their key, or given up; with too many the connection ends.
    pub(crate) fn count_in_vain(&self, calls: usize) {
        let patience = self
            .known_as
            .get()
            .map_or(&self.patience, |owner| &owner.patience);
        let verdict = patience.count(calls, Instant::now());
        self.is_suspect
            .store(verdict != Verdict::Usual, Ordering::Relaxed);
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
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_call(&self) {
        self.calls.fetch_sub(1, Ordering::SeqCst);
        if self.is_full.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// Whether more may be read, while so many calls are open: those that were given up must have
    /// noticed before. The task is woken when a call ends, if not.
    pub(crate) fn has_room(&self, open: usize) -> bool {
        let most = if self.is_known() {
            open.saturating_add(CALLS_GIVEN_UP)
        } else {
            CALLS_OF_STRANGER
        };
        if self.calls.load(Ordering::SeqCst) <= most {
            return true;
        }
        self.is_full.store(true, Ordering::SeqCst);
        // The last of them may have ended meanwhile.
        let has_room = self.calls.load(Ordering::SeqCst) <= most;
        self.is_full.store(!has_room, Ordering::SeqCst);
        has_room
    }
}

/// Who called, and by which connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) control: Arc<Control>,
}
