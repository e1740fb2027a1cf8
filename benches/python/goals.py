"""What has to be reached, as a number that one round of measurements gives."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Round = Mapping[str, dict[str, Any]]
"""What each contender measured in one round."""

OURS = "pingthings"


@dataclass(frozen=True)
class Goal:
    """A number and where it has to lie."""

    text: str
    value: Callable[[Round], float]
    limit: float
    unit: str = "x"
    at_most: bool = False
    cpu: Callable[[Round], float] | None = None
    """The same in CPU time, which says more where cores are shared."""

    def is_met(self, reached: float) -> bool:
        return reached <= self.limit if self.at_most else reached >= self.limit


def seconds(measured: Mapping[str, Any], phase: str, what: str = "seconds") -> float:
    """Of the first call in a process, or the median of those that follow."""
    times = measured[what]
    return float(times[0] if phase == "first" or len(times) == 1 else statistics.median(times[1:]))


def faster(than: str, by: float, phase: str = "repeated") -> Goal:
    """How many times as long another one takes."""
    return Goal(
        f"{phase}, against {than}",
        lambda m: seconds(m[than], phase) / seconds(m[OURS], phase),
        by,
        cpu=lambda m: seconds(m[than], phase, "cpu") / seconds(m[OURS], phase, "cpu"),
    )


def less(note: str, than: str, by: float) -> Goal:
    """How many times as much another one needs."""
    return Goal(
        f"{note}, against {than}", lambda m: amount(m[than], note) / amount(m[OURS], note), by
    )


def amount(measured: Mapping[str, Any], note: str) -> float:
    """A figure a contender noted, or one that all of them have."""
    match note:
        case "memory":
            return float(measured["peak_mb"] - measured["base_mb"])
        case "CPU":
            return float(statistics.median(measured["cpu"]))
        case _:
            return float(measured[note])


def below(note: str, limit: float, unit: str, phase: str = "repeated") -> Goal:
    """A figure of our own: milliseconds, or something noted."""

    def value(m: Round) -> float:
        return seconds(m[OURS], phase) * 1e3 if note == "time" else amount(m[OURS], note)

    return Goal(f"{note}, at most", value, limit, unit, at_most=True)


def rate(of: int, limit: float, unit: str, phase: str = "repeated") -> Goal:
    """Millions in a second."""
    return Goal("rate", lambda m: of / seconds(m[OURS], phase) / 1e6, limit, unit)
