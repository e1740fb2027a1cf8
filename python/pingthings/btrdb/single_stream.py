"""One stream of the older client, over ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import pyarrow as pa

from pingthings import timeseries
from pingthings.btrdb import tables
from pingthings.btrdb.exceptions import retry
from pingthings.btrdb.point import RawPoint, StatPoint
from pingthings.btrdb.utils.conversion import AnnotationDecoder, AnnotationEncoder
from pingthings.btrdb.utils.timez import currently_as_ns, to_nanoseconds
from pingthings.timeseries.arguments import as_time, as_version
from pingthings.timeseries.constants import _PW, MAXIMUM_TIME, MINIMUM_TIME, RAW_F64_SCHEMA
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidCollection,
    InvalidTimeRange,
    StreamNotFoundError,
)

if TYPE_CHECKING:
    from pingthings.btrdb.conn import BTrDB
    from pingthings.timeseries.pyo3_client import StreamInfo
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["Stream"]


class Stream:
    """One stream, whose metadata are fetched when they are first asked for.

    Every call that has `auto_retry`, `retries`, `retry_delay` and `retry_backoff` takes them as
    `BTrDB.query` does. A version of 0 is the latest.

    Args:
        btrdb: The connection.
        uuid: Its identity.
        known_to_exist: Whether the server has confirmed that it exists.
        collection: Its collection, if known.
        tags: Its tags, if known.
        annotations: Its annotations, if known.
        property_version: Version of these metadata.
    """

    def __init__(
        self,
        btrdb: BTrDB,
        uuid: UUID,
        known_to_exist: bool | None = None,
        collection: str | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        property_version: int | None = None,
    ) -> None:
        self._btrdb = btrdb
        self._uuid = uuid
        self._known_to_exist = known_to_exist
        self._collection = collection
        self._tags = tags
        self._annotations = annotations
        self._property_version = property_version

    @classmethod
    def _described(cls, btrdb: BTrDB, info: StreamInfo) -> Self:
        """A stream that was looked up, with annotations as the server keeps them."""
        texts = {key: text or "" for key, text in info.annotations.items()}
        return cls(
            btrdb,
            info.uuid,
            known_to_exist=True,
            collection=info.collection,
            tags=info.tags,
            annotations=texts,
            property_version=info.property_version,
        )

    def _describe(self, info: StreamInfo) -> None:
        self._known_to_exist = True
        self._collection, self._tags = info.collection, info.tags
        self._property_version = info.property_version
        decode = AnnotationDecoder().decode
        self._annotations = {key: decode(text or "") for key, text in info.annotations.items()}

    @property
    def _ours(self) -> timeseries.Stream:
        return timeseries.Stream(self._btrdb.client, uuid=self._uuid)

    @property
    def btrdb(self) -> BTrDB:
        """The connection."""
        return self._btrdb

    @property
    def uuid(self) -> UUID:
        """Its identity."""
        return self._uuid

    @property
    def name(self) -> str:
        """Its tag `name`."""
        return self.tags()["name"]

    @property
    def unit(self) -> str:
        """Its tag `unit`."""
        return self.tags()["unit"]

    @property
    def collection(self) -> str:
        """Its collection."""
        if self._collection is None:
            self.refresh_metadata()
        return self._collection or ""

    def refresh_metadata(self) -> None:
        """Fetches collection, tags and annotations again.

        Raises:
            StreamNotFoundError: There is no such stream.
        """
        core = self._btrdb.client._client._core
        (info,) = self._btrdb._await(core.stream_info([self._uuid]))
        self._describe(info)

    def exists(self) -> bool:
        """Returns whether the server knows the stream, or did when it was asked last."""
        if self._known_to_exist:
            return True
        try:
            self.refresh_metadata()
        except StreamNotFoundError:
            return False
        return True

    @retry
    def tags(
        self,
        refresh: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> dict[str, str]:
        """Returns a copy of its tags, fetched if they are not known or `refresh` says so."""
        if refresh or self._tags is None:
            self.refresh_metadata()
        return deepcopy(self._tags or {})

    @retry
    def annotations(
        self,
        refresh: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[dict[str, Any], int]:
        """Returns a copy of its annotations and the version of its metadata; see `tags`.

        Those of a stream that `streams_in_collection` has found are texts until they are refreshed.
        """
        if refresh or self._annotations is None:
            self.refresh_metadata()
        return deepcopy(self._annotations or {}), self._property_version or 0

    @retry
    def version(
        self,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> int:
        """Returns the version of the last commit, asking the server."""
        return self._ours.get_latest_version()

    @retry
    def update(
        self,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        collection: str | None = None,
        encoder: type[json.JSONEncoder] | None = AnnotationEncoder,
        replace: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> int:
        """Changes metadata and returns their new version; what is not given stays.

        Args:
            tags: Tags to set.
            annotations: Annotations to set.
            collection: The collection to move to.
            encoder: What writes annotations as text; None takes them as they are.
            replace: Whether annotations that are not among those given go.
            auto_retry: See `BTrDB.query`.
            retries: See `BTrDB.query`.
            retry_delay: See `BTrDB.query`.
            retry_backoff: See `BTrDB.query`.

        Raises:
            BTRDBValueError: Nothing is given.
            ConcurrentModification: The metadata have changed since they were fetched.
        """
        if tags is None and annotations is None and collection is None:
            raise BTRDBValueError("you must supply tags, annotations or a collection")
        for name, value in (("tags", tags), ("annotations", annotations)):
            if value is not None and not isinstance(value, dict):
                raise BTRDBTypeError(f"{name} must be of type dict")
        if collection is not None and not isinstance(collection, str):
            raise InvalidCollection("collection must be of type string")
        if self._property_version is None or self._annotations is None:
            self.refresh_metadata()
        if tags is not None or collection is not None:
            self._change(collection=collection, tags=dict(tags or {}))
        if annotations is not None:
            texts = dict(annotations)
            if encoder is not None:
                texts = {key: json.dumps(each, cls=encoder) for key, each in texts.items()}
            removed = [key for key in self._annotations or {} if replace and key not in texts]
            self._change(annotations=texts, removed=removed)
        return self._property_version or 0

    def _change(
        self,
        *,
        collection: str | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        removed: Sequence[str] = (),
    ) -> None:
        call = self._btrdb.client._client._core.update(
            self._uuid,
            self._property_version or 0,
            collection=collection,
            tags=tags or {},
            annotations=annotations or {},
            removed=removed,
        )
        self._describe(self._btrdb._await(call))

    def insert(self, data: Sequence[Any], merge: str = "never") -> int:
        """Stores pairs of time and value, and returns the version of the last commit.

        Args:
            data: Pairs, in any order, or whatever else `timeseries.Stream.insert` takes.
            merge: `never`, `equal`, `retain` or `replace`.
        """
        if len(data) == 0:
            return 0
        if isinstance(data, list | tuple):
            data = [pair if isinstance(pair, tuple | list) else (pair[0], pair[1]) for pair in data]
        return self._ours.insert(data, merge)

    def arrow_insert(self, data: pa.Table, merge: str = "never") -> int:
        """Stores the points of a table, and returns the version of the last commit.

        Args:
            data: A table of times and values.
            merge: `never`, `equal`, `retain` or `replace`.
        """
        if not isinstance(data, pa.Table):
            raise BTRDBTypeError(f"expected an Arrow table, not a `{type(data).__name__}`")
        return self._ours.insert(tables.as_points(data), merge)

    @retry
    def delete(
        self,
        start: Instant,
        end: Instant,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> int:
        """Removes the points of `[start, end)` in a new version, and returns that version."""
        return self._ours.delete(to_nanoseconds(start), to_nanoseconds(end))

    @retry
    def flush(
        self,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> None:
        """Commits the points that are in no numbered version yet."""
        self._ours.flush()

    @retry
    def obliterate(
        self,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> None:
        """Removes the stream with all its versions.

        Raises:
            StreamNotFoundError: There is no such stream.
        """
        self._ours.obliterate()

    def count(
        self,
        start: Instant = MINIMUM_TIME,
        end: Instant = MAXIMUM_TIME,
        pointwidth: Any = 62,
        precise: bool = False,
        version: int = 0,
    ) -> int:
        """Returns the number of points of `[start, end)`, which is always exact.

        Args:
            start: First instant.
            end: The instant after the last one.
            pointwidth: Has no effect.
            precise: Has no effect.
            version: Version to read.
        """
        return self._ours.count(to_nanoseconds(start), to_nanoseconds(end), version)

    @retry
    def nearest(
        self,
        time: Instant,
        version: int = 0,
        backward: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """Returns the first point at or after a time, or the last before it, and the version read.

        Args:
            time: The instant; looking forward it is included, looking backward it is not.
            version: Version to read.
            backward: Look backward.
            auto_retry: See `BTrDB.query`.
            retries: See `BTrDB.query`.
            retry_delay: See `BTrDB.query`.
            retry_backoff: See `BTrDB.query`.

        Returns:
            None if there is no point on that side.
        """
        at = [(self._uuid, as_version(version))]
        core = self._btrdb.client._client._core
        (found,) = self._btrdb._await(core.nearest(at, to_nanoseconds(time), bool(backward)))
        return None if found is None else (RawPoint(*found[:2]), found[2])

    @retry
    def earliest(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """Returns the first point and the version read, or None; see `nearest`."""
        return self.nearest(MINIMUM_TIME, version=version, backward=False)

    @retry
    def latest(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """Returns the last point and the version read, or None; see `nearest`."""
        return self.nearest(MAXIMUM_TIME, version=version, backward=True)

    @retry
    def current(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """Returns the last point before now and the version read, or None; see `nearest`."""
        return self.nearest(currently_as_ns(), version, backward=True)

    def _versioned(
        self, read: Callable[..., pa.Table], version: int, *question: Any
    ) -> list[tuple[Any, int]]:
        """The points of an answer, each with the version read."""
        # Asked for first, so that the answer holds all that the version holds.
        read_at = version or self.version()
        return [(point, read_at) for point in tables.points_of(read(*question, version=version))]

    @retry
    def values(
        self,
        start: Instant,
        end: Instant,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> list[tuple[RawPoint, int]]:
        """Returns the points of `[start, end)`, each with the version read."""
        return self._versioned(self.arrow_values, version, start, end)

    @retry
    def arrow_values(
        self,
        start: Instant,
        end: Instant,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
        schema: pa.Schema | None = None,
    ) -> pa.Table:
        """Returns the points of `[start, end)` as a table of `schema`, or of `time` and `value`."""
        bounds = to_nanoseconds(start), to_nanoseconds(end)
        return self._ours.raw_values(*bounds, version, RAW_F64_SCHEMA if schema is None else schema)

    @retry
    def aligned_windows(
        self,
        start: Instant,
        end: Instant,
        pointwidth: Any,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[tuple[StatPoint, int], ...]:
        """Returns windows of `2**pointwidth` ns, each with the version read.

        Both `start` and `end` are lowered to a multiple of the width. Windows without points are
        left out.
        """
        found = self._versioned(self.arrow_aligned_windows, version, start, end, pointwidth)
        return tuple(found)

    @retry
    def arrow_aligned_windows(
        self,
        start: Instant,
        end: Instant,
        pointwidth: Any,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> pa.Table:
        """Returns windows of `2**pointwidth` ns as a table; see `aligned_windows`."""
        bounds = to_nanoseconds(start), to_nanoseconds(end)
        return self._ours.windowed_values(*bounds, _PW(int(pointwidth)), version, None)

    @retry
    def windows(
        self,
        start: Instant,
        end: Instant,
        width: int,
        depth: int = 0,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[tuple[StatPoint, int], ...]:
        """Returns windows of `width` ns from `start` on, each with the version read.

        A last window that would reach beyond `end` is left out. The statistics of a window without
        points are 0, and a last one without points is left out unless later points exist or the
        version is not 0. `depth` has no effect.
        """
        return tuple(self._versioned(self.arrow_windows, version, start, end, width))

    @retry
    def arrow_windows(
        self,
        start: Instant,
        end: Instant,
        width: int,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> pa.Table:
        """Returns windows of `width` ns as a table; see `windows`."""
        first, last = as_time(to_nanoseconds(start), "start"), as_time(to_nanoseconds(end), "end")
        if 0 < last - first < int(width):
            raise InvalidTimeRange(f"range [{first}, {last}) holds no window of {width} ns")
        found = self._ours.windowed_values(first, last, int(width), version, None)
        whole = last - (last - first) % int(width)
        keeps_last = bool(version) or self._ours.nearest(whole) is not None
        return tables.filled(found, first, whole, int(width), keeps_last=keeps_last)

    def __repr__(self) -> str:
        return f"<Stream collection={self.collection} name={self.name}>"
