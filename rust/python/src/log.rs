//! What the core has to tell, as records of Python's `logging`.
//!
//! Threads of the core only note it down; the completer hands it over, because a handler is
//! somebody's Python code, and may take its time and the GIL.

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

/// Records that may wait for the completer; further ones are left out, and that is said.
const MOST_WAITING: usize = 1_000;

static WAITING: AtomicUsize = AtomicUsize::new(0);
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

/// Has somebody do what needs the GIL, later and elsewhere.
pub(crate) type Later = fn(Box<dyn FnOnce(Python<'_>) + Send>);

/// Hands records over by `later` from now on, unless they go elsewhere already, as those of `pingthings serve`.
pub(crate) fn install(later: Later) {
    let told = Targets::new()
        .with_target("pingthings_client", LevelFilter::DEBUG)
        .with_target("pingthings_server", LevelFilter::INFO)
        .with_target("pingthings_storage", LevelFilter::INFO);
    // The second time this fails, which is as well.
    let _ = tracing_subscriber::registry()
        .with(ToPython(later).with_filter(told))
        .try_init();
}

struct ToPython(Later);

impl<S: Subscriber> Layer<S> for ToPython {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if exit::is_stopped() {
            return;
        }
        let waiting = Waiting::one_more();
        if waiting.0 > MOST_WAITING {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let record = Record::of(event);
        (self.0)(Box::new(move |py| {
            drop(waiting);
            if let Err(error) = record.hand_over(py) {
                error.write_unraisable(py, None);
            }
        }));
    }
}

/// A record that waits for the completer: how many there are with it.
struct Waiting(usize);

impl Waiting {
    fn one_more() -> Self {
        Self(WAITING.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Record {
    logger: &'static str,
    level: u8,
    text: String,
}

impl Record {
    fn of(event: &Event<'_>) -> Self {
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
            text: text.whole(),
        }
    }

    fn hand_over(self, py: Python<'_>) -> PyResult<()> {
        let logger = py
            .import(pyo3::intern!(py, "logging"))?
            .call_method1(pyo3::intern!(py, "getLogger"), (self.logger,))?;
        let is_wanted = logger
            .call_method1(pyo3::intern!(py, "isEnabledFor"), (self.level,))?
            .is_truthy()?
            // Without one, `logging` would print warnings of its own accord.
            && logger.call_method0(pyo3::intern!(py, "hasHandlers"))?.is_truthy()?;
        if !is_wanted {
            return Ok(());
        }
        let log = |level: u8, text: &str| {
            logger.call_method1(pyo3::intern!(py, "log"), (level, "%s", text))
        };
        log(self.level, &self.text)?;
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            log(
                30,
                &format!("{left_out} records were left out: too many at once"),
            )?;
        }
        Ok(())
    }
}

/// Message and fields of an event, as people read them.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
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
