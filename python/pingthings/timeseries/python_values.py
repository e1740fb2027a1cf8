"""Converts lists of Python objects to columns: numbers of any kind, and times.

Arrow converts such lists too, but it rounds decimal numbers, drops the nanoseconds of a Timestamp,
converts booleans to numbers, and has no clear error for mixed types. Here each value is converted
exactly, or refused with its row.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pingthings.timeseries.exceptions import BadValue, BTrDBError, BTRDBTypeError
from pingthings.timeseries.utils.timez import Instant, to_nanoseconds

__all__ = ["as_instant", "as_numbers", "as_objects", "as_times", "is_missing", "is_number"]

_PLAIN = {float, int, np.float64, type(None)}
_NO_NUMBERS = np.complexfloating | np.timedelta64


def as_times(times: list[Any]) -> pa.Array[Any]:
    """Converts times that `to_nanoseconds` accepts to integer nanoseconds.

    Raises:
        BTRDBTypeError: A time is missing, or is not a time.
        BTRDBValueError: A time is not an instant, or finer than a nanosecond.
        InvalidTimeRange: A time is outside the range of nanoseconds.
    """
    if set(map(type, times)) - {int}:
        times = [as_instant(time, row) for row, time in enumerate(times)]
    try:
        return pa.array(np.fromiter(times, np.int64, len(times)))
    except OverflowError:
        times = [as_instant(time, row) for row, time in enumerate(times)]  # it names the row
        raise


def as_numbers(values: list[Any]) -> pa.Array[Any]:
    """Converts numbers to the nearest float64; integers must be exact.

    Raises:
        BadValue: A value is not a number, or an integer that a float64 cannot represent.
    """
    if set(map(type, values)) - _PLAIN:  # Arrow rounds decimal numbers
        return pa.array([_value(value, row) for row, value in enumerate(values)], pa.float64())
    try:
        return pa.array(values, pa.float64(), from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_value(value, row) for row, value in enumerate(values)], pa.float64())


def is_number(value: Any) -> bool:
    """Whether it is a number of any library; booleans are not."""
    is_other = isinstance(value, bool | np.bool_ | _NO_NUMBERS)
    return isinstance(value, int | float | Decimal | Fraction | np.number) and not is_other


def is_missing(value: Any) -> bool:
    """Whether it is a missing value; pandas' NA cannot be compared, so its type is checked."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating | np.datetime64) and bool(value != value)  # noqa: PLR0124 - NaN, NaT


def _value(value: Any, row: int) -> float | None:
    """Converts a number of any library to a float; an integer must be exact."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        raise BadValue(f"row {row}: a value is `{value!r}`; cast it if 0 and 1 are meant")
    if not is_number(value):
        raise BadValue(f"row {row}: `{value!r}` is not a number")
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:  # also for a signalling NaN
        raise BadValue(
            f"row {row}: the value is not a number that a stream can store: {error}"
        ) from error
    if math.isinf(number) and isinstance(value, Decimal) and not value.is_infinite():
        raise BadValue(f"row {row}: the value `{value}` is beyond the range of a float64")
    is_whole = math.isfinite(number) and value == int(value)
    if is_whole and int(number) != int(value):
        raise BadValue(
            f"row {row}: the integer {value} cannot be represented as a float64, the type of "
            "values in streams; round it first"
        )
    return number


def as_instant(time: object, row: int) -> int:
    """Converts a time; an error names the row."""
    if time is None:
        raise BTRDBTypeError(f"row {row} has no time")
    try:
        return to_nanoseconds(cast(Instant, time))  # it checks the type itself
    except BTrDBError as error:
        error.args = (f"row {row}: {error}", *error.args[1:])
        raise


def as_objects(values: list[Any] | tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """Converts a column of Python values to an array without changing any of them.

    numpy would convert truth values to numbers, and round integers beside floats.
    """
    kinds = set(map(type, values))
    try:
        if kinds in ({int}, {float}):
            return np.array(values, np.int64 if kinds == {int} else np.float64)
    except OverflowError:
        pass  # `as_numbers` and `as_times` decide about such integers
    return np.fromiter(values, np.dtype(object), len(values))
