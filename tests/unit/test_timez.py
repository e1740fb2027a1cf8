"""Times and spans, against values worked out by hand and the faults of earlier clients."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pingthings.timeseries import utils
from pingthings.timeseries.constants import _PW, PW
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError, InvalidTimeRange
from pingthings.timeseries.utils import timez
from pingthings.timeseries.utils.timez import (
    currently_as_ns,
    datetime_to_ns,
    nearest_point_width,
    ns_delta,
    ns_to_datetime,
    to_nanoseconds,
)

NEW_YEAR = 1514764800000000000  # 2018-01-01T00:00:00Z


def test_utils_reexports_what_timez_documents():
    assert utils.__all__ == timez.__all__
    for name in timez.__all__:
        assert getattr(utils, name) is getattr(timez, name)


def test_currently_as_ns_is_the_system_clock():
    before = time.time_ns()
    assert before <= currently_as_ns() <= time.time_ns()


@pytest.mark.parametrize(
    ("dt", "expected"),
    [
        (datetime(2018, 1, 1, tzinfo=UTC), NEW_YEAR),
        (datetime(2018, 1, 1), NEW_YEAR),  # noqa: DTZ001 - naive is the subject
        (datetime(2018, 1, 1, tzinfo=timezone(timedelta(hours=-5))), NEW_YEAR + 18_000 * 10**9),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1_000),
        (datetime(1, 1, 1, tzinfo=UTC), -62135596800 * 10**9),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 253402300799999999000),
        (datetime(2018, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), NEW_YEAR - 1_000),
        # The hour that autumn repeats: the second pass is an hour later.
        (datetime(2021, 11, 7, 1, 30, tzinfo=ZoneInfo("America/New_York")), 1636263000 * 10**9),
        (
            datetime(2021, 11, 7, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
            1636266600 * 10**9,
        ),
        (pd.Timestamp(NEW_YEAR + 123456789), NEW_YEAR + 123456789),
        (pd.Timestamp(NEW_YEAR + 1, tz="Australia/Melbourne"), NEW_YEAR + 1),
        (pd.Timestamp("2300-01-01").as_unit("s"), 10413792000 * 10**9),
    ],
)
def test_datetime_to_ns_gives_the_instant(dt: datetime, expected: int):
    assert datetime_to_ns(dt) == expected


@pytest.mark.parametrize("wrong", [NEW_YEAR, "2018-01-01", date(2018, 1, 1), None])
def test_datetime_to_ns_of_another_type_raises(wrong: Any):
    with pytest.raises(BTRDBTypeError, match=f"`{type(wrong).__name__}`"):
        datetime_to_ns(wrong)


def test_ns_to_datetime_cuts_nanoseconds_off_towards_the_past():
    assert ns_to_datetime(NEW_YEAR) == datetime(2018, 1, 1, tzinfo=UTC)
    assert ns_to_datetime(NEW_YEAR).tzinfo is UTC
    assert ns_to_datetime(NEW_YEAR + 1_999).microsecond == 1
    assert ns_to_datetime(-1) == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    epoch = ns_to_datetime(np.int64(0))  # type: ignore[arg-type] # numpy's are taken, too
    assert epoch == datetime(1970, 1, 1, tzinfo=UTC)


def test_ns_to_datetime_beyond_datetime_raises():
    for beyond in (253402300800 * 10**9, -62135596801 * 10**9, 10**40):
        with pytest.raises(InvalidTimeRange, match="years 1 to 9999"):
            ns_to_datetime(beyond)


@pytest.mark.parametrize("wrong", [1.0, True, "1", None])
def test_ns_to_datetime_of_another_type_raises(wrong: Any):
    with pytest.raises(BTRDBTypeError, match="must be an int"):
        ns_to_datetime(wrong)


@pytest.mark.parametrize(
    ("val", "expected"),
    [
        (NEW_YEAR, NEW_YEAR),
        (-1, -1),
        (np.int64(NEW_YEAR), NEW_YEAR),
        (np.uint8(7), 7),
        (date(2018, 1, 1), NEW_YEAR),
        (datetime(2018, 1, 1, tzinfo=UTC), NEW_YEAR),
        (pd.Timestamp(NEW_YEAR + 1), NEW_YEAR + 1),
        (1.5e18, 1500000000000000000),
        (np.float32(2.0), 2),
        (np.float64(-3.0), -3),
        (Decimal(1500000000000000001), 1500000000000000001),
        (Decimal("1.5e18"), 1500000000000000000),
        (Fraction(4, 2), 2),
        (pa.scalar(NEW_YEAR + 1, pa.timestamp("ns", "UTC")), NEW_YEAR + 1),
        (pa.scalar(NEW_YEAR // 10**9, pa.timestamp("s")), NEW_YEAR),
    ],
)
def test_to_nanoseconds_of_each_type_is_exact(val: Any, expected: int):
    result = to_nanoseconds(val)
    assert result == expected
    assert type(result) is int


def test_to_nanoseconds_leaves_none_alone():
    assert to_nanoseconds(None) is None


@pytest.mark.parametrize(
    ("unit", "count", "expected"),
    [
        ("Y", 48, NEW_YEAR),
        ("Y", -1, -365 * 86400 * 10**9),
        ("Y", -291, -9183024000 * 10**9),
        ("M", 48 * 12, NEW_YEAR),
        ("M", -1, -31 * 86400 * 10**9),
        ("W", 1, 7 * 86400 * 10**9),
        ("D", 17532, NEW_YEAR),
        ("h", 420768, NEW_YEAR),
        ("m", 25246080, NEW_YEAR),
        ("s", 1514764800, NEW_YEAR),
        ("25s", 3, 75 * 10**9),
        ("ms", 1514764800001, NEW_YEAR + 10**6),
        ("us", 1514764800000001, NEW_YEAR + 1000),
        ("ns", NEW_YEAR + 1, NEW_YEAR + 1),
        ("ps", 5_000, 5),
        ("fs", -5_000_000, -5),
        ("as", 5 * 10**9, 5),
    ],
)
def test_to_nanoseconds_of_datetime64_knows_every_unit(unit: str, count: int, expected: int):
    moment = np.datetime64(count, unit)  # type: ignore[call-overload] # the unit is a variable
    assert to_nanoseconds(moment) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The nine formats of the predecessor.
        ("2018-01-01 00:00:00.5+01:00", NEW_YEAR - 3_599_500_000_000),
        ("2018-01-01 00:00:00.000001", NEW_YEAR + 1_000),
        ("2018-01-01T00:00:00.000001Z", NEW_YEAR + 1_000),
        ("2018-01-01T00:00:00Z", NEW_YEAR),
        ("2018-01-01T00:00:00.25-0500", NEW_YEAR + 18_000_250_000_000),
        ("2018-01-01T00:00:00.25", NEW_YEAR + 250_000_000),
        ("2018-01-01 00:00:00+00:00", NEW_YEAR),
        ("2018-01-01 00:00:00", NEW_YEAR),
        ("2018-01-01", NEW_YEAR),
        ("2018-1-1 0:0:0", NEW_YEAR),
        ("2018-01-01 00:00:00.5+01:00:30", NEW_YEAR - 3_629_500_000_000),
        ("2018-01-01 00:00:00.5-01:00:30.25", NEW_YEAR + 3_630_750_000_000),
        # What it refused.
        ("2018-01-01T00:00:00", NEW_YEAR),
        ("2018-01-01T00:00:00+00:00", NEW_YEAR),
        ("2018-01-01 00:00:00Z", NEW_YEAR),
        ("2018-01-01T00:00", NEW_YEAR),
        ("2018-01-01 00:00-05:00", NEW_YEAR + 18_000 * 10**9),
        ("2018-01-01 00:00:00-05", NEW_YEAR + 18_000 * 10**9),
        ("2018-01-01T00:00:00.123456789Z", NEW_YEAR + 123456789),
        ("2018-01-01T00:00:00.1234567+00:00", NEW_YEAR + 123456700),
        ("2018-01-01t00:00:00,5z", NEW_YEAR + 500_000_000),
        ("1969-12-31T23:59:59.999999999Z", -1),
        (" 2018-01-01 ", NEW_YEAR),
        # Digits are nanoseconds, also those that look like a date.
        ("1514764800000000000", NEW_YEAR),
        ("-1", -1),
        ("20180101", 20180101),
    ],
)
def test_to_nanoseconds_of_text_is_exact(text: str, expected: int):
    assert to_nanoseconds(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not understood"),
        ("yesterday", "is not understood"),
        ("Mon, 01 Jan 2018 00:00:00 GMT", "is not understood"),
        ("2018-01-01T00:00:00 America/New_York", "is not understood"),
        ("2018-01-01T00:00:00.", "is not understood"),
        ("2018-01-01T00:00:00.5.5", "is not understood"),
        ("2018-01-01T", "is not understood"),
        ("2018-01-01Z", "is not understood"),
        ("1.5", "is not understood"),
        ("\u0662\u0660\u0661\u0668-\u0660\u0661-\u0660\u0661", "is not understood"),
        ("\u00b2", "is not understood"),
        ("2018-02-30", "day"),
        ("2018-13-01", "month"),
        ("2018-01-01T24:00:00", "hour"),
        ("2018-01-01T23:59:60Z", "second"),
        ("2018-01-01T00:00:00+24:00", "offset"),
        ("2018-01-01T00:00:00.1234567890Z", "finer than a nanosecond"),
    ],
)
def test_to_nanoseconds_of_invalid_text_says_what_is_wrong(text: str, said: str):
    with pytest.raises(BTRDBValueError, match=said):
        to_nanoseconds(text)


@pytest.mark.parametrize(
    "val",
    [
        1.5,
        float("nan"),
        float("inf"),
        Decimal("0.1"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Fraction(1, 3),
        np.float32(0.5),
        np.datetime64("NaT"),
        np.datetime64(1, "ps"),
        pd.NaT,
        pa.scalar(None, pa.timestamp("ns")),
    ],
)
def test_to_nanoseconds_of_no_whole_time_raises(val: Any):
    with pytest.raises(BTRDBValueError):
        to_nanoseconds(val)


@pytest.mark.parametrize(
    "val",
    [
        1 << 63,
        -(1 << 63) - 1,
        1e30,
        Decimal("1e999999"),
        "99999999999999999999",
        "0001-01-01",
        datetime(9999, 1, 1, tzinfo=UTC),
        date(9999, 1, 1),
        np.datetime64(10**17, "Y"),
    ],
)
def test_to_nanoseconds_beyond_64_bits_raises(val: Any):
    with pytest.raises(InvalidTimeRange, match="64-bit"):
        to_nanoseconds(val)


def test_to_nanoseconds_reaches_both_ends_of_64_bits():
    assert to_nanoseconds("1677-09-21T00:12:43.145224192Z") == -(1 << 63)
    assert to_nanoseconds("2262-04-11T23:47:16.854775807Z") == (1 << 63) - 1


@pytest.mark.parametrize(
    "val",
    [
        *(True, np.True_, b"2018-01-01", [1], timedelta(1), np.array([1]), PW[3], 1j),
        *(pd.Timedelta(1), np.timedelta64(5, "s"), pa.scalar(5, pa.duration("s"))),
    ],
)
def test_to_nanoseconds_of_another_type_raises(val: Any):
    with pytest.raises(BTRDBTypeError, match="is not a time"):
        to_nanoseconds(val)


def test_ns_delta_adds_every_unit():
    assert ns_delta(1, 2, 1, 3, 1, 23, 1) == 93663001023001
    assert ns_delta(days=365, minutes=0.5, nanoseconds=1) == 31536030000000001
    assert ns_delta() == 0
    assert ns_delta(seconds=-1, nanoseconds=1) == -999_999_999


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.3, 300_000_000),
        (Decimal("0.3"), 300_000_000),
        (np.float32(0.3), 300_000_000),
        (np.float64(0.1), 100_000_000),
        (1e-9, 1),
        (Fraction(1001, 30000), 33_366_667),
        (1 / 3, 333_333_333),
        (Decimal("0.0000000005"), 0),
        (Decimal("0.0000000015"), 2),
        (np.int32(2), 2_000_000_000),
        (10**30, 10**39),
    ],
)
def test_ns_delta_reads_a_float_as_the_decimal_it_prints(seconds: Any, expected: int):
    assert ns_delta(seconds=seconds) == expected


def test_ns_delta_of_wrong_types_raises():
    with pytest.raises(BTRDBTypeError, match="`nanoseconds`"):
        ns_delta(nanoseconds=1.0)  # type: ignore[arg-type]
    with pytest.raises(BTRDBTypeError, match="`hours`"):
        ns_delta(hours="1")  # type: ignore[arg-type]
    with pytest.raises(BTRDBTypeError, match="`days`"):
        ns_delta(days=True)
    with pytest.raises(BTRDBTypeError, match="`nanoseconds`"):
        ns_delta(nanoseconds=False)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), Decimal("Infinity")])
def test_ns_delta_of_nothing_finite_raises(value: Any):
    with pytest.raises(BTRDBValueError, match="finite"):
        ns_delta(minutes=value)


@pytest.mark.parametrize(
    ("span", "exponent"),
    [
        ({"nanoseconds": 1}, 0),
        ({"nanoseconds": 3}, 1),  # as far from 2 as from 4
        ({"nanoseconds": 5}, 2),
        ({"nanoseconds": 6}, 2),
        ({"nanoseconds": 7}, 3),
        ({"microseconds": 0.0001}, 0),
        ({"microseconds": 0.0015}, 0),
        ({"microseconds": 0.00151}, 1),
        ({"seconds": 1}, 30),
        ({"hours": 1}, 42),
        ({"days": 1}, 46),
        ({"days": 365}, 55),
        ({"days": 10**6}, 60),
        ({"hertz": 30}, 25),
        ({"hertz": 60}, 24),
        ({"hertz": Fraction(30000, 1001)}, 25),
        ({"hertz": Decimal("0.5")}, 31),
        ({"hertz": 10**10}, 0),
    ],
)
def test_nearest_point_width_is_nearest(span: dict[str, Any], exponent: int):
    found = nearest_point_width(**span)
    assert isinstance(found, _PW)
    assert found == exponent


def test_nearest_point_width_decides_the_exact_middle_for_the_shorter():
    middle = 3 << 58
    assert nearest_point_width(nanoseconds=middle) == 59
    assert nearest_point_width(nanoseconds=middle + 1) == 60
    # A float could not tell these apart.
    assert nearest_point_width(microseconds=Fraction(middle * 2 + 1, 2000)) == 60


def test_nearest_point_width_without_a_span_raises():
    with pytest.raises(BTRDBValueError, match="above zero"):
        nearest_point_width()
    with pytest.raises(BTRDBValueError, match="above zero"):
        nearest_point_width(days=-1)
    with pytest.raises(BTRDBValueError, match="above zero"):
        nearest_point_width(hertz=-30)


def test_nearest_point_width_takes_hertz_alone():
    with pytest.raises(BTRDBValueError, match="`hertz`"):
        nearest_point_width(seconds=1, hertz=30)


def test_importing_leaves_the_data_frame_libraries_out():
    code = (
        "import sys, pingthings.timeseries.utils, pingthings.timeseries.points;"
        "print({'pandas', 'polars', 'matplotlib', 'yaml'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert result.stdout == "set()\n"
