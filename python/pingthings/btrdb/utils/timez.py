"""Times and spans as nanoseconds: those of `pingthings.timeseries.utils`, which are exact."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, overload

from pingthings.timeseries import utils
from pingthings.timeseries.exceptions import BTRDBValueError
from pingthings.timeseries.utils import currently_as_ns, datetime_to_ns, ns_delta

if TYPE_CHECKING:
    from pingthings.timeseries.utils.timez import Instant

__all__ = [
    "DATETIME_FORMATS",
    "currently_as_ns",
    "datetime_to_ns",
    "ns_delta",
    "ns_to_datetime",
    "to_nanoseconds",
]

_DAY = "%Y-%m-%d"
_CLOCK = "%H:%M:%S"
DATETIME_FORMATS = (
    *(f"{_DAY} {_CLOCK}{rest}" for rest in (".%f%z", ".%f")),
    *(f"{_DAY}T{_CLOCK}{rest}" for rest in (".%fZ", "Z", ".%f%z", ".%f")),
    *(f"{_DAY} {_CLOCK}{rest}" for rest in ("%z", "")),
    _DAY,
)
"""The forms of text that the older client read; `to_nanoseconds` reads all of ISO 8601."""

_HINTS: dict[type, str] = {
    str: "write times in the form of RFC3339",
    float: "of floats the client can only convert whole numbers to nanoseconds",
}


@overload
def to_nanoseconds(val: None) -> None: ...
@overload
def to_nanoseconds(val: Instant) -> int: ...
def to_nanoseconds(val: Instant | None) -> int | None:
    """Returns a time in nanoseconds; see `pingthings.timeseries.utils.to_nanoseconds`.

    Raises:
        BTRDBTypeError: The type is another one.
        BTRDBValueError: The text is of another form, or the number is not whole.
    """
    try:
        return utils.to_nanoseconds(val)
    except BTRDBValueError as error:
        hint = _HINTS.get(type(val))
        if hint is None:
            raise
        raise type(error)(f"{hint}: {error}") from None


def ns_to_datetime(ns: int) -> datetime:
    """Returns nanoseconds as a datetime in UTC; see `pingthings.timeseries.utils.ns_to_datetime`.

    Where pytz is installed, which the older client needed, the time zone is its `utc`.
    """
    instant = utils.ns_to_datetime(ns)
    try:
        utc = import_module("pytz").utc
    except ImportError:
        return instant
    return instant.replace(tzinfo=utc)
