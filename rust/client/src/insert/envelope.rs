//! Points in Arrow on their way to a server, copied nowhere: they are sent from where they lie.
//!
//! Arrow's own writer makes a message of its own, which tonic would copy into that of the call.

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use arrow_array::{
    RecordBatch,
    cast::AsArray,
    types::{Float64Type, TimestampNanosecondType},
};
use arrow_buffer::Buffer as Memory;
use arrow_ipc::{
    Buffer, FieldNode, Message, MessageArgs, MessageHeader, MetadataVersion, RecordBatchArgs,
};
use bytes::{BufMut, Bytes};
use flatbuffers::FlatBufferBuilder;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use pingthings_proto::v5api;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use tokio::sync::oneshot;
use tonic::{
    Request, Response, Status, body::Body, client::Grpc, codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::{
    answer::{
        budget::Budget,
        framing::{PREFIX, prefix},
        message_body::CheckedChannel,
        rpc::Stub,
        table::{RAW_SCHEMA, encode},
    },
    insert::{loan::Loan, points::Owner},
    method::Method,
};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// What says that a stream in Arrow's format has ended.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Up to here points are copied, which costs less than waiting until they have gone.
const MOST_COPIED: usize = 2_000;

/// The field of the request that holds the points.
const ARROW_BYTES: u32 = 5;

/// How a stream of points begins: with its schema.
static SCHEMA: LazyLock<Bytes> = LazyLock::new(|| {
    let bytes = encode(&RAW_SCHEMA, &[]).unwrap_or_default();
    bytes.slice(..bytes.len().saturating_sub(END.len()))
});

/// The call that takes points in Arrow.
pub(crate) struct InsertRpc(CheckedChannel);

impl Stub for InsertRpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self(CheckedChannel::new(channel, budget, method))
    }
}

impl InsertRpc {
    pub(crate) async fn insert(
        &self,
        request: Request<Envelope>,
    ) -> Result<Response<v5api::InsertResponse>, Status> {
        let (metadata, extensions, envelope) = request.into_parts();
        let mut rpc = Grpc::new(BodyChannel {
            channel: self.0.clone(),
            body: Some(envelope.into_body()?),
        });
        let ready = rpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(Method::ArrowInsert.path());
        let request = Request::from_parts(metadata, extensions, ());
        rpc.unary(request, path, ProstCodec::default()).await
    }
}

/// A channel that sends a body of ours in place of the one that tonic would make.
struct BodyChannel {
    channel: CheckedChannel,
    body: Option<Body>,
}

impl Service<http::Request<Body>> for BodyChannel {
    type Response = <CheckedChannel as Service<http::Request<Body>>>::Response;
    type Error = <CheckedChannel as Service<http::Request<Body>>>::Error;
    type Future = <CheckedChannel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let body = self.body.take().unwrap_or_default();
        self.channel.call(request.map(|_| body))
    }
}

/// Points of [`RAW_SCHEMA`], and what is to be done with them.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The request without its points.
    pub(crate) request: v5api::ArrowInsertParams,
    pub(crate) rows: RecordBatch,
    /// Whether the points are still what they were.
    pub(crate) loan: Arc<Loan>,
    /// Whoever owns the memory that the points lie in.
    pub(crate) owner: Option<Owner>,
}

/// A column that is being sent. The connection may have it for a moment longer than the call.
struct Column {
    values: Memory,
    /// Dropped when the last byte has gone to the system.
    _gone: Arc<oneshot::Sender<Infallible>>,
    /// Dropped last.
    _owner: Option<Owner>,
}

/// Why a call that was given up is not sent to its end. Nobody waits for it any more.
pub(crate) const TAKEN_BACK: &str = "the points were taken back by whoever inserted them";

impl AsRef<[u8]> for Column {
    fn as_ref(&self) -> &[u8] {
        &self.values
    }
}

/// Arrow points are sent from the memory of whoever inserts them, who may take it back in the
/// middle (see [`Loan`]). So the end of the message is a piece of its own, which goes only when the
/// columns have gone and are known to have been whole until then: a message without its end is
/// stored by nobody.
impl Envelope {
    /// The message but for its end, piece by piece, and what ends when the last byte of the columns
    /// has gone to the system.
    fn pieces(&self) -> Result<([Bytes; 3], oneshot::Receiver<Infallible>), Status> {
        let (gone, all_gone) = oneshot::channel();
        let gone = Arc::new(gone);
        let column = |values: &Memory| {
            if self.rows.num_rows() <= MOST_COPIED {
                return Bytes::copy_from_slice(values);
            }
            Bytes::from_owner(Column {
                values: values.clone(),
                _gone: Arc::clone(&gone),
                _owner: self.owner.clone(),
            })
        };
        let columns = (self.rows.column(0), self.rows.column(1));
        let times = column(
            columns
                .0
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .inner(),
        );
        let values = column(columns.1.as_primitive::<Float64Type>().values().inner());
        let head = self.head(times.len() + values.len())?;
        Ok(([head, times, values], all_gone))
    }

    /// Everything before the columns, which have so many bytes.
    fn head(&self, columns: usize) -> Result<Bytes, Status> {
        let batch = batch(self.rows.num_rows());
        let stream = SCHEMA.len() + batch.len() + columns + END.len();
        let mut request = self.request.encode_to_vec();
        encode_key(ARROW_BYTES, WireType::LengthDelimited, &mut request);
        encode_varint(stream as u64, &mut request);
        let mut head = Vec::with_capacity(PREFIX + request.len() + SCHEMA.len() + batch.len());
        head.extend_from_slice(&prefix(request.len() + stream)?);
        head.extend_from_slice(&request);
        head.extend_from_slice(&SCHEMA);
        head.extend_from_slice(&batch);
        Ok(head.into())
    }

    fn into_body(self) -> Result<Body, Status> {
        let (pieces, all_gone) = self.pieces()?;
        let pieces = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
        let loan = self.loan;
        let end = stream::once(async move {
            let _ = all_gone.await;
            if loan.is_over() {
                return Err(Status::cancelled(TAKEN_BACK));
            }
            Ok(Frame::data(Bytes::from_static(&END)))
        });
        Ok(Body::new(StreamBody::new(pieces.chain(end))))
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

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Float64Array, TimestampNanosecondArray};
    use arrow_ipc::reader::StreamReader;
    use http_body_util::BodyExt as _;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn envelope(rows: i64) -> Envelope {
        let times = TimestampNanosecondArray::from_iter_values(0..rows).with_timezone("UTC");
        let values = Float64Array::from_iter_values((0..rows).map(|_| 1.0));
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(values)];
        Envelope {
            request: v5api::ArrowInsertParams::default(),
            rows: RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap(),
            loan: Arc::default(),
            owner: None,
        }
    }

    #[tokio::test]
    async fn points_that_are_taken_back_before_they_have_gone_have_no_end() {
        for (is_taken_back, rows) in [(false, 10), (true, 10), (false, 50_000), (true, 50_000)] {
            let envelope = envelope(rows);
            let loan = Arc::clone(&envelope.loan);
            let mut body = envelope.into_body().unwrap();
            let mut sent = Vec::new();
            for _ in 0..3 {
                sent.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            if rows > 10 {
                // The columns have not gone, so nobody knows whether they are whole.
                assert!(futures_util::poll!(Box::pin(body.frame())).is_pending());
            }
            if is_taken_back {
                loan.take_back();
            }
            drop(sent);
            let end = body.frame().await.unwrap();
            assert_eq!(end.is_err(), is_taken_back, "{rows} rows");
        }
    }

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
                loan: Arc::default(),
                owner: Some(Arc::new("somebody")),
            };
            let owner = envelope.owner.clone().unwrap();
            let (pieces, mut all_gone) = envelope.pieces().unwrap();
            let is_copied = rows.num_rows() <= MOST_COPIED;
            let times = rows.column(0).as_primitive::<TimestampNanosecondType>();
            assert!(is_copied || pieces[1].as_ptr() == times.values().inner().as_ptr());
            let bytes = [pieces.concat(), END.to_vec()].concat();
            // Whoever sends them may be the last to have them.
            drop(envelope);
            assert_eq!(Arc::strong_count(&owner), if is_copied { 1 } else { 3 });
            assert_eq!(all_gone.try_recv() == Err(TryRecvError::Empty), !is_copied);
            drop(pieces);
            assert_eq!(Arc::strong_count(&owner), 1);
            assert_eq!(all_gone.try_recv(), Err(TryRecvError::Closed));
            let (before, message) = bytes.split_at(PREFIX);
            assert_eq!(before, prefix(message.len()).unwrap());
            let mut found = v5api::ArrowInsertParams::decode(message).unwrap();
            let arrow_bytes = std::mem::take(&mut found.arrow_bytes);
            assert_eq!(found, request);
            let reader = StreamReader::try_new(&*arrow_bytes, None).unwrap();
            assert_eq!(reader.schema(), *RAW_SCHEMA);
            let batches: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
            assert_eq!(batches, [rows]);
        }
    }
}
