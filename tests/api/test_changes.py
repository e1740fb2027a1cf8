"""What changed between versions, the version at a time, and deleting."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.timeseries.exceptions import (
    BTRDBServerError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidPointWidth,
    InvalidTimeRange,
    StreamNotFoundError,
    StreamNotInSetError,
    VersionNotAvailable,
)

START = 1_500_000_000_000_000_000
SECOND = 1_000_000_000


async def versions(stream: pt.AsyncStream, *inserts: int) -> list[int]:
    """Commits a point at each of these seconds, a version each."""
    found = []
    for second in inserts:
        await stream.insert([(START + second * SECOND, float(second))])
        await stream.flush()
        found.append(await stream.get_latest_version())
    return found


async def test_changes_hold_what_was_inserted(stream: pt.AsyncStream):
    empty = await stream.get_latest_version()
    first, second, third = await versions(stream, 0, 1_000, 2_000)
    for old, new, inside, outside in (
        (empty, first, [0], [1_000, 2_000]),
        (first, second, [1_000], []),
        (empty, third, [0, 1_000, 2_000], []),
    ):
        changes = await stream.changes(old, new, resolution=30)
        assert all(change["start"] < change["end"] for change in changes)
        starts = [change["start"] for change in changes]
        assert starts == sorted(starts)

        def holds(second: int, changes: list[dict[str, int]] = changes) -> bool:
            at = START + second * SECOND
            return any(change["start"] <= at < change["end"] for change in changes)

        assert all(map(holds, inside))
        assert not any(map(holds, outside))
    assert await stream.changes(third, third) == []
    assert [change async for change in stream.changes_iter(empty, third)] == await stream.changes(
        empty, third
    )


async def test_buffered_points_are_changes_of_the_latest_data(stream: pt.AsyncStream):
    (version,) = await versions(stream, 0)
    assert await stream.changes(version, 0) == []
    await stream.insert([(START + 5 * SECOND, 5.0)])
    (change,) = await stream.changes(version, 0)
    assert change["start"] <= START + 5 * SECOND < change["end"]


async def test_changes_lie_on_multiples_of_the_resolution(stream: pt.AsyncStream):
    empty = await stream.get_latest_version()
    (version,) = await versions(stream, 3)
    for change in await stream.changes(empty, version, 40):
        assert change["start"] % 2**40 == 0
        assert change["end"] % 2**40 == 0


async def test_bad_changes_are_refused(stream: pt.AsyncStream):
    old, new = await versions(stream, 0, 1)
    with pytest.raises(BTRDBServerError):
        await stream.changes(new, old)
    with pytest.raises(VersionNotAvailable):
        await stream.changes(old, new + 1)
    with pytest.raises(InvalidPointWidth, match="resolution of 64"):
        await stream.changes(old, new, 64)
    with pytest.raises(BTRDBTypeError):
        await stream.changes("1", new)  # type: ignore[arg-type]


async def test_changes_of_a_set(client: pt.AsyncClient, collection: str):
    streams = [await client.create(uuid4(), collection, {"name": str(at)}) for at in range(3)]
    found = await client.streams_in_collection(collection)
    old = await found.get_latest_version()
    await versions(streams[1], 7)
    new = await found.get_latest_version()
    changes = await found.changes(old, {str(uuid): version for uuid, version in new.items()})
    assert set(changes) == {stream.uuid for stream in streams}
    assert changes[streams[0].uuid] == changes[streams[2].uuid] == []
    (change,) = changes[streams[1].uuid]
    assert change["start"] <= START + 7 * SECOND < change["end"]
    some = {streams[1].uuid: old[streams[1].uuid]}
    with pytest.raises(BTRDBValueError, match="same streams"):
        await found.changes(some, new)
    with pytest.raises(StreamNotInSetError):
        await found.changes({uuid4(): 1}, {uuid4(): 2})
    assert await found.changes({}, {}) == {}


async def test_delete_makes_a_version_without_the_points(
    stream: pt.AsyncStream, unknown: pt.AsyncStream
):
    (version,) = await versions(stream, 0)
    await stream.insert([(START + at * SECOND, float(at)) for at in range(1, 10)])
    now = await stream.delete(START + 2 * SECOND, START + 5 * SECOND)
    assert now > version
    times = (
        (await stream.raw_values(START, START + 60 * SECOND))["time"].cast(pa.int64()).to_pylist()
    )
    seconds = [(time - START) // SECOND for time in times if time is not None]
    assert seconds == [0, 1, 5, 6, 7, 8, 9]
    assert await stream.count(version=now - 1) == 10
    assert await stream.count(version=version) == 1
    with pytest.raises(InvalidTimeRange):
        await stream.delete(START, START)
    with pytest.raises(StreamNotFoundError):
        await unknown.delete(0, 1)


async def test_obliterated_streams_are_gone(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection, {"name": "gone"})
    await stream.obliterate()
    with pytest.raises(StreamNotFoundError):
        await stream.count()
    with pytest.raises(StreamNotFoundError):
        await stream.obliterate()
    assert len(await client.streams_in_collection(collection)) == 0
    again = await client.create(uuid4(), collection, {"name": "gone"})
    assert again.name == "gone"


async def test_version_at_a_time_of_the_clock(client: pt.AsyncClient, collection: str):
    before = datetime.now(UTC) - timedelta(minutes=5)
    stream = await client.create(uuid4(), collection)
    first = await stream.get_latest_version()
    (last,) = await versions(stream, 0)
    later = datetime.now(UTC) + timedelta(days=1)
    assert await stream.get_version_at_time(later) == last > first
    found = await client.streams_in_collection(collection)
    assert await found.get_version_at_time(later) == {stream.uuid: last}
    with pytest.raises(VersionNotAvailable):
        await stream.get_version_at_time(before)
