"""Times of a clock on a wall as instants, by the rules of its zone in every year.

Arrow knows the rules up to 2037 only, so the changes of a zone are found with `zoneinfo`, once for
each year that a file has, and columns are converted with them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
import numpy.typing as npt

__all__ = ["Wall", "localise", "names", "zone_exists", "zones_are_known"]

_SECOND = 1_000_000_000
_STEP = 86_400  # no zone changed twice within a day
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = 1677, 2262
_BEFORE, _AFTER = -(1 << 63), (1 << 63) - 1

Instants = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wall:
    """What a clock's times may stand for, in nanoseconds since 1970."""

    earlier: Instants
    later: Instants
    """As `earlier`, but where a time comes twice."""
    is_missing: Flags
    """Where the clock went forward past the time."""

    @property
    def is_twice(self) -> Flags:
        """Where the clock showed the time twice."""
        found: Flags = self.earlier != self.later
        return found


def zone_exists(name: str) -> bool:
    """Whether this machine knows a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def zones_are_known() -> bool:
    """Whether this machine has a database of zones at all."""
    return bool(available_timezones())


def localise(wall: Instants, zone: str) -> Wall:
    """Returns what times of a clock, in nanoseconds as if they were UTC, stand for."""
    if not len(wall):
        return Wall(wall, wall, np.zeros(0, bool))
    starts, offsets = _periods(zone, _year(int(wall.min())), _year(int(wall.max())))
    begins = starts[1:] + offsets[1:]  # when each period but the first begins, on the wall
    ends = np.append(starts[1:] + offsets[:-1], _AFTER)
    last = np.searchsorted(begins, wall, side="right")
    is_missing = wall >= ends[last]
    before = np.maximum(last - 1, 0)
    first = np.where(wall < ends[before], before, last)
    later = wall - offsets[last]
    return Wall(np.where(is_missing, later, wall - offsets[first]), later, is_missing)


def names(instants: Instants, zone: str) -> list[str]:
    """Returns what the zone calls its time at instants, such as CET."""
    known = ZoneInfo(zone)
    return [
        (_EPOCH + timedelta(seconds=time // _SECOND)).astimezone(known).tzname() or ""
        for time in instants.tolist()
    ]


def _year(time: int) -> int:
    year = int(np.datetime64(time, "ns").astype("datetime64[Y]").astype(int)) + 1970
    return min(max(year, _YEARS[0] + 1), _YEARS[1] - 1)


def _periods(zone: str, first: int, last: int) -> tuple[Instants, Instants]:
    """When the offset from UTC became what, in nanoseconds, from before a year to after another."""
    begin = _second(first - 1)
    changes = [(_BEFORE // _SECOND, _offset(ZoneInfo(zone), begin))]
    for year in range(first - 1, last + 2):
        changes.extend(_changes(zone, year))
    starts = np.array([_BEFORE, *(second * _SECOND for second, _ in changes[1:])], np.int64)
    return starts, np.array([offset * _SECOND for _, offset in changes], np.int64)


@lru_cache(maxsize=1024)
def _changes(zone: str, year: int) -> list[tuple[int, int]]:
    """The changes of a zone's offset in a year of UTC: the second, and the offset from then on."""
    known = ZoneInfo(zone)
    found: list[tuple[int, int]] = []
    low, end = _second(year), _second(year + 1)
    offset = _offset(known, low)
    while low < end:
        high = min(low + _STEP, end)
        if _offset(known, high) != offset:
            after = high
            while after - low > 1:
                middle = (low + after) // 2
                low, after = (middle, after) if _offset(known, middle) == offset else (low, middle)
            offset = _offset(known, after)
            found.append((after, offset))
            high = after
        low = high
    return found


def _second(year: int) -> int:
    return int((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())


def _offset(zone: ZoneInfo, second: int) -> int:
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(zone)
    return int((moment.utcoffset() or timedelta()).total_seconds())
