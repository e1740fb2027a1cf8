//! Messages in Arrow's IPC format, put into columns while they arrive.
//!
//! Messages have one form nearly always: a schema of plain columns, and one batch without nulls and
//! without compression. What such a message is made of is known from its first bytes; what follows
//! goes straight to where it stays. Whatever else Arrow allows is kept until the message is whole,
//! and left to its own reader.

use std::{borrow::Cow, ops::Range};

use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use pingthings_proto::v5api;
use pingthings_types::Version;
use prost::{DecodeError, Message};

use crate::{
    arrow::decode,
    columns::{VALUE, is_plain},
    error::Error,
    rows::Rows,
};

/// What begins a part, unless a very old writer wrote it.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A message that is not understood after so many bytes never will be. A thousand columns take two
/// hundred thousand to describe.
const LONGEST_HEAD: usize = 1 << 20;

/// What may follow the batch: a mark of the end, with or without what begins a part.
const LONGEST_TAIL: usize = 8;

/// What a message says besides its rows.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) stat: Option<v5api::Status>,
    pub(crate) version: Version,
}

/// Takes one message after the other.
#[derive(Debug)]
pub(crate) struct Intake {
    what: &'static str,
    /// The last schema as it was written, since every message has one, and all are alike.
    schema: Option<(Bytes, SchemaRef)>,
    length: usize,
    /// Bytes of the message that were not understood.
    kept: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Beginning,
    /// Values arrive: of this column, or what lies before it.
    Copying {
        plan: Plan,
        column: usize,
        position: usize,
    },
    /// It has another form.
    Keeping,
}

/// What a message is made of; positions count from its first byte.
#[derive(Debug)]
struct Plan {
    version: Version,
    schema: SchemaRef,
    rows: usize,
    columns: Vec<Range<usize>>,
    end: usize,
}

impl Intake {
    /// `what` is asked for, as errors say it.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self {
            what,
            schema: None,
            length: 0,
            kept: Vec::new(),
            stage: Stage::Beginning,
        }
    }

    /// Begins a message of so many bytes.
    pub(crate) fn begin(&mut self, length: usize) {
        self.length = length;
        self.kept.clear();
        self.stage = Stage::Beginning;
    }

    /// Takes the next bytes of the message.
    pub(crate) fn push(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
        match self.stage {
            Stage::Beginning => return self.push_first(bytes, rows),
            Stage::Copying { .. } => self.copy(bytes, rows),
            Stage::Keeping => self.kept.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// Takes bytes of a message of which it is not known what it is made of.
    fn push_first(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
        // The first bytes say it nearly always, and nothing has to be kept.
        let head = if self.kept.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            self.kept.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut self.kept))
        };
        if let Some(plan) = self.plan(&head) {
            rows.reserve(&plan.schema, plan.rows)
                .map_err(|error| Error::decode(self.what, error))?;
            self.stage = Stage::Copying {
                plan,
                column: 0,
                position: 0,
            };
            self.copy(&head, rows);
            return Ok(());
        }
        self.kept = head.into_owned();
        if self.kept.len() > LONGEST_HEAD {
            self.stage = Stage::Keeping;
        }
        Ok(())
    }

    /// Ends the message: its rows are complete.
    pub(crate) fn end(&mut self, rows: &mut Rows) -> Result<Received, Error> {
        let failed = |error: ArrowError| Error::decode(self.what, error);
        if let Stage::Copying { plan, .. } = &self.stage {
            if !is_end(&self.kept) {
                let message = "something other than an end follows the rows";
                return Err(failed(ArrowError::IpcError(message.to_owned())));
            }
            rows.complete(plan.rows);
            return Ok(Received {
                stat: None,
                version: plan.version,
            });
        }
        let message = answer(&self.kept).map_err(|error| Error::decode(self.what, error))?;
        if message.stat.as_ref().is_none_or(|stat| stat.code == 0) {
            for batch in decode(self.what, message.arrow_bytes)?.1 {
                rows.push(&batch).map_err(failed)?;
            }
        }
        Ok(Received {
            stat: message.stat,
            version: Version {
                major: message.version_major,
                minor: message.version_minor,
            },
        })
    }

    /// Puts values where they belong, and keeps what follows the last of them.
    fn copy(&mut self, mut bytes: &[u8], rows: &mut Rows) {
        let Stage::Copying {
            plan,
            column,
            position,
        } = &mut self.stage
        else {
            return;
        };
        while let Some(values) = plan.columns.get(*column) {
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
        let gap = plan.end.saturating_sub(*position).min(bytes.len());
        *position += gap;
        self.kept.extend_from_slice(&bytes[gap..]);
    }

    /// What the message is made of, if its first bytes say so and it has the usual form.
    fn plan(&mut self, head: &[u8]) -> Option<Plan> {
        let mut head = Head { head, position: 0 };
        let version = self.arrow_bytes(&mut head)?;
        let schema = head.part()?;
        let schema = self.schema(schema)?;
        let metadata = head.part()?;
        let message = root_as_message(metadata).ok()?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch()?,
            _ => return None,
        };
        let body = usize::try_from(message.bodyLength()).ok()?;
        let end = head.position.checked_add(body)?;
        let tail = self.length.checked_sub(end)?;
        if tail > LONGEST_TAIL {
            return None;
        }
        let rows = usize::try_from(batch.length()).ok()?;
        let columns = columns(&schema, rows, &batch, head.position..end)?;
        Some(Plan {
            version,
            schema,
            rows,
            columns,
            end,
        })
    }

    /// Goes to where the rows begin. They must be the last field of the message.
    fn arrow_bytes(&self, head: &mut Head<'_>) -> Option<Version> {
        let mut version = Version::default();
        loop {
            // The key of a field: its number, and how it is written.
            match head.byte()? {
                0x10 => version.major = head.varint()?,
                0x18 => version.minor = head.varint()?,
                // Joined values have no version, and their rows one field earlier.
                0x12 | 0x22 => {
                    let length = usize::try_from(head.varint()?).ok()?;
                    let is_last = head.position.checked_add(length)? == self.length;
                    return is_last.then_some(version);
                }
                _ => return None,
            }
        }
    }

    fn schema(&mut self, metadata: &[u8]) -> Option<SchemaRef> {
        if let Some((seen, schema)) = &self.schema
            && seen == metadata
        {
            return Some(SchemaRef::clone(schema));
        }
        let message = root_as_message(metadata).ok()?;
        let header = message.header_as_schema()?;
        let is_little = header.endianness() == arrow_ipc::Endianness::Little;
        if message.bodyLength() != 0 || !is_little || cfg!(target_endian = "big") {
            return None;
        }
        // Arrow panics at types that it does not know.
        let schema = std::panic::catch_unwind(|| arrow_ipc::convert::fb_to_schema(header)).ok()?;
        let schema = SchemaRef::new(schema);
        let mut kinds = schema.fields().iter().map(|field| field.data_type());
        if !kinds.all(is_plain) {
            return None;
        }
        let seen = Bytes::copy_from_slice(metadata);
        self.schema = Some((seen, SchemaRef::clone(&schema)));
        Some(schema)
    }
}

/// Any answer in Arrow; all are alike, but for joined values.
fn answer(message: &[u8]) -> Result<v5api::ArrowRawValuesResponse, DecodeError> {
    v5api::ArrowRawValuesResponse::decode(message).or_else(|error| {
        let joined = v5api::ArrowMultiValuesResponse::decode(message).map_err(|_| error)?;
        Ok(v5api::ArrowRawValuesResponse {
            stat: joined.stat,
            arrow_bytes: joined.arrow_bytes,
            ..v5api::ArrowRawValuesResponse::default()
        })
    })
}

/// Where the values of each column are in a body that lies at `body`.
fn columns(
    schema: &SchemaRef,
    rows: usize,
    batch: &arrow_ipc::RecordBatch<'_>,
    body: Range<usize>,
) -> Option<Vec<Range<usize>>> {
    let (nodes, buffers) = (batch.nodes()?, batch.buffers()?);
    let width = schema.fields().len();
    if batch.compression().is_some() || nodes.len() != width || buffers.len() != 2 * width {
        return None;
    }
    let length = rows.checked_mul(VALUE)?;
    let mut columns = Vec::with_capacity(width);
    let mut least = body.start;
    for (index, node) in nodes.iter().enumerate() {
        if node.null_count() != 0 || node.length() != batch.length() {
            return None;
        }
        let buffer = buffers.get(2 * index + 1);
        let start = body
            .start
            .checked_add(usize::try_from(buffer.offset()).ok()?)?;
        let end = start.checked_add(length)?;
        let is_within = usize::try_from(buffer.length()).ok()? >= length && end <= body.end;
        if !is_within || start < least {
            return None;
        }
        columns.push(start..end);
        least = end;
    }
    Some(columns)
}

/// Whether nothing more follows: the stream just ends, or says that it does.
fn is_end(tail: &[u8]) -> bool {
    tail.is_empty() || tail.strip_prefix(&CONTINUATION).unwrap_or(tail) == [0; 4]
}

/// The first bytes of a message. What has not arrived is `None`, as is what is not as usual.
struct Head<'a> {
    head: &'a [u8],
    position: usize,
}

impl<'a> Head<'a> {
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

    /// The description that begins a part.
    fn part(&mut self) -> Option<&'a [u8]> {
        let mut length = self.take(4)?;
        if length == CONTINUATION {
            length = self.take(4)?;
        }
        let length = u32::from_le_bytes(*length.first_chunk()?);
        self.take(usize::try_from(length).ok().filter(|length| *length > 0)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        arrow::{RAW_SCHEMA, encode},
        spare::Spares,
    };

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

    /// Whether or not this is on a runtime.
    pub(crate) fn no_rows() -> Rows {
        let fresh = || Rows::new(Arc::new(Spares::new()));
        if tokio::runtime::Handle::try_current().is_ok() {
            return fresh();
        }
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(async { fresh() })
    }

    fn take(
        intake: &mut Intake,
        message: &[u8],
        piece: usize,
        rows: &mut Rows,
    ) -> Result<Received, Error> {
        intake.begin(message.len());
        for piece in message.chunks(piece) {
            intake.push(piece, rows)?;
        }
        intake.end(rows)
    }

    fn read(message: &[u8], piece: usize) -> Result<(Received, Vec<RecordBatch>), Error> {
        let mut rows = no_rows();
        let received = take(&mut Intake::new("test"), message, piece, &mut rows)?;
        Ok((received, rows.take().unwrap()))
    }

    fn points() -> impl Strategy<Value = Vec<(i64, f64)>> {
        vec((any::<i64>(), prop::num::f64::NORMAL), 0..60)
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in vec(vec(points(), 0..3), 0..4),
            piece in 1_usize..2_000,
        ) {
            let (mut intake, mut rows) = (Intake::new("test"), no_rows());
            let mut expected = Vec::new();
            for (major, batches) in (1..).zip(&messages) {
                let batches: Vec<_> = batches.iter().map(|values| batch(values)).collect();
                let message = message(major, &batches);
                let received = take(&mut intake, &message, piece, &mut rows).unwrap();
                prop_assert_eq!(received.version, Version { major, minor: 0 });
                expected.extend(batches);
            }
            let all = |batches: &[RecordBatch]| {
                arrow_select::concat::concat_batches(&RAW_SCHEMA, batches).unwrap()
            };
            prop_assert_eq!(all(&rows.take().unwrap()), all(&expected));
        }

        #[test]
        fn damage_is_an_error_or_read_as_the_general_reader_does(
            values in vec((any::<i64>(), prop::num::f64::NORMAL), 1..9),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            piece in 1_usize..2_000,
        ) {
            let mut message = message(7, &[batch(&values)]);
            let place = place.index(message.len());
            message[place] = byte;
            let found = read(&message, piece);
            let general = v5api::ArrowRawValuesResponse::decode(&*message).ok();
            let general = general.and_then(|general| decode("test", general.arrow_bytes).ok());
            if let (Ok((_, found)), Some((_, expected))) = (found, general) {
                let count = |batches: &[RecordBatch]| -> usize {
                    batches.iter().map(RecordBatch::num_rows).sum()
                };
                prop_assert_eq!(count(&found), count(&expected));
            }
        }
    }

    #[test]
    fn what_is_cut_is_an_error_or_only_lacks_the_mark_of_its_end() {
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        for end in 1..whole.len() {
            if let Ok((received, _)) = read(&whole[..end], 100) {
                // A message that ends after a field is a whole one, as protobuf has it.
                assert!(end <= 2 && received.version.major <= 7, "{end}");
            }
        }
    }

    #[test]
    fn rows_of_messages_that_do_not_end_are_forgotten() {
        let (mut intake, mut rows) = (Intake::new("test"), no_rows());
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        take(&mut intake, &whole, 50, &mut rows).unwrap();
        intake.begin(whole.len());
        intake.push(&whole[..whole.len() - 20], &mut rows).unwrap();
        rows.drop_incomplete();
        take(&mut Intake::new("test"), &whole, 500, &mut rows).unwrap();
        let batches = rows.take().unwrap();
        assert_eq!(batches, [batch(&[(1, 1.0), (2, 2.0), (1, 1.0), (2, 2.0)])]);
    }

    #[test]
    fn rows_that_were_here_before_are_left_out() {
        let whole = message(7, &[batch(&[(1, 1.0), (2, 2.0)])]);
        let two = message(7, &[batch(&[(3, 1.0)]), batch(&[(4, 2.0)])]);
        for (skip, left) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)] {
            let (mut intake, mut rows) = (Intake::new("test"), no_rows());
            rows.skip(skip);
            take(&mut intake, &whole, 50, &mut rows).unwrap();
            take(&mut intake, &two, 50, &mut rows).unwrap();
            assert_eq!(rows.len(), left);
            if left > 0 {
                assert_eq!(rows.last_time(1), Some((4, 1)));
            }
        }
    }

    #[test]
    fn joined_values_of_many_streams_end_in_one_piece() {
        let names: Vec<_> = (0..1_000).map(|k| format!("{k:036}")).collect();
        let batch = |first: i32| {
            let column: ArrayRef = Arc::new(Float64Array::from_iter_values(
                (first..first + 40).map(f64::from),
            ));
            let columns = names.iter().map(|name| (name, Arc::clone(&column), false));
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
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
            let (mut intake, mut rows) = (Intake::new("test"), no_rows());
            for first in [0, 40] {
                take(&mut intake, &message(first), piece, &mut rows).unwrap();
                assert!(matches!(intake.stage, Stage::Copying { .. }), "{piece}");
            }
            let batches = rows.take().unwrap();
            let expected =
                arrow_select::concat::concat_batches(&batch(0).schema(), &[batch(0), batch(40)]);
            assert_eq!(batches, [expected.unwrap()]);
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
