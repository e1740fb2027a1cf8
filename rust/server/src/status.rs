//! Refusals of calls. Only this file converts an engine error to a `stat`.

use std::error::Error as _;

use pingthings_proto::{management, v5api};
use pingthings_types::{Code, RangeError, WidthError};
use tokio::task::JoinError;

/// Why a call was refused, as the caller reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A refusal because of an invalid parameter.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter, message)
    }
}

impl From<pingthings_storage::Error> for Refusal {
    fn from(error: pingthings_storage::Error) -> Self {
        let code = error.code();
        if is_internal(code) {
            let mut chain = Vec::new();
            let mut cause = error.source();
            while let Some(next) = cause {
                chain.push(next.to_string());
                cause = next.source();
            }
            tracing::error!(%error, ?chain, code = code.number(), "the engine failed");
        }
        Self::new(code, error.to_string())
    }
}

impl From<pingthings_sql::Error> for Refusal {
    fn from(error: pingthings_sql::Error) -> Self {
        let code = error.code();
        if is_internal(code) {
            tracing::error!(%error, code = code.number(), "the catalog could not be queried");
        }
        Self::new(code, error.to_string())
    }
}

impl From<RangeError> for Refusal {
    fn from(error: RangeError) -> Self {
        Self::new(Code::InvalidTimeRange, error.to_string())
    }
}

impl From<WidthError> for Refusal {
    fn from(error: WidthError) -> Self {
        Self::new(Code::InvalidPointWidth, error.to_string())
    }
}

/// A handler that panicked. The caller gets an internal error, and the log has the details.
impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        tracing::error!(%error, "a call did not finish");
        Self::new(
            Code::InvariantFailure,
            "the server failed to answer; its log says why",
        )
    }
}

/// The maximum length of the text of a refusal. A text may quote a long request.
const MAX_TEXT_BYTES: usize = 4_096;

impl From<Refusal> for v5api::Status {
    fn from(refusal: Refusal) -> Self {
        let mut msg = refusal.message;
        if msg.len() > MAX_TEXT_BYTES {
            msg.truncate(msg.floor_char_boundary(MAX_TEXT_BYTES));
            msg.push_str(" ...");
        }
        Self {
            code: refusal.code.number(),
            msg,
            mash: None,
        }
    }
}

/// Whether a code means an error of the server, not of the caller.
const fn is_internal(code: Code) -> bool {
    matches!(
        code,
        Code::InsertFailure
            | Code::StorageError
            | Code::JournalError
            | Code::MetadataConnectionError
            | Code::UnsupportedRollback
            | Code::InvariantFailure
    )
}

/// An answer that can contain a refusal.
pub(crate) trait Refuse: prost::Message + 'static {
    /// The answer with only the refusal.
    fn refuse(refusal: Refusal) -> Self;
}

macro_rules! refuse {
    ($contract:ident: $($answer:ident,)*) => {
        $(impl Refuse for $contract::$answer {
            #[allow(clippy::needless_update, reason = "some answers have only a status")]
            fn refuse(refusal: Refusal) -> Self {
                Self { stat: Some(refusal.into()), ..Self::default() }
            }
        })*
    };
}

refuse! {
    v5api:
    AlignedWindowsResponse,
    ArrowAlignedWindowsResponse,
    ArrowMultiValuesResponse,
    ArrowRawValuesResponse,
    ArrowWindowsResponse,
    ChangesResponse,
    CreateResponse,
    DeleteResponse,
    FaultInjectResponse,
    FlushResponse,
    GenerateCsvResponse,
    InfoResponse,
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
    WindowsResponse,
}

refuse! {
    management:
    DeleteRecordResponse,
    GetCollectionResponse,
    GetStreamRetentionResponse,
    GetVersionAtTimeResponse,
    ListRecordsResponse,
    RecordResponse,
    SetCollectionRetentionResponse,
    SetStreamRetentionResponse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_as_an_invariant_failure_without_its_text() {
        let panic = tokio::task::spawn_blocking(|| panic!("secret"))
            .await
            .unwrap_err();
        let refusal = Refusal::from(panic);
        assert_eq!(refusal.code, Code::InvariantFailure);
        assert!(!refusal.message.contains("secret"), "{}", refusal.message);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = |letters| {
            let refusal = Refusal::parameter("é".repeat(letters));
            v5api::Status::from(refusal).msg
        };
        assert_eq!(text(2_048), "é".repeat(2_048));
        assert_eq!(text(2_049), "é".repeat(2_048) + " ...");
        let odd = Refusal::parameter("x".to_owned() + &"é".repeat(1 << 20));
        let odd = v5api::Status::from(odd).msg;
        assert_eq!(odd, "x".to_owned() + &"é".repeat(2_047) + " ...");
    }

    #[test]
    fn a_refusal_keeps_the_code_and_text_of_the_engine() {
        let error = pingthings_storage::Error::Closed;
        let stat = v5api::Status::from(Refusal::from(error.clone()));
        assert_eq!(stat.code, error.code().number());
        assert_eq!(stat.msg, error.to_string());
    }
}
