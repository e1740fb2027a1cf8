"""Raw values, the nearest points and counts."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.timeseries.constants import (
    MAXIMUM_INSERT_TIME,
    MAXIMUM_TIME,
    MINIMUM_TIME,
    RAW_F32_SCHEMA,
    RAW_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import (
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    StreamNotFoundError,
    VersionNotAvailable,
)
from pingthings.timeseries.points import RawPoint

T = 1500000000000000000

Vectors = Callable[[str], Any]

TIMES_IN_ALL_FORMS = [
    T,
    np.int64(T),
    float(T),
    Decimal(T),
    str(T),
    "2017-07-14T02:40:00Z",
    "2017-07-14 04:40:00.000000000+02:00",
    datetime(2017, 7, 14, 2, 40, tzinfo=UTC),
    datetime(2017, 7, 14, 2, 40),  # noqa: DTZ001 - documented as UTC
    np.datetime64(T, "ns"),
    np.datetime64("2017-07-14T02:40", "m"),
    pd.Timestamp(T),
    pd.Timestamp(T, tz="America/New_York"),
    pa.scalar(T, pa.timestamp("ns", "UTC")),
]

BAD_TIMES: list[tuple[Any, type[Exception], str]] = [
    ("noon", BTRDBValueError, "`noon`"),
    ("", BTRDBValueError, "``"),
    (1.5, BTRDBValueError, "1.5"),
    (float("nan"), BTRDBValueError, "nan"),
    (float("inf"), BTRDBValueError, "inf"),
    (np.datetime64("NaT"), BTRDBValueError, "NaT"),
    (pd.NaT, BTRDBValueError, "NaT"),
    (True, BTRDBTypeError, "bool"),
    (None, BTRDBTypeError, "None"),
    ([T], BTRDBTypeError, "list"),
    (b"2017", BTRDBTypeError, "bytes"),
    (1 << 63, InvalidTimeRange, str(1 << 63)),
    (datetime(2600, 1, 1, tzinfo=UTC), InvalidTimeRange, "2600"),
    (MINIMUM_TIME - 1, InvalidTimeRange, str(MINIMUM_TIME - 1)),
    (MAXIMUM_TIME + 1, InvalidTimeRange, str(MAXIMUM_TIME + 1)),
]


def schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(columns)


bad_times = pytest.mark.parametrize(("time", "error", "message"), BAD_TIMES, ids=repr)


@pytest.fixture
async def grid(stream: pt.AsyncStream, vectors: Vectors) -> pt.AsyncStream:
    first, step, number = vectors("reads")["points"]
    rows = np.arange(number)
    await stream.insert((first + rows * step, (rows + 1).astype(np.float64)))
    return stream


@pytest.mark.parametrize("flushed", [False, True])
async def test_known_answers(grid: pt.AsyncStream, vectors: Vectors, flushed: bool):
    if flushed:
        await grid.flush()
    for case in vectors("reads")["raw"]:
        table = await grid.raw_values(case["start"], case["end"])
        assert table.num_rows == case["rows"], case
        assert await grid.count(case["start"], case["end"]) == case["rows"], case
    for case in vectors("reads")["nearest"]:
        found = await grid.nearest(case["time"], backward=case["backward"])
        assert (found and list(found)) == case["found"], case


async def test_points_come_in_order_whatever_was_inserted_when(stream: pt.AsyncStream):
    await stream.insert([(30, 3.0), (10, 1.0)])
    await stream.flush()
    await stream.insert([(40, 4.0), (20, 2.0)])
    table = await stream.raw_values(10, 40)
    assert table["value"].to_pylist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "wanted",
    [
        RAW_F64_SCHEMA,
        RAW_F32_SCHEMA,
        schema(t=pa.int64(), v=pa.float32()),
        schema(t=pa.timestamp("ns"), v=pa.float64()),
    ],
    ids=str,
)
async def test_schema_is_obeyed(grid: pt.AsyncStream, wanted: pa.Schema):
    await grid.insert([(9_999, 0.1)])
    table = await grid.raw_values(9_999, 10_020, schema=wanted)
    assert table.schema == wanted
    plain = await grid.raw_values(9_999, 10_020)
    assert table[0].cast(pa.int64()) == plain[0].cast(pa.int64())
    assert table[1].to_pylist() == plain[1].cast(wanted.field(1).type).to_pylist()
    assert (await grid.raw_values(0, 1, schema=wanted)) == wanted.empty_table()


async def test_schema_none_is_the_default(grid: pt.AsyncStream):
    tables = [await grid.raw_values(0, 11_000), await grid.raw_values(0, 11_000, schema=None)]
    assert tables[0] == tables[1]
    assert tables[0].schema == RAW_F64_SCHEMA


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("time", pa.int64())]),
        schema(time=pa.string(), value=pa.float64()),
        schema(time=pa.int64(), value=pa.string()),
        schema(value=pa.float64(), time=pa.int64()),
    ],
    ids=str,
)
async def test_schema_that_does_not_fit_is_refused(grid: pt.AsyncStream, schema: pa.Schema):
    with pytest.raises(BTrDBError, match=r"schema of 1 columns|column `(time|value)` cannot be"):
        await grid.raw_values(0, 11_000, schema=schema)


@pytest.mark.parametrize("schema", [5, "time", ["time", "value"]], ids=repr)
async def test_schema_of_wrong_type_is_refused(grid: pt.AsyncStream, schema: Any):
    with pytest.raises(BTRDBTypeError, match="a schema is"):
        await grid.raw_values(0, 11_000, schema=schema)


@pytest.mark.parametrize("time", TIMES_IN_ALL_FORMS, ids=repr)
async def test_every_form_of_time_is_read(stream: pt.AsyncStream, time: Any):
    await stream.insert([(T - 1, 1.0), (T, 2.0), (T + 1, 3.0)])
    after = await stream.raw_values(time, T + 10)
    before = await stream.raw_values(T - 10, time)
    assert (after["value"].to_pylist(), before["value"].to_pylist()) == ([2.0, 3.0], [1.0])
    assert await stream.count(time, T + 10) == 2
    assert await stream.nearest(time) == RawPoint(T, 2.0)
    assert await stream.nearest(time, backward=True) == RawPoint(T - 1, 1.0)


@bad_times
async def test_bad_time_is_refused(
    stream: pt.AsyncStream, time: Any, error: type[Exception], message: str
):
    with pytest.raises(error) as of_nearest:
        await stream.nearest(time)
    with pytest.raises(error) as of_raw:
        await stream.raw_values(time, MAXIMUM_TIME)
    assert message in str(of_nearest.value)
    # Beyond the end it is the order of the two that is wrong, and both are in the message.
    assert message in str(of_raw.value)
    with pytest.raises(error):
        await stream.raw_values(MINIMUM_TIME, time)
    if time is not None:
        with pytest.raises(error):
            await stream.count(time)
        with pytest.raises(error):
            await stream.count(end=time)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (MAXIMUM_TIME, MINIMUM_TIME)])
async def test_start_must_be_before_end(stream: pt.AsyncStream, start: int, end: int):
    for call in (stream.raw_values, stream.count):
        with pytest.raises(InvalidTimeRange, match=f"start {start} is not before end {end}"):
            await call(start, end)


async def test_empty_stream(stream: pt.AsyncStream):
    assert await stream.raw_values(MINIMUM_TIME, MAXIMUM_TIME) == RAW_F64_SCHEMA.empty_table()
    assert await stream.count() == 0
    assert await stream.nearest(0) is None
    assert await stream.nearest(0, backward=True) is None
    assert await stream.earliest() is None
    assert await stream.latest() is None


async def test_earliest_and_latest_reach_the_ends_of_time(stream: pt.AsyncStream):
    await stream.insert([(MINIMUM_TIME, 1.0), (0, 2.0), (MAXIMUM_INSERT_TIME, 3.0)])
    assert await stream.earliest() == RawPoint(MINIMUM_TIME, 1.0)
    assert await stream.latest() == RawPoint(MAXIMUM_INSERT_TIME, 3.0)
    assert await stream.count() == 3
    assert await stream.count(0) == 2
    assert await stream.count(end=0) == 1


async def test_of_equal_times_the_first_and_the_last_are_nearest(stream: pt.AsyncStream):
    await stream.insert([(5, 1.0), (5, 2.0), (5, 3.0)])
    assert await stream.nearest(5) == RawPoint(5, 1.0)
    assert await stream.nearest(6, backward=True) == RawPoint(5, 3.0)
    assert await stream.nearest(5, backward=True) is None


async def test_versions_are_read_by_number_and_pin(stream: pt.AsyncStream):
    await stream.insert([(1, 1.0)])
    await stream.flush()
    old = await stream.get_latest_version()
    await stream.insert([(0, 0.0), (2, 2.0)])
    await stream.flush()

    async def seen(**named: Any) -> tuple[Any, ...]:
        return (
            (await stream.raw_values(-5, 5, **named))["value"].to_pylist(),
            await stream.count(**named),
            await stream.nearest(-5, **named),
            await stream.earliest(**named),
            await stream.latest(**named),
        )

    first = ([1.0], 1, (1, 1.0), (1, 1.0), (1, 1.0))
    both = ([0.0, 1.0, 2.0], 3, (0, 0.0), (0, 0.0), (2, 2.0))
    assert await seen(version=old) == first
    assert await seen() == both
    stream.pin_version(old)
    assert await seen() == first
    assert await seen(version=0) == both
    assert await seen(version=old + 1) == both
    stream.pin_version(None)
    assert await seen() == both


@pytest.mark.parametrize("version", [1000, (1 << 64) - 1])
async def test_unknown_version_is_refused(stream: pt.AsyncStream, version: int):
    calls = [
        stream.raw_values(0, 1, version),
        stream.count(version=version),
        stream.nearest(0, version),
        stream.earliest(version),
        stream.latest(version),
    ]
    for call in calls:
        with pytest.raises(VersionNotAvailable, match=f"{stream.uuid}.* version {version}"):
            await call


@pytest.mark.parametrize(
    ("version", "error"),
    [(-1, BTRDBValueError), (1 << 64, BTRDBValueError), (True, BTRDBTypeError)]
    + [(wrong, BTRDBTypeError) for wrong in (1.0, "10", [10])],
    ids=repr,
)
async def test_bad_version_is_refused(stream: pt.AsyncStream, version: Any, error: Any):
    for call in (
        stream.raw_values(0, 1, version),
        stream.count(version=version),
        stream.nearest(0, version),
    ):
        with pytest.raises(error, match="version"):
            await call
    with pytest.raises(error, match="version"):
        stream.pin_version(version)
    assert stream.pinned_version is None


async def test_unknown_stream_is_named(unknown: pt.AsyncStream):
    for call in (
        unknown.raw_values(0, 1),
        unknown.count(),
        unknown.nearest(0),
        unknown.earliest(),
        unknown.latest(),
        unknown.get_latest_version(),
        unknown.flush(),
    ):
        with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)) as raised:
            await call
        assert (raised.value.code, raised.value.uuid) == (404, unknown.uuid)


async def test_set_reads_in_its_order(
    client: pt.AsyncClient, stream: pt.AsyncStream, collection: str
):
    empty = await client.create(uuid4(), collection, {"name": "empty"})
    await stream.insert([(1, 1.0), (2, 2.0)])
    streams = await client.streamset_from_uuids([empty.uuid, stream.uuid])
    nothing, table = await streams.raw_values(0, 10)
    assert nothing is None
    assert table == await stream.raw_values(0, 10)
    (_, narrow) = await streams.raw_values(0, 10, None, RAW_F32_SCHEMA)
    assert narrow is not None
    assert narrow.schema == RAW_F32_SCHEMA
    assert await streams.count() == {empty.uuid: 0, stream.uuid: 2}
    assert await streams.count(2, 5) == {empty.uuid: 0, stream.uuid: 1}
    assert await streams.earliest() == {empty.uuid: None, stream.uuid: RawPoint(1, 1.0)}
    assert await streams.latest() == {empty.uuid: None, stream.uuid: RawPoint(2, 2.0)}


async def test_failing_stream_of_a_set_is_named(client: pt.AsyncClient, stream: pt.AsyncStream):
    missing = uuid4()
    streams = await client.streamset_from_uuids([stream.uuid, missing], fetch_metadata=False)
    for call in (streams.raw_values(0, 1), streams.count(), streams.earliest(), streams.flush()):
        with pytest.raises(StreamNotFoundError, match=str(missing)):
            await call


async def test_many_streams_in_one_call(client: pt.AsyncClient, collection: str):
    ids = []
    for number in range(100):
        made = await client.create(uuid4(), collection, {"name": str(number)})
        ids.append(made.uuid)
    streams = await client.streamset_from_uuids(ids)
    await streams.insert({uuid: [(T, float(row))] for row, uuid in enumerate(ids)})
    tables = await streams.raw_values(T, T + 1)
    values = [table["value"].to_pylist() for table in tables if table is not None]
    assert values == [[float(row)] for row in range(100)]


@pytest.mark.parametrize("unit", ["us", "ms", "s"])
async def test_times_come_in_the_unit_of_the_schema(
    client: pt.AsyncClient, collection: str, unit: Any
):
    stream = await client.create(uuid4(), collection)
    second = 1_000_000_000
    await stream.insert([(at * second, float(at)) for at in (1, 2, 5)])
    fields: list[pa.Field[Any]] = [pa.field("when", pa.timestamp(unit))]
    schema = pa.schema([*fields, pa.field("what", pa.float32())])
    table = await stream.raw_values(0, 10 * second, schema=schema)
    assert table.schema == schema
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    assert table["when"].cast(pa.int64()).to_pylist() == [at * per_second for at in (1, 2, 5)]
