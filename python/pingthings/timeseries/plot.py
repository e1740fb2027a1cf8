"""Plots streams at the resolution of the picture: fetches the data and prepares the content.

Each plotting library has its own module. As in `async_client`, code here may await only the core
(docs/design/twins.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pingthings.timeseries import plot_matplotlib, plot_plotly
from pingthings.timeseries.arguments import as_time, as_width_ns
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.display import visible
from pingthings.timeseries.event_loop import ClientEventLoop
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
)
from pingthings.timeseries.frames import to_numpy
from pingthings.timeseries.picture import Panel, Plot, Trace
from pingthings.timeseries.points import _iso_text

if TYPE_CHECKING:
    from pingthings.timeseries.async_client import AsyncStreamSet
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["draw"]

DEFAULT_WIDTH = 1000
_FEWEST_PIXELS, _MOST_PIXELS = 16, 100_000
_POINTS_PER_PIXEL = 2  # up to this density there are no more raw values than windows
_DOTS_PER_PIXEL = 0.2  # up to this density markers do not overlap
_DENSE = 4  # points in a window from which on an empty window is a gap
_GAP = 4
_SECOND = 1_000_000_000


async def draw(
    streams: AsyncStreamSet,
    start: Instant | None,
    end: Instant | None,
    versions: list[int] | None,
    *,
    width: int | None,
    gap: int | timedelta | None,
    backend: str,
    axes: Any,
) -> Any:
    """Returns the plot of some streams; see `AsyncStream.plot`."""
    if backend not in ("matplotlib", "plotly"):
        raise BTRDBValueError(f"`backend` is `{backend}`; give `matplotlib` or `plotly`")
    if not len(streams):
        raise BTRDBValueError("the set is empty; there is nothing to plot")
    if backend == "plotly" and axes is not None:
        raise BTRDBValueError("`axes` belong to matplotlib; leave them out for plotly")
    (plot_plotly if backend == "plotly" else plot_matplotlib).require()
    pixels = _as_pixels(width, axes)
    longest = None if gap is None else as_width_ns(gap)
    unnamed = [stream for stream in streams if stream._tags is None]
    if unnamed:
        await type(streams)(unnamed).refresh_metadata()
    first, last = await _range(streams, start, end)
    plot = await fetch(streams, first, last, versions, pixels, longest)
    if backend == "plotly":
        return plot_plotly.draw(plot, pixels, _again(streams, versions, pixels, longest))
    return plot_matplotlib.draw(plot, pixels, axes)


async def fetch(
    streams: AsyncStreamSet,
    start: int,
    end: int,
    versions: list[int] | None,
    pixels: int,
    gap: int | None,
) -> Plot:
    """Fetches the content of a plot of this width: one call, or two if there are few points."""
    exponent = max((end - start) // pixels, 1).bit_length() - 1
    width = 1 << exponent
    first = max(start - start % width, MINIMUM_TIME)
    last = min(end + -end % width, MAXIMUM_TIME)
    tables = await streams.aligned_windows(first, last, exponent, versions, None)
    few = [
        place
        for place, table in enumerate(tables)
        if table is not None and _total(table) <= _POINTS_PER_PIXEL * pixels
    ]
    raw: dict[int, pa.Table | None] = {}
    if few:
        some = type(streams)([streams._streams[place] for place in few])
        at = None if versions is None else [versions[place] for place in few]
        raw = dict(zip(few, await some.raw_values(start, end, at), strict=True))
    by_unit: dict[str, list[Trace]] = {}
    title, labels = _headings(streams)
    for place, (stream, label) in enumerate(zip(streams, labels, strict=True)):
        table = raw.get(place, tables[place])
        trace = _trace(label, table, 0 if place in raw else width, pixels, gap)
        by_unit.setdefault(visible(stream.unit or ""), []).append(trace)
    panels = [Panel(unit, traces) for unit, traces in by_unit.items()]
    return Plot(title, start, end, panels)


def _again(
    streams: AsyncStreamSet, versions: list[int] | None, pixels: int, gap: int | None
) -> Any:
    """Returns a function that fetches another range without a loop, for callbacks of widgets."""
    client = streams._streams[0]._client
    sync_client = client._over(client._core.blocking())
    blocking = type(streams)([stream._over(sync_client) for stream in streams])
    loop = ClientEventLoop()

    def again(start: int, end: int) -> Plot:
        first, last = max(start, MINIMUM_TIME), min(end, MAXIMUM_TIME)
        return loop.run(fetch(blocking, first, max(last, first + 1), versions, pixels, gap))

    return again


async def _range(
    streams: AsyncStreamSet, start: Instant | None, end: Instant | None
) -> tuple[int, int]:
    """Returns the range to plot; a missing bound is that of the data."""
    first = None if start is None else as_time(start, "start")
    last = None if end is None else as_time(end, "end")
    if first is None:
        points = (await streams.earliest()).values()
        first = min((point.time for point in points if point), default=None)
    if last is None:
        points = (await streams.latest()).values()
        last = max((point.time + 1 for point in points if point), default=None)
    if first is None or last is None:
        raise InvalidTimeRange("there are no points; give `start` and `end`")
    if first >= last:
        if end is None:
            raise InvalidTimeRange(
                f"start {_iso_text(first)} is after the last point, at {_iso_text(last - 1)}"
            )
        if start is None:
            raise InvalidTimeRange(
                f"end {_iso_text(last)} is not after the first point, at {_iso_text(first)}"
            )
        raise InvalidTimeRange(f"start {first} is not before end {last}")
    if start is None and end is None and last - first == 1:
        # A single point is shown in the middle of a second.
        return max(first - _SECOND // 2, MINIMUM_TIME), min(last + _SECOND // 2, MAXIMUM_TIME)
    return first, last


def _as_pixels(width: int | None, axes: Any) -> int:
    if width is None:
        width = DEFAULT_WIDTH if axes is None else round(axes.get_window_extent().width)
    if isinstance(width, bool) or not isinstance(width, int):
        raise BTRDBTypeError(f"`width` is a number of pixels, not a `{type(width).__name__}`")
    if not _FEWEST_PIXELS <= width <= _MOST_PIXELS:
        raise BTRDBValueError(
            f"`width` is {width} pixels; give {_FEWEST_PIXELS} to {_MOST_PIXELS:,}"
        )
    return width


def _total(table: pa.Table) -> int:
    return int(to_numpy(table)["count"].sum())


def _trace(label: str, table: pa.Table | None, width: int, pixels: int, gap: int | None) -> Trace:
    if table is None:
        none = np.empty(0)
        times, breaks = np.empty(0, np.int64), np.empty(0, np.bool_)
        return Trace(label, times, none, none, none, 0, breaks, has_dots=False)
    columns = to_numpy(table)
    times = columns["time"].view(np.int64)
    if width:
        mean, least, most = columns["mean"], columns["min"], columns["max"]
        is_dense = bool(np.median(columns["count"]) >= _DENSE)
    else:
        mean = least = most = columns["value"]
        is_dense = False
    apart = np.diff(times)
    if gap is not None:
        breaks = apart > max(gap, width)
    elif is_dense:
        breaks = apart > width
    else:
        breaks = apart > _GAP * _usual(apart)
    has_dots = not width and len(times) <= _DOTS_PER_PIXEL * pixels
    return Trace(label, times, mean, least, most, width, breaks, has_dots)


def _usual(apart: NDArray[np.int64]) -> int:
    """Returns the usual distance of points, the 75th percentile."""
    return int(np.sort(apart)[3 * (len(apart) - 1) // 4]) if len(apart) else 0


def _headings(streams: AsyncStreamSet) -> tuple[str, list[str]]:
    """Returns the title and a label for each stream; the common part is only in the title."""
    names = [visible(stream.name or str(stream.uuid)) for stream in streams]
    paths = [
        [*visible(stream.collection or "").split("/"), name]
        for stream, name in zip(streams, names, strict=True)
    ]
    if len(names) == 1:
        return "/".join(paths[0]), names
    head = _common([path[:-1] for path in paths])
    rest = [path[len(head) :] for path in paths]
    tail: list[str] = []
    if len(set(names)) < len(names):
        tail = _common([path[::-1] for path in rest])[::-1]
        rest = [path[: len(path) - len(tail)] for path in rest]
        names = ["/".join(path) for path in rest]
        if "" in names:
            tail, names = [], ["/".join(path) for path in paths]
    names = _unique(names, streams)
    common = "/".join([*head, *(["…", *tail] if tail else [])])
    return (f"{common}: " if common else "") + f"{len(names)} streams", names


def _unique(names: list[str], streams: AsyncStreamSet) -> list[str]:
    """Returns the names, with the start of the uuid appended to names that occur twice."""
    counts = Counter(names)
    return [
        f"{name} ({str(stream.uuid)[:8]})" if counts[name] > 1 else name
        for name, stream in zip(names, streams, strict=True)
    ]


def _common(parts: Sequence[Sequence[str]]) -> list[str]:
    """Returns the common prefix."""
    same = takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    return [column[0] for column in same]
