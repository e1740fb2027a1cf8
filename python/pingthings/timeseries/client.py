"""The synchronous client, its streams and its sets of streams.

Each class wraps its asynchronous twin over the core's blocking face. What stands between the marks
`<mirrored>` and `</mirrored>` is written by `make fix` from `async_client.py`; do not edit it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload
from uuid import UUID

from pingthings.timeseries import display
from pingthings.timeseries.arguments import OtherUuidKey, UuidKey, as_list, as_uuid
from pingthings.timeseries.async_client import (
    AsyncClient,
    AsyncStream,
    AsyncStreamSet,
    _connect,
)
from pingthings.timeseries.constants import RAW_F64_SCHEMA, STAT_F32_SCHEMA
from pingthings.timeseries.event_loop import ClientEventLoop
from pingthings.timeseries.exceptions import BTRDBTypeError
from pingthings.timeseries.insert_data import ArrowStream, InsertData
from pingthings.timeseries.pickling import recipe, reconnect
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress
from pingthings.timeseries.settings import ConnectionOptions
from pingthings.timeseries.stats import Stats

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa
    from pandas import DataFrame, Series

    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["Client", "ClientEventLoop", "Stream", "StreamSet"]


class Client:
    """A connection to a server whose methods wait for their results.

    Make one with `connect`; close it, or use it in `with`. It works from any thread and inside a
    running event loop, and Ctrl-C ends a call that waits.
    """

    def __init__(self, loop: ClientEventLoop, client: AsyncClient) -> None:
        """Wraps an asynchronous client; `connect` is what users call.

        Args:
            loop: What runs the calls.
            client: A connected client, which stays usable. Both share connection and limits.
        """
        self._loop = loop
        self._async_client = client
        self._client = client._over(client._core.blocking())

    @staticmethod
    def connect(
        profile: str | None = None,
        endpoint: str | None = None,
        apikey: str | None = None,
        concurrency_limit: int | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> Client:
        """Returns a client that is connected; see `AsyncClient.connect` for the rest.

        Args:
            profile: Name of a profile of `~/.predictivegrid/credentials.yaml`. Something of the
                form `host:port` is taken as the endpoint.
            endpoint: Host and port, as in `grid.example.com:4411`; `BTRDB_ENDPOINTS` if left out.
            apikey: The API key; `BTRDB_API_KEY` if left out.
            concurrency_limit: Most requests in flight at once.
            **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

        Raises:
            AuthenticationError: The server does not accept the key.
            ConnectionError: The server cannot be reached, or nothing says where it is.

        Examples:
            >>> with Client.connect(endpoint=endpoint, apikey=apikey) as client:
            ...     client.info()["major_version"]
            5
        """
        loop, limit = ClientEventLoop(), concurrency_limit
        client = loop.run(_connect(profile, endpoint, apikey, limit, options, blocking=True))
        return Client._of(loop, client)

    @staticmethod
    def _of(loop: ClientEventLoop, client: AsyncClient) -> Client:
        return Client(loop, client._over(client._core.asynchronous()))

    def with_time_limits(
        self, *, timeout: float | None = None, deadline: float | None = None
    ) -> Client:
        """Returns a client over the same connection with time limits of its own.

        Streams taken from it have them too. Closing either client closes both.

        Args:
            timeout: Seconds for which the server may be silent in a call; None for any time.
            deadline: Seconds that a whole call may take; None for any time.

        Examples:
            >>> hasty = client.with_time_limits(deadline=5)
            >>> hasty.stream_from_uuid(stream.uuid).count()
            10
        """
        limited = self._client.with_time_limits(timeout=timeout, deadline=deadline)
        return Client._of(self._loop, limited)

    def get_async_client(self) -> AsyncClient:
        """Returns the asynchronous client over the same connection."""
        return self._async_client

    def get_event_loop(self) -> ClientEventLoop:
        """Returns what runs the calls."""
        return self._loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return reconnect, recipe(self._client)

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", type(self).__name__, 1)

    def _repr_html_(self) -> str:
        return display.client_html(type(self).__name__, self._client._facts)

    def _wrap_stream(self, stream: AsyncStream) -> Stream:
        return Stream(self, stream)

    def _wrap_set(self, streams: AsyncStreamSet) -> StreamSet:
        return StreamSet([Stream(self, stream) for stream in streams])

    # <mirrored from AsyncClient as _client>

    @property
    def concurrency_limit(self) -> int:
        """Most requests in flight at once; a change takes effect at once, also for waiting calls.

        A large limit can cost much memory, since every request in flight holds a part of its
        answer.
        """
        return self._client.concurrency_limit

    @concurrency_limit.setter
    def concurrency_limit(self, value: int) -> None:
        self._client.concurrency_limit = value

    @property
    def timeout(self) -> float | None:
        """Seconds for which a server may be silent in a call, or None for any time, as at first.

        A call whose answer, or the next part of it, takes longer raises `DeadlineExceededError`;
        one that receives parts all along may take as long as it needs. A change counts for calls
        that begin after it.
        """
        return self._client.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._client.timeout = value

    @property
    def deadline(self) -> float | None:
        """Seconds that a whole call may take, or None for any time, as at first.

        Waiting for a turn, connecting, and everything that is repeated count. A call that is not
        done by then raises `DeadlineExceededError`; for an iterator each part is a call. A change
        counts for calls that begin after it.
        """
        return self._client.deadline

    @deadline.setter
    def deadline(self, value: float | None) -> None:
        self._client.deadline = value

    @property
    def memory_limit(self) -> int:
        """Most bytes of answers that may be here and not handed over yet.

        Beyond it calls wait for each other: the one that began first goes on, the others ask for
        the rest of their answers when there is room. One answer that alone would take more raises
        `MemoryLimitExceeded`; read it in parts, with the methods that end in `_iter`. A change
        takes effect at once; it can be given as text like `2 GiB`, too.
        """
        return self._client.memory_limit

    @memory_limit.setter
    def memory_limit(self, value: int | str) -> None:
        self._client.memory_limit = value

    def stats(self) -> Stats:
        """Returns what the client has done so far, without asking the server.

        Clients over the same connection count together. The numbers stay after `close`.

        Examples:
            >>> stats = client.stats()
            >>> stats.calls.info.succeeded
            1
            >>> stats.bytes_received > 0, stats.retries
            (True, 0)
        """
        return self._client.stats()

    def close(self) -> None:
        """Closes the client. Calls in flight and later ones raise `ClientClosedError`.

        Closing twice is fine.
        """
        self._loop.run(self._client.close())

    def info(self) -> dict[Any, Any]:
        """Returns who the server is.

        Returns:
            A dict with `major_version` and `minor_version` of its protocol, `build`, and `proxy`,
            a dict whose `proxy_endpoints` is a list.

        Examples:
            >>> info = client.info()
            >>> info["major_version"], info["proxy"]
            (5, {'proxy_endpoints': []})
        """
        return self._loop.run(self._client.info())

    def create(
        self,
        uuid: UUID,
        collection: str,
        tags: dict[str, str] = {},  # noqa: B006 - documented default, never changed
        annotations: dict[str, Any] = {},  # noqa: B006 - documented default, never changed
    ) -> Stream:
        """Makes a stream and returns it.

        Args:
            uuid: Its identity, new and random as a rule.
            collection: The collection it goes into, which begins to exist with its first stream.
            tags: Any of `name`, `unit`, `ingress`, `distiller`. No two streams of a collection have
                the same tags.
            annotations: Further properties, free in their keys. Text is kept as it is, any other
                value as its JSON; see `Stream.annotations`.

        Raises:
            AmbiguousStream: Another stream has this collection and these tags.
            InvalidCollection: The collection's name is empty or too long.
            InvalidTagKey: A tag has another key.
            RecycledUUID: The uuid belonged to a stream that was obliterated.
            StreamExists: A stream has this uuid.

        Examples:
            >>> stream = client.create(uuid4(), "substation/pmu7", {"name": "L1MAG", "unit": "V"})
            >>> stream.name
            'L1MAG'
        """
        return self._wrap_stream(
            self._loop.run(self._client.create(uuid, collection, tags, annotations))
        )

    def create_streams(
        self,
        frame: ArrowStream | pa.RecordBatch | DataFrame | Series,
        collection: str,
        *,
        names: Mapping[str, str] | None = None,
        units: str | Mapping[str, str] | None = None,
        time: str | None = None,
        merge: str = "never",
        progress: Progress | None = None,
    ) -> StreamSet:
        """Stores a wide frame, each column in a stream of a collection, and returns these streams.

        A column goes into the stream of its name; where the collection has none, it is made. All is
        looked at first: unless every column and every point is good, no stream is made and nothing
        is stored. Where a value is missing, there is no point; in pandas NaN is missing, too.

        Args:
            frame: A frame or series of pandas with a time index, a frame of polars or pandas with a
                column of timestamps, or an Arrow table whose first column holds the times.
            collection: The collection.
            names: Names of streams by column; the others are called like their columns.
            units: The unit of all streams, or units by column.
            time: The name of the column or index that holds the times; see `frames.split`.
            merge: What happens to a time that has a value; see `Stream.insert`.
            progress: Whom to tell how many points are durable; see `Stream.insert`.

        Returns:
            The streams, in the order of the columns.

        Raises:
            BadValue: A value is NaN or infinite, or a whole number that no float64 holds.
            BTRDBTypeError: It is no frame, nothing in it says that it is the times, or a column
                holds no numbers.
            BTRDBValueError: Two columns have one name, a stream has another unit, or several
                streams have the name of a column.
            InvalidTimeRange: A time lies outside the instants a stream can hold.

        Examples:
            >>> import pandas as pd
            >>> index = pd.date_range("2024-01-01", periods=2, freq="s", tz="UTC")
            >>> frame = pd.DataFrame({"va": [230.0, 231.0], "fa": [60.0, 60.1]}, index=index)
            >>> made = client.create_streams(
            ...     frame, "docs/wide", names={"va": "L1MAG"}, units={"va": "volts", "fa": "hertz"}
            ... )
            >>> [(stream.name, stream.unit) for stream in made]
            [('L1MAG', 'volts'), ('fa', 'hertz')]
        """
        return self._wrap_set(
            self._loop.run(
                self._client.create_streams(
                    frame,
                    collection,
                    names=names,
                    units=units,
                    time=time,
                    merge=merge,
                    progress=progress,
                )
            )
        )

    def list_collections(self, prefix: str | None = None) -> list[str]:
        """Returns the names of the collections that begin with a text.

        Args:
            prefix: Plain text, so `foo` finds `foo/bar` and `foobar`; None finds all.

        Examples:
            >>> client.list_collections("docs/")
            ['docs/examples']
        """
        return self._loop.run(self._client.list_collections(prefix))

    def stream_from_uuid(self, uuid: UUID | str) -> Stream:
        """Returns the stream of this uuid without asking the server whether there is one.

        If there is none, the first call that needs the server raises `StreamNotFoundError`.

        Args:
            uuid: A UUID or its text.

        Raises:
            InvalidUUIDError: It is no uuid; this is a `TypeError` and a `ValueError`.

        Examples:
            >>> client.stream_from_uuid(str(stream.uuid)) == stream
            True
        """
        return self._wrap_stream(self._client.stream_from_uuid(uuid))

    def streams_in_collection(
        self,
        collection: str = "",
        is_collection_prefix: bool = True,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> StreamSet:
        """Returns the streams of a collection, with their metadata; an empty set if none matches.

        Args:
            collection: Name of the collection, case-sensitive.
            is_collection_prefix: Whether collections that merely begin with this text count too.
                With `""`, that is every stream.
            tags: Tags the streams must have; a value of None means any value, also an empty one,
                which is what a tag is that was never set.
            annotations: Annotations they must have, likewise, each as it is kept: text to the
                letter, any other value as its JSON.

        Examples:
            >>> found = client.streams_in_collection("docs/examples", tags={"unit": "volts"})
            >>> sorted(stream.name for stream in found)
            ['L1MAG', 'L2MAG']
        """
        return self._wrap_set(
            self._loop.run(
                self._client.streams_in_collection(
                    collection, is_collection_prefix, tags, annotations
                )
            )
        )

    def streamset_from_uuids(
        self, uuids: Iterable[UUID | str], fetch_metadata: bool = True
    ) -> StreamSet:
        """Returns the streams of these uuids, in their order.

        Args:
            uuids: UUIDs or their texts.
            fetch_metadata: Whether to ask the server for collection, tags and annotations. Without,
                `filter` does not work until `refresh_metadata`.

        Raises:
            InvalidUUIDError: One is no uuid.
            StreamNotFoundError: One is unknown, and metadata are fetched.

        Examples:
            >>> streams = client.streamset_from_uuids([stream.uuid])
            >>> streams[0].name
            'L1MAG'
        """
        return self._wrap_set(
            self._loop.run(self._client.streamset_from_uuids(uuids, fetch_metadata))
        )

    def get_collection_properties(self, collection: str) -> dict[str, Any]:
        """Returns what is set for a collection.

        Args:
            collection: Its name; it need not hold a stream.

        Returns:
            A dict with `retention`, a dict whose `remove_older_than` is the timedelta for which
            points are kept; it is empty where they are kept for ever. It has `override_per_stream`
            if that is True.

        Raises:
            NotSupportedError: The server has no such properties.

        Examples:
            >>> client.set_collection_retention("docs/kept", False, timedelta(days=7))
            >>> client.get_collection_properties("docs/kept")
            {'retention': {'remove_older_than': datetime.timedelta(days=7)}}
        """
        return self._loop.run(self._client.get_collection_properties(collection))

    def set_collection_retention(
        self,
        collection: str,
        override_per_stream: bool = False,
        remove_older_than: timedelta | None = None,
    ) -> None:
        """Sets for how long the streams of a collection keep their points.

        The server removes what is older in the background, as new versions; see
        `Stream.set_retention`.

        Args:
            collection: Its name; it need not hold a stream.
            override_per_stream: Whether this holds for streams with a retention of their own too.
            remove_older_than: For how long points are kept, by their own time; None is for ever.
                The documentation says `datetime`, but it is a duration.

        Raises:
            BTRDBTypeError: It is no timedelta.
            BTRDBValueError: It is not positive.
            NotSupportedError: The server has no retention.
        """
        self._loop.run(
            self._client.set_collection_retention(
                collection, override_per_stream, remove_older_than
            )
        )

    def sql_query(self, query: str, params: list[str] | None = None) -> list[Any]:
        """Returns the rows that a query over the metadata answers.

        Args:
            query: One SELECT in PostgreSQL's SQL, over the tables `streams`, `devices`, `units` and
                `collections`; values go in as `$1`, `$2` and so on.
            params: Texts for them, which the database turns into the types it needs.

        Returns:
            A dict for each row, keyed by column; of columns with one name, all but the first are
            called like `name (column 2)`. Values are what JSON has; uuids and times are texts,
            annotations a dict of texts.

        Raises:
            BadSQLValue: A parameter has no such type, or the query is not understood.
            BTRDBServerError: The query failed, or a row cannot be read.

        Examples:
            >>> client.sql_query(
            ...     "SELECT name FROM streams WHERE collection = $1 ORDER BY name",
            ...     ["docs/examples"],
            ... )
            [{'name': 'L1MAG'}, {'name': 'L2MAG'}]
        """
        return self._loop.run(self._client.sql_query(query, params))

    def list_devices(self) -> list[dict[str, Any]]:
        """Returns all devices, by id.

        Returns:
            A dict for each, with `id`, `name` and whatever else it was made with. From a server
            that keeps devices in tables of its own, a row of that table for each.

        Raises:
            NotSupportedError: The server knows no devices.

        Examples:
            >>> [device["name"] for device in client.list_devices()]
            []
        """
        return self._loop.run(self._client.list_devices())

    def get_device(self, device_id: int) -> dict[str, Any]:
        """Returns one device; see `list_devices`.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        return self._loop.run(self._client.get_device(device_id))

    def create_device(self, device: dict[str, Any]) -> dict[str, Any]:
        """Makes a device and returns it as the server keeps it.

        Args:
            device: Its `name`, which no other device has, and any further fields that
                JSON can hold. The server gives the `id`.

        Raises:
            BTRDBTypeError: JSON has no form for a field.
            BTRDBValueError: The name is missing or empty, or an id is given.
            NotSupportedError: The server keeps no devices.
            ObjectExists: Another device has this name.

        Examples:
            >>> device = client.create_device({"name": "example", "rate": 30})
            >>> client.update_device({"id": device["id"], "rate": 60}) == {
            ...     **device,
            ...     "rate": 60,
            ... }
            True
            >>> client.delete_device(device["id"])
        """
        return self._loop.run(self._client.create_device(device))

    def update_device(self, device: dict[str, Any]) -> dict[str, Any]:
        """Changes the device whose id is in the dict and returns it as the server keeps it then.

        Args:
            device: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another device has this name.
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        return self._loop.run(self._client.update_device(device))

    def delete_device(self, device_id: int) -> None:
        """Removes a device.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        self._loop.run(self._client.delete_device(device_id))

    def list_units(self) -> list[dict[str, Any]]:
        """Returns all units, by id.

        Returns:
            A dict for each, with `id`, `name` and whatever else it was made with. From a server
            that keeps units in tables of its own, a row of that table for each.

        Raises:
            NotSupportedError: The server knows no units.

        Examples:
            >>> [unit["name"] for unit in client.list_units()]
            []
        """
        return self._loop.run(self._client.list_units())

    def get_unit(self, unit_id: int) -> dict[str, Any]:
        """Returns one unit; see `list_units`.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        return self._loop.run(self._client.get_unit(unit_id))

    def create_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Makes a unit and returns it as the server keeps it.

        Args:
            unit_dict: Its `name`, which no other unit has, and any further fields that
                JSON can hold. The server gives the `id`.

        Raises:
            BTRDBTypeError: JSON has no form for a field.
            BTRDBValueError: The name is missing or empty, or an id is given.
            NotSupportedError: The server keeps no units.
            ObjectExists: Another unit has this name.

        Examples:
            >>> unit = client.create_unit({"name": "example", "rate": 30})
            >>> changed = client.update_unit({"id": unit["id"], "rate": 60})
            >>> changed["name"], changed["rate"]
            ('example', 60)
            >>> client.delete_unit(unit["id"])
        """
        return self._loop.run(self._client.create_unit(unit_dict))

    def update_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Changes the unit whose id is in the dict and returns it as the server keeps it then.

        Args:
            unit_dict: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another unit has this name.
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        return self._loop.run(self._client.update_unit(unit_dict))

    def delete_unit(self, unit_id: int) -> None:
        """Removes a unit.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        self._loop.run(self._client.delete_unit(unit_id))

    # </mirrored>


class Stream:
    """One stream: measured values over time, every version of them, and metadata.

    Two are equal if they have the same uuid. `name`, `unit` and `collection` are fetched when they
    are first asked for.
    """

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
        if not isinstance(conn, Client):
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
        return _restored, (self._conn, self.uuid, known)

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


def _restored(conn: Client, uuid: UUID, known: dict[str, Any]) -> Stream:
    """A stream that was pickled: its metadata and pinned version came along."""
    stream = Stream(conn, uuid=uuid)
    vars(stream._stream).update(known)
    return stream


class StreamSet(Collection[Stream]):
    """Streams in a fixed order, asked together.

    A call is one loop in the core, whatever the number of streams: up to `concurrency_limit`
    requests are in flight at once. If a stream fails, the others are given up and the error names
    its uuid.

    It has a length, an order and indexes like a list; a UUID or its text finds the stream of that
    uuid, and a slice is a set.
    """

    def __init__(self, streams: list[Stream] = []) -> None:  # noqa: B006 - documented default, never changed
        """Collects streams of one client.

        Args:
            streams: The streams, in the order in which results come.
        """
        self._members = as_list(streams, "streams")
        for stream in self._members:
            if not isinstance(stream, Stream):
                raise BTRDBTypeError(
                    f"a set of streams takes `Stream`, not `{type(stream).__name__}`"
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
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Whom to tell how many streams are done: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. The call is then made in
                parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in their order, or None for a stream without points there.

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
        """Returns the version of each stream that was the latest at an instant of the wall clock.

        Args:
            realtime: The instant; in the future it gives the latest versions.

        Raises:
            NotSupportedError: The server does not know.
            VersionNotAvailable: A stream is younger, or that version was forgotten.
        """
        return self._loop.run(self._streams.get_version_at_time(realtime))

    def changes(
        self,
        from_version_map: Mapping[UuidKey, int],
        to_version_map: Mapping[OtherUuidKey, int],
        resolution: int = 0,
    ) -> dict[UUID, list[dict[str, int]]]:
        """Returns the ranges in which each stream differs between two versions.

        See `Stream.changes`; ranges can be larger than what was written.

        Args:
            from_version_map: The earlier version of each stream; exclusive.
            to_version_map: The later version of the same streams; inclusive.
            resolution: An exponent: ranges begin and end at multiples of 2**resolution ns.

        Returns:
            For each stream of the maps a list of dicts of `start` and `end`, empty if nothing
            changed.

        Raises:
            BTRDBValueError: The maps do not name the same streams.
            StreamNotInSetError: A uuid is not in the set; this is a `KeyError`.
        """
        return self._loop.run(self._streams.changes(from_version_map, to_version_map, resolution))

    def pin_versions(self, versions: Mapping[UuidKey, int] | None = None) -> Self:
        """Makes reads that name no version use these, and returns the set itself.

        Args:
            versions: A version for each stream that is to be pinned; streams that are not named
                read the latest data. None pins every stream to its latest version, in which points
                that were not flushed are missing.

        Raises:
            StreamNotInSetError: A uuid is not in the set; this is a `KeyError`.
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
            collection: Text that equals the collection but for case, or a compiled pattern that is
                found in it.
            name: The same for the name.
            unit: The same for the unit.
            tags: Pairs that the tags must contain.
            annotations: Pairs that the annotations must contain, text to the letter.

        Raises:
            BTRDBTypeError: A condition is neither text nor pattern, or no mapping.
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
        """Stores points in several streams at once; see `Stream.insert`.

        Either all points of all streams are good, or none is sent.

        Args:
            data_map: Points for each stream, in any form of `InsertData`.
            merge: What happens to a time that has a value: `never`, `equal`, `retain`, `replace`.
            progress: Whom to tell how many points of all streams are durable; see
                `Stream.insert`.

        Returns:
            The version of the last commit of each stream that was given points.

        Raises:
            StreamNotInSetError: A uuid is not in the set; this is a `KeyError`.
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
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            single_stream_schema: Schema of each table; None is `RAW_F64_SCHEMA`.
            progress: Whom to tell how many streams are done: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. The call is then made in
                parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in their order, or None for a stream without points there.

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

        It is one call, whatever the number of streams, and a row has one time for all of them. Two
        points of a stream at the same time become one. `frames.join` loses none of them, names
        columns after streams, and joins what any call has answered.

        Args:
            start: First instant.
            end: The instant after the last one.
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            period: Distance of the instants to which points are moved, in nanoseconds or as a
                timedelta, counted from `start`. Of the points of a stream that are nearest to an
                instant one stays; those nearest to an instant at or after `end` are left out. None
                leaves points where they are.

        Returns:
            A table of `time` (timestamp[ns, UTC], ascending, each once) and a column of float64 for
            each stream, in their order, named by its uuid, with NaN where it has no point.

        Raises:
            InvalidTimeRange: `start` is not before `end`, or one lies outside the instants a stream
                can hold.
            BTRDBValueError: A stream is in the set twice, or the period is not positive.
            StreamNotFoundError: A stream does not exist.
            NotSupportedError: The server joins nothing; `frames.join` does without it.

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
            start: First instant; None counts from the beginning of time.
            end: The instant after the last one; None counts to the end of time.
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.

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
        """Returns a picture of all streams, a panel for each unit; see `Stream.plot`.

        Args:
            start: First instant; None begins at the first point of any stream.
            end: The instant after the last one; None ends after the last point of any.
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            width: Of the picture, in pixels; None is 1,000, or that of the axes.
            gap: The longest time between points that is no gap, in nanoseconds or as a timedelta.
            backend: `matplotlib` or `plotly`.
            axes: Axes of matplotlib to draw into, for streams of one unit; None makes a figure.

        Returns:
            What `Stream.plot` returns.

        Raises:
            BTRDBValueError: The set is empty, or its streams have several units and shall share
                axes.

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
