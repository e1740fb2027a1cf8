"""The forms that yield: the same rows, little in memory, and an end on the server too."""

import asyncio
import gc
from typing import Any

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from conftest import Connect
from pingthings.timeseries.constants import PW, RAW_F32_SCHEMA, STAT_F64_SCHEMA
from pingthings.timeseries.exceptions import (
    ClientClosedError,
    InvalidPointWidth,
    InvalidTimeRange,
    StreamNotFoundError,
)

START = 1_500_000_000_000_000_000
STEP = 1_000_000
COUNT = 200_000
END = START + COUNT * STEP


@pytest.fixture
async def long_stream(stream: pt.AsyncStream) -> pt.AsyncStream:
    """A stream whose points take several messages of the server."""
    times = pa.array([START + at * STEP for at in range(COUNT)], pa.timestamp("ns", "UTC"))
    values = pa.array([float(at) for at in range(COUNT)])
    await stream.insert(pa.table({"time": times, "value": values}))
    return stream


async def gather(tables: Any) -> list[pa.Table]:
    return [table async for table in tables]


async def test_raw_values_are_those_of_the_whole(long_stream: pt.AsyncStream):
    tables = await gather(long_stream.raw_values_iter(START, END))
    assert len(tables) > 1
    assert all(table.num_rows > 0 for table in tables)
    assert pa.concat_tables(tables) == await long_stream.raw_values(START, END)
    (first, *_) = await gather(long_stream.raw_values_iter(START, END, schema=RAW_F32_SCHEMA))
    assert first.schema == RAW_F32_SCHEMA
    assert await gather(long_stream.raw_values_iter(START - 10, START)) == []


async def test_windows_are_those_of_the_whole(long_stream: pt.AsyncStream):
    aligned = await gather(long_stream.aligned_windows_iter(START, END, PW[21], None, None))
    whole = await long_stream.aligned_windows(START, END, PW[21], None, STAT_F64_SCHEMA)
    assert len(aligned) > 1
    assert pa.concat_tables(aligned) == whole
    precise = await gather(
        long_stream.precise_windows_iter(START, END, 3 * STEP, None, STAT_F64_SCHEMA)
    )
    assert len(precise) > 1
    assert pa.concat_tables(precise)["count"].to_pylist() == [3] * (COUNT // 3)


async def test_bad_arguments_are_refused_at_the_first_step(
    stream: pt.AsyncStream, unknown: pt.AsyncStream
):
    with pytest.raises(InvalidTimeRange):
        await gather(stream.raw_values_iter(1, 1))
    with pytest.raises(InvalidPointWidth):
        await gather(stream.aligned_windows_iter(0, 1, 64))
    with pytest.raises(InvalidPointWidth):
        await gather(stream.precise_windows_iter(0, 1, 0))
    with pytest.raises(StreamNotFoundError):
        await gather(unknown.raw_values_iter(0, 1))
    with pytest.raises(StreamNotFoundError):
        await gather(unknown.changes_iter(0, 0))


async def test_an_open_iterator_does_not_hold_up_other_calls(
    client: pt.AsyncClient, long_stream: pt.AsyncStream
):
    before = client.concurrency_limit
    client.concurrency_limit = 1
    try:
        rows = 0
        async for table in long_stream.raw_values_iter(START, END):
            rows += table.num_rows
            assert await asyncio.wait_for(long_stream.count(), 30) == COUNT
        assert rows == COUNT
    finally:
        client.concurrency_limit = before


async def test_leaving_the_loop_ends_the_call(long_stream: pt.AsyncStream):
    for _ in range(50):
        tables = long_stream.raw_values_iter(START, END)
        assert (await anext(tables)).num_rows > 0
        await tables.aclose()  # type: ignore[attr-defined]
        assert [table async for table in tables] == []
    # Dropped without a word.
    for _ in range(50):
        await anext(long_stream.raw_values_iter(START, END))
    gc.collect()
    assert await long_stream.count() == COUNT


async def test_closing_the_client_ends_the_iteration(
    connect: Connect, endpoint: str, apikey: str, long_stream: pt.AsyncStream
):
    other = await connect(endpoint, apikey=apikey)
    tables = other.stream_from_uuid(long_stream.uuid).raw_values_iter(START, END)
    await anext(tables)
    await other.close()
    with pytest.raises(ClientClosedError):
        await gather(tables)
