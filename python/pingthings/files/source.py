"""What a file of measurements is to its readers: columns, a sample, and blocks of rows.

Text comes as text, so that one bad cell spoils no other; other files come as they are typed. Each
row keeps the number it has in its file: that of its line, or its place counted from one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pingthings.timeseries.exceptions import BTrDBError

__all__ = [
    "AS_WRITTEN",
    "Block",
    "Kinds",
    "Layout",
    "Lines",
    "NothingInItError",
    "Position",
    "Source",
    "SourceError",
    "distinct_names",
]

Lines = npt.NDArray[np.int64]


class SourceError(BTrDBError):
    """The file cannot be used; the message says why and what to do."""


class NothingInItError(SourceError):
    """There is no row in the file."""


@dataclass(frozen=True)
class Position:
    """Where a block begins: bytes of text or rows before it, its first line, and rows before it."""

    offset: int
    line: int
    row: int = 0


@dataclass(frozen=True)
class Layout:
    """What is told about how a file is laid out; None is found out."""

    delimiter: str | None = None
    encoding: str | None = None
    skip_lines: int | None = None
    header_line: int | None = None
    has_header: bool = True
    names: tuple[str, ...] = ()
    unit_line: int | None = None
    comment: str | None = None
    sheet: str | None = None
    missing: tuple[str, ...] = ()
    decimal: str = "."


@dataclass(frozen=True)
class Kinds:
    """Types that columns of text come in, wherever all of their cells can be converted."""

    types: Mapping[str, Any]
    decimal: str = "."
    """What stands before the decimals of numbers."""


AS_WRITTEN = Kinds({})


@dataclass(frozen=True)
class Block:
    """Some rows of a file."""

    table: Any
    lines: Lines
    rows: Lines
    """Which row of the file each is, counted from 0, those included that are refused."""
    refused: list[tuple[int, str]]
    """Rows that are no rows of this table, by number, and why."""
    text: Callable[[int], str]
    """The row of a number as it stands in the file."""
    after: Position
    """Where the next block begins."""
    comments: int = 0
    """How many lines were left out as comments."""
    written: Callable[[Sequence[str]], Any] | None = None
    """Some columns of these rows as they are written, where `table` has them converted."""


class Source(Protocol):
    """A file that is read in blocks."""

    path: Path
    columns: list[str]
    units: dict[str, str]
    """Units of columns, where the file says them."""
    notes: list[str]
    """What was found out about the file, in words."""
    start: Position
    total: int | None
    """What `Position.offset` grows to, if that is known."""
    can_resume: bool
    """Whether it can be read from a position on, another time."""
    days: int
    """How many days later than 1899-12-30 the days of its spreadsheet are counted from."""

    def sample(self) -> Any:
        """Returns the first rows with all columns."""
        raise NotImplementedError

    def blocks(
        self, columns: Sequence[str], position: Position, kinds: Kinds = AS_WRITTEN
    ) -> Iterator[Block]:
        """Yields the rows from a position on, with some columns.

        Args:
            columns: Their names.
            position: Where to begin.
            kinds: What to convert columns of text to.
        """
        raise NotImplementedError


def distinct_names(names: Sequence[str], notes: list[str]) -> list[str]:
    """Returns names of columns by which each can be told: empty and equal ones get a number.

    Args:
        names: The names as they stand in the file.
        notes: Where to say which name was given.
    """
    taken: set[str] = set()
    found: list[str] = []
    for number, name in enumerate(names, 1):
        own = name or f"column {number}"
        while own in taken:
            own = f"{own} (column {number})"
        if name and own != name:
            notes.append(f"two columns are called `{name}`; the other one is `{own}`")
        taken.add(own)
        found.append(own)
    return found
