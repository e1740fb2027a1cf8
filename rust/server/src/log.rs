//! Where the records of a server process go.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::Error;

/// Writes records to standard error from now on, for the whole process: as lines of text, or of
/// JSON. What other libraries say is written from warnings on.
///
/// For a process that is a server. One that only holds a server has a log of its own.
///
/// # Errors
/// If the level is none of `error`, `warn`, `info`, `debug` and `trace`, or the process has a
/// subscriber already.
pub fn log_to_stderr(level: &str, as_json: bool) -> Result<(), Error> {
    let level: LevelFilter = level.parse().map_err(|_| Error::Log {
        problem: format!("`{level}` is no level: give error, warn, info, debug or trace"),
    })?;
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("pingthings", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    let set = if as_json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines).try_init()
    };
    set.map_err(|error| Error::Log {
        problem: error.to_string(),
    })
}
