//! Statistics of a client.
//!
//! Counters are updated once for a call, a request or a message, never for a point. They are read
//! without a lock, one after another, so counters that are read together may differ by events that
//! happen in between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use pingthings_types::Code;

use crate::error::Error;

/// A counter that many threads update.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Adds the nanoseconds since an instant.
    pub(crate) fn add_since(&self, begun: Instant) {
        self.add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Numbers of calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls that were started.
    pub started: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls that the caller cancelled.
    pub cancelled: u64,
}

#[derive(Debug, Default)]
struct CallCounters {
    started: Counter,
    succeeded: Counter,
    failed: Counter,
    cancelled: Counter,
}

impl CallCounters {
    fn counts(&self) -> CallCounts {
        // Ends are read before starts: a call that ends in between then counts as running, instead
        // of as ended but never started.
        let (succeeded, failed, cancelled) = (
            self.succeeded.get(),
            self.failed.get(),
            self.cancelled.get(),
        );
        CallCounts {
            started: self.started.get(),
            succeeded,
            failed,
            cancelled,
        }
    }
}

macro_rules! call_kinds {
    ($($kind:ident $name:literal)*) => {
        /// The kinds of calls. Several methods of the protocol may have the same kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum CallKind {
            $($kind,)*
        }

        const CALL_KIND_NAMES: &[&str] = &[$($name),*];
    };
}

call_kinds! {
    Info "info"
    Create "create"
    Update "update"
    Obliterate "obliterate"
    StreamInfo "stream_info"
    LookupStreams "lookup_streams"
    ListCollections "list_collections"
    SqlQuery "sql_query"
    RawValues "raw_values"
    JoinedValues "joined_values"
    AlignedWindows "aligned_windows"
    PreciseWindows "precise_windows"
    Nearest "nearest"
    Changes "changes"
    VersionAtTime "version_at_time"
    Insert "insert"
    Flush "flush"
    Delete "delete"
    Retention "retention"
    Records "records"
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)*) => {
        #[derive(Debug)]
        pub(crate) struct Counters {
            calls: Box<[CallCounters]>,
            $(pub(crate) $name: Counter,)*
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    calls: CALL_KIND_NAMES.iter().map(|_| CallCounters::default()).collect(),
                    $($name: Counter::default(),)*
                }
            }
        }

        impl Counters {
            /// Sets all counters to zero. The child of a fork does this, because calls of the
            /// parent are not its own.
            pub(crate) fn reset(&self) {
                for calls in &self.calls {
                    for counter in [&calls.started, &calls.succeeded, &calls.failed, &calls.cancelled] {
                        counter.reset();
                    }
                }
                $(self.$name.reset();)*
            }

            pub(crate) fn stats(&self) -> Stats {
                let kinds = CALL_KIND_NAMES.iter().zip(&self.calls);
                Stats {
                    calls: kinds.map(|(&name, calls)| (name, calls.counts())).collect(),
                    $($name: self.$name.get(),)*
                }
            }
        }

        /// Statistics of a client since it connected, or since its process was forked.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            /// Calls by kind. A call over a set counts once for each stream.
            pub calls: Vec<(&'static str, CallCounts)>,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// All values except the calls, with their names.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Requests sent. A call has several if it is retried or is an insert in parts.
    requests
    /// Requests in flight now: their answer is not complete.
    requests_in_flight
    /// Requests that wait for a permit now.
    requests_waiting
    /// Total time that requests have waited for a permit, in nanoseconds.
    wait_ns
    /// Requests that were retried after a failure.
    retries
    /// Reads that were resumed after a failure in the middle of their answer.
    resumed_reads
    /// How often a read was paused in favour of an older one because the memory was full.
    paused_reads
    /// Bytes written to sockets, including the overhead of TLS and HTTP/2.
    bytes_sent
    /// Bytes read from sockets, including this overhead, before decompression.
    bytes_received
    /// Bytes of the tables that were decoded from answers.
    table_bytes
    /// Rows of raw values received.
    points_read
    /// Rows of windows received.
    windows_read
    /// Points whose insert was acknowledged.
    points_inserted
    /// Total time spent decoding messages, over all threads, in nanoseconds.
    decode_ns
    /// Connections opened.
    connections_opened
    /// Connections open now.
    connections_open
    /// Connections that were replaced after a failure, or because the server's address changed.
    connections_replaced
    /// Memory of answers that the caller does not have yet, now, in bytes.
    memory_held
    /// The maximum of `memory_held`.
    memory_peak
    /// Reads that wait for memory now.
    reads_waiting
}

/// Counts one running call. The call counts as cancelled if this is dropped before
/// [`end`](Self::end).
#[derive(Debug)]
pub(crate) struct CallGuard {
    counters: Arc<Counters>,
    kind: CallKind,
    is_ended: bool,
}

impl CallGuard {
    pub(crate) fn begin(counters: &Arc<Counters>, kind: CallKind) -> Self {
        let call = Self {
            counters: Arc::clone(counters),
            kind,
            is_ended: false,
        };
        call.counters().started.add(1);
        call
    }

    fn counters(&self) -> &CallCounters {
        &self.counters.calls[self.kind as usize]
    }

    pub(crate) fn end<T>(mut self, outcome: &Result<T, Error>) {
        self.is_ended = true;
        match outcome {
            // For a search for the nearest point, "no such point" is an answer, not a failure.
            Err(error) if !error.is_code(Code::NoSuchPoint) => self.counters().failed.add(1),
            _ => self.counters().succeeded.add(1),
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if !self.is_ended {
            self.counters().cancelled.add(1);
        }
    }
}

/// Increments a gauge as long as it exists.
#[derive(Debug)]
pub(crate) struct GaugeGuard<'a>(&'a Counter);

impl<'a> GaugeGuard<'a> {
    pub(crate) fn new(counter: &'a Counter) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn start(kind: CallKind, counters: &Arc<Counters>) -> CallGuard {
        CallGuard::begin(counters, kind)
    }

    #[test]
    fn calls_are_counted_by_outcome() {
        let counters = Arc::new(Counters::default());
        let call = || start(CallKind::Nearest, &counters);
        call().end(&Ok(()));
        call().end::<()>(&Err(Error::refused(Code::NoSuchPoint, "none")));
        call().end::<()>(&Err(Error::new(ErrorKind::Connect, "broken")));
        drop(call());
        let running = call();
        let stats = counters.stats();
        let counts = CallCounts {
            started: 5,
            succeeded: 2,
            failed: 1,
            cancelled: 1,
        };
        assert!(stats.calls.contains(&("nearest", counts)), "{stats:?}");
        drop(running);
        counters.reset();
        assert!(
            counters
                .stats()
                .calls
                .iter()
                .all(|(_, counts)| *counts == CallCounts::default())
        );
    }
}
