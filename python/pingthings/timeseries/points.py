"""The points of a stream: one measured value, or the statistics of a window."""

from __future__ import annotations

from typing import NamedTuple

from pingthings.timeseries.utils.timez import ns_to_datetime

__all__ = ["RawPoint", "StatPoint"]


class RawPoint(NamedTuple):
    """A measured value and its time.

    Immutable. Unpacks, indexes and compares like the pair (time, value), and is equal to it.

    Examples:
        >>> point = RawPoint(1500000000000000000, 1.0)
        >>> time, value = point
        >>> point
        RawPoint(2017-07-14T02:40:00.000000000Z, 1.0)
    """

    time: int
    """Nanoseconds since the Unix epoch, UTC."""
    value: float
    """The measured value."""

    def __repr__(self) -> str:
        return f"RawPoint({_iso_text(self.time)}, {self.value!r})"


class StatPoint(NamedTuple):
    """The statistics of the points of one window.

    Immutable. Unpacks and indexes in the order of the fields, which is the order of the columns of
    a window query.
    """

    time: int
    """The start of the window: nanoseconds since the Unix epoch, UTC."""
    min: float
    """The minimum of the values."""
    mean: float
    """The arithmetic mean of the values."""
    max: float
    """The maximum of the values."""
    count: int  # type: ignore[assignment] # hides tuple.count, as documented
    """The number of points."""
    stddev: float
    """The population standard deviation of the values."""

    def __repr__(self) -> str:
        return (
            f"StatPoint({_iso_text(self.time)}, min={self.min!r}, mean={self.mean!r}, "
            f"max={self.max!r}, count={self.count!r}, stddev={self.stddev!r})"
        )


def _iso_text(time: int) -> str:
    """Returns the time with nine digits of fraction, in a form that `to_nanoseconds` reads."""
    return f"{ns_to_datetime(time):%Y-%m-%dT%H:%M:%S}.{time % 1_000_000_000:09}Z"
