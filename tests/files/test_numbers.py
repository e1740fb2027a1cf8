"""Cells as float64: the nearest one, or a reason."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.files.numbers import Notation, numbers

compute: Any = pc


def read(column: list[Any] | pa.Array, **notation: Any) -> list[float | str | None]:
    array: Any = column if isinstance(column, pa.Array) else pa.array(column)
    found, bad = numbers(array, "v", Notation(**notation))
    return [bad.get(place, value) for place, value in enumerate(found.to_pylist())]


def test_numbers_and_what_is_none():
    column = ["1", " 2.5", "x", None, "", "1e999", "inf", "1e5", "-.5", "0x1", "\u22125", "+1."]
    found = read(column)
    assert [value for value in found if not isinstance(value, str)] == [
        *(1.0, 2.5, None, None, 1e5, -0.5, -5.0, 1.0)
    ]
    assert found[2] == "`x` in column `v` is no number"
    assert found[5] == "`1e999` in column `v` is not finite"
    assert found[6] == "`inf` in column `v` is not finite"
    assert found[9] == "`0x1` in column `v` is no number; write it in decimal"


NAN = ["nan", "+nan", "-nan", "nan(ind)", "1.#QNAN", "-1.#IND", "n/a", "null"]


@given(st.sampled_from(NAN), st.data())
def test_every_spelling_of_nan_is_a_missing_value(word: str, data: st.DataObject):
    cased = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in word)
    around = data.draw(st.sampled_from(["{}", " {}", "{} ", '"{}"', "\u00a0{}"]))
    assert read(["1", around.format(cased), "2"]) == [1.0, None, 2.0]


@given(st.floats(allow_nan=False), st.booleans(), st.booleans())
def test_numbers_are_the_nearest_double_in_every_notation(
    number: float, has_comma: bool, among_bad: bool
):
    text = repr(number)
    written = text.replace(".", ",") if has_comma else text
    (found, *_) = read([written, *(["bad"] * among_bad)], decimal="," if has_comma else ".")
    if not math.isfinite(number):
        assert "not finite" in str(found)
    elif "e" not in text and abs(number) > 1 << 53:
        assert "too large" in str(found)
    else:
        assert found == number


@given(st.integers(), st.sampled_from(["", ".0", ".", ".000"]))
def test_whole_numbers_that_a_double_does_not_count_are_refused(number: int, tail: str):
    (found,) = read([f"{number}{tail}"])
    if abs(number) <= 1 << 53:
        assert found == number
    else:
        assert isinstance(found, str)


@given(st.integers(-(1 << 53), 1 << 53), st.integers(0, 99), st.sampled_from(".,' "))
def test_groups_of_three_digits_are_read_where_that_is_said(number: int, cents: int, mark: str):
    decimal = "," if mark == "." else "."
    text = f"{number:,}".replace(",", mark) + f"{decimal}{cents:02}"
    expected = float(f"{number}.{cents:02}")
    (found,) = read([text], decimal=decimal, thousands=mark)
    assert found == expected
    if abs(number) > 999:
        assert isinstance(read([text], decimal=decimal)[0], str)


@pytest.mark.parametrize("text", ["1.234", "1.5", ".5", "1.2,5", "1,2,3", "1.234.567"])
def test_a_point_is_no_decimal_comma(text: str):
    (found,) = read([text], decimal=",")
    assert "decimals follow a comma" in str(found)


@pytest.mark.parametrize("text", ["0.123", "12.34", "1.23", "1234.567", "1.234.56", ".123"])
def test_what_is_no_group_of_three_is_refused(text: str):
    assert isinstance(read([text], decimal=",", thousands=".")[0], str)


def test_words_that_are_said_to_be_missing_are():
    assert read(["n/v", " n/v", "-999", "-999.0"], missing=("n/v", "-999")) == [
        *(None, None, None, None)
    ]


INTEGERS = [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
@given(data=st.data())
def test_integers_of_every_type_are_exact_or_refused(kind: Any, data: st.DataObject):
    bits, is_signed = kind.bit_width, pa.types.is_signed_integer(kind)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
    column = data.draw(st.lists(st.none() | st.integers(low, high), min_size=1))
    for number, found in zip(column, read(pa.array(column, kind)), strict=True):
        if number is not None and abs(number) > 1 << 53:
            assert "too large" in str(found)
        else:
            assert found == number


@given(st.lists(st.decimals(-(10**18), 10**18, places=6), min_size=1))
def test_decimals_are_the_nearest_double_or_refused(column: list[Decimal]):
    for number, found in zip(column, read(pa.array(column, pa.decimal128(38, 6))), strict=True):
        if number == int(number) and abs(number) > 1 << 53:
            assert "too large" in str(found)
        else:
            assert found == float(number)


TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_texts_of_every_type_are_read(kind: Any):
    assert read(pa.array(["1", None, "2.5"]).cast(kind)) == [1.0, None, 2.5]


def test_however_a_column_is_stored_its_numbers_are_read():
    column: Any = pa.array([1.0, 1.0, 2.0])
    for stored in (column.dictionary_encode(), compute.run_end_encode(column)):
        assert read(stored) == [1.0, 1.0, 2.0]
    assert read(pa.array(np.array([1, 2], "f2"))) == [1.0, 2.0]
    assert read(pa.array([True, False, None])) == [1.0, 0.0, None]
    assert read(pa.nulls(2)) == [None, None]


@given(st.integers(1 << 53, 1 << 70), st.integers(0, 12), st.booleans())
def test_an_exponent_hides_no_digit_that_a_double_does_not_count(
    number: int, shift: int, is_large: bool
):
    (found,) = read([f"{number * 10**shift}e-{shift}"])
    if int(float(number)) == number:
        assert found == number
    elif len(str(number)) < 17:
        assert "too large for float64" in str(found)
    (again,) = read([f"{float(number):.16e}" if is_large else f"{float(number):.15e}"])
    assert isinstance(again, float) or not is_large


@given(st.floats(1e16, 1e300), st.sampled_from(["repr", ".16e", ".20e", ".3e"]))
def test_doubles_that_programs_write_with_an_exponent_are_read(number: float, form: str):
    text = repr(number) if form == "repr" else format(number, form)
    if "e" in text:
        assert read([text]) == [float(text)]


@pytest.mark.parametrize("digits", [17, 400, 5_000, 100_000])
def test_a_number_of_many_digits_is_refused_and_no_crash(digits: int):
    found = read(["1", "9" * digits, "0" * digits + "2", "9" * digits + "e-2"])
    assert (found[0], found[2]) == (1.0, 2.0)
    assert "too large for float64" in str(found[1])
    assert "column `v`" in str(found[3]) or isinstance(found[3], float)


COLUMNS: list[tuple[Any, list[Any]]] = [
    (pa.float64(), [-999.0, 1.0]),
    (pa.float32(), [-999.0, 1.0]),
    (pa.int16(), [-999, 1]),
    (pa.int64(), [-999, 1]),
    (pa.decimal128(10, 2), [Decimal(-999), Decimal(1)]),
    (pa.string(), ["-999", "1"]),
    (pa.string(), ["-999.00", "1"]),
    (pa.string(), ["-9.99E+02", "1"]),
]


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=str)
def test_a_number_that_is_said_to_be_missing_is_so_in_every_type(kind: Any, column: list[Any]):
    assert read(pa.array(column, kind), missing=("-999",)) == [None, 1.0]
    assert read(pa.array(column, kind), missing=("x", "-999.0")) == [None, 1.0]


def test_a_missing_number_may_be_one_that_no_double_counts():
    largest = pa.array([(1 << 64) - 1, 1], pa.uint64())
    assert read(largest, missing=("1.8446744073709552e19",)) == [None, 1.0]
    assert read(["-999,0", "1"], decimal=",", missing=("-999",)) == [None, 1.0]
