"""Point widths."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from pingthings.btrdb.utils.timez import to_nanoseconds
from pingthings.timeseries.arguments import as_time

if TYPE_CHECKING:
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["pointwidth", "unpack_stream_descriptor"]

_MOST = 61
_NANOSECONDS = {
    "microseconds": 1e3,
    "milliseconds": 1e6,
    "seconds": 1e9,
    "minutes": 6e10,
    "hours": 3.6e12,
    "days": 8.64e13,
    "weeks": 6.048e14,
    "months": 2.628e15,
    "years": 3.154e16,
}
_UNITS = (
    *((55, "years"), (52, "months"), (50, "weeks"), (47, "days"), (42, "hours"), (36, "minutes")),
    *((30, "seconds"), (20, "milliseconds"), (10, "microseconds")),
)


def unpack_stream_descriptor(desc: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns tags and annotations of a message that describes a stream."""
    tags, annotations = (
        {pair.key: pair.val.value for pair in pairs} for pairs in (desc.tags, desc.annotations)
    )
    return tags, annotations


class pointwidth:  # noqa: N801 - documented name
    """A window length of 2**p nanoseconds, which compares and computes like its exponent.

    Args:
        p: The exponent, or anything that `int` takes.

    Examples:
        >>> str(pointwidth(30)), pointwidth(30) + 1
        ('1.07 seconds', <pointwidth 31>)
    """

    def __init__(self, p: Any) -> None:
        self._pointwidth = int(p)

    @classmethod
    def from_timedelta(cls, delta: timedelta) -> Self:
        """Returns the longest that is not longer than a duration."""
        return cls.from_nanoseconds(delta // timedelta(microseconds=1) * 1000)

    @classmethod
    def from_nanoseconds(cls, nsec: int) -> Self:
        """Returns the longest that is not longer than a number of nanoseconds, 61 at most."""
        return cls(min(max(int(nsec).bit_length() - 1, 0), _MOST))

    def for_aligned_windows(self, start: Instant, end: Instant) -> tuple[int, int, int]:
        """Returns the times of the first and the last aligned window of a range, and their number.

        Args:
            start: First instant.
            end: The instant after the last one.
        """
        first, last = as_time(to_nanoseconds(start), "start"), as_time(to_nanoseconds(end), "end")
        aligned_start = first - first % self.nanoseconds
        count = (last - aligned_start) // self.nanoseconds
        return aligned_start, aligned_start + self.nanoseconds * (count - 1), count

    @property
    def nanoseconds(self) -> int:
        """The duration in nanoseconds, exact."""
        return 1 << self._pointwidth

    @property
    def microseconds(self) -> float:
        """The duration in microseconds."""
        return self._as("microseconds")

    @property
    def milliseconds(self) -> float:
        """The duration in milliseconds."""
        return self._as("milliseconds")

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self._as("seconds")

    @property
    def minutes(self) -> float:
        """The duration in minutes."""
        return self._as("minutes")

    @property
    def hours(self) -> float:
        """The duration in hours."""
        return self._as("hours")

    @property
    def days(self) -> float:
        """The duration in days of 24 hours."""
        return self._as("days")

    @property
    def weeks(self) -> float:
        """The duration in weeks."""
        return self._as("weeks")

    @property
    def months(self) -> float:
        """The duration in months of 2.628e15 ns."""
        return self._as("months")

    @property
    def years(self) -> float:
        """The duration in years of 3.154e16 ns."""
        return self._as("years")

    def _as(self, unit: str) -> float:
        return self.nanoseconds / _NANOSECONDS[unit]

    def decr(self) -> pointwidth:
        """Returns the one half as long."""
        return self - 1

    def incr(self) -> pointwidth:
        """Returns the one twice as long."""
        return self + 1

    def to_timedelta(self) -> timedelta:
        """Returns the duration as a timedelta, to the microsecond."""
        return timedelta(microseconds=self.microseconds)

    def __int__(self) -> int:
        return self._pointwidth

    def __index__(self) -> int:
        return self._pointwidth

    def __eq__(self, other: object) -> bool:
        try:
            return self._pointwidth == int(other)  # type: ignore[call-overload, no-any-return]
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self._pointwidth)

    def __lt__(self, other: Any) -> bool:
        return self._pointwidth < int(other)

    def __le__(self, other: Any) -> bool:
        return self._pointwidth <= int(other)

    def __gt__(self, other: Any) -> bool:
        return self._pointwidth > int(other)

    def __ge__(self, other: Any) -> bool:
        return self._pointwidth >= int(other)

    def __add__(self, other: Any) -> pointwidth:
        return pointwidth(self._pointwidth + int(other))

    def __sub__(self, other: Any) -> pointwidth:
        return pointwidth(self._pointwidth - int(other))

    def __str__(self) -> str:
        for exponent, unit in _UNITS:
            if self._pointwidth >= exponent:
                return f"{self._as(unit):0.2f} {unit}"
        return f"{self.nanoseconds} nanoseconds"

    def __repr__(self) -> str:
        return f"<pointwidth {self._pointwidth}>"
