"""What an insert takes, as Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pingthings.timeseries.constants import RAW_F64_SCHEMA
from pingthings.timeseries.exceptions import BadValue, BTRDBTypeError, InvalidTimeRange
from pingthings.timeseries.utils.timez import Instant, to_nanoseconds

__all__ = ["InsertData", "to_arrow"]


class ArrowStream(Protocol):
    """Anything that hands out Arrow data: a table, a record batch reader, a frame."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


InsertData: TypeAlias = (
    ArrowStream
    | pa.RecordBatch
    | tuple[NDArray[Any], NDArray[Any]]
    | Mapping[Instant, float]
    | Mapping[int, float]
    | Iterable[tuple[Instant, float]]
)
"""Points to insert, in one of these forms:

* an Arrow table, record batch or reader, or any object with `__arrow_c_stream__`, such as a polars
  or pandas frame: two columns, times (timestamps of any unit and zone, naive ones being UTC, or
  int64 nanoseconds) and numbers;
* a pair of numpy arrays, times (int64 or datetime64) and values;
* a pandas series, or a frame of one column, with a time index;
* a mapping from times to values, or an iterable of pairs (time, value), where a time is whatever
  `to_nanoseconds` takes.
"""

_PAIR = 2
_TIMES = (pa.int64(), pa.uint64())


def to_arrow(data: InsertData) -> pa.Table:
    """Returns the points as a table of times and numbers, without copying what is Arrow already.

    Raises:
        BTRDBTypeError: The data have none of the forms of `InsertData`.
        BadValue: A value is missing or no number.
        InvalidTimeRange: A time does not fit in nanoseconds.
    """
    table = _table(data)
    if table.num_columns != _PAIR:
        raise BTRDBTypeError(f"points of {table.num_columns} columns; give two, times and values")
    times, values = table.schema.types
    if table.num_rows and not (pa.types.is_timestamp(times) or times in _TIMES):
        raise BTRDBTypeError(
            f"times of type `{times}` in the first column; give timestamps or int64 nanoseconds"
        )
    if table.num_rows and not _is_number(values):
        raise BTRDBTypeError(f"values of type `{values}` in the second column; give numbers")
    return table


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def _table(data: Any) -> pa.Table:
    if _is(data, pa.RecordBatchReader):
        table: pa.Table = data.read_all()
        return table
    if hasattr(data, "iloc"):
        return _pandas(data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return _arrow(data)
    if _is(data, tuple) and len(data) == _PAIR and _is(data[0], np.ndarray):
        return _columns(data[0], np.asanyarray(data[1]))
    if _is(data, Mapping):
        return _pairs(data.items())
    if _is(data, Iterable) and not _is(data, str | bytes | np.ndarray):
        return _pairs(data)
    raise BTRDBTypeError(_unknown(data))


def _is(data: Any, kind: Any) -> bool:
    """`isinstance` that leaves the static type alone, which is unknown here by nature."""
    return isinstance(data, kind)


def _unknown(data: object) -> str:
    return (
        f"cannot insert a `{type(data).__name__}`; give an Arrow table or frame of two columns, a "
        "pair of numpy arrays, a mapping, or pairs (time, value)"
    )


def _arrow(data: Any) -> pa.Table:
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data).read_all()
        return pa.Table.from_batches([pa.record_batch(data)])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BTRDBTypeError(_unknown(data)) from error


def _pandas(data: Any) -> pa.Table:
    """A series, or a frame of one column, with its index; a frame of two columns without."""
    columns = getattr(data, "columns", None)
    if columns is None:
        return _columns(_index(data.index), data.to_numpy())
    if len(columns) == 1:
        return _columns(_index(data.index), data.iloc[:, 0].to_numpy())
    if len(columns) == _PAIR:
        return _columns(_index(data.iloc[:, 0]), data.iloc[:, 1].to_numpy())
    raise BTRDBTypeError(
        f"a frame of {len(columns)} columns; give times and values, or one column with a time index"
    )


def _index(times: Any) -> np.ndarray[Any, Any]:
    """Times of any unit and zone, in UTC; pandas itself lets those beyond nanoseconds wrap."""
    if times.dtype.kind != "M":
        return np.asarray(times.to_numpy())
    try:
        column: Any = cast("Any", pa).array(times)
        exact = column.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        raise InvalidTimeRange(f"a time does not fit in nanoseconds: {error}") from error
    return np.asarray(exact.to_numpy(zero_copy_only=False))


def _columns(times: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> pa.Table:
    if times.ndim != 1 or times.shape != values.shape:
        raise BTRDBTypeError(
            f"times of shape {times.shape} and values of shape {values.shape}; give two arrays of "
            "one dimension and the same length"
        )
    if times.dtype.kind not in "iuM":
        raise BTRDBTypeError(
            f"times of type `{times.dtype}`; give int64 nanoseconds or datetime64, since floats "
            "cannot hold them"
        )
    if times.dtype.kind == "M":
        exact = times.astype("datetime64[ns]")
        # numpy lets an overflow pass in silence; going back shows it.
        if not np.array_equal(exact.astype(times.dtype), times):
            raise InvalidTimeRange("a time does not fit in nanoseconds, or is missing (NaT)")
        times = exact
    elif times.dtype != np.uint64:
        times = times.astype(np.int64)
    try:
        return _named(pa.array(_native(times)), pa.array(_native(values)))
    except pa.ArrowException as error:
        raise BTRDBTypeError(f"values of type `{values.dtype}`; give numbers") from error


def _named(times: pa.Array[Any], values: pa.Array[Any]) -> pa.Table:
    columns: list[pa.Array[Any]] = [times, values]
    return pa.table(columns, names=RAW_F64_SCHEMA.names)


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Arrow takes no bytes in the order of other machines."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _pairs(pairs: Iterable[Any]) -> pa.Table:
    rows = pairs if isinstance(pairs, list) else list(pairs)
    # There may be millions, and two comprehensions take less than a loop that fills both lists.
    try:
        times = [time for time, _ in rows]
        values = [value for _, value in rows]
    except (TypeError, ValueError):
        raise BTRDBTypeError(_no_pair(rows)) from None
    if set(map(type, times)) - {int}:
        times = [_time(time, row) for row, time in enumerate(times)]
    try:
        instants = pa.array(np.fromiter(times, np.int64, len(times)))
    except OverflowError as error:
        raise InvalidTimeRange(
            "a time does not fit 64 bits of nanoseconds (1677 to 2262)"
        ) from error
    try:
        numbers = pa.array(values, pa.float64(), from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise BadValue(f"a value is no number: {error}") from error
    return _named(instants, numbers)


def _no_pair(rows: list[Any]) -> str:
    for row, pair in enumerate(rows):
        try:
            _, _ = pair
        except (TypeError, ValueError):
            return f"row {row} is `{pair!r}`; give pairs (time, value)"
    return "there are rows that can be read once only; give pairs (time, value)"


def _time(time: object, row: int) -> int:
    if time is None:
        raise BTRDBTypeError(f"row {row} has no time")
    return to_nanoseconds(cast(Instant, time))  # it checks the type itself
