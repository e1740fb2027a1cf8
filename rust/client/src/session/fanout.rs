//! One call over many streams: bounded, in order, on all worker threads.

use std::future::Future;

use tokio::task::JoinSet;

use crate::{
    error::{Error, ErrorKind},
    session::client::Client,
};

impl Client {
    /// Runs `work` for each item and returns what comes of them in the order of the items. The first
    /// one that fails ends the others, and its error is that of all.
    ///
    /// At most as many are under way as the concurrency limit lets through. Dropping the future
    /// ends all of them.
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
        // Most calls are about one stream: its task is the one that asks.
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
            // The limit may be changed meanwhile, so it is asked for each time.
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
