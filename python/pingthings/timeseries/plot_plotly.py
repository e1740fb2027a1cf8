"""Plots with plotly, which fetch finer data when the user zooms."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pingthings.timeseries.extras import extra
from pingthings.timeseries.picture import PREFIXED, Plot, Trace
from pingthings.timeseries.plot_matplotlib import COLOURS
from pingthings.timeseries.utils.timez import Instant, to_nanoseconds

__all__ = ["draw", "require"]

_PANEL_HEIGHT, _HEAD_HEIGHT = 240, 110
_DOT = 4


def require() -> None:
    """Raises `MissingExtraError` if plotly, or anywidget for its widgets, is not installed."""
    extra("plotly.graph_objects", "plotly")
    extra("anywidget", "plotly")


def draw(plot: Plot, pixels: int, again: Callable[[int, int], Plot]) -> Any:
    """Returns a widget that calls `again` with every new visible range."""
    objects = extra("plotly.graph_objects", "plotly")
    make_subplots = extra("plotly.subplots", "plotly").make_subplots
    rows = len(plot.panels)
    figure = objects.FigureWidget(make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.06))
    for row, panel in enumerate(plot.panels, 1):
        for place, trace in enumerate(panel.traces):
            band, line = _styles(trace, COLOURS[place % len(COLOURS)])
            figure.add_trace(objects.Scatter(**band), row, 1)
            figure.add_trace(objects.Scatter(**line, legend=_numbered("legend", row)), row, 1)
        figure.update_yaxes(_value_axis(panel.unit), row=row, col=1)
        top = figure.layout[_numbered("yaxis", row)].domain[1]
        figure.update_layout({_numbered("legend", row): {"y": top, "yanchor": "top"}})
    figure.update_xaxes(range=[_instant(plot.start), _instant(plot.end)])
    figure.update_xaxes(title_text="time (UTC)", row=rows, col=1)
    figure.update_layout(
        title={"text": _verbatim(plot.title), "subtitle": {"text": plot.caption}},
        width=pixels,
        height=_HEAD_HEIGHT + _PANEL_HEIGHT * rows,
        template="plotly_white",
        hovermode="x",
        showlegend=plot.has_legend,
    )
    figure.layout.on_change(_Zoom(figure, plot, again), *_axes(rows))
    return figure


class _Zoom:
    """Updates the lines of a widget when its visible range changes."""

    def __init__(self, figure: Any, plot: Plot, again: Callable[[int, int], Plot]) -> None:
        self._figure = figure
        self._again = again
        self._shown = (plot.start, plot.end)

    def __call__(self, _layout: object, *ranges: Any) -> None:
        asked = [(_nanoseconds(first), _nanoseconds(last)) for first, last in ranges]
        # All time axes are linked and each may report the change. Plotly has microseconds.
        news = [both for both in asked if _in_us(both) != _in_us(self._shown)]
        if not news or news[0][0] >= news[0][1]:
            return
        self._shown = news[0]
        plot = self._again(*self._shown)
        traces = [trace for panel in plot.panels for trace in panel.traces]
        with self._figure.batch_update():
            for place, trace in enumerate(traces):
                band, line = _points(trace)
                self._figure.data[2 * place].update(band)
                self._figure.data[2 * place + 1].update(line)
            self._figure.layout.title.subtitle.text = plot.caption
            for axis in _axes(len(plot.panels)):
                self._figure.layout[axis.partition(".")[0]].range = [
                    _instant(time) for time in self._shown
                ]


def _axes(rows: int) -> list[str]:
    return [f"{_numbered('xaxis', row)}.range" for row in range(1, rows + 1)]


def _numbered(name: str, row: int) -> str:
    """Returns plotly's name of the axis or the legend of a row."""
    return f"{name}{row if row > 1 else ''}"


def _verbatim(text: str) -> str:
    """Escapes text for plotly, which interprets tags as styles and dollars as formulas."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def _value_axis(unit: str) -> dict[str, Any]:
    if unit in PREFIXED:
        return {"tickformat": "~s", "ticksuffix": unit}
    return {"title_text": _verbatim(unit)}


def _styles(trace: Trace, colour: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the two plotly traces of a stream: its band and its line."""
    band, line = _points(trace)
    band |= {"fill": "toself", "fillcolor": colour, "opacity": 0.3, "mode": "none"}
    band |= {"hoverinfo": "skip", "showlegend": False, "legendgroup": trace.label}
    line |= {"line": {"color": colour, "width": 1.2}, "name": _verbatim(trace.label)}
    return band, line | {"legendgroup": trace.label, "connectgaps": False}


def _points(trace: Trace) -> tuple[dict[str, Any], dict[str, Any]]:
    times, mean, least, most = trace.line()
    mode = "lines+markers" if trace.dotted.any() else "lines"
    line = {"x": times.view("datetime64[ns]"), "y": mean, "mode": mode}
    line |= {"marker": {"size": _marker_sizes(trace)}}
    if not trace.width_ns:
        return {"x": [], "y": []}, line
    # A closed outline for each stretch without gaps, separated by nulls.
    ends = np.flatnonzero(np.isnan(mean))
    x: list[Any] = []
    y: list[Any] = []
    stretches = zip(
        *(np.split(column, ends) for column in (times.view("datetime64[ns]"), least, most)),
        strict=True,
    )
    for instants, low, high in stretches:
        held = ~np.isnan(low)
        around = np.concatenate((instants[held], instants[held][::-1]))
        x += [*around, None]
        y += [*high[held], *low[held][::-1], None]
    return {"x": x, "y": y}, line


def _marker_sizes(trace: Trace) -> NDArray[np.int64]:
    """Returns the marker size of each point of `Trace.line`."""
    sizes = np.where(trace.dotted, _DOT, 0)
    after = np.flatnonzero(trace.breaks) + 1
    if trace.width_ns:
        sizes, after = np.repeat(sizes, 2), after * 2
    return np.insert(sizes, after, 0)


def _instant(time: int) -> np.datetime64:
    return np.datetime64(time, "ns")


def _in_us(limits: tuple[int, int]) -> tuple[int, int]:
    return limits[0] // 1_000, limits[1] // 1_000


def _nanoseconds(value: Instant) -> int:
    """Converts the bound of an axis: a time, or text with insignificant digits below 1 ns."""
    if not isinstance(value, str):
        return to_nanoseconds(value)
    whole, _, fraction = value.partition(".")
    return to_nanoseconds(f"{whole}.{fraction[:9]}" if fraction else whole)
