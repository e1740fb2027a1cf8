"""Rows of CSV as columns, converted at once where all cells of one are good.

Arrow converts cells while it parses them, in no more time than it takes to keep their texts. But
one bad cell ends all, without saying which others are bad. A column that has any comes as text, in
this block and in some that follow: more of them each time, so that what is often bad costs little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from pingthings.files.arrays import are_finite
from pingthings.files.source import Kinds, SourceError

__all__ = ["Parser", "Ragged"]

# Their stubs lag behind them.
arrow: Any = pa
arrow_csv: Any = pa_csv
compute: Any = pc

Ragged = list[tuple[int, int]]
"""Rows with more or fewer cells, from 0, and how many these are."""

_LARGEST_WHOLE = float(1 << 53)
_LONGEST_REST = 64


@dataclass
class _Rest:
    """For how many blocks a column comes as text."""

    length: int = 0
    left: int = 0

    def begin(self) -> None:
        self.length = min(2 * self.length or 1, _LONGEST_REST)
        self.left = self.length


class Parser:
    """Turns rows of one file into tables."""

    def __init__(
        self, path: Path, names: Sequence[str], delimiter: str, missing: Sequence[str]
    ) -> None:
        """Knows the columns of the file, what parts their cells, and what stands for no value."""
        self._path = path
        self._names = list(names)
        self._delimiter = delimiter
        self._missing = list(missing)
        self._rests: dict[str, _Rest] = {}

    def table(self, rows: Any, columns: Sequence[str], kinds: Kinds) -> tuple[Any, Ragged]:
        """Returns some columns of rows, and which rows are none of this table.

        Args:
            rows: Their bytes, which are UTF-8.
            columns: Which columns.
            kinds: What to convert them to.

        Raises:
            SourceError: Arrow cannot parse them.
        """
        data = _native(rows)
        wanted = {name: kind for name, kind in kinds.types.items() if self._is_tried(name)}
        if any(map(arrow.types.is_integer, wanted.values())) and _may_be_hexadecimal(rows):
            wanted = {n: kind for n, kind in wanted.items() if not arrow.types.is_integer(kind)}
        if wanted:
            try:
                found = self._read(data, columns, Kinds(wanted, kinds.decimal))
                if all(_is_exact(found[0][name]) for name in wanted):
                    return found
            except arrow.ArrowInvalid:
                pass
        try:
            table, ragged = self._read(data, columns, Kinds({}))
        except arrow.ArrowInvalid as error:
            raise SourceError(f"cannot read `{self._path}`: {error}") from error
        for name, kind in wanted.items():
            converted = _converted(table[name], kind, kinds.decimal)
            if converted is None:
                self._rests.setdefault(name, _Rest()).begin()
            else:
                table = table.set_column(table.column_names.index(name), name, converted)
        return table, ragged

    def _is_tried(self, name: str) -> bool:
        rest = self._rests.get(name)
        if rest is None or not rest.left:
            return True
        rest.left -= 1
        return False

    def _read(self, data: Any, columns: Sequence[str], kinds: Kinds) -> tuple[Any, Ragged]:
        ragged: Ragged = []

        def refuse(row: Any) -> str:
            ragged.append((row.number - 1, row.actual_columns))
            return "skip"

        table = arrow_csv.read_csv(
            arrow.BufferReader(data),
            # One block, without threads: only so are the numbers of bad rows known.
            arrow_csv.ReadOptions(
                column_names=self._names, use_threads=False, block_size=len(data) + 1
            ),
            arrow_csv.ParseOptions(
                delimiter=self._delimiter, invalid_row_handler=refuse, ignore_empty_lines=False
            ),
            arrow_csv.ConvertOptions(
                include_columns=list(columns),
                column_types={name: kinds.types.get(name, arrow.string()) for name in columns},
                null_values=self._missing,
                strings_can_be_null=True,
                check_utf8=False,
                decimal_point=kinds.decimal,
            ),
        )
        return table, ragged


def _native(data: Any) -> Any:
    """The bytes as Arrow's own: its threads read ahead, and might want Python when that ends."""
    copy = arrow.BufferOutputStream()
    copy.write(data)
    return copy.getvalue()


def _may_be_hexadecimal(rows: Any) -> bool:
    """Whether Arrow might take 0x10 for a whole number."""
    return re.search(b"0[xX]", rows) is not None


def _is_exact(column: Any) -> bool:
    """Whether numbers are what their cells say: finite, and no whole ones beyond 2^53."""
    if not arrow.types.is_floating(column.type) or column.null_count == len(column):
        return True
    ends = compute.min_max(column).as_py()  # which leave NaN out
    return max(-ends["min"], ends["max"]) < _LARGEST_WHOLE and are_finite(column)


def _converted(column: Any, kind: Any, decimal: str) -> Any:
    """A column of texts as another type, None if one of its cells cannot be."""
    if decimal != "." and arrow.types.is_floating(kind):
        if compute.any(compute.match_substring(column, ".")).as_py():
            return None
        column = compute.replace_substring(column, decimal, ".")
    try:
        found = column.cast(kind)
    except (arrow.ArrowInvalid, UnicodeDecodeError):
        return None
    return found if _is_exact(found) else None
