//! Events of the core as records of Python's `logging`.
//!
//! Threads of the core only queue the records. The completer passes them to Python, because a
//! handler may be any Python code: it needs the GIL and may be slow.

use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use pyo3::prelude::*;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::exit;

/// The maximum number of records in the queue. Further records are dropped and counted.
const MAX_PENDING: usize = 1_000;

static PENDING: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Queues a job that needs the GIL for another thread.
pub(crate) type RunWithGil = fn(Box<dyn FnOnce(Python<'_>) + Send>);

/// Passes records to Python's `logging` from now on, by jobs given to `run_with_gil`.
///
/// It does nothing if this process already has a subscriber, as that of `pingthings serve`.
pub(crate) fn install(run_with_gil: RunWithGil) {
    let targets = Targets::new()
        .with_target("pingthings_client", LevelFilter::DEBUG)
        .with_target("pingthings_server", LevelFilter::INFO)
        .with_target("pingthings_storage", LevelFilter::INFO);
    // Fails if a subscriber is already installed, as after a fork.
    let _ = tracing_subscriber::registry()
        .with(PythonLogLayer(run_with_gil).with_filter(targets))
        .try_init();
}

struct PythonLogLayer(RunWithGil);

impl<S: Subscriber> Layer<S> for PythonLogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if exit::is_exiting() {
            return;
        }
        let pending = PendingRecord::count();
        if pending.0 > MAX_PENDING {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let record = Record::from_event(event);
        (self.0)(Box::new(move |py| {
            drop(pending);
            if let Err(error) = record.log(py) {
                error.write_unraisable(py, None);
            }
        }));
    }
}

/// A place in the queue, with the number of records that were in the queue when it was taken.
struct PendingRecord(usize);

impl PendingRecord {
    fn count() -> Self {
        Self(PENDING.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        PENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Record {
    logger: &'static str,
    level: u8,
    text: String,
}

impl Record {
    fn from_event(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        Self {
            logger: if metadata.target().starts_with("pingthings_client") {
                "pingthings"
            } else {
                "pingthings.server"
            },
            level: match *metadata.level() {
                Level::ERROR => 40,
                Level::WARN => 30,
                Level::INFO => 20,
                _ => 10,
            },
            text: text.format(),
        }
    }

    fn log(self, py: Python<'_>) -> PyResult<()> {
        let logger = py
            .import(pyo3::intern!(py, "logging"))?
            .call_method1(pyo3::intern!(py, "getLogger"), (self.logger,))?;
        let is_enabled = logger
            .call_method1(pyo3::intern!(py, "isEnabledFor"), (self.level,))?
            .is_truthy()?
            // Without a handler, `logging` would print warnings to standard error.
            && logger.call_method0(pyo3::intern!(py, "hasHandlers"))?.is_truthy()?;
        if !is_enabled {
            return Ok(());
        }
        let log = |level: u8, text: &str| {
            logger.call_method1(pyo3::intern!(py, "log"), (level, "%s", text))
        };
        log(self.level, &self.text)?;
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            log(
                30,
                &format!("{dropped} log records were dropped: more than {MAX_PENDING} waited"),
            )?;
        }
        Ok(())
    }
}

/// The message and fields of an event, as text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn format(self) -> String {
        if self.fields.is_empty() {
            self.message
        } else {
            format!("{} ({})", self.message, self.fields)
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.fields.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, "{separator}{}: {value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
