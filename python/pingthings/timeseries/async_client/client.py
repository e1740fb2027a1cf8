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
    """A connection to a server. Make one with `connect`; close it, or use it in `async with`.

    One client serves any number of tasks, threads and event loops at once.
    """

    __module__ = "pingthings.timeseries.async_client"  # where it is documented, and imported from

    def __init__(
        self,
        creds: dict[str, str],
        pyo3_client: pyo3_client.Client,
        concurrency_limit: int | None = None,
    ) -> None:
        """Wraps a connected core; `connect` is what users call.

        Args:
            creds: What the client was connected with, without the key.
            pyo3_client: The connected core.
            concurrency_limit: Most requests in flight at once; None leaves the core's.
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
        """Returns a client that is connected and whose key the server has accepted.

        What is not given comes from the environment, and then from the credentials file; a profile
        that is given decides alone.

        Args:
            profile: Name of a profile of `~/.predictivegrid/credentials.yaml`. Something of the
                form `host:port` is taken as the endpoint.
            endpoint: Host and port, as in `grid.example.com:4411`; `BTRDB_ENDPOINTS` if left out.
                Port 4411 and `https://` mean TLS. Several, separated by commas, are tried in turn;
                when the one in use cannot be reached any more, the next one is used.
            apikey: The API key; `BTRDB_API_KEY` if left out.
            concurrency_limit: Most requests in flight at once; `PINGTHINGS_CONCURRENCY_LIMIT` if
                left out, or else `constants.DEFAULT_CONCURRENCY_LIMIT`.
            **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

        Raises:
            AuthenticationError: The server does not accept the key.
            BTRDBValueError: Profile and endpoint are both given, or something is malformed.
            ConnectionError: The server cannot be reached, or nothing says where it is.
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
        """Where the server is, as it was said: host and port, or several separated by commas."""
        return self._creds["endpoint"]

    @property
    def concurrency_limit(self) -> int:
        """Most requests in flight at once; a change takes effect at once, also for waiting calls.

        A large limit can cost much memory, since every request in flight holds a part of its
        answer.
        """
        return self._core.concurrency_limit

    @concurrency_limit.setter
    def concurrency_limit(self, value: int) -> None:
        self._core.concurrency_limit = resolve_concurrency_limit(value, {})

    @property
    def timeout(self) -> float | None:
        """Seconds for which a server may be silent in a call, or None for any time, as at first.

        A call whose answer, or the next part of it, takes longer raises `DeadlineExceededError`;
        one that receives parts all along may take as long as it needs. A change counts for calls
        that begin after it.
        """
        return self._core.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._core.timeout = as_seconds(value, "timeout")

    @property
    def deadline(self) -> float | None:
        """Seconds that a whole call may take, or None for any time, as at first.

        Waiting for a turn, connecting, and everything that is repeated count. A call that is not
        done by then raises `DeadlineExceededError`; for an iterator each part is a call. A change
        counts for calls that begin after it.
        """
        return self._core.deadline

    @deadline.setter
    def deadline(self, value: float | None) -> None:
        self._core.deadline = as_seconds(value, "deadline")

    @property
    def memory_limit(self) -> int:
        """Most bytes of answers that may be here and not handed over yet.

        Beyond it calls wait for each other: the one that began first goes on, the others ask for
        the rest of their answers when there is room. One answer that alone would take more raises
        `MemoryLimitExceeded`; read it in parts, with the methods that end in `_iter`. A change
        takes effect at once; it can be given as text like `2 GiB`, too.
        """
        return self._core.memory_limit

    @memory_limit.setter
    def memory_limit(self, value: int | str) -> None:
        self._core.memory_limit = as_bytes(value, "memory_limit")

    def with_time_limits(
        self, *, timeout: float | None = None, deadline: float | None = None
    ) -> AsyncClient:
        """Returns a client over the same connection with time limits of its own.

        Streams taken from it have them too. Closing either client closes both.

        Args:
            timeout: Seconds for which the server may be silent in a call; None for any time.
            deadline: Seconds that a whole call may take; None for any time.

        Examples:
            >>> hasty = client.with_time_limits(deadline=5)
            >>> await hasty.stream_from_uuid(stream.uuid).count()
            10
        """
        other = self._over(self._core.with_own_time_limits())
        other.timeout, other.deadline = timeout, deadline
        return other

    def _over(self, core: pyo3_client.Client) -> AsyncClient:
        """Returns a client that was connected in the same way, over another face of the core."""
        other = AsyncClient(self._creds, core)
        other._options, other._pickled_key = self._options, self._pickled_key
        return other

    def _set_of(self, streams: list[AsyncStream]) -> AsyncStreamSet:
        return AsyncStreamSet(streams)

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
        return from_core(self._core.stats())

    async def close(self) -> None:
        """Closes the client. Calls in flight and later ones raise `ClientClosedError`.

        Closing twice is fine.
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
        """What can be told without asking the server."""
        return {
            "endpoint": self._core.endpoint,
            "profile": self._creds.get("profile"),
            "state": self._state,
            "requests at once": self.concurrency_limit,
        }

    async def info(self) -> dict[Any, Any]:
        """Returns who the server is.

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
        """Makes a stream and returns it.

        Args:
            uuid: Its identity, new and random as a rule.
            collection: The collection it goes into, which begins to exist with its first stream.
            tags: Any of `name`, `unit`, `ingress`, `distiller`. No two streams of a collection have
                the same tags.
            annotations: Further properties, free in their keys. Text is kept as it is, any other
                value as its JSON; see `AsyncStream.annotations`.

        Raises:
            AmbiguousStream: Another stream has this collection and these tags.
            InvalidCollection: The collection's name is empty or too long.
            InvalidTagKey: A tag has another key.
            RecycledUUID: The uuid belonged to a stream that was obliterated.
            StreamExists: A stream has this uuid.

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
            merge: What happens to a time that has a value; see `AsyncStream.insert`.
            progress: Whom to tell how many points are durable; see `AsyncStream.insert`.

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
            inserting = self._traced_core().inserting(tables, merge)  # which looks at every point
        except BTrDBError as error:
            raise by_name(error, uuids, columns) from error.__cause__
        try:
            for place, (uuid, column) in enumerate(zip(uuids, columns, strict=True)):
                if found[place] is None:
                    tags = {"name": column.name, "unit": column.unit}
                    found[place] = await self.create(uuid, collection, tags)
            await of_insert(inserting, total, progress or _nobody)
        finally:
            inserting.close()
        return AsyncStreamSet([stream for stream in found if stream is not None])

    async def list_collections(self, prefix: str | None = None) -> list[str]:
        """Returns the names of the collections that begin with a text.

        Args:
            prefix: Plain text, so `foo` finds `foo/bar` and `foobar`; None finds all.

        Examples:
            >>> await client.list_collections("docs/")
            ['docs/examples']
        """
        return await self._traced_core().list_collections(
            "" if prefix is None else as_text(prefix, "prefix")
        )

    def stream_from_uuid(self, uuid: UUID | str) -> AsyncStream:
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
            is_collection_prefix: Whether collections that merely begin with this text count too.
                With `""`, that is every stream.
            tags: Tags the streams must have; a value of None means any value, also an empty one,
                which is what a tag is that was never set.
            annotations: Annotations they must have, likewise, each as it is kept: text to the
                letter, any other value as its JSON.

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
        """Returns the streams of these uuids, in their order.

        Args:
            uuids: UUIDs or their texts.
            fetch_metadata: Whether to ask the server for collection, tags and annotations. Without,
                `filter` does not work until `refresh_metadata`.

        Raises:
            InvalidUUIDError: One is no uuid.
            StreamNotFoundError: One is unknown, and metadata are fetched.

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
        """Sets for how long the streams of a collection keep their points.

        The server removes what is older in the background, as new versions; see
        `AsyncStream.set_retention`.

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
        keep_ns = as_keep_ns(remove_older_than)
        name = as_text(collection, "collection")
        await self._traced_core().set_collection_retention(name, keep_ns, bool(override_per_stream))

    async def sql_query(self, query: str, params: list[str] | None = None) -> list[Any]:
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
            A dict for each, with `id`, `name` and whatever else it was made with. From a server
            that keeps devices in tables of its own, a row of that table for each.

        Raises:
            NotSupportedError: The server knows no devices.

        Examples:
            >>> [device["name"] for device in await client.list_devices()]
            []
        """
        return await records.list_all(self._traced_core(), "device")

    async def get_device(self, device_id: int) -> dict[str, Any]:
        """Returns one device; see `list_devices`.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        return await records.get(self._traced_core(), "device", device_id)

    async def create_device(self, device: dict[str, Any]) -> dict[str, Any]:
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
        """Changes the device whose id is in the dict and returns it as the server keeps it then.

        Args:
            device: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another device has this name.
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        return await records.update(self._traced_core(), "device", device)

    async def delete_device(self, device_id: int) -> None:
        """Removes a device.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        await records.delete(self._traced_core(), "device", device_id)

    async def list_units(self) -> list[dict[str, Any]]:
        """Returns all units, by id.

        Returns:
            A dict for each, with `id`, `name` and whatever else it was made with. From a server
            that keeps units in tables of its own, a row of that table for each.

        Raises:
            NotSupportedError: The server knows no units.

        Examples:
            >>> [unit["name"] for unit in await client.list_units()]
            []
        """
        return await records.list_all(self._traced_core(), "unit")

    async def get_unit(self, unit_id: int) -> dict[str, Any]:
        """Returns one unit; see `list_units`.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        return await records.get(self._traced_core(), "unit", unit_id)

    async def create_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
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
            >>> unit = await client.create_unit({"name": "example", "rate": 30})
            >>> changed = await client.update_unit({"id": unit["id"], "rate": 60})
            >>> changed["name"], changed["rate"]
            ('example', 60)
            >>> await client.delete_unit(unit["id"])
        """
        return await records.create(self._traced_core(), "unit", unit_dict)

    async def update_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Changes the unit whose id is in the dict and returns it as the server keeps it then.

        Args:
            unit_dict: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another unit has this name.
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        return await records.update(self._traced_core(), "unit", unit_dict)

    async def delete_unit(self, unit_id: int) -> None:
        """Removes a unit.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        await records.delete(self._traced_core(), "unit", unit_id)


def _nobody(_done: int, _total: int) -> None:
    """Whom to tell if nobody asks."""


def _stream_of(found: list[AsyncStream], collection: str, column: WideColumn) -> AsyncStream | None:
    """The stream of a column's name, if there is one."""
    if len(found) > 1:
        raise BTRDBValueError(
            f"{len(found)} streams of `{collection}` are called `{column.name}`; insert what "
            "`frames.split` makes of the frame into a set of the ones that are meant"
        )
    if found and column.unit not in {"", found[0].unit}:
        raise BTRDBValueError(
            f"stream `{column.name}` of `{collection}` has the unit `{found[0].unit}`, not "
            f"`{column.unit}`"
        )
    return found[0] if found else None
