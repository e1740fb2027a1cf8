"""Cells as nanoseconds since 1970: whole columns at once, and a reason for each that is no time."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files import zones
from pingthings.files.arrays import (
    Bad,
    cast_each,
    flags,
    is_text,
    one_chunk,
    places,
    shown,
)
from pingthings.files.isodates import with_plain_dates
from pingthings.files.timeformat import Reading, TimeFormat
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import BTRDBValueError, InvalidTimeRange
from pingthings.timeseries.utils.timez import to_nanoseconds

__all__ = ["FINER", "Ambiguous", "Clock", "TimeUnit", "likely_kind", "times"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

Ambiguous = Literal["earlier", "later", "reject", "infer"]
TimeUnit = Literal["s", "ms", "us", "ns", "excel"]
Instants = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_DIGITS: dict[str, int] = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECOND, _MILLISECOND, _DAY = 10**9, 10**6, 86_400 * 10**9
_EXCEL_ORIGIN = -25_569  # days before 1970: 1899-12-30, so that days after 1900-02-28 are right
_EXCEL_FIRST = 61
_EXCEL_FINEST = _MILLISECOND / _DAY
_COUNTED = {"excel": "days"}
_REGULAR = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
_WITH_ZONE = r":\d{2}([.,]\d+)?\s*([Zz]|[+-]\d{2}(:?\d{2})?)$"
_UTC_NAMED = r"^(\d{4}-.*:\d{2}(?:[.,]\d+)?)\s*(?:UTC|GMT|utc|gmt)$"
_AROUND = "\"' \t\u00a0\ufeff\r\n"
"""What may stand around a time: marks of files that were put together, too."""
_NAIVE = arrow.timestamp("ns")
_UTC = arrow.timestamp("ns", tz="UTC")
_UNIVERSAL = {"UTC", "GMT", "Z", "UT"}
_WITH_EXPONENT = r"^[\s\"']*[+-]?(\d{1,25}([.,]\d{0,25})?|[.,]\d{1,25})[eE][+-]?\d{1,3}[\s\"']*$"
_EXPONENTS = 40
_FRACTION = r"^[\s\"']*[+-]?\d{1,19}[.,]\d+[\s\"']*$"
FINER = "is finer than a nanosecond"
"""What the reason says of a time with too many digits."""
_OUTSIDE = "is outside 1933 to 2079"
_LEAST, _MOST = MINIMUM_TIME, MAXIMUM_INSERT_TIME


@dataclass
class Clock:
    """How the times of a file are to be read."""

    zone: str | None = None
    """Where times without a zone are from; None is UTC."""
    ambiguous: Ambiguous = "reject"
    """Which of two instants a time is that a clock shows twice."""
    unit: TimeUnit | None = None
    """What numbers count; None allows no numbers."""
    form: str | None = None
    """How times are written, as for strptime; None is ISO 8601."""
    origin: int = 0
    """What numbers count from, in nanoseconds since 1970."""
    days: int = 0
    """What days of a spreadsheet count from, in days after 1899-12-30."""
    last: int | None = field(default=None, compare=False, repr=False)
    """The time of the row before, for `infer`."""

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in get_args(TimeUnit):
            units = ", ".join(f"`{unit}`" for unit in get_args(TimeUnit))
            raise BTRDBValueError(f"`{self.unit}` is no unit of times; give one of {units}")


def times(column: Any, clock: Clock) -> tuple[Instants, Bad]:
    """Returns a column as nanoseconds since 1970, and which cells are no times.

    Raises:
        BTRDBValueError: No column of this type holds times, or the format is none.
    """
    array = one_chunk(column)
    bad: Bad = dict.fromkeys(places(compute.is_null(array)), "no time")
    types = arrow.types
    if is_text(array.type):
        found = _text_times(array.cast(arrow.string()), clock, bad)
    elif types.is_null(array.type):
        return np.zeros(len(array), np.int64), bad
    elif types.is_timestamp(array.type) or types.is_date(array.type):
        found = _typed_times(array, clock, bad)
    elif types.is_decimal(array.type):
        found = _counted(array.cast(arrow.string()), clock, bad)
    elif types.is_integer(array.type) or types.is_floating(array.type):
        found = _number_times(array, clock, bad)
    else:
        raise BTRDBValueError(f"{array.type} is no type of times")
    if len(found) and (found.min() < _LEAST or found.max() > _MOST):
        _outside(array, (found < _LEAST) | (found > _MOST), bad)
    return found, bad


def likely_kind(column: Any, clock: Clock) -> Any:
    """Returns the type that a column of texts has if all are written as the first, None if none."""
    array = one_chunk(column)
    if not arrow.types.is_string(array.type) or clock.form is not None:
        return None
    first = _first(array)
    if clock.unit is None:
        return _UTC if compute.match_substring_regex(first, _WITH_ZONE).as_py() else _NAIVE
    is_whole = compute.match_substring_regex(first, r"^-?\d{1,18}$").as_py()
    return arrow.int64() if is_whole and clock.unit != "excel" else None


def _outside(array: Any, wrong: Flags, bad: Bad) -> None:
    for place in np.flatnonzero(wrong).tolist():
        bad.setdefault(place, f"time `{shown(array, place)}` {_OUTSIDE}")


def _filled(array: Any) -> Instants:
    if not array.null_count:
        whole: Instants = array.to_numpy()
        return whole
    found: Instants = compute.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return found


# Texts.


def _text_times(array: Any, clock: Clock, bad: Bad) -> Instants:
    if clock.unit is not None:
        return _counted(array, clock, bad)
    if clock.form is not None:
        return _formed(array, clock, bad)
    # As the first one is written, so are most often all; a failure of Arrow costs much.
    kind = _UTC if compute.match_substring_regex(_first(array), _WITH_ZONE).as_py() else _NAIVE
    try:
        found = _filled(array.cast(kind).cast(arrow.int64()))
    except arrow.ArrowInvalid:
        return _mixed_times(array, clock, bad)
    return found if kind is _UTC else _localised(found, array, clock, bad)


def _first(array: Any) -> Any:
    """The first cell that holds something."""
    place = compute.index(compute.is_valid(array), arrow.scalar(True)).as_py()  # noqa: FBT003
    return arrow.scalar("", arrow.string()) if place < 0 else array[place]


def _mixed_times(shown_as: Any, clock: Clock, bad: Bad) -> Instants:
    array = compute.utf8_trim(shown_as, _AROUND)
    array = compute.replace_substring_regex(array, _UTC_NAMED, r"\1Z")
    array, is_day_later = with_plain_dates(array, bad)
    # Arrow need not try what it cannot read: each failure of it is expensive.
    regular = compute.match_substring_regex(array, _REGULAR)
    zoned = flags(compute.match_substring_regex(array, _WITH_ZONE))
    tried = compute.if_else(regular, array, None)
    mask = arrow.array(zoned)
    with_zone, wrong = cast_each(compute.if_else(mask, tried, None), _UTC)
    without, more = cast_each(compute.if_else(mask, None, tried), _NAIVE)
    found = np.where(
        zoned, _filled(with_zone.cast(arrow.int64())), _filled(without.cast(arrow.int64()))
    )
    # What Arrow does not read may be a time all the same, such as 2024-1-1 0:00.
    for place in [*wrong, *more, *places(compute.invert(regular))]:
        text = array[place].as_py()
        if place in bad:
            continue
        try:
            found[place] = to_nanoseconds(f"{text} ns" if text.lstrip("+-").isdigit() else text)
        except InvalidTimeRange:
            bad[place] = f"time `{shown(shown_as, place)}` {_OUTSIDE}"
        except BTRDBValueError as error:
            why = str(error).partition(" is not valid: ")[2]
            told = f"does not exist: {why}" if why else "is not understood"
            told = FINER if "finer than" in str(error) else told
            bad[place] = f"time `{shown(shown_as, place)}` {told}" if text else "no time"
    found[is_day_later] += _DAY
    naive = ~zoned
    if clock.zone is None or not naive.any():
        return found
    chosen = np.flatnonzero(naive & ~_are(bad, len(found)))
    ours: Bad = {}
    found[chosen] = _localised(found[chosen], shown_as.take(arrow.array(chosen)), clock, ours)
    bad.update({int(chosen[place]): reason for place, reason in ours.items()})
    return found


def _are(bad: Bad, count: int) -> Flags:
    found = np.zeros(count, bool)
    found[list(bad)] = True
    return found


@lru_cache(maxsize=64)
def _format(form: str) -> TimeFormat:
    try:
        return TimeFormat(form)
    except ValueError as error:
        raise BTRDBValueError(str(error)) from error


def _formed(array: Any, clock: Clock, bad: Bad) -> Instants:
    reading = _format(clock.form or "").read(compute.utf8_trim(array, _AROUND))
    for place in np.flatnonzero(~reading.is_like).tolist():
        bad.setdefault(place, f"time `{shown(array, place)}` is not like `{clock.form}`")
    for place in np.flatnonzero(reading.is_like & ~reading.is_real).tolist():
        bad.setdefault(place, f"time `{shown(array, place)}` does not exist")
    is_good = reading.is_like & reading.is_real
    wall, fits = _multiplied(reading.seconds, _SECOND)
    _outside(array, is_good & ~fits, bad)
    wall = np.where(is_good & fits, wall, 0) + reading.nanoseconds
    if reading.offsets is not None:
        return np.where(is_good, wall - reading.offsets * _SECOND, 0)
    if reading.zones is not None:
        return _zoned(wall, reading, array, clock, bad)
    if clock.zone is None or "s" in _format(clock.form or "").fields:
        return wall
    chosen = np.flatnonzero(is_good & fits)
    ours: Bad = {}
    wall[chosen] = _localised(wall[chosen], array.take(arrow.array(chosen)), clock, ours)
    bad.update({int(chosen[place]): reason for place, reason in ours.items()})
    return wall


def _zoned(wall: Instants, reading: Reading, array: Any, clock: Clock, bad: Bad) -> Instants:
    """Times with names of zones, of which only those of the zone that was told are known."""
    found = wall.copy()
    texts = reading.zones or []
    for name in sorted({text for text in texts if text is not None}):
        here = np.array([text == name for text in texts])
        if name.upper() in _UNIVERSAL:
            continue
        chosen = np.flatnonzero(here & reading.is_like & reading.is_real)
        if clock.zone is None:
            for place in chosen.tolist():
                bad.setdefault(
                    place,
                    f"time `{shown(array, place)}` names the zone `{name}`, which may be several; "
                    "say which with `--time-zone`",
                )
            continue
        either = zones.localise(wall[chosen], clock.zone)
        early = np.array([text == name for text in zones.names(either.earlier, clock.zone)], bool)
        late = np.array([text == name for text in zones.names(either.later, clock.zone)], bool)
        found[chosen] = np.where(early, either.earlier, either.later)
        for place in chosen[~(early | late) | either.is_missing].tolist():
            bad.setdefault(
                place, f"time `{shown(array, place)}` is not `{name}` in {clock.zone} then"
            )
    return found


# The clock on the wall.


def _localised(wall: Instants, array: Any, clock: Clock, bad: Bad) -> Instants:
    """Times of a clock on a wall as nanoseconds since 1970."""
    if clock.zone is None:
        return wall
    inside = np.clip(wall, _LEAST - _DAY, _MOST + _DAY)
    either = zones.localise(inside, clock.zone)
    valid = flags(compute.is_valid(array))
    for place in np.flatnonzero(either.is_missing & valid).tolist():
        time = shown(array, place)
        bad[place] = f"time `{time}` does not exist in {clock.zone}: clocks went forward"
    twice = either.is_twice & valid
    found = either.later if clock.ambiguous == "later" else either.earlier.copy()
    if clock.ambiguous == "infer":
        unclear = _infer(found, either.later, twice, valid & ~either.is_missing, clock)
    else:
        unclear = twice if clock.ambiguous == "reject" else np.zeros(len(twice), bool)
    for place in np.flatnonzero(unclear).tolist():
        which = (
            "the order of rows does not say which it is; say `--ambiguous earlier` or `later`"
            if clock.ambiguous == "infer"
            else "say `--ambiguous earlier`, `later` or `infer`"
        )
        bad[place] = f"time `{shown(array, place)}` came twice in {clock.zone}; {which}"
    # Beyond what zones are known for, the range is what is wrong.
    return np.where(inside == wall, found, wall)


def _infer(early: Instants, late: Instants, twice: Flags, good: Flags, clock: Clock) -> Flags:
    """Puts into `early` what the order of rows says, and returns where it says nothing."""
    unclear = np.zeros(len(early), bool)
    rows = np.flatnonzero(good)
    if not twice.any():
        if len(rows):
            clock.last = int(early[rows[-1]])
        return unclear
    steps = np.diff(early[rows[~twice[rows]]])
    is_falling = (steps < 0).sum() > (steps > 0).sum()  # the newest row comes first
    is_rising = (steps > 0).any() or clock.last is not None or not twice[rows[0]]
    if is_falling or not is_rising:
        unclear[twice] = True
        return unclear
    repeats = bool((steps == 0).any())
    # Whether rows repeat a time, or an equal one is an hour later, is seen at the others.
    is_known = len(steps) > 0 or clock.last is not None
    before = clock.last
    run: list[int] = []
    went_back = is_odd = has_equal = False
    comes_from = before
    for row in rows.tolist():
        time = int(early[row])
        if twice[row]:
            comes_from = comes_from if run else before
            if before is not None and (time < before or (time == before and not repeats)):
                time = int(late[row])
                went_back = True
                is_odd = is_odd or time < before  # it went back twice
                is_odd = is_odd or (int(early[row]) == before and not is_known)
            has_equal = has_equal or (repeats and time == before)
            run.append(row)
            early[row] = time
        elif run:
            unclear[run] = not went_back or is_odd
            run, went_back, is_odd, has_equal = [], False, False, False
        before = time
    clock.last = before
    if run:  # the block ends here: what comes may go back, if it is known where it came from
        says_nothing = comes_from is None or has_equal
        unclear[run] = is_odd or (not went_back and says_nothing)
        if unclear[run].any():
            clock.last = comes_from
    return unclear


# Columns with types.


def _multiplied(numbers: Instants, factor: int) -> tuple[Instants, Flags]:
    """Whole numbers times a factor, and where that fits 64 bits."""
    if factor == 1:
        return numbers, np.ones(len(numbers), bool)
    most = ((1 << 63) - 1) // factor - 1  # and room for a fraction
    fits = (numbers <= most) & (numbers >= -most)
    return np.where(fits, numbers, 0) * factor, fits


def _typed_times(array: Any, clock: Clock, bad: Bad) -> Instants:
    kind = array.type
    if arrow.types.is_date(kind):
        unit, days = ("ms", False) if arrow.types.is_date64(kind) else ("s", True)
        counted = array.cast(arrow.int32() if days else arrow.int64()).cast(arrow.int64())
        numbers = _filled(counted) * (86_400 if days else 1)
        zone = None
    else:
        unit, zone = kind.unit, kind.tz
        numbers = _filled(array.cast(arrow.int64()))
    found, fits = _multiplied(numbers, 10 ** _DIGITS[unit])
    _outside(array, ~fits, bad)
    return found if zone is not None else _localised(found, array, clock, bad)


def _number_times(array: Any, clock: Clock, bad: Bad) -> Instants:
    unit = clock.unit or "ns"
    if arrow.types.is_floating(array.type):
        if not arrow.types.is_float64(array.type):
            array = _without_coarse(array, unit, bad)
        # An int where it is whole: exact beyond what halves of a float can say.
        filled = compute.fill_null(array.cast(arrow.float64()), 0.0)
        return _floats(filled.to_numpy(zero_copy_only=False), array, clock, bad)
    if unit == "excel":
        return _floats(
            compute.fill_null(array, 0).cast(arrow.float64()).to_numpy(), array, clock, bad
        )
    if arrow.types.is_uint64(array.type):
        large = flags(compute.greater(array, arrow.scalar((1 << 63) - 1, arrow.uint64())))
        _outside(array, large, bad)
        array = compute.if_else(arrow.array(~large), array, arrow.scalar(0, arrow.uint64()))
    found, fits = _multiplied(_filled(array.cast(arrow.int64())), 10 ** _DIGITS[unit])
    _outside(array, ~fits, bad)
    return _from_origin(found, array, clock, bad)


def _without_coarse(array: Any, unit: TimeUnit, bad: Bad) -> Any:
    """Floats of 32 or 16 bits as the doubles that their digits say, without those too coarse.

    A float32 of today's seconds is off by up to a minute: it cannot say what was meant.
    """
    values = array.to_numpy(zero_copy_only=False)
    finest = _EXCEL_FINEST if unit == "excel" else 1.0
    with np.errstate(invalid="ignore"):
        apart = np.spacing(np.abs(values)).astype(np.float64)
        coarse = np.isfinite(values) & (apart > finest)
    for place in np.flatnonzero(coarse).tolist():
        gap = f"{apart[place]:g} {_COUNTED.get(unit, unit)}"
        why = f"is a float{array.type.bit_width}, {gap} from the next"
        bad.setdefault(place, f"time `{shown(array, place)}` {why}: too coarse for a time")
    texts = values.astype(str).astype(np.float64)
    return arrow.array(np.where(coarse, 0.0, texts))  # a null is NaN, and no time either


def _floats(values: npt.NDArray[np.float64], array: Any, clock: Clock, bad: Bad) -> Instants:
    unit = clock.unit or "ns"
    if unit == "excel":
        return _excel(values, array, clock, bad)
    factor = 10 ** _DIGITS[unit]
    wrong = ~np.isfinite(values) | (np.abs(values) >= (1 << 63) / factor)
    values = np.where(wrong, 0.0, values)
    whole: npt.NDArray[np.float64] = np.floor(values)
    # In two parts, each exact: a float of today's nanoseconds would be off by up to 128.
    rest = _fewest_decimals(values, whole, _DIGITS[unit])
    _outside(array, wrong, bad)
    return _from_origin(whole.astype(np.int64) * factor + rest, array, clock, bad)


def _fewest_decimals(
    values: npt.NDArray[np.float64], whole: npt.NDArray[np.float64], digits: int
) -> Instants:
    """The decimals of numbers as so many digits: the shortest that are the same double.

    1704067200.123 is a double that is 93 ns less; what was meant is what a text would say.
    """
    rest = values - whole
    found: Instants = np.rint(rest * 10**digits).astype(np.int64)
    is_open = np.flatnonzero(rest != 0)
    for count in range(1, digits):
        if not len(is_open):
            break
        rounded = np.rint(rest[is_open] * 10**count)
        is_same = whole[is_open] + rounded / 10**count == values[is_open]
        same = is_open[is_same]
        found[same] = rounded[is_same].astype(np.int64) * 10 ** (digits - count)
        is_open = is_open[~is_same]
    return found


def _excel(values: npt.NDArray[np.float64], array: Any, clock: Clock, bad: Bad) -> Instants:
    """Days as spreadsheets count them, to the millisecond: they keep no finer time."""
    first = _EXCEL_FIRST if not clock.days else 0
    wrong = ~np.isfinite(values) | (values < first) | (values > 200_000)  # noqa: PLR2004
    _outside(array, wrong, bad)
    values = np.where(wrong, 0.0, values) + clock.days
    whole = np.floor(values)
    rest = np.rint((values - whole) * (_DAY / _MILLISECOND)).astype(np.int64) * _MILLISECOND
    found = (whole.astype(np.int64) + _EXCEL_ORIGIN) * _DAY + rest
    found = np.where(wrong, 0, found)
    return _localised(found, array, clock, bad)


def _from_origin(found: Instants, array: Any, clock: Clock, bad: Bad) -> Instants:
    if not clock.origin:
        return found
    room = (1 << 63) - 1 - abs(clock.origin)
    fits = (found <= room) & (found >= -room)
    _outside(array, ~fits, bad)
    return np.where(fits, found, 0) + clock.origin


def _counted(array: Any, clock: Clock, bad: Bad) -> Instants:
    """Decimal numbers in a unit, exactly."""
    unit = clock.unit or "ns"
    if unit == "excel":
        return _excel_texts(array, clock, bad)
    digits = _DIGITS[unit]
    try:
        # Arrow reads 0x10 as 16, which is no decimal number.
        if not compute.any(compute.match_substring(array, "x", ignore_case=True)).as_py():
            return _number_times(array.cast(arrow.int64()), clock, bad)
    except arrow.ArrowInvalid:
        pass
    array, shown_as = _without_exponents(array, unit, bad), array
    pattern = (
        r"^[\s\"']*(?P<sign>[+-]?)(?P<whole>\d{1,19})"
        rf"(?:[.,](?P<fraction>\d{{0,{digits}}})0*)?[\s\"']*$"
    )
    parts = compute.extract_regex(array, pattern)
    no_match = compute.is_null(parts)
    finer = compute.and_(no_match, compute.match_substring_regex(array, _FRACTION))
    for place in places(finer):
        bad.setdefault(place, f"time `{shown(shown_as, place)}` {FINER}")
    for place in places(no_match):
        bad.setdefault(place, f"time `{shown(shown_as, place)}` is no number of {unit}")
    whole, beyond = cast_each(compute.struct_field(parts, "whole"), arrow.int64())
    scaled, fits = _multiplied(_filled(whole), 10**digits)
    fits[beyond] = False
    _outside(shown_as, ~fits, bad)
    fraction = _fractions(compute.struct_field(parts, "fraction"), digits)
    negative = flags(compute.equal(compute.struct_field(parts, "sign"), "-"))
    return _from_origin(np.where(negative, -1, 1) * (scaled + fraction), shown_as, clock, bad)


def _without_exponents(array: Any, unit: str, bad: Bad) -> Any:
    """Numbers such as -5.000E-03 written out, if their digits go down to the unit."""
    with_one = places(compute.match_substring_regex(array, _WITH_EXPONENT))
    if not with_one:
        return array
    texts: list[str | None] = array.to_pylist()
    for place in with_one:
        number = Decimal((texts[place] or "").strip("\"' \t\r\n\u00a0").replace(",", "."))
        texts[place] = "0"
        if not number:
            continue
        exponent = number.as_tuple().exponent
        if (isinstance(exponent, int) and exponent > 0) or abs(number.adjusted()) > _EXPONENTS:
            why = f"is no number of {unit}, or has too few digits for one"
            bad.setdefault(place, f"time `{shown(array, place)}` {why}")
            continue
        texts[place] = f"{_as_meant(number):f}"
    return arrow.array(texts, arrow.string())


def _as_meant(number: Decimal) -> Decimal:
    """What 1.000000000000000056e-01 was before a program wrote all digits of its double."""
    digits = number.as_tuple().digits
    if len(digits) < 17 or Decimal(f"{float(number):.{len(digits) - 1}e}") != number:  # noqa: PLR2004
        return number
    return Decimal(repr(float(number)))


def _excel_texts(array: Any, clock: Clock, bad: Bad) -> Instants:
    trimmed = compute.utf8_trim(array, _AROUND)
    is_number = compute.match_substring_regex(trimmed, r"^\d{1,6}([.,]\d*)?$")
    for place in places(compute.invert(is_number)):
        bad.setdefault(place, f"time `{shown(array, place)}` is no number of days of a spreadsheet")
    numbers = compute.replace_substring(compute.if_else(is_number, trimmed, "0"), ",", ".")
    values = compute.fill_null(numbers.cast(arrow.float64()), 0.0).to_numpy(zero_copy_only=False)
    return _floats(values, array, clock, bad)


def _fractions(texts: Any, digits: int) -> Instants:
    if not digits:
        return np.zeros(len(texts), np.int64)
    padded = compute.utf8_rpad(compute.fill_null(texts, ""), digits, "0")
    found: Instants = padded.cast(arrow.int64()).to_numpy()
    return found
