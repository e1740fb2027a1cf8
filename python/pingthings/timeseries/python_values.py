"""Columns of Python's own values: numbers of any kind, and whatever is a time.

Arrow takes such columns too, but rounds decimal numbers, cuts the nanoseconds off a Timestamp,
makes numbers of truth values, and says of a mixture only that it is one. Here each value is what it
is, or refused with its row.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pingthings.timeseries.exceptions import BadValue, BTRDBTypeError, InvalidTimeRange
from pingthings.timeseries.utils.timez import Instant, to_nanoseconds

__all__ = ["as_numbers", "as_times", "is_missing", "is_number"]

_PLAIN = {float, int, np.float64, type(None)}
_NO_NUMBERS = np.complexfloating | np.timedelta64


def as_times(times: list[Any]) -> pa.Array[Any]:
    """Returns whatever `to_nanoseconds` takes as whole nanoseconds.

    Raises:
        BTRDBTypeError: One is missing, or is no time.
        BTRDBValueError: One is no instant, or finer than a nanosecond.
        InvalidTimeRange: One does not fit.
    """
    if set(map(type, times)) - {int}:
        times = [_time(time, row) for row, time in enumerate(times)]
    try:
        return pa.array(np.fromiter(times, np.int64, len(times)))
    except OverflowError as error:
        raise InvalidTimeRange(
            "a time does not fit 64 bits of nanoseconds (1677 to 2262)"
        ) from error


def as_numbers(values: list[Any]) -> pa.Array[Any]:
    """Returns numbers as the nearest float64, whole ones exactly or not at all.

    Raises:
        BadValue: One is no number, or a whole one that no float64 holds.
    """
    if set(map(type, values)) - _PLAIN:  # Arrow rounds decimal numbers
        return pa.array([_value(value, row) for row, value in enumerate(values)], pa.float64())
    try:
        return pa.array(values, pa.float64(), from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_value(value, row) for row, value in enumerate(values)], pa.float64())


def is_number(value: Any) -> bool:
    """Whether it is a number of any library; truth values are none."""
    is_other = isinstance(value, bool | np.bool_ | _NO_NUMBERS)
    return isinstance(value, int | float | Decimal | Fraction | np.number) and not is_other


def is_missing(value: Any) -> bool:
    """Whether it stands for no value; of those of pandas one cannot even be compared."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating | np.datetime64) and bool(value != value)  # noqa: PLR0124 - NaN, NaT


def _value(value: Any, row: int) -> float | None:
    """A number as databases and libraries give it; whole ones exactly, or not at all."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        raise BadValue(f"row {row}: a value is `{value!r}`; cast it if 0 and 1 are meant")
    if not is_number(value):
        raise BadValue(f"row {row}: a value is no number: `{value!r}`")
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:  # a signalling NaN is one, too
        raise BadValue(f"row {row}: a value is no number that a stream holds: {error}") from error
    if math.isinf(number) and isinstance(value, Decimal) and not value.is_infinite():
        raise BadValue(f"row {row}: the value `{value}` is beyond what a float64 holds")
    is_whole = math.isfinite(number) and value == int(value)
    if is_whole and int(number) != int(value):
        raise BadValue(
            f"row {row}: the whole number {value} is no float64, which is what streams hold: "
            "round it first"
        )
    return number


def _time(time: object, row: int) -> int:
    if time is None:
        raise BTRDBTypeError(f"row {row} has no time")
    return to_nanoseconds(cast(Instant, time))  # it checks the type itself
