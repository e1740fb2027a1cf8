"""What commits points to a numbered version, and who sees them before."""

from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import StreamNotFoundError

# As many points as the server keeps uncommitted; with these it commits by itself.
BUFFERED = 32_768


async def test_new_stream_has_an_empty_version(stream: pt.AsyncStream):
    version = await stream.get_latest_version()
    assert version == 10
    assert await stream.count(version=version) == 0


async def test_every_flush_of_points_is_one_version(stream: pt.AsyncStream):
    versions = [await stream.get_latest_version()]
    for time in range(3):
        assert await stream.insert([(2 * time, 1.0)]) == versions[-1]
        assert await stream.insert([(2 * time + 1, 1.0)]) == versions[-1]
        await stream.flush()
        versions.append(await stream.get_latest_version())
    assert versions == [10, 11, 12, 13]
    counts = [await stream.count(version=version) for version in versions]
    assert counts == [0, 2, 4, 6]


async def test_flush_without_points_makes_no_version(stream: pt.AsyncStream):
    await stream.flush()
    assert await stream.get_latest_version() == 10
    await stream.insert([(1, 1.0)])
    await stream.flush()
    await stream.flush()
    assert await stream.get_latest_version() == 11


async def test_unflushed_points_are_seen_by_the_latest_version_only(stream: pt.AsyncStream):
    await stream.insert([(1, 1.0)])
    await stream.flush()
    await stream.insert([(2, 2.0)])
    version = await stream.get_latest_version()
    assert (await stream.count(), await stream.count(version=version)) == (2, 1)
    assert await stream.latest() == (2, 2.0)
    assert await stream.latest(version) == (1, 1.0)
    table = await stream.aligned_windows(0, 8, 3, version=version)
    assert table["count"].to_pylist() == [1]


async def test_another_client_sees_an_insert_at_once(
    stream: pt.AsyncStream, endpoint: str, apikey: str
):
    await stream.insert([(1, 1.0)])
    with pt.connect(endpoint, apikey=apikey) as other:
        assert other.stream_from_uuid(stream.uuid).latest() == (1, 1.0)


@pytest.mark.parametrize("number", [20_000, BUFFERED, 100_000])
async def test_reads_do_not_depend_on_what_was_committed(stream: pt.AsyncStream, number: int):
    rows = np.arange(number)
    await stream.insert((rows * 1_000, np.sin(rows)))

    async def seen() -> list[Any]:
        end = number * 1_000
        return [
            await stream.raw_values(0, end),
            await stream.aligned_windows(0, end, 20, schema=None),
            await stream.precise_windows(0, end, 777_777, schema=None),
            await stream.count(),
        ]

    before = await seen()
    version = await stream.get_latest_version()
    assert (version > 10) == (number >= BUFFERED)
    await stream.flush()
    after = await seen()
    assert before[0].equals(after[0])
    assert before[3] == after[3] == number
    for unflushed, flushed in zip(before[1:3], after[1:3], strict=True):
        assert unflushed.schema == flushed.schema
        for column in ("time", "min", "max", "count"):
            assert unflushed[column].equals(flushed[column])
        for column in ("mean", "stddev"):
            # The order of addition differs, so the last bits of sums of values up to one may.
            assert np.allclose(unflushed[column], flushed[column], rtol=0, atol=1e-13)


async def test_flush_of_a_set(client: pt.AsyncClient, collection: str):
    ids = [(await client.create(uuid4(), collection, {"name": name})).uuid for name in "abc"]
    streams = await client.streamset_from_uuids(ids)
    await streams.insert({ids[0]: [(1, 1.0)], ids[2]: [(1, 1.0)]})
    await streams.flush()
    assert await streams.get_latest_version() == {ids[0]: 11, ids[1]: 10, ids[2]: 11}


async def test_unknown_stream_cannot_be_flushed(unknown: pt.AsyncStream):
    with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)):
        await unknown.flush()
