//! Limits on the calls that run in the engine at the same time, and on those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingthings_types::Code;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::account::{AccountPermits, share};
use crate::status::Refusal;

/// The permits of all calls. A call needs one to run in the engine.
#[derive(Debug)]
pub(crate) struct PermitPool {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// The right of one call to run in the engine. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Permit {
    _of_all: OwnedSemaphorePermit,
    _of_account: OwnedSemaphorePermit,
}

impl PermitPool {
    pub(crate) fn new(running: usize, max_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Waits for a permit. If too many calls wait already, it fails with status 426.
    pub(crate) async fn acquire(&self, account: &AccountPermits) -> Result<Permit, Refusal> {
        if let Ok(of_account) = Arc::clone(&account.running).try_acquire_owned()
            && let Ok(of_all) = Arc::clone(&self.running).try_acquire_owned()
        {
            return Ok(Permit {
                _of_all: of_all,
                _of_account: of_account,
            });
        }
        let _slot = enter_queue(&self.waiting, self.max_waiting, "calls")?;
        let max = share(self.max_waiting);
        let _account_slot = enter_queue(&account.waiting, max, "calls of yours")?;
        self.reacquire(account).await
    }

    /// Waits for a permit again, in a call that has had one before. The queue is not limited here.
    pub(crate) async fn reacquire(&self, account: &AccountPermits) -> Result<Permit, Refusal> {
        let stopping = |_: AcquireError| Refusal::new(Code::GenericError, "the server is stopping");
        // The account's permit comes first. An account without a free permit must not wait in the
        // common queue in front of others.
        let of_account = Arc::clone(&account.running).acquire_owned().await;
        let of_account = of_account.map_err(stopping)?;
        let of_all = Arc::clone(&self.running).acquire_owned().await;
        Ok(Permit {
            _of_all: of_all.map_err(stopping)?,
            _of_account: of_account,
        })
    }
}

fn enter_queue<'a>(
    waiting: &'a AtomicUsize,
    max: usize,
    who: &str,
) -> Result<QueueSlot<'a>, Refusal> {
    let slot = QueueSlot(waiting);
    if waiting.fetch_add(1, Ordering::Relaxed) < max {
        Ok(slot)
    } else {
        Err(Refusal::new(
            Code::ResourceDepleted,
            format!("the server is overloaded, {max} {who} wait already: try again later"),
        ))
    }
}

/// A place in the queue. It is released when the call gets its permit or its client disconnects.
struct QueueSlot<'a>(&'a AtomicUsize);

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future};

    use super::*;
    use crate::account::Account;
    use crate::config::Limits;

    fn account(permits: usize) -> Arc<Account> {
        Account::new(&Limits {
            concurrent_calls: permits,
            ..Limits::default()
        })
    }

    #[tokio::test]
    async fn a_full_queue_refuses_calls_until_one_leaves() {
        let (pool, account) = (PermitPool::new(1, 1), account(8));
        let permit = pool.acquire(&account.calls).await.unwrap();

        let mut waiting = Box::pin(pool.acquire(&account.calls));
        assert!(waiting.as_mut().now_or_never().is_none());
        let refusal = pool.acquire(&account.calls).await.unwrap_err();
        assert_eq!(refusal.code, Code::ResourceDepleted);

        // A client that disconnects leaves the queue.
        drop(waiting);
        let waiting = pool.acquire(&account.calls);
        let (permit, ()) = future::join(waiting, async { drop(permit) }).await;
        assert!(permit.is_ok());
        assert_eq!(pool.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(account.calls.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_call_that_was_admitted_is_never_refused() {
        let (pool, account) = (PermitPool::new(1, 0), account(8));
        let permit = pool.acquire(&account.calls).await.unwrap();
        assert!(pool.acquire(&account.calls).await.is_err());
        let (again, ()) =
            future::join(pool.reacquire(&account.calls), async { drop(permit) }).await;
        assert!(again.is_ok());
    }

    #[tokio::test]
    async fn one_account_gets_neither_all_permits_nor_the_whole_queue() {
        let (pool, greedy, other) = (PermitPool::new(4, 4), account(4), account(4));
        let mut permits = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            permits.push(pool.acquire(&greedy.calls).await.unwrap());
        }
        for _ in 0..3 {
            waiting.push(Box::pin(pool.acquire(&greedy.calls)));
            assert!(waiting.last_mut().unwrap().now_or_never().is_none());
        }
        let refusal = pool.acquire(&greedy.calls).await.unwrap_err();
        assert!(refusal.message.contains("of yours"), "{}", refusal.message);
        // The other account gets a permit at once, and after that a place in the queue.
        let permit = pool.acquire(&other.calls).now_or_never().unwrap().unwrap();
        let mut next = Box::pin(pool.acquire(&other.calls));
        assert!(next.as_mut().now_or_never().is_none());
        drop(permit);
        assert!(next.await.is_ok());
    }
}
