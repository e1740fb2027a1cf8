"""Columns of every library and type, at random: each point as it was meant, or refused in words.

What a column was made of is known here as exact fractions. What comes out has to be the float64
nearest to each, at the nanosecond it was at, or an error of the package that says where.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.server import Server
from pingthings.timeseries import insert_data
from pingthings.timeseries.exceptions import BTrDBError
from pingthings.timeseries.wide_frame import points_of

arrow: Any = pa  # its stubs know no type of every array
arrays: Any = pd
to_arrow: Any = insert_data.to_arrow  # what it does not take is given, too
T = 1_704_067_200_123_456_789
Cells = list[Fraction | None]
Points = list[tuple[int, Fraction]]


@dataclass(frozen=True)
class Kind:
    """A type of column: how it is made of whole numbers of eighths, and whether it is good."""

    make: Callable[[Cells], Any]
    is_good: bool = True
    has_nulls: bool = True


def floats(cells: Cells) -> list[float]:
    return [math.nan if cell is None else float(cell) for cell in cells]


def some(cells: Cells) -> list[float | None]:
    return [None if cell is None else float(cell) for cell in cells]


def whole(cells: Cells) -> list[int | None]:
    return [None if cell is None else int(cell) for cell in cells]


def decimals(cells: Cells) -> list[Decimal | None]:
    return [None if cell is None else Decimal(float(cell)) for cell in cells]


def mixed(cells: Cells) -> list[Any]:
    """Each cell in another of Python's and numpy's kinds of numbers."""
    kinds: list[Callable[[Fraction], Any]] = [
        *(float, Fraction, np.float64, np.float32),
        lambda cell: Decimal(float(cell)),
        lambda cell: int(cell) if cell.denominator == 1 else float(cell),
        lambda cell: np.int16(int(cell)) if cell.denominator == 1 else np.longdouble(float(cell)),
    ]
    return [None if cell is None else kinds[k % 7](cell) for k, cell in enumerate(cells)]


def objects(values: list[Any]) -> Any:
    held = np.empty(len(values), object)
    held[:] = values
    return held


def typed(kind: Any, values: Callable[[Cells], list[Any]] = some) -> Callable[[Cells], Any]:
    return lambda cells: arrow.array(values(cells), kind)


def texts(cells: Cells) -> list[str]:
    return [str(cell) for cell in cells]


def bad(make: Callable[[Cells], Any]) -> Kind:
    return Kind(make, is_good=False)


ARROW: dict[str, Kind] = {
    "float64": Kind(typed(arrow.float64())),
    "float32": Kind(typed(arrow.float32())),
    "float16": Kind(lambda cells: arrow.array(np.array(floats(cells), "f2")), has_nulls=False),
    "decimal32": Kind(typed(arrow.decimal32(7, 3), decimals)),
    "decimal128": Kind(typed(arrow.decimal128(20, 3), decimals)),
    "decimal256": Kind(typed(arrow.decimal256(60, 3), decimals)),
    "bool": bad(lambda cells: arrow.array([bool(cell) for cell in cells])),
    "text": bad(lambda cells: arrow.array(texts(cells))),
    "text view": bad(lambda cells: arrow.array(texts(cells), arrow.string_view())),
    "dictionary": bad(lambda cells: arrow.array(some(cells)).dictionary_encode()),
    "list": bad(lambda cells: arrow.array([[cell] for cell in some(cells)])),
    "struct": bad(lambda cells: arrow.array([{"a": cell} for cell in some(cells)])),
    "map": bad(
        lambda cells: arrow.array([[("a", 1.0)] for _ in cells], arrow.map_(arrow.string(), "f8"))
    ),
    "duration": bad(typed(arrow.duration("s"), whole)),
    "date": bad(typed(arrow.date32(), whole)),
    "extension": bad(
        lambda cells: arrow.ExtensionArray.from_storage(
            arrow.opaque(arrow.float64(), "a", "b"), arrow.array(some(cells), arrow.float64())
        )
    ),
}
PANDAS: dict[str, Kind] = {
    "float64": Kind(lambda cells: np.array(floats(cells))),
    "float32": Kind(lambda cells: np.array(floats(cells), "f4")),
    "float16": Kind(lambda cells: np.array(floats(cells), "f2")),
    "big-endian": Kind(lambda cells: np.array(floats(cells), ">f8")),
    "Float32": Kind(lambda cells: arrays.array(some(cells), dtype="Float32")),
    "pyarrow": Kind(lambda cells: arrays.array(some(cells), dtype="double[pyarrow]")),
    "pyarrow decimals": Kind(
        lambda cells: arrays.array(
            decimals(cells), dtype=arrays.ArrowDtype(arrow.decimal128(20, 3))
        )
    ),
    "objects": Kind(lambda cells: objects(mixed(cells))),
    "objects with NaN": Kind(lambda cells: objects(floats(cells))),
    "objects with NA": Kind(
        lambda cells: objects([pd.NA if cell is None else cell for cell in mixed(cells)])
    ),
    "sparse": Kind(lambda cells: arrays.arrays.SparseArray(np.array(floats(cells)))),
    "long double": bad(lambda cells: np.array(floats(cells), np.longdouble)),
    "bool": bad(lambda cells: np.array([bool(cell) for cell in cells])),
    "truth among objects": bad(lambda cells: objects([True, *mixed(cells)[1:]])),
    "text among objects": bad(lambda cells: objects(["x", *mixed(cells)[1:]])),
    "lists": bad(lambda cells: objects([[cell] for cell in cells])),
    "boolean": bad(
        lambda cells: arrays.array(
            [None if cell is None else bool(cell) for cell in cells], dtype="boolean"
        )
    ),
    "text": bad(lambda cells: arrays.array(texts(cells), dtype="str")),
    "categories": bad(lambda cells: arrays.Categorical(some(cells))),
    "complex": bad(lambda cells: np.array(floats(cells), complex)),
    "intervals": bad(lambda cells: arrays.arrays.IntervalArray.from_breaks(range(len(cells) + 1))),
    "periods": bad(lambda cells: pd.period_range("2024", periods=len(cells))),
    "durations": bad(lambda cells: np.array(range(len(cells)), "m8[s]")),
    "bytes": bad(lambda cells: np.array(texts(cells), "S")),
    "pyarrow structs": bad(
        lambda cells: arrays.array(
            [{"a": cell} for cell in some(cells)],
            dtype=arrays.ArrowDtype(arrow.struct([("a", arrow.float64())])),
        )
    ),
}


def stamps(unit: str, zone: str | None = None) -> Callable[[list[int]], Any]:
    return lambda times: arrow.array(times, arrow.timestamp("ns")).cast(
        arrow.timestamp(unit, zone), safe=False
    )


@dataclass(frozen=True)
class Clock:
    """How times are held: how they are made of nanoseconds, what a step is, whether it is good."""

    make: Callable[[list[int]], Any]
    step: int = 1
    is_good: bool = True


ARROW_TIMES: dict[str, Clock] = {
    "ns": Clock(stamps("ns")),
    "us in Tokyo": Clock(stamps("us", "Asia/Tokyo"), 1_000),
    "s": Clock(stamps("s", "UTC"), 10**9),
    "whole": Clock(lambda times: arrow.array(times, arrow.int64())),
    "unsigned": Clock(lambda times: arrow.array(times, arrow.uint64())),
    "seconds": Clock(lambda times: arrow.array([t // 10**9 for t in times], "i4"), is_good=False),
    "floats": Clock(lambda times: arrow.array([float(t) for t in times]), is_good=False),
    "text": Clock(lambda times: arrow.array([str(t) for t in times]), is_good=False),
    "missing": Clock(lambda times: arrow.array([*times[1:], None], "i8"), is_good=False),
    "dictionary": Clock(lambda times: arrow.array(times).dictionary_encode(), is_good=False),
    "durations": Clock(lambda times: arrow.array(times, arrow.duration("ns")), is_good=False),
    "dates": Clock(
        lambda times: arrow.array([t // (86_400 * 10**9) for t in times], "i4").cast("date32"),
        is_good=False,
    ),
}
PANDAS_TIMES: dict[str, Clock] = {
    "ns": Clock(lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]"))),
    "us": Clock(lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]").astype("M8[us]")), 1_000),
    "zone": Clock(
        lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]"), tz="UTC").tz_convert(
            "America/St_Johns"
        )
    ),
    "objects": Clock(lambda times: pd.Index([pd.Timestamp(t) for t in times], dtype=object)),
    "of several offsets": Clock(
        lambda times: pd.Index(
            [pd.Timestamp(t, tz=timezone(timedelta(hours=k % 3))) for k, t in enumerate(times)],
            dtype=object,
        )
    ),
    "datetimes": Clock(
        lambda times: pd.Index(
            [datetime.fromtimestamp(t // 10**9, UTC) for t in times], dtype=object
        ),
        10**9,
    ),
    "one level": Clock(lambda times: pd.MultiIndex.from_arrays([np.array(times, "M8[ns]")])),
    "named": Clock(lambda times: pd.Index(times, name="time_ns")),
    "numbers": Clock(pd.Index, is_good=False),
    "range": Clock(lambda times: pd.RangeIndex(len(times)), is_good=False),
    "named range": Clock(lambda times: pd.RangeIndex(len(times), name="time"), is_good=False),
    "periods": Clock(lambda times: pd.period_range("2024", periods=len(times)), is_good=False),
    "durations": Clock(pd.to_timedelta, is_good=False),
    "text": Clock(lambda times: pd.Index([str(t) for t in times], name="time"), is_good=False),
    "levels": Clock(
        lambda times: pd.MultiIndex.from_arrays([np.array(times, "M8[ns]"), times]), is_good=False
    ),
    "categories": Clock(
        lambda times: pd.CategoricalIndex(np.array(times, "M8[ns]")), is_good=False
    ),
    "missing": Clock(
        lambda times: pd.DatetimeIndex([*np.array(times[1:], "M8[ns]"), pd.NaT]), is_good=False
    ),
    "truth": Clock(lambda times: pd.Index([True] * len(times), name="time"), is_good=False),
}

CELL = st.none() | st.integers(-8_000, 8_000).map(lambda eighths: Fraction(eighths, 8))
# Half floats hold eleven bits.
SMALL = st.integers(-1_000, 1_000).map(lambda eighths: Fraction(eighths, 8))


@st.composite
def columns(draw: st.DrawFn, kinds: dict[str, Kind]) -> tuple[str, Cells]:
    name = draw(st.sampled_from([*kinds, *(k for k, kind in kinds.items() if kind.is_good)]))
    cells = SMALL if "16" in name else CELL
    if not kinds[name].has_nulls:
        cells = cells.filter(lambda cell: cell is not None)
    return name, draw(st.lists(cells, min_size=3, max_size=6))


def outcome(call: Callable[[], Any]) -> tuple[Any, BTrDBError | None]:
    try:
        return call(), None
    except BTrDBError as error:
        return None, error


def exact(table: pa.Table) -> Points:
    at: Any = table.column(0)
    if arrow.types.is_timestamp(at.type):
        at = at.cast(arrow.timestamp("ns", "UTC"))
    times: list[int] = at.cast("int64").to_pylist()
    values: list[Any] = table.column(1).to_pylist()
    return [(t, Fraction(float(v))) for t, v in zip(times, values, strict=True)]


def meant(times: list[int], clock: Clock, cells: Cells) -> Points:
    at = [time - time % clock.step for time in times]
    return [(t, cell) for t, cell in zip(at, cells, strict=True) if cell is not None]


def check(call: Callable[[], pa.Table], is_good: bool, points: Points, names: list[str]) -> None:
    """Fails if points were taken that are others, or an error does not say what is wrong."""
    found, error = outcome(call)
    if error is None:
        assert is_good
        assert exact(found) == points
    else:
        assert not is_good, error
        assert any(name in str(error) for name in names), error
        assert "0x" not in str(error)


TIMES = st.lists(st.integers(T, T + 10**10), min_size=6, max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns(ARROW), st.sampled_from([*ARROW_TIMES, "ns", "whole"]), TIMES, st.booleans())
def test_a_table_of_arrow(
    column: tuple[str, Cells], clock_name: str, times: list[int], is_last: bool
):
    kind, clock = ARROW[column[0]], ARROW_TIMES[clock_name]
    cells, times = column[1], times[: len(column[1])]
    held = {"when": clock.make(times), "v": kind.make(cells)}
    if is_last and arrow.types.is_timestamp(held["when"].type):
        held = dict(reversed(held.items()))
    table = arrow.table(held)
    is_good = kind.is_good and clock.is_good
    points = meant(times, clock, cells) if clock.is_good else []
    words = ["column `when`", "column `v`", "first column", "type `", "`Table`"]
    check(lambda: points_of(table, None)["v"], is_good, points, words)
    if None not in cells:
        check(lambda: to_arrow(table), is_good, points, words)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns(PANDAS), st.sampled_from([*PANDAS_TIMES, "ns", "zone"]), TIMES, st.booleans())
def test_a_frame_of_pandas(
    column: tuple[str, Cells], clock_name: str, times: list[int], is_series: bool
):
    kind, clock = PANDAS[column[0]], PANDAS_TIMES[clock_name]
    cells, times = column[1], times[: len(column[1])]
    frame = pd.DataFrame({"v": pd.Series(kind.make(cells))})
    frame.index = clock.make(times)
    is_good = kind.is_good and clock.is_good
    points = meant(times, clock, cells) if clock.is_good else []
    words = ["column `v`", "index of the `", "`DataFrame`", "`Series`"]
    data: Any = frame["v"] if is_series else frame
    check(lambda: points_of(data, None)["v"], is_good, points, words)
    if None not in cells:
        check(lambda: to_arrow(data), is_good, points, words)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns(PANDAS), st.sampled_from([*PANDAS_TIMES]), TIMES)
def test_a_pair_of_columns(column: tuple[str, Cells], clock_name: str, times: list[int]):
    """A pair says which are the times, so whole numbers are nanoseconds, and texts of them too."""
    kind, clock = PANDAS[column[0]], PANDAS_TIMES[clock_name]
    cells, times = column[1], times[: len(column[1])]
    if None in cells:
        return
    held = clock.make(times)
    taken = {"numbers", "range", "named range", "text"}
    is_good = kind.is_good and (clock.is_good or clock_name in taken) and clock_name != "one level"
    at = list(range(len(times))) if "range" in clock_name else times
    points = meant(at, clock, cells)
    words = ["row ", "type `", "column", "NaT"]
    check(lambda: to_arrow((held, kind.make(cells))), is_good, points, words)


EMPTY: dict[str, Callable[[], Any]] = {
    "pair": lambda: (np.array([]), np.array([])),
    "list": list,
    "pandas": lambda: pd.DataFrame({"time": [], "v": []}),
    "pandas index": lambda: pd.DataFrame({"v": []}, index=pd.DatetimeIndex([])),
    "pandas named index": lambda: pd.DataFrame({"v": []}, index=pd.Index([], name="time")),
    "polars": lambda: pl.DataFrame({"time": [], "v": []}),
    "arrow": lambda: arrow.table({"a": arrow.array([], "i8"), "b": arrow.array([], "f8")}),
    "arrow without chunks": lambda: arrow.table(
        {"a": arrow.chunked_array([], "i8"), "b": arrow.chunked_array([], "f8")}
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_has_no_points(name: str):
    assert to_arrow(EMPTY[name]()).num_rows == 0
    if not isinstance(EMPTY[name](), tuple | list):
        assert [table.num_rows for table in points_of(EMPTY[name](), None).values()] == [0]


NOON = pd.DatetimeIndex(np.array([T, T + 1, T + 2], "M8[ns]"))
SAID: dict[str, tuple[Callable[[], Any], str]] = {
    "the row of the frame and not of its points": (
        lambda: points_of(pl.DataFrame({"time": NOON, "v": [None, 1.0, math.inf]}), None),
        "column `v`, row 2 has inf",
    ),
    "NaN of polars": (
        lambda: points_of(pl.DataFrame({"time": NOON, "v": [None, math.nan, 1.0]}), None),
        "column `v`, row 1 has nan",
    ),
    "infinity of pandas": (
        lambda: points_of(pd.DataFrame({"v": [math.nan, 1.0, -math.inf]}, index=NOON), None),
        "column `v`, row 2 has -inf",
    ),
    "one text among numbers": (
        lambda: points_of(pd.DataFrame({"v": objects([1, 2.5, "x"])}, index=NOON), None),
        "column `v`, row 2: `'x'` is not a number",
    ),
    "one large number": (
        lambda: points_of(pd.DataFrame({"v": objects([1, 10**30 + 1, 2])}, index=NOON), None),
        "column `v`, row 1: the integer 1000000000000000000000000000001 cannot be represented",
    ),
    "a long double": (
        lambda: to_arrow(pd.DataFrame({"v": np.ones(3, np.longdouble)}, index=NOON)),
        "in column `v`; cast it to float64",
    ),
    "a lazy frame": (lambda: points_of(pl.LazyFrame({"time": NOON}), None), "`collect` it first"),
    "columns in a mapping": (
        lambda: to_arrow({"time": [T, T + 1], "value": [1.0, 2.0]}),
        "`time` has a `list`, so a column",
    ),
    "arrays in a mapping": (
        lambda: to_arrow({"time": array("q", [T]), "value": np.ones(1)}),
        "`time` has a `array`, so a column",
    ),
    "times that are text": (
        lambda: to_arrow((np.array(["2024-01-01"]), np.ones(1))),
        "convert them to datetime64",
    ),
    "a time of thousands of digits": (lambda: to_arrow([("9" * 5_000, 1.0)]), "of 5000 digits"),
    "categories in a pair": (
        lambda: to_arrow((NOON, pd.Categorical([1, 2, 3]))),
        "give their decoded values",
    ),
    "a duration that is said to be times": (
        lambda: points_of(pd.DataFrame({"d": NOON - NOON[0], "v": [1.0, 2.0, 3.0]}), "d"),
        "add it to its reference instant",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_an_error_names_what_is_at_fault(name: str):
    call, words = SAID[name]
    with pytest.raises(BTrDBError, match=re.escape(words)):
        call()


@pytest.mark.parametrize("has_arrow", [True, False])
def test_the_error_of_a_stream_that_is_not_made_names_its_column(has_arrow: bool):
    frame = pd.DataFrame({"va": [1.0], "n": [2**53 + 1]}, index=NOON[:1])
    with (
        Server(arrow=has_arrow) as server,
        pt.connect(endpoint=server.endpoint) as client,
        pytest.raises(
            BTrDBError,
            match=r"stream `n`: .*9007199254740993 (cannot be stored|cannot be represented)",
        ),
    ):
        client.create_streams(frame, "random/frames")
