"""Points of many streams in one table: a naive join, grids, versions, and what is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from conftest import Connect
from pingthings.server import Server
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    NotSupportedError,
    StreamNotFoundError,
)

START = 1_500_000_000_000_000_000
END = START + 10**9

Create = Callable[..., Awaitable[pt.AsyncStream]]
Together = Callable[..., Awaitable[pt.AsyncStreamSet]]


@pytest.fixture
def create(client: pt.AsyncClient, collection: str) -> Create:
    """Makes a stream with these points."""

    async def create(points: list[tuple[int, float]]) -> pt.AsyncStream:
        uuid = uuid4()
        stream = await client.create(uuid, collection, {"name": str(uuid)})
        if points:
            await stream.insert(points)
        return stream

    return create


@pytest.fixture
def together(client: pt.AsyncClient) -> Together:
    """Makes a set of streams."""

    async def together(*streams: pt.AsyncStream) -> pt.AsyncStreamSet:
        return await client.streamset_from_uuids([stream.uuid for stream in streams])

    return together


def joined(points: list[list[tuple[int, float]]]) -> list[tuple[float, ...]]:
    """The rows, found the slow way; of equal times the last value counts."""
    columns = [dict(column) for column in points]
    times = sorted({time for column in columns for time in column})
    return [(time, *(column.get(time, float("nan")) for column in columns)) for time in times]


def rows(table: pa.Table) -> np.ndarray:
    columns = [column.to_numpy() for column in table.columns]
    return np.stack([columns[0].view("int64"), *columns[1:]], axis=1)


async def test_rows_are_those_of_a_naive_join(create: Create, together: Together):
    generator = np.random.default_rng(7)
    points = []
    for number in (0, 1, 30, 4_000, 20_000):
        # Few instants, so that many are those of several streams.
        times = START + generator.choice(30_000, number, replace=False) * 1_000
        values = generator.standard_normal(number)
        points.append(list(zip(times.tolist(), values.tolist(), strict=True)))
    streams = await together(*[await create(column) for column in points])
    table = await streams.joined_values(START, END)
    assert table.schema.field(0) == pa.field("time", pa.timestamp("ns", "UTC"), nullable=False)
    assert table.column_names[1:] == [str(stream.uuid) for stream in streams]
    assert all(column.num_chunks == 1 and column.null_count == 0 for column in table.columns)
    np.testing.assert_array_equal(rows(table), np.array(joined(points)))
    part = await streams.joined_values(START + 5_000, START + 9_000)
    within = [[p for p in column if 5_000 <= p[0] - START < 9_000] for column in points]
    np.testing.assert_array_equal(rows(part), np.array(joined(within)))


async def test_equal_times_of_a_stream_become_one_row(create: Create, together: Together):
    first = await create([(START, 1.0), (START, 2.0), (START + 5, 3.0)])
    second = await create([(START + 5, 4.0)])
    table = await (await together(first, second)).joined_values(START, END)
    assert table["time"].to_numpy().view("int64").tolist() == [START, START + 5]
    assert table[1].to_pylist() == [2.0, 3.0]


async def test_points_move_to_the_instants_of_a_grid(create: Create, together: Together):
    second = 10**9
    fast = await create([(START + k * second // 10 + 1_000, float(k)) for k in range(30)])
    slow = await create([(START + second - 3, 7.0), (START + 2 * second + 4, 8.0)])
    streams = await together(fast, slow)
    for period in (second, timedelta(seconds=1)):
        table = await streams.joined_values(START, START + 3 * second, period=period)
        times = (table["time"].to_numpy().view("int64") - START) // second
        assert times.tolist() == [0, 1, 2]
        assert table[1].to_pylist() == [0.0, 10.0, 20.0]
        np.testing.assert_array_equal(table[2].to_numpy(), [np.nan, 7.0, 8.0])


async def test_versions_are_given_or_pinned(create: Create, together: Together):
    stream = await create([(START, 1.0)])
    await stream.flush()
    version = await stream.get_latest_version()
    await stream.insert([(START + 1, 2.0)])
    streams = await together(stream)
    assert (await streams.joined_values(START, END)).num_rows == 2
    assert (await streams.joined_values(START, END, [version])).num_rows == 1
    pinned = await streams.pin_versions({stream.uuid: version})
    assert (await pinned.joined_values(START, END)).num_rows == 1


async def test_a_thousand_columns_come_in_one_piece_each(
    create: Create, together: Together, client: pt.AsyncClient
):
    one = await create([(START + k, float(k)) for k in range(600)])
    others = [await create([(START + 7, 1.0)]) for _ in range(3)]
    collection = f"joined/{uuid4()}"
    made = await asyncio.gather(
        *(client.create(uuid4(), collection, {"name": str(k)}) for k in range(996))
    )
    streams = await together(one, *others, *made)
    table = await streams.joined_values(START, END)
    # More than a message: the server has about 2 MiB in each.
    assert (table.num_rows, table.num_columns) == (600, 1_001)
    assert all(column.num_chunks == 1 for column in table.columns)
    assert table[1].to_pylist() == [float(k) for k in range(600)]
    assert np.isnan(table[1_000].to_numpy()).all()


async def test_nothing_is_an_empty_table(create: Create, together: Together):
    empty = await together(await create([]), await create([(END, 1.0)]))
    table = await empty.joined_values(START, END)
    assert (table.num_rows, table.num_columns) == (0, 3)
    nobody = await empty[:0].joined_values(START, END)
    assert nobody.schema.equals(table.select(["time"]).schema)


async def test_what_is_refused(create: Create, together: Together):
    stream = await create([(START, 1.0)])
    streams = await together(stream)
    with pytest.raises(BTRDBValueError, match="twice"):
        await (await together(stream, stream)).joined_values(START, END)
    for period in (0, -5, timedelta(seconds=-1)):
        with pytest.raises(BTRDBValueError, match="at least 1 ns"):
            await streams.joined_values(START, END, period=period)
    with pytest.raises(BTRDBTypeError, match="float"):
        await streams.joined_values(START, END, period=0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTimeRange):
        await streams.joined_values(END, START)
    with pytest.raises(BTRDBValueError, match="version"):
        await streams.joined_values(START, END, [1, 2])
    gone = await create([])
    both = await together(stream, gone)
    await gone.obliterate()
    with pytest.raises(StreamNotFoundError):
        await both.joined_values(MINIMUM_TIME, MAXIMUM_TIME)


async def test_a_server_that_joins_nothing(connect: Connect):
    with Server(arrow=False) as old:
        async with await connect(endpoint=old.endpoint) as client:
            stream = await client.create(uuid4(), f"joined/{uuid4()}")
            streams = await client.streamset_from_uuids([stream.uuid])
            with pytest.raises(NotSupportedError, match="ArrowMultiValues"):
                await streams.joined_values(START, END)
