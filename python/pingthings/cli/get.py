"""`pingthings get`: reads points and windows of streams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from pingthings.cli import instants
from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Profile, connected, find_stream
from pingthings.cli.sink import Format, Sink, format_of
from pingthings.timeseries.client import Stream, StreamSet
from pingthings.timeseries.constants import (
    MAXIMUM_TIME,
    MINIMUM_TIME,
    PW,
    RAW_F64_SCHEMA,
    STAT_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["EXAMPLES", "get"]

EXAMPLES = """
Examples:
  pingthings get lab/L1MAG --start 2024-01-01 --end 2024-01-02 > day.csv
  pingthings get lab/L1MAG --start -1h --width 1m
  pingthings get lab/L1MAG lab/L2MAG --output all.parquet
  pingthings get lab/L1MAG --pw 30 --format arrow | python analyse.py
"""


def get(
    streams: Annotated[
        list[str], typer.Argument(metavar="STREAM", help="A uuid, or collection/name.")
    ],
    start: instants.Start = None,
    end: instants.End = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="LENGTH",
            parser=instants.length,
            help="Read statistics in windows of this length, such as 1m or 500ms, from START on. A "
            "last window that extends beyond END is left out.",
        ),
    ] = None,
    pw: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=len(PW) - 1,
            metavar="EXPONENT",
            help="Read statistics in windows of 2**EXPONENT ns that begin at multiples of it; 30 "
            "is about a second. Faster than --width.",
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Format of the output. Default: the suffix of --output, else table on a terminal "
            "and csv in a pipe.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write, completely or not at all; `-` is standard output.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Read points, or statistics in windows. Memory does not grow with their number.

    Columns are time and value, or time, min, mean, max, count and stddev. For several streams there
    is a first column `stream`, with the STREAM argument. Times are exact.
    """
    if width is not None and pw is not None:
        raise typer.BadParameter("--width and --pw are both given; give one of them")
    now = time.time_ns()
    first = None if start is None else instants.parse(start, now, "--start")
    after = None if end is None else instants.parse(end, now, "--end")
    chosen = format_of(format_, output)
    schema = RAW_F64_SCHEMA if width is None and pw is None else STAT_F64_SCHEMA
    with connected(endpoint, profile, apikey, apikey_file) as client:
        found = [find_stream(client, text) for text in streams]
        span = _span(found, first, after, width or (0 if pw is None else 1 << pw), aligned=pw)
        names = streams if len(streams) > 1 else []
        with Sink(chosen, output, _with_streams(schema) if names else schema) as sink:
            for place, stream in enumerate(found):
                for table in _tables(stream, span, width, pw):
                    sink.write(_named(table, names, place) if names else table)


def _span(
    streams: list[Stream], first: int | None, after: int | None, window: int, *, aligned: int | None
) -> tuple[int, int]:
    """Returns the range to read; a missing bound is set so that the range includes all points."""
    if first is None:
        times = [p.time for p in StreamSet(streams).earliest().values() if p is not None]
        first = min(times, default=MINIMUM_TIME)
    if after is None:
        times = [p.time for p in StreamSet(streams).latest().values() if p is not None]
        origin = 0 if aligned is not None else first
        after = max(*times, first) + 1 if times else first + 1
        if window:
            after = origin + -(-(after - origin) // window) * window
        after = min(after, MAXIMUM_TIME)
    if first >= after:
        raise BTRDBValueError(
            f"the start {instants.as_text(first)} is not before the end {instants.as_text(after)}"
        )
    return first, after


def _tables(
    stream: Stream, span: tuple[int, int], width: int | None, pw: int | None
) -> Iterator[pa.Table]:
    if width is not None:
        return stream.precise_windows_iter(*span, width, schema=STAT_F64_SCHEMA)
    if pw is not None:
        return stream.aligned_windows_iter(*span, pw, schema=STAT_F64_SCHEMA)
    return stream.raw_values_iter(*span)


_arrow: Any = pa  # pyarrow's stubs lag behind it
_STREAM = _arrow.field("stream", _arrow.dictionary(pa.int32(), pa.string()), nullable=False)


def _with_streams(schema: Any) -> pa.Schema:
    found: pa.Schema = schema.insert(0, _STREAM)
    return found


def _named(table: Any, names: list[str], place: int) -> pa.Table:
    # All tables share one dictionary, because Arrow's file format allows only one.
    indices = _arrow.repeat(_arrow.scalar(place, pa.int32()), table.num_rows)
    column = _arrow.DictionaryArray.from_arrays(indices, names)
    found: pa.Table = table.add_column(0, _STREAM, column)
    return found
