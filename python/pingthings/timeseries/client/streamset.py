"""The synchronous set of streams."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from uuid import UUID

from pingthings.timeseries import display
from pingthings.timeseries.arguments import OtherUuidKey, UuidKey, as_list, as_uuid
from pingthings.timeseries.async_client import AsyncStreamSet
from pingthings.timeseries.client.stream import Stream
from pingthings.timeseries.constants import RAW_F64_SCHEMA, STAT_F32_SCHEMA
from pingthings.timeseries.event_loop import ClientEventLoop
from pingthings.timeseries.exceptions import BTRDBTypeError
from pingthings.timeseries.insert_data import InsertData
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa

    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["StreamSet"]


class StreamSet(Collection[Stream]):
    """Streams in a fixed order, which one call reads or writes together.

    A call is one loop in the core, whatever the number of streams, with up to `concurrency_limit`
    requests in flight. If a stream fails, the requests of the others are cancelled and the error
    names the uuid of the failed one.

    A set has a length, an order and indexes like a list. A UUID or its text as index returns the
    stream with that uuid, and a slice returns a set.
    """

    __module__ = "pingthings.timeseries.client"  # where it is documented, and imported from

    def __init__(self, streams: list[Stream] = []) -> None:  # noqa: B006 - documented default, never changed
        """Collects streams of one client.

        Args:
            streams: The streams, in the order of results.
        """
        self._members = as_list(streams, "streams")
        for stream in self._members:
            if not isinstance(stream, Stream):
                raise BTRDBTypeError(
                    f"a set of streams contains `Stream`, not `{type(stream).__name__}`"
                )
        self._loop = self._members[0]._loop if self._members else ClientEventLoop()
        self._streams = AsyncStreamSet([stream._stream for stream in self._members])

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._members)

    @overload
    def __getitem__(self, key: int | UUID | str) -> Stream: ...
    @overload
    def __getitem__(self, key: slice) -> StreamSet: ...
    def __getitem__(self, key: int | slice | UUID | str) -> Stream | StreamSet:
        if isinstance(key, slice):
            return StreamSet(self._members[key])
        if isinstance(key, int):
            return self._members[key]
        return self._members[self._streams._place(as_uuid(key))]

    def __contains__(self, item: object) -> bool:
        return (item._stream if isinstance(item, Stream) else item) in self._streams

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StreamSet) and other._streams == self._streams

    def __hash__(self) -> int:
        return hash(self._streams)

    def __reduce__(self) -> tuple[Any, ...]:
        return StreamSet, (self._members,)

    def __repr__(self) -> str:
        return display.streams_text(type(self).__name__, list(self._streams))

    def _repr_html_(self) -> str:
        return display.streams_html(list(self._streams))

    def _wrap_set(self, streams: AsyncStreamSet) -> StreamSet:
        return StreamSet([self[stream.uuid] for stream in streams])

    def windowed_values(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        versions: list[int] | None = None,
        single_stream_schema: pa.Schema | None = STAT_F32_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> list[pa.Table | None]:
        """Returns statistics of each stream in windows; see `Stream.windowed_values`.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: a `PW`, nanoseconds, or a timedelta.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Where to report how many streams are done: True shows a bar; a function is
                called with this number and the total; a tqdm bar is updated. The call is then made
                in parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in the order of the set; None for one without points there.

        Examples:
            >>> [table.num_rows for table in streams.windowed_values(start, end, PW[28])]
            [4, 4]
        """
        call = self._streams._windowed_values(
            start, end, width, versions, single_stream_schema, progress
        )
        return self._loop.run(call)

    # <mirrored from AsyncStreamSet as _streams>

    def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations of every stream.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        self._loop.run(self._streams.refresh_metadata())

    def get_latest_version(self) -> dict[UUID, int]:
        """Returns the version of the last commit of each stream.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        return self._loop.run(self._streams.get_latest_version())

    def get_version_at_time(self, realtime: Instant) -> dict[UUID, int]:
        """Returns the version of each stream that was the latest at a wall-clock time.

        Args:
            realtime: The time; one in the future returns the latest versions.

        Raises:
            NotSupportedError: The server does not support this.
            VersionNotAvailable: A stream is younger, or that version was removed.
        """
        return self._loop.run(self._streams.get_version_at_time(realtime))

    def changes(
        self,
        from_version_map: Mapping[UuidKey, int],
        to_version_map: Mapping[OtherUuidKey, int],
        resolution: int = 0,
    ) -> dict[UUID, list[dict[str, int]]]:
        """Returns the ranges in which each stream differs between two versions.

        See `Stream.changes`; ranges can be larger than the range that was written.

        Args:
            from_version_map: The earlier version of each stream; exclusive.
            to_version_map: The later version of the same streams; inclusive.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Returns:
            For each stream of the maps a list of dicts of `start` and `end`, empty if nothing
            changed.

        Raises:
            BTRDBValueError: The maps have different streams.
            StreamNotInSetError: A uuid is not in the set; also a `KeyError`.
        """
        return self._loop.run(self._streams.changes(from_version_map, to_version_map, resolution))

    def pin_versions(self, versions: Mapping[UuidKey, int] | None = None) -> Self:
        """Sets the versions that reads use by default, and returns the set itself.

        Args:
            versions: A version for each stream to pin; other streams read the latest data. None
                pins every stream to its latest version, without points that were not flushed.

        Raises:
            StreamNotInSetError: A uuid is not in the set; also a `KeyError`.
        """
        self._loop.run(self._streams.pin_versions(versions))
        return self

    def filter(
        self,
        collection: str | re.Pattern[str] | None = None,
        name: str | re.Pattern[str] | None = None,
        unit: str | re.Pattern[str] | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> StreamSet:
        """Returns a set of the streams whose metadata match everything given.

        Args:
            collection: Text that equals the collection, ignoring case, or a compiled pattern that
                is searched in it.
            name: The same for the name.
            unit: The same for the unit.
            tags: Pairs that the tags must contain.
            annotations: Pairs that the annotations must contain; text is compared exactly.

        Raises:
            BTRDBTypeError: A condition is neither text nor a pattern, or not a mapping.
            InvalidOperation: The metadata of a stream have not been fetched.

        Examples:
            >>> [stream.name for stream in streams.filter(name=re.compile("^L1"))]
            ['L1MAG']
        """
        return self._wrap_set(self._streams.filter(collection, name, unit, tags, annotations))

    def insert(
        self,
        data_map: Mapping[UuidKey, InsertData],
        merge: str = "never",
        *,
        progress: Progress | None = None,
    ) -> dict[UUID, int]:
        """Stores points in several streams; see `Stream.insert`.

        If any point of any stream is invalid, none is sent.

        Args:
            data_map: Points for each stream, in any form of `InsertData`.
            merge: The merge policy: `never`, `equal`, `retain`, `replace`.
            progress: Where to report how many points of all streams are durable; see
                `Stream.insert`.

        Returns:
            The version of the last commit of each stream in `data_map`.

        Raises:
            StreamNotInSetError: A uuid is not in the set; also a `KeyError`.
        """
        return self._loop.run(self._streams.insert(data_map, merge, progress=progress))

    def flush(self) -> None:
        """Commits the points of every stream that are in no numbered version yet.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        self._loop.run(self._streams.flush())

    def raw_values(
        self,
        start: Instant,
        end: Instant,
        versions: list[int] | None = None,
        single_stream_schema: pa.Schema | None = RAW_F64_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> list[pa.Table | None]:
        """Returns the points of `[start, end)` of each stream; see `Stream.raw_values`.

        Args:
            start: First instant.
            end: The instant after the last one.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            single_stream_schema: Schema of each table; None is `RAW_F64_SCHEMA`.
            progress: Where to report how many streams are done: True shows a bar; a function is
                called with this number and the total; a tqdm bar is updated. The call is then made
                in parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in the order of the set; None for one without points there.

        Examples:
            >>> [table.num_rows for table in streams.raw_values(start, end)]
            [10, 10]
        """
        return self._loop.run(
            self._streams.raw_values(start, end, versions, single_stream_schema, progress=progress)
        )

    def joined_values(
        self,
        start: Instant,
        end: Instant,
        versions: list[int] | None = None,
        period: int | timedelta | None = None,
    ) -> pa.Table:
        """Returns the points of `[start, end)` of all streams in one table, joined by the server.

        This is one call, whatever the number of streams, and each row has one time. Two points of a
        stream with the same time become one. `frames.join` keeps both, names columns after streams,
        and joins the results of any call.

        Args:
            start: First instant.
            end: The instant after the last one.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            period: Distance of the instants to which points move, in nanoseconds or as a timedelta,
                counted from `start`. For each instant, the nearest point of a stream is kept;
                points nearest to an instant at or after `end` are left out. None does not move
                points.

        Returns:
            A table of `time` (timestamp[ns, UTC], ascending, unique) and a float64 column for each
            stream, in the order of the set, named by its uuid, with NaN where it has no point.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            BTRDBValueError: A stream is in the set twice, or the period is not positive.
            StreamNotFoundError: A stream does not exist.
            NotSupportedError: The server cannot join streams; use `frames.join`.

        Examples:
            >>> table = streams.joined_values(start, end)
            >>> table.num_rows, table.column_names == ["time", *(str(s.uuid) for s in streams)]
            (10, True)
        """
        return self._loop.run(self._streams.joined_values(start, end, versions, period))

    def count(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        versions: list[int] | None = None,
    ) -> dict[UUID, int]:
        """Returns the exact number of points of each stream; see `Stream.count`.

        Args:
            start: First instant; None is `MINIMUM_TIME`.
            end: The instant after the last one; None is `MAXIMUM_TIME`.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.

        Examples:
            >>> sum((streams.count()).values())
            20
        """
        return self._loop.run(self._streams.count(start, end, versions))

    def earliest(self) -> dict[UUID, RawPoint | None]:
        """Returns the first point of each stream, None for an empty one."""
        return self._loop.run(self._streams.earliest())

    def latest(self) -> dict[UUID, RawPoint | None]:
        """Returns the last point of each stream, None for an empty one."""
        return self._loop.run(self._streams.latest())

    def plot(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        versions: list[int] | None = None,
        *,
        width: int | None = None,
        gap: int | timedelta | None = None,
        backend: Literal["matplotlib", "plotly"] = "matplotlib",
        axes: Any = None,
    ) -> Any:
        """Plots all streams, with a panel for each unit; see `Stream.plot`.

        Args:
            start: First instant; None starts at the first point of all streams.
            end: The instant after the last one; None ends after the last point of all streams.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            width: Width of the picture in pixels; None is 1,000, or the width of the axes.
            gap: The longest time between points that is not a gap, in nanoseconds or as a
                timedelta.
            backend: `matplotlib` or `plotly`.
            axes: matplotlib axes to plot into, for streams with one unit; None creates a figure.

        Returns:
            The same as `Stream.plot`.

        Raises:
            BTRDBValueError: The set is empty, or `axes` is given and the streams have several
                units.

        Examples:
            >>> figure = streams.plot(start, end)
            >>> len(figure.axes)
            1
        """
        return self._loop.run(
            self._streams.plot(
                start, end, versions, width=width, gap=gap, backend=backend, axes=axes
            )
        )

    # </mirrored>
