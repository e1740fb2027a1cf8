//! Decoding of protobuf points, which servers without Arrow send, directly into columns.
//!
//! Such a server sends a message for each point, which a general decoder decodes field by field.
//! Here the few common encodings of a point are decoded as a whole. A message with anything else is
//! passed to the general decoder.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use pingthings_proto::v5api;
use pingthings_types::{Points, RawPoint, Version};
use prost::Message;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use crate::{
    answer::{
        budget::Budget,
        message_body::CheckedChannel,
        rpc::{Answer, Stub},
    },
    method::Method,
};

/// The method that returns points in protobuf.
pub(crate) struct PointsRpc(Grpc<CheckedChannel>);

impl Stub for PointsRpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        let grpc = Grpc::new(CheckedChannel::new(channel, budget, method))
            .max_decoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Self(grpc)
    }
}

impl PointsRpc {
    pub(crate) async fn raw_values(
        &mut self,
        request: Request<v5api::RawValuesParams>,
    ) -> Result<Response<Streaming<PointColumns>>, Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(Method::RawValues.path());
        self.0.server_streaming(request, path, PointsCodec).await
    }
}

/// A message of an answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PointColumns {
    stat: Option<v5api::Status>,
    pub(crate) version: Version,
    pub(crate) points: Points,
}

impl Answer for PointColumns {
    fn stat(&mut self) -> Option<v5api::Status> {
        self.stat.take()
    }
}

struct PointsCodec;

impl Codec for PointsCodec {
    type Encode = v5api::RawValuesParams;
    type Decode = PointColumns;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for PointsCodec {
    type Item = v5api::RawValuesParams;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let encoded = item.encode(buffer);
        encoded.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for PointsCodec {
    type Item = PointColumns;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<PointColumns>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let decoded = match decode_fast(&message) {
            Some(columns) => Ok(columns),
            None => decode_general(message),
        };
        decoded
            .map(Some)
            .map_err(|error| Status::data_loss(error.to_string()))
    }
}

/// Decodes any message.
fn decode_general(message: Bytes) -> Result<PointColumns, prost::DecodeError> {
    let answer = v5api::RawValuesResponse::decode(message)?;
    let points = answer.values.iter().map(|point| RawPoint {
        time: point.time,
        value: point.value,
    });
    Ok(PointColumns {
        stat: answer.stat,
        version: Version {
            major: answer.version_major,
            minor: answer.version_minor,
        },
        points: points.collect(),
    })
}

/// The encoded size of a point, including its two bytes of key and length.
const LENGTH: usize = 20;

/// Decodes a message in the usual form: the version, followed by points. `None` for any other form.
fn decode_fast(message: &[u8]) -> Option<PointColumns> {
    let (major, rest) = varint_field(0x10, message)?;
    let (minor, mut rest) = varint_field(0x18, rest)?;
    let most = rest.len() / LENGTH + 1;
    let mut points = Points::default();
    points.times.reserve(most);
    points.values.reserve(most);
    while !rest.is_empty() {
        // A field with the value zero is omitted.
        let (time, value, length) = match rest {
            [0x22, 18, 0x09, fields @ ..] if fields.len() >= 17 && fields[8] == 0x11 => {
                (eight_bytes(fields)?, eight_bytes(&fields[9..])?, LENGTH)
            }
            [0x22, 9, 0x09, time @ ..] => (eight_bytes(time)?, [0; 8], LENGTH - 9),
            [0x22, 9, 0x11, value @ ..] => ([0; 8], eight_bytes(value)?, LENGTH - 9),
            [0x22, 0, ..] => ([0; 8], [0; 8], LENGTH - 18),
            _ => return None,
        };
        points.times.push(i64::from_le_bytes(time));
        points.values.push(f64::from_le_bytes(value));
        rest = &rest[length..];
    }
    Some(PointColumns {
        stat: None,
        version: Version { major, minor },
        points,
    })
}

fn eight_bytes(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.first_chunk().copied()
}

/// The value of a varint field and the bytes after it; zero if the field is absent.
fn varint_field(key: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let Some(mut rest) = bytes.strip_prefix(&[key]) else {
        return Some((0, bytes));
    };
    let number = prost::decode_length_delimiter(&mut rest).ok()?;
    Some((u64::try_from(number).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn message(major: u64, minor: u64, values: Vec<(i64, f64)>) -> v5api::RawValuesResponse {
        let values = values.into_iter();
        v5api::RawValuesResponse {
            stat: None,
            version_major: major,
            version_minor: minor,
            values: values
                .map(|(time, value)| v5api::RawPoint { time, value })
                .collect(),
        }
    }

    fn times() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), any::<i64>()]
    }

    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(-0.0), prop::num::f64::NORMAL]
    }

    proptest! {
        #[test]
        fn both_decoders_agree(
            major in prop_oneof![Just(0), any::<u64>()],
            minor in 0_u64..3,
            values in vec((times(), floats()), 0..50),
        ) {
            let bytes = Bytes::from(message(major, minor, values).encode_to_vec());
            let found = decode_fast(&bytes);
            let is_usual = found.is_some();
            let expected = decode_general(bytes).unwrap();
            prop_assert!(is_usual || usize::try_from(major).is_err());
            if let Some(found) = found {
                let bits = |columns: &PointColumns| {
                    columns.points.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                };
                prop_assert_eq!(bits(&found), bits(&expected));
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn the_fast_decoder_agrees_on_random_bytes(bytes in vec(any::<u8>(), 0..80)) {
            if let Some(found) = decode_fast(&bytes) {
                let general = decode_general(Bytes::from(bytes)).unwrap();
                prop_assert_eq!(found.version, general.version);
                prop_assert_eq!(found.points.times, general.points.times);
            }
        }
    }

    #[test]
    fn refusals_and_incomplete_messages_go_to_the_general_decoder() {
        let mut refusal = message(0, 0, Vec::new());
        refusal.stat = Some(v5api::Status {
            code: 404,
            msg: "unknown".to_owned(),
            mash: None,
        });
        assert_eq!(decode_fast(&refusal.encode_to_vec()), None);
        let whole = message(3, 0, vec![(1, 1.0), (2, 2.0)]).encode_to_vec();
        for end in 0..whole.len() {
            let cut = decode_fast(&whole[..end]);
            let general = decode_general(Bytes::copy_from_slice(&whole[..end]));
            assert_eq!(cut, general.ok(), "{end}");
        }
    }
}
