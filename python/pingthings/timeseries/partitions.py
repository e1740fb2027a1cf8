"""A large read cut into parts that workers do: streams by ranges of time, planned from counts.

A part is pickled without a key, so a worker looks for its own: in `BTRDB_API_KEY`, or in the
profile that the client was connected with.
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

_FINER = 6  # a window that is too full is cut into 2**6
_WINDOWS_PER_PART = 8
_MOST_WINDOWS = 4_096


@dataclass(frozen=True)
class Partition:
    """Some streams in a range of time, read wherever `read` is called. `plan` makes them."""

    client: Client
    """Pickled as a recipe without the key."""
    uuids: tuple[UUID, ...]
    """The streams to read."""
    versions: tuple[int, ...]
    """The version of each, 0 being the latest."""
    places: tuple[int, ...]
    """Where each stream's name is in `labels`."""
    labels: tuple[str, ...]
    """The names of all streams of the plan."""
    start: int
    """First instant, in nanoseconds."""
    end: int
    """The instant after the last one."""
    points: int
    """About how many points there are; exact where a stream is not cut."""
    planned: int
    """When the plan was made, in nanoseconds; 0 where all versions are pinned."""

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """What dask knows equal parts by. Latest data of another moment are not equal."""
        recipe = self.client.__reduce__()[1]
        read = (self.uuids, self.versions, self.places, self.labels, self.start, self.end)
        return (type(self).__qualname__, recipe, read, self.planned)

    def read(self) -> pa.Table:
        """Returns the points, stream by stream and ascending by time.

        Returns:
            A table of `schema()`: `stream` (a dictionary of the names of all streams of the plan),
            `time` and `value`. Without rows if there are none.

        Raises:
            AuthenticationError: In another process: the key is not to be found there.
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
    """Returns the schema of what `Partition.read` returns."""
    stream: Any = pa.field("stream", pa.dictionary(pa.int32(), pa.string()), nullable=False)
    fields: list[Any] = [stream, *RAW_F64_SCHEMA]
    return pa.schema(fields)


def nothing(labels: Sequence[str]) -> pa.Table:
    """Returns a table of `schema()` without rows, whose dictionary has these names.

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
    """Returns parts of about equal size that together are a read of the streams.

    Streams with few points go into one part together; a stream with many is cut in time, where the
    counts of aligned windows say. Nothing is read but counts.

    Workers read the latest data unless the streams are pinned. Pin them, after a `flush`, to read
    one state of streams that still grow.

    Args:
        streams: Synchronous streams; they can be pickled.
        start: First instant; None begins at the first point of any stream.
        end: The instant after the last one; None ends after the last point of any.
        rows: How many points a part has at most, about: it may be twice as many.
        partitions: How many parts to make at least, about, so that every worker has some.
        names: What the streams are called in the result: `uuid`, `name`, `path` (collection and
            name), a function of the stream, or these texts.

    Returns:
        The parts; none if there are no points.

    Raises:
        BTRDBTypeError: They are no synchronous streams.
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
    """The parts, and the names of the streams."""
    from pingthings.timeseries.client import StreamSet  # noqa: PLC0415 - it is imported first

    if not isinstance(streams, StreamSet):
        raise BTRDBTypeError(
            f"a plan is made for a `StreamSet`, which can be pickled, not a "
            f"`{type(streams).__name__}`"
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
    """What a partition will be: streams by their places, in a range."""

    places: tuple[int, ...]
    start: int
    end: int
    points: int


def _bounds(
    streams: StreamSet, start: Instant | None, end: Instant | None
) -> tuple[int, int] | None:
    """The range of the plan, or None where there are no points to find its ends by."""
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
            return None  # what there is lies outside
        raise InvalidTimeRange(f"start {first} is not before end {last}")
    return first, last


def _packed(counts: list[int], most: int, bounds: tuple[int, int]) -> Iterator[_Piece]:
    """Streams of few points, as many together as fit."""
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
    """Streams of many points, each cut in time."""
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
    """Ranges that end where windows begin, and that together are the whole range."""
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
    """The windows, and in place of one that is too full those it consists of."""
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
    """Beginnings and counts of the aligned windows that hold points of the range."""
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
