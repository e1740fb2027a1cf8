"""Answers in Arrow as the lists, rows and frames that the older client made of its own.

Whatever is made of an answer is made of a table for each stream: `time`, and `value` or the five
statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import pyarrow as pa

from pingthings.btrdb.point import RawPoint, StatPoint
from pingthings.timeseries import frames
from pingthings.timeseries.constants import RAW_F64_SCHEMA, STAT_F64_SCHEMA
from pingthings.timeseries.exceptions import BTRDBValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "STATISTICS",
    "Point",
    "as_points",
    "filled",
    "is_raw",
    "joined",
    "joined_by_uuid",
    "joined_raw",
    "points_of",
    "rows_of",
    "sampled",
    "table_of",
    "times_of",
    "values_of",
]

Point: TypeAlias = RawPoint | StatPoint

STATISTICS = ("min", "mean", "max", "count", "stddev")
_MOST_WINDOWS = 100_000_000
_SECOND = 1_000_000_000


def is_raw(table: pa.Table) -> bool:
    """Returns whether a table holds measured values, and not statistics."""
    return table.num_columns == len(RAW_F64_SCHEMA)


def times_of(table: pa.Table) -> NDArray[np.int64]:
    """Returns the times of a table in nanoseconds."""
    return cast("NDArray[np.int64]", frames._array(table["time"].cast(pa.int64())))


def values_of(column: pa.ChunkedArray[Any]) -> list[Any]:
    """Returns the numbers of a column, and None for nulls."""
    return column.to_pylist() if column.null_count else frames._array(column).tolist()


def points_of(table: pa.Table) -> list[Point]:
    """Returns the points of a table."""
    kind: Any = RawPoint if is_raw(table) else StatPoint
    columns = [table["time"].cast(pa.int64()), *table.columns[1:]]
    return list(map(kind, *(values_of(column) for column in columns)))


def table_of(points: Iterable[Any], *, raw: bool) -> pa.Table:
    """Returns the table of points that came from elsewhere."""
    found = list(points)
    names = ["time", "value"] if raw else ["time", *STATISTICS]
    columns = {name: [getattr(point, name) for point in found] for name in names}
    return pa.table(columns, schema=RAW_F64_SCHEMA if raw else STAT_F64_SCHEMA)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Returns a table with a row for each time, and columns `0`, or `0.min` and so on.

    Points of a stream at the same time have a row each.
    """
    return frames.join({str(place): table for place, table in enumerate(tables)})


def rows_of(tables: Sequence[pa.Table]) -> list[tuple[Point | None, ...]]:
    """Returns a tuple for each time, with a point or None for each stream."""
    points = [points_of(table) for table in tables]
    places: list[pa.Table] = [
        cast("Any", pa).table({"time": table["time"], "value": pa.array(np.arange(table.num_rows))})
        for table in tables
    ]
    columns: list[list[Point | None]] = [
        [None if place is None else own[place] for place in values_of(column)]
        for own, column in zip(points, joined(places).columns[1:], strict=True)
    ]
    return list(zip(*columns, strict=True))


def as_points(table: pa.Table) -> pa.Table:
    """Returns the first two columns of a table, whatever their names, as times and values."""
    return table.rename_columns(RAW_F64_SCHEMA.names).cast(RAW_F64_SCHEMA)


def filled(table: pa.Table, start: int, end: int, width: int, *, keeps_last: bool) -> pa.Table:
    """Returns windows of any width with those that hold no points, whose statistics are 0.

    Args:
        table: The windows that hold points.
        start: The start of the first window.
        end: Where the range ends; the last window ends there or before.
        width: Nanoseconds.
        keeps_last: Whether the last window is there even if it holds no points.

    Raises:
        BTRDBValueError: There are too many windows.
    """
    count = max((end - start) // width, 0)
    times = times_of(table)
    if count and not keeps_last and start + (count - 1) * width not in times[-1:]:
        count -= 1
    if table.num_rows == count:
        return table
    if count > _MOST_WINDOWS:
        raise BTRDBValueError(
            f"the range has {count} windows of {width} ns; ask for longer ones, or use "
            "`arrow_aligned_windows`, which leaves out those without points"
        )
    places = (times - start) // width
    arrays: list[Any] = [start + width * np.arange(count, dtype=np.int64)]
    for name in STATISTICS:
        own = table[name].to_numpy()
        array = np.zeros(count, own.dtype)
        array[places] = own
        arrays.append(array)
    return pa.table(dict(zip(STAT_F64_SCHEMA.names, arrays, strict=True))).cast(STAT_F64_SCHEMA)


def joined_by_uuid(tables: Sequence[pa.Table], uuids: Sequence[str]) -> pa.Table:
    """Returns windows of several streams in one table, with columns like `UUID/mean`."""
    found = joined(tables)
    names = [f"{uuid}/{name}" for uuid in uuids for name in STATISTICS]
    return found.rename_columns(["time", *names])


def joined_raw(tables: Sequence[pa.Table], uuids: Sequence[str]) -> pa.Table:
    """Returns points of several streams in one table, with NaN where a stream has none."""
    return _without_nulls(joined(tables), uuids)


def _without_nulls(table: pa.Table, names: Sequence[str]) -> pa.Table:
    time, value = cast("tuple[pa.Field[Any], pa.Field[Any]]", tuple(RAW_F64_SCHEMA))
    schema = pa.schema([time, *(value.with_name(name) for name in names)])
    columns: list[Any] = list(table.columns)
    filled = [column.fill_null(float("nan")) for column in columns[1:]]
    return pa.Table.from_arrays([columns[0], *filled], schema=schema)


def sampled(
    tables: Sequence[pa.Table], uuids: Sequence[str], start: int, end: int, hertz: Fraction
) -> pa.Table:
    """Returns points moved to the instants of a rate, which begin at `start`, and before `end`.

    Args:
        tables: The points of each stream, from half a period before `start`.
        uuids: The names of their columns.
        start: The first instant.
        end: The instant after the last one.
        hertz: The rate.

    Returns:
        A table of `time` and a column for each stream, with NaN where it has no point.
    """
    grid = frames.Grid(hertz, start)
    last = int(grid.nearest(np.array([end]))[0])
    past = last + (int(grid.times(last, last + 1)[0]) < end)  # the first instant not before `end`
    inside: list[pa.Table] = []
    for table in tables:
        numbers = grid.nearest(times_of(table))
        inside.append(table.filter(pa.array((numbers >= 0) & (numbers < past))))
    found = frames.join(dict(zip(uuids, inside, strict=True)), grid=grid)
    present = np.zeros(found.num_rows, bool)
    for column in found.columns[1:]:
        present |= column.is_valid().to_numpy()
    found = found.filter(pa.array(present))
    return _without_nulls(found, uuids)
