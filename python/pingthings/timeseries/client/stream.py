"""The synchronous stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pingthings.timeseries import display
from pingthings.timeseries.async_client import AsyncClient, AsyncStream
from pingthings.timeseries.constants import RAW_F64_SCHEMA, STAT_F32_SCHEMA
from pingthings.timeseries.exceptions import BTRDBTypeError
from pingthings.timeseries.insert_data import InsertData
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa

    from pingthings.timeseries.client.client import Client
    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["Stream"]


class Stream:
    """A stream: measured values over time, in all versions, and metadata.

    Two streams are equal if they have the same uuid. `name`, `unit` and `collection` are fetched
    when they are first used.
    """

    __module__ = "pingthings.timeseries.client"  # where it is documented, and imported from

    def __init__(
        self,
        conn: Client,
        stream: AsyncStream | None = None,
        uuid: UUID | None = None,
        known_to_exist: bool = False,
        collection: str | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        property_version: int = 0,
    ) -> None:
        """Creates the object without a request; see `Client.stream_from_uuid`.

        Args:
            conn: The connection to use.
            stream: An asynchronous stream to wrap; without it, `uuid` is required.
            uuid: Identity of the stream.
            known_to_exist: Whether the server has confirmed that it exists.
            collection: Its collection, if known.
            tags: Its tags, if known.
            annotations: Its annotations, if known.
            property_version: Version of these metadata.
        """
        # Checks the wrapped client, because the module of the client imports this one.
        if not isinstance(getattr(conn, "_async_client", None), AsyncClient):
            raise BTRDBTypeError(f"a stream needs a client, not a `{type(conn).__name__}`")
        if not isinstance(stream, AsyncStream | None):
            raise BTRDBTypeError(f"`stream` is an `AsyncStream`, not a `{type(stream).__name__}`")
        self._conn = conn
        self._loop = conn._loop
        if stream is not None:
            self._stream = stream._over(conn._client)
        elif uuid is not None:
            self._stream = AsyncStream(
                conn._client, uuid, known_to_exist, collection, tags, annotations, property_version
            )
        else:
            raise BTRDBTypeError("a stream needs `stream` or `uuid`")

    @property
    def conn(self) -> Client:
        """The client of the stream."""
        return self._conn

    @property
    def collection(self) -> str | None:
        """The collection of the stream, fetched when it is first used."""
        self._fetch_once()
        return self._stream.collection

    @property
    def name(self) -> str | None:
        """The tag `name`, fetched when it is first used."""
        self._fetch_once()
        return self._stream.name

    @property
    def unit(self) -> str | None:
        """The tag `unit`, fetched when it is first used."""
        self._fetch_once()
        return self._stream.unit

    def _fetch_once(self) -> None:
        if self._stream.collection is None:
            self.refresh_metadata()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other._stream == self._stream

    def __hash__(self) -> int:
        return hash(self._stream)

    def __reduce__(self) -> tuple[Any, ...]:
        known = {key: value for key, value in vars(self._stream).items() if key != "_client"}
        return Stream._restored, (self._conn, self.uuid, known)

    # A bound method is pickled with its class, whose module stays what it is.
    @classmethod
    def _restored(cls, conn: Client, uuid: UUID, known: dict[str, Any]) -> Stream:
        """Returns a stream from a pickle, with its metadata and pinned version."""
        stream = cls(conn, uuid=uuid)
        vars(stream._stream).update(known)
        return stream

    def __repr__(self) -> str:
        return display.stream_text(self._stream).replace("AsyncStream", type(self).__name__, 1)

    def _repr_html_(self) -> str:
        return display.streams_html([self._stream])

    def windowed_values(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> pa.Table:
        """Returns statistics in windows of equal length; windows without points are left out.

        A `PW` requests windows aligned to multiples of it, whose cost depends only on the number of
        windows: both `start` and `end` are rounded down to a multiple, so the first window may
        begin before `start`, and the window that contains an unaligned `end` is left out. Any other
        width requests windows of exactly that length; the first begins at `start`, and a window
        that would extend beyond `end` is left out.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: a `PW`, nanoseconds, or a timedelta.
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
            >>> stream.windowed_values(start, end, PW[28])["mean"].to_pylist()
            [1.0, 3.0, 6.0, 8.5]
            >>> stream.windowed_values(start, end, 300_000_000)["mean"].to_pylist()
            [2.0, 5.0, 8.0]
        """
        return self._loop.run(self._stream._windowed_values(start, end, width, version, schema))

    # <mirrored from AsyncStream as _stream>

    @property
    def uuid(self) -> UUID:
        """The identity of the stream."""
        return self._stream.uuid

    @property
    def property_version(self) -> int:
        """The version of the fetched metadata, 0 if they have not been fetched."""
        return self._stream.property_version

    @property
    def pinned_version(self) -> int | None:
        """The version that reads use by default, or None for the latest data."""
        return self._stream.pinned_version

    def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations again.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> stream = client.stream_from_uuid(stream.uuid)
            >>> stream.refresh_metadata()
            >>> stream.collection
            'docs/examples'
        """
        self._loop.run(self._stream.refresh_metadata())

    def tags(self, refresh: bool = False) -> dict[str, str]:
        """Returns a copy of the tags, and fetches them first if necessary.

        Args:
            refresh: Whether to fetch them in any case.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return self._loop.run(self._stream.tags(refresh))

    def annotations(self, refresh: bool = False) -> dict[str, Any]:
        """Returns a copy of the annotations, and fetches them first if necessary.

        The server stores text. Text that is exactly the JSON of a number, a boolean, null, a list
        or an object is read as that value, other text unchanged. The text `60` and the number 60
        are therefore stored alike and both read as the number.

        Args:
            refresh: Whether to fetch them in any case.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> stream.update(annotations={"kv": "60", "bay": "7b"})
            2
            >>> stream.annotations()
            {'bay': '7b', 'kv': 60}
        """
        return self._loop.run(self._stream.annotations(refresh))

    def update(
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
            >>> stream.update(annotations={"phase": "A", "rate": 10})
            2
            >>> stream.annotations()
            {'phase': 'A', 'rate': 10}
        """
        return self._loop.run(self._stream.update(tags, annotations, collection, encoder, replace))

    def obliterate(self) -> None:
        """Removes the stream with all its versions. This cannot be undone.

        Its collection and tags can be used again at once, its uuid never.

        Raises:
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> other = client.create(uuid4(), "docs/other")
            >>> other.obliterate()
        """
        self._loop.run(self._stream.obliterate())

    def get_retention(self) -> dict[str, Any]:
        """Returns the retention period of the stream, which may be set for its collection.

        Returns:
            A dict whose `remove_older_than` is a timedelta; empty if points are kept for ever.

        Raises:
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The stream does not exist.

        Examples:
            >>> stream.get_retention()
            {}
        """
        return self._loop.run(self._stream.get_retention())

    def set_retention(self, remove_older_than: timedelta | None = None) -> None:
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
        self._loop.run(self._stream.set_retention(remove_older_than))

    def get_latest_version(self) -> int:
        """Returns the version of the last commit.

        Points inserted since are in no numbered version yet: reads of the latest data include them,
        reads of this version do not. `flush` commits them.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return self._loop.run(self._stream.get_latest_version())

    def get_version_at_time(self, realtime: Instant) -> int:
        """Returns the version that was the latest at a time of the server's clock.

        Args:
            realtime: The wall-clock time, not a time of the data; a time in the future returns the
                latest version.

        Raises:
            NotSupportedError: The server does not support this.
            StreamNotFoundError: The stream does not exist.
            VersionNotAvailable: The stream is younger, or that version was removed.

        Examples:
            >>> stream.get_version_at_time(datetime.now(UTC)) >= 10
            True
        """
        return self._loop.run(self._stream.get_version_at_time(realtime))

    def changes(
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
            >>> before = stream.get_latest_version()
            >>> stream.insert([(start + 5, 1.0)])
            11
            >>> (change,) = stream.changes(before, 0)
            >>> change["start"] <= start + 5 < change["end"]
            True
        """
        return self._loop.run(self._stream.changes(from_version, to_version, resolution))

    def changes_iter(
        self, from_version: int, to_version: int, resolution: int = 0
    ) -> Iterator[dict[str, int]]:
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
        return self._loop.iterate(self._stream.changes_iter(from_version, to_version, resolution))

    def delete(self, start: Instant, end: Instant) -> int:
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
            >>> version = stream.delete(start, start + 1)
            >>> stream.count(version=version), stream.count(version=version - 1)
            (9, 10)
        """
        return self._loop.run(self._stream.delete(start, end))

    def pin_version(self, version: int | None) -> None:
        """Sets the version that reads use by default; None resets it to the latest data.

        Args:
            version: A committed version of the data.
        """
        self._stream.pin_version(version)

    def insert(
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
            >>> stream.insert([("2024-01-01T00:00:00Z", 1.0), ("2024-01-01T00:00:01Z", 2.0)])
            11
        """
        return self._loop.run(self._stream.insert(data, merge, time=time, progress=progress))

    def flush(self) -> None:
        """Commits the points that are in no numbered version yet.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        self._loop.run(self._stream.flush())

    def raw_values(
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
            >>> table = stream.raw_values(start, end)
            >>> table.column_names, table.num_rows
            (['time', 'value'], 10)
        """
        return self._loop.run(
            self._stream.raw_values(start, end, version, schema, progress=progress)
        )

    def raw_values_iter(
        self,
        start: Instant,
        end: Instant,
        version: int | None = None,
        schema: pa.Schema | None = RAW_F64_SCHEMA,
    ) -> Iterator[pa.Table]:
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
            >>> for table in stream.raw_values_iter(start, end):
            ...     print(table.num_rows)
            10
        """
        return self._loop.iterate(self._stream.raw_values_iter(start, end, version, schema))

    def aligned_windows_iter(
        self,
        start: Instant,
        end: Instant,
        point_width: int | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> Iterator[pa.Table]:
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
        return self._loop.iterate(
            self._stream.aligned_windows_iter(start, end, point_width, version, schema)
        )

    def precise_windows_iter(
        self,
        start: Instant,
        end: Instant,
        width: int | timedelta | _PW,
        version: int | None = None,
        schema: pa.Schema | None = STAT_F32_SCHEMA,
    ) -> Iterator[pa.Table]:
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
        return self._loop.iterate(
            self._stream.precise_windows_iter(start, end, width, version, schema)
        )

    def count(
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
            >>> stream.count(), stream.count(start, start + 1)
            (10, 1)
        """
        return self._loop.run(self._stream.count(start, end, version))

    def nearest(
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
            >>> stream.nearest(start + 1)
            RawPoint(2017-07-14T02:40:00.100000000Z, 2.0)
        """
        return self._loop.run(self._stream.nearest(time, version, backward))

    def earliest(self, version: int | None = None) -> RawPoint | None:
        """Returns the first point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned version, or else the latest data.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return self._loop.run(self._stream.earliest(version))

    def latest(self, version: int | None = None) -> RawPoint | None:
        """Returns the last point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned version, or else the latest data.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        return self._loop.run(self._stream.latest(version))

    def plot(
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
            >>> figure = stream.plot(start, end)
            >>> figure.axes[0].get_ylabel()
            'volts'
        """
        return self._loop.run(
            self._stream.plot(start, end, version, width=width, gap=gap, backend=backend, axes=axes)
        )

    # </mirrored>
