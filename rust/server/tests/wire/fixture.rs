//! A server, a client, and streams whose reads are made twice: as messages and as Arrow.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use pingthings_proto::v5api::b_tr_db_client::BTrDbClient;
use pingthings_proto::v5api::{self as v5, KeyOptValue, OptValue};
use pingthings_server::{Config, Server};
use pingthings_types::{MAX_TIME, MIN_TIME, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub(crate) type Client = BTrDbClient<Channel>;

pub(crate) use crate::answer::{Outcome, answer, answers};

/// A window of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) time: i64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    pub(crate) count: u64,
    pub(crate) stddev: f64,
}

pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) client: Client,
}

impl Fixture {
    pub(crate) async fn open() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let server = Server::start(config).await.unwrap();
        let client = connect(&server).await;
        Self { server, client }
    }

    /// A new connection.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.addr())).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), wait)
            .await
            .unwrap();
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let addr = self.server.metrics_addr().unwrap();
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values
            .find_map(|value| value.trim().parse().ok())
            .expect(name)
    }

    /// A new server with one stream.
    pub(crate) async fn with_stream() -> (Self, Stream) {
        let fixture = Self::open().await;
        let stream = fixture.stream().await;
        (fixture, stream)
    }

    /// A new stream in a new collection.
    pub(crate) async fn stream(&self) -> Stream {
        let uuid = Uuid::new_v4();
        let stream = Stream {
            client: self.client.clone(),
            uuid,
        };
        let created = self
            .create(uuid, &format!("tests/{uuid}"), &[("name", "x")])
            .await;
        created.unwrap();
        stream
    }

    pub(crate) async fn create(
        &self,
        uuid: Uuid,
        collection: &str,
        tags: &[(&str, &str)],
    ) -> Outcome<()> {
        let params = v5::CreateParams {
            uuid: bytes(uuid),
            collection: collection.to_owned(),
            tags: pairs(tags),
            annotations: Vec::new(),
        };
        answer(self.client.clone().create(params).await).map(|_| ())
    }
}

pub(crate) async fn connect(server: &Server) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr())).unwrap();
    // Every test also checks that no message is longer.
    BTrDbClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(4_000_000)
}

pub(crate) fn bytes(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}

pub(crate) fn pair(key: &str, value: Option<&str>) -> KeyOptValue {
    KeyOptValue {
        key: key.to_owned(),
        val: value.map(|value| OptValue {
            value: value.to_owned(),
        }),
    }
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyOptValue> {
    pairs
        .iter()
        .map(|&(key, value)| pair(key, Some(value)))
        .collect()
}

/// A stream and its calls.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) uuid: Uuid,
}

impl Stream {
    pub(crate) fn id(&self) -> Bytes {
        bytes(self.uuid)
    }

    pub(crate) async fn insert(&self, points: &[(i64, f64)]) -> Outcome<Version> {
        self.insert_as(v5::MergePolicy::Never, points).await
    }

    pub(crate) async fn insert_as(
        &self,
        policy: v5::MergePolicy,
        points: &[(i64, f64)],
    ) -> Outcome<Version> {
        let values = points
            .iter()
            .map(|&(time, value)| v5::RawPoint { time, value });
        let params = v5::InsertParams {
            uuid: self.id(),
            sync: false,
            values: values.collect(),
            merge_policy: policy.into(),
            rounding: None,
        };
        answer(self.client.clone().insert(params).await).map(|answer| Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }

    pub(crate) async fn arrow_insert(
        &self,
        policy: v5::MergePolicy,
        arrow_bytes: Bytes,
    ) -> Outcome<Version> {
        let params = v5::ArrowInsertParams {
            uuid: self.id(),
            sync: false,
            merge_policy: policy.into(),
            rounding: None,
            arrow_bytes,
        };
        answer(self.client.clone().arrow_insert(params).await).map(|answer| Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }

    pub(crate) async fn flush(&self) -> Outcome<Version> {
        let params = v5::FlushParams { uuid: self.id() };
        answer(self.client.clone().flush(params).await).map(|answer| Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }

    /// All points of the latest version.
    pub(crate) async fn all(&self) -> Vec<(i64, f64)> {
        self.raw(MIN_TIME, MAX_TIME - 1).await.unwrap()
    }

    pub(crate) async fn raw(&self, start: i64, end: i64) -> Outcome<Vec<(i64, f64)>> {
        self.raw_at(0, start, end).await.map(|(_, points)| points)
    }

    /// The version and points, read in both ways.
    pub(crate) async fn raw_at(
        &self,
        version_major: u64,
        start: i64,
        end: i64,
    ) -> Outcome<(Version, Vec<(i64, f64)>)> {
        let params = v5::RawValuesParams {
            uuid: self.id(),
            start,
            end,
            version_major,
        };
        let plain = answers(self.client.clone().raw_values(params).await).await;
        let params = v5::ArrowRawValuesParams {
            uuid: self.id(),
            start,
            end,
            version_major,
            template_bytes: Bytes::new(),
        };
        let arrow = answers(self.client.clone().arrow_raw_values(params).await).await;
        let (plain, arrow) = both(plain, arrow)?;

        let points: Vec<_> = plain
            .iter()
            .flat_map(|answer| &answer.values)
            .map(|point| (point.time, point.value))
            .collect();
        let version = one_version(plain.iter().map(|a| (a.version_major, a.version_minor)));
        let arrow_version = one_version(arrow.iter().map(|a| (a.version_major, a.version_minor)));
        assert_eq!(version, arrow_version);
        let table = table(arrow.iter().map(|answer| &answer.arrow_bytes));
        assert_eq!(*table.schema(), points_schema());
        let times = table.column(0).as_primitive::<TimestampNanosecondType>();
        let values = table.column(1).as_primitive::<Float64Type>();
        let rows = times.values().iter().zip(values.values());
        let same = rows.map(|(&time, value)| (time, value.to_bits()));
        assert!(same.eq(points.iter().map(|&(time, value)| (time, value.to_bits()))));
        Ok((version, points))
    }

    pub(crate) async fn aligned(
        &self,
        start: i64,
        end: i64,
        point_width: u32,
    ) -> Outcome<Vec<Window>> {
        self.aligned_at(0, start, end, point_width).await
    }

    pub(crate) async fn aligned_at(
        &self,
        version_major: u64,
        start: i64,
        end: i64,
        point_width: u32,
    ) -> Outcome<Vec<Window>> {
        let params = v5::AlignedWindowsParams {
            uuid: self.id(),
            start,
            end,
            version_major,
            point_width,
        };
        let mut client = self.client.clone();
        let plain = answers(client.aligned_windows(params.clone()).await).await;
        let arrow = answers(client.arrow_aligned_windows(params).await).await;
        let (plain, arrow) = both(plain, arrow)?;
        let version = one_version(plain.iter().map(|a| (a.version_major, a.version_minor)));
        let arrow_version = one_version(arrow.iter().map(|a| (a.version_major, a.version_minor)));
        assert_eq!(version, arrow_version);
        Ok(same_windows(
            plain.iter().flat_map(|answer| &answer.values),
            arrow.iter().map(|answer| &answer.arrow_bytes),
        ))
    }

    pub(crate) async fn windows(&self, start: i64, end: i64, width: u64) -> Outcome<Vec<Window>> {
        self.windows_at(0, start, end, width, 0).await
    }

    pub(crate) async fn windows_at(
        &self,
        version_major: u64,
        start: i64,
        end: i64,
        width: u64,
        depth: u32,
    ) -> Outcome<Vec<Window>> {
        let params = v5::WindowsParams {
            uuid: self.id(),
            start,
            end,
            version_major,
            width,
            depth,
        };
        let mut client = self.client.clone();
        let plain = answers(client.windows(params.clone()).await).await;
        let arrow = answers(client.arrow_windows(params).await).await;
        let (plain, arrow) = both(plain, arrow)?;
        let version = one_version(plain.iter().map(|a| (a.version_major, a.version_minor)));
        let arrow_version = one_version(arrow.iter().map(|a| (a.version_major, a.version_minor)));
        assert_eq!(version, arrow_version);
        Ok(same_windows(
            plain.iter().flat_map(|answer| &answer.values),
            arrow.iter().map(|answer| &answer.arrow_bytes),
        ))
    }

    pub(crate) async fn nearest(&self, time: i64, backward: bool) -> Outcome<(i64, f64)> {
        let found = self.nearest_at(0, time, backward).await;
        found.map(|(_, point)| point)
    }

    /// The version and the point.
    pub(crate) async fn nearest_at(
        &self,
        version_major: u64,
        time: i64,
        backward: bool,
    ) -> Outcome<(Version, (i64, f64))> {
        let params = v5::NearestParams {
            uuid: self.id(),
            time,
            version_major,
            backward,
        };
        answer(self.client.clone().nearest(params).await).map(|answer| {
            let version = Version {
                major: answer.version_major,
                minor: answer.version_minor,
            };
            let point = answer.value.unwrap();
            (version, (point.time, point.value))
        })
    }

    pub(crate) async fn delete(&self, start: i64, end: i64) -> Outcome<Version> {
        let params = v5::DeleteParams {
            uuid: self.id(),
            start,
            end,
        };
        answer(self.client.clone().delete(params).await).map(|answer| Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }

    pub(crate) async fn obliterate(&self) -> Outcome<()> {
        let params = v5::ObliterateParams { uuid: self.id() };
        answer(self.client.clone().obliterate(params).await).map(|_| ())
    }

    pub(crate) async fn descriptor(&self) -> v5::StreamDescriptor {
        self.info().await.unwrap().descriptor.unwrap()
    }

    pub(crate) async fn info(&self) -> Outcome<v5::StreamInfoResponse> {
        let params = v5::StreamInfoParams {
            uuid: self.id(),
            ..v5::StreamInfoParams::default()
        };
        answer(self.client.clone().stream_info(params).await)
    }
}

/// Both answers, or the code of both refusals.
fn both<A, B>(plain: Outcome<A>, arrow: Outcome<B>) -> Outcome<(A, B)> {
    match (plain, arrow) {
        (Ok(plain), Ok(arrow)) => Ok((plain, arrow)),
        (Err(plain), Err(arrow)) => {
            assert_eq!(plain, arrow);
            Err(plain)
        }
        (plain, arrow) => panic!("plain: {:?}, arrow: {:?}", plain.err(), arrow.err()),
    }
}

/// The version in all messages of an answer.
fn one_version(versions: impl Iterator<Item = (u64, u64)>) -> Version {
    let mut versions: Vec<_> = versions.collect();
    versions.dedup();
    let [(major, minor)] = versions[..] else {
        panic!("one answer at several versions: {versions:?}");
    };
    Version { major, minor }
}

fn same_windows<'a>(
    plain: impl Iterator<Item = &'a v5::StatPoint>,
    arrow: impl Iterator<Item = &'a Bytes>,
) -> Vec<Window> {
    let windows: Vec<_> = plain
        .map(|point| Window {
            time: point.time,
            min: point.min,
            mean: point.mean,
            max: point.max,
            count: point.count,
            stddev: point.stddev,
        })
        .collect();
    let table = table(arrow);
    assert_eq!(*table.schema(), windows_schema());
    let times = table.column(0).as_primitive::<TimestampNanosecondType>();
    assert!(
        times
            .values()
            .iter()
            .copied()
            .eq(windows.iter().map(|w| w.time))
    );
    let counts = table.column(4).as_primitive::<UInt64Type>();
    assert!(
        counts
            .values()
            .iter()
            .copied()
            .eq(windows.iter().map(|w| w.count))
    );
    for (index, column) in [
        (1, windows.iter().map(|w| w.min).collect::<Vec<_>>()),
        (2, windows.iter().map(|w| w.mean).collect()),
        (3, windows.iter().map(|w| w.max).collect()),
        (5, windows.iter().map(|w| w.stddev).collect()),
    ] {
        let values = table.column(index).as_primitive::<Float64Type>().values();
        let same = values.iter().map(|value| value.to_bits());
        assert!(
            same.eq(column.iter().map(|value| value.to_bits())),
            "column {index}"
        );
    }
    windows
}

/// The rows of several IPC streams of the same schema.
pub(crate) fn table<'a>(streams: impl Iterator<Item = &'a Bytes>) -> RecordBatch {
    let mut schema: Option<SchemaRef> = None;
    let mut batches = Vec::new();
    for bytes in streams {
        assert!(bytes.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
        let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
        let expected = schema.get_or_insert_with(|| reader.schema());
        assert_eq!(*expected, reader.schema());
        batches.extend(reader.map(Result::unwrap));
    }
    arrow_select::concat::concat_batches(&schema.unwrap(), &batches).unwrap()
}

pub(crate) fn time_field() -> Field {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Field::new("time", utc, false)
}

pub(crate) fn points_schema() -> Schema {
    Schema::new(vec![
        time_field(),
        Field::new("value", DataType::Float64, false),
    ])
}

fn windows_schema() -> Schema {
    let value = |name| Field::new(name, DataType::Float64, false);
    Schema::new(vec![
        time_field(),
        value("min"),
        value("mean"),
        value("max"),
        Field::new("count", DataType::UInt64, false),
        value("stddev"),
    ])
}

/// Points as clients send them.
pub(crate) fn arrow_points(points: &[(i64, f64)]) -> Bytes {
    let times = TimestampNanosecondArray::from_iter_values(points.iter().map(|point| point.0));
    let values = Float64Array::from_iter_values(points.iter().map(|point| point.1));
    let columns = vec![
        std::sync::Arc::new(times.with_timezone("UTC")) as arrow_array::ArrayRef,
        std::sync::Arc::new(values),
    ];
    ipc(&RecordBatch::try_new(points_schema().into(), columns).unwrap())
}

pub(crate) fn ipc(batch: &RecordBatch) -> Bytes {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap().into()
}

/// Points at `start`, `start + step` and so on, with values that count from 0.
pub(crate) fn ramp(start: i64, step: i64, count: u32) -> Vec<(i64, f64)> {
    (0..count)
        .map(|i| (start + i64::from(i) * step, f64::from(i)))
        .collect()
}

/// Pseudo-random numbers, the same in every run.
pub(crate) fn numbers(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 33).unwrap()
    }
}
