"""Frames of any index and types: each point is stored as it is, or the frame is refused by name."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.timeseries import frames
from pingthings.timeseries.exceptions import (
    BadValue,
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
)
from pingthings.timeseries.insert_data import to_arrow
from pingthings.timeseries.wide_frame import points_of

T = 1_704_067_200_123_456_789
Points = dict[str, list[tuple[int, Fraction]]]
Number = int | float | Decimal

arrays: Any = pd  # its stubs know no type of every array
INDICES: dict[str, Callable[[list[int]], Any]] = {
    "ns": lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]")),
    "utc": lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]"), tz="UTC"),
    "zone": lambda times: pd.DatetimeIndex(np.array(times, "M8[ns]"), tz="UTC").tz_convert(
        "America/St_Johns"
    ),
    "arrow": lambda times: pd.Index(
        arrays.array(
            pa.array(times, pa.timestamp("ns", "UTC")), dtype="timestamp[ns, UTC][pyarrow]"
        )
    ),
    "objects": lambda times: pd.Index(
        [pd.Timestamp(time, tz="UTC") for time in times], dtype=object
    ),
    "named numbers": lambda times: pd.Index(times, dtype="int64", name="Time"),
    "numbers": lambda times: pd.Index(times, dtype="int64"),
    "small named numbers": lambda times: pd.Index([k for k, _ in enumerate(times)], name="time"),
    "range": lambda times: pd.RangeIndex(len(times)),
    "floats": lambda times: pd.Index([float(time) for time in times], dtype="float64"),
    "text": lambda times: pd.Index([str(pd.Timestamp(time)) for time in times], dtype=object),
    "periods": lambda times: pd.PeriodIndex(pd.DatetimeIndex(np.array(times, "M8[ns]")), freq="s"),
    "durations": lambda times: pd.TimedeltaIndex(np.array(times, "m8[ns]")),
    "categories": lambda times: pd.CategoricalIndex(np.array(times, "M8[ns]")),
    "levels": lambda times: pd.MultiIndex.from_arrays(
        [["x"] * len(times), np.array(times, "M8[ns]")]
    ),
    "missing": lambda times: pd.DatetimeIndex([*np.array(times[:-1], "M8[ns]"), pd.NaT]),
}
GOOD = {"ns", "utc", "zone", "arrow", "objects", "named numbers"}

COLUMNS: dict[str, Callable[[list[Any]], Any]] = {
    "float64": lambda cells: pd.array(cells, dtype="float64"),
    "float32": lambda cells: np.array(cells, "float32"),
    "objects": lambda cells: np.array([*cells, None], dtype=object)[:-1],
    "Float64": lambda cells: pd.array(cells, dtype="Float64"),
    "arrow": lambda cells: pd.array(cells, dtype="double[pyarrow]"),
    "Int64": lambda cells: pd.array([whole(cell) for cell in cells], dtype="Int64"),
    "UInt64": lambda cells: pd.array(
        [None if cell is None else abs(cell) for cell in map(whole, cells)], dtype="UInt64"
    ),
    "decimals": lambda cells: np.array(
        [*(None if cell is None else Decimal(repr(cell)) for cell in cells), None], dtype=object
    )[:-1],
    "bool": lambda cells: pd.array([bool(cell) for cell in cells], dtype="bool"),
    "boolean": lambda cells: pd.array(
        [None if cell is None else bool(cell) for cell in cells], dtype="boolean"
    ),
    "text": lambda cells: pd.array([str(cell) for cell in cells], dtype="str"),
    "categories": pd.Categorical,
    "complex": lambda cells: np.array([cell or 0 for cell in cells], "complex128"),
    "datetimes": lambda cells: np.array([1 for _ in cells], "M8[ns]"),
    "durations": lambda cells: np.array([1 for _ in cells], "m8[ns]"),
    "sparse": lambda cells: pd.arrays.SparseArray(np.array(cells, "float64")),
    "periods": lambda cells: pd.period_range("2024", periods=len(cells)),
}
NUMBERS = {
    *("float64", "float32", "objects", "Float64", "arrow", "Int64", "UInt64", "decimals", "sparse"),
}


def tried(call: Callable[[], Any]) -> tuple[Any, BTrDBError | None]:
    """What a call returns, or the error with which it refuses."""
    try:
        return call(), None
    except BTrDBError as error:
        return None, error


def whole(cell: float | None) -> int | None:
    return None if cell is None else int(cell)


def exact(value: Any) -> Fraction | None:
    """The number that a cell holds; None where it is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return Fraction(value.item() if isinstance(value, np.generic) else value)


def expected(times: list[int], columns: list[tuple[str, Any]]) -> Points:
    """The points of good columns: the nearest float64 of every decimal, all else to the bit."""
    found: Points = {}
    for name, held in columns:
        cells = [exact(cell) for cell in pd.Series(held).astype(object)]
        numbers = [None if cell is None else Fraction(float(cell)) for cell in cells]
        found[name] = [(t, n) for t, n in zip(times, numbers, strict=True) if n is not None]
    return found


def read(tables: dict[str, pa.Table]) -> Points:
    found: Points = {}
    for name, table in tables.items():
        times: list[Any] = table["time"].cast(pa.int64()).to_pylist()
        values: list[Any] = table["value"].to_pylist()
        found[name] = [(t, Fraction(float(v))) for t, v in zip(times, values, strict=True)]
    return found


CELLS = st.none() | st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 2.0**53])


@st.composite
def pandas_frames(draw: st.DrawFn) -> tuple[str, list[str], list[str], list[int], pd.DataFrame]:
    times = draw(st.lists(st.integers(T, T + 10**9), min_size=1, max_size=6))
    index = draw(st.sampled_from([*INDICES, *GOOD]))
    count = draw(st.integers(1, 4))
    kinds = draw(
        st.lists(st.sampled_from([*COLUMNS, *NUMBERS, *NUMBERS]), min_size=count, max_size=count)
    )
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=count, max_size=count))
    rows = st.lists(CELLS, min_size=len(times), max_size=len(times))
    columns = [pd.Series(COLUMNS[kind](draw(rows))) for kind in kinds]
    frame = pd.concat(columns, axis="columns")
    frame.columns = pd.Index(names)
    frame.index = INDICES[index](times)
    return index, kinds, names, times, frame


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pandas_frames())
def test_each_point_is_kept_or_the_frame_is_refused_by_name(
    drawn: tuple[str, list[str], list[str], list[int], pd.DataFrame],
):
    index, kinds, names, times, frame = drawn
    is_good = index in GOOD and set(kinds) <= NUMBERS and len(set(names)) == len(names)
    found, error = tried(lambda: points_of(frame, None))
    if error is not None:
        assert not is_good, error
        assert any(f"`{name}`" in str(error) for name in [*names, "DataFrame"])
    elif is_good:
        columns = [(name, frame.iloc[:, place]) for place, name in enumerate(names)]
        assert read(found) == expected(times, columns)
    else:
        # Only one thing makes times of a frame without a time index: a column of datetimes.
        assert kinds.count("datetimes") == 1
        assert index not in GOOD
        assert set(kinds) - {"datetimes"} <= NUMBERS


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(T, T + 10**9), min_size=1, max_size=5),
    st.sampled_from(["time", "Timestamp", "status", "a"]),
    st.sampled_from([pl.Int64, pl.UInt64, pl.Datetime("ns"), pl.Datetime("ns", "Asia/Tokyo")]),
    st.sampled_from([pl.Float64, pl.Float32, pl.Int16, pl.UInt64, pl.Decimal(20, 3), pl.Boolean]),
    st.booleans(),
)
def test_a_polars_frame_has_times_where_type_or_name_say_so(
    times: list[int], name: str, time_type: Any, value_type: Any, is_first: bool
):
    values = [None if k == 1 else float(k) for k, _ in enumerate(times)]
    columns = {name: pl.Series(times).cast(time_type), "v": pl.Series(values).cast(value_type)}
    frame = pl.DataFrame(columns).select([name, "v"] if is_first else ["v", name])
    is_time = isinstance(time_type, pl.Datetime) or name in {"time", "Timestamp"}
    found, error = tried(lambda: points_of(frame, None))
    is_good = is_time and value_type != pl.Boolean
    assert is_good == (error is None)
    if error is not None:
        assert "column `" in str(error)
    else:
        assert read(found) == {
            "v": [(t, Fraction(v)) for t, v in zip(times, values, strict=True) if v is not None]
        }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.integers(-(1 << 66), 1 << 66)
        | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20))
        | st.fractions()
        | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
    )
)
def test_numbers_in_pairs_are_the_nearest_or_refused(values: list[Any]):
    too_large = [
        value for value in values if value == int(value) and Fraction(value) != int(float(value))
    ]
    table, error = tried(lambda: to_arrow([(T + k, value) for k, value in enumerate(values)]))
    assert bool(too_large) == (error is not None)
    if error is not None:
        assert str(error).startswith("row ")
    else:
        assert table["value"].to_pylist() == [float(value) for value in values]


def wide() -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=3, freq="s", tz="UTC")
    return pd.DataFrame({"va": [230.0, math.nan, 232.0], "fa": [60, 61, 62]}, index=index)


async def test_streams_are_made_for_the_columns(client: pt.AsyncClient, collection: str):
    made = await client.create_streams(
        wide(), collection, names={"va": "L1MAG"}, units={"fa": "hertz"}
    )
    assert [(one.name, one.unit, one.collection) for one in made] == [
        ("L1MAG", "", collection),
        ("fa", "hertz", collection),
    ]
    assert list((await made.count()).values()) == [2, 3]
    joined = frames.join(await made.raw_values("2024-01-01", "2024-01-02"), made)
    pd.testing.assert_frame_equal(
        frames.to_pandas(joined).rename(columns={"L1MAG": "va"}),
        wide().astype("float64"),
        check_names=False,
        check_index_type=False,
        check_freq=False,
    )
    # The same streams take what comes later.
    told: list[tuple[int, int]] = []
    again = await client.create_streams(
        pl.from_pandas(wide().reset_index(names="time")),
        collection,
        names={"va": "L1MAG"},
        units={"fa": "hertz"},
        merge="replace",
        progress=lambda done, total: told.append((done, total)),
    )
    assert list(again) == list(made)
    assert list((await made.count()).values()) == [2, 3]
    assert told[-1] == (5, 5)


async def test_one_unit_is_for_all_and_a_series_is_a_column(
    client: pt.AsyncClient, collection: str
):
    (stream,) = await client.create_streams(wide()["fa"], collection, units="hertz")
    assert (stream.name, stream.unit, await stream.count()) == ("fa", "hertz", 3)
    table = pa.table({"at": [T], "n": [5], "m": [Decimal("1.5")]})
    made = await client.create_streams(table, collection, time="at")
    assert [one.name for one in made] == ["n", "m"]
    assert [(await one.latest()) for one in made] == [(T, 5.0), (T, 1.5)]


async def test_words_before_the_times_of_a_table_are_no_times(
    client: pt.AsyncClient, collection: str
):
    table = pa.table({"status": [1, 2], "time": [T - T % 1_000, T], "v": [1.0, 2.0]})
    made = await client.create_streams(table, collection)
    assert [(one.name, await one.latest()) for one in made] == [
        ("status", (T, 2.0)),
        ("v", (T, 2.0)),
    ]


async def test_names_of_columns_need_not_be_text(client: pt.AsyncClient, collection: str):
    frame = pd.DataFrame({7: [1.0]}, index=pd.to_datetime([T]))
    (stream,) = await client.create_streams(frame, collection, names={7: "seven"})  # type: ignore[dict-item]
    assert stream.name == "seven"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"frame": [1, 2]}, BTRDBTypeError, "a `list` is not a frame"),
        ({"frame": wide()[[]]}, BTRDBTypeError, "no column of values"),
        ({"frame": wide().assign(x=math.inf)}, BadValue, "inf"),
        ({"frame": wide().assign(x=2**53 + 1)}, BadValue, "9007199254740993"),
        ({"frame": wide().assign(x=True)}, BTRDBTypeError, "`bool` in column `x`"),
        ({"frame": wide().rename(columns={"va": "fa"})}, BTRDBValueError, "have the name `fa`"),
        ({"frame": wide().reset_index(drop=True)}, BTRDBTypeError, "has no times"),
        ({"frame": wide().rename(columns={"va": ""})}, BTRDBValueError, "has no name"),
        ({"names": {"fa": "a\0"}}, BTRDBValueError, "it contains a NUL"),
        ({"names": {"fa": "a" * 256}}, BTRDBValueError, "it is longer than 255"),
        ({"names": {"fa": "\ud800"}}, BTRDBValueError, "half a surrogate pair"),
        ({"units": {"fa": "a\0"}}, BTRDBValueError, "is no unit of a stream"),
        ({"frame": pd.DataFrame}, BTRDBTypeError, "the class `DataFrame`"),
        ({"names": {"va": "fa"}}, BTRDBValueError, "stream `fa`"),
        ({"names": {"vb": "x"}}, BTRDBValueError, "column `vb`"),
        ({"names": {"va": 5}}, BTRDBTypeError, "give text"),
        ({"units": {"vb": "x"}}, BTRDBValueError, "`units` has a column `vb`"),
        ({"units": 5}, BTRDBTypeError, "`units` must map columns"),
        ({"time": "va"}, BTRDBTypeError, "times of type `float64` in column `va`"),
        ({"time": 5}, BTRDBTypeError, "`time` is the name"),
        ({"merge": "sum"}, BTRDBValueError, "merge"),
    ],
    ids=repr,
)
async def test_nothing_is_made_of_what_is_not_good(
    client: pt.AsyncClient,
    collection: str,
    change: dict[str, Any],
    error: type[Exception],
    message: str,
):
    arguments: dict[str, Any] = {"frame": wide(), **change}
    with pytest.raises(error, match=re.escape(message)):
        await client.create_streams(arguments.pop("frame"), collection, **arguments)
    assert await client.list_collections(collection) == []


async def test_streams_that_are_there_must_suit(client: pt.AsyncClient, collection: str):
    await client.create_streams(wide(), collection, units="volts")
    with pytest.raises(BTRDBValueError, match="has the unit `volts`, not `hertz`"):
        await client.create_streams(wide(), collection, units={"fa": "hertz"})
    await client.create(uuid4(), collection, {"name": "fa", "unit": "hertz"})
    with pytest.raises(BTRDBValueError, match="2 streams of"):
        await client.create_streams(wide(), collection)


async def test_an_error_of_a_set_says_whose_points_it_is(client: pt.AsyncClient, collection: str):
    made = await client.create_streams(wide(), collection)
    with pytest.raises(BTRDBTypeError, match=str(made[1].uuid)):
        await made.insert({made[0].uuid: [(T, 1.0)], made[1].uuid: pd.DataFrame({"a": [True]})})


NOON = pd.DatetimeIndex(np.array([T, T + 10**9], "M8[ns]"))
ONE_TWO = np.array([1.0, 2.0])


def zoned_polars() -> Any:
    naive = pl.Series("time", [T, T + 10**9]).cast(pl.Datetime("ns"))
    return naive.dt.replace_time_zone("UTC")


class Labelled:
    """An array with its coordinates, as xarray has them."""

    ndim = 1

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return ONE_TWO


TAKEN: dict[str, Callable[[], tuple[Any, str | None]]] = {
    "polars in a zone, whose elements are of microseconds": lambda: (
        (zoned_polars(), pl.Series(ONE_TWO)),
        None,
    ),
    "bytes in the order of other machines": lambda: (
        pd.DataFrame({"t": np.array([T, T + 10**9], ">i8"), "v": ONE_TWO}),
        "t",
    ),
    "another library's array": lambda: ((NOON.to_numpy(), Labelled()), None),
}


@pytest.mark.parametrize("name", TAKEN)
def test_columns_of_other_libraries_keep_nanoseconds(name: str):
    data, time = TAKEN[name]()
    table = to_arrow(data, time)
    times = table.column(0).cast(pa.int64()).to_pylist()
    assert (times, table.column(1).to_pylist()) == ([T, T + 10**9], [1.0, 2.0])


def test_large_whole_numbers_among_objects():
    table = to_arrow((np.array([T, T + 1]), np.array([2**70, Decimal("1.5")], object)))
    assert table.column(1).to_pylist() == [2.0**70, 1.5]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "periods are no instants": (
        lambda: (pd.period_range("2024", periods=2, freq="D"), ONE_TWO),
        r"type `period\[D\]`",
    ),
    "numbers without a unit": (
        lambda: (np.array([T, T + 1]).astype("M8"), ONE_TWO),
        "`datetime64` without a unit",
    ),
    "NaT in an array": (lambda: (np.array(["2024", "NaT"], "M8[s]"), ONE_TWO), r"row 1 .*NaT"),
    "far times in an array": (
        lambda: (np.array(["2024", "3000"], "M8[s]"), ONE_TWO),
        "row 1: the time `3000-01-01T00:00:00`",
    ),
    "a list of two columns": (
        lambda: [np.array([T - T % 10**9, T - T % 10**9 + 10**9]), ONE_TWO],
        "row 0 is a `ndarray`, so a column",
    ),
    "a pair of arrays of Python": (
        lambda: (array("q", [1, 2]), array("d", [1.0, 2.0])),
        "row 0 is a `array`, so a column",
    ),
    "a list and a tuple": (lambda: ([T, T + 1], (1.0, 2.0)), "two lists may be two columns"),
    "a null among times of an array": (
        lambda: (pd.Series([T, None], dtype="Int64"), ONE_TWO),
        "row 1 of a `Series` of type `int64` holds a null",
    ),
    "a null among values of an array": (
        lambda: (NOON, pl.Series([2**53 + 1, None])),
        "row 1 of a `Series` of type `int64` holds a null",
    ),
    "a null among times of a table": (
        lambda: pa.table({"time": [T, None], "v": [1.0, 2.0]}),
        "row 1: the column `time` has no time there",
    ),
    "a null among times of a frame": (
        lambda: pd.DataFrame({"time": pd.array([T, None], dtype="Int64"), "v": ONE_TWO}),
        "row 1: the column `time` has no time there",
    ),
    "NA among datetimes": (
        lambda: pd.DataFrame({"time": pd.Series([NOON[0], pd.NA], dtype=object), "v": ONE_TWO}),
        "row 1: the column `time` has no time there",
    ),
    "large whole numbers among objects": (
        lambda: (np.array([T, T + 1]), np.array([2**53 + 1, 1.5], object)),
        "row 0: the integer 9007199254740993 cannot be represented",
    ),
    "decimal numbers that Arrow would round": (
        lambda: [(T, Decimal(2**53 + 1))],
        "row 0: the integer 9007199254740993 cannot be represented",
    ),
    "decimal numbers beyond floats": (
        lambda: [(T, Decimal("1e999"))],
        r"row 0: the value `1E\+999` is beyond the range of a float64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_which(name: str):
    make, why = REFUSED[name]
    with pytest.raises(BTrDBError, match=why):
        to_arrow(make())


CALLED_LIKE_TIMES: list[tuple[str, Callable[[], Any], str]] = [
    ("time", lambda: pd.period_range("2024", periods=2, freq="D"), r"to_timestamp\(\)"),
    ("time", lambda: pd.to_timedelta([1, 2]), "add it to its reference instant"),
    ("time", lambda: pd.Categorical(NOON), "astype"),
    ("time", lambda: ["2024-01-01", "2024-01-02"], "pandas.to_datetime"),
    ("Time", lambda: [1.7e9, 1.8e9], "`unit=`"),
    ("time", lambda: [True, False], "give timestamps"),
    ("ts", lambda: [T, T + 1], "give `time='ts'`"),
]


@pytest.mark.parametrize(("name", "make", "advice"), CALLED_LIKE_TIMES)
def test_a_column_that_is_called_like_times_is_named(
    name: str, make: Callable[[], Any], advice: str
):
    frame = pd.DataFrame({name: make(), "v": ONE_TWO})
    for read in to_arrow, lambda it: points_of(it, None):
        with pytest.raises(BTRDBTypeError, match=f"column `{name}` has the type .*{advice}"):
            read(frame)


def test_a_column_whose_name_is_none_has_no_name():
    for label in None, math.nan:
        with pytest.raises(BTRDBValueError, match="a column has no name"):
            points_of(pd.DataFrame([[1.0, 2.0]], index=NOON[:1], columns=[label, "x"]), None)
