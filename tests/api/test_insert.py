"""Every form of points that is taken, the merge policies, and what is refused without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pytest
from pingthings.timeseries.constants import (
    INSERT_BATCH_SIZE,
    MAXIMUM_INSERT_TIME,
    MAXIMUM_TIME,
    MINIMUM_TIME,
)
from pingthings.timeseries.exceptions import (
    BadValue,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    InvalidUUIDError,
    StreamNotFoundError,
    StreamNotInSetError,
)
from pingthings.timeseries.points import RawPoint

T = 1500000000000000000
POINTS = [(T, 1.0), (T + 1_000, -2.5), (T + 2_000, 4.0)]
TIMES = [time for time, _ in POINTS]
VALUES = [value for _, value in POINTS]
NAN, INF = math.nan, math.inf
masked: Any = np.ma  # its stubs know no objects

Make = Callable[[], Any]


async def stored(stream: pt.AsyncStream) -> list[tuple[int, float]]:
    table = await stream.raw_values(MINIMUM_TIME, MAXIMUM_TIME)
    times: list[Any] = table["time"].cast(pa.int64()).to_pylist()
    values: list[Any] = table["value"].to_pylist()
    return list(zip(times, values, strict=True))


def arrow(
    times: Any = None, values: Any = None, time_type: Any = None, value_type: Any = None
) -> pa.Table:
    columns: list[Any] = [
        pa.array(TIMES if times is None else times, time_type),
        pa.array(VALUES if values is None else values, value_type),
    ]
    return pa.table(columns, names=["a", "b"])


def microseconds() -> list[int]:
    return [time // 1_000 for time in TIMES]


def stamps() -> pd.DatetimeIndex:
    return pd.to_datetime(TIMES)


def new_york() -> pd.DatetimeIndex:
    return stamps().tz_localize("UTC").tz_convert("America/New_York")


def batches(last: float = 4.0) -> pa.RecordBatchReader:
    values = [[1.0, -2.5], [last]]
    made = [batch(TIMES[:2], values[0]), batch(TIMES[2:], values[1])]
    return pa.RecordBatchReader.from_batches(made[0].schema, made)


def batch(times: Any, values: Any) -> pa.RecordBatch:
    columns: list[Any] = [pa.array(times), pa.array(values)]
    return pa.record_batch(columns, names=["a", "b"])


def arrow_types() -> pd.DataFrame:
    times = pd.Series(pd.to_datetime(TIMES))
    return pd.DataFrame({"a": times, "b": VALUES}).convert_dtypes(dtype_backend="pyarrow")


FORMS: dict[str, Make] = {
    "table": arrow,
    "table of timestamps": lambda: arrow(time_type=pa.timestamp("ns", "UTC")),
    "table of naive timestamps": lambda: arrow(time_type=pa.timestamp("ns")),
    "table of microseconds elsewhere": lambda: arrow(
        microseconds(), time_type=pa.timestamp("us", "Asia/Tokyo")
    ),
    "table of float32": lambda: arrow(value_type=pa.float32()),
    "table of decimals": lambda: arrow(
        values=pa.array(VALUES).cast(pa.decimal128(10, 2)),
    ),
    "table in chunks": lambda: pa.concat_tables([arrow().slice(0, 1), arrow().slice(1)]),
    "batch": lambda: batch(TIMES, VALUES),
    "reader": batches,
    "array of structs": lambda: pa.array([{"a": t, "b": v} for t, v in POINTS]),
    "polars": lambda: pl.DataFrame({"time": TIMES, "b": VALUES}),
    "table of values before integer times": lambda: pa.table({"b": VALUES, "time": TIMES}),
    "pandas zone with seconds": lambda: pd.Series(
        VALUES, index=stamps().tz_localize("UTC").tz_convert(timezone(timedelta(seconds=15)))
    ),
    "lists beside arrays": lambda: (
        [np.int64(T), pd.Timestamp(TIMES[1]), TIMES[2]],
        np.array(VALUES),
    ),
    "array of exact objects": lambda: (np.array(TIMES), [1, Decimal("-2.5"), Fraction(4)]),
    "polars in another order": lambda: pl.DataFrame({"b": VALUES, "Timestamp": TIMES}),
    "polars decimals": lambda: pl.DataFrame({"time": TIMES, "b": list(map(Decimal, VALUES))}),
    "table in another order": lambda: arrow(
        VALUES, TIMES, value_type=pa.timestamp("ns", "Asia/Tokyo")
    ),
    "polars datetimes": lambda: pl.DataFrame({"a": TIMES, "b": VALUES}).with_columns(
        pl.col("a").cast(pl.Datetime("ns", "UTC"))
    ),
    "pandas series": lambda: pd.Series(VALUES, index=stamps()),
    "pandas series with a zone": lambda: pd.Series(VALUES, index=new_york()),
    "pandas series of microseconds": lambda: pd.Series(VALUES, index=stamps().as_unit("us")),
    "pandas series of microseconds with a zone": lambda: pd.Series(
        VALUES, index=new_york().as_unit("us")
    ),
    "pandas series of integer times": lambda: pd.Series(VALUES, index=pd.Index(TIMES, name="time")),
    "pandas series of datetimes": lambda: pd.Series(
        VALUES, index=pd.Index([pd.Timestamp(time, tz="UTC") for time in TIMES], dtype=object)
    ),
    "pandas series of nullable numbers": lambda: pd.Series(
        pd.array(VALUES, dtype="Float64"), index=stamps()
    ),
    "pandas series of decimals": lambda: pd.Series(list(map(Decimal, VALUES)), index=stamps()),
    "pandas frame of named integers": lambda: pd.DataFrame({"b": VALUES, "TIME": TIMES}),
    "pandas index and array": lambda: (new_york(), np.array(VALUES)),
    "pandas columns": lambda: (pd.Series(new_york()), pd.Series(VALUES)),
    "polars columns": lambda: (pl.Series(stamps()), pl.Series(VALUES)),
    "pandas frame with index": lambda: pd.DataFrame({"b": VALUES}, index=stamps()),
    "pandas frame of two columns": lambda: pd.DataFrame({"a": stamps(), "b": VALUES}),
    "pandas frame with a zone": lambda: pd.DataFrame({"a": new_york(), "b": VALUES}),
    "pandas frame of Arrow types": arrow_types,
    "numpy": lambda: (np.array(TIMES), np.array(VALUES)),
    "numpy datetime64": lambda: (np.array(TIMES, "M8[ns]"), np.array(VALUES)),
    "numpy microseconds": lambda: (np.array(microseconds(), "M8[us]"), np.array(VALUES)),
    "numpy unsigned": lambda: (np.array(TIMES, np.uint64), np.array(VALUES, np.float32)),
    "numpy of other machines": lambda: (np.array(TIMES, ">i8"), np.array(VALUES, ">f8")),
    "numpy with strides": lambda: (
        np.repeat(np.array(TIMES), 2)[::2],
        np.repeat(np.array(VALUES), 2)[::2],
    ),
    "numpy and a list": lambda: (np.array(TIMES), VALUES),
    "mapping": lambda: dict(POINTS),
    "mapping from texts": lambda: {
        "2017-07-14T02:40:00Z": 1.0,
        "2017-07-14T02:40:00.000001Z": -2.5,
        "2017-07-14 04:40:00.000002+02:00": 4,
    },
    "mapping from many kinds": lambda: {
        datetime(2017, 7, 14, 2, 40, tzinfo=UTC): 1,
        np.datetime64(TIMES[1], "ns"): np.float32(-2.5),
        pd.Timestamp(TIMES[2]): 4.0,
    },
    "pairs": lambda: POINTS,
    "pairs of decimals": lambda: [(time, Decimal(value)) for time, value in POINTS],
    "pairs of fractions": lambda: [(time, Fraction(value)) for time, value in POINTS],
    "pairs out of order": lambda: [POINTS[2], POINTS[0], POINTS[1]],
    "pairs as lists": lambda: [list(point) for point in POINTS],
    "generator": lambda: (point for point in POINTS),
    "raw points": lambda: [RawPoint(*point) for point in POINTS],
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_is_stored_alike(stream: pt.AsyncStream, form: str):
    version = await stream.insert(FORMS[form]())
    assert version == await stream.get_latest_version()
    assert await stored(stream) == POINTS


@pytest.mark.parametrize(
    "empty",
    [
        list,
        dict,
        lambda: (np.array([], np.int64), np.array([])),
        lambda: arrow([], [], pa.int64(), pa.float64()),
        lambda: pl.DataFrame({"a": [], "b": []}),
        lambda: pd.Series([], dtype=float, index=pd.DatetimeIndex([])),
    ],
)
async def test_nothing_is_a_good_insert(stream: pt.AsyncStream, empty: Make):
    assert await stream.insert(empty()) == await stream.get_latest_version()
    assert await stream.count() == 0


REFUSED: dict[str, tuple[Make, type[Exception], str]] = {
    "NaN": (lambda: [(T, 1.0), (T + 1, NAN)], BadValue, "row 1 holds NaN"),
    "infinity": (lambda: [(T, -INF)], BadValue, "row 0 holds -inf"),
    "None": (lambda: [(T, 1.0), (T + 1, None)], BadValue, "row 1 holds a null"),
    "text value": (lambda: {T: "1.5"}, BadValue, "is not a number"),
    "whole decimal too large": (
        lambda: {T: Decimal(2**53 + 1)},
        BadValue,
        "row 0: the integer 9007199254740993",
    ),
    "signalling NaN": (lambda: {T: Decimal("sNaN")}, BadValue, "row 0: the value is not a number"),
    "duration as value": (lambda: {T: np.timedelta64(1, "s")}, BadValue, "row 0"),
    "duration as time": (lambda: {np.timedelta64(1, "s"): 1.0}, BTRDBTypeError, "is not a time"),
    "two lists": (lambda: ([T, T + 1], [1.0, 2.0]), BTRDBTypeError, "two columns or two points"),
    "truth value": (lambda: [(T, 1.0), (T + 1, True)], BadValue, "row 1: a value is `True`"),
    "truth value of numpy": (lambda: {T: np.True_}, BadValue, "cast it if 0 and 1 are meant"),
    "complex value": (lambda: {T: 1j}, BadValue, "is not a number"),
    "integer too large": (lambda: {T: 10**400}, BadValue, "is not a number"),
    "no time": (lambda: [(None, 1.0)], BTRDBTypeError, "row 0 has no time"),
    "bool time": (lambda: [(True, 1.0)], BTRDBTypeError, "bool"),
    "time between nanoseconds": (lambda: [(1.5, 1.0)], BTRDBValueError, "1.5"),
    "text no time": (lambda: [("noon", 1.0)], BTRDBValueError, "`noon` is not understood"),
    "time too large for 64 bits": (lambda: [(1 << 63, 1.0)], InvalidTimeRange, "64-bit"),
    "time too early": (
        lambda: [(T, 1.0), (MINIMUM_TIME - 1, 1.0)],
        InvalidTimeRange,
        "row 1: time -1152921504606846977",
    ),
    "time too late": (lambda: [(MAXIMUM_TIME, 1.0)], InvalidTimeRange, str(MAXIMUM_TIME)),
    "triples": (lambda: [(T, 1.0, 2.0)], BTRDBTypeError, "row 0 is"),
    "numbers": (lambda: [T, 1.0], BTRDBTypeError, f"row 0 is `{T}`"),
    "text": (lambda: "points", BTRDBTypeError, "cannot insert a `str`"),
    "bytes": (lambda: b"points", BTRDBTypeError, "cannot insert a `bytes`"),
    "nothing at all": (lambda: None, BTRDBTypeError, "cannot insert a `NoneType`"),
    "number": (lambda: 5, BTRDBTypeError, "cannot insert a `int`"),
    "one array": (lambda: np.array(VALUES), BTRDBTypeError, "cannot insert a `ndarray`"),
    "array of Arrow": (lambda: pa.array(VALUES), BTRDBTypeError, "cannot insert a `DoubleArray`"),
    "chunked array": (
        lambda: pa.chunked_array([VALUES]),
        BTRDBTypeError,
        "cannot insert a `ChunkedArray`",
    ),
    "polars series": (lambda: pl.Series(VALUES), BTRDBTypeError, "cannot insert a `Series`"),
    "lazy frame": (
        lambda: pl.DataFrame({"a": TIMES, "b": VALUES}).lazy(),
        BTRDBTypeError,
        "cannot insert a `LazyFrame`",
    ),
    "Arrow NaN": (lambda: arrow(values=[1.0, NAN, 2.0]), BadValue, "row 1 holds NaN"),
    "Arrow null": (lambda: arrow(values=[1.0, None, 2.0]), BadValue, "row 1 holds a null"),
    "Arrow null time": (
        lambda: arrow([T, T, None]),
        InvalidTimeRange,
        "row 2: the column `a` has no time there",
    ),
    "NaN in the last batch": (lambda: batches(NAN), BadValue, "NaN"),
    "Arrow columns exchanged": (lambda: arrow(VALUES, TIMES), BTRDBTypeError, "times of type"),
    "Arrow text": (lambda: arrow(values=list("abc")), BTRDBTypeError, "values of type `string`"),
    "Arrow bool": (lambda: arrow(values=[True] * 3), BTRDBTypeError, "values of type `bool`"),
    "Arrow dates": (lambda: arrow([1, 2, 3], time_type=pa.date32()), BTRDBTypeError, "times of"),
    "one column": (lambda: arrow().select(["a"]), BTRDBTypeError, "points of 1 columns"),
    "three columns": (
        lambda: arrow().append_column("c", pa.array(VALUES)),
        BTRDBTypeError,
        "points of 3 columns",
    ),
    "Arrow seconds beyond nanoseconds": (
        lambda: arrow([1, 2, 1 << 60], time_type=pa.timestamp("s")),
        InvalidTimeRange,
        "does not fit in nanoseconds",
    ),
    "numpy lengths": (lambda: (np.array(TIMES), np.array([1.0])), BTRDBTypeError, "of shape"),
    "numpy matrix": (lambda: (np.array([TIMES]), np.array([VALUES])), BTRDBTypeError, "of shape"),
    "numpy float times": (
        lambda: (np.array(TIMES, float), np.array(VALUES)),
        BTRDBTypeError,
        "times of type `float64`",
    ),
    "numpy complex": (
        lambda: (np.array(TIMES), np.array(VALUES, complex)),
        BTRDBTypeError,
        "values of type `complex128`",
    ),
    "numpy NaT": (lambda: (np.array(["NaT"], "M8[ns]"), np.ones(1)), InvalidTimeRange, "NaT"),
    "numpy far future": (
        # 584 years late: in 64 bits of nanoseconds this wraps to 2015.
        lambda: (np.array(["2600-01-01"], "M8[us]"), np.ones(1)),
        InvalidTimeRange,
        "is outside the range of nanoseconds",
    ),
    "numpy picoseconds": (lambda: (np.array([1], "M8[ps]"), np.ones(1)), InvalidTimeRange, "time"),
    "numpy masked": (
        lambda: (np.array(TIMES), np.ma.array(VALUES, mask=[False, True, False])),
        BadValue,
        "row 1 holds a null",
    ),
    "pandas NaN": (lambda: pd.Series([1.0, NAN, 2.0], index=stamps()), BadValue, "row 1"),
    "pandas NaT": (
        lambda: pd.Series([1.0, 2.0], index=pd.DatetimeIndex(np.array([T, "NaT"], "M8[ns]"))),
        InvalidTimeRange,
        "NaT",
    ),
    "pandas NA": (
        lambda: pd.Series(pd.array([1, None, 3], dtype="Int64"), index=stamps()),
        BadValue,
        "row 1",
    ),
    "pandas far future": (
        lambda: pd.Series([1.0], index=pd.DatetimeIndex(np.array(["2600-01-01"], "M8[us]"))),
        InvalidTimeRange,
        "is outside the range of nanoseconds",
    ),
    "pandas far future with a zone": (
        lambda: pd.Series(
            [1.0], index=pd.DatetimeIndex(np.array(["2600-01-01"], "M8[s]")).tz_localize("UTC")
        ),
        InvalidTimeRange,
        "is outside the range of nanoseconds",
    ),
    "pandas text": (lambda: pd.Series(list("abc"), index=stamps()), BTRDBTypeError, "values of"),
    "pandas numbers": (
        lambda: pd.Series(VALUES, index=TIMES),
        BTRDBTypeError,
        "has no times: neither",
    ),
    "pandas seconds": (
        lambda: pd.DataFrame({"time": [1_700_000_000], "b": [1.0]}),
        BTRDBTypeError,
        "times such as 1700000000 in the column `time`",
    ),
    "pandas index and two columns": (
        lambda: pd.DataFrame({"a": VALUES, "b": VALUES}, index=stamps()),
        BTRDBTypeError,
        "a frame of 2 columns beside its times",
    ),
    "truth value in a list": (
        lambda: (np.array(TIMES), [1.0, True, 2.0]),
        BadValue,
        "row 1: a value is `True`",
    ),
    "large integer in a list of floats": (
        lambda: (np.array(TIMES), [1.5, 2.0, 2**53 + 1]),
        BadValue,
        "row 2: the integer 9007199254740993",
    ),
    "float in a list of times": (
        lambda: ([T, float(T), T], np.array(VALUES)),
        BTRDBTypeError,
        "times of type `float`",
    ),
    "integer times beyond 64 bits in a list": (
        lambda: ([-1, 1 << 63, T], np.array(VALUES)),
        InvalidTimeRange,
        "row 1: time",
    ),
    "column of lists": (lambda: (np.array(TIMES), [1, [2], 3]), BadValue, "row 1: `[2]`"),
    "numpy text": (
        lambda: (np.array(TIMES), np.array(list("abc"), dtype=np.dtypes.StringDType())),
        BTRDBTypeError,
        "values of type `StringDType",
    ),
    "bytes as a row": (
        lambda: [*POINTS, b"ab"],
        BTRDBTypeError,
        "row 3 is `b'ab'`",
    ),
    "array as a later row": (
        lambda: [*POINTS, np.array([1, 2])],
        BTRDBTypeError,
        "row 3 is a `ndarray`, so a column",
    ),
    "keys as a row": (lambda: [{1: 2, 3: 4}.keys()], BTRDBTypeError, "row 0 is"),
    "masked objects": (
        lambda: (np.array(TIMES), masked.array([2**64, 1, 2], dtype=object, mask=[0, 1, 0])),
        BadValue,
        "row 1 holds a null",
    ),
    "masked times of objects": (
        lambda: (masked.array(TIMES, dtype=object, mask=[0, 1, 0]), np.array(VALUES)),
        BTRDBTypeError,
        "row 1 has no time",
    ),
    "Arrow values before seconds": (
        lambda: pa.table({"b": [1, 2, 3], "time": [1.7e9, 1.8e9, 1.9e9]}),
        BTRDBTypeError,
        "no column of the `Table` has times",
    ),
    "set as a row": (lambda: [{T, 1.0}], BTRDBTypeError, "row 0 is"),
    "mapping as a row": (lambda: [{"time": T, "value": 1.0}], BTRDBTypeError, "row 0 is"),
    "series of other rows": (
        lambda: (pd.Series(TIMES), pd.Series(VALUES, index=[2, 1, 0])),
        BTRDBTypeError,
        "have different indexes",
    ),
    "frame as a column": (
        lambda: (stamps(), pd.DataFrame({"b": VALUES})),
        BTRDBTypeError,
        "a `DataFrame` is no column",
    ),
    "class of frames": (lambda: pd.DataFrame, BTRDBTypeError, "cannot insert a `type`"),
    "unsigned times": (
        lambda: arrow([T, (1 << 63) + 1, T], time_type=pa.uint64()),
        InvalidTimeRange,
        "row 1: the time 9223372036854775809 is outside",
    ),
    "polars objects": (
        lambda: (pl.Series(TIMES), pl.Series([Fraction(1)] * 3, dtype=pl.Object)),
        BTRDBTypeError,
        "the type `Object`, which Arrow lacks",
    ),
    "polars Int128 columns": (
        lambda: (pl.Series(TIMES), pl.Series([1, 2, 3], dtype=pl.Int128)),
        BTRDBTypeError,
        "the type `Int128`, which Arrow lacks",
    ),
    "level of an index": (
        lambda: pd.Series(VALUES, index=pd.MultiIndex.from_arrays([stamps(), list("abc")])),
        BTRDBTypeError,
        "has 2 levels",
    ),
    "Arrow times of the name and none before": (
        lambda: pa.table({"status": [1, 2, 3], "time": [5, 6, 7]}),
        BTRDBTypeError,
        "times such as 5 in the column `time`",
    ),
    "pandas bool": (
        lambda: pd.Series([True] * 3, index=stamps(), name="b"),
        BTRDBTypeError,
        "values of type `bool` in column `b`",
    ),
    "polars numbers": (
        lambda: pl.DataFrame({"a": TIMES, "b": VALUES}),
        BTRDBTypeError,
        "no column of the `DataFrame` has times: column `a` (int64)",
    ),
    "polars Int128": (
        lambda: pl.DataFrame({"time": TIMES, "b": [1, 2, 3]}).cast({"b": pl.Int128}),
        BTRDBTypeError,
        "column `b` of the `DataFrame` has the type `Int128`",
    ),
    "Arrow decimal too large": (
        lambda: arrow(values=[Decimal(2**53 + 1), Decimal(0), Decimal(0)]),
        BadValue,
        "the whole number 9007199254740993",
    ),
    "pandas names": (
        lambda: pd.Series(VALUES, index=list("abc")),
        BTRDBTypeError,
        "has no times: neither",
    ),
    "pandas wide frame": (
        lambda: pd.DataFrame({"a": TIMES, "b": VALUES, "c": VALUES}),
        BTRDBTypeError,
        "a frame of 3 columns",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_points_are_refused_and_none_is_stored(stream: pt.AsyncStream, case: str):
    make, error, message = REFUSED[case]
    with pytest.raises(error) as raised:
        await stream.insert(make())
    assert message in str(raised.value)
    assert await stream.count() == 0


async def test_an_argument_says_which_numbers_are_times(stream: pt.AsyncStream):
    frames: list[tuple[str, Any]] = [
        ("at", pd.DataFrame({"b": [1.0], "at": [5]})),
        ("time", pd.DataFrame({"b": [2.0], "time": [6]})),
        ("at", pd.Series([3.0], index=pd.Index([7], name="at"))),
        ("at", pl.DataFrame({"b": [4.0], "at": [8]})),
        ("at", pa.table({"b": [5.0], "at": [9]})),
    ]
    for name, frame in frames:
        await stream.insert(frame, time=name)
    assert await stored(stream) == [(5, 1.0), (6, 2.0), (7, 3.0), (8, 4.0), (9, 5.0)]
    for name in ("b", "absent", ""):
        with pytest.raises(BTRDBTypeError, match=f"`{name}`"):
            await stream.insert(frames[0][1], time=name)
    with pytest.raises(BTRDBTypeError, match="`time` names a column"):
        await stream.insert(POINTS, time="at")


async def test_error_of_the_source_comes_through(stream: pt.AsyncStream):
    class SourceError(Exception):
        pass

    def failing() -> Iterator[tuple[int, float]]:
        yield POINTS[0]
        raise SourceError

    with pytest.raises(SourceError):
        await stream.insert(failing())
    assert await stream.count() == 0


async def test_first_and_last_instant_are_stored(stream: pt.AsyncStream):
    points = [(MINIMUM_TIME, 1.0), (MAXIMUM_INSERT_TIME, 2.0)]
    await stream.insert(points)
    assert await stored(stream) == points


async def test_special_values_keep_their_bits(stream: pt.AsyncStream):
    values = [-0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1]
    await stream.insert(list(enumerate(values)))
    assert [repr(value) for _, value in await stored(stream)] == list(map(repr, values))


async def test_large_insert_goes_in_parts(stream: pt.AsyncStream):
    number = 3 * INSERT_BATCH_SIZE + 1
    await stream.insert((T + np.arange(number), np.arange(number, dtype=float)))
    table = await stream.raw_values(T, T + number)
    assert np.array_equal(table["value"].to_numpy(), np.arange(number))
    assert await stream.count() == number


async def test_bad_point_in_the_last_part_refuses_all(stream: pt.AsyncStream):
    values = np.ones(2 * INSERT_BATCH_SIZE)
    values[-1] = NAN
    with pytest.raises(BadValue, match=f"row {len(values) - 1} holds NaN"):
        await stream.insert((T + np.arange(len(values)), values))
    assert await stream.count() == 0


async def test_thousand_points_at_one_instant_are_kept_in_order(stream: pt.AsyncStream):
    points = [(T, float(value)) for value in range(1000)]
    await stream.insert(points)
    await stream.insert([(T, 1000.0)])
    assert await stored(stream) == [*points, (T, 1000.0)]
    await stream.flush()
    assert await stored(stream) == [*points, (T, 1000.0)]


OLD = [(10, 1.0), (20, 2.0), (20, 3.0)]
NEW = [(10, 1.0), (20, 9.0), (30, 4.0), (30, 5.0), (30, 4.0)]
MERGED = {
    "never": sorted([*OLD, *NEW], key=lambda point: point[0]),
    "equal": [(10, 1.0), (20, 2.0), (20, 3.0), (20, 9.0), (30, 4.0), (30, 5.0)],
    "retain": [(10, 1.0), (20, 2.0), (20, 3.0), (30, 4.0)],
    "replace": [(10, 1.0), (20, 9.0), (30, 4.0)],
}


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("merge", MERGED)
async def test_merge_policies(stream: pt.AsyncStream, merge: str, flushed: bool):
    await stream.insert(OLD)
    if flushed:
        await stream.flush()
    await stream.insert(NEW, merge)
    assert await stored(stream) == MERGED[merge]
    await stream.flush()
    assert await stored(stream) == MERGED[merge]
    assert await stream.count() == len(MERGED[merge])


@pytest.mark.parametrize(("merge", "kept"), [("never", 5), ("equal", 5), ("retain", 4)])
async def test_merge_within_one_insert(stream: pt.AsyncStream, merge: str, kept: int):
    times = (100, 105, 110, 110, 120)
    await stream.insert([(time, float(row)) for row, time in enumerate(times)], merge=merge)
    assert await stream.count() == kept


@pytest.mark.parametrize("merge", ["", "NEVER", "sum", "\ud800"])
async def test_unknown_merge_policy_is_refused(stream: pt.AsyncStream, merge: str):
    with pytest.raises(BTRDBValueError, match="merge"):
        await stream.insert(POINTS, merge)
    assert await stream.count() == 0


@pytest.mark.parametrize("merge", [None, 1, b"never"])
async def test_merge_policy_of_wrong_type_is_refused(stream: pt.AsyncStream, merge: Any):
    with pytest.raises(BTRDBTypeError, match="`merge` is text"):
        await stream.insert(POINTS, merge)
    assert await stream.count() == 0


@pytest.mark.parametrize("points", [POINTS, []])
async def test_unknown_stream_is_named(unknown: pt.AsyncStream, points: Any):
    with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)):
        await unknown.insert(points)


@pytest.fixture
async def pair(client: pt.AsyncClient, collection: str) -> pt.AsyncStreamSet:
    ids = [(await client.create(uuid4(), collection, {"name": name})).uuid for name in "ab"]
    return await client.streamset_from_uuids(ids)


async def test_set_inserts_by_uuid_and_text(pair: pt.AsyncStreamSet):
    first, second = (stream.uuid for stream in pair)
    data: dict[UUID | str, Any] = {second: POINTS, str(first): {T: 5.0}}
    versions = await pair.insert(data)
    assert versions == await pair.get_latest_version()
    assert list(versions) == [second, first]
    assert await pair.count() == {first: 1, second: 3}


async def test_set_inserts_everything_or_nothing(pair: pt.AsyncStreamSet):
    first, second = (stream.uuid for stream in pair)
    with pytest.raises(BadValue, match=str(second)):
        await pair.insert({first: POINTS, second: [(T, NAN)]})
    with pytest.raises(StreamNotInSetError):
        await pair.insert({first: POINTS, uuid4(): POINTS})
    with pytest.raises(BTRDBTypeError):
        await pair.insert({first: POINTS, second: "points"})  # type: ignore[dict-item]
    assert set((await pair.count()).values()) == {0}


async def test_set_takes_nothing(pair: pt.AsyncStreamSet):
    assert await pair.insert({}) == {}


async def test_set_refuses_a_stream_named_twice(pair: pt.AsyncStreamSet):
    uuid = pair[0].uuid
    data: dict[UUID | str, Any] = {uuid: POINTS, str(uuid): [(T + 5, 1.0)]}
    with pytest.raises(BTRDBValueError, match="twice"):
        await pair.insert(data)
    assert await pair[0].count() == 0


async def test_set_refuses_what_is_no_mapping(pair: pt.AsyncStreamSet):
    data: Any = [(pair[0].uuid, POINTS)]
    with pytest.raises(BTRDBTypeError, match="`data_map` must map uuids"):
        await pair.insert(data)
    with pytest.raises(InvalidUUIDError, match="`x` is not a uuid"):
        await pair.insert({"x": POINTS})
    with pytest.raises(BTRDBTypeError, match="`merge` is text"):
        await pair.insert({}, merge=5)  # type: ignore[arg-type]


async def test_set_merges(pair: pt.AsyncStreamSet):
    await pair.insert({stream.uuid: OLD for stream in pair})
    await pair.insert({stream.uuid: NEW for stream in pair}, "replace")
    assert [await stored(stream) for stream in pair] == [MERGED["replace"]] * 2
