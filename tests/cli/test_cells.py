"""Cells as times and numbers, exactly, or with a reason."""

from __future__ import annotations

from datetime import date
from typing import Any

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.cli import cells
from pingthings.cli.cells import Clock

START = 1_704_067_200_000_000_000  # 2024-01-01
NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def times(column: list[Any], **clock: Any) -> list[int | str]:
    array: Any = pa.array(column)
    found, bad = cells.times(array, Clock(**clock))
    return [bad.get(place, time) for place, time in enumerate(found.tolist())]


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
        "time `2024-02-30` is not understood",
        "time `2024-01-01T25:00:00` is not understood",
        "time `5` is not understood",
        *("no time", "no time"),
    ]


@pytest.mark.parametrize(
    ("column", "clock", "expected"),
    [
        (["99999999999999999999"], {"unit": "s"}, "no number of s"),
        (["1.5"], {"unit": "ns"}, "no number of ns"),
        (["9999999999999999999"], {"unit": "ns"}, "outside 1933 to 2079"),
        ([1 << 40], {"unit": "s"}, "outside 1933 to 2079"),
        ([1e300], {"unit": "s"}, "outside 1933 to 2079"),
        ([float("nan")], {"unit": "s"}, "outside 1933 to 2079"),
        (["2100-01-01"], {}, "outside 1933 to 2079"),
        (["32.01.2024"], {"form": "%d.%m.%Y"}, "not like `%d.%m.%Y`"),
    ],
)
def test_what_is_no_time_has_a_reason(column: list[Any], clock: dict[str, str], expected: str):
    (reason,) = times(column, **clock)
    assert isinstance(reason, str)
    assert expected in reason


def test_dates_and_floats_of_typed_files():
    assert times([date(2024, 1, 1)]) == [START]
    assert times([START / 10**9 + 0.25], unit="s") == [START + 250_000_000]


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


def test_numbers_and_what_is_none():
    column: Any = pa.array(["1", " 2.5", "x", None, "", "1e999", "inf", "1e5", "-.5", "0x1"])
    found, bad = cells.numbers(column, "v", ".")
    assert set(bad) == {2, 5, 6, 9}
    kept = {k: v for k, v in enumerate(found.to_pylist()) if k not in bad}
    assert kept == {0: 1.0, 1: 2.5, 3: None, 4: None, 7: 1e5, 8: -0.5}
    large: Any = pa.array([1 << 60, -5])
    assert "too large" in cells.numbers(large, "v", ".")[1][0]
