"""Times whose parts stand in columns of their own: dates and times of day, hours, years."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import is_number, is_text, one_chunk
from pingthings.files.dialect import TIME_NAME

__all__ = ["TimeColumns", "calendar_columns", "hour_columns", "told_columns"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

Role = Literal["text", "year", "month", "day", "hour", "minute", "second", "clock"]

_MIDNIGHT = r"[ T]00:00(:00([.,]0+)?)?\s*$"
_WHOLE = r"^[\s\"']*(\d{1,4})(?:\.0*)?[\s\"']*$"
_AROUND = r"(?:.*[\s_\-.(\[])?(?:{})(?:[\s_\-.)\]].*)?"
_WORDS: dict[Role, str] = {
    "year": "years?|yr|yyyy|jahr|année|annee|año|anno|jaar",
    "month": "months?|mon|mo|monat|mois|mes|mese|maand",
    "day": "days?|dy|dd|dom|tag|jour|día|dia|giorno|dag",
    "hour": "hours?|hrs?|hh|he|std|stunden?|heures?|hora|ora|uur|hour_?ending|hour_?beginning",
    "minute": "minutes?|mins?|mi|minuto|minuut|minuten",
    "second": "seconds?|secs?|ss|sekunden?|secondes?|segundo|secondo|seconde",
}
_NAMES = {role: re.compile(_AROUND.format(names), re.IGNORECASE) for role, names in _WORDS.items()}
_RANGES: dict[Role, tuple[int, int]] = {
    "year": (1900, 2100),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 25),  # a day has 25 hours when clocks go back
    "minute": (0, 59),
    "second": (0, 59),
    "clock": (0, 2400),
}
_WAYS: tuple[tuple[Role, ...], ...] = (
    ("year", "month", "day", "hour", "minute", "second"),
    ("text", "hour", "minute", "second"),
    ("text", "clock"),
)
_LOOKED_AT = 10_000
_END_OF_DAY = 24


@dataclass(frozen=True)
class TimeColumns:
    """The columns that are times together, and what each of them says."""

    names: tuple[str, ...]
    roles: tuple[Role, ...] = ()
    """Nothing if all are texts."""

    def joined(self, table: Any) -> Any:
        """Returns the one column of a table, or texts made of several."""
        arrays = [one_chunk(table[name]) for name in self.names]
        if len(arrays) == 1:
            return arrays[0]
        parts = dict(zip(self.roles, arrays, strict=True)) if self.roles else {}
        if not parts:
            return _with_spaces([_as_text(array) for array in arrays])
        if "text" in parts:
            day = _as_text(parts["text"])
        else:
            day = _together([_padded(parts[r], 2) for r in ("year", "month", "day")], "-")
        if "clock" in parts:
            digits = _padded(parts["clock"], 4)
            hours, minutes = (compute.utf8_slice_codeunits(digits, k, k + 2) for k in (0, 2))
            return _with_spaces([day, _together([hours, minutes], ":")])
        if "hour" not in parts:
            return day
        pieces = [_padded(parts[r], 2) for r in ("hour", "minute", "second") if r in parts]
        nothing = arrow.array(["00"] * len(day), arrow.string())
        return _with_spaces([day, _together([*pieces, nothing][:3], ":")])

    def note(self, table: Any) -> list[str]:
        """Returns in words what its hours are, if that is not plain."""
        for role, name in zip(self.roles, self.names, strict=False):
            found = _whole_numbers(table[name]) if role == "hour" else None
            if found is not None and found.min() > 0 and found.max() >= _END_OF_DAY:
                return [f"hours of column `{name}` begin with 1: times are the ends of hours"]
        return []


def told_columns(names: Sequence[str], table: Any, *, has_form: bool) -> TimeColumns:
    """Returns what columns say that are told to be times together."""
    told = tuple(names)
    if has_form or len(told) == 1:
        return TimeColumns(told)
    for roles in _WAYS:
        chosen = roles[: len(told)]
        if len(chosen) == len(told) and all(map(_fits, chosen, [table[name] for name in told])):
            return TimeColumns(told, chosen)
    return TimeColumns(told)


def _fits(role: Role, column: Any) -> bool:
    return role == "text" or _is_in(column, role)


def hour_columns(columns: Sequence[str], table: Any, day: str) -> TimeColumns | None:
    """Returns a column of days with those of hours, or of times of day such as 1330, beside it."""
    others = [name for name in columns if name != day]
    if (hour := _named(others, table, "hour")) is not None:
        found: dict[Role, str] = {"text": day, "hour": hour}
        for role in _WAYS[1][2:]:
            name = _named(others, table, role)
            if name is None:
                break
            found[role] = name
        whole = TimeColumns(tuple(found.values()), tuple(found))
        return whole if _counts_up(whole, table, day) else None
    for name in others:
        if (TIME_NAME.fullmatch(name) or _NAMES["hour"].fullmatch(name)) and _is_in(
            table[name], "clock"
        ):
            whole = TimeColumns((day, name), ("text", "clock"))
            return whole if _counts_up(whole, table, day) else None
    return None


def calendar_columns(columns: Sequence[str], table: Any) -> TimeColumns | None:
    """Returns columns of years, months and days, and of what follows them."""
    found: dict[Role, str] = {}
    for role in ("year", "month", "day", "hour", "minute", "second"):
        name = _named([name for name in columns if name not in found.values()], table, role)
        if name is None:
            break
        found[role] = name
    return TimeColumns(tuple(found.values()), tuple(found)) if "day" in found else None


def _named(columns: Sequence[str], table: Any, role: Role) -> str | None:
    return next((n for n in columns if _NAMES[role].fullmatch(n) and _is_in(table[n], role)), None)


def _counts_up(whole: TimeColumns, table: Any, day: str) -> bool:
    """Whether days come more often, and times of each in order: other numbers do not."""
    some = table.slice(0, _LOOKED_AT)
    texts = whole.joined(some)
    days = one_chunk(some[day]).dictionary_encode().indices.fill_null(-1).to_numpy()
    if not len(days) or compute.count_distinct(texts).as_py() < len(texts):
        return False
    codes = np.argsort(np.argsort(np.array(texts.fill_null("").to_pylist())))
    same = days[1:] == days[:-1]
    steps = np.diff(codes)[same]
    return bool(same.any()) and bool((steps > 0).all() or (steps < 0).all())


def _is_in(column: Any, role: Role) -> bool:
    """Whether a column holds nothing but whole numbers, of which all may be of a role."""
    found = _whole_numbers(column)
    if found is None:
        return False
    low, high = _RANGES[role]
    is_in = low <= found.min() and found.max() <= high
    return bool(is_in and (role != "clock" or (found % 100 < 60).all()))  # noqa: PLR2004 - minutes


def _whole_numbers(column: Any) -> Any:
    array = one_chunk(column.slice(0, _LOOKED_AT)).drop_null()
    if not len(array) or not (is_number(array.type) or is_text(array.type)):
        return None
    texts = array if is_text(array.type) else array.cast(arrow.string())
    texts = texts.filter(compute.not_equal(compute.utf8_trim_whitespace(texts), ""))
    digits = compute.extract_regex(texts, _WHOLE.replace("(", "(?P<digits>", 1))
    if digits.null_count or not len(digits):
        return None
    return compute.struct_field(digits, "digits").cast(arrow.int64()).to_numpy()


def _as_text(array: Any) -> Any:
    if arrow.types.is_timestamp(array.type):  # midnight of a day
        return compute.utf8_slice_codeunits(array.cast(arrow.string()), 0, 10)
    text = array if arrow.types.is_string(array.type) else array.cast(arrow.string())
    trimmed = compute.utf8_trim(text, "\"' \t\u00a0")
    return compute.replace_substring_regex(trimmed, _MIDNIGHT, "")


def _padded(array: Any, width: int) -> Any:
    text = array if arrow.types.is_string(array.type) else array.cast(arrow.string())
    return compute.utf8_lpad(compute.replace_substring_regex(text, _WHOLE, r"\1"), width, "0")


def _together(texts: Sequence[Any], between: str) -> Any:
    found = texts[0]
    for more in texts[1:]:
        found = compute.binary_join_element_wise(found, more, between)
    return found


def _with_spaces(texts: Sequence[Any]) -> Any:
    return _together(texts, " ")
