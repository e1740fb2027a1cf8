//! What one call takes along for whoever traces it, and tells them.

use http::{HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::stats::Counter;

/// Headers that go with every request of a call, and how often its requests were repeated.
#[derive(Debug, Default)]
pub struct Trace {
    headers: MetadataMap,
    pub(crate) retries: Counter,
}

impl Trace {
    /// Takes the headers that can be sent and are not the client's own; a trace is no reason for a
    /// call to fail.
    pub fn new(headers: impl IntoIterator<Item = (String, String)>) -> Self {
        let sendable = headers.into_iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.to_ascii_lowercase()).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        });
        let is_free = |name: &HeaderName| {
            let name = name.as_str();
            !(name.starts_with("grpc-") || name.ends_with("-bin") || CLIENT_S_OWN.contains(&name))
        };
        let headers = sendable.filter(|(name, _)| is_free(name)).collect();
        Self {
            headers: MetadataMap::from_headers(headers),
            retries: Counter::default(),
        }
    }

    /// How many requests of the call were made again after a failure.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    pub(crate) fn headers(&self) -> MetadataMap {
        self.headers.clone()
    }
}

/// What only the client says.
const CLIENT_S_OWN: [&str; 4] = ["authorization", "content-type", "te", "user-agent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_are_nobody_else_s_are_taken() {
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
