//! The framing of messages in gRPC.

use http::{HeaderMap, header};
use tonic::Status;

use crate::answer::decompress::Encoding;

/// Length of the prefix of a message: a flag for compression, and the length of the message.
pub(crate) const PREFIX: usize = 5;

/// The error of an answer that ends without a status.
pub(crate) const INCOMPLETE_ANSWER: &str = "the answer is incomplete";

/// The prefix of a message without compression.
pub(crate) fn prefix(length: usize) -> Result<[u8; PREFIX], Status> {
    let length = u32::try_from(length).map_err(|_| {
        Status::resource_exhausted(format!("a message of {length} bytes cannot be sent"))
    })?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([0, a, b, c, d])
}

/// The compression of the messages of an answer, according to its headers.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    match headers
        .get("grpc-encoding")
        .map(header::HeaderValue::as_bytes)
    {
        None | Some(b"identity") => Ok(Encoding::Identity),
        Some(b"gzip") => Ok(Encoding::Gzip),
        Some(b"zstd") => Ok(Encoding::Zstd),
        Some(other) => Err(Status::internal(format!(
            "the server's answer has a compression that this client did not request: {}",
            other.escape_ascii()
        ))),
    }
}
