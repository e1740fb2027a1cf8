//! Decoding of Arrow IPC streams from clients.
//!
//! Clients send only flat columns of times and values. This decoder checks every length against the
//! available bytes before it allocates anything. The library's reader accepts more types and checks
//! less.

use arrow_ipc::{Endianness, Message, MessageHeader, Precision, RecordBatch, TimeUnit};
use arrow_schema::{DataType, Field, Schema};
use pingthings_types::{Code, Points};

use crate::status::Refusal;

/// The start of each message in the current format. Older writers omit it.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Decodes at most `max` points from an IPC stream with a column of times and one of values.
pub(crate) fn decode_points(bytes: &[u8], max: usize) -> Result<Points, Refusal> {
    let mut messages = Messages::new(bytes);
    let schema = messages.schema()?;
    let [_, value] = &schema.fields()[..] else {
        return Err(malformed(format!(
            "it has {} columns: send one of times and one of values",
            schema.fields().len()
        )));
    };
    check_columns(&schema)?;

    let mut points = Points::default();
    while let Some((message, body)) = messages.next()? {
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| unexpected(message.header_type()))?;
        let rows = usize::try_from(batch.length())
            .map_err(|_| malformed("a batch has a negative length"))?;
        if rows > max.saturating_sub(points.len()) {
            return Err(Refusal::new(
                Code::InsertTooBig,
                format!("an insert of more than {max} points: send it in parts"),
            ));
        }
        let times = column(batch, body, 0, rows)?;
        points
            .times
            .extend(times.iter().map(|&t| i64::from_le_bytes(t)));
        if *value.data_type() == DataType::Float32 {
            let values = column(batch, body, 1, rows)?.iter();
            points
                .values
                .extend(values.map(|&v| f64::from(f32::from_le_bytes(v))));
        } else {
            let values = column(batch, body, 1, rows)?.iter();
            points.values.extend(values.map(|&v| f64::from_le_bytes(v)));
        }
    }
    if !messages.ended {
        return Err(malformed("it has no end marker"));
    }
    Ok(points)
}

/// Decodes the schema of an IPC stream with a column of times and any number of value columns.
pub(crate) fn decode_template(bytes: &[u8]) -> Result<Schema, Refusal> {
    let schema = Messages::new(bytes).schema()?;
    check_columns(&schema)?;
    Ok(schema)
}

/// The messages of a stream.
struct Messages<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Messages<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            ended: false,
        }
    }

    fn schema(&mut self) -> Result<Schema, Refusal> {
        let (message, _) = self.next()?.ok_or_else(|| malformed("it is empty"))?;
        let schema = message
            .header_as_schema()
            .ok_or_else(|| unexpected(message.header_type()))?;
        if schema.endianness() != Endianness::Little {
            return Err(malformed("it is not little-endian"));
        }
        let fields = schema.fields().into_iter().flatten().map(field);
        Ok(Schema::new(fields.collect::<Result<Vec<_>, _>>()?))
    }

    /// The next message and its body, or `None` at the end marker or at the end of the bytes.
    fn next(&mut self) -> Result<Option<(Message<'a>, &'a [u8])>, Refusal> {
        if self.ended || self.rest.is_empty() {
            return Ok(None);
        }
        let mut length = self.word()?;
        if length == CONTINUATION {
            length = self.word()?;
        }
        let length = i32::from_le_bytes(length);
        if length == 0 {
            self.ended = true;
            return Ok(None);
        }
        let metadata = self.take(length.into())?;
        let message = arrow_ipc::root_as_message(metadata)
            .map_err(|error| malformed(format!("a message is damaged: {error}")))?;
        let body = self.take(message.bodyLength())?;
        Ok(Some((message, body)))
    }

    fn word(&mut self) -> Result<[u8; 4], Refusal> {
        let (word, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| malformed("it ends within a message"))?;
        self.rest = rest;
        Ok(*word)
    }

    fn take(&mut self, length: i64) -> Result<&'a [u8], Refusal> {
        let (taken, rest) =
            part(self.rest, 0, length).ok_or_else(|| malformed("it ends within a message"))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// `length` bytes from `offset`, and the bytes after them, or `None` if there are fewer bytes.
fn part(bytes: &[u8], offset: i64, length: i64) -> Option<(&[u8], &[u8])> {
    let (_, from) = bytes.split_at_checked(usize::try_from(offset).ok()?)?;
    from.split_at_checked(usize::try_from(length).ok()?)
}

/// The values of a column, each as its bytes.
fn column<'a, const WIDTH: usize>(
    batch: RecordBatch<'a>,
    body: &'a [u8],
    index: usize,
    rows: usize,
) -> Result<&'a [[u8; WIDTH]], Refusal> {
    if batch.compression().is_some() {
        return Err(malformed("it is compressed: send its buffers as they are"));
    }
    let missing = || malformed("a column is missing from a batch");
    let node = batch
        .nodes()
        .into_iter()
        .flatten()
        .nth(index)
        .ok_or_else(missing)?;
    if node.length() != batch.length() {
        return Err(malformed("the columns of a batch differ in length"));
    }
    if node.null_count() != 0 {
        return Err(Refusal::new(
            Code::BadValue,
            "an insert with nulls: leave such points out; no point of the call was stored",
        ));
    }
    // Each column has two buffers. The first marks null rows, of which there are none.
    let buffer = batch
        .buffers()
        .into_iter()
        .flatten()
        .nth(2 * index + 1)
        .ok_or_else(missing)?;
    let (bytes, _) = part(body, buffer.offset(), buffer.length())
        .ok_or_else(|| malformed("a column reaches beyond its batch"))?;
    let (values, _) = bytes.as_chunks();
    values
        .get(..rows)
        .ok_or_else(|| malformed("a column is shorter than its batch"))
}

fn check_columns(schema: &Schema) -> Result<(), Refusal> {
    let (time, values) = schema
        .fields()
        .split_first()
        .ok_or_else(|| malformed("it has no column"))?;
    if matches!(time.data_type(), DataType::Float32 | DataType::Float64) {
        return Err(malformed(format!(
            "its first column is `{}`, of {}: times come first, as int64 or timestamp[ns]",
            time.name(),
            time.data_type()
        )));
    }
    for value in values {
        if !matches!(value.data_type(), DataType::Float32 | DataType::Float64) {
            return Err(malformed(format!(
                "column `{}` is of {}: values are float32 or float64",
                value.name(),
                value.data_type()
            )));
        }
    }
    Ok(())
}

/// The field of a column, which must have a type for times or values.
fn field(field: arrow_ipc::Field<'_>) -> Result<Field, Refusal> {
    let name = field.name().unwrap_or_default();
    let time = field.type_as_timestamp();
    let integer = field.type_as_int();
    let float = field.type_as_floating_point();
    let data_type = if field.dictionary().is_some() {
        None
    } else if let Some(time) = time {
        (time.unit() == TimeUnit::NANOSECOND).then(|| {
            DataType::Timestamp(
                arrow_schema::TimeUnit::Nanosecond,
                time.timezone().map(Into::into),
            )
        })
    } else if let Some(integer) = integer {
        (integer.bitWidth() == 64 && integer.is_signed()).then_some(DataType::Int64)
    } else {
        match float.map(|float| float.precision()) {
            Some(Precision::SINGLE) => Some(DataType::Float32),
            Some(Precision::DOUBLE) => Some(DataType::Float64),
            _ => None,
        }
    };
    let data_type = data_type.ok_or_else(|| {
        malformed(format!(
            "column `{name}` has a type that is not supported: \
             use int64 or timestamp[ns] for times, float32 or float64 for values"
        ))
    })?;
    Ok(Field::new(name, data_type, field.nullable()))
}

fn malformed(problem: impl std::fmt::Display) -> Refusal {
    Refusal::parameter(format!("the arrow stream cannot be used: {problem}"))
}

fn unexpected(header: MessageHeader) -> Refusal {
    let name = header.variant_name().unwrap_or("a message of unknown type");
    malformed(format!("it has an unexpected `{name}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arrow::{Layout, encode_points};

    fn encode(points: &Points) -> Vec<u8> {
        let layout = Layout::points(&[]).unwrap();
        encode_points(&layout, points.clone()).unwrap().to_vec()
    }

    fn points() -> impl Strategy<Value = Points> {
        prop::collection::vec(any::<(i64, f64)>(), 0..50)
            .prop_map(|rows| rows.into_iter().unzip())
            .prop_map(|(times, values)| Points { times, values })
    }

    proptest! {
        #[test]
        fn encoded_points_are_decoded(points in points()) {
            let found = decode_points(&encode(&points), points.len()).unwrap();
            prop_assert_eq!(&found.times, &points.times);
            let bits = |points: &Points| -> Vec<u64> {
                points.values.iter().map(|value| value.to_bits()).collect()
            };
            prop_assert_eq!(bits(&found), bits(&points));
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let refusal = decode_points(&bytes, 1000).unwrap_err();
            prop_assert_eq!(refusal.code, Code::InvalidParameter);
            prop_assert!(decode_template(&bytes).is_err());
        }

        #[test]
        fn a_damaged_stream_has_no_more_points_than_bytes_for_them(
            points in points(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = encode(&points);
            for (index, byte) in damage {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            if let Ok(found) = decode_points(&bytes, 1000) {
                prop_assert_eq!(found.times.len(), found.values.len());
                prop_assert!(found.times.len() * 16 <= bytes.len());
            }
            let _ = decode_template(&bytes);
        }

        #[test]
        fn a_length_beyond_the_available_bytes_is_refused(length in any::<i32>()) {
            let mut bytes = encode(&Points::default());
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            if i32::try_from(bytes.len()).is_ok_and(|len| !(1..len).contains(&length)) {
                prop_assert!(decode_points(&bytes, 1000).is_err());
            }
        }
    }

    #[test]
    fn streams_without_the_continuation_marker_are_decoded() {
        let points = Points {
            times: vec![1, 2],
            values: vec![3.0, 4.0],
        };
        let bytes = encode(&points);
        let mut old = Vec::new();
        let mut rest = &bytes[..];
        // On boundaries of 8 bytes the marker occurs only before a message.
        while let Some((word, next)) = rest.split_first_chunk::<8>() {
            let is_marker = word.starts_with(&CONTINUATION);
            old.extend_from_slice(if is_marker { &word[4..] } else { word });
            rest = next;
        }
        assert_eq!(old.len(), bytes.len() - 3 * CONTINUATION.len());
        assert_eq!(decode_points(&old, 10), Ok(points));
    }
}
