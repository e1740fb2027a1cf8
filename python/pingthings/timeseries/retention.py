"""Converts retention periods between the documented dictionary and nanoseconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError
from pingthings.timeseries.utils.timez import duration_ns

__all__ = ["as_keep_ns", "to_dict"]

_NS_PER_US = 1000
_MOST_NS = (1 << 63) - 1


def as_keep_ns(value: object) -> int | None:
    """Converts a retention period to nanoseconds; None, which means for ever, stays None.

    Raises:
        BTRDBTypeError: It is not a timedelta. The documentation once had a datetime here.
        BTRDBValueError: It is not positive, or longer than the range of a stream.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        raise BTRDBTypeError(
            "`remove_older_than` is a duration; give a `timedelta` instead of a `datetime`"
        )
    try:
        nanoseconds = duration_ns(value)
    except BTRDBTypeError:
        raise BTRDBTypeError(
            f"`remove_older_than` is a `timedelta` or None, not a `{type(value).__name__}`"
        ) from None
    if not 0 < nanoseconds <= _MOST_NS:
        raise BTRDBValueError(
            f"`remove_older_than` is {value}; it must be positive and at most {_MOST_NS} ns"
        )
    return nanoseconds


def to_dict(keep_ns: int | None) -> dict[str, Any]:
    """Returns the documented dictionary; it is empty if points are kept for ever."""
    if keep_ns is None:
        return {}
    return {"remove_older_than": timedelta(microseconds=keep_ns // _NS_PER_US)}
