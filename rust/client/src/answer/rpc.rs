//! The services of a server, and what all of their answers have in common.

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

/// The methods of a service over a channel, for a call of one of them.
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

/// An answer that says in `stat` whether the server refused.
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

/// Something of which an answer holds many.
pub(crate) trait Item {
    /// What it takes of the machine's memory besides what it is itself.
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
