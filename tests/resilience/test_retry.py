"""Connections that break: reads are as if nothing had happened, inserts never lie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from uuid import uuid4

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import (
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    StreamExists,
)
from pingthings.timeseries.stats import CallCounts
from resilience.proxy import Proxy

STEP = 1_000_000
COUNT = 150_000
END = COUNT * STEP
# A point takes about 16 bytes on the wire, a window 44.
BYTES = COUNT * 16


@pytest.fixture(scope="module")
def long_stream(server: Server) -> Iterator[pt.Stream]:
    """A stream of several messages, in which many points have the same time as the one before."""
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), f"resilience/{uuid4()}")
        times = pa.array([k // 3 * 3 * STEP for k in range(COUNT)], pa.timestamp("ns", "UTC"))
        values = pa.array([float(k) for k in range(COUNT)])
        stream.insert(pa.table({"time": times, "value": values}))
        stream.flush()
        yield stream


@pytest.fixture
def client(proxy: Proxy) -> Iterator[pt.Client]:
    with pt.connect(endpoint=proxy.endpoint) as client:
        yield client


def cuts(seed: int, total: int) -> list[int]:
    """Where connections break: mostly in the middle of rows, sometimes at once."""
    chance = random.Random(seed)  # noqa: S311 - not for cryptography
    return [chance.choice((0, 1, chance.randrange(total), chance.randrange(total))) for _ in "abc"]


@pytest.mark.parametrize("seed", range(20))
def test_a_read_that_is_cut_is_the_same(
    seed: int, proxy: Proxy, client: pt.Client, long_stream: pt.Stream
):
    stream = client.stream_from_uuid(long_stream.uuid)
    whole = long_stream.raw_values(0, END)
    proxy.cut_after(*cuts(seed, BYTES // 3))
    assert stream.raw_values(0, END) == whole
    assert proxy.pending_cuts == 0
    proxy.cut_after(*cuts(seed + 1_000, BYTES // 3))
    assert pa.concat_tables(stream.raw_values_iter(0, END)) == whole
    assert proxy.pending_cuts == 0


def test_cuts_are_counted(proxy: Proxy, client: pt.Client, long_stream: pt.Stream):
    stream = client.stream_from_uuid(long_stream.uuid)
    before = client.stats()
    proxy.cut_after(BYTES // 3, BYTES // 3)
    stream.raw_values(0, END)
    done = client.stats().since(before)
    assert (done.resumed_reads, done.retries, done.requests) == (2, 2, 3)
    assert done.connections_replaced == 2
    assert done.calls.raw_values == CallCounts(started=1, succeeded=1)
    assert done.points_read == COUNT


@pytest.mark.parametrize("seed", range(5))
def test_windows_that_are_cut_are_the_same(
    seed: int, proxy: Proxy, client: pt.Client, long_stream: pt.Stream
):
    stream = client.stream_from_uuid(long_stream.uuid)
    precise = pa.concat_tables(long_stream.precise_windows_iter(0, END, 3 * STEP))
    aligned = pa.concat_tables(long_stream.aligned_windows_iter(0, END, 20))
    proxy.cut_after(*cuts(seed, 300_000))
    assert pa.concat_tables(stream.precise_windows_iter(0, END, 3 * STEP)) == precise
    proxy.cut_after(*cuts(seed, 300_000))
    assert pa.concat_tables(stream.aligned_windows_iter(0, END, 20)) == aligned


def test_buffered_points_are_read_again_from_the_beginning(
    proxy: Proxy, client: pt.Client, long_stream: pt.Stream
):
    late = END + STEP
    long_stream.insert([(late, -1.0)])
    stream = client.stream_from_uuid(long_stream.uuid)
    whole = long_stream.raw_values(0, late + 1)
    proxy.cut_after(BYTES // 2)
    assert stream.raw_values(0, late + 1) == whole
    assert proxy.pending_cuts == 0
    # What was handed over cannot be taken back, and belongs to no version that could be resumed.
    # The end of a connection may overtake what was sent before it; then nothing was handed over.
    for _ in range(20):
        proxy.cut_after(BYTES // 2)
        try:
            assert pa.concat_tables(stream.raw_values_iter(0, late + 1)) == whole
        except ConnectionError as error:
            assert error.uuid == stream.uuid  # noqa: PT017 - it does not come every time
            break
    else:
        pytest.fail("no read was given up")
    long_stream.delete(late, late + 1)


def test_many_streams_survive_cuts(proxy: Proxy, client: pt.Client, server: Server):
    with pt.connect(endpoint=server.endpoint) as direct:
        collection = f"resilience/{uuid4()}"
        for k in range(200):
            stream = direct.create(uuid4(), collection, {"name": f"{k:03}"})
            stream.insert([(at, float(k)) for at in range(10)])
        expected = direct.streams_in_collection(collection).raw_values(0, 10)
        proxy.cut_after(*[20_000] * 5)
        found = client.streams_in_collection(collection)
        assert found.raw_values(0, 10) == expected
        assert sum(found.count().values()) == 2_000
        assert proxy.pending_cuts == 0


@pytest.mark.parametrize("merge", ["equal", "retain", "replace"])
def test_an_insert_that_may_be_repeated_is(
    merge: str, proxy: Proxy, client: pt.Client, server: Server
):
    stream = client.create(uuid4(), f"resilience/{uuid4()}")
    # The answers are lost, and perhaps the points were stored before.
    proxy.cut_after(0, 0, 1)
    stream.insert([(at, float(at)) for at in range(1_000)], merge)
    assert proxy.pending_cuts == 0
    with pt.connect(endpoint=server.endpoint) as direct:
        table = direct.stream_from_uuid(stream.uuid).raw_values(0, 2_000)
        assert table["value"].to_pylist() == [float(at) for at in range(1_000)]


def test_an_insert_that_would_double_points_is_not_repeated(
    proxy: Proxy, client: pt.Client, server: Server
):
    stream = client.create(uuid4(), f"resilience/{uuid4()}")
    # What is cut may be another connection, or one over which nothing was sent so far; then the
    # points arrive.
    stored = 0
    while stored < 40:
        proxy.cut_after(0)
        try:
            stream.insert([(5, 1.0), (7, 2.0)])
        except ConnectionError as error:
            assert error.in_doubt is True  # noqa: PT017 - it does not come every time
            assert error.time_range == (5, 7)  # noqa: PT017 - the same
            break
        stored += 2
    else:
        pytest.fail("no insert was given up")
    with pt.connect(endpoint=server.endpoint) as direct:
        assert direct.stream_from_uuid(stream.uuid).count() in (stored, stored + 2)


def test_creating_is_not_repeated(proxy: Proxy, client: pt.Client):
    # What is cut may be another connection, or one over which nothing was sent so far; then the
    # stream is created.
    for _ in range(20):
        uuid = uuid4()
        proxy.cut_after(0)
        try:
            client.create(uuid, f"resilience/{uuid}")
        except StreamExists:
            pytest.fail("a second attempt found the stream of the first")
        except ConnectionError:
            break
    else:
        pytest.fail("no creation was given up")
    assert proxy.pending_cuts == 0
    try:
        client.create(uuid, f"resilience/{uuid}")
    except StreamExists:
        assert client.stream_from_uuid(uuid).count() == 0


def test_without_retries_the_first_failure_counts(
    proxy: Proxy, long_stream: pt.Stream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PINGTHINGS_RETRY_SECONDS", "0")
    with pt.connect(endpoint=proxy.endpoint) as client:
        stream = client.stream_from_uuid(long_stream.uuid)
        proxy.cut_after(BYTES // 2)
        with pytest.raises(ConnectionError):
            stream.raw_values(0, END)
        assert stream.count() == COUNT
    for wrong in ("soon", "-1", "nan", "1e9"):
        monkeypatch.setenv("PINGTHINGS_RETRY_SECONDS", wrong)
        with pytest.raises(BTRDBValueError, match="PINGTHINGS_RETRY_SECONDS"):
            pt.connect(endpoint=proxy.endpoint)


async def test_waiting_for_the_next_attempt_can_be_cancelled(proxy: Proxy, long_stream: pt.Stream):
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        stream = client.stream_from_uuid(long_stream.uuid)
        proxy.cut_after(*[0] * 1_000)
        task = asyncio.ensure_future(stream.count())
        assert await asyncio.to_thread(proxy.wait_for_cuts, 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.cut_after()
        assert await stream.count() == COUNT
