"""One stream, asked asynchronously."""

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
    """One stream: measured values over time, every version of them, and metadata.

    Two are equal if they have the same uuid. `name`, `unit`, `collection` and `property_version`
    are what was last fetched, without asking the server; `refresh_metadata` fetches them again.
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
        """Describes a stream without asking the server; see `AsyncClient.stream_from_uuid`.

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
        # By its core, since the module of clients imports this one.
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
        """The same stream on another face of the same connection."""
        stream = AsyncStream(client, self._uuid)
        stream.__dict__.update(self.__dict__, _client=client)
        return stream

    @property
    def client(self) -> AsyncClient:  # async only
        """The connection it uses."""
        return self._client

    @property
    def uuid(self) -> UUID:
        """Its identity."""
        return self._uuid

    @property
    def collection(self) -> str | None:
        """Its collection, or None if it has not been fetched."""
        return self._collection

    @property
    def name(self) -> str | None:
        """Its tag `name`, or None if it has not been fetched."""
        return None if self._tags is None else self._tags.get("name")

    @property
    def unit(self) -> str | None:
        """Its tag `unit`, or None if it has not been fetched."""
        return None if self._tags is None else self._tags.get("unit")

    @property
    def property_version(self) -> int:
        """Version of the metadata that were fetched, 0 if they were not."""
        return self._property_version

    @property
    def pinned_version(self) -> int | None:
        """The version that reads use by default, or None for the latest."""
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
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> stream = client.stream_from_uuid(stream.uuid)
            >>> await stream.refresh_metadata()
            >>> stream.collection
            'docs/examples'
        """
        (info,) = await self._client._traced_core().stream_info([self._uuid])
        self._describe(info)

    async def tags(self, refresh: bool = False) -> dict[str, str]:
        """Returns a copy of its tags, fetching them if they are not known.

        Args:
            refresh: Fetch them even so.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        if refresh or self._tags is None:
            await self.refresh_metadata()
        return dict(self._tags or {})

    async def annotations(self, refresh: bool = False) -> dict[str, Any]:
        """Returns a copy of its annotations, fetching them if they are not known.

        The server keeps text. What is exactly the JSON of a number, a truth value, null, a list or
        an object is read as that value, all else as the text that it is. So the text `60` and the
        number 60, which are kept alike, are both read as the number.

        Args:
            refresh: Fetch them even so.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.

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
        """Changes metadata and returns their new version; what is not given stays.

        The change is based on the metadata that were fetched last: if somebody else has changed
        them since, nothing happens and the error says so.

        Args:
            tags: Tags to set: `name`, `unit`, `ingress`, `distiller`.
            annotations: Annotations to set. Text is kept as it is, any other value as its JSON.
            collection: The collection to move to.
            encoder: Writes values that JSON has no form for.
            replace: Whether tags, or annotations, that are not among those given go: tags become
                empty, annotations are removed. Only what is given is replaced.

        Raises:
            AmbiguousStream: Another stream has this collection and these tags.
            BTRDBTypeError: A value is of the wrong type, or JSON has no form for it.
            BTRDBValueError: Nothing is given.
            ConcurrentModification: The metadata have changed since they were fetched.
            StreamNotFoundError: The server knows no stream of this uuid.

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
        """Removes the stream with all its versions. Nothing brings it back.

        Its collection and tags are free at once, its uuid can never be used again.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> other = await client.create(uuid4(), "docs/other")
            >>> await other.obliterate()
        """
        await self._client._traced_core().obliterate(self._uuid)
        self._known_to_exist = False

    async def get_retention(self) -> dict[str, Any]:
        """Returns for how long the stream keeps its points, its collection's word included.

        Returns:
            A dict whose `remove_older_than` is a timedelta; empty if points are kept for ever.

        Raises:
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> await stream.get_retention()
            {}
        """
        _own, effective = await self._client._traced_core().stream_retention(self._uuid)
        self._retention = to_retention(effective)
        return dict(self._retention)

    async def set_retention(self, remove_older_than: timedelta | None = None) -> None:
        """Sets for how long the stream keeps its points.

        Older ones, by their own time against the server's clock, are removed in the background, as
        a new version. Past versions still show them until those versions were replaced as long ago;
        then they are forgotten.

        Args:
            remove_older_than: For how long; None leaves it to the collection.

        Raises:
            BTRDBTypeError: It is no timedelta.
            BTRDBValueError: It is not positive.
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        keep_ns = as_keep_ns(remove_older_than)
        await self._client._traced_core().set_stream_retention(self._uuid, keep_ns)
        self._retention = None

    async def get_latest_version(self) -> int:
        """Returns the version of the last commit.

        Points inserted since are in no numbered version yet: reads of the latest data see them,
        reads at this version do not. `flush` commits them.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        (version,) = await self._client._traced_core().latest_versions([self._uuid])
        return version

    async def get_version_at_time(self, realtime: Instant) -> int:
        """Returns the version that was the latest at an instant of the server's clock.

        Args:
            realtime: The instant, of the wall clock and not of the data; in the future it gives the
                latest version.

        Raises:
            NotSupportedError: The server does not know.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: The stream is younger, or that version was forgotten.

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
        """Returns the ranges of time in which the data differ between two versions.

        Ranges are widened to the blocks of the tree, so they can be larger than what was written,
        and hold points that did not change.

        Args:
            from_version: The earlier version; 0 is before the first one.
            to_version: The later version; 0 is the latest data, buffered points included.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Returns:
            Dicts of `start` and `end`, ascending and apart; `end` is not included.

        Raises:
            BTRDBServerError: `from_version` is after `to_version`.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: There is no such version.

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

        Nothing is fetched before it is asked for, and at most a message of the server is in memory.
        Ending the loop early, or dropping the iterator, ends the call on the server too.

        Args:
            from_version: The earlier version; 0 is before the first one.
            to_version: The later version; 0 is the latest data, buffered points included.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Yields:
            Dicts of `start` and `end`, ascending and apart; `end` is not included.

        Raises:
            VersionNotAvailable: There is no such version.
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

        What is buffered is committed before. Earlier versions still show the points.

        Args:
            start: First instant.
            end: The instant after the last one.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> version = await stream.delete(start, start + 1)
            >>> await stream.count(version=version), await stream.count(version=version - 1)
            (9, 10)
        """
        first, last = as_time(start, "start"), as_time(end, "end")
        return await self._client._traced_core().delete(self._uuid, first, last)

    def pin_version(self, version: int | None) -> None:
        """Makes reads that name no version use this one; None makes them use the latest again.

        Args:
            version: A version of the data, which must have been committed.
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

        Either all points are good, or none is sent. Reads of the latest data see them at once; a
        numbered version holds them after `flush`, or after the server has committed them by itself.
        More than 50,000 points go in several requests, and other readers may see some before the
        rest.

        Args:
            data: Points in any form of `InsertData`: an Arrow table, a frame, numpy arrays, a
                mapping, or pairs. Order does not matter. Numbers of eight bytes are sent from where
                they lie: leave them as they are until the call has ended.
            merge: What happens to a time that has a value: `never` keeps all of them, `equal` drops
                a new point with the same value, `retain` keeps the old value, `replace` the new.
            time: The name of the column or index of a frame that holds the times, where numbers are
                nanoseconds since 1970. None takes timestamps, and numbers that are called `time`.
            progress: Whom to tell how many points are durable, after each request: True shows a
                bar; a function gets that number and the number of all; a bar of tqdm is moved. If
                the function raises, nothing further is sent, and a note on what it raised says how
                many points are stored.

        Returns:
            The version of the last commit, which is that before the insert unless the server
            committed on the way.

        Raises:
            BadValue: A value is null, NaN or infinite.
            BTRDBTypeError: The data have none of these forms.
            BTRDBValueError: There is no such merge policy.
            InvalidTimeRange: A time lies outside the instants a stream can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

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
            StreamNotFoundError: The server knows no stream of this uuid.
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
            version: Version to read; None is the pinned one, or else the latest.
            schema: Schema of the result, matched by position; None is `RAW_F64_SCHEMA`. The time
                may also be int64, the value float32.
            progress: Whom to tell how many points have arrived: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. It costs a count.

        Returns:
            A table of the schema; without rows if there is no point.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: There is no such version.

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

        Nothing is fetched before it is asked for, and at most a message of the server is in memory.
        Ending the loop early, or dropping the iterator, ends the call on the server too.

        Args:
            start: First instant.
            end: The instant after the last one.
            version: Version to read; None is the pinned one, or else the latest.
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

        The cost depends on the number of windows, not of points. Both `start` and `end` are lowered
        to a multiple of the width, so the first window may begin before `start`, and the window
        that holds an unaligned `end` is left out, unless that is `MAXIMUM_TIME`, which cuts no
        window. Windows without points are left out.

        Args:
            start: First instant.
            end: The instant after the last one.
            point_width: The exponent, 0 to 63, or a `PW`.
            version: Version to read; None is the pinned one, or else the latest.
            schema: Schema of the result: all six columns matched by position, or some by name;
                None is `STAT_F64_SCHEMA`.

        Returns:
            A table with the columns `time` (start of the window), `min`, `mean`, `max`, `count`,
            `stddev` (of the population).

        Raises:
            InvalidPointWidth: The exponent is out of bounds.
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: There is no such version.

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
        """Returns statistics in windows of any length, the first beginning exactly at `start`.

        A last window that would reach beyond `end` is left out, and so are windows without points.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: nanoseconds, a timedelta or a `PW`.
            version: Version to read; None is the pinned one, or else the latest.
            schema: Schema of the result: all six columns matched by position, or some by name;
                None is `STAT_F64_SCHEMA`.

        Returns:
            A table with the columns `time` (start of the window), `min`, `mean`, `max`, `count`,
            `stddev` (of the population).

        Raises:
            InvalidPointWidth: The width is not positive.
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: There is no such version.

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

        Both `start` and `end` are lowered to a multiple of the width, so the first window may begin
        before `start`, and the window that holds an unaligned `end` is left out. Windows without
        points are left out.

        Nothing is fetched before it is asked for, and at most a message of the server is in memory.
        Ending the loop early, or dropping the iterator, ends the call on the server too.

        Args:
            start: First instant.
            end: The instant after the last one.
            point_width: The exponent, 0 to 63, or a `PW`.
            version: Version to read; None is the pinned one, or else the latest.
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
        """Yields windows of any length as they arrive, the first beginning exactly at `start`.

        A last window that would reach beyond `end` is left out, and so are windows without points.

        Nothing is fetched before it is asked for, and at most a message of the server is in memory.
        Ending the loop early, or dropping the iterator, ends the call on the server too.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: nanoseconds, a timedelta or a `PW`.
            version: Version to read; None is the pinned one, or else the latest.
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
        """Aligned windows for a `PW` and where they are the same, precise ones otherwise."""
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
            start: First instant; None counts from the beginning of time.
            end: The instant after the last one; None counts to the end of time.
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

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
            time: The instant; looking forward it is included, looking backward it is not.
            version: Version to read; None is the pinned one, or else the latest.
            backward: Look backward.

        Returns:
            The point, or None if there is none on that side.

        Raises:
            InvalidTimeRange: The time lies outside the instants a stream can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

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
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        return await self.nearest(MINIMUM_TIME, version)

    async def latest(self, version: int | None = None) -> RawPoint | None:
        """Returns the last point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
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
        """Returns a picture of a range, for which no more is fetched than it can show.

        Where points are dense, that is the minimum, mean and maximum of aligned windows no wider
        than a pixel; where they are few, the points. Where there are none for a time, the line is
        interrupted. Times are UTC.

        Args:
            start: First instant; None begins at the first point.
            end: The instant after the last one; None ends after the last point.
            version: Version to show; None is the pinned one, or else the latest.
            width: Of the picture, in pixels; None is 1,000, or that of the axes.
            gap: The longest time between points that is no gap, in nanoseconds or as a timedelta.
                None goes by the points: four times what is usual between them is one.
            backend: `matplotlib`, or `plotly` for a widget of a notebook that fetches the next
                level when it is zoomed or moved.
            axes: Axes of matplotlib to draw into; None makes a figure.

        Returns:
            A `matplotlib.figure.Figure`, which notebooks show and `savefig` writes, or the axes; or
            a `plotly.graph_objects.FigureWidget`.

        Raises:
            BTRDBValueError: There is no such backend, or the width is no number of pixels that a
                picture can have.
            InvalidTimeRange: `start` is not before `end`, or is not given and there are no points.
            MissingExtraError: The package of the backend is not installed.
            StreamNotFoundError: The server knows no stream of this uuid.

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
