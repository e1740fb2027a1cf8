//! Connecting: the first call, to the first endpoint that answers.

use std::sync::Arc;

use crate::{
    calls::info::Info,
    config::Config,
    error::Error,
    method::RetryPolicy,
    session::{ClientState, client::Client},
};

impl Client {
    /// Connects and requests [`Info`], which also checks the API key.
    ///
    /// Must run on a tokio runtime.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let client = Self {
            state: Arc::new(ClientState::new(config)?),
            capabilities: Arc::default(),
            time_limits: Arc::default(),
            deadline: None,
            trace: None,
        };
        client.first_info().await?;
        Ok(client)
    }

    /// Tries each endpoint once, without retries, so that a wrong address is reported soon.
    async fn first_info(&self) -> Result<Info, Error> {
        let limit = self.state.config.connect_timeout;
        let mut attempts = self.state.endpoints();
        loop {
            let answer = tokio::time::timeout(limit, self.request_info(RetryPolicy::Never)).await;
            attempts -= 1;
            match answer {
                Ok(Err(error)) if attempts > 0 && error.is_connection_error() => {}
                Ok(done) => return done,
                Err(_) if attempts > 0 => self.state.session()?.pool.leave_preferred_endpoint(),
                Err(_) => return Err(Error::connect_timeout(&self.endpoint(), limit)),
            }
        }
    }
}
