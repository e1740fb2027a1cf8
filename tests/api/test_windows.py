"""Statistics in windows: known answers, schemas, versions, and what is refused."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.timeseries.constants import (
    MAXIMUM_TIME,
    MINIMUM_TIME,
    PW,
    STAT_F32_SCHEMA,
    STAT_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import (
    BTrDBError,
    BTRDBTypeError,
    InvalidPointWidth,
    InvalidTimeRange,
    StreamNotFoundError,
    VersionNotAvailable,
)

START = 1500000000000000000
END = START + 10**9
KINDS = {"aligned": 28, "precise": 300_000_000}

Vectors = Callable[[str], Any]
both_kinds = pytest.mark.parametrize("kind", KINDS)


def grid(first: int, step: int, number: int) -> tuple[Any, Any]:
    rows = np.arange(number)
    return first + rows * step, (rows + 1).astype(np.float64)


def asked(kind: str, stream: pt.AsyncStream | pt.AsyncStreamSet) -> Callable[..., Awaitable[Any]]:
    method: Callable[..., Awaitable[Any]] = getattr(stream, f"{kind}_windows")
    return method


@pytest.fixture
async def ten(stream: pt.AsyncStream) -> pt.AsyncStream:
    await stream.insert(grid(START, 10**8, 10))
    return stream


@pytest.mark.parametrize("flushed", [False, True])
async def test_known_answers(
    client: pt.AsyncClient, collection: str, vectors: Vectors, flushed: bool
):
    streams: dict[str, pt.AsyncStream] = {}
    for case in vectors("windows")["cases"]:
        name = str(case["points"])
        if name not in streams:
            streams[name] = await client.create(uuid4(), collection, {"name": name})
            await streams[name].insert(grid(*case["points"]))
            if flushed:
                await streams[name].flush()
        table = await asked(case["kind"], streams[name])(
            case["start"], case["end"], case["width"], schema=STAT_F64_SCHEMA
        )
        times = table["time"].cast(pa.int64()).to_pylist()
        if "windows" in case:
            assert (len(times), times[0], times[-1]) == (
                case["windows"],
                case["first_time"],
                case["last_time"],
            )
            continue
        assert times == case["times"], case["name"]
        assert table["count"].to_pylist() == case["counts"], case["name"]
        for column in ("min", "mean", "max", "stddev"):
            if column in case:
                # Exact but for the last digit: the vectors were written down as decimals.
                assert table[column].to_pylist() == pytest.approx(case[column], rel=1e-15)


@both_kinds
async def test_default_schema_is_32_bits_and_none_is_64(ten: pt.AsyncStream, kind: str):
    windows = asked(kind, ten)
    narrow = await windows(START, END, KINDS[kind])
    assert narrow.schema == STAT_F32_SCHEMA
    wide = await windows(START, END, KINDS[kind], schema=None)
    assert wide.schema == STAT_F64_SCHEMA
    assert wide.cast(STAT_F32_SCHEMA) == narrow


@both_kinds
async def test_schema_by_position_names_and_casts(ten: pt.AsyncStream, kind: str):
    fields: list[tuple[str, pa.DataType]] = [
        ("t", pa.int64()),
        ("lo", pa.float64()),
        ("avg", pa.float32()),
        ("hi", pa.float64()),
        ("n", pa.int64()),
        ("sd", pa.float64()),
    ]
    schema = pa.schema(fields)
    table = await asked(kind, ten)(START, END, KINDS[kind], schema=schema)
    wide = await asked(kind, ten)(START, END, KINDS[kind], schema=None)
    assert table.schema == schema
    assert table["t"].to_pylist() == wide["time"].cast(pa.int64()).to_pylist()
    assert table["avg"].to_pylist() == wide["mean"].to_pylist()
    assert table["n"].to_pylist() == wide["count"].to_pylist()


@both_kinds
async def test_schema_by_name_selects_columns(ten: pt.AsyncStream, kind: str):
    schema = pa.schema([("stddev", pa.float64()), ("mean", pa.float64())])
    table = await asked(kind, ten)(START, END, KINDS[kind], schema=schema)
    wide = await asked(kind, ten)(START, END, KINDS[kind], schema=None)
    assert table.column_names == ["stddev", "mean"]
    assert table["mean"].to_pylist() == wide["mean"].to_pylist()
    assert table["stddev"].to_pylist() == wide["stddev"].to_pylist()


@both_kinds
async def test_windows_without_points_are_left_out(ten: pt.AsyncStream, kind: str):
    assert (await asked(kind, ten)(0, 1000, 5)).num_rows == 0
    table = await asked(kind, ten)(START - 10**9, END + 10**9, KINDS[kind])
    assert all(table["count"].to_pylist())
    empty = await asked(kind, ten)(0, 1000, 5)
    assert empty.schema == STAT_F32_SCHEMA


@both_kinds
async def test_range_that_vanishes_has_no_windows(ten: pt.AsyncStream, kind: str):
    assert (
        await asked(kind, ten)(START + 5, START + 6, {"aligned": 40, "precise": 100}[kind])
    ) == (STAT_F32_SCHEMA.empty_table())


@pytest.mark.parametrize(
    "width",
    [
        timedelta(milliseconds=300),
        np.int64(300_000_000),
        300_000_000,
        pd.Timedelta(300, "ms"),
        np.timedelta64(300, "ms"),
        pa.scalar(300_000_000, pa.duration("ns")),
    ],
    ids=repr,
)
async def test_precise_width_in_every_form(ten: pt.AsyncStream, width: Any):
    assert (await ten.precise_windows(START, END, width))["count"].to_pylist() == [3, 3, 3]


async def test_point_width_in_every_form(ten: pt.AsyncStream):
    widths: list[Any] = [28, PW[28], np.int64(28)]
    for width in widths:
        assert (await ten.aligned_windows(START, END, width))["count"].to_pylist() == [1, 3, 3, 2]
    # A power of two is a length as any other: the windows begin at the start.
    precise = await ten.precise_windows(START, END, PW[28])
    assert precise["time"].cast(pa.int64())[0].as_py() == START
    assert precise["count"].to_pylist() == [3, 3, 3]


async def test_whole_time_is_one_window(ten: pt.AsyncStream):
    # The end of time cuts no window, however wide; one a nanosecond earlier does.
    widths = (60, 61, 62, 63)
    aligned = [await ten.aligned_windows(MINIMUM_TIME, MAXIMUM_TIME, e) for e in widths]
    assert [table["count"].to_pylist() for table in aligned] == [[10]] * 4
    aligned = [await ten.aligned_windows(MINIMUM_TIME, MAXIMUM_TIME - 1, e) for e in widths]
    assert [table["count"].to_pylist() for table in aligned] == [[10], [10], [], []]
    table = await ten.precise_windows(MINIMUM_TIME, MAXIMUM_TIME, MAXIMUM_TIME - MINIMUM_TIME)
    assert table["count"].to_pylist() == [10]
    wider = await ten.precise_windows(MINIMUM_TIME, MAXIMUM_TIME, 1 << 70)
    assert wider.num_rows == 0


@both_kinds
async def test_special_values_keep_their_bits(stream: pt.AsyncStream, kind: str):
    values = [-0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 2.5]
    await stream.insert([(8 * k, value) for k, value in enumerate(values)])
    table = await asked(kind, stream)(0, 40, {"aligned": 3, "precise": 8}[kind], schema=None)
    for column in ("min", "max"):
        assert list(map(repr, table[column].to_pylist())) == list(map(repr, values))
    assert table["stddev"].to_pylist() == [0.0] * 5


@both_kinds
async def test_version_is_read_and_pinned(ten: pt.AsyncStream, kind: str):
    await ten.flush()
    version = await ten.get_latest_version()
    await ten.insert([(START + 1, 100.0)])
    windows, width = asked(kind, ten), KINDS[kind]
    assert (await windows(START, END, width))["count"][0].as_py() == {"aligned": 2, "precise": 4}[
        kind
    ]
    old = {"aligned": 1, "precise": 3}[kind]
    assert (await windows(START, END, width, version))["count"][0].as_py() == old
    ten.pin_version(version)
    assert (await windows(START, END, width))["count"][0].as_py() == old
    assert (await windows(START, END, width, version=0))["count"][0].as_py() == old + 1
    with pytest.raises(VersionNotAvailable, match=str(ten.uuid)):
        await windows(START, END, width, version + 1)


@both_kinds
@pytest.mark.parametrize(
    ("start", "end"),
    [(10, 10), (11, 10), (MINIMUM_TIME - 1, 10), (0, MAXIMUM_TIME + 1), (0, 1 << 63)],
)
async def test_bad_range_is_refused(stream: pt.AsyncStream, kind: str, start: int, end: int):
    with pytest.raises(InvalidTimeRange, match=str(start or end)):
        await asked(kind, stream)(start, end, 3)


@both_kinds
@pytest.mark.parametrize(("start", "name"), [(None, "start"), (0, "end")])
async def test_time_must_be_given(stream: pt.AsyncStream, kind: str, start: Any, name: str):
    with pytest.raises(BTRDBTypeError, match=f"`{name}` is None"):
        await asked(kind, stream)(start, None, 3)


@pytest.mark.parametrize("width", [0, -1, timedelta(0), timedelta(seconds=-1)], ids=repr)
async def test_width_must_be_positive(stream: pt.AsyncStream, width: Any):
    with pytest.raises(InvalidPointWidth, match="width must be at least 1 ns"):
        await stream.precise_windows(0, 10, width)


@pytest.mark.parametrize("exponent", [-1, 64, 1 << 40])
async def test_exponent_must_be_within_bounds(stream: pt.AsyncStream, exponent: int):
    with pytest.raises(InvalidPointWidth, match=str(exponent)):
        await stream.aligned_windows(0, 10, exponent)


@both_kinds
@pytest.mark.parametrize("width", [None, 1.5, True, "5", [5]], ids=repr)
async def test_width_of_wrong_type_is_refused(stream: pt.AsyncStream, kind: str, width: Any):
    with pytest.raises(BTRDBTypeError, match="width"):
        await asked(kind, stream)(0, 10, width)


@both_kinds
@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("median", pa.float64())]),
        pa.schema([("mean", pa.string())]),
        pa.schema([("time", pa.float64()), ("mean", pa.float64())]),
    ],
    ids=str,
)
async def test_schema_that_does_not_fit_is_refused(
    stream: pt.AsyncStream, kind: str, schema: pa.Schema
):
    with pytest.raises(BTrDBError, match=r"column `(median|mean|time)`"):
        await asked(kind, stream)(0, 10, 3, schema=schema)


@both_kinds
@pytest.mark.parametrize("schema", [5, "time", ["time"]], ids=repr)
async def test_schema_of_wrong_type_is_refused(stream: pt.AsyncStream, kind: str, schema: Any):
    with pytest.raises(BTRDBTypeError, match="a schema is"):
        await asked(kind, stream)(0, 10, 3, schema=schema)


@both_kinds
async def test_unknown_stream_is_named(unknown: pt.AsyncStream, kind: str):
    with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)):
        await asked(kind, unknown)(0, 10, 3)


@both_kinds
async def test_set_answers_in_its_order(
    client: pt.AsyncClient, ten: pt.AsyncStream, kind: str, collection: str
):
    empty = await client.create(uuid4(), collection, {"name": "empty"})
    other = await client.create(uuid4(), collection, {"name": "other"})
    await other.insert([(START, 7.0)])
    ids = [other.uuid, empty.uuid, ten.uuid]
    streams = await client.streamset_from_uuids(ids)
    tables = await asked(kind, streams)(START, END, KINDS[kind])
    assert [table and table["count"].to_pylist() for table in tables] == [
        [1],
        None,
        (await asked(kind, ten)(START, END, KINDS[kind]))["count"].to_pylist(),
    ]
    assert await asked(kind, streams[:0])(START, END, KINDS[kind]) == []
    (narrow,) = await asked(kind, streams[:1])(START, END, KINDS[kind])
    assert narrow.schema == STAT_F32_SCHEMA
    (wide,) = await asked(kind, streams[:1])(START, END, KINDS[kind], single_stream_schema=None)
    assert wide.schema == STAT_F64_SCHEMA
    with pytest.raises(BTRDBTypeError, match="a schema is"):
        await asked(kind, streams)(START, END, KINDS[kind], single_stream_schema=3)


async def test_sync_side_chooses_by_the_width(endpoint: str, apikey: str, collection: str):
    with pt.connect(endpoint, apikey=apikey) as client:
        stream = client.create(uuid4(), collection)
        stream.insert(grid(START, 10**8, 10))
        (both,) = [client.streamset_from_uuids([stream.uuid])]
        for width, counts in ((PW[28], [1, 3, 3, 2]), (1 << 28, [3, 3, 3])):
            assert stream.windowed_values(START, END, width)["count"].to_pylist() == counts
            (table,) = both.windowed_values(START, END, width)
            assert table is not None
            assert table["count"].to_pylist() == counts
        # Where both kinds are the same windows, they agree.
        first, last = START >> 28 << 28, (END >> 28 << 28)
        assert stream.windowed_values(first, last, 1 << 28) == stream.windowed_values(
            first, last, PW[28]
        )
