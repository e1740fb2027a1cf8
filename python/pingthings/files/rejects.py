"""The file of rows that could not be stored, each with its line and the reason."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from pingthings.files.content import same_file
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["Rejected", "Rejects"]

_HEADER = ["file", "line", "reason", "row", "column"]
_SHOWN = 3


class Rejected(NamedTuple):
    """A row, or a cell of one, that is not stored."""

    line: int
    reason: str
    row: str
    column: str = ""
    """The column at fault, if it is one."""


class Rejects:
    """Takes rows that are rejected; the first ones are kept for messages."""

    def __init__(self, path: Path | None) -> None:
        """Remembers where they go; the file is opened when the first comes, or is resumed."""
        self.path = path
        self._file: TextIO | None = None
        self.samples: list[str] = []

    @property
    def is_kept(self) -> bool:
        """Whether there is a file for them."""
        return self.path is not None

    def check(self, inputs: Sequence[Path]) -> None:
        """Makes sure that no other file is written over.

        Raises:
            BTrDBError: The file is one that is read, or holds something else.
        """
        if self.path is None:
            return
        if self.path == Path("-"):
            raise BTrDBError("rejected rows go into a file, and not to standard output; name one")
        for path in inputs:
            if same_file(path, self.path):
                raise BTrDBError(f"`{self.path}` is read, so rejected rows cannot go there")
        if self.path.is_file() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                is_ours = file.read(10).startswith(b"file,line,")
            if not is_ours:
                raise BTrDBError(
                    f"`{self.path}` is there, and holds no rejected rows: it would be written "
                    "over; name another file, or remove it"
                )

    def holds(self, size: int) -> bool:
        """Whether so many bytes of before are still there."""
        try:
            return self.path is None or self.path.stat().st_size >= size
        except OSError:
            return size == 0

    def resume(self, size: int) -> None:
        """Goes on after so many bytes; what is behind them belongs to rows that come again.

        Raises:
            BTrDBError: The file cannot be written.
        """
        if self.path is None:
            return
        try:
            file = self.path.open("a+" if size else "w+", encoding="utf-8", newline="")
            if size:
                file.truncate(size)
            else:
                csv.writer(file).writerow(_HEADER)
            file.flush()
        except OSError as error:
            raise BTrDBError(f"cannot write `{self.path}`: {error.strerror}") from error
        self._file = file

    def add(self, source: Path, rows: Sequence[Rejected]) -> int:
        """Writes rows and returns how large the file is.

        Raises:
            BTrDBError: The file cannot be written.
        """
        for row in rows[: max(0, _SHOWN - len(self.samples))]:
            self.samples.append(f"`{source}`, line {row.line}: {row.reason}")
        if self._file is None:
            return 0
        try:
            csv.writer(self._file).writerows((source, *row) for row in rows)
            self._file.flush()
            return self._file.tell()
        except OSError as error:
            raise BTrDBError(f"cannot write `{self.path}`: {error.strerror}") from error

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
