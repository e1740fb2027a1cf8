"""Points that are not alone at their time: how many were replaced or ignored, and in which lines.

What a server holds is counted before and after each insert, where there is anything at these times,
so that what is reported stored is what is there, whoever else fed the stream before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pingthings.cli import instants
from pingthings.cli.points import Points
from pingthings.timeseries.client import StreamSet

__all__ = ["Repeats"]

Instants = npt.NDArray[np.int64]

_SHOWN = 3
_LOOKED_AT = 4_000_000


class Repeats:
    """Counts repeated times of one file."""

    def __init__(self, merge: str, *, dry_run: bool) -> None:
        """Knows what happens to a time that has a value."""
        self._merge = merge
        self._dry_run = dry_run
        self._samples: list[str] = []
        self.replaced = 0
        self.ignored = 0
        self._stored_before: dict[int, Any] = {}

    def before(self, parts: list[Points], *, comes_again: bool) -> dict[str, int]:
        """Returns how many points streams have at the times of some, before these are stored."""
        if self._merge == "never":
            return {}
        for part in parts:
            self._look_within(part)
        if comes_again:  # what is there may be these points themselves
            return {}
        self._ask_newest(parts)
        later = [
            part
            for part in parts
            if part.target.stream is not None
            and (
                not part.is_rising
                or (part.target.newest is not None and part.ends[0] <= part.target.newest)
            )
        ]
        counts = _counts(later)
        for part in later:
            if counts.get(part.target.key):
                self._look_at_stored(part, counts[part.target.key])
        return counts

    def after(self, parts: list[Points], before: dict[str, int]) -> tuple[int, int]:
        """Returns how many points were replaced, and how many ignored."""
        if self._merge == "never":
            return 0, 0
        counted = [part for part in parts if part.target.key in before]
        now = {} if self._dry_run else _counts(counted)
        total = 0
        for part in parts:
            key = part.target.key
            own = self._identity(part.times, part.values)
            distinct = own if part.is_rising else np.unique(own)
            repeated = len(own) - len(distinct)
            if self._dry_run and key in before:
                stored = self._stored_before.pop(id(part), None)
                if stored is not None:
                    repeated += int(np.isin(distinct, stored).sum())
            elif key in now:
                repeated = max(0, len(part.times) - (now[key] - before[key]))
            if self._merge == "replace":
                part.target.replaced += repeated
            else:
                part.target.ignored += repeated
            total += repeated
        is_replaced = self._merge == "replace"
        self.replaced += total if is_replaced else 0
        self.ignored += 0 if is_replaced else total
        return (total, 0) if is_replaced else (0, total)

    def notes(self) -> list[str]:
        """Returns in words what happened, with the first lines concerned."""
        would = "would " if self._dry_run else ""
        lines = f": {'; '.join(self._samples)}" if self._samples else ""
        if self.replaced:
            how = "take" if self._dry_run else "took"
            return [
                f"{self.replaced:,} points {would}{how} the place of others at the same time{lines}"
            ]
        if self.ignored:
            how = "be" if self._dry_run else "were"
            told = f"{self.ignored:,} points {would}{how} left out, as there are others at the same"
            return [f"{told} time{lines}"]
        return []

    def _identity(self, times: Instants, values: Any) -> Any:
        """What makes points the same: their times, or their values, too."""
        if self._merge != "equal":
            return times
        pairs = np.empty(len(times), [("time", np.int64), ("value", np.float64)])
        pairs["time"], pairs["value"] = times, values.to_numpy()
        return pairs

    def _look_within(self, part: Points) -> None:
        if len(self._samples) >= _SHOWN or part.is_rising:
            return
        own = self._identity(part.times, part.values)
        order = np.argsort(own, kind="stable")
        same = np.flatnonzero(own[order][1:] == own[order][:-1])
        for place in same[: _SHOWN - len(self._samples)].tolist():
            first, second = (int(part.lines[order[place + k]]) for k in (0, 1))
            time = instants.as_text(int(part.times[order[place]]))
            self._say(f"line {second} has the time of line {first}, {time}")

    def _look_at_stored(self, part: Points, count: int) -> None:
        if count > _LOOKED_AT or (len(self._samples) >= _SHOWN and not self._dry_run):
            return
        stream = part.target.stream
        if stream is None:
            return
        low, high = part.ends
        table: Any = stream.raw_values(low, high + 1)
        stored = table["time"].cast("int64").to_numpy()
        if self._dry_run:
            self._stored_before[id(part)] = self._identity(stored, table["value"])
        found = np.flatnonzero(np.isin(part.times, stored))
        for place in found[: _SHOWN - len(self._samples)].tolist():
            time = instants.as_text(int(part.times[place]))
            self._say(f"line {int(part.lines[place])} has a time that was stored, {time}")

    def _say(self, text: str) -> None:
        if text not in self._samples:
            self._samples.append(text)

    @staticmethod
    def _ask_newest(parts: list[Points]) -> None:
        """Learns where streams end that were there before; those that were made are empty."""
        unknown = [
            (part.target, part.target.stream)
            for part in parts
            if part.target.stream is not None and not part.target.is_known
        ]
        if not unknown:
            return
        latest = StreamSet([stream for _, stream in unknown]).latest()
        for target, stream in unknown:
            point = latest.get(stream.uuid)
            target.newest = None if point is None else point.time
            target.is_known = True


def _counts(parts: list[Points]) -> dict[str, int]:
    """How many points streams have from the first to the last time of some."""
    streams = [part.target.stream for part in parts if part.target.stream is not None]
    if not streams:
        return {}
    low = min(part.ends[0] for part in parts)
    high = max(part.ends[1] for part in parts)
    counts = StreamSet(streams).count(low, high + 1)
    return {str(uuid): count for uuid, count in counts.items()}
