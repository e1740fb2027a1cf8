//! Retention, collections, versions in time, devices and units.

use std::sync::Arc;

use pingthings_proto::management as pb;
use pingthings_proto::management::management_client::ManagementClient;
use pingthings_server::{Clock, Config};
use pingthings_storage::ManualClock;
use tonic::transport::Channel;

use crate::fixture::{Fixture, Outcome, answer, answers};

async fn manage(fixture: &Fixture) -> ManagementClient<Channel> {
    ManagementClient::new(fixture.channel().await)
}

fn keep(remove_older_than_ns: Option<i64>) -> pb::Retention {
    pb::Retention {
        remove_older_than_ns,
    }
}

#[tokio::test]
async fn retention_of_a_stream_and_its_collection() {
    let (fixture, stream) = Fixture::with_stream().await;
    let mut client = manage(&fixture).await;
    let collection = format!("tests/{}", stream.uuid);
    let mut set_collection = async |ns, override_per_stream| {
        let params = pb::SetCollectionRetentionParams {
            collection: collection.clone(),
            retention: Some(keep(ns)),
            override_per_stream,
        };
        answer(client.set_collection_retention(params).await).map(|_| ())
    };
    let mut reading = manage(&fixture).await;
    let mut told = async || {
        let params = pb::GetStreamRetentionParams { uuid: stream.id() };
        let found = answer(reading.get_stream_retention(params).await).unwrap();
        let ns = |retention: Option<pb::Retention>| retention.unwrap().remove_older_than_ns;
        (ns(found.own), ns(found.effective))
    };
    assert_eq!(told().await, (None, None));
    set_collection(Some(100), false).await.unwrap();
    assert_eq!(told().await, (None, Some(100)));
    let mut setting = manage(&fixture).await;
    let params = pb::SetStreamRetentionParams {
        uuid: stream.id(),
        retention: Some(keep(Some(7))),
    };
    answer(setting.set_stream_retention(params).await).unwrap();
    assert_eq!(told().await, (Some(7), Some(7)));
    set_collection(Some(100), true).await.unwrap();
    assert_eq!(told().await, (Some(7), Some(100)));
    set_collection(None, true).await.unwrap();
    assert_eq!(told().await, (Some(7), None));
    assert_eq!(set_collection(Some(-1), true).await, Err(438));

    let params = pb::GetCollectionParams {
        collection: collection.clone(),
    };
    let found = answer(setting.get_collection(params).await).unwrap();
    assert_eq!(found.retention, Some(keep(None)));
    assert!(found.override_per_stream);
    assert_eq!(found.streams, 1);
    let params = pb::SetStreamRetentionParams {
        uuid: vec![0; 16].into(),
        retention: None,
    };
    assert_eq!(
        answer(setting.set_stream_retention(params).await).map(|_| ()),
        Err(404)
    );
}

#[tokio::test]
async fn versions_at_a_time() {
    let clock = Arc::new(ManualClock::new(100));
    let fixture = Fixture::with(Config {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    clock.set(200);
    stream.insert(&[(1, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    let mut client = manage(&fixture).await;
    let mut at = async |time| {
        let params = pb::GetVersionAtTimeParams {
            uuid: stream.id(),
            time,
        };
        let found = answer(client.get_version_at_time(params).await);
        found.map(|found| found.version_major)
    };
    assert_eq!(at(99).await, Err(450));
    assert_eq!(at(100).await, Ok(10));
    assert_eq!(at(199).await, Ok(10));
    assert_eq!(at(200).await, Ok(11));
}

fn record_fields(found: Outcome<pb::RecordResponse>) -> Outcome<(i64, String, String)> {
    found.map(|found| {
        let record = found.record.unwrap();
        (record.id, record.name, record.fields)
    })
}

#[tokio::test]
async fn devices_and_units_are_kept_apart() {
    let fixture = Fixture::open().await;
    let mut client = manage(&fixture).await;
    let fields = r#"{"serial":9007199254740993,"vendor":null}"#;
    let params = pb::CreateRecordParams {
        name: "pmu".to_owned(),
        fields: fields.to_owned(),
    };
    let pmu = (1, "pmu".to_owned(), fields.to_owned());
    let made = record_fields(answer(client.create_device(params.clone()).await));
    assert_eq!(made, Ok(pmu.clone()));
    let taken = record_fields(answer(client.create_device(params.clone()).await));
    assert_eq!(taken, Err(442));
    assert_eq!(
        record_fields(answer(client.create_unit(params).await)),
        Ok(pmu.clone())
    );
    let nameless = pb::CreateRecordParams::default();
    assert_eq!(
        record_fields(answer(client.create_unit(nameless).await)),
        Err(443)
    );

    let params = pb::UpdateRecordParams {
        id: 1,
        name: None,
        fields: r#"{"vendor":"x","port":4712}"#.to_owned(),
    };
    let fields = r#"{"serial":9007199254740993,"vendor":"x","port":4712}"#;
    let changed = (1, "pmu".to_owned(), fields.to_owned());
    let found = record_fields(answer(client.update_device(params.clone()).await));
    assert_eq!(found, Ok(changed.clone()));
    let get = pb::GetRecordParams { id: 1 };
    assert_eq!(
        record_fields(answer(client.get_device(get).await)),
        Ok(changed)
    );
    assert_eq!(record_fields(answer(client.get_unit(get).await)), Ok(pmu));

    let delete = pb::DeleteRecordParams { id: 1 };
    answer(client.delete_device(delete).await).unwrap();
    let again = answer(client.delete_device(delete).await);
    assert_eq!(again.map(|_| ()), Err(445));
    assert_eq!(
        record_fields(answer(client.get_device(get).await)),
        Err(445)
    );
    assert_eq!(
        record_fields(answer(client.update_device(params).await)),
        Err(445)
    );
    let list = pb::ListRecordsParams {};
    let devices = answers(client.list_devices(list).await).await.unwrap();
    assert!(devices.iter().all(|answer| answer.records.is_empty()));
    let units = answers(client.list_units(list).await).await.unwrap();
    let units: Vec<_> = units.iter().flat_map(|answer| &answer.records).collect();
    assert_eq!(units.len(), 1);
}

#[tokio::test]
async fn many_devices_are_split_into_messages() {
    let fixture = Fixture::open().await;
    let mut client = manage(&fixture).await;
    let fields = format!(r#"{{"note":"{}"}}"#, "x".repeat(300_000));
    for number in 0..8 {
        let params = pb::CreateRecordParams {
            name: format!("pmu {number}"),
            fields: fields.clone(),
        };
        answer(client.create_device(params).await).unwrap();
    }
    let found = client.list_devices(pb::ListRecordsParams {}).await;
    let found = answers(found).await.unwrap();
    assert!(found.len() > 1);
    let ids = found.iter().flat_map(|answer| &answer.records);
    assert!(ids.map(|record| record.id).eq(1..=8));
}
