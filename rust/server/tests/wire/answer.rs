//! Answers that may contain a `stat`.

use pingthings_proto::v5api as v5;
use tonic::{Response, Status, Streaming};

/// An answer, or the status code of its refusal.
pub(crate) type Outcome<T> = Result<T, u32>;

/// An answer that may contain a `stat`.
pub(crate) trait Answer {
    fn stat(&self) -> Option<&v5::Status>;
}

macro_rules! answers {
    ($($name:ident),*) => {
        $(impl Answer for v5::$name {
            fn stat(&self) -> Option<&v5::Status> {
                self.stat.as_ref()
            }
        })*
    };
}

answers!(
    AlignedWindowsResponse,
    ArrowAlignedWindowsResponse,
    ArrowMultiValuesResponse,
    ArrowRawValuesResponse,
    ArrowWindowsResponse,
    ChangesResponse,
    CreateResponse,
    DeleteResponse,
    FlushResponse,
    GenerateCsvResponse,
    InsertResponse,
    ListCollectionsResponse,
    LookupStreamsResponse,
    MetadataUsageResponse,
    NearestResponse,
    ObliterateResponse,
    RawValuesResponse,
    SetStreamAnnotationsResponse,
    SetStreamTagsResponse,
    SqlQueryResponse,
    StreamInfoResponse,
    SubscriptionResp,
    WindowsResponse
);

macro_rules! management_answers {
    ($($name:ident),*) => {
        $(impl Answer for pingthings_proto::management::$name {
            fn stat(&self) -> Option<&v5::Status> {
                self.stat.as_ref()
            }
        })*
    };
}

management_answers!(
    DeleteRecordResponse,
    GetCollectionResponse,
    GetStreamRetentionResponse,
    GetVersionAtTimeResponse,
    ListRecordsResponse,
    RecordResponse,
    SetCollectionRetentionResponse,
    SetStreamRetentionResponse
);

/// The answer of a call, or the status code of its refusal.
pub(crate) fn answer<M: Answer>(response: Result<Response<M>, Status>) -> Outcome<M> {
    let answer = response.unwrap().into_inner();
    match answer.stat() {
        None => Ok(answer),
        Some(stat) => {
            assert!(!stat.msg.is_empty(), "{stat:?}");
            Err(stat.code)
        }
    }
}

/// All answers of a call. There is at least one, and a refusal is the last.
pub(crate) async fn answers<M: Answer>(
    response: Result<Response<Streaming<M>>, Status>,
) -> Outcome<Vec<M>> {
    let mut stream = response.unwrap().into_inner();
    let mut answers = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(stat) = message.stat() {
            assert!(!stat.msg.is_empty(), "{stat:?}");
            let code = stat.code;
            assert!(stream.message().await.unwrap().is_none());
            return Err(code);
        }
        answers.push(message);
    }
    assert!(!answers.is_empty(), "a stream without a message");
    Ok(answers)
}
