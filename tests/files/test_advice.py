"""What is advised about a cell that is no number works, if it names an option."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.files.advice import advice
from pingthings.files.numbers import NO_NUMBER, Notation, numbers

MARKS = ["%", " %", "$", "€ ", " kW", "°C", " V", "m/s", "*"]
OPTION = re.compile(r"`(--(?:decimal|thousands|missing) [^`]+)`")


def told(cell: str, notation: Notation) -> str:
    """Why a cell is no number; nothing if it is one."""
    column: Any = pa.array([cell])
    return numbers(column, "a", notation)[1].get(0, "")


@st.composite
def grouped(draw: st.DrawFn) -> str:
    digits = f"{draw(st.integers(1_000, 10**12)):,}"
    part = draw(st.sampled_from([" ", "'", "\u2019", ",", "_"]))
    decimals = draw(st.sampled_from(["", ".5", ".25"]))
    return draw(st.sampled_from(["", "-", "+"])) + digits.replace(",", part) + decimals


CELLS = st.one_of(
    grouped(),
    st.floats(-1e5, 1e5).map(lambda number: f"{number:.2f}".replace(".", ",")),
    st.sampled_from(["true", "FALSE", "On", "off", "yes", "#N/A", "#DIV/0!", "#REF!", "ERR"]),
)


@given(CELLS, st.sampled_from([".", ","]))
def test_every_option_that_is_advised_makes_the_cell_a_number_or_nothing(cell: str, decimal: str):
    notation = Notation(decimal)
    reason = told(cell, notation)
    if decimal == "." and reason:
        assert ";" in reason
    for option, value in (shlex.split(text) for text in OPTION.findall(reason)):
        other = {
            "--decimal": replace(notation, decimal=value, thousands=None),
            "--thousands": replace(notation, thousands=value),
            "--missing": replace(notation, missing=(value,)),
        }[option]
        assert told(cell, other) == ""


@given(st.floats(-1e5, 1e5).map(lambda number: f"{number:.2f}"), st.sampled_from(MARKS))
def test_a_number_with_a_mark_is_told_without_it(number: str, mark: str):
    cell = mark + number if mark.strip() in {"$", "€"} else number + mark
    assert told(cell, Notation()).endswith(f"; write the number alone, without `{mark.strip()}`")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0x1F", "; write it in decimal"),
        ("(3.5)", "; write -3.5 if it is negative"),
        ("3.5-", "; write -3.5 if it is negative"),
        ("<0.5", "; it is a bound and no value; `--bad-cell cell` keeps the rest of its row"),
        ("EUR 5", "; write the number alone, without `EUR`"),
        ("word", ""),
        ("12:30", ""),
        ("2024-01-01", ""),
        ("1.2.3", ""),
    ],
)
def test_what_is_advised(cell: str, said: str):
    assert advice(cell) == said
    assert told(cell, Notation()) == f"`{cell}` in column `a` {NO_NUMBER}{said}"
