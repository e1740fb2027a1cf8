"""Pictures: compared with those of `tests/pictures`, which `UPDATE=windows` and so on writes."""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pixels
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pingthings.timeseries import plot, plot_matplotlib
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    MissingExtraError,
    StreamNotFoundError,
    VersionNotAvailable,
)
from pingthings.timeseries.pickling import recipe
from pingthings.timeseries.picture import Panel, Plot
from pixels import MOST_DIFFERENT
from plotly.graph_objects import FigureWidget

PICTURES = Path(__file__).parents[1] / "pictures"
SECOND = 1_000_000_000
T = pt.utils.to_nanoseconds("2024-03-01T10:00:00Z")
RATE = 30
MINUTES = 20
FRAMES = MINUTES * 60 * RATE
TIMES = T + np.arange(FRAMES) * SECOND // RATE


def wave(level: float, amplitude: float) -> NDArray[np.float64]:
    """Something that swings and is rough, the same everywhere."""
    row = np.arange(FRAMES)
    rough = (row * 7_919 % 1_009) / 1_009 - 0.5
    values: NDArray[np.float64] = level + amplitude * (np.sin(row / 4_000) + rough / 4)
    return values


async def make(
    client: pt.AsyncClient, collection: str, name: str, unit: str, times: Any, values: Any
) -> pt.AsyncStream:
    stream = await client.create(uuid4(), collection, {"name": name, "unit": unit})
    await stream.insert((np.asarray(times, np.int64), np.asarray(values, np.float64)))
    return stream


@pytest.fixture
async def voltage(client: pt.AsyncClient, collection: str) -> pt.AsyncStream:
    """Twenty minutes at 30 Hz, of which two are missing, with one spike."""
    values = wave(230, 5)
    values[25_000] = 250
    there = np.ones(FRAMES, np.bool_)
    there[15_000:18_600] = False
    return await make(client, collection, "L1MAG", "V", TIMES[there], values[there])


@pytest.fixture
async def several(
    client: pt.AsyncClient, collection: str, voltage: pt.AsyncStream
) -> pt.AsyncStreamSet:
    """Two units; a stream with few points, and one with none."""
    half = TIMES[::2]
    streams = [
        voltage,
        await make(client, collection, "L2MAG", "V", half, wave(222, 5)[::2]),
        await make(client, collection, "FREQ", "Hz", TIMES, wave(60, 0.01)),
        await make(client, collection, "TAP", "Hz", TIMES[::1_200], 60 + np.arange(30) / 1_000),
        await make(client, collection, "NONE", "V", [], []),
    ]
    return await client.streamset_from_uuids([stream.uuid for stream in streams])


def difference(figure: Figure, name: str, collection: str) -> float:
    """The part of the pixels in which the figure is not the picture of this name."""
    for text in figure.texts:
        if collection in text.get_text():
            text.set_text(text.get_text().replace(collection, "tests"))
    drawn = BytesIO()
    figure.savefig(drawn)
    picture = PICTURES / f"{name}.png"
    if os.environ.get("UPDATE") == name:
        picture.write_bytes(drawn.getvalue())
    return pixels.difference(drawn.getvalue(), picture.read_bytes())


async def test_windows_of_a_stream(voltage: pt.AsyncStream, collection: str):
    assert difference(await voltage.plot(width=500), "windows", collection) < MOST_DIFFERENT


async def test_points_of_a_stream(voltage: pt.AsyncStream, collection: str):
    # The gap begins in the middle, and one point stands alone in it.
    edge = T + 15_000 * SECOND // RATE
    await voltage.insert([(edge + SECOND, 233.0)])
    figure = await voltage.plot(edge - 2 * SECOND, edge + 2 * SECOND, width=500)
    assert difference(figure, "points", collection) < MOST_DIFFERENT


async def test_less_than_a_second(voltage: pt.AsyncStream, collection: str):
    start = T + 123_456_789
    assert (
        difference(await voltage.plot(start, start + SECOND // 2, width=500), "short", collection)
        < MOST_DIFFERENT
    )


async def test_a_panel_for_each_unit(several: pt.AsyncStreamSet, collection: str):
    figure = await several.plot(width=500)
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "Hz"]
    assert difference(figure, "set", collection) < MOST_DIFFERENT


async def test_a_picture_that_differs_is_noticed(voltage: pt.AsyncStream, collection: str):
    figure = await voltage.plot(gap=timedelta(minutes=3), width=500)
    # Two minutes of twenty are drawn as a line in place of a gap.
    assert difference(figure, "windows", collection) > MOST_DIFFERENT / 10
    figure = await voltage.plot(T + 60 * SECOND, width=500)
    assert difference(figure, "windows", collection) > MOST_DIFFERENT


async def test_no_more_is_fetched_than_is_shown(voltage: pt.AsyncStream):
    figure = await voltage.plot(width=500)
    (line,) = figure.axes[0].lines
    # Each window is a step of two points.
    assert 500 <= len(line.get_xdata()) / 2 <= 1_001
    assert "windows of 2.15 s" in figure.texts[-1].get_text()


async def test_a_figure_is_shown_by_notebooks_and_is_nobody_elses(voltage: pt.AsyncStream):
    figure = await voltage.plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_size_inches()[0] * figure.dpi == 1_000
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def gaps(figure: Figure) -> int:
    return int(np.isnan(np.asarray(figure.axes[0].lines[0].get_ydata(), np.float64)).sum())


async def test_gaps(client: pt.AsyncClient, collection: str, voltage: pt.AsyncStream):
    assert gaps(await voltage.plot()) == 1
    assert gaps(await voltage.plot(gap=timedelta(minutes=3))) == 0
    times = T + np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 100, 101, 102]) * SECOND
    few = await make(client, collection, "few", "V", times, np.arange(12))
    assert gaps(await few.plot()) == 1
    assert gaps(await few.plot(gap=3 * SECOND)) == 2
    # What arrives irregularly is not full of gaps.
    irregular = np.cumsum(np.arange(20_000) * 7_919 % 1_009 + 1) * 1_000_000
    stream = await make(client, collection, "irregular", "V", T + irregular, irregular)
    assert gaps(await stream.plot()) == 0
    assert gaps(await stream.plot(T, T + 200 * SECOND)) == 0


async def test_a_window_between_gaps_is_seen(client: pt.AsyncClient, collection: str):
    # Half an hour, nothing, a few points, nothing, half an hour.
    places = np.concatenate((np.arange(18_000), 27_000 + np.arange(5), 36_000 + np.arange(18_000)))
    times = T + places * (SECOND // 10)
    stream = await make(client, collection, "a", "V", times, np.full(len(times), 230.0))
    figure = await stream.plot(width=500)
    _, dots = figure.axes[0].lines
    assert "windows of" in figure.texts[-1].get_text()
    assert len(dots.get_xdata()) == 1
    widget = await stream.plot(backend="plotly", width=500)
    line = widget.data[1]
    assert line.mode == "lines+markers"
    assert len(line.marker.size) == len(line.y)
    assert np.count_nonzero(line.marker.size) == 2  # where the window begins and ends


async def test_a_line_is_named_if_the_title_does_not(several: pt.AsyncStreamSet):
    apart = several.filter(name=re.compile("^(L1MAG|FREQ)$"))
    texts = [axes.get_legend().get_texts()[0].get_text() for axes in (await apart.plot()).axes]
    assert texts == ["L1MAG", "FREQ"]
    assert (await apart.plot(backend="plotly")).layout.showlegend
    assert (await apart.filter(unit="V").plot()).axes[0].get_legend() is None


async def test_versions(client: pt.AsyncClient, collection: str):
    stream = await make(client, collection, "a", "V", [T, T + 1], [1, 2])
    await stream.flush()
    old = await stream.get_latest_version()
    await stream.insert([(T + 2, 9.0)])

    async def most(**named: Any) -> float:
        figure = await stream.plot(T, T + 10, **named)
        return float(max(figure.axes[0].lines[0].get_ydata()))

    assert await most() == 9.0
    assert await most(version=old) == 2.0
    streams = await client.streamset_from_uuids([stream.uuid])
    figure = await streams.plot(T, T + 10, [old])
    assert len(figure.axes[0].lines[0].get_ydata()) == 2
    with pytest.raises(VersionNotAvailable):
        await stream.plot(T, T + 10, version=old + 100)


async def test_axes_of_the_user(several: pt.AsyncStreamSet):
    axes = Figure((4, 3)).subplots()
    assert await several.filter(unit="V").plot(axes=axes) is axes
    assert len(axes.lines) == 3
    with pytest.raises(BTRDBValueError, match="`V`, `Hz` cannot share"):
        await several.plot(axes=axes)


async def test_the_ends_of_time(client: pt.AsyncClient, collection: str):
    times = [MINIMUM_TIME, 0, MAXIMUM_TIME - 1]
    stream = await make(client, collection, "a", "", times, [1, 2, 3])
    for _ in range(2):
        figure = await stream.plot(width=100)
        assert figure.axes[0].get_xlim()[0] == MINIMUM_TIME / 86_400 / SECOND
        # Many points, so that windows are drawn.
        await stream.insert((T + np.arange(1_000), np.arange(1_000.0)))
    figure = await stream.plot(T, T + 1)
    assert figure.axes[0].get_xlabel() == "ns after 2024-03-01 10:00:00.000000000 UTC"


async def test_many_streams_share_a_legend(client: pt.AsyncClient, collection: str):
    for number in range(12):
        await make(client, f"{collection}/{number % 2}", f"s{number // 2}", "V", [T], [number])
    streams = await client.streams_in_collection(collection)
    (axes,) = (await streams.plot()).axes
    legend = axes.get_legend()
    assert legend.get_title().get_text() == "and 2 more"
    # Names repeat, so collections are told, but for what the title says.
    assert {text.get_text()[:-1] for text in legend.get_texts()} == {"0/s", "1/s"}


async def test_what_all_have_in_common_is_in_the_title_only(
    client: pt.AsyncClient, collection: str
):
    async def told(*places: str) -> tuple[str, list[str]]:
        made = [await make(client, f"{collection}{p}", "FREQ", "Hz", [T], [60]) for p in places]
        figure = await (await client.streamset_from_uuids([s.uuid for s in made])).plot()
        legend = figure.axes[0].get_legend()
        title: str = figure.texts[0].get_text().replace(collection, "tests")
        return title, [text.get_text().replace(collection, "tests") for text in legend.get_texts()]

    assert await told("/a/pmu", "/b/pmu") == ("tests/…/pmu/FREQ: 2 streams", ["a", "b"])
    assert await told("/c/1", "/d/2") == ("tests/…/FREQ: 2 streams", ["c/1", "d/2"])
    # Nothing would be left of the first.
    assert await told("/e", "/e/f") == ("tests/e: 2 streams", ["tests/e/FREQ", "tests/e/f/FREQ"])


async def test_long_names_leave_room_for_the_lines(client: pt.AsyncClient, collection: str):
    for number in range(5):
        name = f"a name that is long enough for a row of its own {number}"
        await make(client, collection, name, "V", [T], [number])
    figure = await (await client.streams_in_collection(collection)).plot(width=500)
    figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().width > 400


@pytest.mark.parametrize("width", [300, 500, 1_000])
def test_labels_of_times_are_few_and_differ(width: int):
    start = pt.utils.to_nanoseconds("2024-01-30T22:58:59.75Z")
    for step in range(80):
        end = start + int(SECOND * 1.27**step)
        if end > MAXIMUM_TIME:
            break
        figure = plot_matplotlib.draw(Plot("", start, end, [Panel("V", [])]), width, None)
        figure.draw_without_rendering()
        (axes,) = figure.axes
        first, last = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        labels = [label for place, label in ticks if first <= place <= last]
        texts = [label.get_text() for label in labels]
        assert 2 <= len(texts) <= 10, texts
        # An hour of a day may come again on the next, whose date stands between.
        assert all(a != b for a, b in pairwise(texts)), texts
        if width >= 500:
            boxes = [label.get_window_extent() for label in labels]
            assert all(a.x1 < b.x0 for a, b in pairwise(boxes)), texts


async def test_a_long_title_fits(client: pt.AsyncClient, collection: str):
    where = f"{collection}/{'north/' * 4}substation with a long name"
    stream = await make(client, where, "ActivePower", "MW", [T], [230])
    figure = await stream.plot(width=800)
    figure.draw_without_rendering()
    assert len(figure.texts[0].get_text()) > 90
    assert figure.texts[0].get_window_extent().x1 < 800


async def test_a_single_point_is_in_the_middle(client: pt.AsyncClient, collection: str):
    stream = await make(client, collection, "a", "V", [T], [230])
    (axes,) = (await stream.plot()).axes
    first, last = axes.get_xlim()
    assert (first + last) / 2 == pytest.approx(T / 86_400 / SECOND, abs=1e-9)
    assert last - first == pytest.approx(1 / 86_400)


async def test_ticks_are_enough_and_say_the_minute(voltage: pt.AsyncStream):
    def labels(figure: Figure) -> list[str]:
        figure.draw_without_rendering()
        return [label.get_text() for label in figure.axes[0].get_xticklabels()]

    ten = labels(await voltage.plot(T, T + 600 * SECOND))
    assert ten == ["10:00", "10:02", "10:04", "10:06", "10:08", "10:10"]
    # What lies beyond the end is not drawn.
    two = labels(await voltage.plot(T + 59 * SECOND, T + 61 * SECOND, width=500))
    assert two[:5] == ["10:00:59.0", "10:00:59.5", "10:01:00", "10:01:00.5", "10:01:01.0"]


async def test_metadata_that_are_unknown_are_fetched(
    client: pt.AsyncClient, voltage: pt.AsyncStream
):
    figure = await client.stream_from_uuid(voltage.uuid).plot()
    assert figure.texts[0].get_text().endswith("/L1MAG")


async def test_what_cannot_be_plotted(
    client: pt.AsyncClient, stream: pt.AsyncStream, unknown: pt.AsyncStream
):
    with pytest.raises(InvalidTimeRange, match="no points"):
        await stream.plot()
    with pytest.raises(InvalidTimeRange, match="not before"):
        await stream.plot(5, 5)
    with pytest.raises(StreamNotFoundError):
        await unknown.plot(0, 1)
    with pytest.raises(BTRDBValueError, match="empty"):
        await (await client.streamset_from_uuids([])).plot()
    with pytest.raises(BTRDBValueError, match="`bokeh`"):
        await stream.plot(0, 1, backend="bokeh")  # type: ignore[arg-type]
    with pytest.raises(BTRDBValueError, match="belong to matplotlib"):
        await stream.plot(0, 1, backend="plotly", axes=object())
    for width in (0, -5, 10**6):
        with pytest.raises(BTRDBValueError, match="pixels"):
            await stream.plot(0, 1, width=width)
    with pytest.raises(BTRDBTypeError, match="pixels"):
        await stream.plot(0, 1, width=5.5)  # type: ignore[arg-type]
    assert "no points" in [text.get_text() for text in (await stream.plot(0, 1)).texts]


@pytest.mark.parametrize(
    ("module", "backend", "name"),
    [
        ("matplotlib", "matplotlib", "plot"),
        ("plotly.graph_objects", "plotly", "plotly"),
        ("anywidget", "plotly", "plotly"),
    ],
)
async def test_a_missing_package_names_its_extra(
    module: str, backend: Any, name: str, stream: pt.AsyncStream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "pingthings\[{name}\]"'):
        await stream.plot(0, 1, backend=backend)


def heights(trace: Any) -> list[float]:
    return [y for y in trace.y if y is not None and not np.isnan(y)]


async def test_zooming_fetches_the_next_level(voltage: pt.AsyncStream, collection: str):
    widget = await voltage.plot(backend="plotly", width=500)
    assert isinstance(widget, FigureWidget)
    assert widget.layout.title.text == f"{collection}/L1MAG"
    # The title says it all, and the ticks the unit.
    assert not widget.layout.showlegend
    assert (widget.layout.yaxis.tickformat, widget.layout.yaxis.ticksuffix) == ("~s", "V")
    band, line = widget.data
    # The outlines on both sides of the gap, and a null after each.
    assert (band.fill, sum(y is None for y in band.y)) == ("toself", 2)
    assert max(heights(band)) == 250
    assert max(heights(line)) < 236
    spike = int(TIMES[25_000])
    around = [str(np.datetime64(spike + away * SECOND, "ns")) for away in (-2, 2)]
    widget.layout.xaxis.range = around
    assert widget.layout.title.subtitle.text == "raw values"
    assert len(band.y) == 0
    assert max(heights(line)) == 250
    assert [int(x) for x in np.array(line.x).astype(np.int64)] == [
        int(time)
        for time in TIMES
        if abs(time - spike) <= 2 * SECOND and time != spike + 2 * SECOND
    ]
    widget.layout.xaxis.range = ["2024-03-01 10:00", "2024-03-01 10:20:00.00001234"]
    assert "windows of 2.15 s" in widget.layout.title.subtitle.text
    assert max(heights(band)) == 250
    # To a place where nothing is.
    widget.layout.xaxis.range = ["1990-01-01", "1990-02-01"]
    assert (len(band.y), heights(line)) == (0, [])
    assert widget.layout.title.subtitle.text == "no points"


async def test_zooming_goes_over_a_client_with_the_same_options(
    endpoint: str, apikey: str, monkeypatch: pytest.MonkeyPatch
):
    fetch, clients = plot.fetch, list[pt.AsyncClient]()

    async def seen(streams: pt.AsyncStreamSet, *rest: Any) -> Plot:
        clients.append(streams[0].client)
        return await fetch(streams, *rest)

    monkeypatch.setattr(plot, "fetch", seen)
    connecting = pt.AsyncClient.connect(
        endpoint=endpoint, apikey=apikey, pickle_key=True, retry_for=3, deadline=50
    )
    async with await connecting as client:
        stream = await client.create(uuid4(), f"plot/{uuid4()}")
        await stream.insert([(at * SECOND, 1.0) for at in range(100)])
        widget = await stream.plot(backend="plotly")
        widget.layout.xaxis.range = ["1970-01-01T00:00:01", "1970-01-01T00:00:05"]
        first, zoomed = clients
        assert zoomed is not first
        assert recipe(zoomed) == recipe(first)


async def test_the_panels_of_a_widget_zoom_together(several: pt.AsyncStreamSet):
    widget = await several.plot(backend="plotly", width=500)
    assert len(widget.data) == 10
    assert [trace.name for trace in widget.data[1::2]] == ["L1MAG", "L2MAG", "NONE", "FREQ", "TAP"]
    # Each panel has its legend beside it.
    assert widget.layout.showlegend
    assert [t.legend for t in widget.data[1::2]] == ["legend"] * 3 + ["legend2"] * 2
    assert widget.layout.legend.y > widget.layout.legend2.y
    assert widget.layout.yaxis2.title.text == "Hz"
    first, last = "2024-03-01T10:01:00", "2024-03-01T10:01:05"
    widget.layout.xaxis2.range = [first, last]
    assert [str(x) for x in widget.layout.xaxis.range] == [
        "2024-03-01 10:01:00",
        "2024-03-01 10:01:05",
    ]
    assert [len(trace.y) for trace in widget.data[1::2]] == [150, 75, 0, 150, 0]
