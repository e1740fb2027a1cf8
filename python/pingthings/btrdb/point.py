"""A measured value, and the statistics of a window, as the older client gave them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

__all__ = ["RawPoint", "StatPoint"]


class RawPoint:
    """A measured value and its time; read-only, unpacks like the pair (time, value).

    It equals whatever has the same `time` and `value`, has no hash, and no index below zero.

    Args:
        time: Nanoseconds since the Unix epoch, UTC.
        value: The measured value.

    Examples:
        >>> point = RawPoint(1500000000000000000, 1.0)
        >>> point[0] == point.time, point
        (True, RawPoint(1500000000000000000, 1.0))
    """

    __slots__ = ("_time", "_value")

    def __init__(self, time: int, value: float) -> None:
        self._time = time
        self._value = value

    @property
    def time(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        return self._time

    @property
    def value(self) -> float:
        """The measured value."""
        return self._value

    @classmethod
    def from_proto(cls, proto: Any) -> Self:
        """Returns the point that a message, or anything with its fields, describes."""
        return cls(proto.time, proto.value)

    @classmethod
    def from_proto_list(cls, proto_list: Iterable[Any]) -> list[Self]:
        """Returns the points that messages describe."""
        return [cls.from_proto(proto) for proto in proto_list]

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            return self._time
        if index == 1:
            return self._value
        raise IndexError(f"a RawPoint has indexes 0 and 1, not {index}")

    def __eq__(self, other: object) -> bool:
        fields = [getattr(other, name, None) for name in ("time", "value")]
        return fields == [self._time, self._value]

    __hash__ = None  # type: ignore[assignment] # as in the older client

    def __repr__(self) -> str:
        return f"RawPoint({self._time!r}, {self._value!r})"


class StatPoint:
    """The statistics of the points of one window; read-only, unpacks in the order of its fields.

    Args:
        time: The start of the window: nanoseconds since the Unix epoch, UTC.
        minv: The least value.
        meanv: The arithmetic mean of the values.
        maxv: The greatest value.
        count: The number of points.
        stddev: The standard deviation of the values, of the population.

    Examples:
        >>> StatPoint(1500000000000000000, 1.0, 2.0, 3.0, 3, 0.5).mean
        2.0
    """

    __slots__ = ("_count", "_max", "_mean", "_min", "_stddev", "_time")

    def __init__(
        self, time: int, minv: float, meanv: float, maxv: float, count: int, stddev: float
    ) -> None:
        self._time = time
        self._min = minv
        self._mean = meanv
        self._max = maxv
        self._count = count
        self._stddev = stddev

    @property
    def time(self) -> int:
        """The start of the window: nanoseconds since the Unix epoch, UTC."""
        return self._time

    @property
    def min(self) -> float:
        """The least value."""
        return self._min

    @property
    def mean(self) -> float:
        """The arithmetic mean of the values."""
        return self._mean

    @property
    def max(self) -> float:
        """The greatest value."""
        return self._max

    @property
    def count(self) -> int:
        """The number of points."""
        return self._count

    @property
    def stddev(self) -> float:
        """The standard deviation of the values, of the population and not of a sample."""
        return self._stddev

    @classmethod
    def from_proto(cls, proto: Any) -> Self:
        """Returns the point that a message, or anything with its fields, describes."""
        return cls(proto.time, proto.min, proto.mean, proto.max, proto.count, proto.stddev)

    @classmethod
    def from_proto_list(cls, proto_list: Iterable[Any]) -> list[Self]:
        """Returns the points that messages describe."""
        return [cls.from_proto(proto) for proto in proto_list]

    def _fields(self) -> tuple[int, float, float, float, int, float]:
        return self._time, self._min, self._mean, self._max, self._count, self._stddev

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            raise IndexError(f"a StatPoint has indexes 0 to 5, not {index}")
        return self._fields()[index]

    def __eq__(self, other: object) -> bool:
        names = ("time", "min", "mean", "max", "count", "stddev")
        return self._fields() == tuple(getattr(other, name, None) for name in names)

    __hash__ = None  # type: ignore[assignment] # as in the older client

    def __repr__(self) -> str:
        return f"StatPoint({', '.join(str(field) for field in self._fields())})"
