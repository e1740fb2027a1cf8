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
    """A connection to a server whose methods wait for their results.

    Make one with `connect`; close it, or use it in `with`. It works from any thread and inside a
    running event loop, and Ctrl-C ends a call that waits.
    """

    __module__ = "pingthings.timeseries.client"  # where it is documented, and imported from

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
        return Client._reconnect, recipe(self._client)

    # A bound method is pickled with its class, whose module stays what it is.
    @classmethod
    def _reconnect(cls, *recipe: Any) -> Client:
        """Returns a client of this process for what travelled."""
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
        """Where the server is, as it was said: host and port, or several separated by commas."""
        return self._client.endpoint

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
