"""Divides a large read into parts for workers: streams and time ranges, planned from counts.

A part is pickled without a key. A worker reads its key from `BTRDB_API_KEY`, or from the profile
with which the client was connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import numpy as np
import pyarrow as pa

from pingthings.timeseries.arguments import as_time
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME, PW, RAW_F64_SCHEMA
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError, InvalidTimeRange
from pingthings.timeseries.frames import Names, _labels, to_numpy
from pingthings.timeseries.utils.timez import currently_as_ns

if TYPE_CHECKING:
    from pingthings.timeseries.client import Client, Stream, StreamSet
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["Partition", "nothing", "plan", "schema"]

_FINER = 6  # a window with too many points is divided into 2**6
_WINDOWS_PER_PART = 8
_MOST_WINDOWS = 4_096


@dataclass(frozen=True)
class Partition:
    """A group of streams and a time range, read where `read` is called. Created by `plan`."""

    client: Client
    """The client; pickled without its key."""
    uuids: tuple[UUID, ...]
    """The streams to read."""
    versions: tuple[int, ...]
    """The version of each; 0 is the latest data."""
    places: tuple[int, ...]
    """The index of each stream's name in `labels`."""
    labels: tuple[str, ...]
    """The names of all streams of the plan."""
    start: int
    """First instant, in nanoseconds."""
    end: int
    """The instant after the last one."""
    points: int
    """The approximate number of points; exact if no stream is divided."""
    planned: int
    """When the plan was made, in nanoseconds; 0 if all versions are pinned."""

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Identifies equal parts for Dask. Latest data of different plans are not equal."""
        recipe = self.client.__reduce__()[1]
        read = (self.uuids, self.versions, self.places, self.labels, self.start, self.end)
        return (type(self).__qualname__, recipe, read, self.planned)

    def read(self) -> pa.Table:
        """Returns the points, stream by stream and ascending by time.

        Returns:
            A table of `schema()`: `stream` (a dictionary of the names of all streams of the plan),
            `time` and `value`. It has no rows if there are no points.

        Raises:
            AuthenticationError: This process has no key, or a wrong one.
            StreamNotFoundError: A stream has been removed since the plan was made.
        """
        streams = self.client.streamset_from_uuids(self.uuids, fetch_metadata=False)
        tables = streams.raw_values(self.start, self.end, list(self.versions))
        named = [
            _named(self.labels, place, table)
            for place, table in zip(self.places, tables, strict=True)
            if table is not None
        ]
        return pa.concat_tables([nothing(self.labels), *named])


def schema() -> pa.Schema:
    """Returns the schema of the result of `Partition.read`."""
    stream: Any = pa.field("stream", pa.dictionary(pa.int32(), pa.string()), nullable=False)
    fields: list[Any] = [stream, *RAW_F64_SCHEMA]
    return pa.schema(fields)


def nothing(labels: Sequence[str]) -> pa.Table:
    """Returns a table of `schema()` without rows, with these names in its dictionary.

    Args:
        labels: The names of all streams.
    """
    return _named(labels, 0, RAW_F64_SCHEMA.empty_table())


def _named(labels: Sequence[str], place: int, table: pa.Table) -> pa.Table:
    indices: Any = pa.array(np.full(table.num_rows, place, np.int32))
    from_arrays: Any = cast("Any", pa).DictionaryArray.from_arrays
    names = from_arrays(indices, pa.array(labels, pa.string()))
    columns: list[Any] = [names, *table.columns]
    return pa.table(columns, schema=schema())


def plan(
    streams: StreamSet,
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    rows: int = 1_000_000,
    partitions: int = 1,
    names: Names = "uuid",
) -> list[Partition]:
    """Divides a read of streams into parts of about equal size.

    Streams with few points share a part. A stream with many points is divided by time, according to
    the counts of aligned windows. Planning reads only counts.

    Workers read the latest data unless the streams are pinned. To read a consistent state of
    streams that still grow, flush and pin them first.

    Args:
        streams: Synchronous streams, which can be pickled.
        start: First instant; None starts at the first point of all streams.
        end: The instant after the last one; None ends after the last point of all streams.
        rows: Approximate maximum number of points of a part; a part may have twice as many.
        partitions: Approximate minimum number of parts, so that every worker has some.
        names: How streams are named in the result: `uuid`, `name`, `path` (collection and name), a
            function of the stream, or these texts.

    Returns:
        The parts; an empty list if there are no points.

    Raises:
        BTRDBTypeError: `streams` are not synchronous streams.
        BTRDBValueError: `rows` or `partitions` is below one, or two streams have the same name.
        InvalidTimeRange: `start` is not before `end`.
        StreamNotFoundError: A stream does not exist.

    Examples:
        >>> parts = plan(streams, rows=4)
        >>> sum(part.read().num_rows for part in parts), len(parts) >= 5
        (20, True)
    """
    return _planned(streams, start, end, rows, partitions, names)[0]


def _planned(
    streams: StreamSet,
    start: Instant | None,
    end: Instant | None,
    rows: int,
    partitions: int,
    names: Names,
) -> tuple[list[Partition], tuple[str, ...]]:
    """Returns the parts and the names of the streams."""
    from pingthings.timeseries.client import StreamSet  # noqa: PLC0415 - it is imported first

    if not isinstance(streams, StreamSet):
        raise BTRDBTypeError(
            f"a plan needs a `StreamSet`, which can be pickled, not a `{type(streams).__name__}`"
        )
    if rows < 1 or partitions < 1:
        raise BTRDBValueError(f"`rows` is {rows} and `partitions` {partitions}; give at least one")
    labels = tuple(_labels(list(streams), names))
    bounds = _bounds(streams, start, end)
    if bounds is None:
        return [], labels
    counted = streams.count(*bounds)
    counts = [counted[stream.uuid] for stream in streams]
    most = max(min(rows, -(-sum(counts) // partitions)), 1)
    pieces = [*_packed(counts, most, bounds), *_cut(streams, counts, most, bounds)]
    pieces.sort(key=lambda piece: (piece.places[0], piece.start))
    at = streams._streams._at(None)
    parts = [
        Partition(
            client=streams[0].conn,
            uuids=tuple(at[place][0] for place in piece.places),
            versions=tuple(at[place][1] for place in piece.places),
            places=piece.places,
            labels=labels,
            start=piece.start,
            end=piece.end,
            points=piece.points,
            planned=0 if all(version for _, version in at) else currently_as_ns(),
        )
        for piece in pieces
    ]
    return parts, labels


@dataclass(frozen=True)
class _Piece:
    """A partition in the making: streams by index, and a time range."""

    places: tuple[int, ...]
    start: int
    end: int
    points: int


def _bounds(
    streams: StreamSet, start: Instant | None, end: Instant | None
) -> tuple[int, int] | None:
    """Returns the range of the plan, or None if it is open and there are no points."""
    if not len(streams):
        return None
    first = None if start is None else as_time(start, "start")
    last = None if end is None else as_time(end, "end")
    if first is None:
        found = [point.time for point in streams.earliest().values() if point]
        first = min(found, default=None)
    if last is None:
        found = [point.time + 1 for point in streams.latest().values() if point]
        last = max(found, default=None)
    if first is None or last is None:
        return None
    if first >= last:
        if start is None or end is None:
            return None  # all points are outside the range
        raise InvalidTimeRange(f"start {first} is not before end {last}")
    return first, last


def _packed(counts: list[int], most: int, bounds: tuple[int, int]) -> Iterator[_Piece]:
    """Yields groups of streams with few points."""
    places: list[int] = []
    points = 0
    for place, count in enumerate(counts):
        if not 0 < count <= most:
            continue
        if places and points + count > most:
            yield _Piece(tuple(places), *bounds, points)
            places, points = [], 0
        places.append(place)
        points += count
    if places:
        yield _Piece(tuple(places), *bounds, points)


def _cut(
    streams: StreamSet, counts: list[int], most: int, bounds: tuple[int, int]
) -> Iterator[_Piece]:
    """Yields the parts of streams with many points, each divided by time."""
    large = [place for place, count in enumerate(counts) if count > most]
    if not large:
        return
    start, end = bounds
    wanted = max(counts) // most * _WINDOWS_PER_PART
    exponent = _exponent((end - start) // min(wanted, _MOST_WINDOWS))
    some = type(streams)([streams[place] for place in large])
    for place, windows in zip(large, _windows(some, start, end, exponent), strict=True):
        fine = list(_refined(streams[place], windows, exponent, most))
        yield from _ranges(place, fine, most, bounds)


def _ranges(
    place: int, windows: list[tuple[int, int]], most: int, bounds: tuple[int, int]
) -> Iterator[_Piece]:
    """Yields adjacent ranges that cover the complete range and end where windows begin."""
    start, end = bounds
    first, points = start, 0
    for time, count in windows:
        if points and points + count > most and first < time < end:
            yield _Piece((place,), first, time, points)
            first, points = time, 0
        points += count
    yield _Piece((place,), first, end, points)


def _refined(
    stream: Stream, windows: list[tuple[int, int]], exponent: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yields the windows, with those that have too many points divided into shorter ones."""
    for time, count in windows:
        if count <= most or exponent == 0:
            yield time, count
            continue
        finer = max(exponent - _FINER, 0)
        end = min(time + (1 << exponent), MAXIMUM_TIME)
        (parts,) = _windows(_alone(stream), time, end, finer)
        yield from _refined(stream, parts, finer, most)


def _alone(stream: Stream) -> StreamSet:
    from pingthings.timeseries.client import StreamSet  # noqa: PLC0415 - it is imported first

    return StreamSet([stream])


def _windows(
    streams: StreamSet, start: int, end: int, exponent: int
) -> list[list[tuple[int, int]]]:
    """Returns start and count of the aligned windows that contain points of the range."""
    width = 1 << exponent
    first, last = max(start - start % width, MINIMUM_TIME), min(end + -end % width, MAXIMUM_TIME)
    wanted = pa.schema([("time", pa.timestamp("ns", "UTC")), ("count", pa.uint64())])
    tables = streams.windowed_values(first, last, PW[exponent], None, wanted)
    return [[] if table is None else _pairs(table) for table in tables]


def _pairs(table: pa.Table) -> list[tuple[int, int]]:
    columns = to_numpy(table)
    times: list[int] = columns["time"].view(np.int64).tolist()
    counts: list[int] = columns["count"].tolist()
    return list(zip(times, counts, strict=True))


def _exponent(width: int) -> int:
    return min(max(width, 1).bit_length() - 1, len(PW) - 1)
