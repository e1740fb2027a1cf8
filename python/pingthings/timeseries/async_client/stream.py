"""The asynchronous stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from uuid import UUID

import pyarrow as pa

from pingthings.timeseries import display, plot, pyo3_client, tracing
from pingthings.timeseries.annotations import from_texts, to_texts
from pingthings.timeseries.arguments import (
    aligned_exponent,
    as_exponent,
    as_merge,
    as_ranges,
    as_schema,
    as_text,
    as_text_map,
    as_time,
    as_uuid,
    as_version,
    as_width_ns,
)
from pingthings.timeseries.async_client import calls
from pingthings.timeseries.constants import (
    MAXIMUM_TIME,
    MINIMUM_TIME,
    RAW_F64_SCHEMA,
    STAT_F32_SCHEMA,
)
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
)
from pingthings.timeseries.insert_data import InsertData, to_arrow
from pingthings.timeseries.pickling import refuse
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress, by_points
from pingthings.timeseries.retention import as_keep_ns
from pingthings.timeseries.retention import to_dict as to_retention

if TYPE_CHECKING:
    from datetime import timedelta

    from pingthings.timeseries.async_client.client import AsyncClient
    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["AsyncStream"]


@tracing.traced
class AsyncStream:
    """A stream: measured values over time, in all versions, and metadata.

    Two streams are equal if they have the same uuid. `name`, `unit`, `collection` and
    `property_version` return what was fetched last and make no request; `refresh_metadata` fetches
    them again.
    """

    __module__ = "pingthings.timeseries.async_client"  # where it is documented, and imported from

    def __init__(
        self,
        client: AsyncClient,
        uuid: UUID,
        known_to_exist: bool = False,
        collection: str | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        property_version: int = 0,
        retention: dict[str, Any] | None = None,
    ) -> None:
        """Creates the object without a request; see `AsyncClient.stream_from_uuid`.

        Args:
            client: The connection to use.
            uuid: Identity of the stream.
            known_to_exist: Whether the server has confirmed that it exists.
            collection: Its collection, if known.
            tags: Its tags, if known.
            annotations: Its annotations, if known.
            property_version: Version of these metadata.
            retention: Its retention policy, if known.
        """
        # Checks the core, because the module of the client imports this one.
        if not isinstance(getattr(client, "_core", None), pyo3_client.Client):
            raise BTRDBTypeError(f"a stream needs a client, not a `{type(client).__name__}`")
        self._client = client
        self._uuid = as_uuid(uuid)
        self._known_to_exist = known_to_exist
        self._collection = collection
        self._tags = None if tags is None else dict(tags)
        self._texts: dict[str, str | None] | None = (
            None if annotations is None else to_texts(annotations, "annotations")
        )
        self._property_version = property_version
        self._retention = retention
        self._pinned: int | None = None

    @classmethod
    def _from_info(cls, client: AsyncClient, info: pyo3_client.StreamInfo) -> AsyncStream:
        stream = cls(client, info.uuid)
        stream._describe(info)
        return stream

    def _describe(self, info: pyo3_client.StreamInfo) -> None:
        self._known_to_exist = True
        self._collection = info.collection
        self._tags = dict(info.tags)
        self._texts = dict(info.annotations)
        self._property_version = info.property_version

    def _over(self, client: AsyncClient) -> AsyncStream:
        """Returns the same stream over another interface of the same connection."""
        stream = AsyncStream(client, self._uuid)
        stream.__dict__.update(self.__dict__, _client=client)
        return stream

    @property
    def client(self) -> AsyncClient:  # async only
        """The client of the stream."""
        return self._client

    @property
    def uuid(self) -> UUID:
        """The identity of the stream."""
        return self._uuid

    @property
    def collection(self) -> str | None:
        """The collection of the stream, or None if it has not been fetched."""
        return self._collection

    @property
    def name(self) -> str | None:
        """The tag `name`, or None if it has not been fetched."""
        return None if self._tags is None else self._tags.get("name")

    @property
    def unit(self) -> str | None:
        """The tag `unit`, or None if it has not been fetched."""
        return None if self._tags is None else self._tags.get("unit")

    @property
    def property_version(self) -> int:
        """The version of the fetched metadata, 0 if they have not been fetched."""
        return self._property_version

    @property
    def pinned_version(self) -> int | None:
        """The version that reads use by default, or None for the latest data."""
        return self._pinned

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncStream) and other._uuid == self._uuid

    def __hash__(self) -> int:
        return hash(self._uuid)

    def __reduce__(self) -> NoReturn:
        refuse(type(self).__name__)

    def __repr__(self) -> str:
        return display.stream_text(self)

    def _repr_html_(self) -> str:
        return display.streams_html([self])

    async def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations again.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> stream = client.stream_from_uuid(stream.uuid)
            >>> await stream.refresh_metadata()
            >>> stream.collection
            'docs/examples'
        """
        (info,) = await self._client._traced_core().stream_info([self._uuid])
        self._describe(info)

    async def tags(self, refresh: bool = False) -> dict[str, str]:
        """Returns a copy of the tags, and fetches them first if necessary.

        Args:
            refresh: Whether to fetch them in any case.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        if refresh or self._tags is None:
            await self.refresh_metadata()
        return dict(self._tags or {})

    async def annotations(self, refresh: bool = False) -> dict[str, Any]:
        """Returns a copy of the annotations, and fetches them first if necessary.

        The server stores text. Text that is exactly the JSON of a number, a boolean, null, a list
        or an object is read as that value, other text unchanged. The text `60` and the number 60
        are therefore stored alike and both read as the number.

        Args:
            refresh: Whether to fetch them in any case.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.update(annotations={"kv": "60", "bay": "7b"})
            2
            >>> await stream.annotations()
            {'bay': '7b', 'kv': 60}
        """
        if refresh or self._texts is None:
            await self.refresh_metadata()
        return from_texts(self._texts or {})

    async def update(
        self,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        collection: str | None = None,
        encoder: type[json.JSONEncoder] | None = None,
        replace: bool = False,
    ) -> int:
        """Changes metadata and returns their new version. Other metadata stay unchanged.

        The change is based on the metadata that were fetched last: if they have changed since, the
        call changes nothing and raises `ConcurrentModification`.

        Args:
            tags: Tags to set: `name`, `unit`, `ingress`, `distiller`.
            annotations: Annotations to set. Text is stored unchanged, any other value as its JSON.
            collection: The collection to move to.
            encoder: Encodes values that JSON cannot represent.
            replace: Whether to clear other tags (if `tags` is given) and to remove other
                annotations (if `annotations` is given).

        Raises:
            AmbiguousStream: Another stream has the same collection and tags.
            BTRDBTypeError: A value has the wrong type, or JSON cannot represent it.
            BTRDBValueError: No change is given.
            ConcurrentModification: The metadata have changed since they were fetched.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.update(annotations={"phase": "A", "rate": 10})
            2
            >>> await stream.annotations()
            {'phase': 'A', 'rate': 10}
        """
        if tags is None and annotations is None and collection is None:
            raise BTRDBValueError("nothing to update: give tags, annotations or a collection")
        new_tags = as_text_map(tags, "tags")
        texts = to_texts(annotations, "annotations", encoder)
        removed: list[str] = []
        if replace:
            if self._tags is None or self._texts is None:
                await self.refresh_metadata()
            if tags is not None:
                new_tags = {**dict.fromkeys(self._tags or {}, ""), **new_tags}
            if annotations is not None:
                removed = [key for key in self._texts or {} if key not in texts]
        info = await self._client._traced_core().update(
            self._uuid,
            self._property_version,
            collection=None if collection is None else as_text(collection, "collection"),
            tags=new_tags,
            annotations=texts,
            removed=removed,
        )
        self._describe(info)
        return self._property_version

    async def obliterate(self) -> None:
        """Removes the stream with all its versions. This cannot be undone.

        Its collection and tags can be used again at once, its uuid never.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> other = await client.create(uuid4(), "docs/other")
            >>> await other.obliterate()
        """
        await self._client._traced_core().obliterate(self._uuid)
        self._known_to_exist = False

    async def get_retention(self) -> dict[str, Any]:
        """Returns the retention period of the stream, which may be set for its collection.

        Returns:
            A dict whose `remove_older_than` is a timedelta; empty if points are kept for ever.

        Raises:
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.get_retention()
            {}
        """
        _own, effective = await self._client._traced_core().stream_retention(self._uuid)
        self._retention = to_retention(effective)
        return dict(self._retention)

    async def set_retention(self, remove_older_than: timedelta | None = None) -> None:
        """Sets the retention period of the stream.

        The server compares the times of points with its clock and removes older points in the
        background, in a new version. Earlier versions still contain them, until those versions were
        superseded for longer than the period; then the server removes them.

        Args:
            remove_older_than: The period; None uses that of the collection.

        Raises:
            BTRDBTypeError: `remove_older_than` is not a timedelta.
            BTRDBValueError: `remove_older_than` is not positive.
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The stream does not exist.
        """
        keep_ns = as_keep_ns(remove_older_than)
        await self._client._traced_core().set_stream_retention(self._uuid, keep_ns)
        self._retention = None

    async def get_latest_version(self) -> int:
        """Returns the version of the last commit.

        Points inserted since are in no numbered version yet: reads of the latest data include them,
        reads of this version do not. `flush` commits them.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        (version,) = await self._client._traced_core().latest_versions([self._uuid])
        return version

    async def get_version_at_time(self, realtime: Instant) -> int:
        """Returns the version that was the latest at a time of the server's clock.

        Args:
            realtime: The wall-clock time, not a time of the data; a time in the future returns the
                latest version.

        Raises:
            NotSupportedError: The server does not support this.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The stream is younger, or that version was removed.

        Examples:
            >>> await stream.get_version_at_time(datetime.now(UTC)) >= 10
            True
        """
        (version,) = await self._client._traced_core().versions_at_time(
            [self._uuid], as_time(realtime, "realtime")
        )
        return version

    async def changes(
        self, from_version: int, to_version: int, resolution: int = 0
    ) -> list[dict[str, int]]:
        """Returns the time ranges in which two versions differ.

        Ranges are rounded out to the blocks of the tree, so they can be larger than the range that
        was written, and contain unchanged points.

        Args:
            from_version: The earlier version; 0 is before the first one.
            to_version: The later version; 0 is the latest data, including buffered points.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Returns:
            Dicts of `start` and `end`, ascending and disjoint; `end` is exclusive.

        Raises:
            BTRDBServerError: `from_version` is after `to_version`.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The version does not exist.

        Examples:
            >>> before = await stream.get_latest_version()
            >>> await stream.insert([(start + 5, 1.0)])
            11
            >>> (change,) = await stream.changes(before, 0)
            >>> change["start"] <= start + 5 < change["end"]
            True
        """
        at = (self._uuid, as_version(from_version), as_version(to_version))
        (ranges,) = await self._client._traced_core().changes([at], as_exponent(resolution))
        return as_ranges(ranges)

    async def changes_iter(
        self, from_version: int, to_version: int, resolution: int = 0
    ) -> AsyncIterator[dict[str, int]]:
        """Yields the ranges of `changes` as they arrive.

        Data are fetched on demand, and at most one message of the server is in memory. Leaving the
        loop early, or dropping the iterator, also ends the call on the server.

        Args:
            from_version: The earlier version; 0 is before the first one.
            to_version: The later version; 0 is the latest data, including buffered points.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Yields:
            Dicts of `start` and `end`, ascending and disjoint; `end` is exclusive.

        Raises:
            VersionNotAvailable: The version does not exist.
        """
        at = (self._uuid, as_version(from_version), as_version(to_version))
        changes = await self._client._traced_core().changes_iter(at, as_exponent(resolution))
        try:
            while (ranges := await changes.next()) is not None:
                for change in as_ranges(ranges):
                    yield change
        finally:
            changes.close()

    async def delete(self, start: Instant, end: Instant) -> int:
        """Removes the points of `[start, end)` in a new version, and returns that version.

        Buffered points are committed first. Earlier versions still contain the points.

        Args:
            start: First instant.
            end: The instant after the last one.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> version = await stream.delete(start, start + 1)
            >>> await stream.count(version=version), await stream.count(version=version - 1)
            (9, 10)
        """
        first, last = as_time(start, "start"), as_time(end, "end")
        return await self._client._traced_core().delete(self._uuid, first, last)

    def pin_version(self, version: int | None) -> None:
        """Sets the version that reads use by default; None resets it to the latest data.

        Args:
            version: A committed version of the data.
        """
        self._pinned = None if version is None else as_version(version) or None

    def _at(self, version: int | None) -> tuple[UUID, int]:
        return self._uuid, as_version(self._pinned if version is None else version)

    async def insert(
        self,
        data: InsertData,
        merge: str = "never",
        *,
        time: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Stores points, and returns when they are durable.

        If any point is invalid, none is sent. Reads of the latest data see the points at once; a
        numbered version contains them after `flush`, or after the server has committed them. More
        than 50,000 points are sent in several requests, and other readers may see some of them
        before the rest.

        Args:
            data: Points in any form of `InsertData`: an Arrow table, a frame, numpy arrays, a
                mapping, or pairs, in any order. Columns of 8-byte numbers are sent without a copy:
                do not change them until the call has ended or was cancelled.
            merge: What to do with a point whose time exists: `never` keeps all points, `equal`
                drops a new point with the same value, `retain` keeps the old value, `replace` the
                new one.
            time: The name of a frame's column or index with the times; integers in it are
                nanoseconds since 1970. None uses timestamps, or integers named `time`.
            progress: Where to report how many points are durable, after each request: True shows a
                bar; a function is called with this number and the total; a tqdm bar is updated. If
                the function raises, nothing further is sent, and a note on the exception says how
                many points are stored.

        Returns:
            The version of the last commit, which is the one before the insert unless the server
            committed during it.

        Raises:
            BadValue: A value is null, NaN or infinite.
            BTRDBTypeError: The data have none of these forms.
            BTRDBValueError: The merge policy does not exist.
            InvalidTimeRange: A time is outside the range of a stream.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.insert([("2024-01-01T00:00:00Z", 1.0), ("2024-01-01T00:00:01Z", 2.0)])
            11
        """
        merge = as_merge(merge)
        tables = [(self._uuid, to_arrow(data, time))]
        (version,) = await calls.insert(self._client._traced_core(), tables, merge, progress)
        return version

    async def flush(self) -> None:
        """Commits the points that are in no numbered version yet.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        await self._client._traced_core().flush([self._uuid])

    async def raw_values(
        self,
        start: Instant,
        end: Instant,
        version: int | None = None,
        schema: pa.Schema | None = RAW_F64_SCHEMA,
        *,
        progress: Progress | None = None,
    ) -> pa.Table:
        """Returns the points of `[start, end)`, ascending by time.

        Args:
            start: First instant.
            end: The instant after the last one.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the result, matched by position; None is `RAW_F64_SCHEMA`. The time
                may also be int64, the value float32.
            progress: Where to report how many points have arrived: True shows a bar; a function is
                called with this number and the total; a tqdm bar is updated. It needs an additional
                count.

        Returns:
            A table with this schema; without rows if there is no point.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The version does not exist.

        Examples:
            >>> table = await stream.raw_values(start, end)
            >>> table.column_names, table.num_rows
            (['time', 'value'], 10)
        """
        if progress is not None and progress is not False:
            total = await self.count(start, end, version)
            tables = self.raw_values_iter(start, end, version, schema)
            if found := await by_points(tables, total, progress):
                return pa.concat_tables(found)
        (table,) = await self._client._traced_core().raw_values(
            [self._at(version)], as_time(start, "start"), as_time(end, "end"), as_schema(schema)
        )
        return table

    async def raw_values_iter(
        self,
        start: Instant,
        end: Instant,
        version: int | None = None,
        schema: pa.Schema | None = RAW_F64_SCHEMA,
    ) -> AsyncIterator[pa.Table]:
        """Yields the points of `[start, end)` as they arrive; see `raw_values`.

        Data are fetched on demand, and at most one message of the server is in memory. Leaving the
        loop early, or dropping the iterator, also ends the call on the server.

        Args:
            start: First instant.
            end: The instant after the last one.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the tables; None is `RAW_F64_SCHEMA`.

        Yields:
            Tables with at least one row, ascending by time.

        Examples:
            >>> async for table in stream.raw_values_iter(start, end):
            ...     print(table.num_rows)
            10
        """
        tables = await self._client._traced_core().raw_values_iter(
            self._at(version), as_time(start, "start"), as_time(end, "end"), as_schema(schema)
        )
        try:
            while (table := await tables.next()) is not None:
                yield table
        finally:
            tables.close()

    async def aligned_windows(  # async only
        self,
        start: Instant,
        end: Instant,
        point_width: int | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> pa.Table:
        """Returns statistics in windows of 2**point_width ns, aligned to multiples of it.

        The cost depends on the number of windows, not of points. Both `start` and `end` are rounded
        down to a multiple of the width, so the first window may begin before `start`. The window
        that contains an unaligned `end` is left out, unless `end` is `MAXIMUM_TIME`. Windows
        without points are left out.

        Args:
            start: First instant.
            end: The instant after the last one.
            point_width: The exponent, 0 to 63, or a `PW`.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the result: all six columns matched by position, or some by name;
                None is `STAT_F64_SCHEMA`.

        Returns:
            A table with the columns `time` (start of the window), `min`, `mean`, `max`, `count`,
            `stddev` (of the population).

        Raises:
            InvalidPointWidth: The exponent is out of bounds.
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The version does not exist.

        Examples:
            >>> windows = await stream.aligned_windows(start, end, 28)
            >>> windows["mean"].to_pylist()
            [1.0, 3.0, 6.0, 8.5]
        """
        (table,) = await self._client._traced_core().aligned_windows(
            [self._at(version)],
            as_time(start, "start"),
            as_time(end, "end"),
            as_exponent(point_width),
            as_schema(schema),
        )
        return table

    async def precise_windows(  # async only
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> pa.Table:
        """Returns statistics in windows of any length; the first begins exactly at `start`.

        A window that would extend beyond `end` is left out, and so are windows without points.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: nanoseconds, a timedelta or a `PW`.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the result: all six columns matched by position, or some by name;
                None is `STAT_F64_SCHEMA`.

        Returns:
            A table with the columns `time` (start of the window), `min`, `mean`, `max`, `count`,
            `stddev` (of the population).

        Raises:
            InvalidPointWidth: The width is not positive.
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The version does not exist.

        Examples:
            >>> windows = await stream.precise_windows(start, end, timedelta(milliseconds=300))
            >>> windows["count"].to_pylist()
            [3, 3, 3]
        """
        (table,) = await self._client._traced_core().precise_windows(
            [self._at(version)],
            as_time(start, "start"),
            as_time(end, "end"),
            as_width_ns(width),
            as_schema(schema),
        )
        return table

    async def aligned_windows_iter(
        self,
        start: Instant,
        end: Instant,
        point_width: int | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> AsyncIterator[pa.Table]:
        """Yields windows of 2**point_width ns as they arrive.

        Both `start` and `end` are rounded down to a multiple of the width, so the first window may
        begin before `start`, and the window that contains an unaligned `end` is left out. Windows
        without points are left out.

        Data are fetched on demand, and at most one message of the server is in memory. Leaving the
        loop early, or dropping the iterator, also ends the call on the server.

        Args:
            start: First instant.
            end: The instant after the last one.
            point_width: The exponent, 0 to 63, or a `PW`.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the tables; None is `STAT_F64_SCHEMA`.

        Yields:
            Tables with at least one row and the columns `time` (start of the window), `min`,
            `mean`, `max`, `count`, `stddev` (of the population).
        """
        tables = await self._client._traced_core().aligned_windows_iter(
            self._at(version),
            as_time(start, "start"),
            as_time(end, "end"),
            as_exponent(point_width),
            as_schema(schema),
        )
        try:
            while (table := await tables.next()) is not None:
                yield table
        finally:
            tables.close()

    async def precise_windows_iter(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> AsyncIterator[pa.Table]:
        """Yields windows of any length as they arrive; the first begins exactly at `start`.

        A window that would extend beyond `end` is left out, and so are windows without points.

        Data are fetched on demand, and at most one message of the server is in memory. Leaving the
        loop early, or dropping the iterator, also ends the call on the server.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: nanoseconds, a timedelta or a `PW`.
            version: Version to read; None is the pinned version, or else the latest data.
            schema: Schema of the tables; None is `STAT_F64_SCHEMA`.

        Yields:
            Tables with at least one row and the columns `time` (start of the window), `min`,
            `mean`, `max`, `count`, `stddev` (of the population).
        """
        tables = await self._client._traced_core().precise_windows_iter(
            self._at(version),
            as_time(start, "start"),
            as_time(end, "end"),
            as_width_ns(width),
            as_schema(schema),
        )
        try:
            while (table := await tables.next()) is not None:
                yield table
        finally:
            tables.close()

    async def _windowed_values(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        version: int | None,
        schema: pa.Schema | None,
    ) -> pa.Table:
        """Returns aligned windows for a `PW` and where they are equal, precise ones otherwise."""
        first, last = as_time(start, "start"), as_time(end, "end")
        exponent = aligned_exponent(first, last, width)
        if exponent is None:
            return await self.precise_windows(first, last, width, version, schema)
        return await self.aligned_windows(first, last, exponent, version, schema)

    async def count(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        version: int | None = None,
    ) -> int:
        """Returns the exact number of points.

        Args:
            start: First instant; None is `MINIMUM_TIME`.
            end: The instant after the last one; None is `MAXIMUM_TIME`.
            version: Version to read; None is the pinned version, or else the latest data.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one of them is outside the range of
                a stream.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.count(), await stream.count(start, start + 1)
            (10, 1)
        """
        (count,) = await calls.counts(self._client._traced_core(), [self._at(version)], start, end)
        return count

    async def nearest(
        self, time: Instant, version: int | None = None, backward: bool = False
    ) -> RawPoint | None:
        """Returns the first point at or after a time, or the last one before it.

        Args:
            time: The time; included when searching forward, excluded when searching backward.
            version: Version to read; None is the pinned version, or else the latest data.
            backward: Whether to search backward.

        Returns:
            The point, or None if there is none in that direction.

        Raises:
            InvalidTimeRange: The time is outside the range of a stream.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> await stream.nearest(start + 1)
            RawPoint(2017-07-14T02:40:00.100000000Z, 2.0)
        """
        (point,) = await self._client._traced_core().nearest(
            [self._at(version)], as_time(time, "time"), bool(backward)
        )
        return None if point is None else RawPoint(*point[:2])

    async def earliest(self, version: int | None = None) -> RawPoint | None:
        """Returns the first point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned version, or else the latest data.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return await self.nearest(MINIMUM_TIME, version)

    async def latest(self, version: int | None = None) -> RawPoint | None:
        """Returns the last point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned version, or else the latest data.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return await self.nearest(MAXIMUM_TIME, version, backward=True)

    async def plot(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        version: int | None = None,
        *,
        width: int | None = None,
        gap: int | timedelta | None = None,
        backend: Literal["matplotlib", "plotly"] = "matplotlib",
        axes: Any = None,
    ) -> Any:
        """Plots a range at the resolution of the picture, and fetches only what it can show.

        If points are dense, these are the minimum, mean and maximum of aligned windows no wider
        than a pixel; if they are few, the points. The line is interrupted at gaps. Times are UTC.

        Args:
            start: First instant; None starts at the first point.
            end: The instant after the last one; None ends after the last point.
            version: Version to plot; None is the pinned version, or else the latest data.
            width: Width of the picture in pixels; None is 1,000, or the width of the axes.
            gap: The longest time between points that is not a gap, in nanoseconds or as a
                timedelta. None is four times the usual distance of points.
            backend: `matplotlib`, or `plotly` for a notebook widget that fetches finer data when
                the user zooms or pans.
            axes: matplotlib axes to plot into; None creates a figure.

        Returns:
            A `matplotlib.figure.Figure`, which notebooks display and `savefig` writes, or the axes;
            or a `plotly.graph_objects.FigureWidget`.

        Raises:
            BTRDBValueError: The backend does not exist, or the width is out of bounds.
            InvalidTimeRange: `start` is not before `end`, or is not given and there are no points.
            MissingExtraError: The package of the backend is not installed.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> figure = await stream.plot(start, end)
            >>> figure.axes[0].get_ylabel()
            'volts'
        """
        versions = None if version is None else [version]
        return await plot.draw(
            self._client._set_of([self]),
            start,
            end,
            versions,
            width=width,
            gap=gap,
            backend=backend,
            axes=axes,
        )
