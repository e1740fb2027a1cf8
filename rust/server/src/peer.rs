//! The peer of a connection, and the control of the connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use crate::acceptor::ConnectionSlots;
use crate::account::Account;
use crate::rate_limiter::{RateLimiter, Verdict};
use futures_util::task::AtomicWaker;

/// No limit.
pub(crate) const UNLIMITED: u64 = u64::MAX;
/// How often a connection with the fault `slow_reader` is read.
pub(crate) const SLOW_TICK: Duration = Duration::from_millis(50);
/// The maximum number of unfinished calls on an unauthorized connection. With more of them it is
/// not read until some have ended.
const MAX_UNAUTHORIZED_CALLS: usize = 32;
/// The maximum number of cancelled calls that have not ended yet. With more of them the connection
/// is not read until some have ended.
const MAX_CANCELLED_CALLS: usize = 32;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum End {
    /// It does not end yet.
    Open,
    /// The peer gets a GOAWAY frame with `ENHANCE_YOUR_CALM` first.
    GoAway,
    /// It is closed at once.
    Cut,
}

/// The control of a connection, shared by the connection and its calls.
#[derive(Debug)]
pub(crate) struct Control {
    /// The account of its calls without a key.
    pub(crate) account: Arc<Account>,
    /// How many more bytes are sent before it is cut.
    sendable: AtomicU64,
    /// How many bytes are read in each [`SLOW_TICK`].
    readable: AtomicU64,
    /// The number of unfinished calls, including cancelled ones that have not ended yet.
    calls: AtomicUsize,
    /// Whether reading waits until some of them have ended.
    is_full: AtomicBool,
    /// The account of the first permitted call.
    authorized_as: OnceLock<Arc<Account>>,
    /// Limits wasted calls while the connection is unauthorized.
    wasted_calls: RateLimiter,
    /// Whether there were recently more wasted calls than normal.
    is_suspect: AtomicBool,
    end: AtomicU8,
    /// The task that serves it.
    task: AtomicWaker,
    slots: Weak<ConnectionSlots>,
    /// The number of the connection.
    number: u64,
}

impl Control {
    pub(crate) fn new(account: Arc<Account>, slots: Weak<ConnectionSlots>, number: u64) -> Self {
        Self {
            account,
            sendable: AtomicU64::new(UNLIMITED),
            readable: AtomicU64::new(UNLIMITED),
            calls: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            authorized_as: OnceLock::new(),
            wasted_calls: RateLimiter::for_connection(),
            is_suspect: AtomicBool::new(false),
            end: AtomicU8::new(End::Open as u8),
            task: AtomicWaker::new(),
            slots,
            number,
        }
    }

    /// Cuts the connection after so many more bytes are sent.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.sendable.store(bytes, Ordering::Relaxed);
    }

    /// How many more bytes may be sent.
    pub(crate) fn sendable(&self) -> u64 {
        self.sendable.load(Ordering::Relaxed)
    }

    /// Limits the speed of reading from now on.
    pub(crate) fn slow_down(&self, bytes_per_second: u64) {
        let ticks = Duration::from_secs(1).as_millis() / SLOW_TICK.as_millis();
        let bytes = bytes_per_second / u64::try_from(ticks).unwrap_or(1);
        self.readable.store(bytes.max(1), Ordering::Relaxed);
    }

    /// How many bytes may be read in each [`SLOW_TICK`].
    pub(crate) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Relaxed)
    }

    /// Records that the peer made a permitted call. The connection is not evicted any more.
    pub(crate) fn authorize(&self, account: &Arc<Account>) {
        if self.is_authorized() || self.authorized_as.set(Arc::clone(account)).is_err() {
            return;
        }
        // A client cannot become trusted again by opening another connection.
        let verdict = account.wasted_calls.count(0, Instant::now());
        self.is_suspect
            .store(verdict != Verdict::Normal, Ordering::Relaxed);
        if let Some(slots) = self.slots.upgrade() {
            slots.authorize(self.number);
        }
        self.task.wake();
    }

    pub(crate) fn is_authorized(&self) -> bool {
        self.authorized_as.get().is_some()
    }

    /// Whether the connection is authorized and has few wasted calls.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.is_suspect.load(Ordering::Relaxed) {
            self.count_wasted_calls(0);
        }
        self.is_authorized() && !self.is_suspect.load(Ordering::Relaxed)
    }

    /// Counts calls that were cancelled, or refused for their key. The connection ends if there are
    /// too many.
    pub(crate) fn count_wasted_calls(&self, calls: usize) {
        let limiter = self
            .authorized_as
            .get()
            .map_or(&self.wasted_calls, |account| &account.wasted_calls);
        let verdict = limiter.count(calls, Instant::now());
        self.is_suspect
            .store(verdict != Verdict::Normal, Ordering::Relaxed);
        if verdict == Verdict::Exceeded {
            self.end(End::GoAway);
        }
    }

    /// Ends the connection.
    pub(crate) fn end(&self, how: End) {
        let before = self.end.fetch_max(how as u8, Ordering::Relaxed);
        if before == End::Open as u8
            && how == End::GoAway
            && let Some(slots) = self.slots.upgrade()
        {
            slots.count_calmed();
        }
        self.task.wake();
    }

    /// How the connection should end. The task is woken when that changes or when a call ends.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> End {
        self.task.register(cx.waker());
        match self.end.load(Ordering::Relaxed) {
            0 => End::Open,
            1 => End::GoAway,
            _ => End::Cut,
        }
    }

    pub(crate) fn begin_call(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of unfinished calls.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn end_call(&self) {
        self.calls.fetch_sub(1, Ordering::SeqCst);
        if self.is_full.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// Whether more may be read while `open` calls are open. Most of the cancelled calls must have
    /// ended before. If not, the task is woken when a call ends.
    pub(crate) fn has_room(&self, open: usize) -> bool {
        let max = if self.is_authorized() {
            open.saturating_add(MAX_CANCELLED_CALLS)
        } else {
            MAX_UNAUTHORIZED_CALLS
        };
        if self.calls.load(Ordering::SeqCst) <= max {
            return true;
        }
        self.is_full.store(true, Ordering::SeqCst);
        // Some calls may have ended before the flag was set.
        let has_room = self.calls.load(Ordering::SeqCst) <= max;
        self.is_full.store(!has_room, Ordering::SeqCst);
        has_room
    }
}

/// The address of a caller, and the control of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) control: Arc<Control>,
}
