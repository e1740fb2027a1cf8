"""The asynchronous client, its streams and its sets of streams.

This is the implementation. The synchronous classes of `client.py` run the same coroutines over the
core's blocking face, which is why nothing here may await anything but the core and coroutines of
this module (docs/design/twins.md).

Times are given as anything that `utils.to_nanoseconds` takes and are nanoseconds since the Unix
epoch, UTC. Every range is half-open: `start` is included, `end` is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, Unpack, overload
from uuid import UUID, uuid4

import pyarrow as pa

from pingthings.timeseries import display, plot, pyo3_client, tracing
from pingthings.timeseries.annotations import from_texts, is_kept_as, to_texts
from pingthings.timeseries.answers import as_object
from pingthings.timeseries.arguments import (
    TAG_KEYS,
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
    as_seconds,
    as_text,
    as_text_map,
    as_time,
    as_uuid,
    as_version,
    as_versions,
    as_width_ns,
)
from pingthings.timeseries.constants import (
    MAXIMUM_TIME,
    MINIMUM_TIME,
    RAW_F64_SCHEMA,
    STAT_F32_SCHEMA,
)
from pingthings.timeseries.credentials import resolve_concurrency_limit
from pingthings.timeseries.exceptions import (
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidOperation,
    InvalidUUIDError,
    NotSupportedError,
    ObjectNotFound,
    StreamNotInSetError,
)
from pingthings.timeseries.insert_data import ArrowStream, InsertData, to_arrow
from pingthings.timeseries.memory import as_bytes
from pingthings.timeseries.pickling import refuse
from pingthings.timeseries.points import RawPoint
from pingthings.timeseries.progress import Progress, by_points, by_streams, of_insert
from pingthings.timeseries.records import SELECT_ALL, as_record, as_record_id, from_row, to_dict
from pingthings.timeseries.retention import as_keep_ns
from pingthings.timeseries.retention import to_dict as to_retention
from pingthings.timeseries.settings import ConnectionOptions, Settings, warn_of_clear_text
from pingthings.timeseries.stats import Stats, from_core
from pingthings.timeseries.wide_frame import WideColumn, columns_of

if TYPE_CHECKING:
    from datetime import timedelta

    from pandas import DataFrame, Series

    from pingthings.timeseries.constants import _PW
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["AsyncClient", "AsyncStream", "AsyncStreamSet"]


@tracing.traced
class AsyncClient:
    """A connection to a server. Make one with `connect`; close it, or use it in `async with`.

    One client serves any number of tasks, threads and event loops at once.
    """

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
        self._untraced_core = pyo3_client
        self._options = ConnectionOptions()
        self._pickled_key: str | None = None
        if concurrency_limit is not None:
            self.concurrency_limit = concurrency_limit

    @property
    def _core(self) -> pyo3_client.Client:
        return tracing.of_call(self._untraced_core)

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
        return await _connect(profile, endpoint, apikey, limit, options, blocking=False)

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
        return await self._core.info()

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
        await self._core.create(uuid, collection, tags, texts)
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
        inserting = self._core.inserting(tables, merge)  # which looks at every point
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
        return await self._core.list_collections(
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
        found = await self._core.lookup_streams(
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
        keep_ns, overrides = await self._core.collection_retention(
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
        await self._core.set_collection_retention(name, keep_ns, bool(override_per_stream))

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
        rows = await self._core.sql_query(as_text(query, "query"), texts)
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
        return await self._records("device")

    async def get_device(self, device_id: int) -> dict[str, Any]:
        """Returns one device; see `list_devices`.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        return await self._record("device", as_record_id(device_id, "device_id"))

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
        number, name, fields = as_record(device, "device")
        if number is not None or name is None:
            raise BTRDBValueError("a new device needs a `name` and no `id`, which the server gives")
        return to_dict(await self._core.create_record("device", name, fields))

    async def update_device(self, device: dict[str, Any]) -> dict[str, Any]:
        """Changes the device whose id is in the dict and returns it as the server keeps it then.

        Args:
            device: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another device has this name.
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        number, name, fields = as_record(device, "device")
        if number is None:
            raise BTRDBValueError("say in `id` which device to change")
        return to_dict(await self._core.update_record("device", number, name, fields))

    async def delete_device(self, device_id: int) -> None:
        """Removes a device.

        Args:
            device_id: Its id.

        Raises:
            ObjectNotFound: There is no device of this id; this is a `LookupError`.
        """
        await self._core.delete_record("device", as_record_id(device_id, "device_id"))

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
        return await self._records("unit")

    async def get_unit(self, unit_id: int) -> dict[str, Any]:
        """Returns one unit; see `list_units`.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        return await self._record("unit", as_record_id(unit_id, "unit_id"))

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
        number, name, fields = as_record(unit_dict, "unit")
        if number is not None or name is None:
            raise BTRDBValueError("a new unit needs a `name` and no `id`, which the server gives")
        return to_dict(await self._core.create_record("unit", name, fields))

    async def update_unit(self, unit_dict: dict[str, Any]) -> dict[str, Any]:
        """Changes the unit whose id is in the dict and returns it as the server keeps it then.

        Args:
            unit_dict: Its `id`, and the fields to set. Other fields stay as they are.

        Raises:
            BTRDBValueError: The id is missing, or the name is empty.
            ObjectExists: Another unit has this name.
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        number, name, fields = as_record(unit_dict, "unit")
        if number is None:
            raise BTRDBValueError("say in `id` which unit to change")
        return to_dict(await self._core.update_record("unit", number, name, fields))

    async def delete_unit(self, unit_id: int) -> None:
        """Removes a unit.

        Args:
            unit_id: Its id.

        Raises:
            ObjectNotFound: There is no unit of this id; this is a `LookupError`.
        """
        await self._core.delete_record("unit", as_record_id(unit_id, "unit_id"))

    async def _records(self, kind: Literal["device", "unit"]) -> list[dict[str, Any]]:
        try:
            return [to_dict(record) for record in await self._core.list_records(kind)]
        except NotSupportedError:
            # Servers of the platform keep them in tables that SQL reads.
            rows = await self.sql_query(SELECT_ALL[kind])
            return [from_row(row) for row in rows]

    async def _record(self, kind: Literal["device", "unit"], number: int) -> dict[str, Any]:
        try:
            return to_dict(await self._core.get_record(kind, number))
        except NotSupportedError:
            for record in await self._records(kind):
                if record.get("id") == number:
                    return record
            raise ObjectNotFound(f"there is no {kind} {number}") from None


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
    core = await pyo3_client.connect(
        settings.endpoints,
        apikey=settings.apikey,
        tls=settings.tls,
        require_tls=settings.require_tls,
        ca_bundle=settings.ca_bundle,
        identity=settings.identity,
        proxies=settings.proxies,
        concurrency_limit=settings.concurrency_limit,
        memory_limit=settings.memory_limit,
        connect_timeout_s=settings.connect_timeout_s,
        retry_for_s=settings.retry_for_s,
        blocking=blocking,
    )
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


@tracing.traced
class AsyncStream:
    """One stream: measured values over time, every version of them, and metadata.

    Two are equal if they have the same uuid. `name`, `unit`, `collection` and `property_version`
    are what was last fetched, without asking the server; `refresh_metadata` fetches them again.
    """

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
        if not isinstance(client, AsyncClient):
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
        (info,) = await self._client._core.stream_info([self._uuid])
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
        info = await self._client._core.update(
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
        await self._client._core.obliterate(self._uuid)
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
        _own, effective = await self._client._core.stream_retention(self._uuid)
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
        await self._client._core.set_stream_retention(self._uuid, keep_ns)
        self._retention = None

    async def get_latest_version(self) -> int:
        """Returns the version of the last commit.

        Points inserted since are in no numbered version yet: reads of the latest data see them,
        reads at this version do not. `flush` commits them.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        (version,) = await self._client._core.latest_versions([self._uuid])
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
        (version,) = await self._client._core.versions_at_time(
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
        (ranges,) = await self._client._core.changes([at], as_exponent(resolution))
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
        changes = await self._client._core.changes_iter(at, as_exponent(resolution))
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
        return await self._client._core.delete(self._uuid, first, last)

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
        (version,) = await _insert(self._client._core, tables, merge, progress)
        return version

    async def flush(self) -> None:
        """Commits the points that are in no numbered version yet.

        Raises:
            StreamNotFoundError: The server knows no stream of this uuid.
        """
        await self._client._core.flush([self._uuid])

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
        (table,) = await self._client._core.raw_values(
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
        tables = await self._client._core.raw_values_iter(
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
        (table,) = await self._client._core.aligned_windows(
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
        (table,) = await self._client._core.precise_windows(
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
        tables = await self._client._core.aligned_windows_iter(
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
        tables = await self._client._core.precise_windows_iter(
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
        (count,) = await _counts(self._client, [self._at(version)], start, end)
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
        (point,) = await self._client._core.nearest(
            [self._at(version)], as_time(time, "time"), bool(backward)
        )
        return None if point is None else RawPoint(*point)

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
            AsyncStreamSet([self]),
            start,
            end,
            versions,
            width=width,
            gap=gap,
            backend=backend,
            axes=axes,
        )


@tracing.traced
class AsyncStreamSet(Collection[AsyncStream]):
    """Streams in a fixed order, asked together.

    A call is one awaitable and one loop in the core, whatever the number of streams: up to
    `concurrency_limit` requests are in flight at once. If a stream fails, the others are given up
    and the error names its uuid.

    It has a length, an order and indexes like a list; a UUID or its text finds the stream of that
    uuid, and a slice is a set.
    """

    def __init__(self, streams: list[AsyncStream] = []) -> None:  # noqa: B006 - documented default, never changed
        """Collects streams of one client.

        Args:
            streams: The streams, in the order in which results come.
        """
        self._streams = as_list(streams, "streams")
        for stream in self._streams:
            if not isinstance(stream, AsyncStream):
                raise BTRDBTypeError(
                    f"a set of streams takes `AsyncStream`, not `{type(stream).__name__}`"
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
            raise StreamNotInSetError(f"the set holds no stream `{uuid}`")
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

    @property
    def _core(self) -> pyo3_client.Client:
        return self._streams[0]._client._core

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
            infos = await self._core.stream_info(self._uuids)
            for stream, info in zip(self._streams, infos, strict=True):
                stream._describe(info)

    async def get_latest_version(self) -> dict[UUID, int]:
        """Returns the version of the last commit of each stream.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        if not self._streams:
            return {}
        versions = await self._core.latest_versions(self._uuids)
        return dict(zip(self._uuids, versions, strict=True))

    async def get_version_at_time(self, realtime: Instant) -> dict[UUID, int]:
        """Returns the version of each stream that was the latest at an instant of the wall clock.

        Args:
            realtime: The instant; in the future it gives the latest versions.

        Raises:
            NotSupportedError: The server does not know.
            VersionNotAvailable: A stream is younger, or that version was forgotten.
        """
        time = as_time(realtime, "realtime")
        if not self._streams:
            return {}
        versions = await self._core.versions_at_time(self._uuids, time)
        return dict(zip(self._uuids, versions, strict=True))

    async def changes(
        self,
        from_version_map: Mapping[UuidKey, int],
        to_version_map: Mapping[OtherUuidKey, int],
        resolution: int = 0,
    ) -> dict[UUID, list[dict[str, int]]]:
        """Returns the ranges in which each stream differs between two versions.

        See `AsyncStream.changes`; ranges can be larger than what was written.

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
        found = await self._core.changes(at, exponent)
        return {uuid: as_ranges(ranges) for uuid, ranges in zip(old, found, strict=True)}

    async def pin_versions(self, versions: Mapping[UuidKey, int] | None = None) -> Self:
        """Makes reads that name no version use these, and returns the set itself.

        Args:
            versions: A version for each stream that is to be pinned; streams that are not named
                read the latest data. None pins every stream to its latest version, in which points
                that were not flushed are missing.

        Raises:
            StreamNotInSetError: A uuid is not in the set; this is a `KeyError`.
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
        """Stores points in several streams at once; see `AsyncStream.insert`.

        Either all points of all streams are good, or none is sent.

        Args:
            data_map: Points for each stream, in any form of `InsertData`.
            merge: What happens to a time that has a value: `never`, `equal`, `retain`, `replace`.
            progress: Whom to tell how many points of all streams are durable; see
                `AsyncStream.insert`.

        Returns:
            The version of the last commit of each stream that was given points.

        Raises:
            StreamNotInSetError: A uuid is not in the set; this is a `KeyError`.
        """
        data, merge = as_mapping(data_map, "data_map"), as_merge(merge)
        for uuid in data:
            self._place(uuid)
        if not data:
            return {}
        tables = [(uuid, _points_of(uuid, points)) for uuid, points in data.items()]
        return dict(zip(data, await _insert(self._core, tables, merge, progress), strict=True))

    async def flush(self) -> None:
        """Commits the points of every stream that are in no numbered version yet.

        Raises:
            StreamNotFoundError: A stream does not exist.
        """
        if self._streams:
            await self._core.flush(self._uuids)

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
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            single_stream_schema: Schema of each table; None is `RAW_F64_SCHEMA`.
            progress: Whom to tell how many streams are done: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. The call is then made in
                parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in their order, or None for a stream without points there.

        Examples:
            >>> [table.num_rows for table in await streams.raw_values(start, end)]
            [10, 10]
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        if not at:
            return []
        core = self._core
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
                "a stream is in the set twice, and its column would be there twice; join each once"
            )
        return await self._core.joined_values(at, first, last, period_ns)

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
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Whom to tell how many streams are done: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. The call is then made in
                parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in their order, or None for a stream without points there.
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        exponent = as_exponent(point_width)
        if not at:
            return []
        core = self._core
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
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.
            single_stream_schema: Schema of each table; None is `STAT_F64_SCHEMA`.
            progress: Whom to tell how many streams are done: True shows a bar; a function gets
                that number and the number of all; a bar of tqdm is moved. The call is then made in
                parts of `concurrency_limit` streams.

        Returns:
            A table for each stream, in their order, or None for a stream without points there.
        """
        at, first, last = self._at(versions), as_time(start, "start"), as_time(end, "end")
        schema = as_schema(single_stream_schema)
        width_ns = as_width_ns(width)
        if not at:
            return []
        core = self._core
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
            start: First instant; None counts from the beginning of time.
            end: The instant after the last one; None counts to the end of time.
            versions: A version for each stream, in their order; None is the pinned ones, or else
                the latest.

        Examples:
            >>> sum((await streams.count()).values())
            20
        """
        at = self._at(versions)
        if not at:
            return {}
        counts = await _counts(self._streams[0]._client, at, start, end)
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
        points = await self._core.nearest(self._at(None), time, backward)
        found = [None if point is None else RawPoint(*point) for point in points]
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
        """Returns a picture of all streams, a panel for each unit; see `AsyncStream.plot`.

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
            What `AsyncStream.plot` returns.

        Raises:
            BTRDBValueError: The set is empty, or its streams have several units and shall share
                axes.

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


async def _insert(
    core: pyo3_client.Client,
    tables: list[tuple[UUID, Any]],
    merge: str,
    progress: Progress | None,
) -> list[int]:
    tracing.note("pingthings.inserted_rows", lambda: sum(len(table) for _, table in tables))
    if progress is None or progress is False:
        return await core.insert(tables, merge)
    total = sum(len(table) for _, table in tables)
    return await of_insert(core.inserting(tables, merge), total, progress)


async def _counts(
    client: AsyncClient, at: list[tuple[UUID, int]], start: Instant | None, end: Instant | None
) -> list[int]:
    """One window over the whole range counts exactly, at the cost of a look-up."""
    first = MINIMUM_TIME if start is None else as_time(start, "start")
    last = MAXIMUM_TIME if end is None else as_time(end, "end")
    width = max(last - first, 1)
    tables = await client._core.precise_windows(at, first, last, width, None)
    return [0 if not table.num_rows else int(table["count"][0].as_py()) for table in tables]


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
