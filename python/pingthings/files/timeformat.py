"""Formats of times as for strptime, applied to whole columns and checked: no day is made up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["COMMON", "Reading", "TimeFormat"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_SHORT_MONTHS = [name[:3] for name in _MONTHS.split()]
_SHORT_DAYS = [name[:3] for name in _DAYS.split()]
_FIRST_WEEKDAY = 3  # of 1970, a Thursday
_FIELDS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "e": r"\s?\d{1,2}",
    "H": r"\d{1,2}",
    "I": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "f": r"\d{1,9}",
    "j": r"\d{1,3}",
    "s": r"[+-]?\d{1,11}",
    "p": r"(?i:[ap]\.?m\.?)",
    "b": f"(?i:{'|'.join(_SHORT_MONTHS)})",
    "B": f"(?i:{_MONTHS.replace(' ', '|')})",
    "a": f"(?i:{'|'.join(name[:3] for name in _DAYS.split())})",
    "A": f"(?i:{_DAYS.replace(' ', '|')})",
    "z": r"(?:[Zz]|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?)",
    "Z": r"[A-Za-z][A-Za-z0-9+\-]{0,9}",
}
_SAME = {"h": "b", "k": "H", "l": "I", "N": "f"}
_SHORTHAND = {
    "T": "%H:%M:%S",
    "R": "%H:%M",
    "F": "%Y-%m-%d",
    "D": "%m/%d/%y",
    "n": r" ",
    "t": r" ",
}
_WITHOUT_VALUE = {"%": "%", "*": ".*"}
"""A sign, and whatever is of no use, such as the end of an interval."""
_NUMBERS = set("YymdeHIMSfjs")
_SECOND = 1_000_000_000
_CENTURY = 69  # as POSIX has it: 69 to 99 are of the twentieth century

COMMON = (
    [
        f"{day}{clock}"
        for day in (
            "%d.%m.%Y",
            "%d/%m/%Y",
            "%m/%d/%Y",
            "%d-%m-%Y",
            "%m-%d-%Y",
            "%Y-%m-%d",
            "%Y/%m/%d",
            "%Y.%m.%d",
            "%Y%m%d",
            "%d-%b-%Y",
            "%d %b %Y",
            "%b %d %Y",
            "%d.%m.%y",
            "%d/%m/%y",
            "%m/%d/%y",
        )
        for clock in (
            " %H:%M:%S",
            " %H:%M",
            " %H:%M:%S.%f",
            " %H:%M:%S,%f",
            " %I:%M:%S %p",
            " %I:%M %p",
            "",
            "T%H:%M:%S",
            " %H:%M:%S %z",
            " %H:%M:%S %Z",
            " %H",
            " %H%M",
        )
    ]
    + [
        *("%Y:%m:%d %H:%M:%S", "%Y-%m-%d_%H:%M:%S", "%Y-%m-%d-%H.%M.%S.%f", "%Y-%m-%d %H:%M:%S:%f"),
        *("%y-%m-%d %H:%M", "%y-%m-%d %H:%M:%S", "%Y%m%d:%H%M", "%Y%m%d%H"),
        *(f"{day} %H:%M - %*" for day in ("%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d", "%Y/%m/%d")),
        *("%Y-%m-%dT%H:%M:%S%z[%*]", "%Y-%m-%dT%H:%M%z/%*", "%Y-%m-%dT%H:%M:%S%z/%*"),
        *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Z %Y", "%a, %d %b %Y %H:%M:%S %z"),
    ]
    + ["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H%M%S%f", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z"]
)
"""What is tried to say how times may be written; none is taken unasked."""


@dataclass(frozen=True)
class Reading:
    """A column of times as a format reads it."""

    seconds: Numbers
    """Since 1970 by the clock of the text, without its zone."""
    nanoseconds: Numbers
    is_like: Flags
    """Where the text is written like the format."""
    is_real: Flags
    """Where there is such a day and time."""
    offsets: Numbers | None
    """Seconds east of UTC, if the format has them."""
    zones: list[str | None] | None
    """Names of zones, if the format has them."""


class TimeFormat:
    """A format such as `%d.%m.%Y %H:%M:%S.%f`, ready to be applied."""

    def __init__(self, form: str) -> None:
        """Reads a format.

        Raises:
            ValueError: It has a directive that is unknown or comes twice, or says no day.
        """
        self.form = form
        self.fields: list[str] = []
        self._pattern = rf"^{''.join(self._parts(form))}$"
        fields = set(self.fields)
        has_year, has_month = fields & {"Y", "y"}, fields & {"m", "b", "B"}
        if "s" not in fields and not (
            has_year and ("j" in fields or (has_month and fields & {"d", "e"}))
        ):
            raise ValueError(f"`{form}` says no day: it needs year, month and day, as %Y, %m, %d")
        if ("I" in fields) != ("p" in fields):
            raise ValueError(f"`{form}` has only one of %I and %p, which belong together")

    def _parts(self, form: str) -> list[str]:
        parts: list[str] = []
        place, follows = 0, False
        while place < len(form):
            letter = form[place]
            place += 1
            was_field, follows = follows, False
            if letter.isspace():
                parts.append(r"\s+")
                continue
            if letter != "%":
                parts.append(re.escape(letter) if letter.isascii() else letter)
                continue
            code = form[place : place + 1]
            place += 1
            if code == "-":  # %-d, a number without a zero before it
                code = form[place : place + 1]
                place += 1
            code = _SAME.get(code, code)
            if code in _WITHOUT_VALUE:
                parts.append(_WITHOUT_VALUE[code])
            elif code in _SHORTHAND:
                parts.extend(self._parts(_SHORTHAND[code]))
            elif code in _FIELDS:
                if code in self.fields:
                    raise ValueError(f"`{self.form}` has %{code} twice")
                self.fields.append(code)
                # Digits that stand together have to be told apart by their number.
                is_fixed = was_field or form[place : place + 1] == "%"
                follows = True
                kind = _FIELDS[code].replace("{1,2}", "{2}" if is_fixed else "{1,2}")
                parts.append(f"(?P<{code}>{kind})")
            else:
                raise ValueError(f"`{self.form}` has %{code}, which is unknown")
        return parts

    def read(self, texts: Any) -> Reading:
        """Returns what the format reads of an array of strings."""
        parts = compute.extract_regex(texts, self._pattern)
        is_like = _flags(compute.is_valid(parts))
        found = {field: compute.struct_field(parts, field) for field in self.fields}
        numbers = {
            field: _whole(found[field]) for field in self.fields if field in _NUMBERS - {"f"}
        }
        nanoseconds = np.zeros(len(texts), np.int64)
        if "f" in found:
            nanoseconds = _whole(compute.utf8_rpad(compute.fill_null(found["f"], ""), 9, "0"))
        seconds, is_real = self._seconds(numbers, found, nanoseconds)
        offsets = None
        if "z" in found:
            offsets, exist = _offsets(found["z"])
            is_real &= exist
        return Reading(
            seconds,
            nanoseconds,
            is_like,
            is_real,
            offsets,
            found["Z"].to_pylist() if "Z" in found else None,
        )

    def _seconds(
        self, numbers: dict[str, Numbers], found: dict[str, Any], nanoseconds: Numbers
    ) -> tuple[Numbers, Flags]:
        count = len(nanoseconds)
        if "s" in numbers:
            return numbers["s"], np.ones(count, bool)
        nothing = np.zeros(count, np.int64)
        if "Y" in numbers:
            year = numbers["Y"]
        else:
            year = numbers["y"] + np.where(numbers["y"] < _CENTURY, 2000, 1900)
        day_of_year = numbers.get("j")
        month, day = nothing + 1, nothing + 1
        if day_of_year is None:
            month = numbers["m"] if "m" in numbers else _months(found.get("b", found.get("B")))
            day = numbers.get("d", numbers.get("e", day))
        is_real = (month >= 1) & (month <= 12)  # noqa: PLR2004 - months of a year
        months = ((year - 1970) * 12 + np.where(is_real, month, 1) - 1).astype("datetime64[M]")
        first = months.astype("datetime64[D]")
        if day_of_year is None:
            days = first + (day - 1)
            is_real &= days.astype("datetime64[M]") == months
        else:
            days = first + (day_of_year - 1)
            is_real &= days.astype("datetime64[Y]") == months.astype("datetime64[Y]")
        named = found.get("a", found.get("A"))
        if named is not None:
            is_real &= _weekdays(named) == (days.astype(np.int64) + _FIRST_WEEKDAY) % 7
        hour = numbers.get("H", nothing)
        if "I" in numbers:
            is_real &= (numbers["I"] >= 1) & (numbers["I"] <= 12)  # noqa: PLR2004 - of a clock
            is_afternoon = _flags(compute.match_substring_regex(found["p"], "(?i)^p"))
            hour = numbers["I"] % 12 + 12 * is_afternoon
        minute, second = numbers.get("M", nothing), numbers.get("S", nothing)
        is_last = (hour == 24) & (minute == 0) & (second == 0) & (nanoseconds == 0)  # noqa: PLR2004
        is_real &= (minute < 60) & (second < 60)  # noqa: PLR2004 - of a clock
        is_real &= (hour < 24) | is_last  # noqa: PLR2004 - 24:00 ends a day, and begins the next
        since: Numbers = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
        return since, is_real


def _flags(mask: Any) -> Flags:
    found: Flags = compute.fill_null(mask, fill_value=False).to_numpy(zero_copy_only=False)
    return found


def _whole(texts: Any) -> Numbers:
    filled = compute.utf8_trim_whitespace(compute.fill_null(texts, "0"))
    found: Numbers = (
        compute.if_else(compute.equal(filled, ""), "0", filled)
        .cast(arrow.int64())
        .to_numpy(zero_copy_only=False)
    )
    return found


def _months(texts: Any) -> Numbers:
    return _place_of(texts, _SHORT_MONTHS) + 1


def _weekdays(texts: Any) -> Numbers:
    return _place_of(texts, _SHORT_DAYS)


def _place_of(texts: Any, short_names: list[str]) -> Numbers:
    short = compute.utf8_lower(compute.utf8_slice_codeunits(texts, 0, 3))
    found = compute.index_in(short, arrow.array(short_names))
    places: Numbers = compute.fill_null(found, -1).cast(arrow.int64()).to_numpy()
    return places


def _offsets(texts: Any) -> tuple[Numbers, Flags]:
    """Seconds east of UTC, and where there is such an offset."""
    distinct = texts.dictionary_encode()
    every = [_offset(text) for text in distinct.dictionary.to_pylist()] or [0]
    places = compute.fill_null(distinct.indices, 0).to_numpy(zero_copy_only=False)
    known = np.array([offset or 0 for offset in every], np.int64)
    exist = np.array([offset is not None for offset in every], bool)
    return known[places], exist[places]


def _offset(text: str) -> int | None:
    if text in {"Z", "z"}:
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, rest = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if hours > 23 or minutes > 59 or rest > 59:  # noqa: PLR2004 - of a clock
        return None
    seconds = hours * 3_600 + minutes * 60 + rest
    return -seconds if text[0] == "-" else seconds
