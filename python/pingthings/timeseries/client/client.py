"""The synchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from pingthings.timeseries import display
from pingthings.timeseries.async_client import AsyncClient, AsyncStream, AsyncStreamSet
from pingthings.timeseries.client.stream import Stream
from pingthings.timeseries.client.streamset import StreamSet
from pingthings.timeseries.event_loop import ClientEventLoop
from pingthings.timeseries.insert_data import ArrowStream
from pingthings.timeseries.pickling import recipe, reconnect
from pingthings.timeseries.progress import Progress
from pingthings.timeseries.settings import ConnectionOptions
from pingthings.timeseries.stats import Stats

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa
    from pandas import DataFrame, Series


__all__ = ["Client"]


class Client:
    """A connection to a server, with blocking methods.

    Create it with `connect`; close it, or use it in a `with` statement. It works from any thread
    and inside a running event loop, and Ctrl-C ends a call.
    """

    __module__ = "pingthings.timeseries.client"  # where it is documented, and imported from

    def __init__(self, loop: ClientEventLoop, client: AsyncClient) -> None:
        """Wraps an asynchronous client; users call `connect` instead.

        Args:
            loop: Runs the calls.
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
        """Connects and returns the client; see `AsyncClient.connect` for details.

        Args:
            profile: Name of a profile in `~/.predictivegrid/credentials.yaml`. A value of the form
                `host:port` is used as the endpoint.
            endpoint: Host and port, as in `grid.example.com:4411`. Default: `BTRDB_ENDPOINTS`.
            apikey: The API key. Default: `BTRDB_API_KEY`.
            concurrency_limit: Maximum number of requests in flight.
            **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

        Raises:
            AuthenticationError: The server does not accept the key.
            ConnectionError: The server cannot be reached, or no endpoint is configured.

        Examples:
            >>> with Client.connect(endpoint=endpoint, apikey=apikey) as client:
            ...     client.info()["major_version"]
            5
        """
        loop, limit = ClientEventLoop(), concurrency_limit
        client = loop.run(
            AsyncClient._connect(profile, endpoint, apikey, limit, options, blocking=True)
        )
        return Client._of(loop, client)

    @staticmethod
    def _of(loop: ClientEventLoop, client: AsyncClient) -> Client:
        return Client(loop, client._over(client._core.asynchronous()))

    def with_time_limits(
        self, *, timeout: float | None = None, deadline: float | None = None
    ) -> Client:
        """Returns a client over the same connection with other time limits.

        Streams obtained from it have these limits, too. Closing either client closes both.

        Args:
            timeout: Seconds for which the server may be silent during a call; None is no limit.
            deadline: Seconds that a complete call may take; None is no limit.

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
        """Returns the object that runs the calls."""
        return self._loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Client._reconnect, recipe(self._client)

    # A bound method is pickled with its class, whose module stays what it is.
    @classmethod
    def _reconnect(cls, *recipe: Any) -> Client:
        """Returns a client of this process for a pickled one."""
        return reconnect(recipe, cls.connect)

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
    def endpoint(self) -> str:
        """The endpoint of the connection: host and port, or several separated by commas."""
        return self._client.endpoint

    @property
    def concurrency_limit(self) -> int:
        """Maximum number of requests in flight. A change also applies to waiting calls at once.

        A large limit can need much memory, because every request in flight holds a part of its
        answer.
        """
        return self._client.concurrency_limit

    @concurrency_limit.setter
    def concurrency_limit(self, value: int) -> None:
        self._client.concurrency_limit = value

    @property
    def timeout(self) -> float | None:
        """Seconds for which a server may be silent during a call; None, the default, is no limit.

        If the answer, or its next part, takes longer, the call raises `DeadlineExceededError`. A
        call that keeps receiving parts may take any time. A change applies to later calls.
        """
        return self._client.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._client.timeout = value

    @property
    def deadline(self) -> float | None:
        """Seconds that a complete call may take; None, the default, is no limit.

        This includes waiting for a permit, connecting, and retries. A call that takes longer raises
        `DeadlineExceededError`; for an iterator each part is a call. A change applies to later
        calls.
        """
        return self._client.deadline

    @deadline.setter
    def deadline(self, value: float | None) -> None:
        self._client.deadline = value

    @property
    def memory_limit(self) -> int:
        """Maximum bytes of answers that are received and not yet returned.

        Beyond it calls wait for each other: the oldest one continues, the others request the rest
        of their answers when there is space. A single answer that exceeds the limit raises
        `MemoryLimitExceeded`; read it in parts, with the methods that end in `_iter`. A change
        takes effect at once. It can also be set with text such as `2 GiB`.
        """
        return self._client.memory_limit

    @memory_limit.setter
    def memory_limit(self, value: int | str) -> None:
        self._client.memory_limit = value

    def stats(self) -> Stats:
        """Returns the statistics of the client, without a request.

        Clients over the same connection share them. They stay available after `close`.

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

        Closing twice is allowed.
        """
        self._loop.run(self._client.close())

    def info(self) -> dict[Any, Any]:
        """Returns information about the server.

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
        """Creates a stream and returns it.

        Args:
            uuid: The identity of the stream, usually new and random.
            collection: Its collection, which is created with its first stream.
            tags: Any of `name`, `unit`, `ingress`, `distiller`. No two streams of a collection have
                the same tags.
            annotations: Further properties with any keys. Text is stored unchanged, any other value
                as its JSON; see `Stream.annotations`.

        Raises:
            AmbiguousStream: Another stream has the same collection and tags.
            InvalidCollection: The name of the collection is empty or too long.
            InvalidTagKey: A tag has another key.
            RecycledUUID: The uuid belonged to a stream that was obliterated.
            StreamExists: A stream with this uuid already exists.

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
        """Stores a wide frame, each column in a stream of a collection, and returns the streams.

        A column is stored in the stream with its name, which is created if the collection lacks it.
        Everything is checked first: if a column or point is invalid, no stream is created and
        nothing is stored. Missing values are not stored; in pandas NaN is a missing value, too.

        Args:
            frame: A pandas frame or series with a time index, a pandas or polars frame with a
                column of timestamps, or an Arrow table whose first column has the times.
            collection: The collection.
            names: Names of streams by column; other streams have the name of their column.
            units: The unit of all streams, or units by column.
            time: The name of the column or index with the times; see `frames.split`.
            merge: The merge policy; see `Stream.insert`.
            progress: Where to report how many points are durable; see `Stream.insert`.

        Returns:
            The streams, in the order of the columns.

        Raises:
            BadValue: A value is NaN or infinite, or an integer that a float64 cannot represent.
            BTRDBTypeError: `frame` is not a frame, its times cannot be determined, or a column does
                not contain numbers.
            BTRDBValueError: Two columns have the same name, a stream has another unit, or several
                streams have the name of a column.
            InvalidTimeRange: A time is outside the range of a stream.

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
        """Returns the names of the collections with a prefix.

        Args:
            prefix: The prefix as plain text: `foo` finds `foo/bar` and `foobar`; None finds all.

        Examples:
            >>> client.list_collections("docs/")
            ['docs/examples']
        """
        return self._loop.run(self._client.list_collections(prefix))

    def stream_from_uuid(self, uuid: UUID | str) -> Stream:
        """Returns the stream with this uuid without a request.

        If the stream does not exist, the first call that makes a request raises
        `StreamNotFoundError`.

        Args:
            uuid: A UUID or its text.

        Raises:
            InvalidUUIDError: The value is not a uuid; also a `TypeError` and a `ValueError`.

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
            is_collection_prefix: Whether to include collections that begin with this text. With
                `""`, these are all streams.
            tags: Tags that the streams must have. None matches any value, also an empty one; a tag
                that was never set is empty.
            annotations: Annotations that the streams must have, likewise. Values are compared as
                stored: text exactly, any other value as its JSON.

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
        """Returns the streams with these uuids, in the same order.

        Args:
            uuids: UUIDs or their texts.
            fetch_metadata: Whether to fetch collection, tags and annotations. Without them,
                `filter` does not work until `refresh_metadata`.

        Raises:
            InvalidUUIDError: A value is not a uuid.
            StreamNotFoundError: A stream does not exist, and metadata are fetched.

        Examples:
            >>> streams = client.streamset_from_uuids([stream.uuid])
            >>> streams[0].name
            'L1MAG'
        """
        return self._wrap_set(
            self._loop.run(self._client.streamset_from_uuids(uuids, fetch_metadata))
        )

    def get_collection_properties(self, collection: str) -> dict[str, Any]:
        """Returns the properties of a collection.

        Args:
            collection: Name of the collection; it may be without streams.

        Returns:
            A dict with `retention`, a dict whose `remove_older_than` is the timedelta for which
            points are kept; it is empty if they are kept for ever. It has `override_per_stream` if
            that is True.

        Raises:
            NotSupportedError: The server has no properties of collections.

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
        """Sets the retention period of the streams of a collection.

        The server removes older points in the background, in new versions; see
        `Stream.set_retention`.

        Args:
            collection: Name of the collection; it may be without streams.
            override_per_stream: Whether this also applies to streams with their own retention.
            remove_older_than: How long points are kept, by their own time; None is for ever. The
                platform's documentation says `datetime`, but it is a duration.

        Raises:
            BTRDBTypeError: `remove_older_than` is not a timedelta.
            BTRDBValueError: `remove_older_than` is not positive.
            NotSupportedError: The server has no retention.
        """
        self._loop.run(
            self._client.set_collection_retention(
                collection, override_per_stream, remove_older_than
            )
        )

    def sql_query(self, query: str, params: list[str] | None = None) -> list[Any]:
        """Runs an SQL query over the metadata and returns its rows.

        Args:
            query: One SELECT in PostgreSQL's dialect, over the tables `streams`, `devices`, `units`
                and `collections`; parameters are `$1`, `$2` and so on.
            params: The values of the parameters as texts, which the database converts.

        Returns:
            A dict for each row, keyed by column. If several columns have the same name, all but the
            first are named like `name (column 2)`. Values are JSON values; uuids and times are
            texts, annotations a dict of texts.

        Raises:
            BadSQLValue: A parameter has the wrong type, or the query is invalid.
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
            A dict for each, with `id`, `name` and its other fields. From a server that has devices
            only as an SQL table, a row of that table.

        Raises:
            NotSupportedError: The server has no devices.

        Examples:
            >>> [device["name"] for device in client.list_devices()]
            []
        """
        return self._loop.run(self._client.list_devices())

    def get_device(self, device_id: int) -> dict[str, Any]:
        """Returns one device; see `list_devices`.

        Args:
            device_id: Id of the device.

        Raises:
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        return self._loop.run(self._client.get_device(device_id))

    def create_device(self, device: dict[str, Any]) -> dict[str, Any]:
        """Creates a device and returns it as the server stores it.

        Args:
            device: A unique `name`, and any further fields with JSON values. The server sets the
                `id`.

        Raises:
            BTRDBTypeError: JSON cannot represent a field.
            BTRDBValueError: The name is missing or empty, or an id is given.
            NotSupportedError: The server has no devices.
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
        """Changes the device with the id in the dict and returns its new state.

        Args:
            device: The `id`, and the fields to set. Other fields stay unchanged.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another device has this name.
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        return self._loop.run(self._client.update_device(device))

    def delete_device(self, device_id: int) -> None:
        """Removes a device.

        Args:
            device_id: Id of the device.

        Raises:
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        self._loop.run(self._client.delete_device(device_id))

    def list_units(self) -> list[dict[str, Any]]:
        """Returns all units, by id.

        Returns:
            A dict for each, with `id`, `name` and its other fields. From a server that has units
            only as an SQL table, a row of that table.

        Raises:
            NotSupportedError: The server has no units.

        Examples:
            >>> [unit["name"] for unit in client.list_units()]
            []
        """
        return self._loop.run(self._client.list_units())

    def get_unit(self, unit_id: int) -> dict[str, Any]:
        """Returns one unit; see `list_units`.

        Args:
            unit_id: Id of the unit.

        Raises:
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        return self._loop.run(self._client.get_unit(unit_id))

    def create_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Creates a unit and returns it as the server stores it.

        Args:
            unit_dict: A unique `name`, and any further fields with JSON values. The server sets the
                `id`.

        Raises:
            BTRDBTypeError: JSON cannot represent a field.
            BTRDBValueError: The name is missing or empty, or an id is given.
            NotSupportedError: The server has no units.
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
        """Changes the unit with the id in the dict and returns its new state.

        Args:
            unit_dict: The `id`, and the fields to set. Other fields stay unchanged.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another unit has this name.
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        return self._loop.run(self._client.update_unit(unit_dict))

    def delete_unit(self, unit_id: int) -> None:
        """Removes a unit.

        Args:
            unit_id: Id of the unit.

        Raises:
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        self._loop.run(self._client.delete_unit(unit_id))

    # </mirrored>
