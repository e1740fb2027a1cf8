"""Instants at a constant rate, exact over the complete range of times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pingthings.timeseries.arguments import as_time
from pingthings.timeseries.exceptions import BTRDBValueError
from pingthings.timeseries.utils.timez import Instant, Number, _fraction

__all__ = ["Grid"]

_SECOND = 1_000_000_000
_LARGEST = (1 << 63) - 1

Integers = NDArray[np.int64]


class Grid:
    """The instants `origin + k / hertz` for every integer k, each rounded to the nanosecond.

    The rate is a fraction and is computed with integers, so instant number 10 billion is as exact
    as the first. Immutable.

    Args:
        hertz: The rate. `Fraction(30000, 1001)` is exact; a float is used as the decimal number it
            prints as.
        origin: An instant of the grid; with the epoch, integer rates have instants at full seconds.

    Raises:
        BTRDBTypeError: The rate is not a number.
        BTRDBValueError: The rate is not above zero, is above 1 GHz, or its numerator or
            denominator is too large.

    Examples:
        >>> grid = Grid(Fraction(30000, 1001))
        >>> grid.times(0, 4).tolist()
        [0, 33366667, 66733333, 100100000]
    """

    __slots__ = ("_hertz", "_origin", "_period", "_steps")

    def __init__(self, hertz: Number, origin: Instant = 0) -> None:
        rate = _fraction("hertz", hertz)
        if not 0 < rate <= _SECOND:
            raise BTRDBValueError(f"the rate is {rate} Hz; give one above zero and at most 1 GHz")
        period = _SECOND / rate
        # `_steps` periods last exactly `_period` nanoseconds.
        self._period, self._steps = period.numerator, period.denominator
        # The largest intermediate result must fit into 64 bits.
        if 2 * self._period * self._steps + max(self._period, self._steps) > _LARGEST:
            raise BTRDBValueError(
                f"a rate of {rate} Hz is too fine a fraction; give one with smaller numbers"
            )
        self._hertz = rate
        self._origin = as_time(origin, "origin")

    def __repr__(self) -> str:
        origin = f", origin={self._origin}" if self._origin else ""
        return f"Grid({self._hertz!r}{origin})"

    def times(self, first: int, last: int) -> Integers:
        """Returns the instants from number `first` to number `last`, excluding the latter.

        Args:
            first: Number of the first instant; the origin has number 0.
            last: The number after the last one.

        Returns:
            An int64 array of nanoseconds since the Unix epoch, UTC.
        """
        return self._instants(np.arange(first, last, dtype=np.int64))

    def nearest(self, times: NDArray[Any]) -> Integers:
        """Returns the numbers of the instants nearest to the given times.

        Args:
            times: An int64 array of nanoseconds.
        """
        rounds, rest = np.divmod(times - self._origin, self._period)
        steps: Integers = (2 * rest * self._steps + self._period) // (2 * self._period)
        return rounds * self._steps + steps

    def _instants(self, numbers: Integers) -> Integers:
        rounds, rest = np.divmod(numbers, self._steps)
        whole: Integers = (2 * rest * self._period + self._steps) // (2 * self._steps)
        return self._origin + rounds * self._period + whole
