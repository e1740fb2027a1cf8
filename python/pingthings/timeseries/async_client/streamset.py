"""The asynchronous set of streams."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, overload
from uuid import UUID

import pyarrow as pa

from pingthings.timeseries import display, plot, pyo3_client, tracing
from pingthings.timeseries.annotations import is_kept_as, to_texts
from pingthings.timeseries.arguments import (
    OtherUuidKey,
    UuidKey,
    aligned_exponent,
    as_exponent,
    as_filter_map,
    as_list,
    as_mapping,
    as_merge,
    as_ranges,
    as_schema,
    as_time,
    as_uuid,
    as_version,
    as_versions,
    as_width_ns,
)
from pingthings.timeseries.async_client import calls
from pingthings.timeseries.async_client.stream import AsyncStream
from pingthings.timeseries.constants import (
    MAXIMUM_TIME,
    MINIMUM_TIME,
    RAW_F64_SCHEMA,
    STAT_F32_SCHEMA,
)
from pingthings.timeseries.exceptions import (
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidOperation,
    InvalidUUIDError,
    StreamNotInSetError,
)
from pingthings.timeseries.insert_data import InsertData, to_arrow
from pingthings.timeseries.pickling import refuse
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress, by_streams

if TYPE_CHECKING:
    from datetime import timedelta

    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["AsyncStreamSet"]


@tracing.traced
class AsyncStreamSet(Collection[AsyncStream]):
    """Streams in a fixed order, which one call reads or writes together.

    A call is one awaitable and one loop in the core, whatever the number of streams, with up to
    `concurrency_limit` requests in flight. If a stream fails, the requests of the others are
    cancelled and the error names the uuid of the failed one.

    A set has a length, an order and indexes like a list. A UUID or its text as index returns the
    stream with that uuid, and a slice returns a set.
    """

    __module__ = "pingthings.timeseries.async_client"  # where it is documented, and imported from

    def __init__(self, streams: list[AsyncStream] = []) -> None:  # noqa: B006 - documented default, never changed
        """Collects streams of one client.

        Args:
            streams: The streams, in the order of results.
        """
        self._streams = as_list(streams, "streams")
        for stream in self._streams:
            if not isinstance(stream, AsyncStream):
                raise BTRDBTypeError(
                    f"a set of streams contains `AsyncStream`, not `{type(stream).__name__}`"
                )
            if stream._client is not self._streams[0]._client:
                raise BTRDBValueError("the streams of a set must come from the same client")
        self._places = {stream.uuid: place for place, stream in enumerate(self._streams)}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[AsyncStream]:
        return iter(self._streams)

    @overload
    def __getitem__(self, key: int | UUID | str) -> AsyncStream: ...
    @overload
    def __getitem__(self, key: slice) -> AsyncStreamSet: ...
    def __getitem__(self, key: int | slice | UUID | str) -> AsyncStream | AsyncStreamSet:
        if isinstance(key, slice):
            return AsyncStreamSet(self._streams[key])
        if isinstance(key, int):
            return self._streams[key]
        return self._streams[self._place(as_uuid(key))]

    def __contains__(self, item: object) -> bool:
        if isinstance(item, AsyncStream):
            return item.uuid in self._places
        try:
            return isinstance(item, UUID | str) and as_uuid(item) in self._places
        except InvalidUUIDError:
            return False

    def _place(self, uuid: UUID) -> int:
        place = self._places.get(uuid)
        if place is None:
            raise StreamNotInSetError(f"the set has no stream `{uuid}`")
        return place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncStreamSet) and other._streams == self._streams

    def __hash__(self) -> int:
        return hash(tuple(self._streams))

    def __reduce__(self) -> NoReturn:
        refuse(type(self).__name__)

    def __repr__(self) -> str:
        return display.streams_text(type(self).__name__, self._streams)

    def _repr_html_(self) -> str:
        return display.streams_html(self._streams)

    def _traced_core(self) -> pyo3_client.Client:
        return self._streams[0]._client._traced_core()

    @property
    def _uuids(self) -> list[UUID]:
        return [stream.uuid for stream in self._streams]

    def _at(self, versions: Sequence[int | None] | None) -> list[tuple[UUID, int]]:
        given = as_versions(versions, len(self._streams))
        if given is None:
            return [stream._at(None) for stream in self._streams]
        return list(zip(self._uuids, given, strict=True))

    async def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations of every stream.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        if self._streams:
            infos = await self._traced_core().stream_info(self._uuids)
            for stream, info in zip(self._streams, infos, strict=True):
                stream._describe(info)

    async def get_latest_version(self) -> dict[UUID, int]:
        """Returns the version of the last commit of each stream.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        if not self._streams:
            return {}
        versions = await self._traced_core().latest_versions(self._uuids)
        return dict(zip(self._uuids, versions, strict=True))

    async def get_version_at_time(self, realtime: Instant) -> dict[UUID, int]:
        """Returns the version of each stream that was the latest at a wall-clock time.

        Args:
            realtime: The time; one in the future returns the latest versions.

        Raises:
            NotSupportedError: The server does not support this.
            VersionNotAvailable: A stream is younger, or that version was removed.
        """
        time = as_time(realtime, "realtime")
        if not self._streams:
            return {}
        versions = await self._traced_core().versions_at_time(self._uuids, time)
        return dict(zip(self._uuids, versions, strict=True))

    async def changes(
        self,
        from_version_map: Mapping[UuidKey, int],
        to_version_map: Mapping[OtherUuidKey, int],
        resolution: int = 0,
    ) -> dict[UUID, list[dict[str, int]]]:
        """Returns the ranges in which each stream differs between two versions.

        See `AsyncStream.changes`; ranges can be larger than the range that was written.

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
        old: dict[UUID, int] = as_mapping(from_version_map, "from_version_map")
        new: dict[UUID, int] = as_mapping(to_version_map, "to_version_map")
        for uuid in (*old, *new):
            self._place(uuid)
        if old.keys() != new.keys():
            raise BTRDBValueError(
                "`from_version_map` and `to_version_map` must name the same streams"
            )
        at = [(uuid, as_version(old[uuid]), as_version(new[uuid])) for uuid in old]
        exponent = as_exponent(resolution)
        if not at:
            return {}
        found = await self._traced_core().changes(at, exponent)
        return {uuid: as_ranges(ranges) for uuid, ranges in zip(old, found, strict=True)}

    async def pin_versions(self, versions: Mapping[UuidKey, int] | None = None) -> Self:
        """Sets the versions that reads use by default, and returns the set itself.

        Args:
            versions: A version for each stream to pin; other streams read the latest data. None
                pins every stream to its latest version, without points that were not flushed.

        Raises:
            StreamNotInSetError: A uuid is not in the set; also a `KeyError`.
        """
        named: Mapping[UUID, int]
        if versions is None:
            named = await self.get_latest_version()
        else:
            given = as_mapping(versions, "versions")
            named = {uuid: as_version(version) for uuid, version in given.items()}
        for uuid in named:
            self._place(uuid)
        for stream in self._streams:
            stream.pin_version(named.get(stream.uuid))
        return self

    def filter(
        self,
        collection: str | re.Pattern[str] | None = None,
        name: str | re.Pattern[str] | None = None,
        unit: str | re.Pattern[str] | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> AsyncStreamSet:
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
        texts = {"collection": collection, "name": name, "unit": unit}
        for what, condition in texts.items():
            text = condition.pattern if isinstance(condition, re.Pattern) else condition
            if text is not None and not isinstance(text, str):
                raise BTRDBTypeError(
                    f"`{what}` is text or a compiled pattern, not a `{type(condition).__name__}`"
                )
        to_texts(annotations, "annotations")
        pairs = as_filter_map(tags, "tags")
        return AsyncStreamSet(
            [s for s in self._streams if _matches(s, texts, pairs, annotations or {})]
        )

    async def insert(
        self,
        data_map: Mapping[UuidKey, InsertData],
        merge: str = "never",
        *,
        progress: Progress | None = None,
    ) -> dict[UUID, int]:
        """Stores points in several streams; see `AsyncStream.insert`.

        If any point of any stream is invalid, none is sent.

        Args:
            data_map: Points for each stream, in any form of `InsertData`.
            merge: The merge policy: `never`, `equal`, `retain`, `replace`.
            progress: Where to report how many points of all streams are durable; see
                `AsyncStream.insert`.

        Returns:
            The version of the last commit of each stream in `data_map`.

        Raises:
            StreamNotInSetError: A uuid is not in the set; also a `KeyError`.
        """
        data, merge = as_mapping(data_map, "data_map"), as_merge(merge)
        for uuid in data:
            self._place(uuid)
        if not data:
            return {}
        tables = [(uuid, _points_of(uuid, points)) for uuid, points in data.items()]
        versions = await calls.insert(self._traced_core(), tables, merge, progress)
        return dict(zip(data, versions, strict=True))

    async def flush(self) -> None:
        """Commits the points of every stream that are in no numbered version yet.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        if self._streams:
            await self._traced_core().flush(self._uuids)

    async def raw_values(
        self,
        start: Instant,
        end: Instant,
        versions: list[int] | None = None,
        single_stream_schema: pa.Schema | None = RAW_F64_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> list[pa.Table | None]:
        """Returns the points of `[start, end)` of each stream; see `AsyncStream.raw_values`.

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
            >>> [table.num_rows for table in await streams.raw_values(start, end)]
            [10, 10]
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        if not at:
            return []
        core = self._traced_core()
        return _tables(
            await by_streams(
                at,
                core.concurrency_limit,
                progress,
                lambda some: core.raw_values(some, first, last, schema),
            )
        )

    async def joined_values(
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
            >>> table = await streams.joined_values(start, end)
            >>> table.num_rows, table.column_names == ["time", *(str(s.uuid) for s in streams)]
            (10, True)
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        period_ns = None if period is None else as_width_ns(period)
        if not at:
            return RAW_F64_SCHEMA.remove(1).empty_table()
        if len(set(self._uuids)) < len(self._uuids):
            raise BTRDBValueError(
                "the set has a stream twice, which would make two equal columns; remove one"
            )
        return await self._traced_core().joined_values(at, first, last, period_ns)

    async def aligned_windows(  # async only
        self,
        start: Instant,
        end: Instant,
        point_width: int | _PW,
        versions: list[int] | None = None,
        single_stream_schema: pa.Schema | None = STAT_F32_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> list[pa.Table | None]:
        """Returns windows of 2**point_width ns of each stream; see `AsyncStream.aligned_windows`.

        Args:
            start: First instant.
            end: The instant after the last one.
            point_width: The exponent, 0 to 63, or a `PW`.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Where to report how many streams are done: True shows a bar; a function is
                called with this number and the total; a tqdm bar is updated. The call is then made
                in parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in the order of the set; None for one without points there.
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        exponent = as_exponent(point_width)
        if not at:
            return []
        core = self._traced_core()
        return _tables(
            await by_streams(
                at,
                core.concurrency_limit,
                progress,
                lambda some: core.aligned_windows(some, first, last, exponent, schema),
            )
        )

    async def precise_windows(  # async only
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        versions: list[int] | None = None,
        single_stream_schema: pa.Schema | None = STAT_F32_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> list[pa.Table | None]:
        """Returns windows of any length of each stream; see `AsyncStream.precise_windows`.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: nanoseconds, a timedelta or a `PW`.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Where to report how many streams are done: True shows a bar; a function is
                called with this number and the total; a tqdm bar is updated. The call is then made
                in parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in the order of the set; None for one without points there.
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        width_ns = as_width_ns(width)
        if not at:
            return []
        core = self._traced_core()
        return _tables(
            await by_streams(
                at,
                core.concurrency_limit,
                progress,
                lambda some: core.precise_windows(some, first, last, width_ns, schema),
            )
        )

    async def _windowed_values(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        versions: list[int] | None,
        schema: pa.Schema | None,
        progress: Progress | None,
    ) -> list[pa.Table | None]:
        first, last = as_time(start, "start"), as_time(end, "end")
        exponent = aligned_exponent(first, last, width)
        if exponent is None:
            return await self.precise_windows(
                first, last, width, versions, schema, progress=progress
            )
        return await self.aligned_windows(
            first, last, exponent, versions, schema, progress=progress
        )

    async def count(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        versions: list[int] | None = None,
    ) -> dict[UUID, int]:
        """Returns the exact number of points of each stream; see `AsyncStream.count`.

        Args:
            start: First instant; None is `MINIMUM_TIME`.
            end: The instant after the last one; None is `MAXIMUM_TIME`.
            versions: A version for each stream, in the order of the set; None is the pinned
                versions, or else the latest data.

        Examples:
            >>> sum((await streams.count()).values())
            20
        """
        at = self._at(versions)
        if not at:
            return {}
        counts = await calls.counts(self._traced_core(), at, start, end)
        return dict(zip(self._uuids, counts, strict=True))

    async def earliest(self) -> dict[UUID, RawPoint | None]:
        """Returns the first point of each stream, None for an empty one."""
        return await self._nearest(MINIMUM_TIME, backward=False)

    async def latest(self) -> dict[UUID, RawPoint | None]:
        """Returns the last point of each stream, None for an empty one."""
        return await self._nearest(MAXIMUM_TIME, backward=True)

    async def _nearest(self, time: int, *, backward: bool) -> dict[UUID, RawPoint | None]:
        if not self._streams:
            return {}
        points = await self._traced_core().nearest(self._at(None), time, backward)
        found = [None if point is None else RawPoint(*point[:2]) for point in points]
        return dict(zip(self._uuids, found, strict=True))

    async def plot(
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
        """Plots all streams, with a panel for each unit; see `AsyncStream.plot`.

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
            The same as `AsyncStream.plot`.

        Raises:
            BTRDBValueError: The set is empty, or `axes` is given and the streams have several
                units.

        Examples:
            >>> figure = await streams.plot(start, end)
            >>> len(figure.axes)
            1
        """
        return await plot.draw(
            self, start, end, versions, width=width, gap=gap, backend=backend, axes=axes
        )


def _points_of(uuid: UUID, data: InsertData) -> pa.Table:
    try:
        return to_arrow(data)
    except BTrDBError as error:
        error.uuid = uuid
        error.args = (f"stream `{uuid}`: {error}",)
        raise


def _tables(tables: list[pa.Table]) -> list[pa.Table | None]:
    return [table if table.num_rows else None for table in tables]


def _matches(
    stream: AsyncStream,
    texts: Mapping[str, str | re.Pattern[str] | None],
    tags: Mapping[str, str | None],
    annotations: Mapping[str, Any],
) -> bool:
    if stream._tags is None:
        raise InvalidOperation(
            f"the metadata of stream `{stream.uuid}` are unknown; call `refresh_metadata` first"
        )
    for what, condition in texts.items():
        text = getattr(stream, what) or ""
        if isinstance(condition, re.Pattern):
            if not condition.search(text):
                return False
        elif condition is not None and condition.casefold() != text.casefold():
            return False
    kept = stream._texts or {}
    return all(stream._tags.get(key, ...) == value for key, value in tags.items()) and all(
        key in kept and is_kept_as(value, kept[key]) for key, value in annotations.items()
    )
