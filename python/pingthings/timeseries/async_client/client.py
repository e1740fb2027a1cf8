"""The asynchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack
from uuid import UUID, uuid4

import pyarrow as pa

from pingthings.timeseries import display, pyo3_client, records, tracing
from pingthings.timeseries.annotations import to_texts
from pingthings.timeseries.answers import as_object
from pingthings.timeseries.arguments import (
    TAG_KEYS,
    as_filter_map,
    as_list,
    as_merge,
    as_seconds,
    as_text,
    as_text_map,
    as_uuid,
)
from pingthings.timeseries.async_client.stream import AsyncStream
from pingthings.timeseries.async_client.streamset import AsyncStreamSet
from pingthings.timeseries.credentials import resolve_concurrency_limit
from pingthings.timeseries.exceptions import BTrDBError, BTRDBValueError
from pingthings.timeseries.insert_data import ArrowStream
from pingthings.timeseries.memory import as_bytes
from pingthings.timeseries.pickling import refuse
from pingthings.timeseries.progress import Progress, of_insert
from pingthings.timeseries.retention import as_keep_ns
from pingthings.timeseries.retention import to_dict as to_retention
from pingthings.timeseries.settings import ConnectionOptions, Settings, warn_of_clear_text
from pingthings.timeseries.stats import Stats, from_core
from pingthings.timeseries.wide_frame import WideColumn, by_name, columns_of

if TYPE_CHECKING:
    from datetime import timedelta

    from pandas import DataFrame, Series


__all__ = ["AsyncClient"]


@tracing.traced
class AsyncClient:
    """A connection to a server. Create it with `connect`; close it, or use it in `async with`.

    One client serves any number of tasks, threads and event loops at once.
    """

    __module__ = "pingthings.timeseries.async_client"  # where it is documented, and imported from

    def __init__(
        self,
        creds: dict[str, str],
        pyo3_client: pyo3_client.Client,
        concurrency_limit: int | None = None,
    ) -> None:
        """Wraps a connected core; users call `connect` instead.

        Args:
            creds: Endpoint and profile of the connection, without the key.
            pyo3_client: The connected core.
            concurrency_limit: Maximum number of requests in flight; None keeps that of the core.
        """
        self._creds = dict(creds)
        self._core = pyo3_client
        self._options = ConnectionOptions()
        self._pickled_key: str | None = None
        if concurrency_limit is not None:
            self.concurrency_limit = concurrency_limit

    def _traced_core(self) -> pyo3_client.Client:
        """Returns the core for a request; the first one in a call begins the span of the call."""
        return tracing.of_call(self._core)

    @staticmethod
    async def connect(
        profile: str | None = None,
        endpoint: str | None = None,
        apikey: str | None = None,
        concurrency_limit: int | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> AsyncClient:
        """Connects, checks the key, and returns the client.

        Missing arguments come from the environment, or else from the credentials file. If a profile
        is given, only the credentials file is used.

        Args:
            profile: Name of a profile in `~/.predictivegrid/credentials.yaml`. A value of the form
                `host:port` is used as the endpoint.
            endpoint: Host and port, as in `grid.example.com:4411`. Default: `BTRDB_ENDPOINTS`.
                Port 4411 and `https://` use TLS. Several, separated by commas, are tried in order;
                if the current one becomes unreachable, the next one is used.
            apikey: The API key. Default: `BTRDB_API_KEY`.
            concurrency_limit: Maximum number of requests in flight. Default:
                `PINGTHINGS_CONCURRENCY_LIMIT`, or else `constants.DEFAULT_CONCURRENCY_LIMIT`.
            **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

        Raises:
            AuthenticationError: The server does not accept the key.
            BTRDBValueError: Profile and endpoint are both given, or an argument is malformed.
            ConnectionError: The server cannot be reached, or no endpoint is configured.
            CredentialsFileNotFound: A profile is given and there is no credentials file.
            DeadlineExceededError: The server does not answer within ten seconds, or
                `connect_timeout`.
            ProfileNotFound: The credentials file has no such profile.

        Examples:
            >>> async with await AsyncClient.connect(endpoint=endpoint, apikey=apikey) as client:
            ...     (await client.info())["major_version"]
            5
        """
        limit = concurrency_limit
        return await AsyncClient._connect(profile, endpoint, apikey, limit, options, blocking=False)

    @staticmethod
    async def _connect(
        profile: str | None,
        endpoint: str | None,
        apikey: str | None,
        concurrency_limit: int | None,
        options: ConnectionOptions,
        *,
        blocking: bool,
    ) -> AsyncClient:
        settings = Settings.find(profile, endpoint, apikey, concurrency_limit, options)
        core = await settings.connect(blocking=blocking)
        if core.exposes_key:
            warn_of_clear_text(settings.endpoint)
        creds = {"endpoint": settings.endpoint}
        if settings.profile is not None:
            creds["profile"] = settings.profile
        client = AsyncClient(creds, core)
        client._options = options
        client._pickled_key = settings.apikey if settings.pickle_key else None
        client.timeout, client.deadline = settings.timeout_s, settings.deadline_s
        return client

    @property
    def endpoint(self) -> str:
        """The endpoint of the connection: host and port, or several separated by commas."""
        return self._creds["endpoint"]

    @property
    def concurrency_limit(self) -> int:
        """Maximum number of requests in flight. A change also applies to waiting calls at once.

        A large limit can need much memory, because every request in flight holds a part of its
        answer.
        """
        return self._core.concurrency_limit

    @concurrency_limit.setter
    def concurrency_limit(self, value: int) -> None:
        self._core.concurrency_limit = resolve_concurrency_limit(value, {})

    @property
    def timeout(self) -> float | None:
        """Seconds for which a server may be silent during a call; None, the default, is no limit.

        If the answer, or its next part, takes longer, the call raises `DeadlineExceededError`. A
        call that keeps receiving parts may take any time. A change applies to later calls.
        """
        return self._core.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._core.timeout = as_seconds(value, "timeout")

    @property
    def deadline(self) -> float | None:
        """Seconds that a complete call may take; None, the default, is no limit.

        This includes waiting for a permit, connecting, and retries. A call that takes longer raises
        `DeadlineExceededError`; for an iterator each part is a call. A change applies to later
        calls.
        """
        return self._core.deadline

    @deadline.setter
    def deadline(self, value: float | None) -> None:
        self._core.deadline = as_seconds(value, "deadline")

    @property
    def memory_limit(self) -> int:
        """Maximum bytes of answers that are received and not yet returned.

        Beyond it calls wait for each other: the oldest one continues, the others request the rest
        of their answers when there is space. A single answer that exceeds the limit raises
        `MemoryLimitExceeded`; read it in parts, with the methods that end in `_iter`. A change
        takes effect at once. It can also be set with text such as `2 GiB`.
        """
        return self._core.memory_limit

    @memory_limit.setter
    def memory_limit(self, value: int | str) -> None:
        self._core.memory_limit = as_bytes(value, "memory_limit")

    def with_time_limits(
        self, *, timeout: float | None = None, deadline: float | None = None
    ) -> AsyncClient:
        """Returns a client over the same connection with other time limits.

        Streams obtained from it have these limits, too. Closing either client closes both.

        Args:
            timeout: Seconds for which the server may be silent during a call; None is no limit.
            deadline: Seconds that a complete call may take; None is no limit.

        Examples:
            >>> hasty = client.with_time_limits(deadline=5)
            >>> await hasty.stream_from_uuid(stream.uuid).count()
            10
        """
        other = self._over(self._core.with_own_time_limits())
        other.timeout, other.deadline = timeout, deadline
        return other

    def _over(self, core: pyo3_client.Client) -> AsyncClient:
        """Returns a client for the same connection over another interface of the core."""
        other = AsyncClient(self._creds, core)
        other._options, other._pickled_key = self._options, self._pickled_key
        return other

    def _set_of(self, streams: list[AsyncStream]) -> AsyncStreamSet:
        return AsyncStreamSet(streams)

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
        return from_core(self._core.stats())

    async def close(self) -> None:
        """Closes the client. Calls in flight and later ones raise `ClientClosedError`.

        Closing twice is allowed.
        """
        self._core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        refuse(type(self).__name__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.endpoint} {self._state}>"

    def _repr_html_(self) -> str:
        return display.client_html(type(self).__name__, self._facts)

    @property
    def _state(self) -> str:
        return "closed" if self._core.is_closed else "connected"

    @property
    def _facts(self) -> dict[str, object]:
        """The properties that are known without a request."""
        return {
            "endpoint": self._core.endpoint,
            "profile": self._creds.get("profile"),
            "state": self._state,
            "requests at once": self.concurrency_limit,
        }

    async def info(self) -> dict[Any, Any]:
        """Returns information about the server.

        Returns:
            A dict with `major_version` and `minor_version` of its protocol, `build`, and `proxy`,
            a dict whose `proxy_endpoints` is a list.

        Examples:
            >>> info = await client.info()
            >>> info["major_version"], info["proxy"]
            (5, {'proxy_endpoints': []})
        """
        return await self._traced_core().info()

    async def create(
        self,
        uuid: UUID,
        collection: str,
        tags: dict[str, str] = {},  # noqa: B006 - documented default, never changed
        annotations: dict[str, Any] = {},  # noqa: B006 - documented default, never changed
    ) -> AsyncStream:
        """Creates a stream and returns it.

        Args:
            uuid: The identity of the stream, usually new and random.
            collection: Its collection, which is created with its first stream.
            tags: Any of `name`, `unit`, `ingress`, `distiller`. No two streams of a collection have
                the same tags.
            annotations: Further properties with any keys. Text is stored unchanged, any other value
                as its JSON; see `AsyncStream.annotations`.

        Raises:
            AmbiguousStream: Another stream has the same collection and tags.
            InvalidCollection: The name of the collection is empty or too long.
            InvalidTagKey: A tag has another key.
            RecycledUUID: The uuid belonged to a stream that was obliterated.
            StreamExists: A stream with this uuid already exists.

        Examples:
            >>> stream = await client.create(
            ...     uuid4(), "substation/pmu7", {"name": "L1MAG", "unit": "V"}
            ... )
            >>> stream.name
            'L1MAG'
        """
        uuid = as_uuid(uuid)
        tags = as_text_map(tags, "tags")
        texts = to_texts(annotations, "annotations")
        collection = as_text(collection, "collection")
        await self._traced_core().create(uuid, collection, tags, texts)
        tags = {**dict.fromkeys(TAG_KEYS, ""), **tags}
        stream = AsyncStream(self, uuid, True, collection, tags, None, 1)  # noqa: FBT003
        stream._texts = texts
        return stream

    async def create_streams(
        self,
        frame: ArrowStream | pa.RecordBatch | DataFrame | Series,
        collection: str,
        *,
        names: Mapping[str, str] | None = None,
        units: str | Mapping[str, str] | None = None,
        time: str | None = None,
        merge: str = "never",
        progress: Progress | None = None,
    ) -> AsyncStreamSet:
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
            merge: The merge policy; see `AsyncStream.insert`.
            progress: Where to report how many points are durable; see `AsyncStream.insert`.

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
            >>> made = await client.create_streams(
            ...     frame, "docs/wide", names={"va": "L1MAG"}, units={"va": "volts", "fa": "hertz"}
            ... )
            >>> [(stream.name, stream.unit) for stream in made]
            [('L1MAG', 'volts'), ('fa', 'hertz')]
        """
        merge, collection = as_merge(merge), as_text(collection, "collection")
        columns = columns_of(frame, time, names, units)
        there: dict[str | None, list[AsyncStream]] = {}
        for stream in await self.streams_in_collection(collection, is_collection_prefix=False):
            there.setdefault(stream.name, []).append(stream)
        found = [_stream_of(there.get(one.name, []), collection, one) for one in columns]
        uuids = [uuid4() if stream is None else stream.uuid for stream in found]
        tables = [(uuid, column.points) for uuid, column in zip(uuids, columns, strict=True)]
        total = sum(len(table) for _, table in tables)
        tracing.note("pingthings.inserted_rows", lambda: total)
        try:
            steps = self._traced_core().insert_steps(tables, merge)  # validates every point
        except BTrDBError as error:
            raise by_name(error, uuids, columns) from error.__cause__
        try:
            for place, (uuid, column) in enumerate(zip(uuids, columns, strict=True)):
                if found[place] is None:
                    tags = {"name": column.name, "unit": column.unit}
                    found[place] = await self.create(uuid, collection, tags)
            await of_insert(steps, total, progress or _ignore)
        finally:
            steps.close()
        return AsyncStreamSet([stream for stream in found if stream is not None])

    async def list_collections(self, prefix: str | None = None) -> list[str]:
        """Returns the names of the collections with a prefix.

        Args:
            prefix: The prefix as plain text: `foo` finds `foo/bar` and `foobar`; None finds all.

        Examples:
            >>> await client.list_collections("docs/")
            ['docs/examples']
        """
        return await self._traced_core().list_collections(
            "" if prefix is None else as_text(prefix, "prefix")
        )

    def stream_from_uuid(self, uuid: UUID | str) -> AsyncStream:
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
        return AsyncStream(self, as_uuid(uuid))

    async def streams_in_collection(
        self,
        collection: str = "",
        is_collection_prefix: bool = True,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> AsyncStreamSet:
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
            >>> found = await client.streams_in_collection("docs/examples", tags={"unit": "volts"})
            >>> sorted(stream.name for stream in found)
            ['L1MAG', 'L2MAG']
        """
        found = await self._traced_core().lookup_streams(
            as_text(collection, "collection"),
            bool(is_collection_prefix),
            as_filter_map(tags, "tags"),
            to_texts(annotations, "annotations"),
        )
        return AsyncStreamSet([AsyncStream._from_info(self, info) for info in found])

    async def streamset_from_uuids(
        self, uuids: Iterable[UUID | str], fetch_metadata: bool = True
    ) -> AsyncStreamSet:
        """Returns the streams with these uuids, in the same order.

        Args:
            uuids: UUIDs or their texts.
            fetch_metadata: Whether to fetch collection, tags and annotations. Without them,
                `filter` does not work until `refresh_metadata`.

        Raises:
            InvalidUUIDError: A value is not a uuid.
            StreamNotFoundError: A stream does not exist, and metadata are fetched.

        Examples:
            >>> streams = await client.streamset_from_uuids([stream.uuid])
            >>> streams[0].name
            'L1MAG'
        """
        streams = AsyncStreamSet([self.stream_from_uuid(uuid) for uuid in as_list(uuids, "uuids")])
        if fetch_metadata:
            await streams.refresh_metadata()
        return streams

    async def get_collection_properties(self, collection: str) -> dict[str, Any]:
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
            >>> await client.set_collection_retention("docs/kept", False, timedelta(days=7))
            >>> await client.get_collection_properties("docs/kept")
            {'retention': {'remove_older_than': datetime.timedelta(days=7)}}
        """
        keep_ns, overrides = await self._traced_core().collection_retention(
            as_text(collection, "collection")
        )
        retention = to_retention(keep_ns)
        if overrides:
            retention["override_per_stream"] = True
        return {"retention": retention}

    async def set_collection_retention(
        self,
        collection: str,
        override_per_stream: bool = False,
        remove_older_than: timedelta | None = None,
    ) -> None:
        """Sets the retention period of the streams of a collection.

        The server removes older points in the background, in new versions; see
        `AsyncStream.set_retention`.

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
        keep_ns = as_keep_ns(remove_older_than)
        name = as_text(collection, "collection")
        await self._traced_core().set_collection_retention(name, keep_ns, bool(override_per_stream))

    async def sql_query(self, query: str, params: list[str] | None = None) -> list[Any]:
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
            >>> await client.sql_query(
            ...     "SELECT name FROM streams WHERE collection = $1 ORDER BY name",
            ...     ["docs/examples"],
            ... )
            [{'name': 'L1MAG'}, {'name': 'L2MAG'}]
        """
        texts = [as_text(value, "params") for value in as_list(params or [], "params")]
        rows = await self._traced_core().sql_query(as_text(query, "query"), texts)
        return [as_object(row, "a query") for row in rows]

    async def list_devices(self) -> list[dict[str, Any]]:
        """Returns all devices, by id.

        Returns:
            A dict for each, with `id`, `name` and its other fields. From a server that has devices
            only as an SQL table, a row of that table.

        Raises:
            NotSupportedError: The server has no devices.

        Examples:
            >>> [device["name"] for device in await client.list_devices()]
            []
        """
        return await records.list_all(self._traced_core(), "device")

    async def get_device(self, device_id: int) -> dict[str, Any]:
        """Returns one device; see `list_devices`.

        Args:
            device_id: Id of the device.

        Raises:
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        return await records.get(self._traced_core(), "device", device_id)

    async def create_device(self, device: dict[str, Any]) -> dict[str, Any]:
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
            >>> device = await client.create_device({"name": "example", "rate": 30})
            >>> await client.update_device({"id": device["id"], "rate": 60}) == {
            ...     **device,
            ...     "rate": 60,
            ... }
            True
            >>> await client.delete_device(device["id"])
        """
        return await records.create(self._traced_core(), "device", device)

    async def update_device(self, device: dict[str, Any]) -> dict[str, Any]:
        """Changes the device with the id in the dict and returns its new state.

        Args:
            device: The `id`, and the fields to set. Other fields stay unchanged.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another device has this name.
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        return await records.update(self._traced_core(), "device", device)

    async def delete_device(self, device_id: int) -> None:
        """Removes a device.

        Args:
            device_id: Id of the device.

        Raises:
            ObjectNotFound: There is no device with this id; also a `LookupError`.
        """
        await records.delete(self._traced_core(), "device", device_id)

    async def list_units(self) -> list[dict[str, Any]]:
        """Returns all units, by id.

        Returns:
            A dict for each, with `id`, `name` and its other fields. From a server that has units
            only as an SQL table, a row of that table.

        Raises:
            NotSupportedError: The server has no units.

        Examples:
            >>> [unit["name"] for unit in await client.list_units()]
            []
        """
        return await records.list_all(self._traced_core(), "unit")

    async def get_unit(self, unit_id: int) -> dict[str, Any]:
        """Returns one unit; see `list_units`.

        Args:
            unit_id: Id of the unit.

        Raises:
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        return await records.get(self._traced_core(), "unit", unit_id)

    async def create_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
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
            >>> unit = await client.create_unit({"name": "example", "rate": 30})
            >>> changed = await client.update_unit({"id": unit["id"], "rate": 60})
            >>> changed["name"], changed["rate"]
            ('example', 60)
            >>> await client.delete_unit(unit["id"])
        """
        return await records.create(self._traced_core(), "unit", unit_dict)

    async def update_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Changes the unit with the id in the dict and returns its new state.

        Args:
            unit_dict: The `id`, and the fields to set. Other fields stay unchanged.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another unit has this name.
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        return await records.update(self._traced_core(), "unit", unit_dict)

    async def delete_unit(self, unit_id: int) -> None:
        """Removes a unit.

        Args:
            unit_id: Id of the unit.

        Raises:
            ObjectNotFound: There is no unit with this id; also a `LookupError`.
        """
        await records.delete(self._traced_core(), "unit", unit_id)


def _ignore(_done: int, _total: int) -> None:
    """A progress function that does nothing."""


def _stream_of(found: list[AsyncStream], collection: str, column: WideColumn) -> AsyncStream | None:
    """Returns the stream with the name of a column, if there is one."""
    if len(found) > 1:
        raise BTRDBValueError(
            f"{len(found)} streams of `{collection}` have the name `{column.name}`; divide the "
            "frame with `frames.split` and insert it into a set of the right streams"
        )
    if found and column.unit not in {"", found[0].unit}:
        raise BTRDBValueError(
            f"stream `{column.name}` of `{collection}` has the unit `{found[0].unit}`, not "
            f"`{column.unit}`"
        )
    return found[0] if found else None
