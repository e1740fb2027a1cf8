"""Converts the data of an insert to Arrow."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pingthings.timeseries.constants import RAW_F64_SCHEMA
from pingthings.timeseries.exceptions import (
    BadValue,
    BTrDBError,
    BTRDBTypeError,
    InvalidTimeRange,
)
from pingthings.timeseries.python_values import as_numbers, as_objects, as_times
from pingthings.timeseries.time_axis import (
    as_column,
    as_instants,
    holds_times,
    is_arrow,
    is_of_pandas,
    is_pandas,
    take_apart,
)
from pingthings.timeseries.utils.timez import Instant

__all__ = ["InsertData", "check_numbers", "plain_columns", "to_arrow"]


class ArrowStream(Protocol):
    """Any object that exports Arrow data: a table, a record batch reader, a frame."""

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

* an Arrow table, record batch or reader, or any object with `__arrow_c_stream__`, with two columns:
  times (timestamps of any unit and zone, without a zone in UTC; or int64 nanoseconds, if it is the
  first column or called like times) and numbers;
* a polars frame with two columns, times and numbers; a pandas series, or a frame of one column,
  with a time index; a pandas frame with two columns, times and numbers. Integers in these are times
  only if their name (`time`, `timestamp` or similar) or the argument `time` says so;
* a pair of numpy arrays, times (int64 or datetime64) and values;
* a mapping from times to values, or an iterable of pairs (time, value), with times of any type that
  `to_nanoseconds` accepts.
"""

_PAIR = 2
_NO_ROWS = str, bytes, bytearray, memoryview, Mapping, AbstractSet, array, range
_ONE_COLUMN = (
    "give times and values, or one column with a time index; for wider frames use `frames.split`"
)


def to_arrow(data: InsertData, time: str | None = None) -> pa.Table:
    """Returns the points as a table of times and numbers; does not copy Arrow data.

    Args:
        data: The points.
        time: The name of the column or index with the times, for a frame.

    Raises:
        BTRDBTypeError: The data have none of the forms of `InsertData`.
        BadValue: A value is missing or not a number.
        InvalidTimeRange: A time is outside the range of nanoseconds.
    """
    if not _is(data, type) and (is_pandas(data) or is_arrow(data)):
        return _frame(data, time)
    if time is not None:
        raise BTRDBTypeError(
            f"`time` names a column of a frame or table, but the data are a "
            f"`{type(data).__name__}`; leave it out"
        )
    return _checked(_table(data), "the second column")


def _checked(table: pa.Table, where: str) -> pa.Table:
    times, values = table.schema.types
    if table.num_rows and not holds_times(times):
        raise BTRDBTypeError(
            f"times of type `{times}` in the first column; give timestamps or int64 nanoseconds"
        )
    if table.num_rows:
        check_numbers(values, where)
        if times == pa.uint64():
            as_instants(table.column(0))  # it names the row of a time that int64 cannot represent
    return table


def check_numbers(kind: pa.DataType, where: str) -> None:
    """Raises BTRDBTypeError, which names `where`, if values of this type are not numbers."""
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return
    if pa.types.is_boolean(kind):
        advice = "cast them if 0 and 1 are meant"
    elif pa.types.is_dictionary(kind):
        advice = "give their decoded values, if these are numbers"
    else:
        advice = "give numbers"
    raise BTRDBTypeError(f"values of type `{kind}` in {where}; {advice}")


def _frame(frame: Any, time: str | None) -> pa.Table:
    """Returns the points of a frame or table with times and one other column."""
    count = len(frame.columns) if is_pandas(frame) and frame.ndim > 1 else 0
    if count > _PAIR:
        raise BTRDBTypeError(f"a frame of {count} columns; {_ONE_COLUMN}")
    try:
        taken = take_apart(frame, time)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, BTrDBError):
            raise
        raise BTRDBTypeError(f"{_unknown(frame)}: {error}") from error
    if len(taken.columns) != 1:
        if count:
            raise BTRDBTypeError(
                f"a frame of {count} columns beside its times; {_ONE_COLUMN}"
                if taken.columns
                else "a frame of times without a column of values"
            )
        raise BTRDBTypeError(
            f"points of {len(taken.columns) + 1} columns; give two, times and values"
        )
    ((name, values),) = taken.columns
    table = _named(taken.times, values)
    return _checked(table, f"column `{name}`")


def _table(data: Any) -> pa.Table:
    if _is(data, tuple) and len(data) == _PAIR and any(map(_is_array, data)):
        return _columns(*plain_columns(*data))
    if _is(data, tuple) and len(data) == _PAIR and any(_is(part, list) for part in data):
        raise BTRDBTypeError(
            "two lists may be two columns or two points; give numpy arrays of times and values, or "
            "a list of pairs (time, value)"
        )
    if _is(data, Mapping):
        for name, column in list(data.items())[:_PAIR]:
            if _is(name, str) and (_is_array(column) or _is(column, list | array | range)):
                raise BTRDBTypeError(
                    f"`{name}` has a `{type(column).__name__}`, so a column, but a mapping must "
                    "map times to values; convert it with `pyarrow.table`"
                )
        return _pairs(data.items())
    if _is(data, Iterable) and not _is(data, str | bytes) and not _is_array(data):
        return _pairs(data)
    raise BTRDBTypeError(_unknown(data))


def _is(data: Any, kind: Any) -> bool:
    """Like `isinstance`, but without narrowing the static type, which is unknown here."""
    return isinstance(data, kind)


def _is_array(data: object) -> bool:
    """Whether it is a column: a numpy, Arrow, pandas or polars array."""
    return hasattr(data, "__array__") and getattr(data, "ndim", 1) > 0


def plain_columns(times: Any, values: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Converts columns of any library to numpy arrays.

    Raises:
        BadValue: A column holds a null.
        BTRDBTypeError: It is no column, or the rows of two pandas series do not belong together.
    """
    are_series = is_pandas(times) and is_pandas(values) and times.ndim == values.ndim == 1
    # Rows are combined by position, which two filtered or sorted series do not share.
    if are_series and not times.index.equals(values.index) and _overlap(times, values):
        raise BTRDBTypeError(
            "the series of times and of values have different indexes, so their rows may not "
            "belong together; give a frame of both, or `to_numpy()` of each"
        )
    return _plain(times), _plain(values)


def _overlap(times: Any, values: Any) -> bool:
    return bool(times.index.isin(values.index).any())


def _plain(values: Any) -> np.ndarray[Any, Any]:
    """Converts a column of any library to a numpy array."""
    if _is(values, list | tuple):
        return as_objects(values)
    if _is(values, np.ndarray):
        return cast("np.ndarray[Any, Any]", values)
    if is_of_pandas(values) and getattr(values, "ndim", 1) != 1:
        raise BTRDBTypeError(f"a `{type(values).__name__}` is no column; select one of its columns")
    try:
        if not (is_of_pandas(values) or is_arrow(values) or _is(values, pa.ChunkedArray)):
            return np.asarray(values)  # for example of xarray
        if is_of_pandas(values) and values.dtype == np.dtype(object):
            return np.asarray(values, dtype=object)  # Arrow drops the nanoseconds of Timestamps
        column = as_column(values)
        if pa.types.is_dictionary(column.type):
            check_numbers(column.type, f"a `{type(values).__name__}`")
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise BadValue(  # numpy would convert it to NaN, and all values to floats
                f"row {row} of a `{type(values).__name__}` of type `{column.type}` holds a null: "
                "leave out points without a time or value"
            )
        return np.asarray(column.to_numpy(zero_copy_only=False))
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, BTrDBError):
            raise
        raise BTRDBTypeError(
            f"a `{type(values).__name__}` cannot be used as a column: {error}"
        ) from error


def _unknown(data: object) -> str:
    advice = {"LazyFrame": "`collect` it first"}.get(
        type(data).__name__,
        "give an Arrow table or frame of two columns, a pair of numpy arrays, a mapping, or pairs "
        "(time, value)",
    )
    return f"cannot insert a `{type(data).__name__}`; {advice}"


def _columns(times: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> pa.Table:
    if times.ndim != 1 or times.shape != values.shape:
        raise BTRDBTypeError(
            f"times of shape {times.shape} and values of shape {values.shape}; give two "
            "one-dimensional arrays of the same length"
        )
    times = _instants(times)
    try:
        if values.dtype == np.dtype(object):  # a list has None where an array is masked
            return _named(pa.array(_native(times)), as_numbers(values.tolist()))
        return _named(pa.array(_native(times)), pa.array(_native(values)))
    except (pa.ArrowException, TypeError) as error:  # numpy's own texts have no byte order
        raise BTRDBTypeError(f"values of type `{values.dtype}`; give numbers") from error


def _instants(times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Converts times to integer nanoseconds or datetime64[ns]."""
    if not times.size:
        return times.astype(np.int64)
    if times.dtype == np.dtype(object):
        held = times.tolist()
        if any(_is(time, float) for time in held):
            raise BTRDBTypeError("times of type `float`; floats cannot represent nanoseconds")
        times = np.asarray(as_times(held))
    if times.dtype.kind not in "iuM":
        advice = (
            "convert them to datetime64"
            if times.dtype.kind in "USO"
            else "floats cannot represent them"
        )
        raise BTRDBTypeError(
            f"times of type `{times.dtype}`; give int64 nanoseconds or datetime64: {advice}"
        )
    if times.dtype == np.dtype("M8"):
        raise BTRDBTypeError(
            "times of type `datetime64` without a unit; give them one, as in `datetime64[ns]`"
        )
    if times.dtype.kind == "M":
        missing = np.flatnonzero(np.isnat(times))
        if len(missing):
            raise InvalidTimeRange(f"row {missing[0]} has no time (NaT); leave such rows out")
        exact = times.astype("datetime64[ns]")
        # numpy ignores an overflow; converting back detects it.
        wrong = np.flatnonzero(exact.astype(times.dtype) != times)
        if len(wrong):
            raise InvalidTimeRange(
                f"row {wrong[0]}: the time `{times[wrong[0]]}` is outside the range of "
                "nanoseconds, or finer than a nanosecond"
            )
        return exact
    return times if times.dtype == np.uint64 else times.astype(np.int64)


def _named(times: pa.Array[Any], values: pa.Array[Any]) -> pa.Table:
    columns: list[pa.Array[Any]] = [times, values]
    return pa.table(columns, names=RAW_F64_SCHEMA.names)


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the array in native byte order, which Arrow requires."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _pairs(pairs: Iterable[Any]) -> pa.Table:
    rows = pairs if isinstance(pairs, list) else list(pairs)
    # Two columns with two rows would be stored as two points, one of them in 1970; and bytes,
    # letters or keys would be taken for a time and a value.
    wrong = set(filter(_is_no_row, set(map(type, rows))))
    for row, pair in enumerate(rows if wrong else ()):
        if type(pair) not in wrong:
            continue
        if _is_array(pair) or _is(pair, array | memoryview | range):
            raise BTRDBTypeError(
                f"row {row} is a `{type(pair).__name__}`, so a column; give columns as a pair of "
                "numpy arrays, `(times, values)`, and points as pairs (time, value)"
            )
        raise BTRDBTypeError(f"row {row} is `{pair!r}`; give pairs (time, value)")
    # There may be millions of pairs; two comprehensions are faster than one loop for both lists.
    try:
        times = [time for time, _ in rows]
        values = [value for _, value in rows]
    except (TypeError, ValueError):
        raise BTRDBTypeError(_no_pair(rows)) from None
    return _named(as_times(times), as_numbers(values))


def _is_no_row(kind: type) -> bool:
    is_array = hasattr(kind, "__array__") and not issubclass(kind, np.generic)
    return is_array or issubclass(kind, _NO_ROWS)


def _no_pair(rows: list[Any]) -> str:
    for row, pair in enumerate(rows):
        try:
            _, _ = pair
        except (TypeError, ValueError):
            return f"row {row} is `{pair!r}`; give pairs (time, value)"
    return "the rows can be iterated only once; give pairs (time, value)"
