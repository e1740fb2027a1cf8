"""What is read of the streams of a set, within its bounds, windows and versions.

If all of them are streams of one connection a read is one loop in Rust over all of them. Otherwise
each is asked by itself, and answers points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pingthings import timeseries
from pingthings.btrdb import tables
from pingthings.btrdb.point import RawPoint
from pingthings.timeseries.constants import (
    _PW,
    MINIMUM_TIME,
    RAW_F64_SCHEMA,
    STAT_F64_SCHEMA,
)
from pingthings.timeseries.exceptions import BTRDBTypeError
from pingthings.timeseries.utils.timez import _fraction

if TYPE_CHECKING:
    from pingthings.btrdb.stream import StreamSetBase

__all__ = ["answers", "joined", "joined_by_uuid", "points"]

_SECOND = 1_000_000_000


def answers(streamset: StreamSetBase) -> list[pa.Table]:
    """Returns the points or windows of each stream as a table."""
    ours = streamset._ours
    if ours is None:
        found = streamset.values()
        return [tables.table_of(each, raw=_is_raw(found)) for each in found]
    start, end = _bounds(streamset)
    return _answers(streamset, ours, start, end)


def _answers(
    streamset: StreamSetBase, ours: timeseries.StreamSet, start: int, end: int
) -> list[pa.Table]:
    at: list[int] = streamset._versions_read()
    if streamset.pointwidth is not None:
        width = _PW(streamset.pointwidth)
        return _present(ours.windowed_values(start, end, width, at, None), STAT_F64_SCHEMA)
    if streamset.width is None:
        return _present(ours.raw_values(start, end, at), RAW_F64_SCHEMA)
    windows = ours.windowed_values(start, end, streamset.width, at, None)
    end -= (end - start) % streamset.width
    found = _present(windows, STAT_F64_SCHEMA)
    last, later = end - streamset.width, _nothing(streamset)
    if any(last not in tables.times_of(table)[-1:] for table in found):
        later = streamset._nearest(end, backward=False)
    return [
        tables.filled(
            table, start, end, streamset.width, keeps_last=bool(version) or point is not None
        )
        for table, version, point in zip(_present(windows, STAT_F64_SCHEMA), at, later, strict=True)
    ]


def _nothing(streamset: StreamSetBase) -> Sequence[RawPoint | None]:
    return [None] * len(streamset)


def _present(found: list[pa.Table | None], schema: pa.Schema) -> list[pa.Table]:
    return [schema.empty_table() if table is None else table for table in found]


def _bounds(streamset: StreamSetBase) -> tuple[int, int]:
    params = streamset._params_from_filters()
    if "start" not in params or "end" not in params:
        raise BTRDBTypeError("reading needs bounds: call `filter(start=..., end=...)` before")
    return params["start"], params["end"]


def _is_raw(found: Iterable[Iterable[Any]]) -> bool:
    return any(isinstance(point, RawPoint) for each in found for point in each)


def points(streamset: StreamSetBase) -> list[list[Any]]:
    """Returns the points or windows of each stream as lists."""
    if streamset._ours is not None:
        return [tables.points_of(table) for table in answers(streamset)]
    params = streamset._params_from_filters()
    for name in ("sampling_frequency", "schema"):
        params.pop(name, None)
    found: list[list[Any]] = []
    for stream, version in zip(streamset._streams, streamset._versions_read(), strict=True):
        given = params | ({"version": version} if version else {})
        versioned: Iterable[tuple[Any, int]]
        if streamset.pointwidth is not None:
            versioned = stream.aligned_windows(**given, pointwidth=streamset.pointwidth)
        elif streamset.width is not None:
            versioned = stream.windows(**given, width=streamset.width, depth=streamset.depth)
        else:
            versioned = stream.values(**given)
        found.append([point for point, _ in versioned])
    return found


def joined(streamset: StreamSetBase) -> pa.Table:
    """Returns the answers in one table with a row for each time; see `tables.joined`."""
    if streamset._ours is not None:
        return tables.joined(answers(streamset))
    columns = list(zip(*streamset.rows(), strict=True))
    present = [[point for point in column if point is not None] for column in columns]
    return tables.joined([tables.table_of(each, raw=_is_raw(present)) for each in present])


def joined_by_uuid(streamset: StreamSetBase) -> pa.Table:
    """Returns the answers in one table whose columns are named by uuid.

    Raises:
        NotImplementedError: Windows are to have a schema.
    """
    uuids = [str(stream.uuid) for stream in streamset]
    params = streamset._params_from_filters()
    schema: pa.Schema | None = params.get("schema")
    if not streamset.allow_window:
        if schema is not None:
            raise NotImplementedError("windows have the schema of windows; leave `schema` out")
        return tables.joined_by_uuid(answers(streamset), uuids)
    hertz = _fraction("sampling_frequency", params.get("sampling_frequency", 0))
    period = _SECOND / hertz if hertz else Fraction(0)
    start, end = _bounds(streamset)
    ours = streamset._ours
    if ours is None:
        found = tables.joined_raw(answers(streamset), uuids)
    elif period.denominator > 1:
        # The server's instants are whole nanoseconds apart.
        first = max(start - int(period / 2) - 1, MINIMUM_TIME)
        found = tables.sampled(_answers(streamset, ours, first, end), uuids, start, end, hertz)
    else:
        found = ours.joined_values(start, end, streamset._versions_read(), int(period) or None)
    return found if schema is None else found.rename_columns(schema.names).cast(schema)
