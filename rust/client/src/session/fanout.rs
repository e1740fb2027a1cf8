//! One call over many streams: bounded, in order, on all worker threads.

use std::future::Future;

use tokio::task::JoinSet;

use crate::{
    error::{Error, ErrorKind},
    session::client::Client,
};

/// What a call over many streams does when one of them fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// End the others and fail with that stream's error.
    #[default]
    Raise,
    /// Go on, and return that stream's error in its place.
    Return,
}

impl Client {
    /// Runs `work` for each item and returns the outcomes in the order of the items.
    ///
    /// At most as many are under way as the concurrency limit lets through. Dropping the future
    /// ends all of them.
    pub async fn for_each<I, T, F>(
        &self,
        items: Vec<I>,
        on_error: OnError,
        work: impl Fn(Self, I) -> F + Send + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error>
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
            let outcome = work(self.clone(), item).await;
            return match (outcome, on_error) {
                (Err(error), OnError::Raise) => Err(error),
                (outcome, _) => Ok(vec![outcome]),
            };
        }
        let mut outcomes: Vec<Option<Result<T, Error>>> = Vec::new();
        outcomes.resize_with(items.len(), || None);
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
            match outcome {
                Err(error) if on_error == OnError::Raise => return Err(error),
                outcome => outcomes[index] = Some(outcome),
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }
}
