"""What happened in the measurements: found in windows first, in raw values only near the find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
from picture import Line, Mark, Panel
from pingthings.timeseries.constants import _PW, PW, STAT_F64_SCHEMA
from rich.console import Console
from rich.table import Table

SECOND = 1_000_000_000
FEW_POINTS = 5_000
WINDOWS_PER_STEP = 6  # as a power of two: each step of the search looks at some 64 windows
WINDOWS_PER_PANEL = 700
PANELS_OF_COLUMNS = 6
EVENT_WIDTH = PW[30]
QUANTITIES = {"V": "voltage", "A": "current", "Hz": "frequency", "Hz/s": "rate of change"}


@dataclass(frozen=True)
class Extreme:
    """The least or greatest value of a stream, and the effort of finding it."""

    time: int
    value: float
    windows_read: int
    points_read: int


@dataclass(frozen=True)
class Departure:
    """Where a stream is farthest from its normal value."""

    stream: pt.Stream
    time: int
    value: float
    normal: float

    @property
    def unit(self) -> str:
        """The unit of value and size."""
        return _unit(self.stream)

    @property
    def size(self) -> float:
        """How far the value is from normal, with its sign."""
        return self.value - self.normal


def time_text(time: int) -> str:
    """The time to the millisecond, or as coarse as it is."""
    text = pt.utils.ns_to_datetime(time).strftime("%Y-%m-%d %H:%M:%S")
    millis = time % SECOND // 1_000_000
    return f"{text}.{millis:03}" if millis else text


def up_to(end: int, width: _PW) -> int:
    """The end of the window that holds the last instant: an aligned query leaves out a cut one."""
    return -(-end // width.nanoseconds) * width.nanoseconds


def extreme(stream: pt.Stream, start: int, end: int, *, greatest: bool) -> Extreme:
    """Returns the first least or greatest value within a range.

    Each step asks for some 64 windows, goes into the one with the extreme, and reads raw values
    once few are left: the effort grows with the logarithm of the length of the stream.
    """
    column, pick = ("max", np.argmax) if greatest else ("min", np.argmin)
    width = pt.utils.nearest_point_width(nanoseconds=max((end - start) >> WINDOWS_PER_STEP, 1))
    windows_read = 0
    while True:
        windows = stream.windowed_values(start, up_to(end, width), width, schema=STAT_F64_SCHEMA)
        windows_read += windows.num_rows
        row = int(pick(windows[column].to_numpy()))
        first = windows["time"][row].value
        start, end = max(start, first), min(end, first + width.nanoseconds)
        if windows["count"][row].as_py() <= FEW_POINTS or width == 0:
            break
        width = PW[max(int(width) - WINDOWS_PER_STEP, 0)]
    raw = stream.raw_values(start, end)
    row = int(pick(raw["value"].to_numpy()))
    value = raw["value"][row].as_py()
    return Extreme(raw["time"][row].value, value, windows_read, raw.num_rows)


def of_columns(console: Console, streams: pt.StreamSet, start: int, end: int) -> list[list[Panel]]:
    """Prints the extremes of each stream, and returns panels that show the greatest values."""
    console.rule("[bold]Least and greatest values", align="left")
    table = Table("name", box=None, header_style="bold", pad_edge=False)
    for heading in ("least", "at", "greatest", "at", "found in"):
        table.add_column(heading, justify="right")
    rows: list[list[Panel]] = []
    for stream in streams:
        low = extreme(stream, start, end, greatest=False)
        high = extreme(stream, start, end, greatest=True)
        table.add_row(
            _name(stream),
            f"{low.value:,.10g}",
            time_text(low.time),
            f"{high.value:,.10g}",
            time_text(high.time),
            f"{high.windows_read} windows, {high.points_read:,} points",
        )
        if len(rows) < PANELS_OF_COLUMNS:
            rows.append(_panels_of_column(stream, start, end, high))
    console.print(table)
    console.print("  times are in UTC")
    return rows


def _panels_of_column(stream: pt.Stream, start: int, end: int, high: Extreme) -> list[Panel]:
    unit = _unit(stream)
    half = max((end - start) // 150, 1)
    near = (max(start, high.time - half), min(end, high.time + half))
    mark = Mark(high.time, high.value, f"{high.value:,.6g} {unit}\n{time_text(high.time)} UTC")
    return [
        Panel(
            f"{_name(stream)}: mean, and the band from least to greatest",
            unit or _name(stream),
            [_windows(stream, start, end)],
            [mark],
            near,
        ),
        Panel(
            f"{_name(stream)}: every point near its greatest value",
            unit or _name(stream),
            [Line(_name(stream), stream.raw_values(*near))],
            [mark],
        ),
    ]


def _windows(stream: pt.Stream, start: int, end: int) -> Line:
    count = WINDOWS_PER_PANEL
    width = pt.utils.nearest_point_width(nanoseconds=max((end - start) // count, 1))
    table = stream.windowed_values(start, up_to(end, width), width)
    return Line(_station(stream), table, width.nanoseconds)


def _station(stream: pt.Stream) -> str:
    return (stream.collection or "").rsplit("/", maxsplit=1)[-1]


def _name(stream: pt.Stream) -> str:
    return stream.name or str(stream.uuid)


def _unit(stream: pt.Stream) -> str:
    return stream.unit or ""


def departures(streams: pt.StreamSet, start: int, end: int) -> list[Departure]:
    """Returns for each unit the greatest departure from normal of any stream of that unit.

    Normal is the median of the means of windows of about a second. Angles are left out: they turn.
    """
    found: dict[str, Departure] = {}
    watched = [stream for stream in streams if _unit(stream) in QUANTITIES]
    windows = pt.StreamSet(watched).windowed_values(start, up_to(end, EVENT_WIDTH), EVENT_WIDTH)
    for stream, table in zip(watched, windows, strict=True):
        if table is None:
            continue
        normal = float(np.median(table["mean"].to_numpy()))
        above = table["max"].to_numpy() - normal
        below = normal - table["min"].to_numpy()
        row = int(np.argmax(np.maximum(above, below)))
        size = max(above[row], below[row])
        unit = _unit(stream)
        if unit in found and size <= abs(found[unit].size):
            continue
        first = table["time"][row].value
        raw = stream.raw_values(first, first + EVENT_WIDTH.nanoseconds)
        values = raw["value"].to_numpy()
        worst = int(np.argmax(np.abs(values - normal)))
        found[unit] = Departure(stream, raw["time"][worst].value, float(values[worst]), normal)
    return [found[unit] for unit in QUANTITIES if unit in found]


def of_recording(
    console: Console, streams: pt.StreamSet, start: int, end: int
) -> list[list[Panel]]:
    """Prints the events of the recording, and returns panels that show them."""
    console.rule("[bold]Largest departures from normal", align="left")
    events = departures(streams, start, end)
    table = Table("quantity", "stream", box=None, header_style="bold", pad_edge=False)
    for heading in ("time (UTC)", "value", "normal", "departure"):
        table.add_column(heading, justify="right")
    for event in events:
        unit = event.unit
        relative = f" ({event.size / event.normal:+.1%})" if abs(event.normal) > 1 else ""
        table.add_row(
            QUANTITIES[unit],
            f"{_station(event.stream)}/{_name(event.stream)}",
            time_text(event.time),
            f"{event.value:,.3f} {unit}",
            f"{event.normal:,.3f} {unit}",
            f"{event.size:+,.3f} {unit}{relative}",
        )
    console.print(table)
    return _panels_of_recording(streams, {event.unit: event for event in events}, start, end)


def _panels_of_recording(
    streams: pt.StreamSet, events: dict[str, Departure], start: int, end: int
) -> list[list[Panel]]:
    trip, sag, fault = events["Hz"], events["V"], events["A"]
    around_trip = (trip.time - 15 * SECOND, trip.time + 45 * SECOND)
    around_fault = (sag.time - SECOND // 2, sag.time + 3 * SECOND // 2)
    swing = (sag.time - SECOND, sag.time + 11 * SECOND)
    frequency = streams.filter(name="frequency")
    voltage = streams.filter(name=_name(sag.stream))
    current = streams.filter(name=_name(fault.stream))
    nadir = Mark(trip.time, trip.value, f"{trip.value:.3f} Hz\n{time_text(trip.time)}")
    return [
        [
            Panel(
                "Frequency: mean, and the band from least to greatest",
                "Hz",
                [_windows(stream, start, end) for stream in frequency],
                [nadir],
                around_trip,
            ),
            Panel(
                "Frequency after the generation trip", "Hz", _raw(frequency, around_trip), [nadir]
            ),
        ],
        [
            Panel(
                "Phase A voltages at the line-to-ground fault, every frame",
                "V",
                _raw(voltage, around_fault),
                [Mark(sag.time, sag.value, f"{sag.size / sag.normal:+.0%}\n{time_text(sag.time)}")],
            ),
            Panel(
                "Phase A currents: fault, open pole, reclosure",
                "A",
                _raw(current, around_fault),
                [Mark(fault.time, fault.value, f"{fault.value:,.0f} A\n{time_text(fault.time)}")],
            ),
        ],
        [
            Panel(
                "Frequencies after the fault: stations swing against each other",
                "Hz",
                _raw(frequency, swing),
            ),
            Panel("Rate of change of frequency", "Hz/s", _raw(streams.filter(name="rocof"), swing)),
        ],
    ]


def _raw(streams: pt.StreamSet, around: tuple[int, int]) -> list[Line]:
    tables = streams.raw_values(*around)
    return [
        Line(_station(stream), table)
        for stream, table in zip(streams, tables, strict=True)
        if isinstance(table, pa.Table)
    ]
