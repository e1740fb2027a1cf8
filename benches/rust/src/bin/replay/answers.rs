//! Answers: encoded when they are first asked for, and kept.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    sync::Arc,
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use pingthings_benches::recording;
use pingthings_proto::v5api;
use pingthings_types::Points;
use prost::Message;

use crate::Face;

/// Nanoseconds between points: about 30 Hz.
const STEP: i64 = 33_333_333;
/// Points of one answer that are made; longer answers repeat them.
const MADE: usize = 10_000_000;
/// Streams in every collection.
const STREAMS: u128 = 1_000;
const LOOK_UP: usize = 200;
/// Shorter messages are not compressed.
const WORTH_COMPRESSING: usize = 1_024;

/// The messages of an answer, each with its prefix.
pub(crate) type Messages = Arc<[Bytes]>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The method is not known.
    Unimplemented,
    /// The request cannot be read, or its answer not be made.
    Invalid(String),
}

impl From<prost::DecodeError> for Refusal {
    fn from(error: prost::DecodeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<ArrowError> for Refusal {
    fn from(error: ArrowError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// An answer, or what it takes to make it.
#[derive(Debug)]
pub(crate) enum Found {
    Kept(Messages),
    ToMake(Key),
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    method: &'static str,
    /// Rows, and nanoseconds from one to the next.
    rows: usize,
    step: i64,
    start: i64,
    streams: Vec<Bytes>,
}

/// The answers of one port.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) face: Face,
    kept: Mutex<HashMap<Key, Messages>>,
}

impl Answers {
    pub(crate) fn new(face: Face) -> Self {
        Self {
            face,
            kept: Mutex::default(),
        }
    }

    /// The answer to a request, which is one message without its prefix, or what it depends on if
    /// it has to be made.
    pub(crate) fn to(&self, method: &str, request: Bytes) -> Result<Found, Refusal> {
        if method.starts_with("Arrow") && !self.face.has_arrow {
            return Err(Refusal::Unimplemented);
        }
        match method {
            "ArrowRawValues" => {
                let q = v5api::ArrowRawValuesParams::decode(request)?;
                Ok(self.rows("ArrowRawValues", q.start, q.end, STEP))
            }
            "RawValues" => {
                let q = v5api::RawValuesParams::decode(request)?;
                Ok(self.rows("RawValues", q.start, q.end, STEP))
            }
            "ArrowAlignedWindows" => {
                let q = v5api::AlignedWindowsParams::decode(request)?;
                Ok(self.rows("ArrowWindows", q.start, q.end, 1 << q.point_width))
            }
            "AlignedWindows" => {
                let q = v5api::AlignedWindowsParams::decode(request)?;
                Ok(self.rows("Windows", q.start, q.end, 1 << q.point_width))
            }
            "ArrowWindows" => {
                let q = v5api::WindowsParams::decode(request)?;
                Ok(self.rows("ArrowWindows", q.start, q.end, q.width.cast_signed()))
            }
            "Windows" => {
                let q = v5api::WindowsParams::decode(request)?;
                Ok(self.rows("Windows", q.start, q.end, q.width.cast_signed()))
            }
            "ArrowMultiValues" => {
                let q = v5api::ArrowMultiValuesParams::decode(request)?;
                Ok(self.kept(Key {
                    method: "ArrowMultiValues",
                    rows: rows_between(q.start, q.end, STEP),
                    step: STEP,
                    start: q.start,
                    streams: q.uuid,
                }))
            }
            "StreamInfo" => {
                let q = v5api::StreamInfoParams::decode(request)?;
                Ok(self.one(&stream_info(q)))
            }
            "Nearest" => Ok(self.one(&nearest())),
            "Insert" | "ArrowInsert" => Ok(self.one(&v5api::InsertResponse {
                version_major: 2,
                ..Default::default()
            })),
            "Flush" => Ok(self.one(&v5api::FlushResponse {
                version_major: 2,
                ..Default::default()
            })),
            "LookupStreams" => Ok(Found::Kept(self.streams())),
            "Info" => Ok(self.one(&self.info())),
            _ => Err(Refusal::Unimplemented),
        }
    }

    fn one(&self, message: &impl Message) -> Found {
        Found::Kept(Arc::new([self.framed(message)]))
    }

    /// A message with its prefix: whether it is compressed, and how long it is.
    fn framed(&self, message: &impl Message) -> Bytes {
        let mut bytes = message.encode_to_vec();
        let is_packed = self.face.is_gzip && bytes.len() >= WORTH_COMPRESSING;
        if is_packed {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            // Writing into memory cannot fail.
            let _ = packed.write_all(&bytes);
            bytes = packed.finish().unwrap_or_default();
        }
        let mut framed = BytesMut::with_capacity(bytes.len() + 5);
        framed.put_u8(u8::from(is_packed));
        framed.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        framed.put_slice(&bytes);
        framed.freeze()
    }

    fn rows(&self, method: &'static str, start: i64, end: i64, step: i64) -> Found {
        self.kept(Key {
            method,
            rows: rows_between(start, end, step),
            step,
            start,
            streams: Vec::new(),
        })
    }

    fn kept(&self, key: Key) -> Found {
        match self.kept.lock().get(&key) {
            Some(messages) => Found::Kept(Arc::clone(messages)),
            None => Found::ToMake(key),
        }
    }

    /// Makes an answer, which may take seconds, and keeps it.
    pub(crate) fn make(&self, key: Key) -> Result<Messages, Refusal> {
        let made = key.rows.min(MADE);
        let mut messages = (0..made)
            .step_by(self.face.rows)
            .map(|first| self.message(&key, first, self.face.rows.min(made - first)))
            .collect::<Result<Vec<_>, _>>()?;
        let once = messages.len();
        for _ in 1..key.rows.div_ceil(MADE) {
            messages.extend_from_within(..once);
        }
        let messages = Messages::from(messages);
        self.kept.lock().insert(key, Arc::clone(&messages));
        Ok(messages)
    }

    fn message(&self, key: &Key, first: usize, count: usize) -> Result<Bytes, Refusal> {
        let mut points = recording(30, first, count);
        for (i, time) in points.times.iter_mut().enumerate() {
            *time = key.start + (first + i).cast_signed() as i64 * key.step;
        }
        Ok(match key.method {
            "RawValues" => self.framed(&v5api::RawValuesResponse {
                version_major: 1,
                values: raw_points(&points),
                ..Default::default()
            }),
            "Windows" => self.framed(&v5api::AlignedWindowsResponse {
                version_major: 1,
                values: stat_points(&points),
                ..Default::default()
            }),
            "ArrowWindows" => self.framed(&v5api::ArrowWindowsResponse {
                version_major: 1,
                arrow_bytes: windows(points)?,
                ..Default::default()
            }),
            "ArrowMultiValues" => self.framed(&v5api::ArrowMultiValuesResponse {
                stat: None,
                arrow_bytes: joined(points, &key.streams)?,
            }),
            _ => self.framed(&v5api::ArrowRawValuesResponse {
                version_major: 1,
                arrow_bytes: ipc(vec![times(points.times), values("value", points.values)])?,
                ..Default::default()
            }),
        })
    }

    fn streams(&self) -> Messages {
        let uuids: Vec<u128> = (0..STREAMS).collect();
        uuids
            .chunks(LOOK_UP)
            .map(|uuids| {
                self.framed(&v5api::LookupStreamsResponse {
                    stat: None,
                    results: uuids
                        .iter()
                        .map(|uuid| descriptor(Bytes::copy_from_slice(&uuid.to_be_bytes())))
                        .collect(),
                })
            })
            .collect()
    }

    fn info(&self) -> v5api::InfoResponse {
        v5api::InfoResponse {
            major_version: 5,
            minor_version: if self.face.has_arrow { 30 } else { 25 },
            build: "replay".to_owned(),
            proxy: Some(v5api::ProxyInfo::default()),
            ..Default::default()
        }
    }
}

fn rows_between(start: i64, end: i64, step: i64) -> usize {
    usize::try_from((end - start) / step.max(1)).unwrap_or(0)
}

fn raw_points(points: &Points) -> Vec<v5api::RawPoint> {
    points
        .iter()
        .map(|p| v5api::RawPoint {
            time: p.time,
            value: p.value,
        })
        .collect()
}

fn stat_points(points: &Points) -> Vec<v5api::StatPoint> {
    points
        .iter()
        .map(|p| v5api::StatPoint {
            time: p.time,
            min: p.value - 1.0,
            mean: p.value,
            max: p.value + 1.0,
            count: 30,
            stddev: 0.5,
        })
        .collect()
}

type Column = (Field, ArrayRef);

fn times(times: Vec<i64>) -> Column {
    let kind = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let times = TimestampNanosecondArray::from(times).with_timezone("UTC");
    (Field::new("time", kind, false), Arc::new(times))
}

fn values(name: &str, values: Vec<f64>) -> Column {
    let field = Field::new(name, DataType::Float64, false);
    (field, Arc::new(Float64Array::from(values)))
}

fn windows(points: Points) -> Result<Bytes, ArrowError> {
    let Points {
        times: starts,
        values: means,
    } = points;
    let moved = |by: f64| means.iter().map(|mean| mean + by).collect();
    let counts = Arc::new(UInt64Array::from(vec![30; means.len()]));
    ipc(vec![
        times(starts),
        values("min", moved(-1.0)),
        values("mean", means.clone()),
        values("max", moved(1.0)),
        (Field::new("count", DataType::UInt64, false), counts),
        values("stddev", vec![0.5; means.len()]),
    ])
}

/// Points of many streams that have the same times and values.
fn joined(points: Points, streams: &[Bytes]) -> Result<Bytes, ArrowError> {
    let mut columns = vec![times(points.times)];
    for uuid in streams {
        let uuid = uuid::Uuid::from_slice(uuid).unwrap_or_default();
        columns.push(values(&uuid.to_string(), points.values.clone()));
    }
    ipc(columns)
}

/// A whole IPC stream of one batch.
fn ipc(columns: Vec<Column>) -> Result<Bytes, ArrowError> {
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let mut out = Vec::with_capacity(batch.get_array_memory_size() + 1024);
    let mut writer = StreamWriter::try_new(&mut out, &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(out.into())
}

fn pairs(kind: &str, count: usize) -> Vec<v5api::KeyOptValue> {
    let pairs: BTreeMap<String, String> = (0..count)
        .map(|i| (format!("{kind} {i}"), format!("the value of {kind} {i}")))
        .collect();
    let pairs = pairs.into_iter().map(|(key, value)| v5api::KeyOptValue {
        key,
        val: Some(v5api::OptValue { value }),
    });
    pairs.collect()
}

fn descriptor(uuid: Bytes) -> v5api::StreamDescriptor {
    v5api::StreamDescriptor {
        uuid,
        collection: "bench/replay".to_owned(),
        tags: ["name", "unit", "ingress", "distiller"]
            .map(|key| v5api::KeyOptValue {
                key: key.to_owned(),
                val: Some(v5api::OptValue {
                    value: format!("the {key}"),
                }),
            })
            .into(),
        annotations: pairs("annotation", 8),
        property_version: 1,
    }
}

fn stream_info(q: v5api::StreamInfoParams) -> v5api::StreamInfoResponse {
    v5api::StreamInfoResponse {
        version_major: u64::from(!q.omit_version),
        descriptor: (!q.omit_descriptor).then(|| descriptor(q.uuid)),
        ..Default::default()
    }
}

fn nearest() -> v5api::NearestResponse {
    v5api::NearestResponse {
        version_major: 1,
        value: Some(v5api::RawPoint {
            time: 1_500_000_000_000_000_000,
            value: 60.0,
        }),
        ..Default::default()
    }
}
