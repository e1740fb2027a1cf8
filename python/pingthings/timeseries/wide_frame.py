"""Wide frames: times, and a column of values for each stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from pingthings.timeseries.arguments import unfit
from pingthings.timeseries.exceptions import (
    BadValue,
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
)
from pingthings.timeseries.insert_data import check_numbers
from pingthings.timeseries.time_axis import (
    TimedFrame,
    as_instants,
    holds_times,
    is_arrow,
    is_pandas,
    take_apart,
)

__all__ = ["WideColumn", "by_name", "columns_of", "points_of"]

compute: Any = pc  # its stubs lag behind it


@dataclass(frozen=True)
class WideColumn:
    """A column to be stored in a stream."""

    name: str
    """Name of the stream."""
    unit: str
    """Unit of the stream; empty if none is given."""
    points: pa.Table


def columns_of(
    frame: Any,
    time: str | None,
    names: Mapping[str, str] | None,
    units: str | Mapping[str, str] | None,
) -> list[WideColumn]:
    """Returns the columns of a wide frame with the names and units of their streams.

    Raises:
        BTRDBTypeError: As `points_of`; also if names or units have another type, or there is no
            column.
        BTRDBValueError: As `points_of`; also if a name or unit is for a missing column, or two
            streams would have the same name.
    """
    points = points_of(frame, time)
    if not points:
        raise BTRDBTypeError(f"the `{type(frame).__name__}` has times, but no column of values")
    renamed = _texts(names or {}, "names", points)
    one_for_all = units if isinstance(units, str) else ""
    given = _texts({} if isinstance(units, str) else units or {}, "units", points)
    found = [
        WideColumn(renamed.get(label, label), given.get(label, one_for_all), table)
        for label, table in points.items()
    ]
    for column in found:
        for what, text in (("name", column.name), ("unit", column.unit)):
            if why := unfit(text):
                raise BTRDBValueError(f"{text[:40]!a} is no {what} of a stream: it {why}")
    for name, count in Counter(column.name for column in found).items():
        if count > 1:
            raise BTRDBValueError(f"two columns would be stored in the stream `{name}`; rename one")
    return found


def by_name(error: BTrDBError, uuids: list[UUID], columns: list[WideColumn]) -> BTrDBError:
    """Replaces uuids of streams that do not exist yet by their names in an error."""
    text = str(error)
    for uuid, column in zip(uuids, columns, strict=True):
        text = text.replace(f"`{uuid}`", f"`{column.name}`")
    error.args = (text, *error.args[1:])
    return error


def _texts(given: Mapping[str, str], what: str, points: Mapping[str, pa.Table]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise BTRDBTypeError(
            f"`{what}` must map columns to text, but is a `{type(given).__name__}`"
        )
    given = {str(label): text for label, text in given.items()}  # as those of the frame are
    for label, text in given.items():
        if not isinstance(text, str):
            raise BTRDBTypeError(f"`{what}` maps column `{label}` to `{text!r}`; give text")
        if label not in points:
            known = ", ".join(f"`{name}`" for name in points)
            raise BTRDBValueError(
                f"`{what}` has a column `{label}`, which the frame lacks; it has {known}"
            )
    return given


def points_of(frame: Any, time: str | None) -> dict[str, pa.Table]:
    """Returns the points of each column of a wide frame, by column name.

    Raises:
        BTRDBTypeError: It is not a frame, has no times, or a column does not contain numbers.
        BTRDBValueError: Two columns have the same name, or one has none.
        InvalidTimeRange: A time is missing, or is outside the range of nanoseconds.
    """
    if not (is_pandas(frame) or is_arrow(frame)):
        advice = "; `collect` it first" if type(frame).__name__ == "LazyFrame" else ""
        raise BTRDBTypeError(f"a `{type(frame).__name__}` is not a frame{advice}")
    try:
        taken = take_apart(frame, time)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, BTrDBError):
            raise
        raise BTRDBTypeError(f"a `{type(frame).__name__}` is not a frame: {error}") from error
    times = _frame_times(taken)
    points: dict[str, pa.Table] = {}
    for name, values in taken.columns:
        if name in points or not name:
            what = f"two columns have the name `{name}`" if name else "a column has no name"
            raise BTRDBValueError(f"{what} in the `{taken.what}`; rename it")
        points[name] = _points(times, values, name, nan_is_missing=taken.nan_is_missing)
    return points


def _frame_times(taken: TimedFrame) -> Any:
    if not holds_times(taken.times.type) and not pa.types.is_null(taken.times.type):
        raise BTRDBTypeError(
            f"times of type `{taken.times.type}` in the first column of the `{taken.what}`; give "
            "timestamps or int64 nanoseconds"
        )
    if taken.times.null_count:
        raise InvalidTimeRange(f"a time is missing in the `{taken.what}`; leave such rows out")
    return as_instants(taken.times)


def _points(times: Any, values: Any, name: str, *, nan_is_missing: bool) -> pa.Table:
    """Returns the rows of a column that have a value.

    Raises:
        BadValue: A value is not finite. This is checked here because the error names the row of the
            frame.
        BTRDBTypeError: The values are not numbers.
    """
    has = values.is_valid() if values.null_count else None
    if pa.types.is_floating(values.type):
        finite = compute.fill_null(compute.is_finite(values), fill_value=True)
        if not compute.all(finite).as_py():
            is_nan = compute.fill_null(compute.is_nan(values), fill_value=False)
            if nan_is_missing:
                finite = compute.or_(finite, is_nan)
                has = compute.and_not(values.is_valid(), is_nan)
            row = compute.index(finite, False).as_py()
            if row >= 0:
                raise BadValue(
                    f"column `{name}`, row {row} has {values[row].as_py()}: only finite values can "
                    "be stored; leave out such points"
                )
    if pa.types.is_null(values.type) or not len(values):  # an empty column may have any type
        values = cast("Any", pa).nulls(len(values), pa.float64())
    check_numbers(values.type, f"column `{name}`")
    table = pa.table({"time": times, "value": values})
    return table if has is None else table.filter(has)
