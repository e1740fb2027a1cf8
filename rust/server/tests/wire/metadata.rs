//! Streams, collections, tags and annotations.

use pingthings_proto::v5api as v5;
use pingthings_types::{MAX_TIME, MIN_TIME};
use uuid::Uuid;

use crate::fixture::{Fixture, Outcome, Stream, answer, answers, bytes, pair, pairs};

const NOBODY: [Uuid; 0] = [];

async fn lookup(fixture: &Fixture, params: v5::LookupStreamsParams) -> Vec<Uuid> {
    let found = answers(fixture.client.clone().lookup_streams(params).await).await;
    found
        .unwrap()
        .into_iter()
        .flat_map(|answer| answer.results)
        .map(|stream| Uuid::from_slice(&stream.uuid).unwrap())
        .collect()
}

async fn collections(fixture: &Fixture, prefix: &str) -> Vec<String> {
    let params = v5::ListCollectionsParams {
        prefix: prefix.to_owned(),
        role: None,
    };
    let found = answers(fixture.client.clone().list_collections(params).await).await;
    found
        .unwrap()
        .into_iter()
        .flat_map(|answer| answer.collections)
        .collect()
}

fn in_collection(collection: &str, is_collection_prefix: bool) -> v5::LookupStreamsParams {
    v5::LookupStreamsParams {
        collection: collection.to_owned(),
        is_collection_prefix,
        ..v5::LookupStreamsParams::default()
    }
}

#[tokio::test]
async fn a_stream_has_four_tags_and_its_annotations() {
    let mut fixture = Fixture::open().await;
    let uuid = Uuid::new_v4();
    let odd: String = (0..100)
        .map(|i| char::from_u32(0x20 + i * 7919 % 0xd000).unwrap())
        .collect();
    let params = v5::CreateParams {
        uuid: bytes(uuid),
        collection: "grid/north".to_owned(),
        tags: pairs(&[("name", "voltage"), ("unit", "V")]),
        annotations: vec![
            pair("Odd Key", Some(&odd)),
            pair("empty", Some("")),
            pair("null", None),
        ],
    };
    answer(fixture.client.create(params).await).unwrap();
    let stream = Stream {
        client: fixture.client.clone(),
        uuid,
    };
    let info = stream.info().await.unwrap();
    assert_eq!((info.version_major, info.version_minor), (10, 0));
    let mut descriptor = info.descriptor.unwrap();
    assert_eq!(descriptor.uuid, bytes(uuid));
    assert_eq!(descriptor.collection, "grid/north");
    assert_eq!(descriptor.property_version, 1);
    descriptor.tags.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = [
        ("distiller", ""),
        ("ingress", ""),
        ("name", "voltage"),
        ("unit", "V"),
    ];
    assert_eq!(descriptor.tags, pairs(&expected));
    descriptor.annotations.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = [
        pair("Odd Key", Some(&odd)),
        pair("empty", Some("")),
        pair("null", None),
    ];
    assert_eq!(descriptor.annotations, expected);
}

#[tokio::test]
async fn info_omits_parts_on_request() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    stream.insert(&[(1, 1.0), (2, 2.0)]).await.unwrap();
    let ask = async |omit_version, omit_descriptor| {
        let params = v5::StreamInfoParams {
            uuid: stream.id(),
            omit_version,
            omit_descriptor,
            role: None,
        };
        answer(fixture.client.clone().stream_info(params).await)
    };
    let info = ask(false, true).await.unwrap();
    assert_eq!((info.version_major, info.version_minor), (10, 2));
    assert_eq!(info.descriptor, None);
    let info = ask(true, false).await.unwrap();
    assert_eq!((info.version_major, info.version_minor), (0, 0));
    assert!(info.descriptor.is_some());
    assert_eq!(ask(true, true).await.unwrap_err(), 421);
}

#[tokio::test]
async fn create_refuses_existing_and_invalid_streams() {
    let fixture = Fixture::open().await;
    let uuid = Uuid::new_v4();
    let named: &[_] = &[("name", "a")];
    fixture.create(uuid, "one", named).await.unwrap();
    assert_eq!(fixture.create(uuid, "one", named).await, Err(417));
    assert_eq!(
        fixture.create(uuid, "two", &[("name", "b")]).await,
        Err(417)
    );
    // Published programs compare this text.
    let again = v5::CreateParams {
        uuid: bytes(uuid),
        collection: "two".to_owned(),
        ..v5::CreateParams::default()
    };
    let answer = fixture.client.clone().create(again).await.unwrap();
    let expected = format!("a stream already exists with uuid {uuid}");
    assert_eq!(answer.into_inner().stat.unwrap().msg, expected);
    assert_eq!(fixture.create(Uuid::new_v4(), "one", named).await, Err(418));
    let other_unit = &[("name", "a"), ("unit", "V")];
    assert_eq!(
        fixture.create(Uuid::new_v4(), "one", other_unit).await,
        Ok(())
    );
    assert_eq!(fixture.create(Uuid::new_v4(), "", named).await, Err(407));
    let long = "x".repeat(1000);
    assert_eq!(fixture.create(Uuid::new_v4(), &long, named).await, Err(407));
    assert_eq!(
        fixture.create(Uuid::new_v4(), "a\0b", named).await,
        Err(407)
    );
    assert_eq!(
        fixture
            .create(Uuid::new_v4(), "x", &[("colour", "a")])
            .await,
        Err(408)
    );
    assert_eq!(
        fixture
            .create(Uuid::new_v4(), "x", &[("name", &long)])
            .await,
        Err(409)
    );
    assert_eq!(
        fixture
            .create(Uuid::new_v4(), "x", &[("name", "a\0b")])
            .await,
        Err(409)
    );
    assert_eq!(collections(&fixture, "").await, ["one"]);
}

#[tokio::test]
async fn names_may_have_the_platforms_length_and_tags_may_be_omitted() {
    let mut fixture = Fixture::open().await;
    let collection = "x".repeat(256);
    assert_eq!(
        fixture.create(Uuid::new_v4(), &collection, &[]).await,
        Ok(())
    );
    let stream = Stream {
        client: fixture.client.clone(),
        uuid: Uuid::new_v4(),
    };
    // The length is in characters, not bytes.
    let unit = "µ".repeat(255);
    let mut params = v5::CreateParams {
        uuid: stream.id(),
        collection: collection.clone(),
        tags: vec![pair("name", None), pair("unit", Some(&unit))],
        annotations: vec![pair("note", Some(&"n".repeat(1 << 20)))],
    };
    answer(fixture.client.create(params.clone()).await).unwrap();
    let tags = stream.info().await.unwrap().descriptor.unwrap().tags;
    let expected = [
        ("distiller", ""),
        ("ingress", ""),
        ("name", ""),
        ("unit", unit.as_str()),
    ];
    assert_eq!(tags, pairs(&expected));

    params.uuid = bytes(Uuid::new_v4());
    params.tags = vec![];
    params.annotations = vec![pair("note", Some(&"n".repeat((1 << 20) + 1)))];
    params.collection = "y".to_owned();
    let refused = answer(fixture.client.create(params).await);
    assert_eq!(refused.unwrap_err(), 422);
    assert_eq!(collections(&fixture, "").await, [collection]);
}

#[tokio::test]
async fn lookup_finds_by_collection_tags_and_annotations() {
    let mut fixture = Fixture::open().await;
    let mut made = Vec::new();
    for (collection, name, note) in [
        ("foo", "a", None),
        ("foo", "b", Some(Some("1"))),
        ("foobar", "a", Some(Some("2"))),
        ("foo/bar_[x]%", "a", Some(None)),
    ] {
        let uuid = Uuid::new_v4();
        let params = v5::CreateParams {
            uuid: bytes(uuid),
            collection: collection.to_owned(),
            tags: pairs(&[("name", name)]),
            annotations: note.map(|note| pair("note", note)).into_iter().collect(),
        };
        answer(fixture.client.create(params).await).unwrap();
        made.push(uuid);
    }
    let [foo_a, foo_b, foobar, odd] = made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(
        lookup(&fixture, in_collection("foo", false)).await,
        [foo_a, foo_b]
    );
    assert_eq!(
        lookup(&fixture, in_collection("foo", true)).await,
        [foo_a, foo_b, odd, foobar]
    );
    assert_eq!(lookup(&fixture, in_collection("", true)).await.len(), 4);
    assert_eq!(lookup(&fixture, in_collection("", false)).await, NOBODY);
    assert_eq!(
        lookup(&fixture, in_collection("nowhere", true)).await,
        NOBODY
    );
    // These characters have no special meaning.
    assert_eq!(
        lookup(&fixture, in_collection("foo/bar_[", true)).await,
        [odd]
    );
    assert_eq!(lookup(&fixture, in_collection("foo_", true)).await, NOBODY);
    assert_eq!(lookup(&fixture, in_collection("%", true)).await, NOBODY);

    let with = |tags: Vec<_>, annotations: Vec<_>| v5::LookupStreamsParams {
        tags,
        annotations,
        ..in_collection("foo", true)
    };
    let a = || pair("name", Some("a"));
    assert_eq!(
        lookup(&fixture, with(vec![a()], vec![])).await,
        [foo_a, odd, foobar]
    );
    assert_eq!(
        lookup(&fixture, with(vec![pair("name", Some("A"))], vec![])).await,
        NOBODY
    );
    assert_eq!(
        lookup(&fixture, with(vec![pair("unit", None)], vec![]))
            .await
            .len(),
        4
    );
    let noted = lookup(&fixture, with(vec![], vec![pair("note", None)])).await;
    assert_eq!(noted, [foo_b, odd, foobar]);
    let second = vec![pair("note", Some("2"))];
    assert_eq!(
        lookup(&fixture, with(vec![a()], second.clone())).await,
        [foobar]
    );
    assert_eq!(
        lookup(&fixture, with(vec![pair("name", Some("b"))], second)).await,
        NOBODY
    );

    assert_eq!(
        collections(&fixture, "").await,
        ["foo", "foo/bar_[x]%", "foobar"]
    );
    assert_eq!(collections(&fixture, "foob").await, ["foobar"]);
    assert_eq!(collections(&fixture, "_").await, [""; 0]);
}

#[tokio::test]
async fn many_streams_are_split_into_messages() {
    let fixture = Fixture::open().await;
    for i in 0..1500 {
        let name = format!("{i:04}");
        fixture
            .create(Uuid::new_v4(), "many", &[("name", &name)])
            .await
            .unwrap();
    }
    let params = in_collection("many", false);
    let found = answers(fixture.client.clone().lookup_streams(params).await)
        .await
        .unwrap();
    assert!(found.len() > 1);
    let results: Vec<_> = found
        .into_iter()
        .flat_map(|answer| answer.results)
        .collect();
    let names: Vec<_> = results
        .iter()
        .flat_map(|stream| &stream.tags)
        .filter(|tag| tag.key == "name")
        .map(|tag| tag.val.clone().unwrap().value)
        .collect();
    let expected: Vec<_> = (0..1500).map(|i| format!("{i:04}")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn an_obliterated_stream_releases_its_name_but_not_its_uuid() {
    let fixture = Fixture::open().await;
    let named: &[_] = &[("name", "a")];
    let stream = Stream {
        client: fixture.client.clone(),
        uuid: Uuid::new_v4(),
    };
    fixture.create(stream.uuid, "gone", named).await.unwrap();
    stream.insert(&[(1, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    stream.insert(&[(2, 2.0)]).await.unwrap();

    stream.obliterate().await.unwrap();
    assert_eq!(stream.obliterate().await, Err(404));
    assert_eq!(stream.info().await.unwrap_err(), 404);
    assert_eq!(stream.raw(0, 9).await, Err(404));
    assert_eq!(stream.insert(&[(1, 1.0)]).await, Err(404));
    assert_eq!(stream.flush().await, Err(404));
    assert_eq!(stream.delete(0, 9).await, Err(404));
    assert_eq!(lookup(&fixture, in_collection("gone", true)).await, NOBODY);
    assert_eq!(collections(&fixture, "").await, [""; 0]);
    assert_eq!(fixture.create(stream.uuid, "gone", named).await, Err(429));
    fixture.create(Uuid::new_v4(), "gone", named).await.unwrap();
    assert_eq!(collections(&fixture, "").await, ["gone"]);
}

#[tokio::test]
async fn streams_are_created_and_obliterated_concurrently() {
    let fixture = std::sync::Arc::new(Fixture::open().await);
    for _ in 0..2 {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..10 {
            let fixture = std::sync::Arc::clone(&fixture);
            tasks.spawn(async move {
                let stream = Stream {
                    client: fixture.client.clone(),
                    uuid: Uuid::new_v4(),
                };
                let name = format!("stream {i}");
                fixture
                    .create(stream.uuid, "busy", &[("name", &name)])
                    .await
                    .unwrap();
                assert_eq!(stream.aligned(MIN_TIME, MAX_TIME - 1, 60).await, Ok(vec![]));
                stream.obliterate().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }
    assert_eq!(collections(&fixture, "").await, [""; 0]);
}

async fn annotate(
    stream: &Stream,
    expected_property_version: u64,
    changes: Vec<v5::KeyOptValue>,
    removals: &[&str],
) -> Outcome<()> {
    let params = v5::SetStreamAnnotationsParams {
        uuid: stream.id(),
        expected_property_version,
        changes,
        removals: removals.iter().map(|&key| key.to_owned()).collect(),
    };
    answer(stream.client.clone().set_stream_annotations(params).await).map(|_| ())
}

#[tokio::test]
async fn annotations_are_set_and_removed() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let changes = vec![pair("a", Some("1")), pair("b", None), pair("c", Some(""))];
    annotate(&stream, 1, changes.clone(), &[]).await.unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(descriptor.property_version, 2);
    assert_eq!(descriptor.annotations, changes);

    // The expected property version is too old: nothing changes.
    assert_eq!(
        annotate(&stream, 1, vec![pair("a", Some("9"))], &["b"]).await,
        Err(423)
    );
    assert_eq!(stream.descriptor().await, descriptor);

    // 0 overwrites any version.
    annotate(
        &stream,
        0,
        vec![pair("a", Some("2"))],
        &["b", "never there"],
    )
    .await
    .unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(descriptor.property_version, 3);
    assert_eq!(
        descriptor.annotations,
        [pair("a", Some("2")), pair("c", Some(""))]
    );

    annotate(&stream, 3, vec![], &["a", "c"]).await.unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(
        (descriptor.property_version, descriptor.annotations),
        (4, vec![])
    );

    let unknown = Stream {
        uuid: Uuid::new_v4(),
        ..stream
    };
    assert_eq!(annotate(&unknown, 0, vec![], &[]).await, Err(404));
}

fn tagging(stream: &Stream, collection: &str, tags: &[(&str, &str)]) -> v5::SetStreamTagsParams {
    v5::SetStreamTagsParams {
        uuid: stream.id(),
        tags: pairs(tags),
        collection: collection.to_owned(),
        ..v5::SetStreamTagsParams::default()
    }
}

async fn tag(stream: &Stream, params: v5::SetStreamTagsParams) -> Outcome<()> {
    answer(stream.client.clone().set_stream_tags(params).await).map(|_| ())
}

#[tokio::test]
async fn tags_change_one_by_one_and_streams_move() {
    let fixture = Fixture::open().await;
    let stream = Stream {
        client: fixture.client.clone(),
        uuid: Uuid::new_v4(),
    };
    fixture
        .create(stream.uuid, "old", &[("name", "a"), ("unit", "V")])
        .await
        .unwrap();
    fixture
        .create(Uuid::new_v4(), "new", &[("name", "taken")])
        .await
        .unwrap();

    tag(&stream, tagging(&stream, "old", &[("unit", "A")]))
        .await
        .unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(descriptor.property_version, 2);
    let tags = pairs(&[
        ("distiller", ""),
        ("ingress", ""),
        ("name", "a"),
        ("unit", "A"),
    ]);
    assert_eq!(descriptor.tags, tags);

    // A request without tags does not change them.
    tag(&stream, tagging(&stream, "new", &[])).await.unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(
        (descriptor.collection.as_str(), descriptor.property_version),
        ("new", 3)
    );
    assert_eq!(descriptor.tags, tags);
    assert_eq!(collections(&fixture, "").await, ["new"]);

    // Without a collection the stream is not moved. Removed tags read as empty.
    let removing = v5::SetStreamTagsParams {
        remove: vec!["unit".to_owned()],
        ..tagging(&stream, "", &[])
    };
    tag(&stream, removing).await.unwrap();
    let descriptor = stream.descriptor().await;
    assert_eq!(
        (descriptor.collection.as_str(), descriptor.property_version),
        ("new", 4)
    );
    assert_eq!(descriptor.tags[3], pair("unit", Some("")));

    let late = v5::SetStreamTagsParams {
        expected_property_version: 3,
        ..tagging(&stream, "new", &[("name", "b")])
    };
    assert_eq!(tag(&stream, late).await, Err(423));
    assert_eq!(
        tag(&stream, tagging(&stream, "new", &[("name", "taken")])).await,
        Err(418)
    );
    assert_eq!(
        tag(&stream, tagging(&stream, "new", &[("colour", "red")])).await,
        Err(408)
    );
    assert_eq!(
        tag(&stream, tagging(&stream, "new", &[("name", "\0")])).await,
        Err(409)
    );
    assert_eq!(tag(&stream, tagging(&stream, "\0", &[])).await, Err(407));
    assert_eq!(stream.descriptor().await, descriptor);

    // A tag that is both removed and set is set. Removing an unknown tag is refused.
    let both = v5::SetStreamTagsParams {
        remove: vec!["unit".to_owned()],
        ..tagging(&stream, "", &[("unit", "A")])
    };
    tag(&stream, both).await.unwrap();
    let fifth = v5::SetStreamTagsParams {
        remove: vec!["colour".to_owned()],
        ..tagging(&stream, "", &[])
    };
    assert_eq!(tag(&stream, fifth).await, Err(408));
    let descriptor = stream.descriptor().await;
    assert_eq!(descriptor.property_version, 5);
    assert_eq!(descriptor.tags[3], pair("unit", Some("A")));

    let unknown = Stream {
        uuid: Uuid::new_v4(),
        ..stream
    };
    assert_eq!(tag(&unknown, tagging(&unknown, "new", &[])).await, Err(404));
}

#[tokio::test]
async fn usage_counts_annotations_and_lists_the_four_tags() {
    let mut fixture = Fixture::open().await;
    for i in 0..3 {
        let params = v5::CreateParams {
            uuid: bytes(Uuid::new_v4()),
            collection: format!("used/{i}"),
            tags: pairs(&[("name", "x")]),
            annotations: (0..=i)
                .map(|key| pair(&format!("key {key}"), None))
                .collect(),
        };
        answer(fixture.client.create(params).await).unwrap();
    }
    let mut usage = async |prefix: &str| {
        let params = v5::MetadataUsageParams {
            prefix: prefix.to_owned(),
            role: None,
        };
        let answer = answer(fixture.client.get_metadata_usage(params).await).unwrap();
        let counts = |counts: Vec<v5::KeyCount>| -> Vec<(String, u64)> {
            let mut counts: Vec<_> = counts.into_iter().map(|c| (c.key, c.count)).collect();
            counts.sort();
            counts
        };
        (counts(answer.tags), counts(answer.annotations))
    };
    let owned = |counts: &[(&str, u64)]| -> Vec<(String, u64)> {
        counts
            .iter()
            .map(|&(key, count)| (key.to_owned(), count))
            .collect()
    };
    let tags = owned(&[("distiller", 0), ("ingress", 0), ("name", 0), ("unit", 0)]);
    let annotations = owned(&[("key 0", 3), ("key 1", 2), ("key 2", 1)]);
    assert_eq!(usage("used").await, (tags.clone(), annotations));
    let annotations = owned(&[("key 0", 1), ("key 1", 1)]);
    assert_eq!(usage("used/1").await, (tags.clone(), annotations));
    assert_eq!(usage("unused").await, (tags, vec![]));
}
