//! Points in Arrow on their way to a server, copied once: from where they lie to what is sent.
//!
//! Arrow's own writer makes a message of its own, which would then be copied into that of the call.

use std::sync::LazyLock;

use arrow_array::{
    RecordBatch,
    cast::AsArray,
    types::{Float64Type, TimestampNanosecondType},
};
use arrow_buffer::ToByteSlice;
use arrow_ipc::{
    Buffer, FieldNode, Message, MessageArgs, MessageHeader, MetadataVersion, RecordBatchArgs,
};
use bytes::{BufMut, Bytes};
use flatbuffers::FlatBufferBuilder;
use pingthings_proto::v5api;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use crate::{
    arrow::{RAW_SCHEMA, encode},
    call::Stub,
};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// What says that a stream in Arrow's format has ended.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The field of the request that holds the points.
const ARROW_BYTES: u32 = 5;

/// How a stream of points begins: with its schema.
static SCHEMA: LazyLock<Bytes> = LazyLock::new(|| {
    let bytes = encode(&RAW_SCHEMA, &[]).unwrap_or_default();
    bytes.slice(..bytes.len().saturating_sub(END.len()))
});

/// The call that takes points in Arrow.
pub(crate) struct InsertRpc(Grpc<Channel>);

impl Stub for InsertRpc {
    fn over(channel: Channel) -> Self {
        Self(Grpc::new(channel).max_encoding_message_size(usize::MAX))
    }
}

impl InsertRpc {
    pub(crate) async fn insert(
        &mut self,
        request: Request<Envelope>,
    ) -> Result<Response<v5api::InsertResponse>, Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static("/v5api.BTrDB/ArrowInsert");
        self.0.unary(request, path, EnvelopeCodec).await
    }
}

/// Points of [`RAW_SCHEMA`], and what is to be done with them.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The request without its points.
    pub(crate) request: v5api::ArrowInsertParams,
    pub(crate) rows: RecordBatch,
}

impl Envelope {
    fn columns(&self) -> [&[u8]; 2] {
        let times = self
            .rows
            .column(0)
            .as_primitive::<TimestampNanosecondType>();
        let values = self.rows.column(1).as_primitive::<Float64Type>();
        [
            times.values().to_byte_slice(),
            values.values().to_byte_slice(),
        ]
    }

    /// Everything before the columns.
    fn head(&self) -> Vec<u8> {
        let batch = batch(self.rows.num_rows());
        let columns: usize = self.columns().iter().map(|column| column.len()).sum();
        let length = SCHEMA.len() + batch.len() + columns + END.len();
        let mut head = self.request.encode_to_vec();
        encode_key(ARROW_BYTES, WireType::LengthDelimited, &mut head);
        encode_varint(length as u64, &mut head);
        head.extend_from_slice(&SCHEMA);
        head.extend_from_slice(&batch);
        head
    }

    /// How many bytes there are besides the head.
    fn rest(&self) -> usize {
        self.columns()
            .iter()
            .map(|column| column.len())
            .sum::<usize>()
            + END.len()
    }

    fn put_rest(&self, to: &mut impl BufMut) {
        self.columns()
            .iter()
            .for_each(|column| to.put_slice(column));
        to.put_slice(&END);
    }
}

/// What stands before two columns of eight bytes a row.
fn batch(rows: usize) -> Vec<u8> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let column = rows.saturating_mul(8);
    let mut builder = FlatBufferBuilder::new();
    let nodes = builder.create_vector(&[FieldNode::new(rows, 0), FieldNode::new(rows, 0)]);
    let buffers = builder.create_vector(&[
        // Before each column would stand which of its rows are null.
        Buffer::new(0, 0),
        Buffer::new(0, column),
        Buffer::new(column, 0),
        Buffer::new(column, column),
    ]);
    let batch = RecordBatchArgs {
        length: rows,
        nodes: Some(nodes),
        buffers: Some(buffers),
        ..RecordBatchArgs::default()
    };
    let batch = arrow_ipc::RecordBatch::create(&mut builder, &batch);
    let message = MessageArgs {
        version: MetadataVersion::V5,
        header_type: MessageHeader::RecordBatch,
        header: Some(batch.as_union_value()),
        bodyLength: column.saturating_mul(2),
        ..MessageArgs::default()
    };
    let message = Message::create(&mut builder, &message);
    builder.finish(message, None);
    let metadata = builder.finished_data();
    // The columns lie at multiples of eight bytes, if what stands before them does.
    let padded = metadata.len().next_multiple_of(8);
    let mut bytes = Vec::with_capacity(padded + 8);
    bytes.put_slice(&CONTINUATION);
    bytes.put_i32_le(i32::try_from(padded).unwrap_or(i32::MAX));
    bytes.put_slice(metadata);
    bytes.resize(padded + 8, 0);
    bytes
}

struct EnvelopeCodec;

impl Codec for EnvelopeCodec {
    type Encode = Envelope;
    type Decode = v5api::InsertResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EnvelopeCodec {
    type Item = Envelope;
    type Error = Status;

    fn encode(&mut self, item: Envelope, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let head = item.head();
        // Once for all, since what grows is copied.
        buffer.reserve(head.len() + item.rest());
        buffer.put_slice(&head);
        item.put_rest(buffer);
        Ok(())
    }
}

impl Decoder for EnvelopeCodec {
    type Item = v5api::InsertResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = v5api::InsertResponse::decode(buffer);
        answer
            .map(Some)
            .map_err(|error| Status::data_loss(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, TimestampNanosecondArray};

    use super::*;
    use crate::arrow::decode;

    #[test]
    fn what_is_put_in_comes_out_as_arrow_reads_it() {
        for rows in [0_i64, 1, 2, 7, 50_000] {
            let times = TimestampNanosecondArray::from_iter_values(0..rows).with_timezone("UTC");
            let values = (0..rows).map(|row| f64::from(u32::try_from(row).unwrap()) / 3.0);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(times),
                Arc::new(Float64Array::from_iter_values(values)),
            ];
            let rows = RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap();
            // A part of a larger one lies anywhere in its memory.
            let rows = rows.slice(rows.num_rows() / 3, rows.num_rows() - rows.num_rows() / 3);
            let request = v5api::ArrowInsertParams {
                uuid: vec![7; 16].into(),
                sync: true,
                merge_policy: 2,
                ..Default::default()
            };
            let envelope = Envelope {
                request: request.clone(),
                rows: rows.clone(),
            };
            let mut bytes = envelope.head();
            let length = bytes.len() + envelope.rest();
            envelope.put_rest(&mut bytes);
            assert_eq!(bytes.len(), length);
            let mut found = v5api::ArrowInsertParams::decode(&*bytes).unwrap();
            let arrow_bytes = std::mem::take(&mut found.arrow_bytes);
            assert_eq!(found, request);
            let (schema, batches) = decode("test", arrow_bytes).unwrap();
            assert_eq!((schema, batches), (Arc::clone(&RAW_SCHEMA), vec![rows]));
        }
    }
}
