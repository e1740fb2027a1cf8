"""Panels of time series on one page: bands of minimum and maximum around a mean, or plain lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1d2733"
FAINT = "#8a97a6"
COLOURS = ("#0b6fa4", "#d1495b", "#2a9d5c", "#e08e1b", "#6a4c93", "#5c6770")
MARK = "#c1121f"


@dataclass(frozen=True)
class Line:
    """A stream in a panel."""

    label: str
    table: pa.Table
    """Windows (`min`, `mean`, `max`) are drawn as a band, raw values as a line with dots."""
    width_ns: int = 0
    """Length of the windows: each is drawn at its middle."""


@dataclass(frozen=True)
class Mark:
    """An instant worth pointing at."""

    time: int
    value: float
    text: str


@dataclass(frozen=True)
class Panel:
    """One diagram."""

    title: str
    unit: str
    lines: list[Line]
    marks: list[Mark] = field(default_factory=list[Mark])
    shade: tuple[int, int] | None = None
    """A range of time that another panel enlarges."""


def draw(file: Path, title: str, rows: list[list[Panel]]) -> None:
    """Draws the panels, row by row, into a PNG file."""
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of the backend

    columns = max(len(row) for row in rows)
    style: dict[Any, Any] = {
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6eaef",
        "axes.axisbelow": True,
    }
    with plt.rc_context(style):
        figure, grid = plt.subplots(
            len(rows),
            columns,
            figsize=(6.8 * columns, 0.7 + 3.0 * len(rows)),
            squeeze=False,
            layout="constrained",
        )
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
        for row, axes in zip(rows, grid, strict=True):
            for panel, axis in zip(row, axes, strict=False):
                _draw_panel(axis, panel)
            for axis in axes[len(row) :]:
                axis.set_visible(False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=130)
        plt.close(figure)


def _draw_panel(axis: Axes, panel: Panel) -> None:
    from matplotlib import dates, ticker  # noqa: PLC0415 - only who draws needs it

    for index, line in enumerate(panel.lines):
        _draw_line(axis, line, COLOURS[index % len(COLOURS)])
    if panel.shade is not None:
        start, end = panel.shade
        axis.axvspan(_day(start), _day(end), color="#f4d35e", alpha=0.45, lw=0, zorder=0)
    for mark in panel.marks:
        _draw_mark(axis, mark)
    axis.set_title(panel.title, fontsize=10, loc="left")
    axis.margins(x=0.01, y=0.2 if panel.marks else 0.12)
    if panel.unit in {"V", "A"}:
        axis.yaxis.set_major_formatter(ticker.EngFormatter(unit=panel.unit))
    else:
        axis.ticklabel_format(axis="y", useOffset=False, style="plain")
        axis.set_ylabel(panel.unit)
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    for unit in (dates.MINUTELY, dates.SECONDLY):
        locator.intervald[unit] = [1, 2, 5, 10, 15, 30]
    axis.xaxis.set_major_locator(locator)
    formatter = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    # Seconds alone would be read with the minute in the corner, which is that of the end.
    formatter.formats[-1] = "%H:%M:%S.%f"
    formatter.zero_formats[-1] = "%H:%M:%S"
    formatter.offset_formats[-3:] = ["%Y-%m-%d"] * 3
    axis.xaxis.set_major_formatter(formatter)
    axis.set_xlabel("time (UTC)", fontsize=8)
    if len(panel.lines) > 1:
        # The text of a high mark stands where the legend would.
        is_taken = any(_is_high(axis, mark) for mark in panel.marks)
        axis.legend(
            frameon=False,
            fontsize=8,
            ncols=len(panel.lines),
            loc="center right" if is_taken else "upper right",
        )


def _draw_line(axis: Axes, line: Line, colour: str) -> None:
    times = line.table["time"].cast(pa.int64()).to_numpy() + line.width_ns // 2
    instants = times.astype("datetime64[ns]")
    if "mean" not in line.table.column_names:
        dots = "." if len(times) < 200 else ""  # noqa: PLR2004 - dots closer than that blur
        values = line.table["value"].to_numpy()
        axis.plot(instants, values, dots + "-", lw=1.1, ms=4, color=colour, label=line.label)
        return
    least, mean, most = (line.table[name].to_numpy() for name in ("min", "mean", "max"))
    axis.fill_between(instants, least, most, color=colour, alpha=0.28, lw=0)
    axis.plot(instants, mean, lw=1.0, color=colour, label=line.label)


def _draw_mark(axis: Axes, mark: Mark) -> None:
    instant: Any = _instant(mark.time)
    axis.plot([instant], [mark.value], "o", ms=6, mfc="none", mec=MARK, mew=1.5, zorder=5)
    is_low = not _is_high(axis, mark)
    axis.annotate(
        mark.text,
        (instant, mark.value),
        xytext=(8, -4 if is_low else 4),
        textcoords="offset points",
        va="top" if is_low else "bottom",
        color=MARK,
        fontsize=8,
        zorder=6,
    )


def _is_high(axis: Axes, mark: Mark) -> bool:
    return mark.value > float(np.mean(axis.get_ylim()))


def _instant(time: int) -> np.datetime64:
    return np.datetime64(time, "ns")


def _day(time: int) -> float:
    """The time as matplotlib counts it, for functions that take nothing else."""
    from matplotlib import dates  # noqa: PLC0415 - only who draws needs it

    day: float = dates.date2num(_instant(time))  # type: ignore[no-untyped-call]
    return day
