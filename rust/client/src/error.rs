//! Why a call failed.

use std::{error::Error as StdError, fmt, io, time::Duration};

use pingthings_types::{Code, RangeError, WidthError};
use tonic::Status;
use uuid::Uuid;

/// Why a call failed: a kind to act on, and a message that names what failed, on which object,
/// and what to do.
///
/// The cause chain is in [`source`](StdError::source), never in the message, and neither ever
/// holds the API key.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    stream: Option<Uuid>,
    insert: Option<FailedInsert>,
    /// Whether the request never left this machine, or never reached whoever answers it.
    unsent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is known of an insert that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedInsert {
    /// Whether points may have been stored without an answer, so that repeating the insert could
    /// store them twice.
    pub in_doubt: bool,
    /// First and last time of its points.
    pub times: Option<(i64, i64)>,
    /// The newest version an acknowledged part of it was answered with.
    pub version: Option<u64>,
}

/// What a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Refused with a status code of the protocol, by the server or already by this client.
    Code(u32),
    /// The server cannot be reached, or the connection broke.
    Connect,
    /// The key was refused.
    Unauthenticated,
    /// The key may not do this.
    PermissionDenied,
    /// A time limit passed.
    Timeout,
    /// An argument is not valid, for a reason the protocol has no code for.
    InvalidArgument,
    /// The server does not offer what was asked for.
    NotSupported,
    /// The server's answer makes no sense.
    Decode,
    /// The server's answer takes more memory than it may.
    TooLarge,
    /// The client was closed.
    Closed,
    /// The server failed in a way the protocol has no code for.
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

    /// A refusal by this client, with the code the server would have used.
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

    pub(crate) fn forgotten(method: &str, endpoint: &str) -> Self {
        Self::new(
            ErrorKind::Connect,
            format!("the connection to `{endpoint}` broke in {method}, which was not told"),
        )
    }

    pub(crate) fn deadline(method: &str, limit: Duration) -> Self {
        Self::new(
            ErrorKind::Timeout,
            format!("{method} was not done within the deadline of {limit:?}"),
        )
    }

    pub(crate) fn decode(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(
            ErrorKind::Decode,
            format!("the server's answer to {what} cannot be read: {source}"),
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

    /// Says on which stream the call failed, unless the message says so already.
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
    pub(crate) fn of_insert(mut self, insert: FailedInsert) -> Self {
        self.insert = Some(insert);
        self
    }

    /// Says that the server cannot have seen the request.
    #[must_use]
    pub(crate) fn unsent(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// The stream on which the call failed.
    pub const fn stream(&self) -> Option<Uuid> {
        self.stream
    }

    /// What is known of the insert, where one failed.
    pub const fn insert(&self) -> Option<FailedInsert> {
        self.insert
    }

    /// What a caller can act on.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the answer was lost on the way, so that nobody here knows what the server did.
    pub const fn is_ambiguous(&self) -> bool {
        !self.unsent
            && matches!(
                self.kind,
                ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Server
            )
    }

    /// Whether no server did anything, and one may do it later.
    pub(crate) fn is_refusal(&self) -> bool {
        self.is_code(Code::ResourceDepleted) || self.is_elsewhere()
    }

    /// Whether the same call may well succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect) || self.is_refusal()
    }

    /// Whether another server would be the one to ask.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.is_code(Code::WrongEndpoint)
            || self.is_code(Code::ClusterDegraded)
            || (self.unsent && matches!(self.kind, ErrorKind::Connect))
    }

    /// Whether the connection, and not what was asked, is to blame.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect | ErrorKind::Timeout) || self.is_elsewhere()
    }

    /// Whether the other side has ended the connection; not, that it ceased to answer.
    pub(crate) fn is_hang_up(&self) -> bool {
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

    /// The error a gRPC status stands for; `trusted` are the authorities of this connection.
    pub(crate) fn from_status(method: &str, endpoint: &str, trusted: &str, status: Status) -> Self {
        let unsent = never_arrived(&status);
        let error = Self::translated(method, endpoint, status);
        let error = Self {
            unsent: unsent && error.kind == ErrorKind::Connect,
            ..error
        };
        if error.message.contains("invalid peer certificate") {
            return error.with_context(&format!(
                "trusted are {trusted}; others can be named in BTRDB_CA_BUNDLE"
            ));
        }
        error
    }

    fn translated(method: &str, endpoint: &str, status: Status) -> Self {
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
            // A connection that breaks in the middle of an answer arrives under several codes;
            // tonic keeps the transport's own error as the source of all of them.
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

/// Some deployments answer through a proxy that puts the protocol's code into the text of a gRPC
/// error, as in `[404] stream does not exist`.
fn bracketed_code(details: &str) -> Option<(u32, &str)> {
    let (number, rest) = details.strip_prefix('[')?.split_once(']')?;
    let code = number.parse().ok()?;
    Some((Code::from_number(code)?.number(), rest.trim_start()))
}

/// An error's causes, the nearest first.
fn causes(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Whether the transport failed, and not the server: only a status made here has a cause. What the
/// text of one says proves nothing, for a server may write anything into it.
fn is_transport(status: &Status) -> bool {
    causes(status).any(|cause| {
        cause.is::<tonic::transport::Error>()
            || cause.is::<hyper::Error>()
            || cause.is::<h2::Error>()
            || cause.is::<io::Error>()
    })
}

/// Whether the server cannot have begun with the call: there was no connection for it, or the server
/// said that it takes no more on this one.
fn never_arrived(status: &Status) -> bool {
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
        let error = Error::translated(
            "StreamInfo",
            "host:4410",
            Status::internal("[404] stream does not exist"),
        );
        assert_eq!(error.kind(), ErrorKind::Code(404));
        assert_eq!(error.to_string(), "stream does not exist");
        let error = Error::translated("Info", "host:4410", Status::internal("[not] a code"));
        assert_eq!(error.kind(), ErrorKind::Server);
    }

    #[test]
    fn a_server_that_speaks_of_connections_has_not_lost_ours() {
        let translated = |status| Error::translated("Info", "host:4410", status).kind();
        let texts = [
            "no connection to the database",
            "the transport of logs failed",
            "h2 protocol error: none",
        ];
        for text in texts {
            assert_eq!(
                translated(Status::internal(text)),
                ErrorKind::Server,
                "{text}"
            );
        }
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = Status::from_error(Box::new(broken));
        assert_eq!(translated(broken), ErrorKind::Connect);
        let reset = h2::Error::from(h2::Reason::INTERNAL_ERROR);
        assert_eq!(
            translated(Status::from_error(Box::new(reset))),
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
