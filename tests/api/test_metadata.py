"""Creating streams, finding them, and what is known of them."""

from typing import Any
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import (
    AmbiguousStream,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidCollection,
    InvalidTagKey,
    InvalidTagValue,
    InvalidUUIDError,
    StreamExists,
    StreamNotFoundError,
)

TAGS = {"name": "L1MAG", "unit": "volts", "ingress": "gateway", "distiller": "none"}
ANNOTATIONS = {"Line": "L12", "note": "žluťoučký 𝄞 \u202e'\"\\\n", "empty": ""}


async def test_created_stream_is_described(client: pt.AsyncClient, collection: str):
    uuid = uuid4()
    stream = await client.create(uuid, collection, TAGS, ANNOTATIONS)
    for known in (stream, (await client.streamset_from_uuids([uuid]))[0]):
        assert (known.uuid, known.collection) == (uuid, collection)
        assert (known.name, known.unit, known.property_version) == ("L1MAG", "volts", 1)
        assert await known.tags() == TAGS
        assert await known.annotations() == ANNOTATIONS
    assert await stream.tags(refresh=True) == TAGS
    assert await stream.annotations(refresh=True) == ANNOTATIONS
    assert await stream.get_latest_version() > 0


async def test_tags_and_annotations_may_be_left_out(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection)
    assert await stream.annotations(refresh=True) == {}
    assert await stream.tags(refresh=True) == dict.fromkeys(TAGS, "")


async def test_answers_are_copies(client: pt.AsyncClient, collection: str):
    tags = dict(TAGS)
    stream = await client.create(uuid4(), collection, tags)
    tags["name"] = "changed"
    (await stream.tags())["unit"] = "changed"
    (await stream.annotations())["note"] = "changed"
    assert await stream.tags() == TAGS
    assert await stream.annotations() == {}


async def test_uuid_as_text_is_taken(client: pt.AsyncClient, collection: str):
    uuid = uuid4()
    stream = await client.create(str(uuid), collection)  # type: ignore[arg-type]
    assert stream.uuid == uuid


async def test_uuid_belongs_to_one_stream(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection, {"name": "first"})
    with pytest.raises(StreamExists, match=str(stream.uuid)):
        await client.create(stream.uuid, collection + "/other", {"name": "second"})
    await stream.refresh_metadata()
    assert (stream.collection, stream.name) == (collection, "first")


async def test_tags_belong_to_one_stream_of_a_collection(client: pt.AsyncClient, collection: str):
    await client.create(uuid4(), collection, {"name": "first"})
    uuid = uuid4()
    with pytest.raises(AmbiguousStream, match=collection):
        await client.create(uuid, collection, {"name": "first"})
    with pytest.raises(StreamNotFoundError):
        await client.stream_from_uuid(uuid).get_latest_version()
    await client.create(uuid, collection, {"name": "first", "unit": "A"})


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 257])
async def test_bad_collection_is_refused(client: pt.AsyncClient, name: str):
    uuid = uuid4()
    with pytest.raises(InvalidCollection, match=str(uuid)):
        await client.create(uuid, name)
    with pytest.raises(StreamNotFoundError):
        await client.stream_from_uuid(uuid).count()


async def test_longest_collection_is_taken(client: pt.AsyncClient, collection: str):
    name = collection.ljust(256, "x")
    await client.create(uuid4(), name)
    assert await client.list_collections(collection) == [name]


@pytest.mark.parametrize(
    ("tags", "error", "message"),
    [
        ({"nam": "x"}, InvalidTagKey, "`nam`"),
        ({"": "x"}, InvalidTagKey, "``"),
        ({"name": "x" * 256}, InvalidTagValue, "`name`"),
        ({"name": "a\0b"}, InvalidTagValue, "`name`"),
        ({"name": None}, BTRDBTypeError, "`name`"),
        ({"name": 3}, BTRDBTypeError, "`'name'`"),
        ({3: "x"}, BTRDBTypeError, "`3`"),
        (["name"], BTRDBTypeError, "`list`"),
        ("name", BTRDBTypeError, "`str`"),
        ({"name": "\ud800"}, BTRDBValueError, "surrogate"),
    ],
    ids=repr,
)
async def test_bad_tags_are_refused(
    client: pt.AsyncClient, collection: str, tags: Any, error: type[Exception], message: str
):
    with pytest.raises(error) as raised:
        await client.create(uuid4(), collection, tags)
    assert message in str(raised.value)
    assert await client.list_collections(collection) == []


@pytest.mark.parametrize("annotations", [{"a": {1, 2}}, {"a": b"x"}, {1: "x"}, ["a"], "a"])
async def test_bad_annotations_are_refused(
    client: pt.AsyncClient, collection: str, annotations: Any
):
    with pytest.raises(BTRDBTypeError, match=r"must map text|cannot be kept"):
        await client.create(uuid4(), collection, {}, annotations)
    assert await client.list_collections(collection) == []


@pytest.mark.parametrize("uuid", ["x", "", None, 5, b"1" * 16, "1" * 31], ids=repr)
async def test_what_is_no_uuid_is_refused(client: pt.AsyncClient, collection: str, uuid: Any):
    with pytest.raises(InvalidUUIDError, match="is not a uuid"):
        await client.create(uuid, collection)
    for error in (TypeError, ValueError):
        with pytest.raises(error):
            client.stream_from_uuid(uuid)
    with pytest.raises(InvalidUUIDError, match="is not a uuid"):
        await client.streamset_from_uuids([uuid])


@pytest.mark.parametrize("collection", [None, 5, b"a", ["a"]], ids=repr)
async def test_collection_of_wrong_type_is_refused(client: pt.AsyncClient, collection: Any):
    with pytest.raises(BTRDBTypeError, match="`collection` is text"):
        await client.create(uuid4(), collection)
    with pytest.raises(BTRDBTypeError, match="`collection` is text"):
        await client.streams_in_collection(collection)
    if collection is not None:
        with pytest.raises(BTRDBTypeError, match="`prefix` is text"):
            await client.list_collections(collection)


async def test_half_a_surrogate_pair_is_no_text(client: pt.AsyncClient):
    for call in (
        client.create(uuid4(), "\ud800"),
        client.list_collections("\ud800"),
        client.streams_in_collection("\ud800"),
        client.streams_in_collection("x", tags={"name": "\ud800"}),
        client.streams_in_collection("x", annotations={"\ud800": None}),
    ):
        with pytest.raises(BTRDBValueError, match="surrogate"):
            await call


async def test_collections_are_listed_by_plain_prefix(client: pt.AsyncClient, collection: str):
    for suffix in ("/b", "/a", "/a_%[x]", "x"):
        await client.create(uuid4(), collection + suffix)
    await client.create(uuid4(), collection + "/a", {"name": "second"})
    listed = await client.list_collections(collection)
    assert listed == sorted(collection + suffix for suffix in ("/b", "/a", "/a_%[x]", "x"))
    assert await client.list_collections(collection + "/a_") == [collection + "/a_%[x]"]
    assert await client.list_collections(collection + "/%") == []
    assert set(listed) <= set(await client.list_collections())
    assert await client.list_collections("") == await client.list_collections(None)


@pytest.fixture
async def four(client: pt.AsyncClient, collection: str) -> str:
    for suffix, name, unit, annotations in (
        ("", "a", "volts", {"phase": "1"}),
        ("", "b", "amps", {"phase": "2"}),
        ("/sub", "a", "volts", {}),
        ("sub", "b", "volts", {"phase": ""}),
    ):
        tags = {"name": name, "unit": unit}
        await client.create(uuid4(), collection + suffix, tags, annotations)
    return collection


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, 4),
        ({"is_collection_prefix": False}, 2),
        ({"tags": {"unit": "volts"}}, 3),
        ({"tags": {"unit": "Volts"}}, 0),
        ({"tags": {"unit": "volts", "name": "a"}}, 2),
        ({"tags": {"unit": None}}, 4),
        ({"tags": {"phase": None}}, 0),
        ({"annotations": {"phase": None}}, 3),
        ({"annotations": {"phase": "2"}}, 1),
        ({"annotations": {"phase": ""}}, 1),
        ({"annotations": {"phase": None}, "tags": {"name": "b"}}, 2),
        ({"annotations": {"phase": "2"}, "tags": {"name": "a"}}, 0),
        ({"tags": {}, "annotations": {}}, 4),
    ],
    ids=repr,
)
async def test_streams_are_found(
    client: pt.AsyncClient, four: str, conditions: dict[str, Any], found: int
):
    streams = await client.streams_in_collection(four, **conditions)
    assert len(streams) == found
    for stream in streams:
        assert stream.collection is not None
        assert stream.collection.startswith(four)
        assert stream.property_version == 1


async def test_no_name_finds_every_stream_or_none(client: pt.AsyncClient, four: str):
    everything = await client.streams_in_collection()
    assert {s.uuid for s in await client.streams_in_collection(four)} <= {
        s.uuid for s in everything
    }
    assert len(await client.streams_in_collection("", is_collection_prefix=False)) == 0


@pytest.mark.parametrize("condition", ["tags", "annotations"])
@pytest.mark.parametrize("wrong", [["name"], "name", {5: None}], ids=repr)
async def test_conditions_of_wrong_type_are_refused(
    client: pt.AsyncClient, condition: str, wrong: Any
):
    with pytest.raises(BTRDBTypeError, match=f"`{condition}` must map text"):
        await client.streams_in_collection("x", **{condition: wrong})


async def test_stream_from_uuid_asks_when_it_must(
    client: pt.AsyncClient, stream: pt.AsyncStream, unknown: pt.AsyncStream
):
    for uuid in (stream.uuid, str(stream.uuid), stream.uuid.hex, f"{{{stream.uuid}}}"):
        found = client.stream_from_uuid(uuid)
        assert found == stream
        assert hash(found) == hash(stream)
        assert await found.tags() == await stream.tags(refresh=True)
    assert unknown != stream
    for call in (unknown.tags(), unknown.annotations(), unknown.refresh_metadata()):
        with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)):
            await call


async def test_properties_before_metadata_are_fetched(
    stream: pt.AsyncStream, endpoint: str, apikey: str
):
    async with await pt.AsyncClient.connect(endpoint=endpoint, apikey=apikey) as client:
        bare = client.stream_from_uuid(stream.uuid)
        assert (bare.collection, bare.name, bare.unit, bare.property_version) == (
            *(None, None, None),
            0,
        )
        await bare.refresh_metadata()
        assert (bare.collection, bare.name, bare.unit) == (stream.collection, "L1MAG", "volts")
    with pt.connect(endpoint, apikey=apikey) as blocking:
        lazy = blocking.stream_from_uuid(stream.uuid)
        assert (lazy.name, lazy.unit, lazy.collection) == ("L1MAG", "volts", stream.collection)
        with pytest.raises(StreamNotFoundError):
            _ = blocking.stream_from_uuid(uuid4()).name


async def test_sets_from_uuids(client: pt.AsyncClient, stream: pt.AsyncStream):
    assert len(await client.streamset_from_uuids([])) == 0
    streams = await client.streamset_from_uuids(iter([str(stream.uuid)]))
    assert streams[0].name == "L1MAG"
    with pytest.raises(StreamNotFoundError):
        await client.streamset_from_uuids([stream.uuid, uuid4()])


@pytest.mark.parametrize("wrong", [5, None, UUID(int=1), str(UUID(int=1))], ids=repr)
async def test_sets_from_what_is_no_list_are_refused(client: pt.AsyncClient, wrong: Any):
    with pytest.raises(BTRDBTypeError, match="`uuids` is a list"):
        await client.streamset_from_uuids(wrong)


async def test_an_annotation_that_is_nested_too_deeply_is_refused_by_name(
    stream: pt.AsyncStream,
):
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BTRDBValueError, match=r"annotation `kv` .* nested too deeply"):
        await stream.update(annotations={"kv": value})
    assert "kv" not in await stream.annotations(refresh=True)
