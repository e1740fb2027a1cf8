"""Converts times and spans to integer nanoseconds, without float arithmetic.

Times are counted from the Unix epoch in UTC. A time without a zone is UTC, never local time, so
that a program has the same result on every machine. A float that is a span is used as the decimal
number it prints as: 0.3 s is 300,000,000 ns.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias, cast, overload

import numpy as np
import pyarrow as pa

from pingthings.timeseries.constants import _PW, PW
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError, InvalidTimeRange

__all__ = [
    "currently_as_ns",
    "datetime_to_ns",
    "nearest_point_width",
    "ns_delta",
    "ns_to_datetime",
    "to_nanoseconds",
]

Instant: TypeAlias = (
    int
    | float
    | str
    | date
    | Decimal
    | Fraction
    | np.integer[Any]
    | np.floating[Any]
    | np.datetime64
    | pa.TimestampScalar
)
"""A time that `to_nanoseconds` accepts; `date` includes `datetime` and `pandas.Timestamp`."""

Duration: TypeAlias = timedelta | np.timedelta64 | pa.DurationScalar
"""A duration with a unit; `timedelta` includes `pandas.Timedelta`."""

Number: TypeAlias = int | float | Decimal | Fraction | np.integer[Any] | np.floating[Any]
"""A number of days, seconds and so on."""

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION_DIGITS = 9

_INTEGERS = (int, np.integer)
_FLOATS = (float, Decimal, np.floating)
_UNIT_NS = {
    "days": _DAY,
    "hours": 3_600 * _SECOND,
    "minutes": 60 * _SECOND,
    "seconds": _SECOND,
    "milliseconds": 1_000_000,
    "microseconds": 1_000,
}

_MOST_DIGITS = 100
_DIGITS = re.compile(r"[+-]?[0-9]+")
_ISO_8601 = re.compile(
    r"""
    (?P<year>\d{4}) - (?P<month>\d{1,2}) - (?P<day>\d{1,2})
    (?:
        (?: [Tt] | \s+ )
        (?P<hour>\d{1,2}) : (?P<minute>\d{1,2})
        (?: : (?P<second>\d{1,2}) (?: [.,] (?P<fraction>\d+) )? )?
        \s* (?P<zone> [Zz] | [+-]\d{2} (?: :?\d{2} (?: :?\d{2} (?: \.\d{1,6} )? )? )? )?
    )?
    """,
    re.VERBOSE | re.ASCII,
)

# Attoseconds in each fixed unit of numpy, so that units below a nanosecond stay integers.
_ATTOSECONDS = {
    "W": 7 * _DAY * 10**9,
    "D": _DAY * 10**9,
    "h": 3_600 * 10**18,
    "m": 60 * 10**18,
    "s": 10**18,
    "ms": 10**15,
    "us": 10**12,
    "ns": 10**9,
    "ps": 10**6,
    "fs": 10**3,
    "as": 1,
}


def currently_as_ns() -> int:
    """Returns the current time of this machine's clock in nanoseconds."""
    return time.time_ns()


def datetime_to_ns(dt: datetime) -> int:
    """Converts a datetime to nanoseconds, exactly.

    Args:
        dt: A datetime; without a time zone it is UTC. The nanoseconds of a `pandas.Timestamp` are
            kept.

    Raises:
        BTRDBTypeError: The argument is not a datetime.
        BTRDBValueError: The argument is pandas' `NaT`.

    Examples:
        >>> datetime_to_ns(datetime(2018, 1, 1, microsecond=1))
        1514764800000001000
    """
    if not isinstance(dt, datetime):
        raise BTRDBTypeError(f"expected a datetime, got `{type(dt).__name__}`")
    if dt != dt:  # noqa: PLR0124 - NaT is a datetime that does not equal itself
        raise BTRDBValueError("`NaT` is not a time")
    # Uses fields, because the subtraction of a Timestamp may round or overflow.
    seconds = dt.hour * 3_600 + dt.minute * 60 + dt.second
    nanoseconds = dt.microsecond * 1_000 + int(getattr(dt, "nanosecond", 0))
    since_epoch = _day_ns(dt.toordinal()) + seconds * _SECOND + nanoseconds
    offset = dt.utcoffset()
    return since_epoch if offset is None else since_epoch - _timedelta_ns(offset)


def ns_to_datetime(ns: int) -> datetime:
    """Converts nanoseconds to a datetime in UTC.

    A datetime has microseconds. Nanoseconds are rounded down, so that the result is never later
    than the time. Whole microseconds are exact.

    Args:
        ns: Nanoseconds since the Unix epoch.

    Raises:
        BTRDBTypeError: The argument is not an int.
        InvalidTimeRange: The time is outside the range of a datetime, the years 1 to 9999.

    Examples:
        >>> ns_to_datetime(1514764800000001999).isoformat()
        '2018-01-01T00:00:00.000001+00:00'
    """
    whole = _whole("ns", ns)
    seconds, rest = divmod(whole, _SECOND)
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=rest // 1_000)
    except OverflowError:
        raise InvalidTimeRange(f"`{whole}` ns is outside the years 1 to 9999") from None


@overload
def to_nanoseconds(val: None) -> None: ...
@overload
def to_nanoseconds(val: Instant) -> int: ...
def to_nanoseconds(val: Instant | None) -> int | None:
    """Converts a time of any supported type to nanoseconds, exactly.

    Args:
        val: One of

            * an int (also numpy's): nanoseconds since the Unix epoch;
            * a datetime or `pandas.Timestamp`; without a time zone it is UTC;
            * a date: its midnight in UTC;
            * a `numpy.datetime64` of any unit, or a timestamp from an Arrow table;
            * a string: ISO 8601 (RFC 3339) such as `2018-01-01`, `2018-01-01 12:30` or
              `2018-01-01T12:30:00.123456789-05:00`, with up to nine digits of fraction, in UTC if
              it has no offset; or digits only, which are nanoseconds;
            * a float, `Decimal` or `Fraction` that is an integer: nanoseconds. Floats of the size
              of today's times have a resolution of 256 ns.

            None is returned unchanged.

    Raises:
        BTRDBTypeError: The type is not supported; a bool is not a time.
        BTRDBValueError: The string has another form, the number is not an integer, the time is
            finer than a nanosecond, or it is a missing value such as NaT.
        InvalidTimeRange: The nanoseconds exceed 64 bits: the time is outside 1677 to 2262.

    Examples:
        >>> to_nanoseconds("2018-01-01T00:00:00.000000001Z")
        1514764800000000001
    """
    if val is None:
        return None
    nanoseconds = _exact_nanoseconds(val)
    if not -(1 << 63) <= nanoseconds < 1 << 63:
        raise InvalidTimeRange(f"time `{val}` does not fit into 64-bit nanoseconds (1677 to 2262)")
    return nanoseconds


def ns_delta(
    days: Number = 0,
    hours: Number = 0,
    minutes: Number = 0,
    seconds: Number = 0,
    milliseconds: Number = 0,
    microseconds: Number = 0,
    nanoseconds: int = 0,
) -> int:
    """Returns the length of a span in nanoseconds, with the arguments of `timedelta`.

    The sum is computed exactly; a float is used as the decimal number it prints as. A sum that is
    not an integer is rounded to the nearest one, halves to the even one.

    Args:
        days: Days of 24 hours.
        hours: Hours.
        minutes: Minutes.
        seconds: Seconds.
        milliseconds: Milliseconds.
        microseconds: Microseconds.
        nanoseconds: Nanoseconds, an integer.

    Raises:
        BTRDBTypeError: An argument is not a number, or `nanoseconds` is not an int.
        BTRDBValueError: An argument is NaN or infinite.

    Examples:
        >>> ns_delta(seconds=0.3)
        300000000
        >>> ns_delta(days=365, minutes=0.5, nanoseconds=1)
        31536030000000001
    """
    span = _span(
        nanoseconds,
        days=days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
        milliseconds=milliseconds,
        microseconds=microseconds,
    )
    return round(span)


def nearest_point_width(
    days: Number = 0,
    hours: Number = 0,
    minutes: Number = 0,
    seconds: Number = 0,
    milliseconds: Number = 0,
    microseconds: Number = 0,
    nanoseconds: int = 0,
    hertz: Number = 0,
) -> _PW:
    """Returns the point width nearest to a span.

    The distance is the difference in nanoseconds; of two equally near the shorter is returned. A
    span beyond the ends of `PW` returns its first or last member.

    Args:
        days: Days of 24 hours.
        hours: Hours.
        minutes: Minutes.
        seconds: Seconds.
        milliseconds: Milliseconds.
        microseconds: Microseconds.
        nanoseconds: Nanoseconds, an integer.
        hertz: A frequency whose period is the span; cannot be combined with other arguments. Rates
            such as `Fraction(30000, 1001)` are exact.

    Raises:
        BTRDBTypeError: An argument is not a number, or `nanoseconds` is not an int.
        BTRDBValueError: The span is not above zero, a number is NaN or infinite, or `hertz` is
            combined with another argument.

    Examples:
        >>> nearest_point_width(seconds=1)
        PW[30]
        >>> nearest_point_width(hertz=30)
        PW[25]
    """
    span = _span(
        nanoseconds,
        days=days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
        milliseconds=milliseconds,
        microseconds=microseconds,
    )
    frequency = _fraction("hertz", hertz)
    if frequency:
        if any((days, hours, minutes, seconds, milliseconds, microseconds, nanoseconds)):
            raise BTRDBValueError(
                "`hertz` defines the complete span; leave out the other arguments"
            )
        span = _SECOND / frequency
    if span <= 0:
        raise BTRDBValueError(f"the span is `{float(span)}` ns; it must be above zero")
    exponent = max(int(span), 1).bit_length() - 1
    if exponent >= len(PW) - 1:
        return PW[-1]
    shorter, longer = PW[exponent], PW[exponent + 1]
    is_nearer_to_longer = longer.nanoseconds - span < span - shorter.nanoseconds
    return longer if is_nearer_to_longer else shorter


def _exact_nanoseconds(val: Instant) -> int:  # noqa: PLR0911 - one for each type
    match val:
        case bool() | np.timedelta64():  # numpy counts the latter among its integers
            raise BTRDBTypeError(f"the {type(val).__name__} `{val}` is not a time")
        case int() | np.integer():
            return int(val)
        case datetime():
            return datetime_to_ns(val)
        case date():
            return _day_ns(val.toordinal())
        case np.datetime64():
            return _datetime64_ns(val)
        case str():
            return _text_ns(val)
        case float() | Decimal() | Fraction() | np.floating():
            return _whole_number(val)
        case pa.TimestampScalar():
            if val.value is None:
                raise BTRDBValueError("a null is not a time")
            return _from_attoseconds(val.value * _ATTOSECONDS[val.type.unit], val)
        case _:
            raise BTRDBTypeError(f"a value of type `{type(val).__name__}` is not a time")


def _day_ns(ordinal: int) -> int:
    return (ordinal - _EPOCH_DAY) * _DAY


def _timedelta_ns(delta: timedelta) -> int:
    # Uses fields, because a division would drop the nanoseconds of a pandas.Timedelta.
    seconds = delta.days * 86_400 + delta.seconds
    nanoseconds = int(getattr(delta, "nanoseconds", 0))
    return seconds * _SECOND + delta.microseconds * 1_000 + nanoseconds


def duration_ns(val: object) -> int:
    """Converts a `Duration` to nanoseconds, exactly.

    Raises:
        BTRDBTypeError: The value is not a duration.
        BTRDBValueError: Its length is unknown, or finer than a nanosecond.
    """
    match val:
        case timedelta():
            return _timedelta_ns(val)
        case np.timedelta64():
            unit, multiple = np.datetime_data(val.dtype)
            if np.isnat(val) or unit not in _ATTOSECONDS:
                raise BTRDBValueError(f"`{val!r}` is not a duration of a known length")
            return _from_attoseconds(int(val.astype(np.int64)) * multiple * _ATTOSECONDS[unit], val)
        case pa.DurationScalar():
            count: int | None = cast("Any", val).value  # its stub says timedelta
            if count is None:
                raise BTRDBValueError("a null is not a duration")
            return _from_attoseconds(count * _ATTOSECONDS[val.type.unit], val)
        case _:
            raise BTRDBTypeError(f"a `{type(val).__name__}` is not a duration")


def _from_attoseconds(attoseconds: int, val: object) -> int:
    nanoseconds, rest = divmod(attoseconds, 10**9)
    if rest:
        raise BTRDBValueError(f"time `{val}` is finer than a nanosecond")
    return nanoseconds


def _datetime64_ns(val: np.datetime64) -> int:
    if np.isnat(val):
        raise BTRDBValueError("`NaT` is not a time")
    unit, multiple = np.datetime_data(val.dtype)
    count = int(val.astype(np.int64)) * multiple
    if unit not in {"Y", "M"}:
        return _from_attoseconds(count * _ATTOSECONDS[unit], val)
    years, months = (count, 0) if unit == "Y" else divmod(count, 12)
    # Gregorian years repeat after 400, in which there are 146,097 days.
    cycles, year = divmod(1970 + years - 1, 400)
    return _day_ns(date(year + 1, months + 1, 1).toordinal() + cycles * 146_097)


def _text_ns(text: str) -> int:
    stripped = text.strip()
    if _DIGITS.fullmatch(stripped):
        if len(stripped) > _MOST_DIGITS:
            raise InvalidTimeRange(
                f"a time of {len(stripped)} digits does not fit into 64-bit nanoseconds "
                "(1677 to 2262)"
            )
        return int(stripped)
    match = _ISO_8601.fullmatch(stripped)
    if match is None:
        raise BTRDBValueError(
            f"time `{text}` is not understood; write it like `2018-01-01T12:30:00.123456789Z`"
        )
    fraction = match["fraction"] or ""
    if len(fraction) > _FRACTION_DIGITS:
        raise BTRDBValueError(f"time `{text}` is finer than a nanosecond; nine digits are the most")
    year, month, day, hour, minute, second = (
        int(match[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    try:
        instant = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise BTRDBValueError(f"time `{text}` is not valid: {error}") from None
    offset = _offset_ns(match["zone"] or "Z", text)
    return datetime_to_ns(instant) - offset + _fraction_ns(fraction)


def _fraction_ns(digits: str) -> int:
    return int(digits.ljust(_FRACTION_DIGITS, "0"))


def _offset_ns(zone: str, text: str) -> int:
    if zone in {"Z", "z"}:
        return 0
    clock, _, fraction = zone[1:].partition(".")
    digits = clock.replace(":", "").ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if hours > 23 or minutes > 59 or seconds > 59:  # noqa: PLR2004 - a clock's limits
        raise BTRDBValueError(f"time `{text}` has the offset `{zone}`, which is not valid")
    offset = (hours * 3_600 + minutes * 60 + seconds) * _SECOND + _fraction_ns(fraction)
    return -offset if zone[0] == "-" else offset


def _whole_number(val: float | Decimal | Fraction | np.floating[Any]) -> int:
    if not _is_finite(val):
        raise BTRDBValueError(f"`{val}` is not a time")
    number = Fraction(*val.as_integer_ratio()) if isinstance(val, np.floating) else val
    # Checked before any conversion: the integer of a huge exponent would not fit into memory.
    if not -(1 << 64) < number < 1 << 64:
        raise InvalidTimeRange(f"time `{val}` does not fit into 64-bit nanoseconds (1677 to 2262)")
    if number != int(number):
        raise BTRDBValueError(f"`{val}` is not an integer number of nanoseconds")
    return int(number)


def _is_finite(value: float | Decimal | Fraction | np.floating[Any]) -> bool:
    # A float of a large Decimal is infinite, and that of a signalling NaN raises.
    match value:
        case Fraction():
            return True
        case Decimal():
            return value.is_finite()
        case _:
            return math.isfinite(value)


def _whole(name: str, value: Number) -> int:
    if isinstance(value, _INTEGERS) and not isinstance(value, bool):
        return int(value)
    raise BTRDBTypeError(f"`{name}` must be an int, not a `{type(value).__name__}`")


def _fraction(name: str, value: Number) -> Fraction:
    """Returns the number exactly, a float as the decimal number it prints as."""
    if isinstance(value, bool):
        raise BTRDBTypeError(f"`{name}` must be a number, not a bool")
    if isinstance(value, _INTEGERS):
        return Fraction(int(value))
    if isinstance(value, Fraction):
        return value
    if not isinstance(value, _FLOATS):
        raise BTRDBTypeError(f"`{name}` must be a number, not a `{type(value).__name__}`")
    if not _is_finite(value):
        raise BTRDBValueError(f"`{name}` is `{value}`; it must be finite")
    return Fraction(str(value))


def _span(nanoseconds: int, **numbers: Number) -> Fraction:
    """Returns the nanoseconds of a span, exactly."""
    whole = _whole("nanoseconds", nanoseconds)
    return sum(
        (_fraction(unit, number) * _UNIT_NS[unit] for unit, number in numbers.items()),
        start=Fraction(whole),
    )
