"""Point widths, schemas and limits."""

import copy
import operator
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pingthings.timeseries import constants
from pingthings.timeseries.constants import (
    _PW,
    MAXIMUM_INSERT_TIME,
    MAXIMUM_TIME,
    MINIMUM_TIME,
    PW,
    RAW_F32_SCHEMA,
    RAW_F64_SCHEMA,
    STAT_F32_SCHEMA,
    STAT_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import BTRDBTypeError, InvalidPointWidth

RUST_TIME = Path(__file__).parents[2] / "rust/types/src/time.rs"


def test_pw_holds_exponents_up_to_60():
    assert len(PW) == 61
    assert [int(width) for width in PW] == list(range(61))
    assert [width.nanoseconds for width in PW] == [2**i for i in range(61)]


def test_point_width_is_usable_where_its_exponent_is():
    assert PW[PW[7]] is PW[7]
    assert operator.index(PW[30]) == 30
    assert PW[30] == 30
    assert PW[30] == np.int64(30)
    assert PW[30] != 31
    assert PW[30] != 30.0
    assert PW[30] != "PW[30]"
    assert {PW[30]: "second"}[30] == "second"  # type: ignore[index] # equal and hashes alike


def test_point_width_is_ordered_by_exponent():
    assert PW[3] < PW[4] <= PW[4] < 5
    assert PW[4] > 3 >= PW[3]
    assert max(PW) is PW[60]
    assert sorted([PW[9], PW[2], PW[5]]) == [2, 5, 9]
    with pytest.raises(TypeError):
        assert PW[3] < "4"  # type: ignore[operator]


def test_point_width_in_other_units_is_the_quotient():
    width = PW[42]
    assert width.microseconds == 4398046511.104
    assert width.milliseconds == 4398046.511104
    assert width.seconds == 4398.046511104
    assert width.minutes == width.seconds / 60
    assert width.hours == pytest.approx(1.2216795864177)
    assert width.days * 24 == pytest.approx(width.hours)
    assert width.weeks * 7 == pytest.approx(width.days)
    assert width.months * 365 / 12 == pytest.approx(width.days)
    assert width.years * 365 == pytest.approx(width.days)


@pytest.mark.parametrize(
    ("exponent", "text"),
    [
        (0, "1 ns"),
        (9, "512 ns"),
        (10, "1 μs 24 ns"),
        (16, "65 μs 536 ns"),
        (20, "1 ms 48 μs 576 ns"),
        (30, "1 sec 73 ms 741 μs"),
        (36, "1 min 8 sec 719 ms"),
        (37, "2 mins 17 sec 438 ms"),
        (42, "1 hour 13 mins 18 sec"),
        (43, "2 hours 26 mins 36 sec"),
        (45, "9 hours 46 mins 24 sec"),
        (47, "1 day 15 hours 5 mins"),
        (50, "13 days 44 mins"),
        (55, "1 year 51 days 23 hours"),
        (60, "36 years 203 days 23 hours"),
    ],
)
def test_point_width_prints_its_three_greatest_units(exponent: int, text: str):
    assert str(PW[exponent]) == text


def test_point_width_repr_evaluates_to_itself():
    assert repr(PW[30]) == "PW[30]"
    assert [repr(_PW(63))] == ["PW[63]"]


@pytest.mark.parametrize(
    "compute",
    [
        lambda w: w + 1,
        lambda w: 1 + w,
        lambda w: w - PW[1],
        lambda w: 2 * w,
        lambda w: w * np.int64(2),
        lambda w: np.int64(2) * w,
        lambda w: w / 2,
        lambda w: 10**9 // w,
        lambda w: 10**9 % w,
        lambda w: 2**w,
        lambda w: 1 << w,
        lambda w: w >> 1,
        lambda w: -w,
        abs,
    ],
)
def test_point_width_refuses_arithmetic(compute: Callable[[_PW], Any]):
    with pytest.raises(BTRDBTypeError, match=r"`\.nanoseconds`"):
        compute(PW[30])


def test_point_width_is_immutable():
    with pytest.raises(AttributeError):
        PW[3]._exponent = 4
    with pytest.raises(AttributeError):
        del PW[3]._exponent
    with pytest.raises(AttributeError):
        PW[3].other = 4


def test_point_width_survives_pickle_and_copy():
    pickled = pickle.loads(pickle.dumps(PW[30]))  # noqa: S301 - our own bytes
    for clone in (pickled, copy.copy(PW[30]), copy.deepcopy(PW[30])):
        assert type(clone) is _PW
        assert clone == PW[30]


@pytest.mark.parametrize("exponent", [-1, 64, 2**70])
def test_point_width_out_of_bounds_raises(exponent: int):
    with pytest.raises(InvalidPointWidth, match="0 to 63"):
        _PW(exponent)


@pytest.mark.parametrize("wrong", [1.0, "1", None, True])
def test_point_width_of_another_type_raises(wrong: Any):
    with pytest.raises(BTRDBTypeError, match=f"`{type(wrong).__name__}`"):
        _PW(wrong)


def test_point_width_neighbours_end_at_the_bounds():
    assert PW[3].incr() == 4
    assert PW[3].decr() == 2
    with pytest.raises(InvalidPointWidth):
        PW[0].decr()
    with pytest.raises(InvalidPointWidth):
        _PW(63).incr()


def test_from_nanoseconds_gives_the_longest_that_fits():
    for exponent in range(1, 61):
        assert _PW.from_nanoseconds(2**exponent) == exponent
        assert _PW.from_nanoseconds(2**exponent - 1) == exponent - 1
    assert _PW.from_nanoseconds(2**90) == 63
    with pytest.raises(InvalidPointWidth, match="`0` ns"):
        _PW.from_nanoseconds(0)


@pytest.mark.parametrize(
    ("schema", "value"), [(RAW_F64_SCHEMA, pa.float64()), (RAW_F32_SCHEMA, pa.float32())]
)
def test_raw_schema_is_time_and_value(schema: pa.Schema, value: pa.DataType):
    assert schema.names == ["time", "value"]
    assert schema.types == [pa.timestamp("ns", "UTC"), value]
    assert not any(field.nullable for field in schema)


@pytest.mark.parametrize(
    ("schema", "value"), [(STAT_F64_SCHEMA, pa.float64()), (STAT_F32_SCHEMA, pa.float32())]
)
def test_stat_schema_counts_in_64_bits(schema: pa.Schema, value: pa.DataType):
    assert schema.names == ["time", "min", "mean", "max", "count", "stddev"]
    assert schema.types == [pa.timestamp("ns", "UTC"), value, value, value, pa.uint64(), value]
    assert not any(field.nullable for field in schema)


def test_time_limits_are_those_of_the_core():
    rust = RUST_TIME.read_text(encoding="utf-8")
    assert re.search(r"MIN_TIME: i64 = -\(1 << 60\)", rust)
    assert re.search(r"MAX_TIME: i64 = 3 << 60", rust)
    assert re.search(r"MAX_INSERT_TIME: i64 = MAX_TIME - 2", rust)
    assert MINIMUM_TIME == -(1 << 60)
    assert MAXIMUM_TIME == (3 << 60) - 1
    assert MAXIMUM_INSERT_TIME == (3 << 60) - 2


def test_public_names_exist():
    for name in constants.__all__:
        assert hasattr(constants, name)
