"""The content of a plot, independent of the plotting library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PREFIXED", "Panel", "Plot", "Trace"]

_UNITS = (
    (86_400_000_000_000, "days"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "min"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "µs"),
    (1, "ns"),
)

PREFIXED = frozenset({"V", "A", "W", "VA", "var", "Var", "VAR"})
"""Units that take SI prefixes, such as kV."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """The plotted data of one stream: raw values or windows."""

    label: str
    times: NDArray[np.int64]
    """Times of the points, or starts of the windows: nanoseconds, UTC."""
    mean: Floats
    """The values, or the means of the windows."""
    least: Floats
    most: Floats
    width_ns: int
    """Length of the windows; 0 means raw values."""
    breaks: NDArray[np.bool_]
    """Whether a gap follows, for each point or window except the last."""
    has_dots: bool
    """Whether there are so few points that each gets a marker."""

    @property
    def dotted(self) -> NDArray[np.bool_]:
        """The points or windows with a marker: all if there are few, else those between two gaps.

        Without a marker the latter would be invisible, or narrower than a pixel.
        """
        before = np.concatenate(([True], self.breaks))[: len(self.times)]
        after = np.concatenate((self.breaks, [True]))[: len(self.times)]
        return np.full(len(self.times), self.has_dots) | (before & after)

    def line(self) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
        """Returns times, means, minima and maxima of the line, with NaN in the gaps.

        A window is a step from its start to its end.
        """
        columns = [self.mean, self.least, self.most]
        times, after = self.times, np.flatnonzero(self.breaks) + 1
        if self.width_ns:
            times = np.stack((times, times + self.width_ns), axis=1).ravel()
            columns = [np.repeat(column, 2) for column in columns]
            after = after * 2
        mean, least, most = (np.insert(column, after, np.nan) for column in columns)
        return np.insert(times, after, times[after - 1]), mean, least, most


@dataclass(frozen=True)
class Panel:
    """The streams with one unit, which share an axis."""

    unit: str
    traces: list[Trace]


@dataclass(frozen=True)
class Plot:
    """The content of a plot."""

    title: str
    start: int
    end: int
    panels: list[Panel]

    @property
    def has_legend(self) -> bool:
        """Whether there is more than one line, so that the title cannot identify it."""
        return sum(len(panel.traces) for panel in self.panels) > 1

    @property
    def caption(self) -> str:
        """Whether the lines are raw values, or windows of which length."""
        widths = {
            trace.width_ns for panel in self.panels for trace in panel.traces if len(trace.times)
        }
        windows = [
            f"min, mean, max in windows of {_duration(width)}" for width in sorted(widths - {0})
        ]
        return "; ".join([*windows, *(["raw values"] if 0 in widths else [])]) or "no points"


def _duration(nanoseconds: int) -> str:
    unit, name = next(found for found in _UNITS if found[0] <= nanoseconds)
    return f"{nanoseconds / unit:.3g} {name}"
