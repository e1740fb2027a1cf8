//! How gRPC frames the messages of an answer, whatever is in them.

use http::{HeaderMap, header};
use tonic::Status;

use crate::answer::decompress::Encoding;

/// What stands before each message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// What became of an answer that does not say how it ended.
pub(crate) const INCOMPLETE_ANSWER: &str = "the answer ends before its end";

/// What stands before a message of so many bytes that is not compressed.
pub(crate) fn prefix(length: usize) -> Result<[u8; PREFIX], Status> {
    let length = u32::try_from(length).map_err(|_| {
        Status::resource_exhausted(format!("a message of {length} bytes cannot be sent"))
    })?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([0, a, b, c, d])
}

/// How the messages of an answer are compressed, where they say that they are.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    match headers
        .get("grpc-encoding")
        .map(header::HeaderValue::as_bytes)
    {
        None | Some(b"identity") => Ok(Encoding::Identity),
        Some(b"gzip") => Ok(Encoding::Gzip),
        Some(b"zstd") => Ok(Encoding::Zstd),
        Some(other) => Err(Status::internal(format!(
            "the server compresses its answer in a way nobody asked for: {}",
            other.escape_ascii()
        ))),
    }
}
