"""Shows what the package does with measurements of the power grid, on this machine alone.

Without an argument it takes ten minutes of simulated synchrophasors, in which there is a fault and
a loss of generation. With a CSV file it takes that: any file that has a column of times and columns
of numbers.

It starts a server, inserts everything, and then answers what an engineer asks of a recording: what
is there, what does it look like from far away and from near, what happened, and when. It ends with
a picture in `demo-output/`.

    python examples/demo.py
    python examples/demo.py measurements.csv --keep my-data

Needs `matplotlib` for the picture: `pip install 'pingthings[plot]'`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import findings
import picture
import pingthings.timeseries as pt
from measurements import Measurements, SourceError, read_csv, read_recording
from pingthings.server import Server
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

OUTPUT = Path("demo-output")
STREAMS_PER_INSERT = 8
WINDOW_COUNTS = (1_000, 100, 10)
ROWS_PER_COLLECTION = 4
WIDTH_OF_A_FILE = 120

console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False)


class Stopwatch:
    """Seconds that a block took."""

    seconds = 0.0

    def rate(self, points: int) -> str:
        """Returns a number of points as a rate in words."""
        return f"{points / max(self.seconds, 1e-9) / 1e6:,.1f} million points/s"


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Yields a stopwatch that is read after the block."""
    watch = Stopwatch()
    start = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration and returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        if options.csv is None:
            measurements = read_recording()
        else:
            measurements = read_csv(options.csv, options.time, options.columns or ())
    except SourceError as error:
        console.print(f"[bold red]error:[/] {error}")
        return 2
    console.rule(f"[bold]{measurements.title}", align="left")
    for note in measurements.notes:
        console.print(f"  {note}")

    with Server(directory=options.keep) as server, pt.connect(endpoint=server.endpoint) as client:
        build = client.info()["build"]
        place = "in memory" if options.keep is None else f"in `{options.keep}`"
        console.print(f"  server {build} at {server.endpoint}, data {place}")
        try:
            demonstrate(client, measurements, options)
        except pt.exceptions.BTrDBError as error:
            console.print(f"[bold red]error:[/] {error}")
            return 1
    if options.keep is not None:
        console.rule("[bold]The data stay", align="left")
        console.print(f"  serve them again:  pingthings serve {options.keep}")
        console.print('  and in Python:     client = pt.connect(endpoint="127.0.0.1:4410")')
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    summary, details = (__doc__ or "").split("\n\n", maxsplit=1)
    result = argparse.ArgumentParser(
        prog="demo.py",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "csv", nargs="?", type=Path, metavar="CSV", help="measurements; default: a simulation"
    )
    result.add_argument(
        "--time", metavar="COLUMN", help="column of the CSV that holds the times; default: found"
    )
    result.add_argument(
        "--columns",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="A,B,...",
        help="columns of the CSV to insert; default: all that hold numbers, save row numbers",
    )
    result.add_argument(
        "--keep", type=Path, metavar="DIR", help="store the data in DIR and leave them there"
    )
    result.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help="where the picture goes; default: %(default)s",
    )
    return result


def demonstrate(client: pt.Client, measurements: Measurements, options: argparse.Namespace) -> None:
    """Inserts the measurements, asks about them, and draws them."""
    streams = ingest(client, measurements)
    start, end = list_what_is_there(client, streams, measurements)
    read_everything(streams, start, end)
    look_from_afar(streams, start, end)
    if options.csv is None:
        panels = findings.of_recording(console, streams, start, end)
        file = options.output / "simulated_pmu.png"
    else:
        panels = findings.of_columns(console, streams, start, end)
        file = options.output / f"{options.csv.stem}.png"
    if importlib.util.find_spec("matplotlib") is None:
        console.print("  no picture: matplotlib is not installed")
        return
    with stopwatch() as watch:
        picture.draw(file, measurements.title, panels)
    console.print(f"  picture: [bold]{file}[/] ({watch.seconds:.1f} s)")


def ingest(client: pt.Client, measurements: Measurements) -> pt.StreamSet:
    """Inserts everything and returns the streams; a second run finds those of the first."""
    console.rule("[bold]Insert", align="left")
    points: dict[UUID, object] = {}
    streams: list[pt.Stream] = []
    for series in measurements.series:
        uuid = uuid5(NAMESPACE_URL, f"{series.collection}/{series.name}")
        tags = {"name": series.name, "unit": series.unit}
        try:
            stream = client.create(uuid, series.collection, tags, {"source": measurements.title})
        except pt.exceptions.StreamExists:
            stream = client.stream_from_uuid(uuid)
            stream.refresh_metadata()
        streams.append(stream)
        points[uuid] = series.points

    progress = Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("points"),
        TimeElapsedColumn(),
        console=console,
    )
    total = measurements.number_of_points
    with progress, stopwatch() as watch:
        task = progress.add_task("inserting", total=total)
        for first in range(0, len(streams), STREAMS_PER_INSERT):
            some = streams[first : first + STREAMS_PER_INSERT]
            # `replace` makes a second run into the same directory change nothing.
            pt.StreamSet(some).insert({s.uuid: points[s.uuid] for s in some}, merge="replace")
            sent = measurements.series[first : first + STREAMS_PER_INSERT]
            progress.advance(task, sum(series.points.num_rows for series in sent))
    console.print(
        f"  {total:,} points into {len(streams)} streams in {watch.seconds:.2f} s: "
        f"[bold]{watch.rate(total)} in[/]"
    )
    return pt.StreamSet(streams)


def list_what_is_there(
    client: pt.Client, streams: pt.StreamSet, measurements: Measurements
) -> tuple[int, int]:
    """Prints collections and streams, and returns the range of time that holds all points."""
    console.rule("[bold]Collections and streams", align="left")
    collections = sorted({series.collection for series in measurements.series})
    known = [name for name in client.list_collections() if name in collections]
    console.print(f"  collections: {', '.join(sorted(known))}")
    counts, earliest, latest = streams.count(), streams.earliest(), streams.latest()
    table = Table("collection", "name", "unit", box=None, header_style="bold", pad_edge=False)
    for heading in ("points", "first", "last"):
        table.add_column(heading, justify="right")
    first, last = None, None
    rows = Counter[str]()
    for stream in streams:
        low, high = earliest[stream.uuid], latest[stream.uuid]
        if low is None or high is None:
            continue
        first = low.time if first is None else min(first, low.time)
        last = high.time if last is None else max(last, high.time)
        collection = stream.collection or ""
        rows[collection] += 1
        if rows[collection] <= ROWS_PER_COLLECTION:
            texts = (findings.time_text(low.time), findings.time_text(high.time))
            count = f"{counts[stream.uuid]:,}"
            table.add_row(collection, stream.name, stream.unit or "-", count, *texts)
    console.print(table)
    hidden = sum(max(number - ROWS_PER_COLLECTION, 0) for number in rows.values())
    if hidden:
        console.print(f"  … and {hidden} more streams like them")
    if first is None or last is None:
        raise SystemExit("no stream has a point")
    return first, last + 1


def read_everything(streams: pt.StreamSet, start: int, end: int) -> None:
    """Reads every point back as Arrow, and shows the head of one stream as a data frame."""
    console.rule("[bold]Raw values", align="left")
    with stopwatch() as watch:
        tables = streams.raw_values(start, end)
    number = sum(table.num_rows for table in tables if table is not None)
    console.print(
        f"  {number:,} points of {len(streams)} streams in one call, {watch.seconds:.2f} s: "
        f"[bold]{watch.rate(number)} out[/], as Arrow"
    )
    sample = next(table for table in tables if table is not None)
    if importlib.util.find_spec("pandas") is None:
        console.print(f"  {sample.schema.to_string()}".replace("\n", "\n  "))
        return
    frame = sample.to_pandas().set_index("time")
    console.print(f"  {streams[0].name} as a pandas frame, {len(frame):,} rows:")
    console.print("    " + frame.head(4).to_string().replace("\n", "\n    "))


def look_from_afar(streams: pt.StreamSet, start: int, end: int) -> None:
    """Asks for statistics in windows of three lengths."""
    console.rule("[bold]Windows: count, mean, least, greatest, deviation", align="left")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (
        "point width",
        "length",
        "windows per stream",
        "all streams in",
        "points summed",
    ):
        table.add_column(heading, justify="right")
    for count in WINDOW_COUNTS:
        width = pt.utils.nearest_point_width(nanoseconds=max((end - start) // count, 1))
        with stopwatch() as watch:
            tables = streams.windowed_values(start, findings.up_to(end, width), width)
        present = [table for table in tables if table is not None]
        summed = sum(int(sum(one["count"].to_pylist())) for one in present)
        most = max(one.num_rows for one in present)
        table.add_row(
            repr(width), str(width), f"{most:,}", f"{watch.seconds * 1e3:.1f} ms", f"{summed:,}"
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
