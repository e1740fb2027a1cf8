"""One stream, asked synchronously."""

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
    """One stream: measured values over time, every version of them, and metadata.

    Two are equal if they have the same uuid. `name`, `unit` and `collection` are fetched when they
    are first asked for.
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
        """Describes a stream without asking the server; see `Client.stream_from_uuid`.

        Args:
            conn: The connection to use.
            stream: An asynchronous stream to wrap; or else give a uuid.
            uuid: Identity of the stream.
            known_to_exist: Whether the server has confirmed that it exists.
            collection: Its collection, if known.
            tags: Its tags, if known.
            annotations: Its annotations, if known.
            property_version: Version of these metadata.
        """
        # By what it wraps, since the module of clients imports this one.
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
        """The connection it uses."""
        return self._conn

    @property
    def collection(self) -> str | None:
        """Its collection, fetched when first asked for."""
        self._fetch_once()
        return self._stream.collection

    @property
    def name(self) -> str | None:
        """Its tag `name`, fetched when first asked for."""
        self._fetch_once()
        return self._stream.name

    @property
    def unit(self) -> str | None:
        """Its tag `unit`, fetched when first asked for."""
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
        """Returns a stream that was pickled: its metadata and pinned version came along."""
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

        A `PW` asks for windows aligned to multiples of it, at a cost that depends on the number of
        windows only: both `start` and `end` are lowered to a multiple, so the first window may
        begin before `start`, and the window that holds an unaligned `end` is left out. Any other
        width asks for windows of exactly that length, the first beginning at `start`; a last one
        that would reach beyond `end` is left out.

        Args:
            start: First instant.
            end: The instant after the last one.
            width: Length of a window: a `PW`, nanoseconds, or a timedelta.
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
            >>> stream.windowed_values(start, end, PW[28])["mean"].to_pylist()
            [1.0, 3.0, 6.0, 8.5]
            >>> stream.windowed_values(start, end, 300_000_000)["mean"].to_pylist()
            [2.0, 5.0, 8.0]
        """
        return self._loop.run(self._stream._windowed_values(start, end, width, version, schema))

    # <mirrored from AsyncStream as _stream>

    @property
    def uuid(self) -> UUID:
        """Its identity."""
        return self._stream.uuid

    @property
    def property_version(self) -> int:
        """Version of the metadata that were fetched, 0 if they were not."""
        return self._stream.property_version

    @property
    def pinned_version(self) -> int | None:
        """The version that reads use by default, or None for the latest."""
        return self._stream.pinned_version

    def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations again.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> stream = client.stream_from_uuid(stream.uuid)
            >>> stream.refresh_metadata()
            >>> stream.collection
            'docs/examples'
        """
        self._loop.run(self._stream.refresh_metadata())

    def tags(self, refresh: bool = False) -> dict[str, str]:
        """Returns a copy of its tags, fetching them if they are not known.

        Args:
            refresh: Fetch them even so.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        return self._loop.run(self._stream.tags(refresh))

    def annotations(self, refresh: bool = False) -> dict[str, Any]:
        """Returns a copy of its annotations, fetching them if they are not known.

        The server keeps text. What is exactly the JSON of a number, a truth value, null, a list or
        an object is read as that value, all else as the text that it is. So the text `60` and the
        number 60, which are kept alike, are both read as the number.

        Args:
            refresh: Fetch them even so.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.

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
            >>> stream.update(annotations={"phase": "A", "rate": 10})
            2
            >>> stream.annotations()
            {'phase': 'A', 'rate': 10}
        """
        return self._loop.run(self._stream.update(tags, annotations, collection, encoder, replace))

    def obliterate(self) -> None:
        """Removes the stream with all its versions. Nothing brings it back.

        Its collection and tags are free at once, its uuid can never be used again.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> other = client.create(uuid4(), "docs/other")
            >>> other.obliterate()
        """
        self._loop.run(self._stream.obliterate())

    def get_retention(self) -> dict[str, Any]:
        """Returns for how long the stream keeps its points, its collection's word included.

        Returns:
            A dict whose `remove_older_than` is a timedelta; empty if points are kept for ever.

        Raises:
            NotSupportedError: The server has no retention.
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> stream.get_retention()
            {}
        """
        return self._loop.run(self._stream.get_retention())

    def set_retention(self, remove_older_than: timedelta | None = None) -> None:
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
        self._loop.run(self._stream.set_retention(remove_older_than))

    def get_latest_version(self) -> int:
        """Returns the version of the last commit.

        Points inserted since are in no numbered version yet: reads of the latest data see them,
        reads at this version do not. `flush` commits them.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        return self._loop.run(self._stream.get_latest_version())

    def get_version_at_time(self, realtime: Instant) -> int:
        """Returns the version that was the latest at an instant of the server's clock.

        Args:
            realtime: The instant, of the wall clock and not of the data; in the future it gives the
                latest version.

        Raises:
            NotSupportedError: The server does not know.
            StreamNotFoundError: The server knows no stream of this uuid.
            VersionNotAvailable: The stream is younger, or that version was forgotten.

        Examples:
            >>> stream.get_version_at_time(datetime.now(UTC)) >= 10
            True
        """
        return self._loop.run(self._stream.get_version_at_time(realtime))

    def changes(
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
        return self._loop.iterate(self._stream.changes_iter(from_version, to_version, resolution))

    def delete(self, start: Instant, end: Instant) -> int:
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
            >>> version = stream.delete(start, start + 1)
            >>> stream.count(version=version), stream.count(version=version - 1)
            (9, 10)
        """
        return self._loop.run(self._stream.delete(start, end))

    def pin_version(self, version: int | None) -> None:
        """Makes reads that name no version use this one; None makes them use the latest again.

        Args:
            version: A version of the data, which must have been committed.
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
            >>> stream.insert([("2024-01-01T00:00:00Z", 1.0), ("2024-01-01T00:00:01Z", 2.0)])
            11
        """
        return self._loop.run(self._stream.insert(data, merge, time=time, progress=progress))

    def flush(self) -> None:
        """Commits the points that are in no numbered version yet.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
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
            start: First instant; None counts from the beginning of time.
            end: The instant after the last one; None counts to the end of time.
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

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
            time: The instant; looking forward it is included, looking backward it is not.
            version: Version to read; None is the pinned one, or else the latest.
            backward: Look backward.

        Returns:
            The point, or None if there is none on that side.

        Raises:
            InvalidTimeRange: The time lies outside the instants a stream can hold.
            StreamNotFoundError: The server knows no stream of this uuid.

        Examples:
            >>> stream.nearest(start + 1)
            RawPoint(2017-07-14T02:40:00.100000000Z, 2.0)
        """
        return self._loop.run(self._stream.nearest(time, version, backward))

    def earliest(self, version: int | None = None) -> RawPoint | None:
        """Returns the first point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        return self._loop.run(self._stream.earliest(version))

    def latest(self, version: int | None = None) -> RawPoint | None:
        """Returns the last point, or None if the stream is empty.

        Args:
            version: Version to read; None is the pinned one, or else the latest.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
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
            >>> figure = stream.plot(start, end)
            >>> figure.axes[0].get_ylabel()
            'volts'
        """
        return self._loop.run(
            self._stream.plot(start, end, version, width=width, gap=gap, backend=backend, axes=axes)
        )

    # </mirrored>
