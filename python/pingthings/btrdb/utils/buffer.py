"""Points of several streams, put together by their times."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

__all__ = ["PointBuffer"]


class PointBuffer(defaultdict[int, list[Any]]):
    """Collects points by time until every stream that goes on is past that time.

    Args:
        length: The number of streams.
        *args: What a dict takes.
        **kwargs: What a dict takes.
    """

    def __init__(self, length: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(lambda: [None] * length, *args, **kwargs)
        self.num_streams = length
        self.active = [True] * length
        self.last_known_time: list[int | None] = [None] * length

    def add_point(self, stream_index: int, point: Any) -> None:
        """Keeps a point of a stream."""
        last = self.last_known_time[stream_index]
        self.last_known_time[stream_index] = point.time if last is None else max(last, point.time)
        self[point.time][stream_index] = point

    def earliest(self) -> int | None:
        """Returns the first time that is kept, or None."""
        return min(self, default=None)

    def deactivate(self, stream_index: int) -> None:
        """Says that a stream has no more points."""
        self.active[stream_index] = False

    def is_ready(self, key: int) -> bool:
        """Returns whether no stream can have another point at a time."""
        return all(
            last is not None and key <= last
            for last, is_active in zip(self.last_known_time, self.active, strict=True)
            if is_active
        )

    def next_key_ready(self) -> int | None:
        """Returns the first time that is ready, or None."""
        return next((key for key in sorted(self) if self.is_ready(key)), None)
