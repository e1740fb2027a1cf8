"""Cells as float64: whole columns at once, and a reason for each that is no finite number.

A number is stored as the double nearest to it. What a double cannot count, a whole number beyond
2^53, is refused and not rounded, whether it comes as text, as an integer or as a decimal.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.advice import advice
from pingthings.files.arrays import (
    Bad,
    are_finite,
    cast_each,
    flags,
    is_text,
    one_chunk,
    places,
    shown,
)
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["MISSING", "NO_NUMBER", "TOO_LARGE", "Notation", "numbers"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

MISSING = ["", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "-"]
"""What stands in a cell that has no value; spellings of NaN are found besides."""

NO_NUMBER, TOO_LARGE = "is no number", "is too large for float64"
"""What reasons say."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$"
_NAN = r"(?i)^([+-]?nan(\(.*\))?|[+-]?1\.#(QNAN|IND|SNAN|NAN).*|n/a|na|null|none|nil|<na>|nat)$"
_WHOLE = r"^[+-]?\d+(\.0*)?$"
_MANY_DIGITS = r"^\s*[+-]?[0.]*[1-9](\.?\d){15,}\.?[eE]"  # with fewer a double shows them all
_LARGEST_WHOLE = 1 << 53
_SPACES = "\"' \t\u00a0\u202f\u2009\ufeff\r\n"


@dataclass(frozen=True)
class Notation:
    """How numbers are written."""

    decimal: str = "."
    thousands: str | None = None
    """What parts groups of three digits; None allows nothing to."""
    missing: tuple[str, ...] = ()
    """What else stands for no value; a number does so however it is written."""

    def missing_numbers(self) -> list[float]:
        """Returns the numbers that stand for no value."""
        found = [
            _of_texts(arrow.array([word]), "", replace(self, missing=()), {})[0].as_py()
            for word in self.missing
        ]
        return [number for number in found if number is not None]


def numbers(column: Any, name: str, notation: Notation | str = ".") -> tuple[Any, Bad]:
    """Returns a column as float64, null where nothing stands, and which cells are no numbers.

    Raises:
        BTRDBValueError: No column of this type holds numbers.
    """
    if isinstance(notation, str):
        notation = Notation(notation)
    array = one_chunk(column)
    bad: Bad = {}
    types = arrow.types
    if is_text(array.type):
        found = _of_texts(array, name, notation, bad)
    elif types.is_decimal(array.type):
        written = replace(Notation(), missing=notation.missing)
        found = _of_texts(array.cast(arrow.string()), name, written, bad)
    elif types.is_null(array.type):
        return arrow.nulls(len(array), arrow.float64()), bad
    elif (
        types.is_integer(array.type)
        or types.is_floating(array.type)
        or types.is_boolean(array.type)
    ):
        if types.is_integer(array.type):
            for place in np.flatnonzero(_is_large(array)).tolist():
                bad[place] = _too_large(array, place, name)
        found = array.cast(arrow.float64(), safe=False)
        if not notation.missing and are_finite(found):
            return found, bad
        found = compute.if_else(compute.is_nan(found), None, found)
    else:
        raise BTRDBValueError(f"column `{name}` is {array.type}, not numbers")
    found = _without_missing(found, notation, bad)
    for place in places(compute.is_inf(found)):
        bad.setdefault(place, f"`{shown(array, place)}` in column `{name}` is not finite")
    return found, bad


def _without_missing(found: Any, notation: Notation, bad: Bad) -> Any:
    for number in notation.missing_numbers():
        is_missing = compute.fill_null(compute.equal(found, number), fill_value=False)
        found = compute.if_else(is_missing, None, found)
        for place in places(is_missing):
            bad.pop(place, None)
    return found


def _too_large(array: Any, place: int, name: str) -> str:
    return f"`{shown(array, place)}` in column `{name}` {TOO_LARGE}, which counts to 2^53"


def _is_large(array: Any) -> npt.NDArray[np.bool_]:
    if array.type.bit_width <= 32:  # noqa: PLR2004 - bits
        return np.zeros(len(array), bool)
    most = arrow.scalar(_LARGEST_WHOLE, array.type)
    large = compute.greater(array, most)
    if arrow.types.is_signed_integer(array.type):
        least = arrow.scalar(-_LARGEST_WHOLE, array.type)
        large = compute.or_(large, compute.less(array, least))
    return flags(large)


def _of_texts(array: Any, name: str, notation: Notation, bad: Bad) -> Any:
    if notation == Notation():
        try:
            return _checked(array, array.cast(arrow.float64()), name, bad)
        except (arrow.ArrowInvalid, UnicodeDecodeError):
            pass
    texts = compute.utf8_trim(array, _SPACES)
    for word in notation.missing:
        texts = compute.if_else(compute.equal(texts, word.strip()), None, texts)
    nothing = compute.or_(compute.match_substring_regex(texts, _NAN), _is_any(texts, ["", "-"]))
    texts = compute.if_else(nothing, None, texts)
    texts = compute.replace_substring(texts, "\u2212", "-")
    written, why = _plain(texts, notation)
    is_number = compute.match_substring_regex(written, _NUMBER)
    found, more = cast_each(compute.if_else(is_number, written, None), arrow.float64())
    for place in [*places(compute.invert(is_number)), *more]:
        text = texts[place].as_py()
        told = why + advice(text, notation.decimal)
        reason = "is not finite" if _is_infinite(text) else f"{NO_NUMBER}{told}"
        bad[place] = f"`{shown(array, place)}` in column `{name}` {reason}"
    return _checked(written, found, name, bad)


def _is_any(texts: Any, words: list[str]) -> Any:
    return compute.is_in(texts, value_set=arrow.array(words, arrow.string()))


def _is_infinite(text: str | None) -> bool:
    try:
        return text is not None and ("#INF" in text.upper() or abs(float(text)) == float("inf"))
    except ValueError:
        return False


def _plain(texts: Any, notation: Notation) -> tuple[Any, str]:
    """Texts with a point before the decimals and no groups; and what to say of those that fail."""
    decimal, thousands = notation.decimal, notation.thousands
    if decimal == "." and thousands is None:
        return texts, ""
    point = r"\." if decimal == "." else ","
    tail = rf"({point}\d*)?([eE][+-]?\d{{1,4}})?$"
    is_plain = compute.match_substring_regex(texts, rf"^[+-]?(\d+{tail}|{point}\d+)")
    if thousands is not None:
        part = "[ \u00a0\u202f\u2009]" if thousands == " " else _quoted(thousands)
        grouped = compute.match_substring_regex(
            texts, rf"^[+-]?[1-9]\d{{0,2}}({part}\d{{3}})+{tail}"
        )
        texts = compute.if_else(grouped, compute.replace_substring_regex(texts, part, ""), texts)
        is_plain = compute.or_(is_plain, grouped)
    plain = texts if decimal == "." else compute.replace_substring(texts, decimal, ".")
    # What is written otherwise stays as it is, and is refused.
    marked = compute.binary_join_element_wise("?", texts, "")
    told = "" if thousands or decimal == "." else ", where decimals follow a comma"
    return compute.if_else(is_plain, plain, marked), told


def _quoted(letter: str) -> str:
    return "\\" + letter if letter.isascii() and letter in string.punctuation else letter


def _checked(texts: Any, found: Any, name: str, bad: Bad) -> Any:
    """The numbers, null for NaN, where no whole number is beyond what a double counts."""
    values = compute.fill_null(found, 0.0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero(~(np.abs(values) < _LARGEST_WHOLE)).tolist()
    if not large:
        return found
    chosen = texts.take(arrow.array(large, arrow.int64()))
    if np.isnan(values).any():
        found = compute.if_else(compute.is_nan(found), None, found)
    for pattern, is_wrong in ((_WHOLE, _is_beyond), (_MANY_DIGITS, _is_rounded)):
        for k in places(compute.match_substring_regex(chosen, pattern)):
            if is_wrong(chosen[k].as_py(), float(values[large[k]])):
                bad.setdefault(large[k], _too_large(texts, large[k], name))
    return found


def _is_beyond(text: str, _: float) -> bool:
    digits = text.strip().lstrip("+-0").partition(".")[0]
    # Not all at once: Python does not turn thousands of digits into a number.
    return len(digits) > len(str(_LARGEST_WHOLE)) or int(digits or "0") > _LARGEST_WHOLE


def _is_rounded(text: str, value: float) -> bool:
    """Whether a whole number with an exponent has digits that its double does not show."""
    digits = re.sub(r"[^\d]", "", re.split("[eE]", text)[0]).lstrip("0")
    number = Decimal(text.strip())
    if number != number.to_integral_value() or not np.isfinite(value):
        return False
    return Decimal(f"{value:.{len(digits) - 1}e}") != number
