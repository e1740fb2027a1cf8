//! The request that inserts points in Arrow, sent from the caller's memory without a copy.
//!
//! Arrow's own writer would create a separate message, which tonic would copy into the request.

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
    insert::{borrow::MemoryBorrow, points::Owner},
    method::Method,
};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// The end marker of an Arrow IPC stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The maximum number of points that are copied. Copying few points costs less than waiting until
/// they are sent.
const MAX_COPIED_POINTS: usize = 2_000;

/// The protobuf field of the request that contains the points.
const ARROW_BYTES: u32 = 5;

/// The beginning of every IPC stream of points: its schema.
static SCHEMA: LazyLock<Bytes> = LazyLock::new(|| {
    let bytes = encode(&RAW_SCHEMA, &[]).unwrap_or_default();
    bytes.slice(..bytes.len().saturating_sub(END.len()))
});

/// The method that inserts points in Arrow.
pub(crate) struct InsertRpc(CheckedChannel);

impl Stub for InsertRpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self(CheckedChannel::new(channel, budget, method))
    }
}

impl InsertRpc {
    pub(crate) async fn insert(
        &self,
        request: Request<ArrowInsert>,
    ) -> Result<Response<v5api::InsertResponse>, Status> {
        let (metadata, extensions, insert) = request.into_parts();
        let mut rpc = Grpc::new(BodyChannel {
            channel: self.0.clone(),
            body: Some(insert.into_body()?),
        });
        let ready = rpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(Method::ArrowInsert.path());
        let request = Request::from_parts(metadata, extensions, ());
        rpc.unary(request, path, ProstCodec::default()).await
    }
}

/// A channel that replaces the body of tonic's request by `body`.
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

/// A request to insert points, which have the schema [`RAW_SCHEMA`].
#[derive(Clone, Debug)]
pub(crate) struct ArrowInsert {
    /// The request without its points.
    pub(crate) request: v5api::ArrowInsertParams,
    pub(crate) rows: RecordBatch,
    /// Whether the memory of the points is still unchanged.
    pub(crate) borrow: Arc<MemoryBorrow>,
    /// The owner of the memory of the points.
    pub(crate) owner: Option<Owner>,
}

/// A column that is being sent. The connection may use it for a moment after the call has ended.
struct Column {
    values: Memory,
    /// Dropped when the last byte was passed to the system.
    _sent: Arc<oneshot::Sender<Infallible>>,
    /// The owner of the memory; dropped last.
    _owner: Option<Owner>,
}

/// The error of an insert whose borrow has ended. The call was cancelled, so nothing waits for this
/// error.
pub(crate) const BORROW_ENDED: &str =
    "the insert was cancelled and its caller may have changed the points";

impl AsRef<[u8]> for Column {
    fn as_ref(&self) -> &[u8] {
        &self.values
    }
}

/// Points are sent from the memory of the caller, which may end the borrow at any time (see
/// [`MemoryBorrow`]). So the end of the message is a separate chunk. It is sent only after the
/// system has taken all columns, and only if the borrow had not ended by then. No server stores a
/// message without its end.
impl ArrowInsert {
    /// The chunks of the message without its end, and a receiver that is closed when the last byte
    /// of the columns was passed to the system.
    fn pieces(&self) -> Result<([Bytes; 3], oneshot::Receiver<Infallible>), Status> {
        let (sent, all_sent) = oneshot::channel();
        let sent = Arc::new(sent);
        let column = |values: &Memory| {
            if self.rows.num_rows() <= MAX_COPIED_POINTS {
                return Bytes::copy_from_slice(values);
            }
            Bytes::from_owner(Column {
                values: values.clone(),
                _sent: Arc::clone(&sent),
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
        Ok(([head, times, values], all_sent))
    }

    /// Everything before the columns. `columns` is their size in bytes.
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
        let (pieces, all_sent) = self.pieces()?;
        let pieces = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
        let borrow = self.borrow;
        let end = stream::once(async move {
            let _ = all_sent.await;
            if borrow.is_ended() {
                return Err(Status::cancelled(BORROW_ENDED));
            }
            Ok(Frame::data(Bytes::from_static(&END)))
        });
        Ok(Body::new(StreamBody::new(pieces.chain(end))))
    }
}

/// The header of a record batch with two columns of eight bytes per row.
fn batch(rows: usize) -> Vec<u8> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let column = rows.saturating_mul(8);
    let mut builder = FlatBufferBuilder::new();
    let nodes = builder.create_vector(&[FieldNode::new(rows, 0), FieldNode::new(rows, 0)]);
    let buffers = builder.create_vector(&[
        // The validity bitmap of each column is empty, because there are no nulls.
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
    // The columns are aligned to eight bytes if the header is padded to eight bytes.
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

    fn insert(rows: i64) -> ArrowInsert {
        let times = TimestampNanosecondArray::from_iter_values(0..rows).with_timezone("UTC");
        let values = Float64Array::from_iter_values((0..rows).map(|_| 1.0));
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(values)];
        ArrowInsert {
            request: v5api::ArrowInsertParams::default(),
            rows: RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap(),
            borrow: Arc::default(),
            owner: None,
        }
    }

    #[tokio::test]
    async fn a_message_has_no_end_if_the_borrow_ends_before_the_points_are_sent() {
        for (is_ended, rows) in [(false, 10), (true, 10), (false, 50_000), (true, 50_000)] {
            let insert = insert(rows);
            let borrow = Arc::clone(&insert.borrow);
            let mut body = insert.into_body().unwrap();
            let mut sent = Vec::new();
            for _ in 0..3 {
                sent.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            if rows > 10 {
                // The columns were not sent yet, so the end must wait.
                assert!(futures_util::poll!(Box::pin(body.frame())).is_pending());
            }
            if is_ended {
                borrow.end();
            }
            drop(sent);
            let end = body.frame().await.unwrap();
            assert_eq!(end.is_err(), is_ended, "{rows} rows");
        }
    }

    #[test]
    fn arrow_reads_the_points_that_were_inserted() {
        for rows in [0_i64, 1, 2, 7, 50_000] {
            let times = TimestampNanosecondArray::from_iter_values(0..rows).with_timezone("UTC");
            let values = (0..rows).map(|row| f64::from(u32::try_from(row).unwrap()) / 3.0);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(times),
                Arc::new(Float64Array::from_iter_values(values)),
            ];
            let rows = RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap();
            // A slice of a larger batch begins anywhere in its memory.
            let rows = rows.slice(rows.num_rows() / 3, rows.num_rows() - rows.num_rows() / 3);
            let request = v5api::ArrowInsertParams {
                uuid: vec![7; 16].into(),
                sync: true,
                merge_policy: 2,
                ..Default::default()
            };
            let insert = ArrowInsert {
                request: request.clone(),
                rows: rows.clone(),
                borrow: Arc::default(),
                owner: Some(Arc::new("somebody")),
            };
            let owner = insert.owner.clone().unwrap();
            let (pieces, mut all_sent) = insert.pieces().unwrap();
            let is_copied = rows.num_rows() <= MAX_COPIED_POINTS;
            let times = rows.column(0).as_primitive::<TimestampNanosecondType>();
            assert!(is_copied || pieces[1].as_ptr() == times.values().inner().as_ptr());
            let bytes = [pieces.concat(), END.to_vec()].concat();
            // The chunks may be the last users of the memory.
            drop(insert);
            assert_eq!(Arc::strong_count(&owner), if is_copied { 1 } else { 3 });
            assert_eq!(all_sent.try_recv() == Err(TryRecvError::Empty), !is_copied);
            drop(pieces);
            assert_eq!(Arc::strong_count(&owner), 1);
            assert_eq!(all_sent.try_recv(), Err(TryRecvError::Closed));
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
