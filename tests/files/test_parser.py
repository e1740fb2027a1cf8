"""Cells that are converted while they are parsed are what they are when converted from text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.files import text as module
from pingthings.files.numbers import Notation, numbers
from pingthings.files.open import open_source
from pingthings.files.source import Kinds, Layout
from pingthings.files.times import Clock, likely_kind, times

FIXTURE = HealthCheck.function_scoped_fixture
BLOCK = 512  # bytes, so that files of some rows have several

GOOD_NUMBERS = st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}")
ODD_NUMBERS = st.sampled_from(
    [
        *("", "NaN", "nan(ind)", "inf", "-Infinity", "1e999", "1e-999", "0x10", "1_000", "+2"),
        *(".5", "5.", "1,5", "1.234,5", ",5e1", "9007199254740992", "9007199254740993", "1e16"),
        *("-9223372036854775808", " 7", "7\t", '"8"', "'9'", "\u22121", "12%", "word", "-", "1d"),
        *("-99", "-99.0", "missing"),
    ]
)
SECONDS = st.integers(1_600_000_000, 1_800_000_000)
WALL_TIMES = SECONDS.map(lambda second: str(np.datetime64(second, "s")).replace("T", " "))
ODD_TIMES = st.sampled_from(
    [
        *("", "2024-01-01", "2024-01-01T00:00Z", "2024-01-01 00:00:00+01:00", "2024-1-1 0:00"),
        *("2024-02-30", "1700-01-01", "2300-01-01", "2050-01-01", "2090-01-01", "0001-01-01"),
        *("2024-03-31 02:30", "2024-10-27 02:30", "2024-01-01 00:00:00.123456789", "word"),
        *("0x10", "7", "-7", "1704067200", "99999999999", "1704067200.5", " 1704067200"),
    ]
)
CLOCKS = [
    (Clock(), WALL_TIMES),
    (Clock(), WALL_TIMES.map(lambda text: f"{text}Z")),
    (Clock("Europe/Vienna"), WALL_TIMES),
    (Clock("Europe/Vienna", "infer"), WALL_TIMES),
    (Clock(unit="s"), SECONDS.map(str)),
    (Clock(unit="ns", origin=5), SECONDS.map(str)),
    (Clock(form="%Y-%m-%d %H:%M:%S"), WALL_TIMES),
]
NOTATIONS = [Notation(), Notation(","), Notation(missing=("-99", "missing")), Notation(".", ",")]


def converted(read: Callable[[], Any]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Times and numbers of a file, and why cells are none, over all blocks."""
    whens, wrong_times, values, wrong_values = [], [], [], []
    for found, bad_times, column, bad_values in read():
        good = np.ones(len(found), bool)
        good[list(bad_times)] = False
        whens.append(found[good].tolist())
        wrong_times.append(bad_times)
        held = column.to_pylist()
        values.append([None if k in bad_values else value for k, value in enumerate(held)])
        wrong_values.append(bad_values)
    return whens, wrong_times, values, wrong_values


def mostly(good: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> Any:
    """Rows most of which are good, so that some blocks are without a bad cell."""
    return st.one_of(*[good] * 6, odd)


@st.composite
def timed_rows(draw: st.DrawFn) -> tuple[Clock, list[tuple[str, str]]]:
    """A clock, and rows that begin with one of its times."""
    clock, good = draw(st.sampled_from(CLOCKS))
    row = st.tuples(mostly(good, ODD_TIMES), mostly(GOOD_NUMBERS, ODD_NUMBERS))
    return clock, [(draw(good), "1.5"), *draw(st.lists(row, min_size=2, max_size=80))]


@settings(deadline=None, max_examples=300, suppress_health_check=[FIXTURE])
@given(table=timed_rows(), notation=st.sampled_from(NOTATIONS))
def test_converting_while_parsing_changes_no_cell_and_no_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: tuple[Clock, list[tuple[str, str]]],
    notation: Notation,
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", BLOCK)
    file = tmp_path / "file.csv"
    clock, rows = table
    body = "".join(f"{time};{number}\n" for time, number in rows)
    file.write_text("time;value\n" + body, encoding="utf-8")
    layout = Layout(delimiter=";", missing=notation.missing)

    def read(*, at_once: bool) -> Any:
        source = open_source(file, layout)
        last = None
        kind = likely_kind(source.sample()["time"], clock)
        kinds: dict[str, Any] = {"value": pa.float64()} if notation.thousands is None else {}
        kinds |= {} if kind is None else {"time": kind}
        wanted = Kinds(kinds if at_once else {}, notation.decimal)
        for block in source.blocks(["time", "value"], source.start, wanted):
            clock.last = last
            found, bad = times(block.table["time"], clock)
            if bad and at_once and block.written is not None:
                clock.last = last
                found, bad = times(block.written(["time"])["time"], clock)
            last = clock.last
            yield found, bad, *numbers(block.table["value"], "value", notation)

    assert converted(lambda: read(at_once=True)) == converted(lambda: read(at_once=False))


def test_a_column_without_odd_cells_comes_converted(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("time,a,b\n2024-01-01,1.5,2\n2024-01-02,2.5,12%\n", encoding="utf-8")
    source = open_source(file)
    kinds = Kinds({"time": pa.timestamp("ns"), "a": pa.float64(), "b": pa.float64()})
    (block,) = source.blocks(source.columns, source.start, kinds)
    found = [str(column.type) for column in block.table.columns]
    assert found == ["timestamp[ns]", "double", "string"]
    assert block.written is not None
    assert block.written(["a"])["a"].to_pylist() == ["1.5", "2.5"]


def test_a_column_that_is_often_bad_is_tried_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", BLOCK)
    file = tmp_path / "file.csv"
    body = "".join(f"2024-01-01 00:{k // 60:02}:{k % 60:02},12%\n" for k in range(3_000))
    file.write_text("time,value\n" + body, encoding="utf-8")
    source: Any = open_source(file)
    tried = 0
    parse = source._parser._read

    def counted(data: Any, columns: Any, kinds: Kinds) -> Any:
        nonlocal tried
        tried += bool(kinds.types)
        return parse(data, columns, kinds)

    monkeypatch.setattr(source._parser, "_read", counted)
    kinds = Kinds({"value": pa.float64()})
    blocks = sum(1 for _ in source.blocks(["value"], source.start, kinds))
    assert blocks > 100
    assert tried < 10


def test_a_hexadecimal_number_is_no_time(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("time,value\n16,1\n0x10,2\n", encoding="utf-8")
    source, clock = open_source(file), Clock(unit="s")
    kinds = Kinds({"time": pa.int64(), "value": pa.float64()})
    (block,) = source.blocks(source.columns, source.start, kinds)
    assert times(block.table["time"], clock)[1] == {1: "time `0x10` is no number of s"}
