"""Cells as times and numbers: whole columns at once, and a reason for each cell that is neither.

Arrow converts a column in one go or refuses it without saying where. Where it refuses, the column
is halved until the cells that are wrong stand alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import BTRDBValueError, InvalidTimeRange
from pingthings.timeseries.utils.timez import to_nanoseconds

__all__ = ["Ambiguous", "Bad", "Clock", "TimeUnit", "looks_like", "numbers", "times", "zone_exists"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

Ambiguous = Literal["earlier", "later", "reject"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Bad = dict[int, str]
"""Why rows are no good, by their place in the block."""

_DIGITS: dict[TimeUnit, int] = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$"
_REGULAR = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
_WITH_ZONE = r":\d{2}(\.\d+)?\s*([Zz]|[+-]\d{2}(:?\d{2})?)$"
_LARGEST_WHOLE = 1 << 53
_NAIVE = arrow.timestamp("ns")
_UTC = arrow.timestamp("ns", tz="UTC")
_SHOWN = 60
_SAMPLE_ROWS = 1_000


@dataclass(frozen=True)
class Clock:
    """How the times of a file are to be read."""

    zone: str | None = None
    """Where times without a zone are from; None is UTC."""
    ambiguous: Ambiguous = "reject"
    """Which of two instants a time is that a clock shows twice."""
    unit: TimeUnit | None = None
    """What numbers count since 1970; None allows no numbers."""
    form: str | None = None
    """How times are written, as for strptime; None is ISO 8601."""


def zone_exists(name: str) -> bool:
    """Whether this machine knows a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def times(column: Any, clock: Clock) -> tuple[npt.NDArray[np.int64], Bad]:
    """Returns a column as nanoseconds since 1970, and which cells are no times."""
    array = _one_chunk(column)
    kind = array.type
    bad: Bad = dict.fromkeys(_places(compute.is_null(array)), "no time")
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        found = _text_times(array.cast(arrow.string()), clock, bad)
    elif arrow.types.is_timestamp(kind) or arrow.types.is_date(kind):
        found = _typed_times(array, clock, bad)
    else:
        found = _number_times(array, clock.unit or "ns", bad)
    result = compute.fill_null(found, 0).to_numpy(zero_copy_only=False)
    _outside(array, (result < MINIMUM_TIME) | (result > MAXIMUM_INSERT_TIME), bad)
    return result, bad


def numbers(column: Any, name: str, decimal: str) -> tuple[Any, Bad]:
    """Returns a column as float64, null where nothing stands, and which cells are no numbers."""
    array = _one_chunk(column)
    kind = array.type
    bad: Bad = {}
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        found, wrong = _text_numbers(array.cast(arrow.string()), decimal)
        for place in wrong:
            bad[place] = f"`{_shown(array, place)}` in column `{name}` is no number"
    else:
        if arrow.types.is_integer(kind):
            large = compute.or_(
                compute.greater(array, _LARGEST_WHOLE), compute.less(array, -_LARGEST_WHOLE)
            )
            for place in _places(large):
                bad[place] = f"`{_shown(array, place)}` in column `{name}` is too large for float64"
        found = array.cast(arrow.float64(), safe=False)
        found = compute.if_else(compute.is_nan(found), None, found)
    for place in _places(compute.is_inf(found)):
        bad[place] = f"`{_shown(array, place)}` in column `{name}` is not finite"
    return found, bad


def _one_chunk(column: Any) -> Any:
    array = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    if isinstance(array, arrow.ChunkedArray):  # without rows it stays one
        return arrow.array([], column.type)
    return array.dictionary_decode() if arrow.types.is_dictionary(array.type) else array


def _flags(mask: Any) -> npt.NDArray[np.bool_]:
    filled = compute.fill_null(mask, fill_value=False)
    flags: npt.NDArray[np.bool_] = filled.to_numpy(zero_copy_only=False)
    return flags


def _places(mask: Any) -> list[int]:
    places: list[int] = np.flatnonzero(_flags(mask)).tolist() if compute.any(mask).as_py() else []
    return places


def _shown(array: Any, place: int) -> str:
    try:
        text = str(array[place].as_py())
    except (UnicodeDecodeError, ValueError):
        text = "unreadable text"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _text_numbers(array: Any, decimal: str) -> tuple[Any, list[int]]:
    if decimal == ".":
        try:
            return array.cast(arrow.float64()), []
        except arrow.ArrowInvalid:
            pass
    array = compute.utf8_trim_whitespace(array)
    if decimal != ".":
        array = compute.replace_substring(array, decimal, ".")
    try:
        return array.cast(arrow.float64()), []
    except arrow.ArrowInvalid:
        pass
    empty = compute.equal(array, "")
    array = compute.if_else(empty, None, array)
    wrong = compute.invert(compute.match_substring_regex(array, _NUMBER))
    found, more = _each(compute.if_else(wrong, None, array), arrow.float64())
    return found, [*_places(wrong), *more]


def _each(array: Any, kind: Any) -> tuple[Any, list[int]]:
    """The cells that can be cast, null for the others, and the places of these."""
    wrong: list[int] = []
    parts: list[Any] = []

    def cast(first: int, count: int) -> None:
        try:
            parts.append(array.slice(first, count).cast(kind))
        except arrow.ArrowInvalid:
            if count == 1:
                parts.append(arrow.nulls(1, kind))
                wrong.append(first)
            else:
                cast(first, count // 2)
                cast(first + count // 2, count - count // 2)

    cast(0, len(array))
    return arrow.concat_arrays(parts), wrong


def _text_times(array: Any, clock: Clock, bad: Bad) -> Any:
    if clock.unit is not None:
        return _counted(array, clock.unit, bad)
    if clock.form is not None:
        trimmed = compute.utf8_trim_whitespace(array)
        naive = compute.strptime(trimmed, format=clock.form, unit="s", error_is_null=True).cast(
            _NAIVE
        )
        for place in _places(compute.is_null(naive)):
            bad.setdefault(place, f"time `{_shown(array, place)}` is not like `{clock.form}`")
        return _localised(naive, clock, bad)
    for kind in (_UTC, _NAIVE):  # all with a zone, or all without
        try:
            found = array.cast(kind)
        except arrow.ArrowInvalid:
            continue
        return found.cast(arrow.int64()) if kind is _UTC else _localised(found, clock, bad)
    return _mixed_times(compute.utf8_trim_whitespace(array), clock, bad)


def _mixed_times(array: Any, clock: Clock, bad: Bad) -> Any:
    # Arrow need not try what it cannot read: each failure of it is expensive.
    regular = compute.match_substring_regex(array, _REGULAR)
    zoned = arrow.array(_flags(compute.match_substring_regex(array, _WITH_ZONE)))
    tried = compute.if_else(regular, array, None)
    found, wrong = _each(compute.if_else(zoned, tried, None), _UTC)
    naive, more = _each(compute.if_else(zoned, None, tried), _NAIVE)
    # What Arrow does not read may be a time all the same, such as 2024-1-1 0:00.
    odd = _places(compute.invert(regular))
    is_zoned = _flags(zoned)
    rescued: dict[int, int] = {}
    local: dict[int, int] = {}
    for place in [*wrong, *more, *odd]:
        text = array[place].as_py()
        try:
            time = to_nanoseconds(f"{text} ns" if text.lstrip("+-").isdigit() else text)
        except (BTRDBValueError, InvalidTimeRange):
            bad[place] = f"time `{_shown(array, place)}` is not understood" if text else "no time"
        else:
            (rescued if is_zoned[place] else local)[place] = time
    naive = _placed(naive.cast(arrow.int64()), local).cast(_NAIVE)
    found = _placed(found.cast(arrow.int64()), rescued)
    return compute.coalesce(found, _localised(naive, clock, bad))


def _placed(array: Any, cells: dict[int, int]) -> Any:
    if not cells:
        return array
    mask = np.zeros(len(array), bool)
    mask[list(cells)] = True
    ordered = [cells[place] for place in sorted(cells)]
    return compute.replace_with_mask(array, arrow.array(mask), arrow.array(ordered, arrow.int64()))


def _localised(naive: Any, clock: Clock, bad: Bad) -> Any:
    """Times of a clock on a wall as int64 nanoseconds."""
    if clock.zone is None:
        return naive.cast(arrow.int64())
    which = {"earlier": "earliest", "later": "latest", "reject": "raise"}[clock.ambiguous]

    def assume(ambiguous: str, nonexistent: str) -> Any:
        found = compute.assume_timezone(
            naive, clock.zone, ambiguous=ambiguous, nonexistent=nonexistent
        )
        return found.cast(arrow.int64())

    try:
        return assume(which, "raise")
    except arrow.ArrowInvalid:
        pass
    early = assume("earliest", "earliest")
    late = assume("latest", "earliest")
    for place in _places(compute.not_equal(early, assume("earliest", "latest"))):
        time = _shown(naive, place)
        bad[place] = f"time `{time}` does not exist in {clock.zone}: clocks went forward"
    if clock.ambiguous == "reject":
        for place in _places(compute.not_equal(early, late)):
            time = _shown(naive, place)
            bad[place] = (
                f"time `{time}` came twice in {clock.zone}; say `--ambiguous earlier` or `later`"
            )
    return late if clock.ambiguous == "later" else early


def _typed_times(array: Any, clock: Clock, bad: Bad) -> Any:
    exact = array
    if arrow.types.is_date(array.type):
        exact = array.cast(arrow.timestamp("s" if arrow.types.is_date32(array.type) else "ms"))
    kind = _NAIVE if exact.type.tz is None else _UTC
    found, wrong = _each(exact, kind)  # seconds reach farther than nanoseconds
    for place in wrong:
        bad[place] = f"time `{_shown(array, place)}` does not fit 64 bits of nanoseconds"
    return found.cast(arrow.int64()) if kind is _UTC else _localised(found, clock, bad)


def _number_times(array: Any, unit: TimeUnit, bad: Bad) -> Any:
    factor = 10 ** _DIGITS[unit]
    if arrow.types.is_floating(array.type):
        filled = compute.fill_null(array.cast(arrow.float64()), 0.0)
        values: npt.NDArray[np.float64] = filled.to_numpy(zero_copy_only=False)
        wrong = ~np.isfinite(values) | (np.abs(values) >= (1 << 63) / factor)
        values = np.where(wrong, 0.0, values)
        whole: npt.NDArray[np.float64] = np.floor(values)
        # In two parts, each exact: a float of today's nanoseconds would be off by up to 128.
        rest: npt.NDArray[np.float64] = np.rint((values - whole) * factor)
        result = whole.astype(np.int64) * factor + rest.astype(np.int64)
        _outside(array, wrong, bad)
    else:
        result = _scaled(array, array, factor, bad)
    return arrow.array(result)


def _scaled(texts: Any, wholes: Any, factor: int, bad: Bad) -> npt.NDArray[np.int64]:
    """Whole numbers times a factor, where that fits 64 bits."""
    found, beyond = _each(wholes, arrow.int64())
    numbers = compute.fill_null(found, 0).to_numpy(zero_copy_only=False)
    most = ((1 << 63) - 1) // factor - 1  # and room for a fraction
    wrong = (numbers > most) | (numbers < -most)
    wrong[beyond] = True
    _outside(texts, wrong, bad)
    scaled: npt.NDArray[np.int64] = np.where(wrong, 0, numbers) * factor
    return scaled


def _outside(array: Any, wrong: npt.NDArray[np.bool_], bad: Bad) -> None:
    for place in np.flatnonzero(wrong).tolist():
        bad.setdefault(place, f"time `{_shown(array, place)}` is outside 1933 to 2079")


def _counted(array: Any, unit: TimeUnit, bad: Bad) -> Any:
    """Decimal numbers in a unit, exactly."""
    digits = _DIGITS[unit]
    try:
        return _number_times(array.cast(arrow.int64()), unit, bad)
    except arrow.ArrowInvalid:
        pass
    pattern = (
        r"^\s*(?P<sign>[+-]?)(?P<whole>\d{1,19})"
        rf"(?:\.(?P<fraction>\d{{0,{digits}}})0*)?\s*$"
    )
    parts = compute.extract_regex(array, pattern)
    for place in _places(compute.is_null(parts)):
        bad.setdefault(place, f"time `{_shown(array, place)}` is no number of {unit}")
    whole = _scaled(array, compute.struct_field(parts, "whole"), 10**digits, bad)
    fraction = _fractions(compute.struct_field(parts, "fraction"), digits)
    negative = _flags(compute.equal(compute.struct_field(parts, "sign"), "-"))
    return arrow.array(np.where(negative, -1, 1) * (whole + fraction))


def _fractions(texts: Any, digits: int) -> npt.NDArray[np.int64]:
    if not digits:
        return np.zeros(len(texts), np.int64)
    padded = compute.utf8_rpad(compute.fill_null(texts, ""), digits, "0")
    found: npt.NDArray[np.int64] = padded.cast(arrow.int64()).to_numpy()
    return found


def looks_like(convert: Callable[[Any], tuple[Any, Bad]], array: Any) -> bool:
    """Whether more than half of the cells that hold something can be converted."""
    held = array.drop_null().slice(0, _SAMPLE_ROWS)
    return len(held) > 0 and len(convert(held)[1]) * 2 < len(held)
