//! The first call: to the first endpoint that answers.

use std::sync::Arc;

use crate::{
    calls::info::Info,
    config::Config,
    error::Error,
    method::Repeat,
    session::{ClientState, client::Client},
};

impl Client {
    /// Connects, and asks the server who it is, which also proves that the key is good.
    ///
    /// Must run on a tokio runtime.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let client = Self {
            state: Arc::new(ClientState::new(config)?),
            server: Arc::default(),
            time_limits: Arc::default(),
            deadline: None,
            trace: None,
        };
        client.first_info().await?;
        Ok(client)
    }

    /// Asks each endpoint once: who mistypes an address wants to know soon.
    async fn first_info(&self) -> Result<Info, Error> {
        let limit = self.state.config.connect_timeout;
        let mut attempts = self.state.endpoints();
        loop {
            let answer = tokio::time::timeout(limit, self.ask(Repeat::Never)).await;
            attempts -= 1;
            match answer {
                Ok(Err(error)) if attempts > 0 && error.is_of_connection() => {}
                Ok(done) => return done,
                Err(_) if attempts > 0 => self.state.session()?.pool.turn_away(),
                Err(_) => return Err(Error::connect_timeout(&self.endpoint(), limit)),
            }
        }
    }
}
