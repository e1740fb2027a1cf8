//! The log of a server process.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::Error;

/// Writes the log of the whole process to standard error from now on, as lines of text or JSON.
/// Records of other libraries are written from the level `warn` on.
///
/// A process that only embeds a server has its own log and does not call this.
///
/// # Errors
/// If the level is not `error`, `warn`, `info`, `debug` or `trace`, or if the process already has a
/// subscriber.
pub fn log_to_stderr(level: &str, as_json: bool) -> Result<(), Error> {
    let level: LevelFilter = level.parse().map_err(|_| Error::Log {
        problem: format!("unknown log level `{level}`: use error, warn, info, debug or trace"),
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
