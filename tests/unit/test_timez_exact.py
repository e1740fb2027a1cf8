"""Time conversion against an independent computation, on many instants.

The reference counts days month by month and never touches `datetime`, `Fraction` or a float.
"""

import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingthings.timeseries.constants import PW
from pingthings.timeseries.utils.timez import (
    datetime_to_ns,
    nearest_point_width,
    ns_delta,
    ns_to_datetime,
    to_nanoseconds,
)

many = settings(max_examples=1000, deadline=None)

SECOND = 10**9
# A second short of the lower end, so that cutting off a fraction stays within.
INT64 = st.integers(-(1 << 63) + SECOND, (1 << 63) - 1)
PLATFORM_TIMES = (-(1 << 60), 3 << 60)
MONTH_STARTS = {
    is_leap: [0, *accumulate((31, 28 + is_leap, 31, 30, 31, 30, 31, 31, 30, 31, 30))]
    for is_leap in (False, True)
}


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date, counted by the calendar's rules."""
    before = year - 1
    leap_days = before // 4 - before // 100 + before // 400
    is_leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    return before * 365 + leap_days + MONTH_STARTS[is_leap][month - 1] + day - 1 - 719162


def civil_text(ns: int, separator: str = "T") -> str:
    """The instant as ISO 8601 with nine digits, found by search over the reference's days."""
    days, rest = divmod(ns, 86400 * SECOND)
    year = 1970 + days // 366
    while days_from_civil(year + 1, 1, 1) <= days:
        year += 1
    while days_from_civil(year, 1, 1) > days:
        year -= 1
    month = 12
    while days_from_civil(year, month, 1) > days:
        month -= 1
    day = days - days_from_civil(year, month, 1) + 1
    seconds, fraction = divmod(rest, SECOND)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{year:04}-{month:02}-{day:02}{separator}{clock}.{fraction:09}"


def assert_every_form_is_exact(ns: int) -> None:
    text = civil_text(ns)
    whole_us = ns - ns % 1000
    dt = ns_to_datetime(ns)
    assert dt.isoformat(timespec="microseconds") == text[:-3] + "+00:00"
    assert datetime_to_ns(dt) == whole_us
    assert to_nanoseconds(dt) == whole_us
    assert to_nanoseconds(text) == ns
    assert to_nanoseconds(text + "Z") == ns
    assert to_nanoseconds(np.datetime64(ns, "ns")) == ns
    assert to_nanoseconds(np.datetime64(whole_us // 1000, "us")) == whole_us
    assert to_nanoseconds(np.datetime64(ns // SECOND, "s")) == ns - ns % SECOND
    assert to_nanoseconds(str(ns)) == ns


@many
@given(INT64)
def test_every_form_of_an_instant_is_exact(ns: int):
    assert_every_form_is_exact(ns)
    assert to_nanoseconds(np.int64(ns)) == ns
    assert to_nanoseconds(Decimal(ns)) == ns


@many
@given(st.integers(*PLATFORM_TIMES))
def test_every_form_of_a_platform_time_is_exact(ns: int):
    assert_every_form_is_exact(ns)
    assert to_nanoseconds(pd.Timestamp(ns)) == ns
    assert to_nanoseconds(pd.Timestamp(ns, tz="Europe/Zurich")) == ns


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_million_instants_are_exact():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    instants = random.Random(seed)  # noqa: S311 - not for cryptography
    for _ in range(1_000_000):
        ns = instants.randrange(*PLATFORM_TIMES)
        text = civil_text(ns, separator=" ")
        assert to_nanoseconds(text) == ns
        dt = ns_to_datetime(ns)
        assert datetime_to_ns(dt) == ns - ns % 1000
        assert to_nanoseconds(np.datetime64(ns, "ns")) == ns


@many
@given(
    st.datetimes(datetime(1700, 1, 1), datetime(2260, 1, 1)),  # noqa: DTZ001 - zone added below
    st.integers(-86_399_999_999, 86_399_999_999),
)
def test_datetime_with_an_offset_is_exact(naive: datetime, offset: int):
    aware = naive.replace(tzinfo=timezone(timedelta(microseconds=offset)))
    days = days_from_civil(naive.year, naive.month, naive.day)
    seconds = naive.hour * 3600 + naive.minute * 60 + naive.second
    local = (days * 86400 + seconds) * SECOND + naive.microsecond * 1000
    assert datetime_to_ns(naive) == local
    assert datetime_to_ns(aware) == local - offset * 1000
    assert to_nanoseconds(aware.isoformat()) == local - offset * 1000
    assert to_nanoseconds(str(aware)) == local - offset * 1000
    assert ns_to_datetime(datetime_to_ns(aware)) == aware
    assert ns_to_datetime(datetime_to_ns(aware)).tzinfo is UTC


@many
@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(-1e9, 1e9),
    st.floats(-1e12, 1e12),
    st.integers(-(10**18), 10**18),
)
def test_ns_delta_agrees_with_decimal_text(
    days: float, hours: float, seconds: float, microseconds: float, nanoseconds: int
):
    with localcontext(prec=400):
        exact = (
            Decimal(repr(days)) * 86400 * SECOND
            + Decimal(repr(hours)) * 3600 * SECOND
            + Decimal(repr(seconds)) * SECOND
            + Decimal(repr(microseconds)) * 1000
            + nanoseconds
        )
        expected = int(exact.to_integral_value(rounding="ROUND_HALF_EVEN"))
    assert (
        ns_delta(
            days=days,
            hours=hours,
            seconds=seconds,
            microseconds=microseconds,
            nanoseconds=nanoseconds,
        )
        == expected
    )


@many
@given(st.integers(1, 1 << 64), st.integers(0, 999))
def test_nearest_point_width_is_the_best_of_all(whole: int, thousandths: int):
    span = Decimal(whole) + Decimal(thousandths) / 1000
    best = min(PW, key=lambda width: (abs(width.nanoseconds - span), int(width)))
    assert nearest_point_width(microseconds=span / 1000) == best


@many
@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_nearest_point_width_of_a_frequency_uses_its_period(millihertz: int, scale: int):
    with localcontext(prec=60):
        hertz = Decimal(millihertz) / 1000 / scale
        best = min(PW, key=lambda width: (abs(width.nanoseconds * hertz - SECOND), int(width)))
    assert nearest_point_width(hertz=hertz) == best


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_million_spans_are_exact():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    random_ = random.Random(seed)  # noqa: S311 - not for cryptography
    edges = [Fraction(1 << p) + Fraction(1 << p, 2) for p in range(61)]
    for case in range(1_000_000):
        days, seconds = random_.uniform(-1e4, 1e4), random_.randrange(-(10**9), 10**9)
        millis, nanos = random_.randrange(10**6) / 8, random_.randrange(-(1 << 62), 1 << 62)
        exact = (
            Fraction(repr(days)) * 86_400 * SECOND
            + seconds * SECOND
            + Fraction(repr(millis)) * 10**6
            + nanos
        )
        found = ns_delta(days=days, seconds=seconds, milliseconds=millis, nanoseconds=nanos)
        assert found == round(exact)
        # Every other span lies at or next to the middle between two widths.
        span = (
            Fraction(random_.randrange(1, 1 << 61), random_.randrange(1, 1000))
            if case % 2
            else edges[case // 2 % 61] + random_.choice((0, Fraction(1, 1000), Fraction(-1, 1000)))
        )
        if span >= 1:
            below = min(int(span).bit_length() - 1, 60)
            above = min(below + 1, 60)
            is_nearer = (1 << above) - span < span - (1 << below)
            assert int(nearest_point_width(microseconds=span / 1000)) == (
                above if is_nearer else below
            )
