"""Cells as times, exactly, or with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pingthings.files import times as read
from pingthings.files.timeformat import COMMON
from pingthings.files.times import Clock

START = 1_704_067_200_000_000_000  # 2024-01-01
NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def times(column: list[Any] | npt.NDArray[np.floating[Any]], **clock: Any) -> list[int | str]:
    array: Any = pa.array(column)
    found, bad = read.times(array, Clock(**clock))
    return [bad.get(place, time) for place, time in enumerate(found.tolist())]


def of_python(*parts: int) -> str:
    """What Python says of a time that does not exist, each version in its own words."""
    with pytest.raises(ValueError, match=r"must be in|out of range") as raised:
        datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]
    return str(raised.value)


def test_a_column_may_mix_ways_of_writing_times():
    assert times(
        [
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00.000000001Z",
            "2024-01-01T01:00:00+01:00",
            "2023-12-31T19:00-0500",
            "2024-01-01",
            "2024-1-1 0:00",
            " 2024-01-01T00:00:00,5 ",
            "2024-02-30",
            "2024-01-01T25:00:00",
            "5",
            "",
            None,
        ]
    ) == [
        *(START, START + 1, START, START, START, START, START + 500_000_000),
        f"time `2024-02-30` does not exist: {of_python(2024, 2, 30)}",
        f"time `2024-01-01T25:00:00` does not exist: {of_python(2024, 1, 1, 25)}",
        "time `5` is not understood",
        *("no time", "no time"),
    ]


@pytest.mark.parametrize(
    ("column", "clock", "expected"),
    [
        (["99999999999999999999"], {"unit": "s"}, "no number of s"),
        (["1.5"], {"unit": "ns"}, "finer than a nanosecond"),
        (["9999999999999999999"], {"unit": "ns"}, "outside 1933 to 2079"),
        ([1 << 40], {"unit": "s"}, "outside 1933 to 2079"),
        ([1e300], {"unit": "s"}, "outside 1933 to 2079"),
        ([float("nan")], {"unit": "s"}, "outside 1933 to 2079"),
        (["2100-01-01"], {}, "outside 1933 to 2079"),
        (["32.01.2024"], {"form": "%d.%m.%Y"}, "does not exist"),
        (["1.1.24"], {"form": "%d.%m.%Y"}, "not like `%d.%m.%Y`"),
    ],
)
def test_what_is_no_time_has_a_reason(column: list[Any], clock: dict[str, str], expected: str):
    (reason,) = times(column, **clock)
    assert isinstance(reason, str)
    assert expected in reason


def test_dates_and_floats_of_typed_files():
    assert times([date(2024, 1, 1)]) == [START]
    assert times([START / 10**9 + 0.25], unit="s") == [START + 250_000_000]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("2024-01-01T00:00:00.1234567891Z", None),
        ("2024-01-01 00:00:00,1234567891", None),
        ("1704067200.1234567891", "s"),
        ("1704067200000000000.5", "ns"),
    ],
)
def test_a_time_with_too_many_digits_is_said_to_be_too_fine(text: str, unit: str | None):
    assert times([text], unit=unit) == [f"time `{text}` is finer than a nanosecond"]


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_small_floats_are_the_times_that_their_digits_say(kind: type[np.floating[Any]]):
    column = [*np.array([0.1, 0.02, -1.5, 1000], kind), None]
    expected = [10**8, 2 * 10**7, -15 * 10**8, 10**12, "no time"]
    assert times(column, unit="s") == expected


@pytest.mark.parametrize(
    ("number", "unit", "why"),
    [
        (1_704_067_200.1, "s", "time `1704067200.0` is a float32, 128 s from the next"),
        (45_292.5, "excel", "time `45292.5` is a float32, 0.00390625 days from the next"),
        (float("nan"), "s", "outside 1933 to 2079"),
    ],
)
def test_floats_too_coarse_for_a_time_are_refused(number: float, unit: str, why: str):
    (found,) = times(np.array([number], np.float32), unit=unit)
    assert why in str(found)


@given(
    st.lists(st.integers(-(10**18), 3 * 10**18), min_size=1),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_decimal_numbers_of_a_unit_are_exact(instants: list[int], unit: str):
    factor, digits = NS[unit], len(str(NS[unit])) - 1
    column = []
    for time in instants:
        whole, rest = divmod(abs(time), factor)
        fraction = f".{rest:0{digits}}" if digits else ""
        column.append(f"{'-' if time < 0 else ''}{whole}{fraction}")
    assert times(column, unit=unit) == instants


@given(st.lists(st.integers(-(10**18), 3 * 10**18), min_size=1), st.booleans())
def test_times_of_iso_8601_are_read_as_the_library_reads_them(instants: list[int], is_odd: bool):
    column = [
        f"{pt.utils.ns_to_datetime(time):%Y-%m-%d %H:%M:%S}.{time % 10**9:09}Z" for time in instants
    ]
    expected: list[int | str] = [*instants, *(["time `x` is not understood"] if is_odd else [])]
    assert times(column + ["x"] * is_odd) == expected


# ruff: noqa: DTZ001 - what a clock on a wall shows has no zone
ZONES = [
    *("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"),
    *("America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia", "Europe/Dublin", "Asia/Tehran"),
]


def instants_of(text: str, zone: str) -> set[int]:
    """What a wall clock's time may stand for, as the standard library has it."""
    naive = datetime.fromisoformat(text)
    found = set()
    for fold in (0, 1):
        here = naive.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
        if here.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == naive:
            found.add(pt.utils.to_nanoseconds(here))
    return found


@given(
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1935, 1, 1), datetime(2078, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(["earlier", "later", "reject"]),
)
@example("Europe/Vienna", [datetime(2050, 7, 1, 12), datetime(2050, 1, 1)], "reject")
@example("Europe/Vienna", [datetime(2050, 10, 30, 2, 30), datetime(2050, 3, 27, 2, 30)], "later")
@example(
    "Australia/Lord_Howe", [datetime(2024, 4, 7, 1, 45), datetime(2024, 10, 6, 2, 15)], "later"
)
@example("Pacific/Apia", [datetime(2011, 12, 30, 12)], "reject")
@example("Africa/Casablanca", [datetime(2024, 3, 10, 2, 30), datetime(2070, 1, 1)], "earlier")
def test_zones_follow_their_rules_in_every_year(zone: str, walls: list[datetime], which: str):
    texts = [wall.replace(microsecond=0).isoformat() for wall in walls]
    formed = [wall.strftime("%d.%m.%Y %H:%M:%S") for wall in walls]
    told = times(texts, zone=zone, ambiguous=which)
    assert told == [
        text if isinstance(text, int) else told[k]
        for k, text in enumerate(
            times(formed, zone=zone, ambiguous=which, form="%d.%m.%Y %H:%M:%S")
        )
    ]
    for text, found in zip(texts, told, strict=True):
        right = sorted(instants_of(text, zone))
        match right, which:
            case [], _:
                assert "does not exist" in str(found)
            case [one], _:
                assert found == one
            case _, "reject":
                assert "came twice" in str(found)
            case [first, last], _:
                assert found == (first if which == "earlier" else last)


@given(
    st.lists(st.datetimes(datetime(1935, 1, 1), datetime(2078, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(
        [
            "%Y-%m-%d %H:%M:%S.%f",
            "%d/%m/%Y %H:%M:%S,%f",
            "%Y%m%d%H%M%S%f",
            "%d %b %Y %I:%M:%S.%f %p",
            "%A %d. %B %Y %H:%M:%S.%f",
            "%j/%Y %H-%M-%S %f",
            "%D %T.%f",
            "%FT%T.%fZ%%",
        ]
    ),
)
def test_formats_are_read_as_strptime_reads_them(moments: list[datetime], form: str):
    texts = [moment.strftime(form) for moment in moments]
    spelled = form.replace("%D", "%m/%d/%y").replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")
    expected = [
        pt.utils.to_nanoseconds(datetime.strptime(text, spelled).replace(tzinfo=UTC))
        for text in texts
    ]
    found = times(texts, form=form)
    inside = [time if -(1 << 60) <= time < 3 << 60 else found[k] for k, time in enumerate(expected)]
    assert found == inside


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1), st.integers(1, 9))
def test_fractions_of_a_format_are_exact(fractions: list[int], digits: int):
    texts = [f"01.01.2024 00:00:00.{value:09}"[: 20 + digits] for value in fractions]
    cut = 10 ** (9 - digits)
    expected = [START + value // cut * cut for value in fractions]
    assert times(texts, form="%d.%m.%Y %H:%M:%S.%f") == expected


@given(st.dates(date(1935, 1, 1), date(2078, 12, 31)), st.integers(-1, 40), st.integers(-1, 20))
def test_days_that_do_not_exist_are_refused(day: date, number: int, month: int):
    text = f"{number:02}.{month:02}.{day.year}"
    try:
        right = datetime.strptime(text, "%d.%m.%Y").replace(tzinfo=UTC)
    except ValueError:
        assert isinstance(times([text], form="%d.%m.%Y")[0], str)
    else:
        assert times([text], form="%d.%m.%Y") == [pt.utils.to_nanoseconds(right)]


def test_names_of_zones_count_or_are_refused():
    form = "%d.%m.%Y %H:%M %Z"
    texts = ["27.10.2024 02:30 CEST", "27.10.2024 02:30 CET", "27.10.2024 02:30 UTC"]
    first = pt.utils.to_nanoseconds("2024-10-27T00:30Z")
    hour = 3_600 * 10**9
    assert times(texts, form=form, zone="Europe/Vienna") == [first, first + hour, first + 2 * hour]
    without = times(texts, form=form)
    assert "--time-zone" in str(without[0])
    assert without[2] == first + 2 * hour
    assert "is not `EST`" in str(
        times(["27.10.2024 02:30 EST"], form=form, zone="Europe/Vienna")[0]
    )


def test_an_offset_counts_whatever_zone_is_told():
    column = ["01.07.2024 12:00 +0130", "01.07.2024 12:00 Z"]
    noon = pt.utils.to_nanoseconds("2024-07-01T12:00Z")
    found = times(column, form="%d.%m.%Y %H:%M %z", zone="Europe/Vienna")
    assert found == [noon - 5_400 * 10**9, noon]


def hours(*numbers: float) -> list[str]:
    """Times of the wall clock in the night in which Vienna's goes back."""
    return [f"2024-10-27 {int(hour):02}:{round(hour % 1 * 60):02}:00" for hour in numbers]


@given(st.sampled_from([5, 10, 15, 30, 60]), st.integers(0, 40), st.booleans())
def test_the_order_of_rows_says_which_of_two_hours_it_is(step: int, first: int, in_blocks: bool):
    begin = datetime(2024, 10, 26, 21, tzinfo=UTC) + timedelta(minutes=first * 3)
    moments = [begin + timedelta(minutes=step * k) for k in range(8 * 60 // step)]
    walls = [moment.astimezone(ZoneInfo("Europe/Vienna")) for moment in moments]
    column: Any = pa.array([f"{wall:%Y-%m-%d %H:%M:%S}" for wall in walls])
    clock = Clock(zone="Europe/Vienna", ambiguous="infer")
    parts = [column[:1], column[1:]] if in_blocks else [column]
    found: list[int] = []
    for part in parts:
        some, bad = read.times(part, clock)
        assert not bad
        found += some.tolist()
    assert found == [pt.utils.to_nanoseconds(moment) for moment in moments]


def test_without_a_step_back_the_order_says_nothing():
    found = times(hours(1, 2, 2.5, 3), zone="Europe/Vienna", ambiguous="infer")
    assert [isinstance(time, int) for time in found] == [True, False, False, True]
    falling = times(hours(4, 3, 2.5, 2, 2.5, 2, 1), zone="Europe/Vienna", ambiguous="infer")
    assert "order of rows" in str(falling[2])


@given(st.integers(61 * 86_400_000, 65_000 * 86_400_000))
def test_days_of_a_spreadsheet_are_exact_to_the_millisecond(milliseconds: int):
    days = milliseconds / 86_400_000
    expected = -25_569 * 86_400 * 10**9 + milliseconds * 10**6
    if expected >= -(1 << 60):
        assert times([days], unit="excel") == [expected]
        assert times([repr(days)], unit="excel") == [expected]


def test_numbers_count_from_an_origin():
    origin = START + 500
    assert times(["0", "0.5", "-1"], unit="s", origin=origin) == [
        origin,
        origin + 500_000_000,
        origin - 10**9,
    ]
    assert times([0, 1], unit="ms", origin=origin) == [origin, origin + 10**6]


@pytest.mark.parametrize(
    "kind", [pa.bool_(), pa.duration("s"), pa.time64("us"), pa.list_(pa.int64())], ids=str
)
def test_types_that_are_no_times_are_refused(kind: pa.DataType):
    make: Any = pa.nulls
    with pytest.raises(pt.exceptions.BTRDBValueError, match="no type of times"):
        read.times(make(2, kind), Clock())


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_typed_columns_beyond_nanoseconds_are_refused(unit: str):
    most = (1 << 63) - 1
    array: Any = pa.array([0, most, -most], pa.int64()).cast(pa.timestamp(unit))
    found = read.times(array, Clock())
    assert found[0][0] == 0
    assert set(found[1]) == {1, 2}


@given(
    st.integers(-(10**9), 3 * 10**9), st.integers(0, 999_999), st.sampled_from(["s", "ms", "us"])
)
def test_times_as_doubles_are_what_their_text_says(second: int, micros: int, unit: str):
    exact = second * 10**9 + micros * 1_000
    number = exact // 1_000 / 10**6 if unit == "s" else exact // 1_000 / (NS[unit] // 1_000)
    assert times([number], unit=unit) == [exact]
    assert times([f"{number:.18e}"], unit=unit) == [exact]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-5.000E-03", -5_000_000),
        ("1,5e-3", 1_500_000),
        ("1.704067200E+09", START),
        ("0e5", 0),
        ("1.70407E+09", None),
        ("1e400", None),
        ("1e-30", None),
    ],
)
def test_an_exponent_is_read_where_the_digits_go_down_to_the_unit(text: str, expected: int | None):
    (found,) = times([text], unit="s")
    if expected is None:
        assert any(why in str(found) for why in ("no number of s", "finer than a nanosecond"))
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y-%m-%d %z", "2024-01-01 +24:00"),
        ("%Y-%m-%d %z", "2024-01-01 +05:60"),
        ("%Y-%m-%d %z", "2024-01-01 -9999"),
        ("%A %d %B %Y", "Monday 05 January 2024"),
        ("%a %d/%m/%Y", "fri 01/05/2024"),
    ],
)
def test_offsets_and_weekdays_that_do_not_exist_are_refused(form: str, text: str):
    (found,) = times([text], form=form)
    assert "does not exist" in str(found)


@given(st.dates(date(1970, 1, 1), date(2078, 12, 31)), st.sampled_from(["%a", "%A"]))
def test_weekdays_that_are_right_are_read(day: date, name: str):
    form = f"{name} %d.%m.%Y"
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert times([f"{midnight:{form}}"], form=form) == [pt.utils.to_nanoseconds(midnight)]


@example(begin=120, length=1, step=5, is_falling=False, has_pairs=True)
@example(begin=0, length=181, step=60, is_falling=False, has_pairs=True)
@example(begin=90, length=61, step=30, is_falling=True, has_pairs=False)
@given(
    begin=st.integers(0, 5 * 60),
    length=st.integers(1, 6 * 60),
    step=st.sampled_from([5, 10, 15, 30, 60]),
    is_falling=st.booleans(),
    has_pairs=st.booleans(),
)
def test_the_order_of_rows_gives_the_right_instant_or_none(
    begin: int, length: int, step: int, is_falling: bool, has_pairs: bool
):
    first = pt.utils.to_nanoseconds("2024-10-26T22:00:00Z")
    right = [first + (begin + k) * 60 * 10**9 for k in range(0, length, step)]
    right = [time for time in right for _ in range(1 + has_pairs)]
    if is_falling:
        right.reverse()
    vienna = ZoneInfo("Europe/Vienna")
    texts = [f"{pt.utils.ns_to_datetime(time).astimezone(vienna):%Y-%m-%d %H:%M}" for time in right]
    found = times(texts, zone="Europe/Vienna", ambiguous="infer")
    assert all(isinstance(one, str) or one == time for one, time in zip(found, right, strict=True))


def test_a_file_that_begins_within_the_hour_that_comes_twice_says_nothing():
    for rows in (["02:30"], ["02:00", "02:30"], ["02:30", "02:00", "02:30", "02:00"]):
        found = times(
            [f"2024-10-27 {row}" for row in rows], zone="Europe/Vienna", ambiguous="infer"
        )
        assert all("order of rows" in str(one) for one in found)


@given(st.dates(date(1934, 1, 1), date(2078, 1, 1)), st.sampled_from(["", "T12:30:00Z"]))
def test_days_may_be_written_by_week_and_by_their_number(day: date, rest: str):
    year, week, weekday = day.isocalendar()
    texts = [f"{day}", f"{day:%Y-%j}", f"{year}-W{week:02}-{weekday}"]
    assert len(set(times([text + rest for text in texts]))) == 1


@given(
    st.dates(date(1934, 1, 1), date(2078, 1, 1)),
    st.sampled_from(["", ":00", ":00:00", ":00:00.000", ":00:00Z", ":00:00+05:30"]),
    st.sampled_from(["T", " "]),
    st.sampled_from([None, "Europe/Vienna", "America/New_York"]),
)
def test_24_o_clock_is_the_beginning_of_the_next_day(
    day: date, rest: str, between: str, zone: str | None
):
    later = day + timedelta(1)
    column = [f"{day}{between}24{rest}", f"{later}{between}00{rest}"]
    found = times(column, zone=zone)
    assert found[0] == found[1]
    told = times([f"{day:%d.%m.%Y} 24:00", f"{later:%d.%m.%Y} 00:00"], form="%d.%m.%Y %H:%M")
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "text", ["2023-366", "2024-000", "2024-W53-1", "2024-W01-8", "2024-01-01 24:01"]
)
def test_days_and_hours_beyond_the_last_do_not_exist(text: str):
    (why,) = times([text])
    assert str(why).startswith(f"time `{text}` does not exist")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("01.01.2024 00:00 - 01.01.2024 01:00", "%d.%m.%Y %H:%M - %*"),
        ("2024-01-01T01:00:00+01:00[Europe/Vienna]", "%Y-%m-%dT%H:%M:%S%z[%*]"),
        ("2024-01-01T00:00Z/2024-01-01T01:00Z", "%Y-%m-%dT%H:%M%z/%*"),
        ("Mon Jan  1 00:00:00 2024", "%a %b %d %H:%M:%S %Y"),
    ],
)
def test_what_stands_behind_a_time_may_be_passed_over(text: str, form: str):
    assert form in COMMON
    assert times([text], form=form) == [START]


def test_marks_of_files_that_were_put_together_are_no_part_of_times():
    assert times(["\ufeff2024-01-01"]) == [START]
    assert times(["\ufeff01.01.2024"], form="%d.%m.%Y") == [START]
