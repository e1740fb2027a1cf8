"""Sets: sequences of streams, their versions, and filters."""

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pytest
from conftest import Connect
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidOperation,
    InvalidUUIDError,
    StreamNotFoundError,
    StreamNotInSetError,
    VersionNotAvailable,
)

ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("L1MAG", "volts", {"phase": "1"}),
    ("L1ANG", "degrees", {"phase": "1"}),
    ("L2MAG", "Volts", {}),
)


@pytest.fixture
async def streams(client: pt.AsyncClient, collection: str) -> pt.AsyncStreamSet:
    ids = []
    for name, unit, annotations in ROWS:
        tags = {"name": name, "unit": unit}
        ids.append((await client.create(uuid4(), collection, tags, annotations)).uuid)
    return await client.streamset_from_uuids(ids)


def names(streams: Iterable[pt.AsyncStream]) -> list[str | None]:
    return [stream.name for stream in streams]


async def test_it_is_a_list_of_streams(streams: pt.AsyncStreamSet):
    assert len(streams) == 3
    assert names(streams) == [name for name, _, _ in ROWS]
    assert names(streams[1:]) == ["L1ANG", "L2MAG"]
    assert names(streams[::-1]) == ["L2MAG", "L1ANG", "L1MAG"]
    last = streams[2]
    assert streams[-1] == last
    assert streams[last.uuid] == streams[str(last.uuid)] == last
    assert last in streams
    assert last.uuid in streams
    assert str(last.uuid) in streams
    assert last not in streams[:2]
    assert uuid4() not in streams
    assert 5 not in streams
    assert streams == streams[:]
    assert streams != streams[:2]
    assert hash(streams) == hash(streams[:])


async def test_wrong_keys_are_refused(streams: pt.AsyncStreamSet):
    missing = uuid4()
    with pytest.raises(StreamNotInSetError, match=str(missing)):
        streams[missing]
    with pytest.raises(KeyError):
        streams[str(missing)]
    with pytest.raises(IndexError):
        streams[3]
    with pytest.raises(InvalidUUIDError):
        streams["x"]
    with pytest.raises(InvalidUUIDError):
        streams[1.5]  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [pt.AsyncStreamSet, pt.StreamSet])
def test_members_are_streams(kind: type):
    assert len(kind([])) == 0
    with pytest.raises(BTRDBTypeError, match="`int`"):
        kind([5])


async def test_empty_set_asks_nobody(client: pt.AsyncClient, streams: pt.AsyncStreamSet):
    empty = streams[:0]
    await client.close()
    assert await empty.raw_values(0, 1) == []
    assert await empty.count() == {}
    assert await empty.earliest() == {}
    assert await empty.latest() == {}
    assert await empty.get_latest_version() == {}
    assert await empty.pin_versions() == empty
    await empty.flush()
    await empty.refresh_metadata()
    assert len(empty.filter(name="x")) == 0


async def test_latest_versions(streams: pt.AsyncStreamSet):
    before = await streams.get_latest_version()
    assert list(before) == [stream.uuid for stream in streams]
    await streams[0].insert([(1, 1.0)])
    await streams.flush()
    after = await streams.get_latest_version()
    assert [after[uuid] - before[uuid] for uuid in before] == [1, 0, 0]


async def test_pins_of_all_streams(streams: pt.AsyncStreamSet):
    await streams.insert({stream.uuid: [(1, 1.0)] for stream in streams})
    await streams.flush()
    assert await streams.pin_versions() == streams
    await streams.insert({stream.uuid: [(2, 2.0)] for stream in streams})
    await streams.flush()
    assert set((await streams.count()).values()) == {1}
    assert [table.num_rows for table in await streams.raw_values(0, 9) if table] == [1, 1, 1]
    assert set((await streams.latest()).values()) == {(1, 1.0)}
    newest = list((await streams.get_latest_version()).values())
    assert set((await streams.count(versions=newest)).values()) == {2}
    assert set((await streams.count(versions=[0, 0, 0])).values()) == {2}


async def test_pins_of_named_streams(streams: pt.AsyncStreamSet):
    await streams.insert({stream.uuid: [(1, 1.0)] for stream in streams})
    await streams.pin_versions()
    first, second, third = (stream.uuid for stream in streams)
    versions: dict[UUID | str, int] = {first: 10, str(second): 10}
    await streams.pin_versions(versions)
    assert await streams.count() == {first: 0, second: 0, third: 1}
    assert [stream.pinned_version for stream in streams] == [10, 10, None]
    await streams.pin_versions({})
    assert set((await streams.count()).values()) == {1}


async def test_wrong_pins_change_nothing(streams: pt.AsyncStreamSet):
    known = streams[0].uuid
    bad: list[tuple[Any, type[Exception]]] = [
        ({known: 10, uuid4(): 10}, StreamNotInSetError),
        ({known: -1}, BTRDBValueError),
        ({known: "10"}, BTRDBTypeError),
        ({"x": 10}, InvalidUUIDError),
        ({known: 10, str(known): 11}, BTRDBValueError),
        ([10, 10, 10], BTRDBTypeError),
        (10, BTRDBTypeError),
    ]
    for versions, error in bad:
        with pytest.raises(error):
            await streams.pin_versions(versions)
    assert [stream.pinned_version for stream in streams] == [None] * 3


async def test_versions_fit_the_streams(streams: pt.AsyncStreamSet):
    bad: list[tuple[Any, type[Exception], str]] = [
        ([10], BTRDBValueError, "1 versions for 3 streams"),
        ([10, 10, -1], BTRDBValueError, "-1"),
        ([10, 10, "10"], BTRDBTypeError, "`str`"),
        (10, BTRDBTypeError, "`versions` is a list"),
        ("101", BTRDBTypeError, "`versions` is a list"),
        ([10, 10, 99], VersionNotAvailable, str(streams[2].uuid)),
    ]
    for versions, error, message in bad:
        for call in (
            streams.raw_values(0, 1, versions),
            streams.count(versions=versions),
            streams.aligned_windows(0, 8, 2, versions),
            streams.precise_windows(0, 8, 3, versions),
        ):
            with pytest.raises(error, match=message):
                await call
    assert await streams.raw_values(0, 1, [10, 0, None]) == [None] * 3  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, [0, 1, 2]),
        ({"name": "l1mag"}, [0]),
        ({"name": "L1"}, []),
        ({"name": re.compile("^L1")}, [0, 1]),
        ({"name": re.compile("mag$")}, []),
        ({"name": re.compile("mag$", re.IGNORECASE)}, [0, 2]),
        ({"unit": "VOLTS"}, [0, 2]),
        ({"unit": re.compile("^volts")}, [0]),
        ({"unit": "volts", "name": re.compile("2")}, [2]),
        ({"tags": {"unit": "volts"}}, [0]),
        ({"tags": {"unit": "volts", "name": "L1ANG"}}, []),
        ({"annotations": {"phase": "1"}}, [0, 1]),
        ({"annotations": {"phase": "1"}, "name": re.compile("ANG")}, [1]),
        ({"annotations": {"absent": "1"}}, []),
        ({"tags": {}, "annotations": {}}, [0, 1, 2]),
        ({"collection": re.compile("^tests/")}, [0, 1, 2]),
        ({"collection": "tests"}, []),
    ],
    ids=repr,
)
async def test_filter(streams: pt.AsyncStreamSet, conditions: dict[str, Any], found: list[int]):
    assert names(streams.filter(**conditions)) == [ROWS[row][0] for row in found]


async def test_filter_by_whole_collection(streams: pt.AsyncStreamSet, collection: str):
    assert len(streams.filter(collection=collection.upper())) == 3


@pytest.mark.parametrize("what", ["collection", "name", "unit"])
@pytest.mark.parametrize("wrong", [5, b"L1", ["L1"], re.compile(b"L1")], ids=repr)
async def test_filter_refuses_what_is_no_text(streams: pt.AsyncStreamSet, what: str, wrong: Any):
    with pytest.raises(BTRDBTypeError, match=f"`{what}` is text or a compiled pattern"):
        streams.filter(**{what: wrong})


@pytest.mark.parametrize("what", ["tags", "annotations"])
@pytest.mark.parametrize("wrong", [5, ["name"], {5: "name"}], ids=repr)
async def test_filter_refuses_what_is_no_mapping(streams: pt.AsyncStreamSet, what: str, wrong: Any):
    with pytest.raises(BTRDBTypeError, match=f"`{what}` must map text"):
        streams.filter(**{what: wrong})


async def test_filter_needs_metadata(client: pt.AsyncClient, streams: pt.AsyncStreamSet):
    bare = await client.streamset_from_uuids([streams[0].uuid], fetch_metadata=False)
    with pytest.raises(InvalidOperation, match="call `refresh_metadata` first"):
        bare.filter(name="L1MAG")
    await bare.refresh_metadata()
    assert names(bare.filter(name="L1MAG")) == ["L1MAG"]


async def test_unknown_members_are_named(client: pt.AsyncClient, streams: pt.AsyncStreamSet):
    missing = uuid4()
    ids = [streams[0].uuid, missing]
    broken = await client.streamset_from_uuids(ids, fetch_metadata=False)
    for call in (
        broken.refresh_metadata(),
        broken.get_latest_version(),
        broken.pin_versions(),
        broken.insert({missing: [(1, 1.0)]}),
        broken.latest(),
    ):
        with pytest.raises(StreamNotFoundError, match=str(missing)):
            await call


async def test_what_is_no_uuid_is_in_no_set(streams: pt.AsyncStreamSet):
    for item in ("zz", "", 5, None, object()):
        assert item not in streams


async def test_a_set_has_one_client(
    connect: Connect, endpoint: str, apikey: str, streams: pt.AsyncStreamSet
):
    async with await connect(endpoint, apikey=apikey) as other:
        mixed: list[Any] = [streams[0], other.stream_from_uuid(streams[1].uuid)]
        mixed = [getattr(stream, "target", stream) for stream in mixed]
        make: Any = pt.StreamSet if isinstance(mixed[0], pt.Stream) else pt.AsyncStreamSet
        with pytest.raises(BTRDBValueError, match="same client"):
            make(mixed)


def test_streams_and_sets_need_what_they_say(endpoint: str, apikey: str):
    wrong: Any = 5
    for make in (
        lambda: pt.Stream(wrong, uuid=uuid4()),
        lambda: pt.AsyncStream(wrong, uuid4()),
        lambda: pt.StreamSet(wrong),
        lambda: pt.AsyncStreamSet(wrong),
        lambda: pt.StreamSet([wrong]),
        lambda: pt.AsyncStreamSet([wrong]),
    ):
        with pytest.raises(BTRDBTypeError):
            make()
    with pt.connect(endpoint=endpoint, apikey=apikey) as client:
        with pytest.raises(BTRDBTypeError, match="`stream` or `uuid`"):
            pt.Stream(client)
        with pytest.raises(BTRDBTypeError, match="`AsyncStream`"):
            pt.Stream(client, wrong)
