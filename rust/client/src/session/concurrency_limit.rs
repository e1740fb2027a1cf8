//! The limit of calls in flight, which can be changed while calls wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// A semaphore whose size can be changed at any time, also while calls wait.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    semaphore: Arc<Semaphore>,
    size: Mutex<usize>,
    /// Number of permits that are removed instead of released when they are dropped, because the
    /// limit was lowered while they were in use.
    surplus: Arc<AtomicUsize>,
}

/// The right to have one call in flight, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    surplus: Arc<AtomicUsize>,
}

impl ConcurrencyLimit {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size: Mutex::new(size),
            surplus: Arc::default(),
        }
    }

    pub(crate) async fn acquire(&self) -> Result<Permit, Error> {
        let permit = Arc::clone(&self.semaphore).acquire_owned().await;
        let permit = permit.map_err(|_| Error::closed())?;
        Ok(Permit {
            permit: Some(permit),
            surplus: Arc::clone(&self.surplus),
        })
    }

    /// Changes the limit. A higher limit starts waiting calls at once; a lower limit takes effect
    /// when enough calls have ended.
    pub(crate) fn resize(&self, to: usize) {
        let mut size = self.size.lock();
        if to > *size {
            let mut grow = to - *size;
            // Permits that were to be removed stay instead.
            let kept = take_up_to(&self.surplus, grow);
            grow -= kept;
            self.semaphore.add_permits(grow);
        } else {
            let shrink = *size - to;
            let now = self.semaphore.forget_permits(shrink);
            self.surplus.fetch_add(shrink - now, Ordering::AcqRel);
        }
        *size = to;
    }

    /// Ends the wait of all calls with the error that the client is closed.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }
}

fn take_up_to(counter: &AtomicUsize, max: usize) -> usize {
    let mut taken = 0;
    let _ = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
        taken = n.min(max);
        (taken > 0).then(|| n - taken)
    });
    taken
}

impl Drop for Permit {
    fn drop(&mut self) {
        if take_up_to(&self.surplus, 1) == 1
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use super::*;

    async fn would_wait(limit: &ConcurrencyLimit) -> bool {
        let mut acquire = pin!(limit.acquire());
        std::future::poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn a_lower_limit_takes_effect_while_calls_run() {
        let limit = ConcurrencyLimit::new(3);
        let (first, second, third) = (
            limit.acquire().await.unwrap(),
            limit.acquire().await.unwrap(),
            limit.acquire().await.unwrap(),
        );
        limit.resize(1);
        drop((first, second));
        assert!(
            would_wait(&limit).await,
            "two permits were released, but one is in use and only one is allowed"
        );
        drop(third);
        let kept = limit.acquire().await.unwrap();
        assert!(would_wait(&limit).await);
        limit.resize(2);
        let other = limit.acquire().await.unwrap();
        assert!(would_wait(&limit).await);
        drop((kept, other));
    }

    #[tokio::test]
    async fn raising_the_limit_again_cancels_pending_removals() {
        let limit = ConcurrencyLimit::new(2);
        let (a, b) = (
            limit.acquire().await.unwrap(),
            limit.acquire().await.unwrap(),
        );
        limit.resize(1);
        limit.resize(2);
        drop((a, b));
        let (_c, _d) = (
            limit.acquire().await.unwrap(),
            limit.acquire().await.unwrap(),
        );
        assert!(would_wait(&limit).await);
    }

    #[tokio::test]
    async fn closing_ends_the_wait_of_calls() {
        let limit = Arc::new(ConcurrencyLimit::new(1));
        let _held = limit.acquire().await.unwrap();
        let waiting = tokio::spawn({
            let limit = Arc::clone(&limit);
            async move { limit.acquire().await.map(drop) }
        });
        limit.close();
        assert!(waiting.await.unwrap().is_err());
    }
}
