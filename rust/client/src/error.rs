//! Errors of calls.

use std::{error::Error as StdError, fmt, io, time::Duration};

use pingthings_types::{Code, RangeError, WidthError};
use tonic::Status;
use uuid::Uuid;

/// An error of a call. Its kind tells a program how to react; its message says what failed, on
/// which object, and what to do.
///
/// The causes are available through [`source`](StdError::source) and are not repeated in the
/// message. Neither ever contains the API key.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    stream: Option<Uuid>,
    insert: Option<FailedInsert>,
    /// Whether no server has processed the request: it was not sent, or the server declined it
    /// before processing.
    unsent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Details of a failed insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedInsert {
    /// Whether points may have been stored although no acknowledgement arrived. Repeating the
    /// insert could then store them twice.
    pub in_doubt: bool,
    /// Earliest and latest time of its points.
    pub times: Option<(i64, i64)>,
    /// The newest version in the acknowledgements of its parts, if any part was acknowledged.
    pub version: Option<u64>,
}

/// The kinds of errors that a caller can distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Refused with a status code of the protocol, by the server or by this client.
    Code(u32),
    /// The server cannot be reached, or the connection was lost.
    Connect,
    /// The server refused the API key.
    Unauthenticated,
    /// The API key does not permit this call.
    PermissionDenied,
    /// A time limit passed.
    Timeout,
    /// An argument is invalid, and the protocol has no code for the reason.
    InvalidArgument,
    /// The server does not support the call.
    NotSupported,
    /// The server's answer is malformed.
    Decode,
    /// The server's answer needs more memory than the limit allows.
    TooLarge,
    /// The client was closed.
    Closed,
    /// The server failed, and the protocol has no code for the reason.
    Server,
}

impl Error {
    /// An error with its kind and message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            stream: None,
            insert: None,
            unsent: false,
            source: None,
        }
    }

    /// An error found by this client, with the code that the server would have returned.
    pub fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Code(code.number()), message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(
            ErrorKind::Closed,
            "the client is closed: connect again to go on",
        )
    }

    pub(crate) fn connect_timeout(endpoint: &str, limit: Duration) -> Self {
        Self::new(
            ErrorKind::Timeout,
            format!(
                "no answer from `{endpoint}` within {limit:?} while connecting: check the address, \
                 the port and that the server is running"
            ),
        )
    }

    pub(crate) fn no_answer(method: &str, endpoint: &str, limit: Duration) -> Self {
        Self::new(
            ErrorKind::Timeout,
            format!("`{endpoint}` sent nothing for {limit:?} in answer to {method}"),
        )
    }

    pub(crate) fn connection_lost(method: &str, endpoint: &str) -> Self {
        Self::new(
            ErrorKind::Connect,
            format!(
                "the connection to `{endpoint}` was lost during {method}, and the transport did \
                 not report it"
            ),
        )
    }

    pub(crate) fn deadline(method: &str, limit: Duration) -> Self {
        Self::new(
            ErrorKind::Timeout,
            format!("{method} was not done within the deadline of {limit:?}"),
        )
    }

    pub(crate) fn decode(answer_name: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(
            ErrorKind::Decode,
            format!("the server's answer to {answer_name} cannot be read: {source}"),
        )
        .with_source(source)
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(
            ErrorKind::TooLarge,
            format!(
                "the answer takes more memory than the {limit} bytes of `memory_limit`: raise it, \
                 ask for less at once, or read in parts"
            ),
        )
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Records the stream on which the call failed, and names it in the message unless it does
    /// already.
    #[must_use]
    pub fn on_stream(mut self, uuid: Uuid) -> Self {
        self.stream = Some(uuid);
        let name = uuid.hyphenated().to_string();
        let about_a_stream = matches!(
            self.kind,
            ErrorKind::Code(_) | ErrorKind::Decode | ErrorKind::Server | ErrorKind::InvalidArgument
        );
        if about_a_stream && !self.message.contains(&name) {
            self.message = format!("stream `{name}`: {}", self.message);
        }
        self
    }

    #[must_use]
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        self.message = format!("{}; {context}", self.message);
        self
    }

    #[must_use]
    pub(crate) fn with_insert(mut self, insert: FailedInsert) -> Self {
        self.insert = Some(insert);
        self
    }

    /// Records that no server has processed the request.
    #[must_use]
    pub(crate) fn unsent(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// The stream on which the call failed.
    pub const fn stream(&self) -> Option<Uuid> {
        self.stream
    }

    /// Details of the insert, if one failed.
    pub const fn insert(&self) -> Option<FailedInsert> {
        self.insert
    }

    /// The kind.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the answer was lost, so that the client does not know what the server did.
    pub const fn is_ambiguous(&self) -> bool {
        !self.unsent
            && matches!(
                self.kind,
                ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Server
            )
    }

    /// Whether the server refused without changing anything, and may accept the call later.
    pub(crate) fn is_refusal(&self) -> bool {
        self.is_code(Code::ResourceDepleted) || self.needs_other_endpoint()
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect) || self.is_refusal()
    }

    /// Whether the call should be sent to another endpoint.
    pub(crate) fn needs_other_endpoint(&self) -> bool {
        self.is_code(Code::WrongEndpoint)
            || self.is_code(Code::ClusterDegraded)
            || (self.unsent && matches!(self.kind, ErrorKind::Connect))
    }

    /// Whether the connection caused the failure, not the request.
    pub(crate) fn is_connection_error(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect | ErrorKind::Timeout) || self.needs_other_endpoint()
    }

    /// Whether the peer has closed the connection. False if the peer stopped answering.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        let is_silence = |cause: &(dyn StdError + 'static)| {
            let error = cause.downcast_ref::<hyper::Error>();
            error.is_some_and(hyper::Error::is_timeout)
        };
        matches!(self.kind, ErrorKind::Connect) && !self.unsent && !causes(self).any(is_silence)
    }

    pub(crate) fn is_code(&self, code: Code) -> bool {
        self.kind == ErrorKind::Code(code.number())
    }

    pub(crate) fn is_unimplemented(&self) -> bool {
        self.kind == ErrorKind::NotSupported || self.is_code(Code::NotImplemented)
    }

    /// Converts a gRPC status. `trusted` describes the authorities that this connection trusts.
    pub(crate) fn from_status(method: &str, endpoint: &str, trusted: &str, status: Status) -> Self {
        let unsent = was_not_processed(&status);
        let error = Self::translate(method, endpoint, status);
        let error = Self {
            unsent: unsent && error.kind == ErrorKind::Connect,
            ..error
        };
        if error.message.contains("invalid peer certificate") {
            return error.with_context(&format!(
                "the trusted authorities are {trusted}; set BTRDB_CA_BUNDLE to trust others"
            ));
        }
        error
    }

    fn translate(method: &str, endpoint: &str, status: Status) -> Self {
        use tonic::Code as Grpc;
        if let Some(ours) = causes(&status).find_map(|cause| cause.downcast_ref::<Self>()) {
            return Self::new(ours.kind, ours.message.clone());
        }
        let details = status.message().to_owned();
        if let Some((code, rest)) = bracketed_code(&details) {
            return Self::new(ErrorKind::Code(code), rest.to_owned()).with_source(status);
        }
        let (kind, message) = match status.code() {
            Grpc::Unauthenticated => (
                ErrorKind::Unauthenticated,
                format!("`{endpoint}` refused the API key: UNAUTHENTICATED, {details}"),
            ),
            Grpc::PermissionDenied => (
                ErrorKind::PermissionDenied,
                format!("{method} is not permitted: {details}"),
            ),
            Grpc::Unavailable => (
                ErrorKind::Connect,
                format!(
                    "cannot reach `{endpoint}` for {method}: {}",
                    root_cause(&status)
                ),
            ),
            Grpc::DeadlineExceeded => (
                ErrorKind::Timeout,
                format!("{method} took too long: {details}"),
            ),
            Grpc::Unimplemented => (
                ErrorKind::NotSupported,
                format!("the server at `{endpoint}` does not offer {method}: {details}"),
            ),
            Grpc::OutOfRange | Grpc::DataLoss => (
                ErrorKind::Decode,
                format!("the answer to {method} cannot be read: {details}"),
            ),
            // A connection that is lost in the middle of an answer appears under several codes. In
            // all of them tonic keeps the transport's error as the source.
            _ if is_transport(&status) => (
                ErrorKind::Connect,
                format!(
                    "the connection to `{endpoint}` broke in {method}: {}",
                    root_cause(&status)
                ),
            ),
            other => (
                ErrorKind::Server,
                format!("{method} failed with {other:?}: {details}"),
            ),
        };
        Self::new(kind, message).with_source(status)
    }
}

/// Some deployments have a proxy that puts the protocol's code into the text of a gRPC error, for
/// example `[404] stream does not exist`.
fn bracketed_code(details: &str) -> Option<(u32, &str)> {
    let (number, rest) = details.strip_prefix('[')?.split_once(']')?;
    let code = number.parse().ok()?;
    Some((Code::from_number(code)?.number(), rest.trim_start()))
}

/// The causes of an error, the direct cause first.
fn causes(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Whether the transport failed, not the server. Only a status that was created in this process has
/// a cause. The text of a status proves nothing, because a server may send any text.
fn is_transport(status: &Status) -> bool {
    causes(status).any(|cause| {
        cause.is::<tonic::transport::Error>()
            || cause.is::<hyper::Error>()
            || cause.is::<h2::Error>()
            || cause.is::<io::Error>()
    })
}

/// Whether the server has certainly not processed the call: there was no connection, or the server
/// said that it accepts no more calls on this one.
fn was_not_processed(status: &Status) -> bool {
    causes(status).any(|cause| {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            let unprocessed = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote()
                && (unprocessed || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        let cancelled = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        cancelled || cause.is::<tonic::ConnectError>()
    })
}

fn root_cause(status: &Status) -> String {
    let deepest = causes(status).last();
    deepest.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<RangeError> for Error {
    fn from(error: RangeError) -> Self {
        Self::refused(Code::InvalidTimeRange, error.to_string())
    }
}

impl From<WidthError> for Error {
    fn from(error: WidthError) -> Self {
        Self::refused(Code::InvalidPointWidth, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_in_brackets_is_the_error() {
        let error = Error::translate(
            "StreamInfo",
            "host:4410",
            Status::internal("[404] stream does not exist"),
        );
        assert_eq!(error.kind(), ErrorKind::Code(404));
        assert_eq!(error.to_string(), "stream does not exist");
        let error = Error::translate("Info", "host:4410", Status::internal("[not] a code"));
        assert_eq!(error.kind(), ErrorKind::Server);
    }

    #[test]
    fn error_texts_of_servers_are_not_mistaken_for_lost_connections() {
        let translate = |status| Error::translate("Info", "host:4410", status).kind();
        let texts = [
            "no connection to the database",
            "the transport of logs failed",
            "h2 protocol error: none",
        ];
        for text in texts {
            assert_eq!(
                translate(Status::internal(text)),
                ErrorKind::Server,
                "{text}"
            );
        }
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = Status::from_error(Box::new(broken));
        assert_eq!(translate(broken), ErrorKind::Connect);
        let reset = h2::Error::from(h2::Reason::INTERNAL_ERROR);
        assert_eq!(
            translate(Status::from_error(Box::new(reset))),
            ErrorKind::Connect
        );
    }

    #[test]
    fn the_stream_is_named_once() {
        let uuid = Uuid::from_u128(7);
        let error = Error::refused(Code::NoSuchStream, "unknown")
            .on_stream(uuid)
            .on_stream(uuid);
        assert_eq!(error.to_string(), format!("stream `{uuid}`: unknown"));
    }
}
