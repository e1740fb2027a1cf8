"""What the demonstration ingests: a CSV file of the user's, or the simulated recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from simulated_pmu import RECORDING

SAMPLE_BYTES = 65_536
DELIMITERS = ",;\t|"
SAMPLE_ROWS = 100
TIME_NAMES = re.compile(r"time|timestamp|date[ _-]?time|datum|epoch|utc|ts", re.IGNORECASE)
NAME_AND_UNIT = re.compile(r"(?P<name>.+?)\s*[\[(](?P<unit>[^\])]{1,20})[\])]\s*")
EPOCH_UNITS = (
    (10**11, "s", 10**9),
    (10**14, "ms", 10**6),
    (10**17, "us", 10**3),
    (10**20, "ns", 1),
)

Times = npt.NDArray[np.int64]


class SourceError(Exception):
    """The file cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Series:
    """One quantity: what becomes a stream."""

    collection: str
    name: str
    unit: str
    points: pa.Table
    """Columns `time` (timestamp[ns, UTC]) and `value` (float64), without nulls."""


@dataclass
class Measurements:
    """Everything to ingest, and what there is to say about how it was read."""

    title: str
    series: list[Series]
    notes: list[str] = field(default_factory=list[str])

    @property
    def number_of_points(self) -> int:
        """Points of all quantities together."""
        return sum(one.points.num_rows for one in self.series)


def read_recording() -> Measurements:
    """Returns the simulated recording: a collection per station, a stream per quantity."""
    table = pq.read_table(RECORDING)
    found = Measurements("Simulated synchrophasors (nothing here was measured)", [])
    dropped = 0
    for column in table.schema:
        if column.name == "time":
            continue
        station, quantity = column.name.split("/")
        points, lost = _points(table["time"], table[column.name])
        dropped += lost
        unit = column.metadata[b"unit"].decode()
        found.series.append(Series(f"simulated/{station}", quantity, unit, points))
    found.notes.append(
        f"{table.num_rows:,} frames of {len(found.series)} quantities, 30 frames a second"
    )
    found.notes.append(
        f"{dropped:,} values are missing (a station's link failed) and were left out"
    )
    return found


def read_csv(file: Path, time_name: str | None, names: Sequence[str]) -> Measurements:
    """Returns the numeric columns of a CSV file.

    Args:
        file: The file; separated by commas, semicolons, tabs or bars, with a line of names.
        time_name: The column that holds the times; None looks for it.
        names: The columns to take; none takes every numeric one but row numbers.

    Raises:
        SourceError: The file cannot be read, or has no column of times or of numbers.
    """
    table = _load(file)
    for name in (*names, *([] if time_name is None else [time_name])):
        if name not in table.column_names:
            raise SourceError(f"`{file}` has no column `{name}`; it has {_quoted(table)}")
    time_name, times, how = _times(table, time_name, file)
    found = Measurements(f"{file.name}", [])
    found.notes.append(f"{table.num_rows:,} rows; times from column `{time_name}` ({how})")
    if times.null_count:
        found.notes.append(f"{times.null_count:,} rows have no time and were left out")
    repeated = len(times) - times.null_count - pc.count_distinct(times).as_py()
    if repeated:
        found.notes.append(f"{repeated:,} rows repeat a time; of equal times the last row counts")

    collection = f"demo/{file.stem}"
    for name in table.column_names:
        if name == time_name or (names and name not in names):
            continue
        column = table[name]
        numbers_rows = name == table.column_names[0] and name not in names
        reason = _reason_to_skip(column, may_number_rows=numbers_rows)
        if reason is not None:
            found.notes.append(f"column `{name}` was left out: {reason}")
            continue
        points, dropped = _points(times, column)
        if dropped:
            found.notes.append(f"column `{name}`: {dropped:,} empty cells were left out")
        match = NAME_AND_UNIT.fullmatch(name)
        title, unit = (match["name"], match["unit"]) if match else (name, "")
        found.series.append(Series(collection, title, unit, points))
    if not found.series:
        raise SourceError(f"`{file}` has no column of numbers beside `{time_name}`")
    return found


def _load(file: Path) -> pa.Table:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            names = stream.readline(SAMPLE_BYTES)
    except OSError as error:
        raise SourceError(f"cannot read `{file}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"`{file}` is not UTF-8 text") from error
    try:
        table = pyarrow.csv.read_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(delimiter=max(DELIMITERS, key=names.count)),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        raise SourceError(f"`{file}` is no table: {error}") from error
    if len(set(table.column_names)) != table.num_columns:
        raise SourceError(f"`{file}` names a column twice; it has {_quoted(table)}")
    if not table.num_rows:
        raise SourceError(f"`{file}` has no rows")
    return table


def _times(table: pa.Table, name: str | None, file: Path) -> tuple[str, pa.ChunkedArray, str]:
    """The column of times as timestamp[ns, UTC], and in words how it was read."""
    candidates: list[tuple[int, str]] = []
    for column in [name] if name is not None else table.column_names:
        if _time_reader(column, table[column], is_named=name is not None) is not None:
            looks = 2 if TIME_NAMES.fullmatch(column) else 1
            candidates.append((pc.count_distinct(table[column]).as_py() * looks, column))
    if not candidates and name is not None:
        raise SourceError(
            f"column `{name}` of `{file}` holds no times that can be read; write them like "
            "`2018-01-01T12:30:00Z`, or as whole seconds or finer units since 1970"
        )
    if not candidates:
        raise SourceError(
            f"no column of `{file}` holds times; name one with --time. It has {_quoted(table)}"
        )
    best = max(candidates, key=lambda candidate: candidate[0])[1]
    reader = _time_reader(best, table[best], is_named=name is not None)
    assert reader is not None  # noqa: S101 - it was a candidate
    read, how = reader
    try:
        return best, read(table[best]), how
    except (pa.ArrowInvalid, pt.exceptions.BTrDBError) as error:
        raise SourceError(f"column `{best}` of `{file}`: {error}") from error


def _time_reader(
    name: str, column: pa.ChunkedArray, *, is_named: bool
) -> tuple[Callable[[pa.ChunkedArray], pa.ChunkedArray], str] | None:
    """How to read a column as times, in code and in words; None if it holds none."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _to_ns, "with a time zone" if kind.tz else "without a time zone, taken as UTC"
    if pa.types.is_date(kind):
        return _to_ns, "dates, taken as midnight UTC"
    if pa.types.is_integer(kind) and (is_named or TIME_NAMES.fullmatch(name)):
        greatest = pc.max(pc.abs(column)).as_py() or 0
        for limit, unit, factor in EPOCH_UNITS:
            if greatest < limit:
                return partial(_scale, factor=factor), f"{unit} since 1970, UTC"
    if pa.types.is_string(kind):
        sample = column.drop_null().slice(0, SAMPLE_ROWS).to_pylist()
        try:
            for text in sample:
                pt.utils.to_nanoseconds(text)
        except pt.exceptions.BTRDBValueError:
            return None
        return _parse, "text"
    return None


def _to_ns(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # A time without a zone is the same number as in UTC, but a cast would not say so.
    naive = column.cast(pa.timestamp("ns")) if not pa.types.is_integer(column.type) else column
    return naive.cast(pa.int64()).cast(pa.timestamp("ns", tz="UTC"))


def _scale(column: pa.ChunkedArray, factor: int) -> pa.ChunkedArray:
    return _to_ns(pc.multiply_checked(column.cast(pa.int64()), factor))


def _parse(column: pa.ChunkedArray) -> pa.ChunkedArray:
    nanoseconds = [pt.utils.to_nanoseconds(text) for text in column.to_pylist()]
    return pa.chunked_array([pa.array(nanoseconds, pa.timestamp("ns", tz="UTC"))])


def _reason_to_skip(column: pa.ChunkedArray, *, may_number_rows: bool) -> str | None:
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        return "it is empty"
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        words = {"bool": "true or false", "string": "text"}
        is_date = pa.types.is_temporal(kind)
        return f"it holds {'times' if is_date else words.get(str(kind), str(kind))}, not numbers"
    if may_number_rows and _is_row_number(column):
        return "it numbers the rows; name it with --columns to take it all the same"
    return None


def _is_row_number(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    values = column.to_numpy()
    return len(values) > 1 and values[0] in {0, 1} and bool((np.diff(values) == 1).all())


def _points(times: pa.ChunkedArray, values: pa.ChunkedArray) -> tuple[pa.Table, int]:
    """The rows that have a time and a finite value, and how many values were missing."""
    table = pa.table({"time": times, "value": values.cast(pa.float64())})
    table = table.filter(pc.is_valid(table["time"]))
    kept = table.filter(pc.fill_null(pc.is_finite(table["value"]), fill_value=False))
    return kept, table.num_rows - kept.num_rows


def _quoted(table: pa.Table) -> str:
    names: list[Any] = list(table.column_names)
    return ", ".join(f"`{name}`" for name in names)
