"""What a stream should answer, computed from a plain list of its points."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME

Point = tuple[int, float]


class Window(NamedTuple):
    """The statistics of the points of a window, exactly."""

    time: int
    min: float
    mean: Fraction
    max: float
    number: int
    variance: Fraction

    @classmethod
    def of(cls, time: int, values: list[float]) -> Window:
        exact = [Fraction(value) for value in values]
        mean = sum(exact, Fraction()) / len(exact)
        variance = sum(((value - mean) ** 2 for value in exact), Fraction()) / len(exact)
        return cls(time, min(values), mean, max(values), len(values), variance)


class Stream:
    """Points in the order of time, equal times in the order of arrival; every version is kept."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.versions: dict[int, list[Point]] = {10: []}
        self._uncommitted = False

    def insert(self, points: list[Point], merge: str) -> None:
        for point in points:
            self._insert(point, merge)
        self.points.sort(key=lambda point: point[0])

    def _insert(self, point: Point, merge: str) -> None:
        same_time = [old for old in self.points if old[0] == point[0]]
        if merge == "equal" and point in same_time:
            return
        if merge == "retain" and same_time:
            return
        if merge == "replace":
            self.points = [old for old in self.points if old[0] != point[0]]
        self.points.append(point)
        self._uncommitted = True

    def flush(self) -> None:
        if self._uncommitted:
            self.versions[max(self.versions) + 1] = list(self.points)
            self._uncommitted = False

    def at(self, version: int | None) -> list[Point]:
        return self.points if version is None else self.versions[version]


def raw(points: list[Point], start: int, end: int) -> list[Point]:
    return [point for point in points if start <= point[0] < end]


def nearest(points: list[Point], time: int, *, backward: bool) -> Point | None:
    if backward:
        return next((point for point in reversed(points) if point[0] < time), None)
    return next((point for point in points if point[0] >= time), None)


def precise_windows(points: list[Point], start: int, end: int, width: int) -> list[Window]:
    last = start + (end - start) // width * width
    return _windows(points, start, last, width, start)


def aligned_windows(points: list[Point], start: int, end: int, exponent: int) -> list[Window]:
    width = 1 << exponent
    # No point can lie at the end of time or after it, so it cuts no window.
    last = MAXIMUM_TIME + 1 if end == MAXIMUM_TIME else end // width * width
    return _windows(points, start // width * width, last, width, 0)


def _windows(points: list[Point], start: int, end: int, width: int, origin: int) -> list[Window]:
    values: dict[int, list[float]] = {}
    for time, value in raw(points, start, end):
        first = origin + (time - origin) // width * width
        values.setdefault(first, []).append(value)
    # The first window of a width that does not divide the time before the epoch is cut off there.
    return [Window.of(max(first, MINIMUM_TIME), values[first]) for first in sorted(values)]


def root(number: Fraction) -> float:
    """The square root of a fraction, to the last bit or nearly so."""
    if not number:
        return 0.0
    # Integers with 128 bits in the root: no overflow, and no loss before the final rounding.
    shift = 256 - (number.numerator.bit_length() - number.denominator.bit_length())
    shift += shift % 2
    scaled = number * Fraction(2) ** shift
    return float(Fraction(math.isqrt(int(scaled))) / Fraction(2) ** (shift // 2))
