"""Decides which index or column of a frame has its times; no other module decides this.

Timestamps are times by their type. Integers are times only by the argument `time`, by their name
(`time`, `timestamp` or similar), or in the first column of an Arrow table without such a name,
which is documented to have nanoseconds. The first column of a pandas or polars frame is not used
merely because it is first: status words would be stored as times in 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import pyarrow as pa

from pingthings.timeseries.exceptions import BadValue, BTrDBError, BTRDBTypeError, InvalidTimeRange
from pingthings.timeseries.python_values import as_instant, as_numbers, is_missing, is_number

__all__ = [
    "TimedFrame",
    "as_column",
    "as_instants",
    "holds_times",
    "is_arrow",
    "is_of_pandas",
    "is_pandas",
    "take_apart",
]

arrow: Any = pa  # its stubs lag behind it

Column: TypeAlias = Any
"""An Arrow array, with one or several chunks."""

_INSTANT = arrow.timestamp("ns", tz="UTC")
_NAMES = frozenset(
    {"time", "times", "timestamp", "timestamps", "datetime", "date_time", "time_ns", "timestamp_ns"}
)
_MAYBE = frozenset({"ts", "date", "time (utc)", "datetime (utc)", "utc", "t"})
"""Names that are not sufficient, but identify the probable column for an error message."""
_CURES: dict[str | tuple[str, ...], str] = {
    "period": "convert it with `.dt.to_timestamp()`, which returns the starts of the periods",
    ("timedelta", "duration"): "a duration is not an instant; add it to its reference instant",
    "category": "convert it with `.astype('datetime64[ns, UTC]')`",
    ("float", "double"): "convert it with `pandas.to_datetime` and the right `unit=`",
    ("str", "object", "date"): "convert it with `pandas.to_datetime`",
}
"""How to convert a column to times, by the start of the name of its type."""
_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LEAST_NS = 10**17
"""A time in 1973. Today's times in seconds, milliseconds or microseconds are smaller numbers."""


@dataclass(frozen=True)
class TimedFrame:
    """The times of a frame, and its other columns in order; names may occur several times."""

    what: str
    """The type of the frame, for messages."""
    times: Column
    """Timestamps of any unit and zone, or integer nanoseconds."""
    columns: list[tuple[str, Column]]
    nan_is_missing: bool
    """Whether NaN is a missing value, as in pandas."""


def is_pandas(data: object) -> bool:
    """Whether it is a pandas series or frame; does not import pandas."""
    return _is_of(data, "pandas") and hasattr(data, "iloc")


def is_of_pandas(data: object) -> bool:
    """Whether it is any pandas column: a series, an index, an array."""
    return _is_of(data, "pandas")


def is_arrow(data: object) -> bool:
    """Whether it exports Arrow data, as Arrow tables and polars frames do."""
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def holds_times(kind: Any) -> bool:
    """Whether a column of this type can have times: timestamps, or integer nanoseconds."""
    return arrow.types.is_timestamp(kind) or kind in (pa.int64(), pa.uint64())


def _is_of(data: object, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(data).__mro__)


def take_apart(frame: Any, time: str | None) -> TimedFrame:
    """Returns the times and the other columns of a frame.

    Args:
        frame: A pandas series or frame, or any object that exports Arrow data.
        time: The name of the index or column with the times; integers in it are nanoseconds since
            1970. None detects it.

    Raises:
        BTRDBTypeError: There are no times, they are ambiguous, or Arrow has no type for a column.
        InvalidTimeRange: A time is missing, or is outside the range of nanoseconds.
    """
    if isinstance(frame, type):
        raise BTRDBTypeError(f"the class `{frame.__name__}` is not a frame; give an object of it")
    if time is not None and not isinstance(time, str):
        raise BTRDBTypeError(
            f"`time` is the name of a column or index, not a `{type(time).__name__}`"
        )
    return _of_pandas(frame, time) if is_pandas(frame) else _of_arrow(frame, time)


@dataclass(frozen=True)
class _Part:
    """An index or a column before conversion."""

    name: str
    where: str
    is_instant: bool
    is_whole: bool
    held: Any
    """A pandas series or index, or an Arrow array."""


def _of_pandas(frame: Any, time: str | None) -> TimedFrame:
    what = type(frame).__name__
    is_series = frame.ndim == 1
    if not is_series and frame.columns.nlevels > 1:
        raise BTRDBTypeError(
            f"the column names of the `{what}` have {frame.columns.nlevels} levels; join each into "
            "one text"
        )
    labels = [frame.name] if is_series else list(frame.columns)
    held = [frame] if is_series else [frame.iloc[:, place] for place in range(len(labels))]
    columns = [_pandas_part(*one) for one in zip(labels, held, strict=True)]
    index = None
    if frame.index.nlevels == 1:
        only = frame.index.get_level_values(0)  # a multi-index may have a single level
        index = replace(_pandas_part(only.name, only), where=f"index of the `{what}`")
    elif time is None or time in frame.index.names:
        raise BTRDBTypeError(
            f"the index of the `{what}` has {frame.index.nlevels} levels; convert them to columns "
            "with `reset_index`, and select the rows of one stream"
        )
    place, times = _find(what, index, [] if is_series else columns, time)
    source = index if place is None else columns[place]
    _check_no_null(times, source.where if source else "index")
    rest = [(part.name, _pandas_values(part)) for k, part in enumerate(columns) if k != place]
    return TimedFrame(what, times, rest, nan_is_missing=True)


def _pandas_part(label: object, held: Any) -> _Part:
    # pandas converts the name None to NaN.
    name = "" if is_missing(label) else str(label)
    where, kind = f"column `{name}`", held.dtype
    stored = getattr(kind, "pyarrow_dtype", None)
    if stored is not None:
        is_instant, is_whole = (
            arrow.types.is_timestamp(stored),
            arrow.types.is_integer(stored),
        )
    elif kind == np.dtype(object):
        from pandas.api.types import infer_dtype  # noqa: PLC0415 - the frame's own package

        is_instant, is_whole = infer_dtype(held, skipna=True) in {"datetime", "datetime64"}, False
    else:
        is_instant, is_whole = kind.kind == "M", kind.kind in "iu"
    return _Part(name, where, is_instant, is_whole, held)


def _of_arrow(frame: Any, time: str | None) -> TimedFrame:
    what = type(frame).__name__
    table = _table(frame)
    columns = [
        _Part(
            name,
            f"column `{name}`",
            arrow.types.is_timestamp(held.type),
            arrow.types.is_integer(held.type),
            held,
        )
        for name, held in zip(table.column_names, table.columns, strict=True)
    ]
    is_first = time is None and (not _is_of(frame, "polars") or not table.num_rows)
    if is_first and table.num_rows and columns and not _is_named(columns[0]):
        # A status word is no time if another column is called so, whatever that one holds.
        is_first = not any(part.name.casefold() in _NAMES for part in columns)
    if is_first and columns and not any(part.is_instant for part in columns[1:]):
        found: tuple[int | None, Column] = 0, columns[0].held
    else:
        found = _find(what, None, columns, time)
    place, times = found
    if place is not None:
        _check_no_null(times, columns[place].where)
    rest = [(part.name, part.held) for k, part in enumerate(columns) if k != place]
    return TimedFrame(what, times, rest, nan_is_missing=False)


def _check_no_null(times: Column, where: str) -> None:
    if times.null_count and holds_times(times.type):
        row = times.is_null().index(True).as_py()
        raise InvalidTimeRange(
            f"row {row}: the {where} has no time there (null or NaT); leave out such rows"
        )


def as_column(values: Any) -> Column:
    """Converts a column of any library to Arrow; times are in UTC."""
    array = _array(values)
    return as_instants(array) if arrow.types.is_timestamp(array.type) else array


def _table(frame: Any) -> Any:
    try:
        if hasattr(frame, "read_all"):  # a reader, whose errors are not replaced
            return frame.read_all()
        if hasattr(frame, "__arrow_c_stream__"):
            return arrow.RecordBatchReader.from_stream(frame).read_all()
        return arrow.Table.from_batches([arrow.record_batch(frame)])
    except (pa.ArrowException, TypeError, ValueError) as error:
        # A polars frame may have a column of a type that Arrow lacks; find it.
        for name in getattr(frame, "columns", ()) if _is_of(frame, "polars") else ():
            try:
                arrow.chunked_array(frame[name])
            except (pa.ArrowException, TypeError, ValueError):
                raise BTRDBTypeError(
                    f"column `{name}` of the `{type(frame).__name__}` has {_lacking(frame[name])}"
                ) from error
        raise


def _find(
    what: str, index: _Part | None, columns: list[_Part], time: str | None
) -> tuple[int | None, Column]:
    """Returns the index of the column with the times, None for the frame's index; and the times."""
    if time is not None:
        return _named(what, index, columns, time)
    if index is not None and index.is_instant:
        return None, _instants(index)
    typed = [k for k, part in enumerate(columns) if part.is_instant]
    if index is not None and typed and _is_span(index.held):
        raise BTRDBTypeError(
            f"both the {index.where} ({type(index.held).__name__}) and {columns[typed[0]].where} "
            "have times; name the column of the points' times with `time=`"
        )
    if len(typed) > 1 and typed[0] != 0:
        typed = [k for k in typed if columns[k].name.casefold() in _NAMES] or typed
    if typed and (len(typed) == 1 or typed[0] == 0):
        return typed[0], _instants(columns[typed[0]])
    if typed:
        found = " and ".join(columns[k].where for k in typed)
        raise BTRDBTypeError(
            f"{found} have times; name the column of the points' times with `time=`"
        )
    if index is not None and _is_named(index):
        return None, _numbers(index)
    named = [k for k, part in enumerate(columns) if _is_named(part)]
    if len(named) == 1:
        return named[0], _numbers(columns[named[0]])
    raise BTRDBTypeError(_no_times(what, index, columns))


def _named(
    what: str, index: _Part | None, columns: list[_Part], time: str
) -> tuple[int | None, Column]:
    """Returns the same for the column or index with this name."""
    places: list[int | None] = [k for k, part in enumerate(columns) if part.name == time]
    if index is not None and index.name == time != "":
        places.append(None)
    if len(places) != 1:
        how = f"{len(places)} columns" if places else "no column or index"
        raise BTRDBTypeError(f"the `{what}` has {how} with the name `{time}` given by `time`")
    place = places[0]
    part = columns[place] if place is not None else cast("_Part", index)
    if part.is_instant:
        return place, _instants(part)
    if part.is_whole:
        return place, _array(part.held)
    raise BTRDBTypeError(
        f"times of type `{_type_name(part.held)}` in {part.where}; give timestamps, or integer "
        f"nanoseconds since 1970: {_cure(part)}"
    )


def _is_named(part: _Part) -> bool:
    """Whether its name makes it times; an empty column may have any type."""
    return (part.is_whole or not len(part.held)) and part.name.casefold() in _NAMES


def _is_span(index: Any) -> bool:
    """Whether a pandas index has periods or durations, which are not instants."""
    return type(index).__name__ in {"PeriodIndex", "TimedeltaIndex", "IntervalIndex"}


def _no_times(what: str, index: _Part | None, columns: list[_Part]) -> str:
    """Returns the error message for a frame without times."""
    advice = "give timestamps, or name the column of nanoseconds since 1970 with `time=`"
    if index is None:
        kinds = ", ".join(f"{part.where} ({_type_name(part.held)})" for part in columns)
        return f"no column of the `{what}` has times: {kinds or 'there is none'}; {advice}"
    held = _type_name(index.held)
    name = type(index.held).__name__
    if name == "PeriodIndex":
        advice = "a period is not an instant; `frame.index.to_timestamp()` returns its start"
    elif name == "TimedeltaIndex":
        advice = "a duration is not an instant; add it to its reference instant"
    elif held in {"str", "string", "object"}:
        advice = "convert text to times with `pandas.to_datetime`"
    elif index.is_whole:
        advice = (
            "give a `DatetimeIndex` or a column of datetimes, or name the column of nanoseconds "
            "since 1970 with `time=`"
        )
        named = [part for part in columns if part.name.strip().casefold() in _NAMES | _MAYBE]
        if named:
            kind = _type_name(named[0].held)
            advice = f"{named[0].where} has the type `{kind}`: {_cure(named[0])}"
    return (
        f"the `{what}` has no times: neither its index, of type `{held}`, nor a column has times; "
        f"{advice}"
    )


def _cure(part: _Part) -> str:
    """Returns how to convert a column that is named like times."""
    kind = _type_name(part.held).casefold()
    if part.is_whole:
        return f"convert it to timestamps, or give `time={part.name!r}` if it counts nanoseconds"
    for begins, cure in _CURES.items():
        if kind.startswith(begins):
            return cure
    return "give timestamps"


def _type_name(values: Any) -> str:
    return str(getattr(values, "dtype", None) or values.type)


def _instants(part: _Part) -> Column:
    """Returns timestamps; for pandas in nanoseconds, without missing ones."""
    if not _is_of(part.held, "pandas"):
        return part.held
    if part.held.dtype == np.dtype(object):
        return _each(part)
    return as_instants(_array(part.held))


def _each(part: _Part) -> Column:
    """Converts Python datetimes exactly."""
    times: list[int] = []
    values: list[Any] = list(part.held)
    for row, value in enumerate(values):
        if is_missing(value):
            raise InvalidTimeRange(f"row {row}: the {part.where} has no time there ({value})")
        try:
            times.append(as_instant(value, row))
        except BTrDBError as error:
            error.args = (f"{part.where}, {error}", *error.args[1:])
            raise
    return arrow.array(times, arrow.int64()).cast(_INSTANT)


def _numbers(part: _Part) -> Column:
    """Returns integers that are times only by their name, which does not tell their unit."""
    if not len(part.held):
        return arrow.array([], arrow.int64())
    array = _array(part.held)
    numbers = np.abs(array.drop_null().to_numpy(zero_copy_only=False).astype(np.float64))
    if len(numbers) and numbers.min() < _LEAST_NS:
        raise BTRDBTypeError(
            f"times such as {int(numbers.min())} in the {part.where} would be in or near 1970 as "
            f"nanoseconds; convert them to timestamps, or give `time='{part.name}'` if they are"
        )
    return array


def _array(values: Any) -> Column:
    """Converts an index or a column to an Arrow array with one chunk."""
    dtype: Any = getattr(values, "dtype", None)
    kind = type(dtype).__name__
    if isinstance(values, arrow.ChunkedArray):
        array = values
    elif _is_of(values, "polars"):  # whose single elements have only microseconds
        array = _of_polars(values)
    elif _is_of(values, "pandas") and isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        # Arrow requires native byte order.
        numbers = values.to_numpy()
        array = arrow.array(numbers.astype(numbers.dtype.newbyteorder("="), copy=False))
    elif kind == "DatetimeTZDtype":  # Arrow lacks some zones, such as offsets with seconds
        of_times = values.dt if hasattr(values, "dt") else values
        array = arrow.array(of_times.tz_convert("UTC"))
    elif kind == "SparseDtype":
        array = arrow.array(np.asarray(values))
    elif kind == "PeriodDtype":  # Arrow would use the integers inside
        raise BTRDBTypeError(f"Arrow has no type for a column of type `{dtype}`; cast it first")
    else:
        array = arrow.array(values)
    if isinstance(array, arrow.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    return array


def _of_polars(values: Any) -> Column:
    try:
        if str(values.dtype) != "Object":  # whose export has addresses
            return arrow.chunked_array(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BTRDBTypeError(f"a `{type(values).__name__}` has {_lacking(values)}") from error
    raise BTRDBTypeError(f"a `{type(values).__name__}` has {_lacking(values)}")


def _lacking(values: Any) -> str:
    return f"the type `{values.dtype}`, which Arrow lacks; cast it to Float64 or Int64"


def as_instants(times: Column) -> Column:
    """Converts times of any form to nanoseconds in UTC; those without a zone are UTC.

    Raises:
        InvalidTimeRange: A time is outside the range of nanoseconds.
    """
    try:
        if arrow.types.is_integer(times.type):
            times = times.cast(arrow.int64())
        return times.cast(_INSTANT)
    except pa.ArrowInvalid as error:
        raise InvalidTimeRange(_out_of_range(times)) from error


def _out_of_range(times: Column) -> str:
    """Returns the error message for times of which one does not fit into nanoseconds."""
    per_unit = _PER_UNIT[times.type.unit] if arrow.types.is_timestamp(times.type) else 1
    numbers = times.cast(arrow.int64()) if arrow.types.is_timestamp(times.type) else times
    for row, number in enumerate(numbers.to_pylist()):
        if number is not None and not -(1 << 63) <= number * per_unit < 1 << 63:
            text = f"{number} {times.type.unit} since 1970" if per_unit > 1 else str(number)
            return f"row {row}: the time {text} is outside the range of nanoseconds (1677 to 2262)"
    return "a time is outside the range of nanoseconds"  # pragma: no cover


def _pandas_values(part: _Part) -> Column:
    held = part.held
    is_numpys = type(held.dtype).__module__.partition(".")[0] == "numpy"
    if is_numpys and held.dtype == np.dtype(object):
        return _objects(part)
    try:
        if is_numpys:
            numbers = held.to_numpy()
            # Arrow requires native byte order.
            return arrow.array(numbers.astype(numbers.dtype.newbyteorder("="), copy=False))
        return _array(held)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        advice = "cast it to float64" if held.dtype.kind == "f" else "give numbers"
        raise BTRDBTypeError(f"values of type `{held.dtype}` in {part.where}; {advice}") from error


def _objects(part: _Part) -> Column:
    """Converts Python objects; missing values become null."""
    values = [None if is_missing(value) else value for value in part.held]
    others = [value for value in values if value is not None]
    if others and not any(map(is_number, others)):
        advice = "cast them if 0 and 1 are meant" if isinstance(others[0], bool) else "give numbers"
        kind = type(others[0]).__name__
        raise BTRDBTypeError(f"values of type `{kind}` in {part.where}; {advice}")
    try:
        return as_numbers(values)
    except BadValue as error:
        raise BadValue(f"{part.where}, {error}") from error
