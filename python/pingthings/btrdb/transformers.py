"""What makes frames, arrays, dicts and text of a set of streams."""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from pingthings.btrdb import reads, tables
from pingthings.btrdb.tables import STATISTICS
from pingthings.timeseries.exceptions import BTRDBValueError
from pingthings.timeseries.extras import extra

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame, Series
    from polars import DataFrame as PolarsFrame

    from pingthings.btrdb.stream import Stream, StreamSetBase

__all__ = [
    "OrderedDict",  # programs that import everything from here use it, and `csv`
    "StreamSetTransformer",
    "arrow_to_arrow_table",
    "arrow_to_dataframe",
    "arrow_to_dict",
    "arrow_to_numpy",
    "arrow_to_polars",
    "arrow_to_series",
    "csv",
    "to_array",
    "to_csv",
    "to_dataframe",
    "to_dict",
    "to_polars",
    "to_series",
    "to_table",
]

_ALL = "all"


def _path(stream: Stream) -> str:
    return f"{stream.collection}/{stream.name}"


def _names(
    streamset: StreamSetBase, name_callable: Callable[[Stream], str] | None
) -> tuple[str, ...]:
    streamset._fetch_metadata()
    name = name_callable if callable(name_callable) else _path
    return tuple(name(stream) for stream in streamset._streams)


def _check(agg: str, *, allows_all: bool = False) -> None:
    if agg == _ALL and not allows_all:
        raise AttributeError("`all` statistics do not go into one column; name one of them")


def _column(agg: str) -> str:
    if agg not in STATISTICS:
        raise AttributeError(f"a window has no `{agg}`, but {', '.join(STATISTICS)}")
    return agg


def _columns(table: pa.Table, count: int, agg: str) -> list[dict[str, pa.ChunkedArray[Any]]]:
    """For each stream its columns of a joined table, by statistic; `` for measured values."""
    if table.num_columns == count + 1:
        return [{"": column} for column in table.columns[1:]]
    wanted = STATISTICS if agg == _ALL else (_column(agg),)
    return [{name: table[f"{place}.{name}"] for name in wanted} for place in range(count)]


def to_series(
    streamset: StreamSetBase,
    datetime64_index: bool = True,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> list[Series]:
    """Returns a series of pandas for each stream.

    Args:
        streamset: The streams.
        datetime64_index: Whether times are datetime64[ns], and not int64.
        agg: Which statistic of windows.
        name_callable: What gives a stream its name; None is collection and name.
    """
    _check(agg)
    pd = extra("pandas", "pandas")
    found: list[Series] = []
    for name, table in zip(_names(streamset, name_callable), reads.answers(streamset), strict=True):
        times: Any = tables.times_of(table) if table.num_rows else []
        if datetime64_index:
            times = pd.Index(times, dtype="datetime64[ns]", name="time")
        column = table["value" if tables.is_raw(table) else _column(agg)]
        values = column.to_numpy()
        if values.dtype == np.uint64:
            values = values.astype(np.int64)
        found.append(pd.Series(values if len(values) else [], index=times, name=name))
    return found


def to_dict(
    streamset: StreamSetBase,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> list[OrderedDict[str, Any]]:
    """Returns a dict for each time: `time`, and a value or None for each stream.

    Args:
        streamset: The streams.
        agg: Which statistic of windows; `all` has keys like `NAME-mean`.
        name_callable: What gives a stream its name; None is collection and name.
    """
    names, joined = _names(streamset, name_callable), reads.joined(streamset)
    lists: dict[str, list[Any]] = {"time": tables.times_of(joined).tolist()}
    for name, columns in zip(names, _columns(joined, len(names), agg), strict=True):
        for statistic, column in columns.items():
            key = f"{name}-{statistic}" if agg == _ALL and statistic else name
            lists[key] = tables.values_of(column)
    return [OrderedDict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _array(column: pa.ChunkedArray[Any]) -> NDArray[Any]:
    """A column as pandas makes it of numbers and None."""
    if column.null_count == len(column):
        return np.full(len(column), None, dtype=object)
    if column.null_count:
        return column.cast(pa.float64()).to_numpy()
    values = column.to_numpy()
    return values.astype(np.int64) if values.dtype == np.uint64 else values


def to_dataframe(
    streamset: StreamSetBase,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> DataFrame:
    """Returns a frame of pandas with a row for each time and a column for each stream.

    Args:
        streamset: The streams.
        agg: Which statistic of windows; `all` has a column for each, with three levels of names.
        name_callable: What gives a stream its name; None is collection and name. Not with `all`.

    Returns:
        A frame whose index is `time`, in nanoseconds; without columns if there is no point.
    """
    if agg == _ALL and name_callable is not None:
        raise AttributeError(
            "cannot provide name_callable when using 'all' as aggregate at this time: "
            "its columns have names of three levels"
        )
    pd = extra("pandas", "pandas")
    names, joined = _names(streamset, name_callable), reads.joined(streamset)
    if not joined.num_rows:
        return cast("DataFrame", pd.DataFrame())
    columns = _columns(joined, len(names), agg)
    arrays = [_array(column) for each in columns for column in each.values()]
    frame = pd.DataFrame(
        dict(enumerate(arrays)), index=pd.Index(tables.times_of(joined), name="time")
    )
    if agg == _ALL and "" not in columns[0]:
        labels = [[s.collection, s.name, name] for s in streamset for name in STATISTICS]
        frame.columns = pd.MultiIndex.from_tuples(labels)
    else:
        frame.columns = list(names)
    return cast("DataFrame", frame)


def to_polars(
    streamset: StreamSetBase,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> PolarsFrame:
    """Returns a frame of polars with `time` and a column for each stream.

    Args:
        streamset: The streams.
        agg: Which statistic of windows; `all` has columns like `NAME/mean`.
        name_callable: What gives a stream its name; None is collection and name.
    """
    pd, pl = extra("pandas", "pandas"), extra("polars", "polars")
    frame: Any = to_dataframe(streamset, agg, None if agg == _ALL else name_callable)
    if not frame.empty:
        frame.index = pd.DatetimeIndex(frame.index, tz="UTC", name="time")
        if frame.columns.nlevels > 1:
            names = _names(streamset, name_callable)
            frame.columns = [f"{name}/{statistic}" for name in names for statistic in STATISTICS]
    return cast("PolarsFrame", pl.from_pandas(frame, nan_to_null=False, include_index=True))


def to_array(streamset: StreamSetBase, agg: str = "mean") -> NDArray[Any]:
    """Returns an array of objects with the values of each stream.

    Args:
        streamset: The streams.
        agg: Which statistic of windows.
    """
    _check(agg)
    found = [
        np.array(tables.values_of(table["value" if tables.is_raw(table) else _column(agg)]))
        for table in reads.answers(streamset)
    ]
    return np.array(found, dtype=object)


def to_csv(
    streamset: StreamSetBase,
    fobj: str | IO[str],
    dialect: Any = None,
    fieldnames: Sequence[str] | None = None,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> None:
    """Writes a row for each time, with a column for each stream.

    Args:
        streamset: The streams.
        fobj: A path, or a file that takes text.
        dialect: A dialect of Python's `csv`.
        fieldnames: The names of the columns that are written; None is all of them.
        agg: Which statistic of windows.
        name_callable: What gives a stream its name; None is collection and name.
    """
    _check(agg)
    if isinstance(fobj, str):
        with Path(fobj).open("w", newline="") as file:
            to_csv(streamset, file, dialect, fieldnames, agg, name_callable)
        return
    names = fieldnames or ["time", *_names(streamset, name_callable)]
    writer = csv.DictWriter(fobj, fieldnames=list(names), dialect=dialect or "excel")
    writer.writeheader()
    writer.writerows(to_dict(streamset, agg, name_callable))


def to_table(
    streamset: StreamSetBase,
    agg: str = "mean",
    name_callable: Callable[[Stream], str] | None = None,
) -> str:
    """Returns a table as text, with a row for each time and a column for each stream.

    Args:
        streamset: The streams.
        agg: Which statistic of windows.
        name_callable: What gives a stream its name; None is collection and name.
    """
    _check(agg)
    tabulate = extra("tabulate", "btrdb").tabulate
    return str(tabulate(to_dict(streamset, agg, name_callable), headers="keys"))


def arrow_to_arrow_table(streamset: StreamSetBase) -> pa.Table:
    """Returns `streamset.arrow_values()`."""
    return streamset.arrow_values()


def _statistics(agg: Sequence[str] | None) -> Sequence[str]:
    if agg is None:
        return ["mean"]
    if not isinstance(agg, list):
        raise BTRDBValueError(f"`agg` is a list of texts, not `{agg!r}`")
    return STATISTICS if _ALL in agg else agg


def arrow_to_dataframe(
    streamset: StreamSetBase,
    agg: list[str] | None = None,
    name_callable: Callable[[Stream], str] | None = None,
) -> DataFrame:
    """Returns a frame of pandas whose columns are Arrow's.

    Args:
        streamset: The streams.
        agg: Which statistics of windows; None is the mean, `["all"]` all of them.
        name_callable: What gives a stream its name; None is collection and name.

    Returns:
        A frame with times as its index, and columns named by stream, of windows like `NAME/mean`.
    """
    wanted = _statistics(agg)
    pd = extra("pandas", "pandas")
    table, names = streamset.arrow_values(), _names(streamset, name_callable)
    if not streamset.allow_window:
        chosen = [
            (f"{stream.uuid}/{statistic}", f"{name}/{statistic}")
            for stream, name in zip(streamset, names, strict=True)
            for statistic in STATISTICS
            if statistic in wanted
        ]
        table = table.select(["time", *(column for column, _ in chosen)])
        names = tuple(name for _, name in chosen)
    frame: Any = (
        cast("Any", table).to_pandas(types_mapper=pd.ArrowDtype).set_index(table.column_names[0])
    )
    if not streamset.allow_window or _is_named_by_uuid(streamset, table):
        frame.columns = list(names)
    return cast("DataFrame", frame)


def _is_named_by_uuid(streamset: StreamSetBase, table: pa.Table) -> bool:
    return table.column_names[1:] == [str(stream.uuid) for stream in streamset]


def arrow_to_series(
    streamset: StreamSetBase,
    agg: list[str] | None = None,
    name_callable: Callable[[Stream], str] | None = None,
) -> list[Series]:
    """Returns the columns of `arrow_to_dataframe`.

    Args:
        streamset: The streams.
        agg: Which statistics of windows.
        name_callable: What gives a stream its name.
    """
    frame = arrow_to_dataframe(streamset, agg, name_callable)
    return [frame.iloc[:, place] for place in range(frame.shape[1])]


def arrow_to_polars(
    streamset: StreamSetBase,
    agg: list[str] | None = None,
    name_callable: Callable[[Stream], str] | None = None,
) -> PolarsFrame:
    """Returns `arrow_to_dataframe` as a frame of polars, with `time` as a column.

    Args:
        streamset: The streams.
        agg: Which statistics of windows.
        name_callable: What gives a stream its name.
    """
    pl = extra("polars", "polars")
    frame = arrow_to_dataframe(streamset, agg, name_callable)
    return cast("PolarsFrame", pl.from_pandas(frame, include_index=True, nan_to_null=False))


def arrow_to_numpy(streamset: StreamSetBase, agg: list[str] | None = None) -> NDArray[Any]:
    """Returns the values of `arrow_to_dataframe`, with a row for each time.

    Args:
        streamset: The streams.
        agg: Which statistics of windows.
    """
    return cast("NDArray[Any]", arrow_to_dataframe(streamset, agg).to_numpy())


def arrow_to_dict(
    streamset: StreamSetBase,
    agg: list[str] | None = None,
    name_callable: Callable[[Stream], str] | None = None,
) -> dict[Any, dict[str, Any]]:
    """Returns a dict of the columns of `arrow_to_dataframe` for each time.

    Args:
        streamset: The streams.
        agg: Which statistics of windows.
        name_callable: What gives a stream its name.
    """
    frame: Any = arrow_to_dataframe(streamset, agg, name_callable)
    return cast("dict[Any, dict[str, Any]]", frame.to_dict(orient="index"))


class StreamSetTransformer:
    """The functions of this module as methods of a set."""

    to_dict = to_dict
    arrow_to_dict = arrow_to_dict
    to_array = to_array
    arrow_to_numpy = arrow_to_numpy
    to_series = to_series
    arrow_to_series = arrow_to_series
    to_dataframe = to_dataframe
    arrow_to_dataframe = arrow_to_dataframe
    to_polars = to_polars
    arrow_to_polars = arrow_to_polars
    arrow_to_arrow_table = arrow_to_arrow_table
    to_csv = to_csv
    to_table = to_table
