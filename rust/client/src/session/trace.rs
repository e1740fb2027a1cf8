//! The tracing data of one call.

use http::{HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::stats::Counter;

/// The headers of all requests of a call, and the number of its retries.
#[derive(Debug, Default)]
pub struct Trace {
    headers: MetadataMap,
    pub(crate) retries: Counter,
}

impl Trace {
    /// Keeps the valid headers, except those that the client itself sets. Invalid headers are
    /// ignored, because a trace must not make a call fail.
    pub fn new(headers: impl IntoIterator<Item = (String, String)>) -> Self {
        let sendable = headers.into_iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.to_ascii_lowercase()).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        });
        let is_allowed = |name: &HeaderName| {
            let name = name.as_str();
            !(name.starts_with("grpc-")
                || name.ends_with("-bin")
                || RESERVED_HEADERS.contains(&name))
        };
        let headers = sendable.filter(|(name, _)| is_allowed(name)).collect();
        Self {
            headers: MetadataMap::from_headers(headers),
            retries: Counter::default(),
        }
    }

    /// Number of requests of the call that were retried after a failure.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    pub(crate) fn headers(&self) -> MetadataMap {
        self.headers.clone()
    }
}

/// Headers that only the client may set.
const RESERVED_HEADERS: [&str; 4] = ["authorization", "content-type", "te", "user-agent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_and_reserved_headers_are_ignored() {
        let headers = [
            ("Traceparent", "00-1-2-01"),
            ("authorization", "Bearer other"),
            ("grpc-timeout", "1S"),
            ("trace-bin", "AA"),
            ("two words", "x"),
            ("baggage", "line\nbreak"),
            ("tracestate", ""),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let taken = Trace::new(headers).headers().into_headers();
        let mut names: Vec<_> = taken.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["traceparent", "tracestate"]);
    }
}
