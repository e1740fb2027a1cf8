//! What a client has done so far, in numbers.
//!
//! Counters are added to once for a call, a request or a message, never for a point, and nobody
//! waits for anybody: they are read one after the other, so that numbers of the same moment may
//! differ by what happens meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use pingthings_types::Code;

use crate::error::Error;

/// A number that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The nanoseconds since an instant.
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

/// How calls of one kind ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls that have begun.
    pub started: u64,
    /// Those that have answered.
    pub succeeded: u64,
    /// Those that have ended with an error.
    pub failed: u64,
    /// Those that were given up by whoever made them.
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
        // The ends first: a call that ends meanwhile is then one that still runs, not one that
        // ended without having begun.
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

macro_rules! kinds {
    ($($kind:ident $name:literal)*) => {
        /// What is asked of the server, whatever the name of the request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        const KINDS: &[&str] = &[$($name),*];
    };
}

kinds! {
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
                    calls: KINDS.iter().map(|_| CallCounters::default()).collect(),
                    $($name: Counter::default(),)*
                }
            }
        }

        impl Counters {
            /// Begins anew, as the child of a fork does: what the parent counts is not its own.
            pub(crate) fn reset(&self) {
                for calls in &self.calls {
                    for counter in [&calls.started, &calls.succeeded, &calls.failed, &calls.cancelled] {
                        counter.reset();
                    }
                }
                $(self.$name.reset();)*
            }

            pub(crate) fn stats(&self) -> Stats {
                let kinds = KINDS.iter().zip(&self.calls);
                Stats {
                    calls: kinds.map(|(&name, calls)| (name, calls.counts())).collect(),
                    $($name: self.$name.get(),)*
                }
            }
        }

        /// What a client has done since it connected, or since its process was forked.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            /// Calls by kind; one over a set of streams counts for each of them.
            pub calls: Vec<(&'static str, CallCounts)>,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// All numbers but the calls, by name.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Requests sent; a call is several if it is repeated, or an insert in parts.
    requests
    /// Requests whose answer is not complete, now.
    requests_in_flight
    /// Requests that wait for a place under the concurrency limit, now.
    requests_waiting
    /// Nanoseconds that requests have waited for such a place, all together.
    wait_ns
    /// Requests that were made again after a failure.
    retries
    /// Reads that went on after their answer was cut.
    resumed_reads
    /// Times that a read gave way to an older one because the memory was full.
    paused_reads
    /// Bytes written to sockets, with everything that TLS and HTTP/2 add.
    bytes_sent
    /// Bytes read from sockets, likewise, compressed as they came.
    bytes_received
    /// Bytes of the tables that answers were decoded to.
    table_bytes
    /// Rows of raw values received.
    points_read
    /// Rows of windows received.
    windows_read
    /// Points whose insert was acknowledged.
    points_inserted
    /// Nanoseconds spent making tables of messages, on all threads.
    decode_ns
    /// Connections that were opened.
    connections_opened
    /// Connections that are open now.
    connections_open
    /// Connections that were given up for another after a failure, or because their server moved.
    connections_replaced
    /// Bytes of answers that are here and not handed over, now.
    memory_held
    /// The most that these have been.
    memory_peak
    /// Reads that wait for memory, now.
    reads_waiting
}

/// A call under way, which was given up unless somebody says how it ended.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: Arc<Counters>,
    kind: Kind,
    is_over: bool,
}

impl Counted {
    pub(crate) fn begin(counters: &Arc<Counters>, kind: Kind) -> Self {
        let call = Self {
            counters: Arc::clone(counters),
            kind,
            is_over: false,
        };
        call.counters().started.add(1);
        call
    }

    fn counters(&self) -> &CallCounters {
        &self.counters.calls[self.kind as usize]
    }

    pub(crate) fn end<T>(mut self, outcome: &Result<T, Error>) {
        self.is_over = true;
        match outcome {
            // That there is no point is the answer to where the nearest one is.
            Err(error) if !error.is_code(Code::NoSuchPoint) => self.counters().failed.add(1),
            _ => self.counters().succeeded.add(1),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_over {
            self.counters().cancelled.add(1);
        }
    }
}

/// Something that counts as long as it is there.
#[derive(Debug)]
pub(crate) struct Present<'a>(&'a Counter);

impl<'a> Present<'a> {
    pub(crate) fn in_(counter: &'a Counter) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn counted(kind: Kind, counters: &Arc<Counters>) -> Counted {
        Counted::begin(counters, kind)
    }

    #[test]
    fn calls_are_counted_by_how_they_end() {
        let counters = Arc::new(Counters::default());
        let call = || counted(Kind::Nearest, &counters);
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
