"""Sets of streams of the older client, over ours; and its streams, under their old place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NoReturn, Self, overload
from uuid import UUID
from warnings import warn

from pingthings import timeseries
from pingthings.btrdb import reads, tables
from pingthings.btrdb.point import RawPoint
from pingthings.btrdb.single_stream import Stream
from pingthings.btrdb.stream_filter import StreamFilter, contains, matches
from pingthings.btrdb.transformers import StreamSetTransformer
from pingthings.btrdb.utils.timez import currently_as_ns
from pingthings.timeseries.constants import (
    INSERT_BATCH_SIZE,
    MAXIMUM_TIME,
    MINIMUM_TIME,
)
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError, InvalidOperation

if TYPE_CHECKING:
    import pyarrow as pa

    from pingthings.timeseries.utils.timez import Instant

__all__ = [
    "INSERT_BATCH_SIZE",
    "MAXIMUM_TIME",
    "MINIMUM_TIME",
    "Stream",
    "StreamFilter",
    "StreamSet",
    "StreamSetBase",
]


class StreamSetBase(Sequence[Stream]):
    """Streams in a fixed order, with bounds, windows and versions for what is read of them.

    If all of them are streams of one connection a read is one loop in Rust over all of them;
    otherwise each is asked by itself.

    Args:
        streams: The streams, at least one.
    """

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._streams = list(streams)
        for stream in self._streams:
            if not isinstance(stream, Stream):
                raise BTRDBTypeError(f"streams must be of type Stream, not {type(stream).__name__}")
        if not self._streams:
            raise BTRDBValueError("Trying to create streamset with an empty list of streams")
        self._btrdb = self._streams[0]._btrdb
        self._pinned_versions: dict[UUID, int] | None = None
        self.filters: list[StreamFilter] = []
        self.pointwidth: int | None = None
        self.width: int | None = None
        self.depth = 0

    @property
    def allow_window(self) -> bool:
        """Whether no windows have been asked for yet."""
        return not (self.pointwidth or self.width)

    @property
    def _ours(self) -> timeseries.StreamSet | None:
        """The set of ours, or None if the streams have to be asked one by one."""
        if any(type(s) is not Stream or s._btrdb is not self._btrdb for s in self._streams):
            return None
        return timeseries.StreamSet([stream._ours for stream in self._streams])

    def _latest_versions(self) -> dict[UUID, int]:
        if (ours := self._ours) is not None:
            return ours.get_latest_version()
        return {stream.uuid: stream.version() for stream in self._streams}

    def pin_versions(self, versions: dict[UUID, int] | None = None) -> Self:
        """Makes reads use these versions, and returns the set itself.

        Args:
            versions: A version for each uuid; None or an empty dict is the latest ones.
        """
        if versions is not None and not isinstance(versions, dict):
            raise BTRDBTypeError("`versions` must be a dict")
        if not all(isinstance(uuid, UUID) for uuid in versions or ()):
            raise BTRDBTypeError("the keys of `versions` must be of type UUID")
        self._pinned_versions = versions or self._latest_versions()
        return self

    def versions(self) -> dict[UUID, int]:
        """Returns the pinned versions, or else the latest ones."""
        return self._pinned_versions or self._latest_versions()

    def _versions_read(self) -> list[Any]:
        """The version that is read of each stream, 0 for the latest."""
        pinned = self._pinned_versions or {}
        return [pinned.get(stream.uuid, 0) for stream in self._streams]

    def count(self, precise: bool = False) -> int:
        """Returns the number of points of all streams within the bounds, which is always exact.

        Args:
            precise: Has no effect.
        """
        params = self._params_from_filters()
        start, end = params.get("start", MINIMUM_TIME), params.get("end", MAXIMUM_TIME)
        at = self._versions_read()
        if (ours := self._ours) is not None:
            return sum(ours.count(start, end, at).values())
        return sum(
            stream.count(start, end, version=version, precise=precise)
            for stream, version in zip(self._streams, at, strict=True)
        )

    def _nearest(self, time: int, *, backward: bool) -> tuple[RawPoint | None, ...]:
        if self._ours is None:
            versions = self.versions()
            found = [
                stream.nearest(time, version=versions.get(stream.uuid, 0), backward=backward)
                for stream in self._streams
            ]
            return tuple(None if point is None else point[0] for point in found)
        uuids = [stream.uuid for stream in self._streams]
        at = list(zip(uuids, self._versions_read(), strict=True))
        points = self._btrdb._await(self._btrdb.client._client._core.nearest(at, time, backward))
        return tuple(None if point is None else RawPoint(*point[:2]) for point in points)

    def earliest(self) -> tuple[RawPoint | None, ...]:
        """Returns the first point of each stream within the bounds, or None."""
        start = self._params_from_filters().get("start", MINIMUM_TIME)
        return self._nearest(start, backward=False)

    def latest(self) -> tuple[RawPoint | None, ...]:
        """Returns the last point of each stream within the bounds, or None."""
        return self._nearest(self._params_from_filters().get("end", MAXIMUM_TIME), backward=True)

    def current(self) -> tuple[RawPoint | None, ...]:
        """Returns the last point of each stream before now, or None.

        Raises:
            BTRDBValueError: The bounds do not hold now.
        """
        params, now = self._params_from_filters(), currently_as_ns()
        if params.get("end", now + 1) <= now or params.get("start", now) > now:
            raise BTRDBValueError("current time is not included in filtered stream range")
        return self._nearest(now, backward=True)

    def filter(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        collection: str | re.Pattern[str] | None = None,
        name: str | re.Pattern[str] | None = None,
        unit: str | re.Pattern[str] | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        sampling_frequency: float | None = None,
        schema: pa.Schema | None = None,
    ) -> Self:
        """Returns a set of the streams that match, with bounds for what is read of them.

        Args:
            start: First instant of what is read.
            end: The instant after the last one.
            collection: Text that equals the collection but for case, or a pattern found in it.
            name: The same for the name.
            unit: The same for the unit.
            tags: Pairs that the tags must contain.
            annotations: Pairs that the annotations must contain.
            sampling_frequency: A rate in Hz, to whose instants `arrow_` calls move points.
            schema: The schema of `arrow_values`.
        """
        found = self.clone()
        if any(value is not None for value in (start, end, sampling_frequency, schema)):
            found.filters.append(StreamFilter(start, end, sampling_frequency, schema))
        if any(each is not None for each in (collection, name, unit, tags, annotations)):
            found._fetch_metadata()
        kept = [
            stream
            for stream in found._streams
            if matches(collection, "collection", stream)
            and matches(name, "name", stream)
            and matches(unit, "unit", stream)
        ]
        if tags:
            kept = [stream for stream in kept if contains(stream.tags(), tags)]
        if annotations:
            kept = [stream for stream in kept if contains(stream.annotations()[0], annotations)]
        found._streams = kept
        return found

    def _fetch_metadata(self) -> None:
        """Fetches what is not known of any stream, in one loop."""
        unknown = [s for s in self._streams if type(s) is Stream and s._tags is None]
        if len(unknown) > 1 and self._ours is not None:
            core = self._btrdb.client._client._core
            found = self._btrdb._await(core.stream_info([stream.uuid for stream in unknown]))
            for stream, info in zip(unknown, found, strict=True):
                stream._describe(info)

    def clone(self) -> Self:
        """Returns a set of the same streams with the same bounds, windows and versions."""
        clone = type(self)(self._streams)
        shared = ("_streams", "_btrdb")
        vars(clone).update({k: deepcopy(v) for k, v in vars(self).items() if k not in shared})
        return clone

    def windows(self, width: int, depth: int = 0) -> Self:
        """Makes reads give windows of `width` ns, and returns the set itself.

        Args:
            width: Nanoseconds.
            depth: Has no effect.

        Raises:
            InvalidOperation: Windows have been asked for.
        """
        self._check_window()
        self.width = int(width)
        if depth != 0:
            warn(f"`depth` can only be 0. Overriding {depth}", stacklevel=2)
        return self

    def aligned_windows(self, pointwidth: Any) -> Self:
        """Makes reads give windows of `2**pointwidth` ns, and returns the set itself.

        Args:
            pointwidth: The exponent.

        Raises:
            InvalidOperation: Windows have been asked for.
        """
        self._check_window()
        self.pointwidth = int(pointwidth)
        return self

    def _check_window(self) -> None:
        if not self.allow_window:
            raise InvalidOperation("A window operation is already requested")

    def _params_from_filters(self) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for each in self.filters:
            params |= {key: value for key, value in vars(each).items() if value is not None}
        return params

    def values(self) -> list[list[Any]]:
        """Returns the points, or windows, of each stream within the bounds."""
        return reads.points(self)

    def rows(self) -> list[tuple[Any, ...]]:
        """Returns a tuple for each time, with a point or None for each stream.

        Points of a stream at the same time have a row each.
        """
        return tables.rows_of(reads.answers(self))

    def values_iter(self) -> NoReturn:
        """Was never implemented.

        Raises:
            NotImplementedError: Always; see `timeseries.Stream.raw_values_iter`.
        """
        raise NotImplementedError("read a stream with `timeseries.Stream.raw_values_iter`")

    def arrow_values(self) -> pa.Table:
        """Returns the points, or windows, of all streams in one table, ascending by time.

        Columns of points are named by uuid, with NaN where a stream has none; columns of windows
        are named like `UUID/mean`, with nulls.
        """
        return reads.joined_by_uuid(self)

    def insert(self, data_map: dict[UUID, Any], merge: str = "never") -> dict[UUID, int]:
        """Stores points of every stream, and returns the version of the last commit of each.

        Args:
            data_map: For each stream a frame of pandas with columns `time` and `value`, or whatever
                else `timeseries.Stream.insert` takes.
            merge: `never`, `equal`, `retain` or `replace`.
        """
        return self._insert(
            {stream.uuid: _arrays(data_map[stream.uuid]) for stream in self._streams}, merge
        )

    def arrow_insert(self, data_map: dict[UUID, pa.Table], merge: str = "never") -> dict[UUID, int]:
        """Stores tables of points of every stream; see `insert`.

        Args:
            data_map: A table of times and values for each stream.
            merge: `never`, `equal`, `retain` or `replace`.
        """
        return self._insert(
            {stream.uuid: tables.as_points(data_map[stream.uuid]) for stream in self._streams},
            merge,
        )

    def _insert(self, data: dict[UUID, Any], merge: str) -> dict[UUID, int]:
        if (ours := self._ours) is not None:
            return ours.insert(data, merge)
        return {s.uuid: s.insert(data[s.uuid], merge=merge) for s in self._streams}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._size()})>"

    def __str__(self) -> str:
        return f"{type(self).__name__} with {self._size()}"

    def _size(self) -> str:
        return f"{len(self)} stream{'' if len(self) == 1 else 's'}"

    @overload
    def __getitem__(self, item: int | UUID | str) -> Stream: ...
    @overload
    def __getitem__(self, item: slice) -> list[Stream]: ...
    def __getitem__(self, item: int | slice | UUID | str) -> Stream | list[Stream]:
        if isinstance(item, str):
            item = UUID(item)
        if not isinstance(item, UUID):
            return self._streams[item]
        for stream in self._streams:
            if stream.uuid == item:
                return stream
        raise KeyError(f"Stream with uuid `{item}` not found.")

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str | UUID):
            return any(str(stream.uuid) == str(item) for stream in self._streams)
        return item in self._streams

    def __len__(self) -> int:
        return len(self._streams)


class StreamSet(StreamSetBase, StreamSetTransformer):
    """Streams in a fixed order, and what makes frames of them."""


def _arrays(data: Any) -> Any:
    """Times and values of a frame; anything else as it is."""
    if not hasattr(data, "iloc"):
        return data
    return data["time"].astype("int64").to_numpy(), data["value"].astype("float64").to_numpy()
