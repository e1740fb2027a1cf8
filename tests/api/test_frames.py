"""Results as frames and arrays, joined on time, and back."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, cast
from uuid import uuid4

import duckdb
import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingthings.server import Server
from pingthings.timeseries import frames
from pingthings.timeseries.constants import (
    MAXIMUM_INSERT_TIME,
    MAXIMUM_TIME,
    MINIMUM_TIME,
    RAW_F64_SCHEMA,
    STAT_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidOperation,
    InvalidTimeRange,
    MissingExtraError,
)

T = 1500000000000000001
TIMES = [MINIMUM_TIME, -1, 0, T, T + 1, MAXIMUM_INSERT_TIME]
NTSC = Fraction(30000, 1001)

instants = st.integers(MINIMUM_TIME, MAXIMUM_INSERT_TIME)
rates = st.one_of(
    st.sampled_from([Fraction(30), Fraction(60), Fraction(120), NTSC, Fraction(1, 60)]),
    st.fractions(Fraction(1, 100), 100_000, max_denominator=200),
)


def raw(points: list[tuple[int, float]]) -> pa.Table:
    times, values = [t for t, _ in points], [v for _, v in points]
    columns: list[Any] = [pa.array(times, pa.int64()).cast(RAW_F64_SCHEMA.field(0).type), values]
    return pa.table(columns, schema=RAW_F64_SCHEMA)


def rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [table.columns[0].cast(pa.int64()), *table.columns[1:]]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def address(column: Any) -> int:
    """Where the values of an Arrow column in one piece lie."""
    (array,) = getattr(column, "chunks", [column])
    found: int = array.buffers()[1].address
    return found


def whole(frame: Any) -> list[int]:
    """Times of pandas as they are kept."""
    assert frame.index.dtype == "datetime64[ns, UTC]"
    return list(frame.index.asi8)


async def filled(client: pt.AsyncClient, collection: str, points: dict[str, Any]) -> Any:
    ids = []
    for name, values in points.items():
        stream = await client.create(uuid4(), collection, {"name": name, "unit": "volts"})
        await stream.insert(values)
        ids.append(stream.uuid)
    return await client.streamset_from_uuids(ids)


async def test_times_of_any_stream_fit_pandas_polars_and_numpy(stream: pt.AsyncStream):
    await stream.insert([(time, float(row)) for row, time in enumerate(TIMES)])
    table = await stream.raw_values(MINIMUM_TIME, MAXIMUM_TIME)
    frame = frames.to_pandas(table)
    assert whole(frame) == TIMES
    assert frame.index.name == "time"
    assert list(frame["value"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    polars = frames.to_polars(table)
    assert polars.schema == {"time": pl.Datetime("ns", "UTC"), "value": pl.Float64()}
    assert polars["time"].to_physical().to_list() == TIMES
    arrays = frames.to_numpy(table)
    assert arrays["time"].dtype == "datetime64[ns]"
    assert list(arrays["time"].view(np.int64)) == TIMES


async def test_windows_keep_the_types_of_their_columns(stream: pt.AsyncStream):
    await stream.insert([(T + k, float(k)) for k in range(100)])
    table = await stream.aligned_windows(T, T + 100, 4, None, STAT_F64_SCHEMA)
    frame = frames.to_pandas(table)
    assert list(frame.columns) == ["min", "mean", "max", "count", "stddev"]
    assert frame["count"].dtype == np.uint64
    assert frames.to_numpy(table)["count"].dtype == np.uint64


def test_nothing_is_copied():
    table = raw([(T + k, float(k)) for k in range(1000)])
    times, values = address(table["time"]), address(table["value"])
    frame: Any = frames.to_pandas(table)
    assert frame["value"].to_numpy().__array_interface__["data"][0] == values
    assert frame.index.asi8.__array_interface__["data"][0] == times
    arrays = frames.to_numpy(table)
    assert arrays["value"].__array_interface__["data"][0] == values
    assert arrays["time"].__array_interface__["data"][0] == times
    polars = frames.to_polars(table)
    assert address(polars["value"].to_arrow()) == values
    assert address(polars["time"].to_arrow()) == times


def test_duckdb_reads_a_result_where_it_lies():
    result = raw([(T + k, float(k)) for k in range(1000)])
    # What it takes is the stream of the table, whose buffers are the table's own.
    (batch,) = pa.RecordBatchReader.from_stream(result)
    for name in result.column_names:
        assert address(batch[name]) == address(result[name])
    found: Any = duckdb.sql("SELECT max(time) AS time, sum(value) AS value FROM result")
    answer = found.to_arrow_table()
    assert rows(answer) == [(T + 999, 499_500.0)]
    assert answer.schema.types[0].unit == "ns"


def received(count: int) -> pa.Table:
    """What a server answers, in several pieces."""
    with Server() as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "frames")
        stream.insert((T + np.arange(count), np.arange(count) / 8))
        return stream.raw_values(T, T + count)


def test_polars_keeps_the_pieces_of_an_answer_where_they_are():
    table = received(1_000_000)
    for frame in (frames.to_polars(table), pl.from_arrow(table)):
        assert isinstance(frame, pl.DataFrame)
        for name in table.column_names:
            pieces = [piece.to_arrow() for piece in frame[name].get_chunks()]
            assert [address(piece) for piece in pieces] == [
                address(piece) for piece in table[name].chunks
            ]


def test_duckdb_holds_no_copy_of_an_answer():
    count = 4_000_000
    table = received(count)
    base = duckdb.connect(config={"threads": 1, "memory_limit": "16MB", "temp_directory": ""})
    base.register("points", table)
    assert table.nbytes == 64_000_000
    found = base.sql(
        "SELECT count(*), min(value), max(value), max(epoch_ns(time)) FROM points"
    ).fetchall()[0]
    assert found == (count, 0.0, (count - 1) / 8, T + count - 1)
    with pytest.raises(duckdb.OutOfMemoryException):
        base.execute("CREATE TABLE copied AS SELECT * FROM points")
    base.close()


def test_other_forms_of_times_become_nanoseconds_in_utc():
    for times in (
        pa.array([1, 2], pa.timestamp("s")),
        pa.array([1_000, 2_000], pa.timestamp("ms", "Asia/Tokyo")),
        pa.array([10**9, 2 * 10**9], pa.int64()),
    ):
        columns: list[Any] = [times, pa.array([1.0, 2.0])]
        table = pa.table(columns, names=["at", "v"])
        frame = frames.to_pandas(table)
        assert (whole(frame), frame.index.name) == ([10**9, 2 * 10**9], "at")
        assert frames.to_polars(table)["at"].to_physical().to_list() == [10**9, 2 * 10**9]


def test_times_beyond_nanoseconds_are_refused():
    times = pa.array([1 << 40], pa.timestamp("s", "UTC"))
    table = pa.table([times, pa.array([1.0])], names=["time", "value"])
    for convert in (frames.to_pandas, frames.to_polars, frames.to_numpy):
        with pytest.raises(InvalidTimeRange, match="nanoseconds"):
            convert(table)


def test_columns_of_one_name_are_refused_where_one_would_be_lost():
    columns: list[Any] = [pa.array([1]), pa.array([1.0]), pa.array([2.0])]
    table = pa.table(columns, names=["time", "a", "a"])
    for convert in (frames.to_polars, frames.to_numpy, lambda table: frames.join({"x": table})):
        with pytest.raises(BTRDBValueError, match="2 columns of the table have the name `a`"):
            convert(table)
    assert frames.to_pandas(table).columns.tolist() == ["a", "a"]
    with pytest.raises(BTRDBValueError, match="the name `time`"):
        frames.to_pandas(pa.table(columns[:2], names=["time", "time"]))


def test_a_join_needs_every_time():
    table = pa.table({"time": pa.array([1, None], pa.timestamp("ns")), "v": [1.0, 2.0]})
    with pytest.raises(InvalidTimeRange, match="row 1 of a table has no time"):
        frames.join({"a": table})


@pytest.mark.parametrize("table", [5, raw([]).drop_columns(["time"]), pa.table({})])
def test_what_has_no_times_is_refused(table: Any):
    with pytest.raises(BTRDBTypeError):
        frames.to_pandas(table)


@pytest.mark.parametrize(("name", "convert"), [("pandas", "to_pandas"), ("polars", "to_polars")])
def test_a_missing_package_names_its_extra(
    name: str, convert: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "pingthings\[{name}\]"'):
        getattr(frames, convert)(raw([]))


async def test_join_of_a_set(client: pt.AsyncClient, collection: str):
    points = {"a": [(T, 1.0), (T + 2, 3.0)], "b": [(T + 1, 5.0), (T + 2, 6.0)]}
    streams = await filled(client, collection, points)
    tables = await streams.raw_values(T, T + 10)
    joined = frames.join(tables, streams)
    assert joined.schema.types[0] == RAW_F64_SCHEMA.types[0]
    assert joined.column_names == ["time", "a", "b"]
    assert rows(joined) == [(T, 1.0, None), (T + 1, None, 5.0), (T + 2, 3.0, 6.0)]
    assert rows(frames.join(tables, streams, how="inner")) == [(T + 2, 3.0, 6.0)]


async def test_join_names_its_columns(client: pt.AsyncClient, collection: str):
    streams = await filled(client, collection, {"a": [(T, 1.0)], "b": [(T, 2.0)]})
    tables = await streams.raw_values(T, T + 1)
    by_uuid = {stream.uuid: table for stream, table in zip(streams, tables, strict=True)}
    ids = [str(stream.uuid) for stream in streams]
    for names, expected in (
        ("name", ["a", "b"]),
        ("path", [f"{collection}/a", f"{collection}/b"]),
        ("uuid", ids),
        (["x", "y"], ["x", "y"]),
        (lambda stream: stream.unit + stream.name, ["voltsa", "voltsb"]),
    ):
        joined = frames.join(tables, streams, names=names)
        assert joined.column_names == ["time", *expected]
        assert frames.join(by_uuid, streams, names=names) == joined
    assert frames.join(by_uuid).column_names == ["time", *ids]
    assert frames.join({"x": tables[0]}).column_names == ["time", "x"]


async def test_join_of_windows(client: pt.AsyncClient, collection: str):
    points = {"a": [(T + k, float(k)) for k in range(64)], "b": [(T + 50, 1.0)], "none": []}
    streams = await filled(client, collection, points)
    tables = await streams.aligned_windows(T - 1, T + 63, 4)
    joined = frames.join(tables, streams)
    assert joined.column_names[1:6] == ["a.min", "a.mean", "a.max", "a.count", "a.stddev"]
    assert joined["b.count"].null_count == joined.num_rows - 1
    assert joined["none.count"].null_count == joined.num_rows
    assert frames.to_pandas(joined)["b.count"].dtype == pd.UInt64Dtype()
    with pytest.raises(BTRDBValueError, match=r"`b\.count`"):
        frames.to_numpy(joined)
    mean = frames.join(tables, streams, column="mean")
    assert mean.column_names == ["time", "a", "b", "none"]
    assert address(mean["a"]) == address(tables[0]["mean"])
    with pytest.raises(BTRDBValueError, match="no column `median`"):
        frames.join(tables, streams, column="median")


async def test_join_says_what_is_wrong(client: pt.AsyncClient, collection: str):
    streams = await filled(client, collection, {"a": [(T, 1.0)]})
    tables = await streams.raw_values(T, T + 1)
    with pytest.raises(BTRDBTypeError, match="give the set of streams"):
        frames.join(tables)
    with pytest.raises(BTRDBValueError, match="1 tables for 0 streams"):
        frames.join(tables, streams[:0])
    with pytest.raises(BTRDBValueError, match="`left`"):
        frames.join(tables, streams, how="left")  # type: ignore[arg-type]
    with pytest.raises(BTRDBValueError, match="give `grid`"):
        frames.join(tables, streams, tolerance=5)
    with pytest.raises(BTRDBValueError, match="must not be negative"):
        frames.join(tables, streams, grid=10, tolerance=-1)
    odd: Any
    for odd in ({"a": "b"}, None, [5], lambda _: None):
        with pytest.raises(BTRDBTypeError, match="`names`"):
            frames.join(tables, streams, names=odd)
    with pytest.raises(BTRDBTypeError, match="`streams` is a set of streams"):
        frames.split(raw([(1, 1.0)]), cast("Any", uuid4()))
    with pytest.raises(BTRDBValueError, match="among them `1`"):
        frames.join({1: raw([]), "1": raw([])})
    with pytest.raises(BTRDBValueError, match="several streams, among them `a`"):
        frames.join(tables * 2, [*streams, *streams])
    with pytest.raises(BTRDBValueError, match="2 names for 1 streams"):
        frames.join(tables, streams, names=["a", "b"])
    with pytest.raises(BTRDBValueError, match="`title`"):
        frames.join(tables, streams, names="title")
    with pytest.raises(BTRDBValueError, match="would have the name `time`"):
        frames.join({"time": raw([])})
    with pytest.raises(BTRDBValueError, match="different columns"):
        frames.join({"a": raw([]), "b": pa.table({"t": pa.array([0]), "w": [1.0]})})
    with pytest.raises(BTRDBValueError, match="has no stream"):
        frames.join({uuid4(): raw([])}, streams)
    with pytest.raises(BTRDBTypeError, match="`int`"):
        frames.join({"a": 5})  # type: ignore[dict-item]
    unknown: Any = [client.stream_from_uuid(uuid4())]
    if isinstance(unknown[0], pt.AsyncStream):
        with pytest.raises(InvalidOperation, match="refresh_metadata"):
            frames.join([raw([])], unknown)
    assert frames.join([raw([])], unknown, names="uuid").num_rows == 0


def test_join_of_nothing():
    assert frames.join({}).schema.names == ["time"]
    assert rows(frames.join({"a": None, "b": raw([])}, grid=30)) == []
    assert rows(frames.join({"a": None, "b": raw([(1, 1.0)])}, how="inner")) == []
    assert rows(frames.join({"a": None, "b": raw([(1, 1.0)])})) == [(1, None, 1.0)]


series = st.lists(
    st.tuples(st.integers(T, T + 8), st.integers(0, 1_000).map(float)), max_size=12
).map(lambda points: sorted(points, key=lambda point: point[0]))


def joined_by_hand(
    many: list[list[tuple[int, float]]], how: Literal["outer", "inner"]
) -> list[tuple[Any, ...]]:
    found: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for number, points in enumerate(many):
        seen: Counter[int] = Counter()
        for time, value in points:
            found[time, seen[time]][number] = value
            seen[time] += 1
    return [
        (time, *(values.get(number) for number in range(len(many))))
        for (time, _), values in sorted(found.items())
        if how == "outer" or len(values) == len(many)
    ]


@settings(deadline=None)
@given(st.lists(series, min_size=1, max_size=4), st.sampled_from(["outer", "inner"]))
def test_join_pairs_what_has_the_same_time(
    many: list[list[tuple[int, float]]], how: Literal["outer", "inner"]
):
    tables = {str(number): raw(points) for number, points in enumerate(many)}
    assert rows(frames.join(tables, how=how)) == joined_by_hand(many, how)


@settings(deadline=None)
@given(series)
def test_join_does_not_need_times_in_order(points: list[tuple[int, float]]):
    mixed = points[::-1]
    by_time = sorted(mixed, key=lambda point: point[0])
    assert rows(frames.join({"a": raw(mixed)})) == by_time


@settings(deadline=None)
@given(rates, instants, st.integers(-(10**6), 10**6))
def test_a_grid_is_exact(rate: Fraction, origin: int, number: int):
    grid = frames.Grid(rate, origin)
    exact = origin + Fraction(number) * 10**9 / rate
    (time,) = (int(t) for t in grid.times(number, number + 1))
    assert abs(time - exact) <= Fraction(1, 2)
    if MINIMUM_TIME <= time <= MAXIMUM_TIME and rate < 10**8:
        assert list(grid.nearest(np.array([time]))) == [number]


@settings(deadline=None)
@given(rates, instants)
def test_the_nearest_instant_is_nearest(rate: Fraction, time: int):
    grid = frames.Grid(rate)
    (number,) = (int(n) for n in grid.nearest(np.array([time])))
    period = 10**9 / rate
    assert abs(number * period - time) <= period / 2


def test_sixty_hertz_does_not_drift_in_sixty_years():
    grid = frames.Grid(60)
    years = 60 * 365 * 86_400
    number = years * 60
    assert list(grid.times(number, number + 2)) == [years * 10**9, years * 10**9 + 16_666_667]


@pytest.mark.parametrize("rate", [0, -1, 2 * 10**9, Fraction(10**9 + 7, 10**6 + 3), float("nan")])
def test_rates_that_make_no_grid(rate: Any):
    with pytest.raises(BTRDBValueError):
        frames.Grid(rate)


def test_a_grid_says_what_it_is():
    assert repr(frames.Grid(NTSC, 5)) == "Grid(Fraction(30000, 1001), origin=5)"
    assert list(frames.Grid(Decimal("29.97")).times(0, 2)) == [0, 33_366_700]
    with pytest.raises(BTRDBTypeError):
        frames.Grid("30")  # type: ignore[arg-type]


async def test_join_on_a_grid(client: pt.AsyncClient, collection: str):
    grid = frames.Grid(NTSC)
    numbers = [50 * 10**9 + k for k in (0, 1, 2, 3, 6)]
    exact = [int(grid.times(number, number + 1)[0]) for number in numbers]
    points = {
        "early": [(time - 900, float(k)) for k, time in enumerate(exact)],
        "late": [(time + 1_100, float(k)) for k, time in enumerate(exact[1:])],
    }
    streams = await filled(client, collection, points)
    tables = await streams.raw_values(exact[0] - 10**6, exact[-1] + 10**6)
    joined = frames.join(tables, streams, grid=NTSC)
    assert list(frames.to_numpy(joined)["time"].view(np.int64)) == list(
        grid.times(numbers[0], numbers[-1] + 1)
    )
    assert joined["early"].to_pylist() == [0.0, 1.0, 2.0, 3.0, None, None, 4.0]
    assert joined["late"].to_pylist() == [None, 0.0, 1.0, 2.0, None, None, 3.0]
    strict = frames.join(tables, streams, grid=grid, tolerance=1_000)
    assert strict["early"] == joined["early"]
    assert strict["late"].null_count == 7
    loose = timedelta(microseconds=2)
    inner = frames.join(tables, streams, grid=grid, tolerance=loose, how="inner")
    assert [row[0] for row in rows(inner)] == exact[1:]


def test_of_points_at_one_instant_the_nearest_stays():
    points = [(-300, 1.0), (-200, 2.0), (200, 3.0), (10**9 - 5, 4.0), (10**9 + 1, 5.0)]
    assert rows(frames.join({"a": raw(points)}, grid=1)) == [(0, 2.0), (10**9, 5.0)]


def test_a_grid_without_end_is_refused():
    table = raw([(0, 1.0), (10**18, 1.0)])
    with pytest.raises(BTRDBValueError, match="shorter range"):
        frames.join({"a": table}, grid=30)
    assert len(rows(frames.join({"a": table}, grid=30, how="inner"))) == 2


async def test_a_frame_goes_out_and_in(client: pt.AsyncClient, collection: str):
    points = {"a": [(T, 1.0), (T + 2, 3.0)], "b": [(T + 1, 5.0), (T + 2, 6.0)], "c": []}
    streams = await filled(client, collection, points)
    joined = frames.join(await streams.raw_values(T, T + 10), streams)
    frame = frames.to_pandas(joined)
    wides: list[Any] = [frame, frame.tz_convert("Asia/Tokyo"), frame.reset_index(), joined]
    for number, wide in enumerate([*wides, pl.DataFrame(joined)]):
        others = await filled(client, f"{collection}/{number}", {name: [] for name in points})
        await others.insert(frames.split(wide, others))
        back = await others.raw_values(T, T + 10)
        assert back[:2] == await streams[:2].raw_values(T, T + 10)
        assert back[2] is None


async def test_one_column_of_a_frame_goes_in(stream: pt.AsyncStream):
    frame = frames.to_pandas(raw([(T, 1.0), (T + 1, 2.0)]))
    await stream.insert(frame)
    assert (await stream.raw_values(T, T + 2)).equals(raw([(T, 1.0), (T + 1, 2.0)]))


async def test_split_says_what_is_wrong(client: pt.AsyncClient, collection: str):
    streams = await filled(client, collection, {"a": []})
    wide = pd.DataFrame({"b": [1.0]}, index=pd.DatetimeIndex(["2024-01-01"], tz="UTC"))
    with pytest.raises(
        BTRDBValueError, match="column `b` belongs to no stream; the streams are `a`"
    ):
        frames.split(wide, streams)
    with pytest.raises(BTRDBTypeError, match="neither"):
        frames.split(pd.DataFrame(), streams)
    with pytest.raises(BTRDBTypeError, match="`list` is not a frame"):
        frames.split([[1, 2]], streams)  # type: ignore[arg-type]
    with pytest.raises(BTRDBTypeError, match="no times"):
        frames.split(pd.DataFrame({"t": [0.5], "a": [1.0]}), streams)
    far = pd.DataFrame({"t": pd.Series([np.datetime64("3000-01-01", "s")]), "a": [1.0]})
    with pytest.raises(InvalidTimeRange):
        frames.split(far, streams)
