//! Fan-out: one call over many streams, with limited concurrency, on all worker threads.

use std::future::Future;

use tokio::task::JoinSet;

use crate::{
    error::{Error, ErrorKind},
    session::client::Client,
};

impl Client {
    /// Runs `work` for each item and returns the results in the order of the items. The first error
    /// cancels the remaining work and is returned.
    ///
    /// The concurrency limit also limits how many items run at once. Dropping the future cancels
    /// all of them.
    pub async fn for_each<I, T, F>(
        &self,
        items: Vec<I>,
        work: impl Fn(Self, I) -> F + Send + Sync,
    ) -> Result<Vec<T>, Error>
    where
        I: Send,
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut items = items;
        // Most calls read one stream, and need no extra task.
        if let [_] = items.as_slice()
            && let Some(item) = items.pop()
        {
            return Ok(vec![work(self.clone(), item).await?]);
        }
        let mut done: Vec<Option<T>> = Vec::new();
        done.resize_with(items.len(), || None);
        let mut items = items.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            // The limit is read again for each item because it may change.
            while running.len() < self.concurrency_limit()
                && let Some((index, item)) = items.next()
            {
                let task = work(self.clone(), item);
                running.spawn(async move { (index, task.await) });
            }
            let Some(finished) = running.join_next().await else {
                break;
            };
            let (index, outcome) = finished.map_err(|error| {
                Error::new(
                    ErrorKind::Server,
                    format!("a call ended abnormally: {error}"),
                )
            })?;
            done[index] = Some(outcome?);
        }
        Ok(done.into_iter().flatten().collect())
    }
}
