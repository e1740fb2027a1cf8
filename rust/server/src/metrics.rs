//! The metrics of the server, in the text format of Prometheus.

use std::array;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pingthings_types::Code;

use crate::call::CALLS;

/// The upper bounds of the buckets of call durations: in seconds, and as text.
const BUCKETS: [(f64, &str); 7] = [
    (0.001, "0.001"),
    (0.005, "0.005"),
    (0.025, "0.025"),
    (0.1, "0.1"),
    (0.5, "0.5"),
    (2.5, "2.5"),
    (10.0, "10"),
];
/// The number of gRPC statuses, which are 0 to 16.
const STATUSES: usize = 17;
/// The status of a call whose client disconnected before its end.
pub(crate) const CANCELLED: usize = 1;

/// The counters of one kind of call.
#[derive(Debug, Default)]
struct PerCall {
    by_status: [AtomicU64; STATUSES],
    buckets: [AtomicU64; BUCKETS.len()],
    microseconds: AtomicU64,
}

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: [PerCall; CALLS.len()],
    refusals: Vec<AtomicU64>,
    pub(crate) in_flight: AtomicI64,
    pub(crate) connections: AtomicI64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) connections_evicted: AtomicU64,
    pub(crate) held_bytes: AtomicI64,
    pub(crate) held_bytes_limit: AtomicI64,
    pub(crate) memory_revocations: AtomicU64,
    pub(crate) connections_calmed: AtomicU64,
    pub(crate) points_inserted: AtomicU64,
    pub(crate) subscriptions: AtomicI64,
    pub(crate) statements: AtomicI64,
    pub(crate) statements_waiting: AtomicI64,
    pub(crate) statements_beyond_memory: AtomicU64,
    pub(crate) background_failed: AtomicI64,
    pub(crate) retention_behind: AtomicI64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: array::from_fn(|_| PerCall::default()),
            refusals: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            in_flight: AtomicI64::default(),
            connections: AtomicI64::default(),
            connections_refused: AtomicU64::default(),
            connections_evicted: AtomicU64::default(),
            held_bytes: AtomicI64::default(),
            held_bytes_limit: AtomicI64::default(),
            memory_revocations: AtomicU64::default(),
            connections_calmed: AtomicU64::default(),
            points_inserted: AtomicU64::default(),
            subscriptions: AtomicI64::default(),
            statements: AtomicI64::default(),
            statements_waiting: AtomicI64::default(),
            statements_beyond_memory: AtomicU64::default(),
            background_failed: AtomicI64::default(),
            retention_behind: AtomicI64::default(),
        }
    }
}

impl Metrics {
    /// Counts a call that ended with a gRPC status after some time.
    pub(crate) fn count_call(&self, call: usize, status: usize, after: Duration) {
        let Some(call) = self.calls.get(call) else {
            return;
        };
        if let Some(count) = call.by_status.get(status) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = after.as_secs_f64();
        for (bucket, (bound, _)) in call.buckets.iter().zip(BUCKETS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        let microseconds = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        call.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub(crate) fn count_refusal(&self, code: Code) {
        let at = Code::ALL.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.refusals.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_calls(&mut text);
        let refusals = Code::ALL.iter().zip(&self.refusals);
        let refusals = refusals.map(|(code, count)| {
            let labels = format!("{{code=\"{}\"}}", code.number());
            (labels, count.load(Ordering::Relaxed))
        });
        let refusals = refusals.filter(|(_, count)| *count > 0);
        write_metric(
            &mut text,
            (
                "pingthings_refusals_total",
                "counter",
                "Answers with a status, by its code.",
            ),
            refusals,
        );
        let sql_bytes = i64::try_from(pingthings_sql::held_bytes()).unwrap_or(i64::MAX);
        let sql_bytes = AtomicI64::new(sql_bytes);
        let gauges = [
            (
                "pingthings_calls_in_flight",
                "Calls in flight.",
                &self.in_flight,
            ),
            (
                "pingthings_connections",
                "Open connections.",
                &self.connections,
            ),
            (
                "pingthings_subscriptions",
                "Open subscriptions.",
                &self.subscriptions,
            ),
            (
                "pingthings_sql_statements",
                "SQL statements that run.",
                &self.statements,
            ),
            (
                "pingthings_sql_statements_waiting",
                "SQL statements that wait for a permit.",
                &self.statements_waiting,
            ),
            (
                "pingthings_sql_bytes",
                "Memory of the SQL statements of this process.",
                &sql_bytes,
            ),
            (
                "pingthings_held_bytes",
                "Memory of requests and answers.",
                &self.held_bytes,
            ),
            (
                "pingthings_held_bytes_limit",
                "Limit of the memory of requests and answers.",
                &self.held_bytes_limit,
            ),
            (
                "pingthings_background_failed",
                "1 if the last background work of the storage engine failed.",
                &self.background_failed,
            ),
            (
                "pingthings_retention_behind_seconds",
                "How far retention is behind the clock after the clock has jumped ahead.",
                &self.retention_behind,
            ),
        ];
        for (name, help, gauge) in gauges {
            let value = gauge.load(Ordering::Relaxed);
            write_metric(&mut text, (name, "gauge", help), [(String::new(), value)]);
        }
        let counters = [
            (
                "pingthings_points_inserted_total",
                "Points that were acknowledged.",
                &self.points_inserted,
            ),
            (
                "pingthings_connections_refused_total",
                "Connections closed at once because there were too many.",
                &self.connections_refused,
            ),
            (
                "pingthings_connections_evicted_total",
                "Connections without a permitted call that were closed for new connections.",
                &self.connections_evicted,
            ),
            (
                "pingthings_connections_calmed_total",
                "Connections closed because too many of their calls were cancelled or refused.",
                &self.connections_calmed,
            ),
            (
                "pingthings_sql_memory_refusals_total",
                "SQL statements that ended because they needed more memory than one may use.",
                &self.statements_beyond_memory,
            ),
            (
                "pingthings_memory_revocations_total",
                "Requests refused and answers cut off to free memory for others.",
                &self.memory_revocations,
            ),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            write_metric(&mut text, (name, "counter", help), [(String::new(), value)]);
        }
        text
    }

    fn write_calls(&self, text: &mut String) {
        let by_status = CALLS.iter().zip(&self.calls).flat_map(|((path, _), call)| {
            call.by_status
                .iter()
                .enumerate()
                .map(move |(status, count)| {
                    let labels = format!("{{call=\"{}\",status=\"{status}\"}}", label(path));
                    (labels, count.load(Ordering::Relaxed))
                })
        });
        write_metric(
            text,
            (
                "pingthings_calls_total",
                "counter",
                "Calls that ended, by gRPC status.",
            ),
            by_status.filter(|(_, count)| *count > 0),
        );
        let metric = "pingthings_call_seconds";
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "# HELP {metric} How long calls took, answers included."
        );
        let _ = writeln!(text, "# TYPE {metric} histogram");
        for ((path, _), call) in CALLS.iter().zip(&self.calls) {
            let count: u64 = call
                .by_status
                .iter()
                .map(|n| n.load(Ordering::Relaxed))
                .sum();
            if count == 0 {
                continue;
            }
            let name = label(path);
            for (bucket, (_, bound)) in call.buckets.iter().zip(BUCKETS) {
                let below = bucket.load(Ordering::Relaxed);
                let _ = writeln!(
                    text,
                    "{metric}_bucket{{call=\"{name}\",le=\"{bound}\"}} {below}"
                );
            }
            let micros = call.microseconds.load(Ordering::Relaxed);
            let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
            let _ = writeln!(
                text,
                "{metric}_bucket{{call=\"{name}\",le=\"+Inf\"}} {count}"
            );
            let _ = writeln!(text, "{metric}_sum{{call=\"{name}\"}} {whole}.{rest:06}");
            let _ = writeln!(text, "{metric}_count{{call=\"{name}\"}} {count}");
        }
    }
}

/// The label of a call: its path without the first slash.
fn label(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn write_metric<V: std::fmt::Display>(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    values: impl IntoIterator<Item = (String, V)>,
) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}");
    let _ = writeln!(text, "# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::position;

    #[test]
    fn counters_are_written_in_the_text_format() {
        let metrics = Metrics::default();
        let call = position("/v5api.BTrDB/Insert").unwrap();
        metrics.count_call(call, 0, Duration::from_micros(1_500_001));
        metrics.count_call(call, 0, Duration::from_micros(2));
        metrics.count_call(call, 16, Duration::ZERO);
        metrics.count_refusal(Code::NoSuchStream);
        metrics.points_inserted.fetch_add(7, Ordering::Relaxed);
        let text = metrics.text();
        for line in [
            "# TYPE pingthings_calls_total counter",
            "pingthings_calls_total{call=\"v5api.BTrDB/Insert\",status=\"0\"} 2",
            "pingthings_calls_total{call=\"v5api.BTrDB/Insert\",status=\"16\"} 1",
            "pingthings_call_seconds_bucket{call=\"v5api.BTrDB/Insert\",le=\"0.001\"} 2",
            "pingthings_call_seconds_bucket{call=\"v5api.BTrDB/Insert\",le=\"2.5\"} 3",
            "pingthings_call_seconds_bucket{call=\"v5api.BTrDB/Insert\",le=\"+Inf\"} 3",
            "pingthings_call_seconds_sum{call=\"v5api.BTrDB/Insert\"} 1.500003",
            "pingthings_call_seconds_count{call=\"v5api.BTrDB/Insert\"} 3",
            "pingthings_refusals_total{code=\"404\"} 1",
            "pingthings_points_inserted_total 7",
            "pingthings_connections 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("RawValues"),
            "counters that are zero are not written"
        );
    }
}
