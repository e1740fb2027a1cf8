//! Periodic work of a running server: reloads keys and certificates, and reports errors of the
//! storage engine's background thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingthings_storage::Engine;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::auth::Auth;
use crate::metrics::Metrics;
use crate::tls::Identity;

/// How often files are checked. A revoked key stays valid for this long.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How far retention may be behind the clock before that is logged.
const MAX_RETENTION_DELAY: Duration = Duration::from_mins(10);

/// The periodic work and what it needs.
pub(crate) struct Supervisor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) wake: Arc<Notify>,
}

impl Supervisor {
    /// Runs while it is polled.
    pub(crate) async fn run(self) {
        let Self {
            engine,
            auth,
            identity,
            metrics,
            wake,
        } = self;
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut logged = [const { String::new() }; 3];
        let mut was_behind = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = wake.notified() => {}
            }
            let (auth, identity) = (Arc::clone(&auth), identity.clone());
            let refreshed = spawn_blocking(move || {
                let keys = auth.refresh();
                let certificate = identity.map_or(Ok(false), |identity| identity.refresh());
                [keys, certificate]
            });
            if let Ok([keys, certificate]) = refreshed.await {
                log_refresh(&mut logged[0], "API keys", keys);
                log_refresh(&mut logged[1], "certificate", certificate);
            }
            let behind = engine.retention_behind();
            let seconds = i64::try_from(behind.as_secs()).unwrap_or(i64::MAX);
            metrics.retention_behind.store(seconds, Ordering::Relaxed);
            if behind > MAX_RETENTION_DELAY && !was_behind {
                tracing::warn!(
                    seconds,
                    "the clock has jumped ahead; retention follows slowly: if the clock is wrong, \
                     correct it"
                );
            }
            was_behind = behind > MAX_RETENTION_DELAY;
            let failed = engine.background_error();
            metrics
                .background_failed
                .store(i64::from(failed.is_some()), Ordering::Relaxed);
            let failed = failed.map_or_else(String::new, |error| error.to_string());
            if failed != logged[2] {
                if failed.is_empty() {
                    tracing::info!("the storage engine works again in the background");
                } else {
                    tracing::error!(
                        error = failed,
                        "the storage engine failed in the background"
                    );
                }
                logged[2] = failed;
            }
        }
    }
}

/// Logs the result of checking a file. The same error is logged only once.
fn log_refresh(logged: &mut String, what: &str, refreshed: Result<bool, Error>) {
    match refreshed {
        Ok(changed) => {
            if changed {
                tracing::info!(what, "reloaded from the file");
            }
            logged.clear();
        }
        Err(error) => {
            let error = error.to_string();
            if *logged != error {
                tracing::error!(
                    what,
                    error,
                    "cannot reload from the file; the old content stays in use"
                );
                *logged = error;
            }
        }
    }
}
