"""What a stream must hold after inserts of which some were answered and some were not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

Points = Sequence[tuple[int, float]]


class Ledger:
    """Keeps the books of one stream that has one writer and one merge policy.

    Within one insert no two points have the same time.
    """

    def __init__(self, merge: str) -> None:
        self.merge = merge
        self._expected: defaultdict[int, list[float]] = defaultdict(list)
        self._doubtful: list[tuple[Points, bool]] = []
        self.sent = 0

    @property
    def times(self) -> list[int]:
        """The times that have points for certain."""
        return list(self._expected)

    def acknowledged(self, points: Points) -> None:
        """The points were stored, once."""
        self.sent += len(points)
        for time, value in points:
            values = self._expected[time]
            if self.merge == "replace":
                values.clear()
            is_dropped = {"retain": bool(values), "equal": value in values}
            if not is_dropped.get(self.merge, False):
                values.append(value)

    def in_doubt(self, points: Points, *, is_atomic: bool) -> None:
        """Each point may have been stored, once; all or none of them if the insert was one call."""
        assert self.merge == "never", "an insert that may be repeated can be brought to an end"
        self.sent += len(points)
        self._doubtful.append((points, is_atomic))

    def faults(self, found: Points) -> list[str]:
        """What is wrong with the points that the stream has, as people would say it."""
        left = Counter(found)
        wrong = []
        for time, values in self._expected.items():
            for value in values:
                left[time, value] -= 1
                if left[time, value] < 0:
                    wrong.append(f"lost: {value!r} at {time}")
        for points, is_atomic in self._doubtful:
            stored = [point for point in points if left[point] > 0]
            left.subtract(stored)
            if is_atomic and len(stored) not in (0, len(points)):
                wrong.append(f"torn: {len(stored)} of the {len(points)} points at {points[0][0]}")
        wrong += [f"{n} too many: {v!r} at {t}" for (t, v), n in left.items() if n > 0]
        return wrong
