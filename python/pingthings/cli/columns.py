"""Which column of a file holds the times, and which become streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pingthings.cli import cells
from pingthings.cli.cells import Clock
from pingthings.cli.source import Source, SourceError

__all__ = ["Value", "choose_time", "choose_values"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_TIME_NAMES = re.compile(r"time|timestamp|date[ _-]?time|datum|zeit|epoch|utc|ts|t", re.IGNORECASE)
_EPOCH_UNITS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (10**20, "ns"))


@dataclass(frozen=True)
class Value:
    """A column, and the stream that its numbers go into."""

    column: str
    name: str
    unit: str
    kind: str
    """The type of the column, in words."""


def choose_time(source: Source, sample: Any, asked: str | None, clock: Clock) -> str:
    """Returns the column of times.

    Raises:
        SourceError: There is no such column, or it holds no times.
    """
    if asked is not None:
        if asked not in source.columns:
            raise SourceError(f"`{source.path}` has no column `{asked}`; it has {_listed(source)}")
        _check_times(source, sample, asked, clock)
        return asked
    held: list[tuple[int, str]] = []
    for name in source.columns:
        looks = _TIME_NAMES.fullmatch(name) is not None
        if _may_be_time(sample[name], clock, is_named=looks):
            distinct = compute.count_distinct(sample[name]).as_py()
            held.append((distinct * (2 if looks else 1), name))
    if not held:
        for name in source.columns:
            if _TIME_NAMES.fullmatch(name):
                _check_times(source, sample, name, clock)
        raise SourceError(
            f"no column of `{source.path}` holds times; name one with `--time`, and how it is "
            f"written with `--time-format`. It has {_listed(source)}"
        )
    return max(held, key=lambda one: one[0])[1]


def _may_be_time(column: Any, clock: Clock, *, is_named: bool) -> bool:
    kind = column.type
    if arrow.types.is_timestamp(kind) or arrow.types.is_date(kind):
        return True
    if arrow.types.is_integer(kind) or arrow.types.is_floating(kind):
        return is_named and clock.unit is not None
    if not arrow.types.is_string(kind) or (clock.unit is not None and not is_named):
        return False
    return cells.looks_like(partial(cells.times, clock=clock), column)


def _check_times(source: Source, sample: Any, name: str, clock: Clock) -> None:
    """Says what is wrong with a column that is to hold times."""
    column = sample[name]
    is_text = arrow.types.is_string(column.type)
    if clock.unit is None and (not is_text or _are_numbers(column)):
        if arrow.types.is_temporal(column.type):
            return
        held = column.drop_null()
        first = held[0].as_py() if len(held) else None
        likely = next((u for most, u in _EPOCH_UNITS if abs(float(first or 0)) < most), "ns")
        raise SourceError(
            f"column `{name}` of `{source.path}` holds numbers such as {first}; say what they "
            f"count since 1970 with `--time-unit`, which may be {likely}"
        )
    if len(column) and not cells.looks_like(partial(cells.times, clock=clock), column):
        first = next((text for text in column.to_pylist() if text is not None), "")
        raise SourceError(
            f"column `{name}` of `{source.path}` holds no times: `{first}` is not understood. "
            "Times are ISO 8601, or as `--time-format` or `--time-unit` says"
        )


def _are_numbers(column: Any) -> bool:
    return cells.looks_like(partial(cells.numbers, name="", decimal="."), column)


def choose_values(
    source: Source, sample: Any, time: str, asked: Sequence[str], unit: str, decimal: str
) -> tuple[list[Value], list[str]]:
    """Returns the columns that become streams, and in words which do not and why.

    Raises:
        SourceError: There is no such column, or none with numbers, or two would be one stream.
    """
    notes: list[str] = []
    found: list[Value] = []
    if asked:
        found = [_asked(source, sample, text, unit) for text in asked]
    else:
        for name in source.columns:
            if name == time:
                continue
            reason = _reason_to_skip(
                sample[name], decimal, may_number_rows=name == source.columns[0]
            )
            if reason is None:
                found.append(Value(name, name or "unnamed", unit, _kind(sample[name])))
            else:
                notes.append(f"column `{name}` is left out: {reason}")
    if not found:
        reasons = f" ({'; '.join(notes)})" if notes else ""
        raise SourceError(
            f"`{source.path}` has no column of numbers beside `{time}`{reasons}; name one with "
            "`--value`"
        )
    names = [value.name for value in found]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"two columns would go into the stream `{name}`; give them two names")
    return found, notes


def _asked(source: Source, sample: Any, text: str, unit: str) -> Value:
    """What `COLUMN`, `COLUMN=NAME` or `COLUMN=NAME:UNIT` says; a column may hold `=`."""
    place = len(text)
    while place > 0:
        column = text[:place]
        if column in source.columns:
            name, colon, own = text[place + 1 :].rpartition(":")
            if not colon:
                name, own = own, unit
            kind = sample[column].type
            if arrow.types.is_temporal(kind) or arrow.types.is_nested(kind):
                raise SourceError(f"column `{column}` of `{source.path}` is {kind}, not numbers")
            return Value(column, name or column, own, _kind(sample[column]))
        place = text.rfind("=", 0, place)
    column = text.partition("=")[0]
    raise SourceError(f"`{source.path}` has no column `{column}`; it has {_listed(source)}")


def _kind(column: Any) -> str:
    return "text" if arrow.types.is_string(column.type) else str(column.type)


def _reason_to_skip(column: Any, decimal: str, *, may_number_rows: bool) -> str | None:
    kind = column.type
    if arrow.types.is_null(kind) or column.null_count == len(column):
        return "it is empty at the beginning of the file"
    is_text = arrow.types.is_string(kind) or arrow.types.is_large_string(kind)
    is_number = (
        arrow.types.is_integer(kind)
        or arrow.types.is_floating(kind)
        or arrow.types.is_decimal(kind)
    )
    read = partial(cells.numbers, name="", decimal=decimal)
    if not (is_number or is_text) or (is_text and not cells.looks_like(read, column)):
        if is_text and cells.looks_like(partial(cells.numbers, name="", decimal=","), column):
            return "its numbers have a comma; say `--decimal ,`"
        return "it holds no numbers"
    if may_number_rows and _numbers_rows(read(column)[0]):
        return "it numbers the rows; `--value` takes it all the same"
    return None


def _numbers_rows(found: Any) -> bool:
    if found.null_count or len(found) <= 1:
        return False
    first = found[0].as_py()
    return first in {0.0, 1.0} and found.equals(
        arrow.array([first + k for k in range(len(found))], arrow.float64())
    )


def _listed(source: Source) -> str:
    return ", ".join(f"`{name}`" for name in source.columns)
