//! SQL over the metadata of streams.

use bytes::Bytes;
use pingthings_proto::v5api;

use crate::{answer::rpc::Rpc, error::Error, method::Method, session::client::Client};

impl Client {
    /// The rows of a query, each a JSON object as the server sent it.
    pub async fn sql_query(&self, query: String, params: Vec<String>) -> Result<Vec<Bytes>, Error> {
        let request = v5api::SqlQueryParams {
            query,
            params,
            role: None,
        };
        self.collect_stream(
            Method::SQLQuery,
            request,
            |mut rpc: Rpc, q| async move { rpc.sql_query(q).await },
            |answer: v5api::SqlQueryResponse| Ok(answer.sql_query_row),
        )
        .await
    }
}
