//! Decoding of messages in Arrow's IPC format while they arrive.
//!
//! Nearly all messages have one form: a schema of plain columns, and one batch. The first bytes of
//! such a message say where its values are, and the values are then copied directly to their
//! columns. A message with several batches is buffered until it is complete and then decoded in the
//! same way. Everything else that Arrow allows, such as nulls and compressed buffers, is refused,
//! because no server sends it.
//!
//! Arrow's own reader is not used, because it trusts the lengths in a message and panics if they
//! are wrong.

use std::{borrow::Cow, ops::Range};

use arrow_ipc::{MessageHeader, Precision, TimeUnit, Type, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use pingthings_proto::v5api;
use pingthings_types::Version;
use prost::{DecodeError, Message};

use crate::{
    answer::{
        columns::width,
        expectation::{AnswerColumn, ColumnType},
        rows::Rows,
        rpc::Answer,
    },
    error::Error,
};

/// Precedes each IPC message, except those of very old writers.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Maximum size of the headers before the values. The headers of a thousand columns take about
/// 200,000 bytes.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Maximum number of bytes after the batch: an end marker, with or without the continuation marker.
const MAX_TRAILING_BYTES: usize = 8;

/// The fields of a message besides its rows.
#[derive(Debug)]
pub(crate) struct MessageInfo {
    pub(crate) stat: Option<v5api::Status>,
    pub(crate) version: Version,
}

impl Answer for MessageInfo {
    fn stat(&mut self) -> Option<v5api::Status> {
        self.stat.take()
    }
}

/// Decodes messages one after another.
#[derive(Debug)]
pub(crate) struct IpcDecoder {
    answer_name: &'static str,
    /// The encoded form of the last schema, and the schema. Every message contains a schema, and
    /// usually the same one.
    schema: Option<(Bytes, SchemaRef)>,
    length: usize,
    /// Bytes of the message that were not decoded yet.
    buffered: Vec<u8>,
    state: DecodeState,
}

#[derive(Debug)]
enum DecodeState {
    Header,
    /// Values arrive. `column` is the current or next column; `position` counts the bytes of the
    /// message.
    Copying {
        layout: BatchLayout,
        column: usize,
        position: usize,
    },
    /// The message has another form and is buffered.
    Buffering,
}

/// The positions of the values in a message, counted from its first byte.
#[derive(Debug)]
struct BatchLayout {
    version: Version,
    schema: SchemaRef,
    rows: usize,
    columns: Vec<Range<usize>>,
    end: usize,
}

impl IpcDecoder {
    /// `answer_name` is the name of the answer in errors.
    pub(crate) const fn new(answer_name: &'static str) -> Self {
        Self {
            answer_name,
            schema: None,
            length: 0,
            buffered: Vec::new(),
            state: DecodeState::Header,
        }
    }

    /// Begins a message of `length` bytes.
    pub(crate) fn begin(&mut self, length: usize) {
        self.length = length;
        self.buffered.clear();
        self.state = DecodeState::Header;
    }

    /// Decodes the next bytes of the message.
    pub(crate) fn push(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
        match self.state {
            DecodeState::Header => return self.push_header(bytes, rows),
            DecodeState::Copying { .. } => self.copy(bytes, rows),
            DecodeState::Buffering => self.buffered.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// Decodes bytes of a message whose layout is not known yet.
    fn push_header(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
        // The first bytes nearly always contain the whole layout, and then nothing is buffered.
        let head = if self.buffered.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            self.buffered.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut self.buffered))
        };
        let layout = self.layout(&head, rows);
        if let Some(layout) = layout.map_err(|error| Error::decode(self.answer_name, error))? {
            rows.reserve(&layout.schema, layout.rows)
                .map_err(|error| Error::decode(self.answer_name, error))?;
            self.state = DecodeState::Copying {
                layout,
                column: 0,
                position: 0,
            };
            self.copy(&head, rows);
            return Ok(());
        }
        self.buffered = head.into_owned();
        if self.buffered.len() > MAX_HEADER_BYTES {
            self.state = DecodeState::Buffering;
        }
        Ok(())
    }

    /// Ends the message, which makes its rows complete.
    pub(crate) fn end(&mut self, rows: &mut Rows) -> Result<MessageInfo, Error> {
        let failed = |error: ArrowError| Error::decode(self.answer_name, error);
        if let DecodeState::Copying { layout, .. } = &self.state {
            if !is_end(&self.buffered) {
                let message = "data other than an end marker follows the rows";
                return Err(failed(ArrowError::IpcError(message.to_owned())));
            }
            rows.complete(layout.rows).map_err(failed)?;
            return Ok(MessageInfo {
                stat: None,
                version: layout.version,
            });
        }
        let message = decode_answer(&self.buffered)
            .map_err(|error| Error::decode(self.answer_name, error))?;
        if message.stat.as_ref().is_none_or(|stat| stat.code == 0) {
            self.decode_buffered(&message.arrow_bytes, rows)
                .map_err(failed)?;
        }
        Ok(MessageInfo {
            stat: message.stat,
            version: Version {
                major: message.version_major,
                minor: message.version_minor,
            },
        })
    }

    /// Copies values to their columns, and buffers what follows the last of them.
    fn copy(&mut self, mut bytes: &[u8], rows: &mut Rows) {
        let DecodeState::Copying {
            layout,
            column,
            position,
        } = &mut self.state
        else {
            return;
        };
        while let Some(values) = layout.columns.get(*column) {
            let gap = values.start.saturating_sub(*position).min(bytes.len());
            bytes = &bytes[gap..];
            *position += gap;
            let (now, later) = bytes.split_at(bytes.len().min(values.end - *position));
            if !now.is_empty() {
                rows.extend(*column, now);
            }
            *position += now.len();
            bytes = later;
            if *position < values.end {
                return;
            }
            *column += 1;
        }
        let gap = layout.end.saturating_sub(*position).min(bytes.len());
        *position += gap;
        self.buffered.extend_from_slice(&bytes[gap..]);
    }

    /// Decodes all batches of a buffered message.
    fn decode_buffered(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), ArrowError> {
        let mut head = HeaderReader {
            head: bytes,
            position: 0,
        };
        let mut schema = None;
        while let Some(metadata) = head.next_part()? {
            let message = parse_metadata(metadata)?;
            let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
            let start = head.position;
            head.take(body)
                .ok_or_else(|| invalid("the message is incomplete"))?;
            match (message.header_type(), &schema) {
                (MessageHeader::Schema, None) => schema = Some(self.schema(metadata, rows)?),
                (MessageHeader::RecordBatch, Some(schema)) => {
                    let batch = message.header_as_record_batch();
                    let batch = batch.ok_or_else(|| invalid("a batch has no header"))?;
                    let (count, columns) = column_ranges(schema, &batch, start..head.position)?;
                    rows.reserve(schema, count)?;
                    for (index, values) in columns.into_iter().enumerate() {
                        rows.extend(index, &bytes[values]);
                    }
                    rows.complete(count)?;
                }
                _ => return Err(invalid("it contains parts other than a schema and batches")),
            }
        }
        match schema {
            Some(_) => Ok(()),
            None => Err(invalid("it contains no schema")),
        }
    }

    /// The layout of the message, or `None` if these bytes are not enough or the message does not
    /// have the usual form. An error if it is certain that the message cannot be decoded.
    fn layout(&mut self, head: &[u8], rows: &Rows) -> Result<Option<BatchLayout>, ArrowError> {
        let mut head = HeaderReader { head, position: 0 };
        let Some((version, schema)) = self.arrow_bytes(&mut head).zip(head.part()) else {
            return Ok(None);
        };
        let schema = self.schema(schema, rows)?;
        Ok(self.batch(version, schema, &mut head))
    }

    fn batch(
        &self,
        version: Version,
        schema: SchemaRef,
        head: &mut HeaderReader<'_>,
    ) -> Option<BatchLayout> {
        let message = root_as_message(head.part()?).ok()?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch()?,
            _ => return None,
        };
        let body = usize::try_from(message.bodyLength()).ok()?;
        let end = head.position.checked_add(body)?;
        let tail = self.length.checked_sub(end)?;
        if tail > MAX_TRAILING_BYTES {
            return None;
        }
        let (rows, columns) = column_ranges(&schema, &batch, head.position..end).ok()?;
        Some(BatchLayout {
            version,
            schema,
            rows,
            columns,
            end,
        })
    }

    /// Skips to the rows, which must be the last field of the message. Returns the version.
    fn arrow_bytes(&self, head: &mut HeaderReader<'_>) -> Option<Version> {
        let mut version = Version::default();
        loop {
            // The key of a protobuf field contains its number and its wire type.
            match head.byte()? {
                0x10 => version.major = head.varint()?,
                0x18 => version.minor = head.varint()?,
                // Joined values have no version, and their rows are in field 2 instead of 4.
                0x12 | 0x22 => {
                    let length = usize::try_from(head.varint()?).ok()?;
                    let is_last = head.position.checked_add(length)? == self.length;
                    return is_last.then_some(version);
                }
                _ => return None,
            }
        }
    }

    /// The schema for the columns of a message.
    fn schema(&mut self, metadata: &[u8], rows: &Rows) -> Result<SchemaRef, ArrowError> {
        if let Some((seen, schema)) = &self.schema
            && seen == metadata
        {
            return Ok(SchemaRef::clone(schema));
        }
        let message = parse_metadata(metadata)?;
        let header = message.header_as_schema();
        let header = header.ok_or_else(|| invalid("it does not begin with a schema"))?;
        let is_little = header.endianness() == arrow_ipc::Endianness::Little;
        if message.bodyLength() != 0 || !is_little || cfg!(target_endian = "big") {
            return Err(invalid("its schema is not supported"));
        }
        let fields = header.fields().into_iter().flatten();
        let found: Vec<_> = fields.map(column_of).collect();
        let schema = rows.accept(&found)?;
        let seen = Bytes::copy_from_slice(metadata);
        self.schema = Some((seen, SchemaRef::clone(&schema)));
        Ok(schema)
    }
}

fn invalid(why: &str) -> ArrowError {
    ArrowError::IpcError(why.to_owned())
}

fn parse_metadata(metadata: &[u8]) -> Result<arrow_ipc::Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|error| {
        ArrowError::IpcError(format!("the metadata of a part is invalid: {error}"))
    })
}

/// The name and type of a field of an IPC schema.
fn column_of(field: arrow_ipc::Field<'_>) -> AnswerColumn<'_> {
    let kind = match field.type_type() {
        Type::Timestamp => field
            .type_as_timestamp()
            .filter(|time| time.unit() == TimeUnit::NANOSECOND)
            .map(|_| ColumnType::Timestamp),
        Type::Int => field
            .type_as_int()
            .filter(|int| int.bitWidth() == 64)
            .map(|int| {
                if int.is_signed() {
                    ColumnType::Int64
                } else {
                    ColumnType::UInt64
                }
            }),
        Type::FloatingPoint => {
            field
                .type_as_floating_point()
                .and_then(|float| match float.precision() {
                    Precision::DOUBLE => Some(ColumnType::Float64),
                    Precision::SINGLE => Some(ColumnType::Float32),
                    _ => None,
                })
        }
        _ => None,
    };
    let kind = kind.filter(|_| field.dictionary().is_none());
    AnswerColumn {
        name: field.name().unwrap_or_default(),
        kind: kind.unwrap_or(ColumnType::Other),
    }
}

/// Decodes any Arrow answer. All have the same fields, except joined values.
fn decode_answer(message: &[u8]) -> Result<v5api::ArrowRawValuesResponse, DecodeError> {
    v5api::ArrowRawValuesResponse::decode(message).or_else(|error| {
        let joined = v5api::ArrowMultiValuesResponse::decode(message).map_err(|_| error)?;
        Ok(v5api::ArrowRawValuesResponse {
            stat: joined.stat,
            arrow_bytes: joined.arrow_bytes,
            ..v5api::ArrowRawValuesResponse::default()
        })
    })
}

/// The number of rows of a batch, and the position of each column if the body of the batch is at
/// `body`.
fn column_ranges(
    schema: &SchemaRef,
    batch: &arrow_ipc::RecordBatch<'_>,
    body: Range<usize>,
) -> Result<(usize, Vec<Range<usize>>), ArrowError> {
    let fields = schema.fields();
    if batch.compression().is_some() {
        return Err(invalid("its columns are compressed"));
    }
    let parts = batch.nodes().zip(batch.buffers());
    let parts = parts.filter(|(nodes, buffers)| {
        nodes.len() == fields.len() && buffers.len() == 2 * fields.len()
    });
    let (nodes, buffers) =
        parts.ok_or_else(|| invalid("a batch does not have the columns of its schema"))?;
    let outside = || invalid("a column is outside its batch");
    let rows =
        usize::try_from(batch.length()).map_err(|_| invalid("the length of a batch is invalid"))?;
    let mut columns = Vec::with_capacity(fields.len());
    let mut least = body.start;
    for (index, (node, field)) in nodes.iter().zip(fields).enumerate() {
        if node.null_count() != 0 {
            let name = field.name();
            return Err(invalid(&format!("column `{name}` contains nulls")));
        }
        if node.length() != batch.length() {
            return Err(invalid(
                "the length of a column differs from that of its batch",
            ));
        }
        let length = rows.checked_mul(width(field.data_type()));
        let buffer = buffers.get(2 * index + 1);
        let offset = usize::try_from(buffer.offset()).ok();
        let start = offset.and_then(|offset| body.start.checked_add(offset));
        let end = start
            .zip(length)
            .and_then(|(start, length)| start.checked_add(length));
        let ((start, end), length) = start.zip(end).zip(length).ok_or_else(outside)?;
        let is_whole = usize::try_from(buffer.length()).is_ok_and(|found| found >= length);
        if !is_whole || start < least || end > body.end {
            return Err(outside());
        }
        columns.push(start..end);
        least = end;
    }
    Ok((rows, columns))
}

/// Whether the stream ends here, with or without an end marker.
fn is_end(tail: &[u8]) -> bool {
    tail.is_empty() || tail.strip_prefix(&CONTINUATION).unwrap_or(tail) == [0; 4]
}

/// Reads the first bytes of a message. Methods return `None` if bytes are missing or not as usual.
struct HeaderReader<'a> {
    head: &'a [u8],
    position: usize,
}

impl<'a> HeaderReader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(length)?;
        let bytes = self.head.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn varint(&mut self) -> Option<u64> {
        let mut rest = self.head.get(self.position..)?;
        let before = rest.len();
        let number = prost::encoding::decode_varint(&mut rest).ok()?;
        self.position += before - rest.len();
        Some(number)
    }

    /// The metadata of the next IPC message.
    fn part(&mut self) -> Option<&'a [u8]> {
        let mut length = self.take(4)?;
        if length == CONTINUATION {
            length = self.take(4)?;
        }
        let length = u32::from_le_bytes(*length.first_chunk()?);
        self.take(usize::try_from(length).ok().filter(|length| *length > 0)?)
    }

    /// Like [`part`](Self::part), for a complete message; `None` at its end.
    fn next_part(&mut self) -> Result<Option<&'a [u8]>, ArrowError> {
        let rest = &self.head[self.position..];
        if is_end(rest) {
            return Ok(None);
        }
        let part = self.part();
        part.map(Some)
            .ok_or_else(|| invalid("it is incomplete, or data follows its end marker"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
    use proptest::{collection::vec, prelude::*};

    use pingthings_types::TimeRange;

    use super::*;
    use crate::answer::{
        expectation::TimeBounds,
        page_pool::PagePool,
        table::{AnswerSchema, RAW_SCHEMA, STAT_SCHEMA, encode},
    };

    /// The number of rows that Arrow's own reader finds in a message.
    fn read_with_arrow(message: &[u8]) -> Option<usize> {
        let message = v5api::ArrowRawValuesResponse::decode(message).ok()?;
        let bytes = message.arrow_bytes.to_vec();
        let read = || {
            let reader = arrow_ipc::reader::StreamReader::try_new(&*bytes, None).ok()?;
            let batches: Vec<_> = reader.collect::<Result<_, _>>().ok()?;
            Some(batches.iter().map(RecordBatch::num_rows).sum())
        };
        // It panics if the lengths in a message are wrong.
        std::panic::catch_unwind(read).ok().flatten()
    }

    pub(crate) fn batch(values: &[(i64, f64)]) -> RecordBatch {
        let (times, values): (Vec<i64>, Vec<f64>) = values.iter().copied().unzip();
        let times = TimestampNanosecondArray::from(times).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(Float64Array::from(values))];
        RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap()
    }

    pub(crate) fn message(major: u64, batches: &[RecordBatch]) -> Vec<u8> {
        v5api::ArrowRawValuesResponse {
            stat: None,
            version_major: major,
            version_minor: 0,
            arrow_bytes: encode(&RAW_SCHEMA, batches).unwrap(),
        }
        .encode_to_vec()
    }

    /// Works both on a runtime and without one.
    pub(crate) fn no_rows() -> Rows {
        rows_of(&AnswerSchema::raw(None).unwrap())
    }

    fn rows_of(answer_schema: &AnswerSchema) -> Rows {
        let expected = answer_schema.expected(TimeBounds::of_points(TimeRange::ALL));
        let fresh = || Rows::new(expected.clone(), Arc::new(PagePool::new()));
        if tokio::runtime::Handle::try_current().is_ok() {
            return fresh();
        }
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(async { fresh() })
    }

    fn take(
        decoder: &mut IpcDecoder,
        message: &[u8],
        piece: usize,
        rows: &mut Rows,
    ) -> Result<MessageInfo, Error> {
        decoder.begin(message.len());
        for piece in message.chunks(piece) {
            decoder.push(piece, rows)?;
        }
        decoder.end(rows)
    }

    fn read(message: &[u8], piece: usize) -> Result<(MessageInfo, Vec<RecordBatch>), Error> {
        let mut rows = no_rows();
        let received = take(&mut IpcDecoder::new("test"), message, piece, &mut rows)?;
        Ok((received, rows.take().unwrap()))
    }

    fn times() -> impl Strategy<Value = i64> {
        -(1_i64 << 59)..1 << 61
    }

    proptest! {
        #[test]
        fn decoded_messages_equal_the_encoded_batches(
            points in vec((times(), prop::num::f64::NORMAL), 0..200),
            cuts in vec((0_usize..60, any::<bool>()), 0..6),
            piece in 1_usize..2_000,
        ) {
            let mut points = points;
            points.sort_by_key(|(time, _)| *time);
            let (mut decoder, mut rows) = (IpcDecoder::new("test"), no_rows());
            let mut left = &points[..];
            let mut batches = Vec::new();
            let mut major = 0;
            for (length, is_last) in cuts.into_iter().chain([(usize::MAX, true)]) {
                let (now, later) = left.split_at(length.min(left.len()));
                left = later;
                batches.push(batch(now));
                if is_last {
                    major += 1;
                    let message = message(major, &std::mem::take(&mut batches));
                    let received = take(&mut decoder, &message, piece, &mut rows).unwrap();
                    prop_assert_eq!(received.version, Version { major, minor: 0 });
                }
            }
            let found = rows.take().unwrap();
            // All rows are in one batch, also those that arrived in several.
            let expected = if points.is_empty() { Vec::new() } else { vec![batch(&points)] };
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn damaged_messages_are_errors_or_decoded_as_by_arrow(
            values in vec((times(), prop::num::f64::NORMAL), 1..9),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            piece in 1_usize..2_000,
            is_cut in any::<bool>(),
        ) {
            let mut values = values;
            values.sort_by_key(|(time, _)| *time);
            let batches = if is_cut {
                vec![batch(&values[..1]), batch(&values[1..])]
            } else {
                vec![batch(&values)]
            };
            let mut message = message(7, &batches);
            let place = place.index(message.len());
            message[place] = byte;
            // Decoding does not panic.
            if let Ok((_, found)) = read(&message, piece) {
                let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
                let hook = std::panic::take_hook();
                std::panic::set_hook(Box::new(|_| {}));
                let expected = read_with_arrow(&message);
                std::panic::set_hook(hook);
                prop_assert!(expected.is_none_or(|expected| expected == rows));
            }
        }
    }

    #[test]
    fn incomplete_messages_are_errors_or_lack_only_the_end_marker() {
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        for end in 1..whole.len() {
            if let Ok((received, _)) = read(&whole[..end], 100) {
                // In protobuf, a message that ends after a field is complete.
                assert!(end <= 2 && received.version.major <= 7, "{end}");
            }
        }
    }

    #[test]
    fn rows_of_incomplete_messages_are_dropped() {
        let (mut decoder, mut rows) = (IpcDecoder::new("test"), no_rows());
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        take(&mut decoder, &whole, 50, &mut rows).unwrap();
        decoder.begin(whole.len());
        decoder.push(&whole[..whole.len() - 20], &mut rows).unwrap();
        rows.drop_incomplete();
        let next = message(7, &[batch(&[(3, 1.0), (4, 2.0)])]);
        take(&mut IpcDecoder::new("test"), &next, 500, &mut rows).unwrap();
        let batches = rows.take().unwrap();
        assert_eq!(batches, [batch(&[(1, 1.0), (2, 2.0), (3, 1.0), (4, 2.0)])]);
    }

    #[test]
    fn rows_that_arrive_again_are_skipped() {
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        let two = message(7, &[batch(&[(3, 1.0)]), batch(&[(4, 2.0)])]);
        for (skip, left) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)] {
            let (mut decoder, mut rows) = (IpcDecoder::new("test"), no_rows());
            rows.skip(skip);
            take(&mut decoder, &whole, 50, &mut rows).unwrap();
            take(&mut decoder, &two, 50, &mut rows).unwrap();
            assert_eq!(rows.len(), left);
            if left > 0 {
                assert_eq!(rows.last_time(1), Some((4, 1)));
            }
        }
    }

    #[test]
    fn joined_values_of_many_streams_become_one_batch() {
        let uuids: Vec<_> = (0..1_000).map(uuid::Uuid::from_u128).collect();
        let answer_schema = AnswerSchema::joined(uuids.iter().copied());
        let batch = |first: i32| {
            let rows = first..first + 40;
            let times = TimestampNanosecondArray::from_iter_values(rows.clone().map(i64::from));
            let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
            let column: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.map(f64::from)));
            let columns = std::iter::once(times);
            let columns = columns.chain(uuids.iter().map(|_| Arc::clone(&column)));
            RecordBatch::try_new(Arc::clone(answer_schema.schema()), columns.collect()).unwrap()
        };
        let message = |first| {
            let batch = batch(first);
            v5api::ArrowMultiValuesResponse {
                stat: None,
                arrow_bytes: encode(&batch.schema(), &[batch]).unwrap(),
            }
            .encode_to_vec()
        };
        for piece in [1_000, 64 << 10, 10 << 20] {
            let (mut decoder, mut rows) = (IpcDecoder::new("test"), rows_of(&answer_schema));
            for first in [0, 40] {
                take(&mut decoder, &message(first), piece, &mut rows).unwrap();
                assert!(
                    matches!(decoder.state, DecodeState::Copying { .. }),
                    "{piece}"
                );
            }
            let batches = rows.take().unwrap();
            let expected = arrow_select::concat::concat_batches(
                answer_schema.schema(),
                &[batch(0), batch(40)],
            );
            assert_eq!(batches, [expected.unwrap()]);
        }
    }

    fn of_columns(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        );
        let batch = batch.unwrap();
        v5api::ArrowRawValuesResponse {
            stat: None,
            version_major: 7,
            version_minor: 0,
            arrow_bytes: encode(&batch.schema(), &[batch]).unwrap(),
        }
        .encode_to_vec()
    }

    fn read_as(answer_schema: &AnswerSchema, message: &[u8]) -> Result<Vec<RecordBatch>, Error> {
        let mut rows = rows_of(answer_schema);
        take(&mut IpcDecoder::new("test"), message, 100, &mut rows)?;
        Ok(answer_schema.table("test", rows.take().unwrap())?.batches)
    }

    fn stamps(zone: Option<&str>) -> ArrayRef {
        let times = TimestampNanosecondArray::from(vec![1, 2, 3]);
        Arc::new(times.with_timezone_opt(zone))
    }

    fn doubles() -> ArrayRef {
        Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))
    }

    #[test]
    fn columns_of_points_must_have_the_expected_names_and_types() {
        let raw = AnswerSchema::raw(None).unwrap();
        let right = [batch(&[(1, 1.0), (2, 2.0), (3, 3.0)])];
        // The numbers are UTC with any time zone.
        for zone in [None, Some("UTC"), Some("Europe/Berlin"), Some("+05:30")] {
            let message = of_columns(vec![("time", stamps(zone)), ("value", doubles())]);
            assert_eq!(read_as(&raw, &message).unwrap(), right, "{zone:?}");
        }
        let int: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
        let single: ArrayRef = Arc::new(arrow_array::Float32Array::from(vec![1.0, 2.0, 3.0]));
        let text: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["a", "b", "c"]));
        let coarse: ArrayRef =
            Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![1, 2, 3]));
        let null: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]));
        let no_time: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None, Some(3)]));
        let stamps = || stamps(Some("UTC"));
        for (wrong, why) in [
            (
                vec![("value", doubles()), ("time", stamps())],
                "`value` (Float64)",
            ),
            (
                vec![("time", doubles()), ("value", stamps())],
                "`time` (Float64)",
            ),
            (vec![("time", stamps()), ("other", doubles())], "`other`"),
            (vec![("time", stamps())], "columns"),
            (
                vec![
                    ("time", stamps()),
                    ("value", doubles()),
                    ("more", doubles()),
                ],
                "`more`",
            ),
            (vec![("time", stamps()), ("value", text)], "Other"),
            (vec![("time", coarse), ("value", doubles())], "Other"),
            (
                vec![("time", Arc::clone(&int)), ("value", doubles())],
                "Int64",
            ),
            (
                vec![("time", stamps()), ("value", Arc::clone(&int))],
                "Int64",
            ),
            (
                vec![("time", stamps()), ("value", Arc::clone(&single))],
                "Float32",
            ),
            (
                vec![("time", stamps()), ("value", null)],
                "`value` contains nulls",
            ),
            (
                vec![("time", no_time), ("value", doubles())],
                "`time` contains nulls",
            ),
        ] {
            let error = read_as(&raw, &of_columns(wrong)).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Decode);
            assert!(error.to_string().contains(why), "{error}");
        }
        // The same columns are accepted if they were requested.
        let schema = arrow_schema::Schema::new(vec![
            arrow_schema::Field::new("t", arrow_schema::DataType::Int64, false),
            arrow_schema::Field::new("v", arrow_schema::DataType::Float32, true),
        ]);
        let asked = AnswerSchema::raw(Some(Arc::new(schema))).unwrap();
        for message in [
            of_columns(vec![("t", int), ("v", single)]),
            of_columns(vec![("time", stamps()), ("value", doubles())]),
        ] {
            let found = read_as(&asked, &message).unwrap();
            assert_eq!(found[0].schema_ref(), asked.schema());
            assert_eq!(found[0].num_rows(), 3);
        }
    }

    #[test]
    fn columns_of_statistics_are_identified_by_name() {
        let counts: ArrayRef = Arc::new(arrow_array::UInt64Array::from(vec![1, 0, 3]));
        let column = |first: f64| -> ArrayRef {
            Arc::new(Float64Array::from(vec![first, first + 1.0, first + 2.0]))
        };
        let usual = vec![
            ("time", stamps(Some("UTC"))),
            ("min", column(10.0)),
            ("mean", column(20.0)),
            ("max", column(30.0)),
            ("count", counts),
            ("stddev", column(40.0)),
        ];
        let answer_schema = AnswerSchema::windows(None).unwrap();
        let right = read_as(&answer_schema, &of_columns(usual.clone())).unwrap();
        assert_eq!(right[0].num_rows(), 2);
        assert_eq!(right[0].schema_ref(), &*STAT_SCHEMA);
        // The order of servers before 2023.
        let mut others = usual.clone();
        others.swap(1, 2);
        assert_eq!(
            read_as(&answer_schema, &of_columns(others.clone())).unwrap(),
            right
        );
        others.swap(4, 5);
        assert_eq!(read_as(&answer_schema, &of_columns(others)).unwrap(), right);
        let mut twice = usual.clone();
        twice[1].0 = "mean";
        assert!(read_as(&answer_schema, &of_columns(twice)).is_err());
        let raw = AnswerSchema::raw(None).unwrap();
        assert!(read_as(&raw, &of_columns(usual.clone())).is_err());
        assert!(read_as(&answer_schema, &message(7, &[batch(&[(1, 1.0)])])).is_err());
    }

    #[test]
    fn times_must_be_ascending_and_in_the_range() {
        let raw = AnswerSchema::raw(None).unwrap();
        for (times, is_right) in [
            ([1, 2, 3], true),
            ([1, 1, 1], true),
            ([1, 3, 2], false),
            ([2, 1, 3], false),
            ([i64::MIN, 2, 3], false),
            ([1, 2, i64::MAX], false),
            ([1, i64::MAX, i64::MIN], false),
        ] {
            let points = times.map(|time| (time, 0.5));
            for batches in [
                vec![batch(&points)],
                vec![batch(&points[..1]), batch(&points[1..])],
            ] {
                let found = read_as(&raw, &message(7, &batches));
                assert_eq!(found.is_ok(), is_right, "{times:?}");
            }
        }
    }

    #[test]
    fn refusals_have_no_rows() {
        let refusal = v5api::ArrowRawValuesResponse {
            stat: Some(v5api::Status {
                code: 404,
                msg: "unknown".to_owned(),
                mash: None,
            }),
            ..Default::default()
        };
        let (received, rows) = read(&refusal.encode_to_vec(), 3).unwrap();
        assert_eq!((received.stat.unwrap().code, rows.len()), (404, 0));
    }
}
