//! What a running server looks after besides calls: changed keys and certificates, and whether
//! the storage engine fails behind everybody's back.

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

/// How often files are looked at: a key that was revoked is good for this long.
const EVERY: Duration = Duration::from_secs(1);

/// Retention may be behind the clock by this without a word: it catches up in a moment.
const BEHIND: Duration = Duration::from_mins(10);

/// What is looked after.
pub(crate) struct Supervised {
    pub(crate) engine: Arc<Engine>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) wake: Arc<Notify>,
}

/// Looks after it for as long as it is polled.
pub(crate) async fn supervise(supervised: Supervised) {
    let Supervised {
        engine,
        auth,
        identity,
        metrics,
        wake,
    } = supervised;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = [const { String::new() }; 3];
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
            tell(&mut told[0], "API keys", keys);
            tell(&mut told[1], "certificate", certificate);
        }
        let behind = engine.retention_behind();
        let seconds = i64::try_from(behind.as_secs()).unwrap_or(i64::MAX);
        metrics.retention_behind.store(seconds, Ordering::Relaxed);
        if behind > BEHIND && !was_behind {
            tracing::warn!(
                seconds,
                "the clock went further than time has passed; retention follows slowly: if the \
                 clock is wrong, correct it"
            );
        }
        was_behind = behind > BEHIND;
        let failed = engine.background_error();
        metrics
            .background_failed
            .store(i64::from(failed.is_some()), Ordering::Relaxed);
        let failed = failed.map_or_else(String::new, |error| error.to_string());
        if failed != told[2] {
            if failed.is_empty() {
                tracing::info!("the storage engine works again in the background");
            } else {
                tracing::error!(
                    error = failed,
                    "the storage engine failed in the background"
                );
            }
            told[2] = failed;
        }
    }
}

/// Logs what came of looking at a file, but a failure only once.
fn tell(told: &mut String, what: &str, refreshed: Result<bool, Error>) {
    match refreshed {
        Ok(changed) => {
            if changed {
                tracing::info!(what, "taken from its file anew");
            }
            told.clear();
        }
        Err(error) => {
            let error = error.to_string();
            if *told != error {
                tracing::error!(
                    what,
                    error,
                    "cannot be taken from its file; it stays as it was"
                );
                *told = error;
            }
        }
    }
}
