//! A client that works as much as it is told, on one thread, for counting its instructions.
//!
//! `count PORT CASE AMOUNT`, where the port is one of `replay`. What happens on the network is the
//! kernel's and not counted; a server that is faster than a client under valgrind makes the sizes
//! of its reads, and so the counts, nearly the same each time.

use std::{error::Error, sync::Arc};

use arrow_array::{Float64Array, RecordBatch, TimestampNanosecondArray};
use pingthings_client::{AnswerSchema, Client, Config, Endpoint, Insert, RAW_SCHEMA};
use pingthings_types::{MergePolicy, PointWidth, TimeRange};
use uuid::Uuid;

const START: i64 = 1_500_000_000_000_000_000;
const STEP: i64 = 33_333_333;
const STREAM: Uuid = Uuid::from_u128(0);
const POINTS_OF_A_STREAM: i64 = 1_000;
const WIDTH: u32 = 30;

type Outcome = Result<(), Box<dyn Error>>;

#[allow(
    clippy::disallowed_methods,
    reason = "one thread, so that every run does the same"
)]
fn main() -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run())
}

async fn run() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, case, amount] = arguments.as_slice() else {
        return Err("count PORT CASE AMOUNT".into());
    };
    let amount: i64 = amount.parse()?;
    let mut config = Config::new(Endpoint::parse(&format!("127.0.0.1:{port}"), None)?);
    // With one connection the order of everything is the same each time.
    config.channels = 1;
    let client = Client::connect(config).await?;
    match case.as_str() {
        "read" => read(&client, amount).await,
        "windows" => windows(&client, amount).await,
        "set" => set(&client, amount).await,
        "insert" => insert(&client, amount).await,
        "call" => call(&client, amount).await,
        "look-up" => look_up(&client, amount).await,
        _ => Err("no such case".into()),
    }
}

fn range(points: i64, step: i64) -> Result<TimeRange, Box<dyn Error>> {
    Ok(TimeRange::new(START, START + points * step)?)
}

fn expect(rows: usize, amount: i64) -> Outcome {
    if i64::try_from(rows)? == amount {
        Ok(())
    } else {
        Err(format!("{rows} rows came, {amount} were expected").into())
    }
}

/// Points of one stream, in messages of 5,000 rows.
async fn read(client: &Client, points: i64) -> Outcome {
    let wanted = AnswerSchema::raw(None)?;
    let table = client.raw_values(STREAM, range(points, STEP)?, 0, &wanted);
    expect(table.await?.num_rows(), points)
}

async fn windows(client: &Client, windows: i64) -> Outcome {
    let wanted = AnswerSchema::windows(None)?;
    let width = PointWidth::new(WIDTH).ok_or("no such width")?;
    let range = range(windows, 1 << WIDTH)?;
    let table = client.aligned_windows(STREAM, range, width, 0, &wanted);
    expect(table.await?.num_rows(), windows)
}

/// Points of many streams, one after the other, for otherwise every run would do something else.
async fn set(client: &Client, streams: i64) -> Outcome {
    let range = range(POINTS_OF_A_STREAM, STEP)?;
    let uuids = (0..u128::try_from(streams)?).map(Uuid::from_u128).collect();
    let wanted = AnswerSchema::raw(None)?;
    client.set_concurrency_limit(1)?;
    let work = move |client: Client, uuid| {
        let wanted = wanted.clone();
        async move { client.raw_values(uuid, range, 0, &wanted).await }
    };
    for table in client.for_each(uuids, work).await? {
        expect(table.num_rows(), POINTS_OF_A_STREAM)?;
    }
    Ok(())
}

async fn insert(client: &Client, points: i64) -> Outcome {
    // As cheap as can be: making them is counted, too.
    let times: Vec<i64> = (START..)
        .step_by(1_000)
        .take(usize::try_from(points)?)
        .collect();
    let values = vec![60.0; times.len()];
    let batch = RecordBatch::try_new(
        Arc::clone(&RAW_SCHEMA),
        vec![
            Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")),
            Arc::new(Float64Array::from(values)),
        ],
    )?;
    let insert = Insert::new(STREAM, &[batch])?;
    client.insert(insert, MergePolicy::Never).await?;
    Ok(())
}

/// One small call after the other.
async fn call(client: &Client, calls: i64) -> Outcome {
    for _ in 0..calls {
        client.version(STREAM).await?;
    }
    Ok(())
}

/// Metadata of streams, one call each.
async fn look_up(client: &Client, calls: i64) -> Outcome {
    for _ in 0..calls {
        client.stream_info(STREAM).await?;
    }
    Ok(())
}
