"""Results as frames of pandas and polars, as numpy arrays, and joined on time.

Every result of this package is an Arrow table that polars, DuckDB and pyarrow read where it lies.
The functions here take care of what is easily lost on the way: times stay whole nanoseconds in UTC,
and no integer passes through a float. No stream's time is out of reach: those of pandas, 1677 to
2262, hold all that a stream can.
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

from pingthings.timeseries.arguments import as_list, as_uuid, as_width_ns
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
    """What is asked of a stream, of either twin."""

    @property
    def uuid(self) -> UUID: ...
    @property
    def collection(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...


Names: TypeAlias = Literal["name", "path", "uuid"] | Callable[[Any], str] | Sequence[str]
"""How columns are called: `name`; `path`, which is collection and name; `uuid`; a function that
takes a stream; or the names themselves, in the order of the streams."""


def to_pandas(table: pa.Table) -> DataFrame:
    """Returns a result as a pandas frame, with its times as the index.

    Args:
        table: Any table of this package: raw values, windows, or what `join` makes. Its first
            column holds the times, as timestamps or int64 nanoseconds.

    Returns:
        A frame whose index is named as the first column, of type `datetime64[ns, UTC]` in every
        version of pandas. Numbers keep their types; whole numbers that are missing somewhere get
        pandas' nullable type, and a float that is missing is NaN. From pandas 3 on, columns that
        came in one piece are not copied, and can then only be read.

    Raises:
        BTRDBTypeError: The first column holds no times.
        InvalidTimeRange: A time does not fit in nanoseconds; those of streams do.
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
    nullable = {
        kind: getattr(pd, f"{kind}".replace("uint", "UInt").replace("int", "Int") + "Dtype")()
        for kind in sparse
    }
    frame = timed.to_pandas(split_blocks=True, types_mapper=nullable.get)
    return cast("DataFrame", frame.set_index(timed.column_names[0]))


def to_polars(table: pa.Table) -> PolarsFrame:
    """Returns a result as a polars frame, which shares its memory.

    Args:
        table: Any table of this package; its first column holds the times.

    Returns:
        A frame of the same columns; the times are `Datetime("ns", "UTC")`.

    Raises:
        BTRDBTypeError: The first column holds no times.
        InvalidTimeRange: A time does not fit in nanoseconds; those of streams do.
        MissingExtraError: polars is not installed.

    Examples:
        >>> to_polars(stream.raw_values(start, end)).shape
        (10, 2)
    """
    polars = extra("polars", "polars")
    return cast("PolarsFrame", polars.from_arrow(_with_times(table), rechunk=False))


def to_numpy(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Returns a result as numpy arrays, by the names of its columns.

    Args:
        table: Any table of this package; its first column holds the times.

    Returns:
        An array for each column. Times are `datetime64[ns]`, which is UTC as always in numpy; view
        them as int64 for nanoseconds. A float that is missing is NaN. Columns that came in one
        piece are not copied, and can then only be read.

    Raises:
        BTRDBTypeError: The first column holds no times.
        BTRDBValueError: A whole number is missing, for which numpy has no value.
        InvalidTimeRange: A time does not fit in nanoseconds; those of streams do.

    Examples:
        >>> arrays = to_numpy(stream.raw_values(start, end))
        >>> arrays["time"].dtype, float(arrays["value"].mean())
        (dtype('<M8[ns]'), 5.5)
    """
    timed = _with_times(table)
    for name, column in zip(timed.column_names, timed.columns, strict=True):
        if column.null_count and pa.types.is_integer(column.type):
            raise BTRDBValueError(
                f"column `{name}` has {column.null_count} missing whole numbers, for which numpy "
                "has no value; fill them, or use `to_pandas`"
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
    """Returns the tables of several streams as one, with a row for each time.

    Without a grid, values stand in one row only if their times are equal to the nanosecond. A time
    that a stream has several times gets as many rows; the first value of each stream goes into the
    first of them, and so on, so nothing is lost and nothing is multiplied.

    With a grid, every point moves to the instant that is nearest to it. Of several points of a
    stream at one instant the nearest stays, of two as near the earlier one.

    Args:
        tables: What a call of a set of streams answered, or a mapping to tables from uuids or from
            the names of their columns. None is a stream without points.
        streams: The set that was asked; a list of tables needs it. With a mapping from uuids it
            says what they are called.
        names: How the columns of streams are called: by `name`, by `path` (collection and name), by
            `uuid`, by a function of the stream, or by these texts.
        column: The only column to take of each table, such as `mean`. None takes all; if there are
            several, their names follow those of the streams, as in `L1MAG.mean`.
        how: `outer` has a row for every time that any stream has, and with a grid one for every
            instant from the first point to the last. `inner` has a row only where all have one.
        grid: A rate in hertz, or a `Grid`.
        tolerance: How far a point may be from its instant, in nanoseconds or as a timedelta; points
            farther away are left out. None is half a period, which leaves out none.

    Returns:
        A table of `time` (timestamp[ns, UTC], ascending) and a column for each stream, with nulls
        where it has no point. A column whose stream has every row is not copied.

    Raises:
        BTRDBTypeError: Something is no table, or its first column holds no times.
        BTRDBValueError: Two columns would have the same name, there are more or fewer tables than
            streams, a column is missing, `how` is another word, or the grid would have more than
            two billion rows.
        InvalidOperation: The name of a stream is needed and has not been fetched.

    Examples:
        >>> tables = streams.raw_values(start, end)
        >>> joined = join(tables, streams, grid=10)
        >>> joined.num_rows, sorted(joined.column_names)
        (10, ['L1MAG', 'L2MAG', 'time'])
    """
    if how not in ("outer", "inner"):
        raise BTRDBValueError(f"`how` is `{how}`; there are `outer` and `inner`")
    labelled = _labelled(tables, streams, names)
    parts = {label: _Part(table) for label, table in labelled.items()}
    snapped = None if grid is None else _as_grid(grid)
    if snapped is not None:
        reach = None if tolerance is None else as_width_ns(tolerance)
        for part in parts.values():
            part.snap(snapped, reach)
    elif tolerance is not None:
        raise BTRDBValueError("`tolerance` says how far a grid may be; give `grid` too")
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
                raise BTRDBValueError(f"two columns would be called `{title}`; give other `names`")
            fields[title] = part.column(name, kind, take)
    return pa.table(fields)


def split(
    frame: ArrowStream | pa.RecordBatch | DataFrame,
    streams: Collection[Described],
    *,
    names: Names = "name",
    time: str | None = None,
) -> dict[UUID, pa.Table]:
    """Returns the columns of a wide frame as points of streams, which `insert` of a set takes.

    This is the way back from `join`.

    Args:
        frame: A frame of pandas with a time index, or a frame of polars or pandas with a column of
            timestamps, or an Arrow table whose first column holds the times. Every other column is
            a stream.
        streams: The set of streams; those without a column get nothing.
        names: How the columns are called; see `join`.
        time: The name of the column or index that holds the times, where none is of timestamps, or
            several are. Whole numbers in it are nanoseconds since 1970.

    Returns:
        For each stream with a column a table of its times and values. Where a value is missing,
        there is no point; in pandas NaN is missing too.

    Raises:
        BTRDBTypeError: It is no frame, nothing in it says that it is the times, or a column holds
            no numbers.
        BTRDBValueError: A column belongs to no stream, or two have one name.
        InvalidOperation: The name of a stream is needed and has not been fetched.
        InvalidTimeRange: A time is missing, or does not fit in nanoseconds.

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
                f"column `{label}` belongs to no stream; there are {known}. "
                "Drop the column, or say with `names` how columns are called"
            )
        points[by_label[label].uuid] = table
    return points


class _Part:
    """One stream's table on its way into a join."""

    def __init__(self, table: pa.Table | None) -> None:
        self._table = None if table is None else _with_times(table)
        self.keys = np.empty(0, np.int64)
        self._rows: Integers | None = None  # those that stay; None is all of them
        if self._table is not None:
            self.keys = _array(self._table.columns[0]).view(np.int64)
            if np.any(self.keys[1:] < self.keys[:-1]):
                self._rows = np.argsort(self.keys, kind="stable")
                self.keys = self.keys[self._rows]

    def snap(self, grid: Grid, tolerance: int | None) -> None:
        """Makes the keys numbers of instants, no number twice."""
        numbers = grid.nearest(self.keys)
        away = np.abs(self.keys - grid._instants(numbers))
        rows = np.arange(len(self.keys)) if self._rows is None else self._rows
        order = np.lexsort((away, numbers))  # stable, so of two as near the earlier one is first
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = numbers[order][1:] != numbers[order][:-1]
        stays = order[is_first]
        if tolerance is not None:
            stays = stays[away[stays] <= tolerance]
        self.keys, self._rows = numbers[stays], rows[stays]

    def places(self, keys: Integers, counts: Integers, first_row: Integers, rows: int) -> Integers:
        """For each row of the result the row of this table, or -1."""
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
    """The keys of the result, ascending, and how many rows each has."""
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
        distinct.sort(kind="stable")  # merges what is sorted already
    distinct = distinct[np.concatenate(([True], distinct[1:] != distinct[:-1]))]
    if all(np.all(own[1:] > own[:-1]) for own in given):
        # No time twice in one stream, as a rule, and then there is less to search.
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
    """The columns to take of each table, which must be the same in all."""
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
        raise BTRDBValueError(f"the tables have no column `{column}`, but {list(found)}")
    return {column: found[column]}


def _labelled(
    tables: Mapping[Any, pa.Table | None] | Sequence[pa.Table | None],
    streams: Collection[Described] | None,
    names: Names,
) -> dict[str, pa.Table | None]:
    """The tables by the names of their streams."""
    if isinstance(tables, Mapping):
        if streams is None:
            return {str(key): table for key, table in tables.items()}
        of_uuid = dict(zip((s.uuid for s in streams), _labels(streams, names), strict=True))
        try:
            return {of_uuid[as_uuid(key)]: table for key, table in tables.items()}
        except KeyError as error:
            raise BTRDBValueError(f"the set holds no stream `{error.args[0]}`") from None
    given = as_list(tables, "tables")
    if streams is None:
        raise BTRDBTypeError(
            "a list of tables does not say whose they are; give the set of streams, too"
        )
    if len(given) != len(streams):
        raise BTRDBValueError(f"{len(given)} tables for {len(streams)} streams; give one for each")
    return dict(zip(_labels(streams, names), given, strict=True))


def _labels(streams: Collection[Described], names: Names) -> list[str]:
    """A name for each stream, no name twice."""
    if isinstance(names, str):
        labels = [_label(stream, names) for stream in streams]
    elif callable(names):
        labels = [names(stream) for stream in streams]
    else:
        labels = list(names)
        if len(labels) != len(streams):
            raise BTRDBValueError(
                f"{len(labels)} names for {len(streams)} streams; give one for each"
            )
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise BTRDBValueError(
            f"{len(repeated)} names stand for several streams, among them `{repeated[0]}`; "
            "use `names='path'` or `names='uuid'`"
        )
    return labels


def _label(stream: Described, names: str) -> str:
    if names == "uuid":
        return str(stream.uuid)
    if names not in ("name", "path"):
        raise BTRDBValueError(f"`names` is `{names}`; there are `name`, `path` and `uuid`")
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
    """The table with its first column as nanoseconds in UTC, uncopied where it is that already."""
    if not isinstance(table, pa.Table):
        raise BTRDBTypeError(f"expected an Arrow table, not a `{type(table).__name__}`")
    if not table.num_columns or not _holds_times(table.schema.types[0]):
        raise BTRDBTypeError("the first column of the table holds no times")
    if table.schema.types[0] == _TIME:
        return table
    try:
        times = table.columns[0].cast(_TIME)
    except pa.ArrowInvalid as error:
        raise InvalidTimeRange(f"a time does not fit in nanoseconds: {error}") from error
    return table.set_column(0, pa.field(table.column_names[0], _TIME), times)


def _holds_times(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or kind == pa.int64()


def _array(column: pa.ChunkedArray[Any]) -> NDArray[Any]:
    """The column as numpy sees it, without a copy if it is in one piece."""
    kind = column.type
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == _TIME
    if column.num_chunks == 1 and is_plain and len(column) and not column.null_count:
        # Not `to_numpy`, which imports pandas: 0.2 s and 100 MB.
        chunk: Any = column.chunk(0)
        numpys = "M8[ns]" if kind == _TIME else cast("Any", kind).to_pandas_dtype()
        dtype = cast("Any", np.dtype)(numpys)
        return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
    if column.num_chunks == 1:
        return np.asarray(column.chunk(0).to_numpy(zero_copy_only=False))
    return np.asarray(column.to_numpy())
