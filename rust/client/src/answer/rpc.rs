//! The stubs of the server's services, and the traits of their answers.

use std::sync::Arc;

use bytes::Bytes;
use pingthings_proto::{
    management::{self, management_client::ManagementClient},
    v5api::{self, b_tr_db_client::BTrDbClient},
};
use tonic::{codec::CompressionEncoding, transport::Channel};

use crate::{
    answer::{budget::Budget, message_body::CheckedChannel},
    method::Method,
};

pub(crate) type Rpc = BTrDbClient<CheckedChannel>;
pub(crate) type ManagementRpc = ManagementClient<CheckedChannel>;

/// A stub: the methods of a service over a channel, for one call of `method`.
pub(crate) trait Stub: Send {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self;
}

impl Stub for Rpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self::new(CheckedChannel::new(channel, budget, method))
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
    }
}

impl Stub for ManagementRpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self::new(CheckedChannel::new(channel, budget, method))
            .max_decoding_message_size(usize::MAX)
    }
}

/// An answer with a field `stat`, which reports a refusal.
pub(crate) trait Answer {
    fn stat(&mut self) -> Option<v5api::Status>;
}

macro_rules! answers {
    ($package:ident: $($message:ident)*) => {
        $(impl Answer for $package::$message {
            fn stat(&mut self) -> Option<v5api::Status> {
                self.stat.take()
            }
        })*
    };
}

answers! { v5api:
    InfoResponse CreateResponse StreamInfoResponse LookupStreamsResponse ListCollectionsResponse
    InsertResponse NearestResponse FlushResponse AlignedWindowsResponse WindowsResponse
    ChangesResponse DeleteResponse ObliterateResponse SetStreamTagsResponse
    SetStreamAnnotationsResponse SqlQueryResponse
}

answers! { management:
    GetStreamRetentionResponse SetStreamRetentionResponse GetCollectionResponse
    SetCollectionRetentionResponse GetVersionAtTimeResponse ListRecordsResponse RecordResponse
    DeleteRecordResponse
}

/// An element of an answer that contains many.
pub(crate) trait Item {
    /// The memory that it uses besides its own size.
    fn heap_bytes(&self) -> usize;
}

impl Item for Bytes {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Item for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Item for (i64, i64) {
    fn heap_bytes(&self) -> usize {
        0
    }
}
