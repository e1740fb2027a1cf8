"""Plots with matplotlib."""

from __future__ import annotations

import re
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pingthings.timeseries.exceptions import BTRDBValueError
from pingthings.timeseries.extras import extra
from pingthings.timeseries.picture import PREFIXED, Panel, Plot, Trace
from pingthings.timeseries.utils.timez import ns_to_datetime

__all__ = ["COLOURS", "draw", "require"]

COLOURS = (
    *("#0b6fa4", "#d1495b", "#2a9d5c", "#e08e1b", "#6a4c93"),
    *("#5c6770", "#00a6a6", "#a4502f", "#c2479d", "#7d8f1a"),
)
"""Colours of the streams of a panel, in order."""

_DPI = 100
_UNNAMED = re.compile(r"_child\d+")
_PANEL_HEIGHT, _HEAD_HEIGHT = 2.6, 0.9
_MOST_LABELS = 10
_TITLE, _SMALLEST_TITLE = 11, 6
_TITLE_LETTER = 0.9  # approximate width of a letter in pixels, per point of font size
_LETTER, _LINE_BEFORE_A_LABEL = 6.5, 55  # approximate pixels in a legend
_MOST_LABELS_PER_ROW = 5
_TICK, _FEWEST_TICKS, _MOST_TICKS = 75, 4, 9
_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_SHORT_UNITS = ((1_000_000, "ms"), (1_000, "µs"), (1, "ns"))
_STYLE = {
    "font.size": 9,
    "text.color": "#1d2733",
    "axes.edgecolor": "#8a97a6",
    "axes.labelcolor": "#1d2733",
    "xtick.color": "#1d2733",
    "ytick.color": "#1d2733",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6eaef",
    "axes.axisbelow": True,
    "figure.dpi": _DPI,
}


def require() -> None:
    """Raises `MissingExtraError` if matplotlib is not installed."""
    extra("matplotlib", "plot")


def draw(plot: Plot, pixels: int, axes: Any) -> Any:
    """Plots into a new figure, or into the given axes, and returns it."""
    if axes is not None:
        if len(plot.panels) > 1:
            units = ", ".join(f"`{panel.unit}`" for panel in plot.panels)
            raise BTRDBValueError(
                f"streams with the units {units} cannot share axes; plot them separately, or leave "
                "out `axes`"
            )
        _draw_panel(axes, plot.panels[0], plot, is_lowest=True)
        axes.set_title(plot.title, loc="left", fontsize=10, parse_math=False)
        return axes
    style = extra("matplotlib.style", "plot")
    figures = extra("matplotlib.figure", "plot")
    with style.context(["default", _STYLE]):
        # Not a figure of pyplot: those are global and stay in memory until they are closed.
        height = _HEAD_HEIGHT + _PANEL_HEIGHT * len(plot.panels)
        figure = figures.Figure((pixels / _DPI, height), layout="constrained")
        grid = figure.subplots(len(plot.panels), 1, squeeze=False, sharex=True)
        fitting = pixels / (_TITLE_LETTER * max(len(plot.title), 1))
        size = min(max(fitting, _SMALLEST_TITLE), _TITLE)
        # Names are shown unchanged: a dollar sign must not start a formula.
        title = figure.suptitle(plot.title, x=0.01, ha="left", fontsize=size, fontweight="bold")
        title.set_parse_math(False)
        for place, (panel, (axis,)) in enumerate(zip(plot.panels, grid, strict=True), 1):
            _draw_panel(axis, panel, plot, is_lowest=place == len(plot.panels))
        figure.supxlabel(plot.caption, x=0.01, ha="left", fontsize=8, color="#5c6770")
    figure._repr_png_ = partial(_png, figure)  # notebooks call this
    return figure


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_panel(axes: Any, panel: Panel, plot: Plot, *, is_lowest: bool) -> None:
    scale = _Scale(plot.start, plot.end)
    for place, trace in enumerate(panel.traces):
        _draw_trace(axes, trace, scale, COLOURS[place % len(COLOURS)])
    axes.margins(y=0.08)
    axes.set_xlim(scale(plot.start), scale(plot.end))
    scale.label(axes, is_lowest=is_lowest)
    _label_values(axes, panel.unit)
    if plot.has_legend:
        _add_legend(axes, len(panel.traces))


def _draw_trace(axes: Any, trace: Trace, scale: _Scale, colour: str) -> None:
    times, mean, least, most = trace.line()
    x = scale(times)
    if trace.width_ns:
        axes.fill_between(x, least, most, color=colour, alpha=0.3, lw=0.6)
    axes.plot(x, mean, lw=1.1, color=colour, label=trace.label, solid_capstyle="butt")
    shown = trace.dotted
    if shown.any():
        middles = trace.times[shown] + trace.width_ns // 2
        axes.plot(scale(middles), trace.mean[shown], ".", ms=4, color=colour)


class _Scale:
    """Converts times to matplotlib's units: days, or fractions of a second after the start.

    Today's times in days have a resolution of 300 ns as floats, which is too coarse for short
    ranges.
    """

    def __init__(self, start: int, end: int) -> None:
        self._start = start
        self._unit, self._name = _DAY, ""
        if end - start < _SECOND:
            self._unit, self._name = next(u for u in _SHORT_UNITS if u[0] <= end - start)

    def __call__(self, times: int | NDArray[np.int64]) -> Any:
        if self._name:
            return (times - self._start) / self._unit
        whole, rest = np.divmod(times, self._unit)
        return whole + rest / self._unit

    def label(self, axes: Any, *, is_lowest: bool) -> None:
        if self._name:
            first = f"{ns_to_datetime(self._start):%Y-%m-%d %H:%M:%S}"
            label = f"{self._name} after {first}.{self._start % _SECOND:09} UTC"
        else:
            from datetime import UTC  # noqa: PLC0415 - matplotlib needs a zone, not a name

            dates = extra("matplotlib.dates", "plot")
            fitting = int(axes.get_window_extent().width) // _TICK
            most = min(max(fitting, _FEWEST_TICKS + 1), _MOST_TICKS)
            locator = dates.AutoDateLocator(tz=UTC, minticks=_FEWEST_TICKS, maxticks=most)
            # Without steps of two minutes a range of ten minutes has only two ticks. The largest
            # step of each unit is for narrow plots, which have nothing else up to the next unit.
            locator.intervald[dates.MINUTELY] = [1, 2, 5, 10, 15, 30, 60]
            locator.intervald[dates.SECONDLY] = [1, 2, 5, 10, 15, 30, 60]
            locator.intervald[dates.HOURLY] = [1, 2, 3, 4, 6, 12, 24]
            locator.intervald[dates.DAILY] = [1, 2, 7, 14]  # 4 would put the 29th beside the 1st
            locator.intervald[dates.MONTHLY] = [1, 2, 3, 4, 6, 12]
            formatter = dates.ConciseDateFormatter(locator, tz=UTC)
            # Ticks have month or minute themselves, because those in the corner are of the end.
            formatter.formats[2] = formatter.zero_formats[2] = "%b-%d"
            formatter.formats[5], formatter.zero_formats[5] = "%H:%M:%S.%f", "%H:%M:%S"
            formatter.offset_formats[2:] = ["%Y", *["%Y-%m-%d"] * 3]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(formatter)
            label = "time (UTC)"
        if is_lowest:
            axes.set_xlabel(label)


def _label_values(axes: Any, unit: str) -> None:
    if unit in PREFIXED:
        ticker = extra("matplotlib.ticker", "plot")
        axes.yaxis.set_major_formatter(ticker.EngFormatter(unit=unit))
        return
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylabel(unit, parse_math=False)


def _add_legend(axes: Any, number: int) -> None:
    # matplotlib's own list would leave out labels that begin with an underscore.
    lines = [line for line in axes.lines if not _UNNAMED.fullmatch(str(line.get_label()))]
    labels = [str(line.get_label()) for line in lines]
    rest = number - _MOST_LABELS
    longest = max(len(label) for label in labels[:_MOST_LABELS])
    fitting = axes.get_window_extent().width // (_LINE_BEFORE_A_LABEL + _LETTER * longest)
    legend = axes.legend(
        lines[:_MOST_LABELS],
        labels[:_MOST_LABELS],
        title=f"and {rest} more" if rest > 0 else None,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=min(max(int(fitting), 1), _MOST_LABELS_PER_ROW),
        frameon=False,
        fontsize=8,
        title_fontsize=8,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
