"""What a set reads of its streams, and which streams a filter lets through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pingthings.btrdb.utils.timez import to_nanoseconds
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

if TYPE_CHECKING:
    import pyarrow as pa

    from pingthings.btrdb.stream import Stream
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["StreamFilter", "contains", "matches"]


class StreamFilter:
    """Bounds of what is read, and the form of it.

    Args:
        start: First instant; None leaves it open.
        end: The instant after the last one; None leaves it open.
        sampling_frequency: A rate in Hz; 0 is none.
        schema: The schema of `arrow_values`.

    Raises:
        BTRDBValueError: Neither bound is given, or the start is not before the end.
    """

    def __init__(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        sampling_frequency: float | None = None,
        schema: pa.Schema | None = None,
    ) -> None:
        self.start = to_nanoseconds(start)
        self.end = to_nanoseconds(end)
        self.schema = schema
        self.sampling_frequency = sampling_frequency or None
        if self.start is None and self.end is None:
            raise BTRDBValueError("A valid `start` or `end` must be supplied")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise BTRDBValueError("`start` must be before `end`")


def matches(wanted: str | re.Pattern[str] | None, what: str, stream: Stream) -> bool:
    """Returns whether the collection, name or unit of a stream is what is wanted.

    Raises:
        BTRDBTypeError: Neither text nor a pattern is wanted.
    """
    if wanted is None:
        return True
    if not isinstance(wanted, str | re.Pattern):
        raise BTRDBTypeError(f"{what} must be string or compiled regex")
    value: str = stream.tags().get("unit", "") if what == "unit" else getattr(stream, what)
    if isinstance(wanted, str):
        return value.lower() == wanted.lower()
    return wanted.search(value) is not None


def contains(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Returns whether every pair that is wanted is there."""
    return all(key in found and found[key] == value for key, value in wanted.items())
