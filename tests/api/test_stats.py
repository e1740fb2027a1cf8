"""What a client says it has done is what it has done."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import Iterator
from contextlib import aclosing
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server
from pingthings.timeseries.exceptions import StreamNotFoundError
from pingthings.timeseries.stats import CallCounts, Calls, Stats

POINTS = 120_000
# What a point takes at least, as a table and on the wire.
POINT_BYTES = 16


@pytest.fixture
async def long(stream: pt.AsyncStream) -> pt.AsyncStream:
    await stream.insert((np.arange(POINTS), np.arange(float(POINTS))))
    return stream


async def test_a_client_that_has_just_connected_has_asked_who_the_server_is(
    client: pt.AsyncClient,
):
    stats = client.stats()
    assert stats.calls == Calls(info=CallCounts(started=1, succeeded=1))
    assert (stats.requests, stats.connections_opened, stats.connections_open) == (1, 1, 1)
    assert stats.bytes_sent > 0
    assert stats.bytes_received > 0
    quiet = (stats.retries, stats.points_read, stats.points_inserted, stats.memory_peak)
    assert quiet == (0, 0, 0, 0)


async def test_points_and_bytes_are_counted(client: pt.AsyncClient, long: pt.AsyncStream):
    inserted = client.stats()
    assert inserted.points_inserted == POINTS
    assert inserted.calls.insert == CallCounts(started=1, succeeded=1)
    assert inserted.bytes_sent > POINTS * POINT_BYTES
    assert inserted.requests == 1 + 1 + 3  # info, create, and three parts of the insert
    table = await long.raw_values(0, POINTS)
    read = client.stats().since(inserted)
    assert read.calls == Calls(raw_values=CallCounts(started=1, succeeded=1))
    assert (read.requests, read.points_read, read.windows_read) == (1, POINTS, 0)
    assert read.table_bytes == POINTS * POINT_BYTES
    assert read.bytes_received > POINTS * POINT_BYTES
    assert read.decode_ns > 0
    assert read.memory_peak >= POINTS * POINT_BYTES
    del table
    windows = await long.aligned_windows(0, POINTS, 10)
    assert client.stats().since(inserted).windows_read == windows.num_rows > 0


async def test_calls_are_counted_by_how_they_end(
    client: pt.AsyncClient, long: pt.AsyncStream, unknown: pt.AsyncStream
):
    before = client.stats()
    await long.count()
    with pytest.raises(StreamNotFoundError):
        await unknown.count()
    assert await long.nearest(POINTS) is None
    async with aclosing(long.raw_values_iter(0, POINTS)) as tables:  # type: ignore[type-var]
        await anext(tables)
        assert client.stats().calls.raw_values.in_flight == 1
        assert client.stats().requests_in_flight == 1
    assert [table.num_rows async for table in long.raw_values_iter(0, 5)] == [5]
    calls = client.stats().since(before).calls
    assert calls.precise_windows == CallCounts(started=2, succeeded=1, failed=1)
    assert calls.nearest == CallCounts(started=1, succeeded=1)
    assert calls.raw_values == CallCounts(started=2, succeeded=1, cancelled=1)
    assert client.stats().requests_in_flight == 0


async def test_a_set_counts_for_each_of_its_streams(client: pt.AsyncClient, long: pt.AsyncStream):
    streams = await client.streamset_from_uuids([long.uuid] * 7)
    before = client.stats()
    await streams.count()
    assert client.stats().since(before).calls.precise_windows == CallCounts(7, 7)


@pytest.fixture
def faulty() -> Iterator[Server]:
    with Server(fault=Fault.busy(calls=["Nearest"], times=2)) as server:
        yield server


async def test_what_was_made_again_and_what_waits(faulty: Server):
    async with await pt.AsyncClient.connect(endpoint=faulty.endpoint) as client:
        stream = await client.create(uuid4(), "stats")
        before = client.stats()
        await stream.earliest()
        done = client.stats().since(before)
        assert (done.retries, done.requests) == (2, 3)
        assert done.calls.nearest == CallCounts(started=1, succeeded=1)


async def test_a_limit_makes_requests_wait(client: pt.AsyncClient):
    with Server(fault=Fault.hang(calls=["StreamInfo"])) as server:
        limit = 2
        slow = await pt.AsyncClient.connect(endpoint=server.endpoint, concurrency_limit=limit)
        tasks = [asyncio.create_task(slow.stream_from_uuid(UUID(int=k)).tags()) for k in range(5)]
        async with asyncio.timeout(20):
            while slow.stats().requests_waiting < len(tasks) - limit:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        stats = slow.stats()
        assert stats.requests_in_flight == limit
        assert stats.calls.stream_info.in_flight == len(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(20):
            while slow.stats().calls.stream_info.in_flight:  # noqa: ASYNC110 - of other threads
                await asyncio.sleep(0.001)
        after = slow.stats()
        assert after.calls.stream_info.cancelled == len(tasks)
        assert (after.requests_in_flight, after.requests_waiting) == (0, 0)
        assert after.wait_ns > 0
        await slow.close()
    assert client.stats().calls.stream_info == CallCounts()


async def test_twins_and_time_limits_share_the_numbers_and_closing_keeps_them(
    client: pt.AsyncClient,
):
    await client.with_time_limits(deadline=20).info()
    assert client.stats().calls.info.succeeded == 2
    await client.close()
    assert client.stats().calls.info.succeeded == 2


async def test_a_record_stays_as_it_is(client: pt.AsyncClient):
    stats = client.stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.requests = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(stats)) == stats  # noqa: S301 - our own
    assert dataclasses.asdict(stats)["calls"]["info"]["started"] == 1
    assert stats.since(stats).calls == Calls()


def test_records_are_shown_without_what_is_nothing():
    assert repr(Stats()) == "<Stats>"
    stats = Stats(
        Calls(insert=CallCounts(1_200, 1_100, 50)),
        wait_ns=1_500_000,
        bytes_sent=123_456_789,
        bytes_received=12,
    )
    assert repr(stats).splitlines() == [
        "<Stats>",
        "  calls of insert  1,200 (50 failed, 50 in flight)",
        "  wait             1.5 ms",
        "  bytes sent       123.5 MB",
        "  bytes received   12 B",
    ]
    assert "<td>1.5 ms</td>" in stats._repr_html_()
