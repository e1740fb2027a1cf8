"""Converts results to pandas and polars frames and numpy arrays, and joins them on time.

Every result of this package is an Arrow table, which polars, DuckDB and pyarrow read without a
copy. The functions here preserve what other conversions lose: times stay integer nanoseconds in
UTC, and no integer is converted to a float. Every time of a stream fits into pandas, whose times
range from 1677 to 2262.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pingthings.timeseries.arguments import as_list, as_mapping, as_width_ns
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidOperation,
    InvalidTimeRange,
)
from pingthings.timeseries.extras import extra
from pingthings.timeseries.grid import Grid, Integers
from pingthings.timeseries.insert_data import ArrowStream
from pingthings.timeseries.wide_frame import points_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from polars import DataFrame as PolarsFrame

    from pingthings.timeseries.utils.timez import Number

__all__ = ["Grid", "join", "split", "to_numpy", "to_pandas", "to_polars"]

_TIME = pa.timestamp("ns", tz="UTC")
_MOST_ROWS = 1 << 31


class Described(Protocol):
    """The attributes of a stream that are needed here; synchronous or asynchronous."""

    @property
    def uuid(self) -> UUID: ...
    @property
    def collection(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...


Names: TypeAlias = Literal["name", "path", "uuid"] | Callable[[Any], str] | Sequence[str]
"""How columns are named: `name`; `path`, which is collection and name; `uuid`; a function that
takes a stream; or the names themselves, in the order of the streams."""


def to_pandas(table: pa.Table) -> DataFrame:
    """Converts a result to a pandas frame with its times as the index.

    Args:
        table: Any table of this package: raw values, windows, or the result of `join`. Its first
            column has the times, as timestamps or int64 nanoseconds.

    Returns:
        A frame whose index has the name of the first column and the type `datetime64[ns, UTC]` in
        every version of pandas. Numbers keep their types; a column of integers with missing values
        gets pandas' nullable type, and a missing float is NaN. From pandas 3 on, columns with a
        single chunk are not copied and are read-only.

    Raises:
        BTRDBTypeError: The first column does not contain times.
        InvalidTimeRange: A time is outside the range of nanoseconds; times of streams never are.
        MissingExtraError: pandas is not installed.

    Examples:
        >>> frame = to_pandas(stream.raw_values(start, end))
        >>> str(frame.index.dtype), len(frame)
        ('datetime64[ns, UTC]', 10)
    """
    pd = extra("pandas", "pandas")
    timed: Any = _with_times(table)
    sparse = {
        column.type
        for column in timed.columns[1:]
        if column.null_count and pa.types.is_integer(column.type)
    }
    _check_names(timed.column_names[:1], timed.column_names)
    nullable = {
        kind: getattr(pd, f"{kind}".replace("uint", "UInt").replace("int", "Int") + "Dtype")()
        for kind in sparse
    }
    frame = timed.to_pandas(split_blocks=True, types_mapper=nullable.get)
    return cast("DataFrame", frame.set_index(timed.column_names[0]))


def to_polars(table: pa.Table) -> PolarsFrame:
    """Converts a result to a polars frame, which shares its memory.

    Args:
        table: Any table of this package; its first column has the times.

    Returns:
        A frame with the same columns; the times are `Datetime("ns", "UTC")`.

    Raises:
        BTRDBTypeError: The first column does not contain times.
        InvalidTimeRange: A time is outside the range of nanoseconds; times of streams never are.
        MissingExtraError: polars is not installed.

    Examples:
        >>> to_polars(stream.raw_values(start, end)).shape
        (10, 2)
    """
    polars = extra("polars", "polars")
    timed = _with_times(table)
    _check_names(timed.column_names, timed.column_names)
    return cast("PolarsFrame", polars.from_arrow(timed, rechunk=False))


def to_numpy(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Converts a result to numpy arrays by column name.

    Args:
        table: Any table of this package; its first column has the times.

    Returns:
        An array for each column. Times are `datetime64[ns]` in UTC; view them as int64 to get
        nanoseconds. A missing float is NaN. Columns with a single chunk are not copied and are
        read-only.

    Raises:
        BTRDBTypeError: The first column does not contain times.
        BTRDBValueError: A column of integers has missing values, which numpy cannot represent.
        InvalidTimeRange: A time is outside the range of nanoseconds; times of streams never are.

    Examples:
        >>> arrays = to_numpy(stream.raw_values(start, end))
        >>> arrays["time"].dtype, float(arrays["value"].mean())
        (dtype('<M8[ns]'), 5.5)
    """
    timed = _with_times(table)
    _check_names(timed.column_names, timed.column_names)
    for name, column in zip(timed.column_names, timed.columns, strict=True):
        if column.null_count and pa.types.is_integer(column.type):
            raise BTRDBValueError(
                f"column `{name}` has {column.null_count} missing integers, which numpy cannot "
                "represent; fill them, or use `to_pandas`"
            )
    return {
        name: _array(column) for name, column in zip(timed.column_names, timed.columns, strict=True)
    }


def join(
    tables: Mapping[Any, pa.Table | None] | Sequence[pa.Table | None],
    streams: Collection[Described] | None = None,
    *,
    names: Names = "name",
    column: str | None = None,
    how: Literal["outer", "inner"] = "outer",
    grid: Grid | Number | None = None,
    tolerance: int | timedelta | None = None,
) -> pa.Table:
    """Joins the tables of several streams into one, with a row for each time.

    Without a grid, values are in the same row only if their times are equal to the nanosecond. If a
    stream has several points with the same time, there are as many rows; the first value of each
    stream is in the first of them, and so on, so no point is lost or duplicated.

    With a grid, every point moves to the nearest instant. If a stream has several points for one
    instant, the nearest one is kept, and of two equally near the earlier one.

    Args:
        tables: The result of a call on a set of streams, or a mapping to tables from uuids or from
            column names. None is a stream without points.
        streams: The set that was read; required for a list of tables. For a mapping from uuids it
            provides the names.
        names: How the columns of streams are named: by `name`, by `path` (collection and name), by
            `uuid`, by a function of the stream, or by these texts.
        column: The column to select from each table, such as `mean`. None selects all; if there
            are several, their names follow those of the streams, as in `L1MAG.mean`.
        how: `outer` has a row for every time of any stream, or with a grid for every instant from
            the first point to the last. `inner` has rows only where all streams have a value.
        grid: A rate in hertz, or a `Grid`.
        tolerance: The maximum distance of a point from its instant, in nanoseconds or as a
            timedelta; points farther away are left out. None is half a period, which keeps all.

    Returns:
        A table of `time` (timestamp[ns, UTC], ascending) and a column for each stream, with nulls
        where it has no point. A column whose stream has every row is not copied.

    Raises:
        BTRDBTypeError: An argument is not a table, or its first column does not contain times.
        BTRDBValueError: Two columns would have the same name, the numbers of tables and streams
            differ, a column is missing, `how` is invalid, or the grid would have more than two
            billion rows.
        InvalidOperation: The name of a stream is needed and has not been fetched.

    Examples:
        >>> tables = streams.raw_values(start, end)
        >>> joined = join(tables, streams, grid=10)
        >>> joined.num_rows, sorted(joined.column_names)
        (10, ['L1MAG', 'L2MAG', 'time'])
    """
    if how not in ("outer", "inner"):
        raise BTRDBValueError(f"`how` is `{how}`; give `outer` or `inner`")
    labelled = _labelled(tables, streams, names)
    parts = {label: _Part(table) for label, table in labelled.items()}
    snapped = None if grid is None else _as_grid(grid)
    if snapped is not None:
        reach = None if tolerance is None else as_width_ns(tolerance)
        if reach is not None and reach < 0:
            raise BTRDBValueError(f"`tolerance` is {reach} ns; it must not be negative")
        for part in parts.values():
            part.snap(snapped, reach)
    elif tolerance is not None:
        raise BTRDBValueError("`tolerance` has no effect without a grid; give `grid` too")
    keys, counts = _rows([part.keys for part in parts.values()], how, is_grid=snapped is not None)
    first_row = np.cumsum(counts) - counts
    times = np.repeat(keys, counts)
    if snapped is not None:
        times = snapped._instants(times)
    values = _value_columns(labelled.values(), column)
    fields: dict[str, Any] = {"time": pa.array(times).cast(_TIME)}
    for label, part in parts.items():
        take = part.places(keys, counts, first_row, len(times))
        for name, kind in values.items():
            title = label if len(values) == 1 else f"{label}.{name}"
            if title in fields:
                raise BTRDBValueError(
                    f"two columns would have the name `{title}`; give other `names`"
                )
            fields[title] = part.column(name, kind, take)
    return pa.table(fields)


def split(
    frame: ArrowStream | pa.RecordBatch | DataFrame,
    streams: Collection[Described],
    *,
    names: Names = "name",
    time: str | None = None,
) -> dict[UUID, pa.Table]:
    """Divides a wide frame into points of streams, for `insert` of a set. The inverse of `join`.

    Args:
        frame: A pandas frame with a time index, a pandas or polars frame with a column of
            timestamps, or an Arrow table whose first column has the times. Every other column is a
            stream.
        streams: The set of streams; those without a column get no points.
        names: How the columns are named; see `join`.
        time: The name of the column or index with the times, if there is no column of timestamps
            or more than one. Integers in it are nanoseconds since 1970.

    Returns:
        For each stream with a column a table of its times and values, without missing values; in
        pandas NaN is a missing value, too.

    Raises:
        BTRDBTypeError: `frame` is not a frame, its times cannot be determined, or a column does
            not contain numbers.
        BTRDBValueError: A column belongs to no stream, or two columns have the same name.
        InvalidOperation: The name of a stream is needed and has not been fetched.
        InvalidTimeRange: A time is missing, or is outside the range of nanoseconds.

    Examples:
        >>> frame = to_pandas(join(streams.raw_values(start, end), streams))
        >>> sorted(streams.insert(split(frame, streams), merge="retain").values())
        [11, 11]
    """
    by_label = dict(zip(_labels(streams, names), streams, strict=True))
    points: dict[UUID, pa.Table] = {}
    for label, table in points_of(frame, time).items():
        if label not in by_label:
            known = ", ".join(f"`{name}`" for name in by_label)
            raise BTRDBValueError(
                f"column `{label}` belongs to no stream; the streams are {known}. "
                "Drop the column, or set with `names` how columns are named"
            )
        points[by_label[label].uuid] = table
    return points


class _Part:
    """The table of one stream in a join."""

    def __init__(self, table: pa.Table | None) -> None:
        self._table = None if table is None else _with_times(table)
        self.keys = np.empty(0, np.int64)
        self._rows: Integers | None = None  # the rows that are kept; None is all
        if self._table is not None:
            _check_names(self._table.column_names[1:], self._table.column_names)
            times = self._table.columns[0]
            if times.null_count:
                row = np.flatnonzero(times.is_null().to_numpy())[0]
                raise InvalidTimeRange(f"row {row} of a table has no time; leave such rows out")
            self.keys = _array(times).view(np.int64)
            if np.any(self.keys[1:] < self.keys[:-1]):
                self._rows = np.argsort(self.keys, kind="stable")
                self.keys = self.keys[self._rows]

    def snap(self, grid: Grid, tolerance: int | None) -> None:
        """Replaces the keys by unique numbers of instants."""
        numbers = grid.nearest(self.keys)
        away = np.abs(self.keys - grid._instants(numbers))
        rows = np.arange(len(self.keys)) if self._rows is None else self._rows
        order = np.lexsort((away, numbers))  # stable: of two equally near the earlier is first
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = numbers[order][1:] != numbers[order][:-1]
        stays = order[is_first]
        if tolerance is not None:
            stays = stays[away[stays] <= tolerance]
        self.keys, self._rows = numbers[stays], rows[stays]

    def places(self, keys: Integers, counts: Integers, first_row: Integers, rows: int) -> Integers:
        """Returns for each row of the result the row of this table, or -1."""
        occurrence = np.zeros(len(self.keys), np.int64)
        if np.any(self.keys[1:] == self.keys[:-1]):
            occurrence = np.arange(len(self.keys)) - np.searchsorted(self.keys, self.keys)
        at = np.searchsorted(keys, self.keys)
        at_key = np.minimum(at, max(len(keys) - 1, 0))
        stays = np.zeros(len(at), np.bool_)
        if len(keys):
            stays = (keys[at_key] == self.keys) & (occurrence < counts[at_key])
        own = np.arange(len(self.keys)) if self._rows is None else self._rows
        take = np.full(rows, -1, np.int64)
        take[first_row[at_key[stays]] + occurrence[stays]] = own[stays]
        return take

    def column(self, name: str, kind: pa.DataType, take: Integers) -> Any:
        if self._table is None:
            return cast("Any", pa).nulls(len(take), kind)
        found = self._table[name]
        if len(take) == len(found) and np.array_equal(take, np.arange(len(take))):
            return found
        indices: Any = pa.array(take, mask=take < 0)
        return found.combine_chunks().take(indices)


def _rows(
    keys: Sequence[Integers], how: Literal["outer", "inner"], *, is_grid: bool
) -> tuple[Integers, Integers]:
    """Returns the ascending keys of the result, and the number of rows of each."""
    given = [own for own in keys if len(own)]
    if not given or (how == "inner" and len(given) < len(keys)):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if is_grid and how == "outer":
        first, last = min(int(own[0]) for own in given), max(int(own[-1]) for own in given)
        if last - first >= _MOST_ROWS:
            raise BTRDBValueError(
                f"the grid has {last - first + 1} instants from the first point to the last; "
                "join a shorter range, or use `how='inner'`"
            )
        every = np.arange(first, last + 1, dtype=np.int64)
        return every, np.ones(len(every), np.int64)
    distinct = given[0]
    if any(not np.array_equal(own, distinct) for own in given[1:]):
        distinct = np.concatenate(given)
        distinct.sort(kind="stable")  # merges sorted runs
    distinct = distinct[np.concatenate(([True], distinct[1:] != distinct[:-1]))]
    if all(np.all(own[1:] > own[:-1]) for own in given):
        # The usual case: no stream has a time twice, which needs fewer searches.
        having = np.zeros(len(distinct), np.int64)
        for own in given:
            having[np.searchsorted(distinct, own)] += 1
        distinct = distinct if how == "outer" else distinct[having == len(given)]
        return distinct, np.ones(len(distinct), np.int64)
    counts = np.full(len(distinct), 0 if how == "outer" else np.iinfo(np.int64).max)
    choose = np.maximum if how == "outer" else np.minimum
    for own in given:
        left = np.searchsorted(own, distinct, "left")
        counts = choose(counts, np.searchsorted(own, distinct, "right") - left)
    stays = counts > 0
    return distinct[stays], counts[stays]


def _value_columns(
    tables: Collection[pa.Table | None], column: str | None
) -> dict[str, pa.DataType]:
    """Returns the columns to select from each table, which must be the same in all."""
    schemas: list[Any] = [table.schema for table in tables if table is not None]
    if not schemas:
        return {column or "value": pa.float64()}
    found: dict[str, pa.DataType] = dict(
        zip(schemas[0].names[1:], schemas[0].types[1:], strict=True)
    )
    for schema in schemas[1:]:
        if schema.names[1:] != list(found):
            raise BTRDBValueError(
                f"the tables have different columns: {list(found)} and {schema.names[1:]}"
            )
    if column is None:
        return found
    if column not in found:
        raise BTRDBValueError(f"the tables have no column `{column}`; they have {list(found)}")
    return {column: found[column]}


def _labelled(
    tables: Mapping[Any, pa.Table | None] | Sequence[pa.Table | None],
    streams: Collection[Described] | None,
    names: Names,
) -> dict[str, pa.Table | None]:
    """Returns the tables by the names of their streams."""
    if isinstance(tables, Mapping):
        if streams is None:
            _unique([str(key) for key in tables])
            return {str(key): table for key, table in tables.items()}
        of_uuid = dict(zip((s.uuid for s in streams), _labels(streams, names), strict=True))
        try:
            return {of_uuid[key]: table for key, table in as_mapping(tables, "tables").items()}
        except KeyError as error:
            raise BTRDBValueError(f"the set has no stream `{error.args[0]}`") from None
    given = as_list(tables, "tables")
    if streams is None:
        raise BTRDBTypeError(
            "a list of tables does not name their streams; give the set of streams, too"
        )
    if len(given) != len(streams):
        raise BTRDBValueError(f"{len(given)} tables for {len(streams)} streams; give one for each")
    return dict(zip(_labels(streams, names), given, strict=True))


def _labels(streams: Collection[Described], names: Names) -> list[str]:
    """Returns a unique name for each stream."""
    labels: list[Any]
    if not isinstance(streams, Collection):
        raise BTRDBTypeError(f"`streams` is a set of streams, not a `{type(streams).__name__}`")
    if isinstance(names, str):
        labels = [_label(stream, names) for stream in streams]
    elif callable(names):
        labels = [names(stream) for stream in streams]
    else:
        if not isinstance(names, Sequence):  # the keys of a mapping are not what it maps to
            raise BTRDBTypeError(
                f"`names` is a `{type(names).__name__}`; give `name`, `path`, `uuid`, a function, "
                "or a list of names in the order of the streams"
            )
        labels = list(names)
        if len(labels) != len(streams):
            raise BTRDBValueError(
                f"{len(labels)} names for {len(streams)} streams; give one for each"
            )
    for label in labels:
        if not isinstance(label, str):
            raise BTRDBTypeError(f"`names` gives `{label!r}` for a stream; give text")
    return _unique(labels)


def _unique(labels: list[str]) -> list[str]:
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise BTRDBValueError(
            f"{len(repeated)} names belong to several streams, among them `{repeated[0]}`; "
            "use `names='path'` or `names='uuid'`"
        )
    return labels


def _label(stream: Described, names: str) -> str:
    if names == "uuid":
        return str(stream.uuid)
    if names not in ("name", "path"):
        raise BTRDBValueError(f"`names` is `{names}`; give `name`, `path` or `uuid`")
    if stream.collection is None:
        raise InvalidOperation(
            f"the name of stream `{stream.uuid}` is unknown; call `refresh_metadata` first, or use "
            "`names='uuid'`"
        )
    name = stream.name or ""
    return name if names == "name" else f"{stream.collection}/{name}"


def _as_grid(grid: Grid | Number) -> Grid:
    return grid if isinstance(grid, Grid) else Grid(grid)


def _with_times(table: pa.Table) -> pa.Table:
    """Returns the table with its first column as nanoseconds in UTC, without a copy if it is."""
    if not isinstance(table, pa.Table):
        raise BTRDBTypeError(f"expected an Arrow table, not a `{type(table).__name__}`")
    if not table.num_columns or not _holds_times(table.schema.types[0]):
        raise BTRDBTypeError("the first column of the table does not contain times")
    if table.schema.types[0] == _TIME:
        return table
    try:
        times = table.columns[0].cast(_TIME)
    except pa.ArrowInvalid as error:
        raise InvalidTimeRange(f"a time is outside the range of nanoseconds: {error}") from error
    return table.set_column(0, pa.field(table.column_names[0], _TIME), times)


def _check_names(needed: list[str], names: list[str]) -> None:
    """Refuses a table in which one of these names is that of several columns."""
    for name in needed:
        if names.count(name) > 1:
            raise BTRDBValueError(
                f"{names.count(name)} columns of the table have the name `{name}`; rename them, "
                "for example with `rename_columns`"
            )


def _holds_times(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or kind == pa.int64()


def _array(column: pa.ChunkedArray[Any]) -> NDArray[Any]:
    """Returns the column as a numpy array, without a copy if it has a single chunk."""
    kind = column.type
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == _TIME
    if column.num_chunks == 1 and is_plain and len(column) and not column.null_count:
        # `to_numpy` would import pandas, which takes 0.2 s and 100 MB.
        chunk: Any = column.chunk(0)
        numpys = "M8[ns]" if kind == _TIME else cast("Any", kind).to_pandas_dtype()
        dtype = cast("Any", np.dtype)(numpys)
        return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
    if column.num_chunks == 1:
        return np.asarray(column.chunk(0).to_numpy(zero_copy_only=False))
    return np.asarray(column.to_numpy())
