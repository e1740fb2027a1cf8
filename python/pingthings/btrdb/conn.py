"""The connection of the older client, over one of ours."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, TypeVar
from uuid import UUID

from pingthings.btrdb.endpoint import Endpoint
from pingthings.btrdb.exceptions import retry
from pingthings.btrdb.stream import Stream, StreamSet
from pingthings.btrdb.utils.conversion import AnnotationEncoder, to_uuid
from pingthings.timeseries import Client, constants
from pingthings.timeseries.arguments import TAG_KEYS
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    StreamNotFoundError,
)

__all__ = ["MAX_POINTWIDTH", "MAX_TIME", "MIN_TIME", "BTrDB", "Connection"]

MIN_TIME = constants.MINIMUM_TIME
MAX_TIME = constants.MAXIMUM_TIME + 1
MAX_POINTWIDTH = 63

_ADDRESS = re.compile(r"(\w+://)?([^:\[\]]+|\[[^\]]+\]):\d+/?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

T = TypeVar("T")


class Connection:
    """A place to connect to, and the key for it.

    Args:
        addrportstr: Host and port, as in `grid.example.com:4411`. Port 4411 is encrypted, and so is
            any with `https://` before the host.
        apikey: The key; None connects without one.
        shareable: Whether the key travels with what is pickled.

    Raises:
        BTRDBValueError: The address is of another form; this is a `ValueError`.
    """

    def __init__(
        self, addrportstr: str, apikey: str | None = None, *, shareable: bool = False
    ) -> None:
        if not _ADDRESS.fullmatch(addrportstr):
            raise BTRDBValueError(f"expecting address:port, not `{addrportstr}`")
        self._address = addrportstr
        self._apikey = apikey
        self._is_shareable = shareable

    @property
    def channel(self) -> Client:
        """A client of `pingthings.timeseries` that is connected.

        Raises:
            AuthenticationError: The server does not accept the key.
            ConnectionError: The server cannot be reached.
        """
        # An empty key is none, wherever else one could be found.
        try:
            return Client.connect(
                endpoint=self._address, apikey=self._apikey or "", pickle_key=self._is_shareable
            )
        except AuthenticationError as error:
            # Programs look for the words in which the older client told of it.
            raise AuthenticationError(
                "Could not connect to the database, error message: "
                "<_InactiveRpcError of RPC that terminated with:\n"
                "\tstatus = StatusCode.UNAUTHENTICATED\n"
                f'\tdetails = "{str(error).rpartition(", ")[2]}"\n>'
            ) from error
        except ConnectionError as error:
            raise ConnectionError(
                f"Could not connect to the database, error message: {error}"
            ) from error


class BTrDB:
    """A connection to a server.

    It works from any number of threads, goes on in a child after `fork`, and can be pickled.

    Args:
        endpoint: An `Endpoint`; `connect` is what users call.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.ep = endpoint

    @property
    def client(self) -> Client:
        """The client of `pingthings.timeseries` over the same connection."""
        return self.ep.client

    def _await(self, call: Awaitable[T]) -> T:
        return self.client.get_event_loop().run(_awaited(call))

    @retry
    def query(
        self,
        stmt: str,
        params: list[str] | tuple[str, ...] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> list[dict[str, Any]]:
        """Returns the rows of a SELECT over the metadata, a dict for each.

        Args:
            stmt: The statement, in which values stand as `$1`, `$2` and so on.
            params: The values, as text.
            auto_retry: Try again after an error that may pass; so of every call that has it.
            retries: How often at most.
            retry_delay: Seconds before the second time.
            retry_backoff: By how much each wait is longer than the one before.

        Raises:
            BadSQLValue: The statement, or a value, does not suit the database.
        """
        return self.client.sql_query(stmt, list(params or ()))

    def streams(
        self,
        *identifiers: UUID | str,
        versions: list[int] | None = None,
        is_collection_prefix: bool = False,
    ) -> StreamSet:
        """Returns the streams that are named.

        Args:
            *identifiers: UUIDs, their texts, or collection and name as in `substation/L1MAG`.
            versions: A version for each, which reads of the set use.
            is_collection_prefix: Whether collections that merely begin so count too.

        Raises:
            StreamNotFoundError: No stream, or more than one, has this collection and name.
            BTRDBValueError: Something names no stream, or there are more or fewer versions than
                streams.
            BTRDBTypeError: The versions are no list.
        """
        if versions is not None and not isinstance(versions, list):
            raise BTRDBTypeError("versions argument must be of type list")
        if versions and len(versions) != len(identifiers):
            raise BTRDBValueError(
                f"the number of versions does not match identifiers: {len(versions)} and "
                f"{len(identifiers)}"
            )
        streams = [self._stream(each, is_collection_prefix) for each in identifiers]
        found = StreamSet(streams)
        if versions:
            uuids = (stream.uuid for stream in streams)
            found.pin_versions(dict(zip(uuids, versions, strict=True)))
        return found

    def _stream(self, identifier: object, is_collection_prefix: bool) -> Stream:
        if isinstance(identifier, UUID):
            return self.stream_from_uuid(identifier)
        if isinstance(identifier, str) and _UUID.match(identifier):
            return self.stream_from_uuid(identifier)
        if not isinstance(identifier, str) or "/" not in identifier:
            raise BTRDBValueError(
                f"`{identifier}` names no stream; give a UUID, its text, or collection/name"
            )
        collection, _, name = identifier.rpartition("/")
        found = self.streams_in_collection(
            collection, is_collection_prefix=is_collection_prefix, tags={"name": name}
        )
        if len(found) != 1:
            raise StreamNotFoundError(f"{len(found)} streams are `{identifier}`; one is wanted")
        return found[0]

    def stream_from_uuid(self, uuid: UUID | str | bytes) -> Stream:
        """Returns the stream of a uuid without asking the server whether there is one.

        Args:
            uuid: A UUID or its text.
        """
        return Stream(self, to_uuid(uuid))

    @retry
    def create(
        self,
        uuid: UUID,
        collection: str,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> Stream:
        """Makes a stream and returns it.

        Args:
            uuid: Its identity, new and random as a rule.
            collection: The collection it goes into.
            tags: Any of `name`, `unit`, `ingress`, `distiller`.
            annotations: Further properties; text as it is, other values as JSON.
            auto_retry: See `query`.
            retries: See `query`.
            retry_delay: See `query`.
            retry_backoff: See `query`.

        Raises:
            StreamExists: A stream has this uuid.
            AmbiguousStream: Another stream has this collection and these tags.
        """
        tags, annotations = dict(tags or {}), dict(annotations or {})
        core, encode = self.client._client._core, AnnotationEncoder().encode
        texts: dict[str, str | None] = {key: encode(value) for key, value in annotations.items()}
        self._await(core.create(to_uuid(uuid), collection, tags, texts))
        return Stream(
            self,
            to_uuid(uuid),
            known_to_exist=True,
            collection=collection,
            tags=tags,
            annotations=annotations,
            property_version=1,
        )

    def info(self) -> dict[str, Any]:
        """Returns who the server is: `majorVersion`, `minorVersion`, `build` and `proxy`."""
        info = self.client.info()
        return {
            "majorVersion": info["major_version"],
            "minorVersion": info["minor_version"],
            "build": info["build"],
            "proxy": {"proxyEndpoints": list(info["proxy"]["proxy_endpoints"])},
        }

    def list_collections(self, starts_with: str = "") -> list[str]:
        """Returns the names of the collections that begin with a text."""
        return self.client.list_collections(starts_with)

    def _distinct(self, expression: str, collection: str | None) -> list[Any]:
        statement = f"SELECT DISTINCT {expression} AS found FROM streams"  # noqa: S608 - ours
        if isinstance(collection, str):
            rows = self.query(f"{statement} WHERE collection LIKE $1", [f"{collection}%"])
        else:
            rows = self.query(statement)
        return [row["found"] for row in rows]

    def list_unique_annotations(self, collection: str | None = None) -> list[str]:
        """Returns the keys of the annotations of all streams whose collections begin with a text.

        Args:
            collection: The text, in which `%` and `_` are those of SQL; None is every stream.
        """
        return self._distinct("skeys(annotations)", collection)

    def list_unique_names(self, collection: str | None = None) -> list[str]:
        """Returns the names of all streams; see `list_unique_annotations`.

        Args:
            collection: What the collection begins with.
        """
        return self._distinct("name", collection)

    def list_unique_units(self, collection: str | None = None) -> list[str]:
        """Returns the units of all streams; see `list_unique_annotations`.

        Args:
            collection: What the collection begins with.
        """
        return self._distinct("unit", collection)

    @retry
    def streams_in_collection(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, Any] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> list[Stream]:
        """Returns the streams of collections, with their metadata.

        Args:
            *collection: Names of collections; none is every stream.
            is_collection_prefix: Whether collections that merely begin so count too.
            tags: Tags the streams must have; a value of None means any.
            annotations: Annotations they must have, likewise.
            auto_retry: See `query`.
            retries: See `query`.
            retry_delay: See `query`.
            retry_backoff: See `query`.
        """
        core = self.client._client._core
        texts = {
            key: None if value is None else AnnotationEncoder().encode(value)
            for key, value in (annotations or {}).items()
        }
        return [
            Stream._described(self, info)
            for each in collection or ("",)
            for info in self._await(
                core.lookup_streams(each or "", is_collection_prefix, dict(tags or {}), texts)
            )
        ]

    @retry
    def collection_metadata(
        self,
        prefix: str,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Returns how many streams have each annotation.

        Args:
            prefix: What their collections begin with.
            auto_retry: See `query`.
            retries: See `query`.
            retry_delay: See `query`.
            retry_backoff: See `query`.

        Returns:
            Two dicts: the tags, which the platform does not count, with 0; and the keys of
            annotations with numbers of streams.
        """
        rows = self.query(
            "SELECT skeys(annotations) AS key, count(*) AS count FROM streams "
            "WHERE left(collection, length($1)) = $1 GROUP BY key",
            [prefix],
        )
        return dict.fromkeys(TAG_KEYS, 0), {row["key"]: row["count"] for row in rows}

    def __reduce__(self) -> tuple[Any, ...]:
        return _connected, (self.client,)

    def __repr__(self) -> str:
        return f"<BTrDB {self.client!r}>"


async def _awaited(call: Awaitable[T]) -> T:
    return await call


def _connected(client: Client) -> BTrDB:
    """A connection that was pickled."""
    return BTrDB(Endpoint(client))
