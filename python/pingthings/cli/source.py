"""Files of measurements, a block of rows at a time: CSV, Parquet, Arrow IPC.

A CSV file comes as text, so that one bad cell spoils no other; the others come as they are typed.
Each row keeps the number it has in its file: that of its line, or its place counted from one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as pa_csv
from pyarrow import ipc as pa_ipc
from pyarrow import parquet as pa_parquet

from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["COMPRESSED", "MISSING", "Block", "Position", "Source", "SourceError", "open_source"]

# Their stubs lag behind them.
arrow: Any = pa
arrow_csv: Any = pa_csv
ipc: Any = pa_ipc
parquet: Any = pa_parquet

MISSING = ["", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "-"]
"""What stands in a cell that has no value."""

COMPRESSED = {".gz", ".bz2", ".zst", ".lz4"}
"""How the names of compressed CSV files end."""

_DELIMITERS = ",;\t|"
_BLOCK_BYTES = 8 << 20
_SAMPLE_BYTES = 1 << 20
_LONGEST_LINE = 64 << 20
_BLOCK_ROWS = 131_072

Lines = npt.NDArray[np.int64]


class SourceError(BTrDBError):
    """The file cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Position:
    """Where a block begins: bytes of text or rows before it, and the number of its first row."""

    offset: int
    line: int


@dataclass(frozen=True)
class Block:
    """Some rows of a file."""

    table: Any
    lines: Lines
    refused: list[tuple[int, str]]
    """Rows that are no rows of this table, by number, and why."""
    text: Callable[[int], str]
    """The row of a number as it stands in the file."""
    after: Position
    """Where the next block begins."""


class Source(Protocol):
    """A file that is read in blocks."""

    path: Path
    columns: list[str]
    start: Position
    total: int | None
    """What `Position.offset` grows to, if that is known."""

    def sample(self) -> Any:
        """Returns the first rows with all columns."""
        raise NotImplementedError

    def blocks(self, columns: Sequence[str], position: Position) -> Iterator[Block]:
        """Yields the rows from a position on, with some columns."""
        raise NotImplementedError


def open_source(path: Path, delimiter: str | None, encoding: str) -> Source:
    """Returns the file by what it begins with, whatever its name.

    Raises:
        SourceError: It cannot be read, is empty, or has no line of column names.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise SourceError(f"cannot read `{path}`: {error.strerror}") from error
    if not magic:
        raise SourceError(f"`{path}` is empty")
    try:
        if magic[:4] == b"PAR1":
            return _Parquet(path)
        if magic == b"ARROW1" or magic[:4] == b"\xff\xff\xff\xff":
            return _Arrow(path, in_file_form=magic == b"ARROW1")
        return _Csv(path, delimiter, encoding)
    except (arrow.ArrowException, OSError) as error:
        raise SourceError(f"cannot read `{path}`: {error}") from error


class _Csv:
    def __init__(self, path: Path, delimiter: str | None, encoding: str) -> None:
        self.path = path
        self._encoding = encoding
        compressed = path.suffix.lower() in COMPRESSED
        self.total = None if compressed else path.stat().st_size
        with self._open() as file:
            header = _first_line(file)
        text = self._decode(header).removeprefix("\ufeff").rstrip("\r\n")
        self._delimiter = delimiter or max(_DELIMITERS, key=text.count)
        self.columns = [
            name.strip() for name in next(csv.reader([text], delimiter=self._delimiter))
        ]
        self.start = Position(len(header), 2)
        if len(set(self.columns)) != len(self.columns):
            raise SourceError(f"line 1 of `{path}` names a column twice: {text}")
        if all(_is_number(name) for name in self.columns):
            raise SourceError(f"line 1 of `{path}` has no names; write a line of names above it")

    def _open(self) -> IO[bytes]:
        if self.total is None:
            file: IO[bytes] = arrow.input_stream(str(self.path), compression="detect")
            return file
        return self.path.open("rb")

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"`{self.path}` is no text in {self._encoding}; say which it is in, as in "
                "`--encoding latin-1`"
            ) from error

    def sample(self) -> Any:
        for block in self._blocks(self.columns, self.start, _SAMPLE_BYTES):
            return block.table
        return arrow.table({name: arrow.array([], arrow.string()) for name in self.columns})

    def blocks(self, columns: Sequence[str], position: Position) -> Iterator[Block]:
        return self._blocks(columns, position, _BLOCK_BYTES)

    def _blocks(self, columns: Sequence[str], position: Position, size: int) -> Iterator[Block]:
        with self._open() as file:
            if self.total is None:
                _skip(file, position.offset)
            else:
                file.seek(position.offset)
            rest = b""
            while True:
                fresh = file.read(size)
                data = rest + fresh
                cut = _end_of_rows(data) if fresh else len(data)
                if not cut and len(data) > _LONGEST_LINE:
                    raise SourceError(f"line {position.line} of `{self.path}` never ends")
                if cut:
                    block = self._parse(data[:cut], columns, position)
                    yield block
                    position = block.after
                if not fresh:
                    return
                rest = data[cut:]

    def _parse(self, data: bytes, columns: Sequence[str], position: Position) -> Block:
        after = Position(position.offset + len(data), position.line + data.count(b"\n"))
        if self._encoding.lower().replace("-", "") != "utf8":
            data = self._decode(data).encode()
        if not data.strip():
            empty = arrow.table({name: arrow.array([], arrow.string()) for name in columns})
            return Block(empty, np.empty(0, np.int64), [], _no_text, after)
        ragged: list[Any] = []

        def keep(row: Any) -> str:
            ragged.append(row)
            return "skip"

        try:
            table = arrow_csv.read_csv(
                _native(data),
                # One block, without threads: only so are the numbers of bad rows known.
                arrow_csv.ReadOptions(
                    column_names=self.columns, use_threads=False, block_size=len(data) + 1
                ),
                arrow_csv.ParseOptions(
                    delimiter=self._delimiter, invalid_row_handler=keep, ignore_empty_lines=False
                ),
                arrow_csv.ConvertOptions(
                    include_columns=columns,
                    column_types=dict.fromkeys(columns, arrow.string()),
                    null_values=MISSING,
                    strings_can_be_null=True,
                    check_utf8=False,
                ),
            )
        except arrow.ArrowInvalid as error:
            raise SourceError(f"`{self.path}`, after line {position.line}: {error}") from error
        return self._numbered(data, table, ragged, position, after)

    def _numbered(
        self, data: bytes, table: Any, ragged: list[Any], position: Position, after: Position
    ) -> Block:
        count = table.num_rows + len(ragged)
        starts: Lines = np.arange(count, dtype=np.int64)
        if b'"' in data and count != data.count(b"\n") + (not data.endswith(b"\n")):
            starts = _first_lines(data.decode(errors="replace"), self._delimiter, count)
        rows: list[int] = [row.number - 1 for row in ragged]
        kept: Lines = np.delete(np.arange(count, dtype=np.int64), rows)
        text = _Texts(data, position.line)
        if b"\n\n" in data or b"\r\n\r\n" in data or data[:1] in b"\r\n":
            blank = np.array([not line.strip() for line in text.lines] + [False] * count)[starts]
            table = table.filter(arrow.array(~blank[kept]))
            kept = kept[~blank[kept]]
        wanted = len(self.columns)
        refused = [
            (
                int(starts[row.number - 1]) + position.line,
                f"{row.actual_columns} cells, not {wanted}",
            )
            for row in ragged
            if row.text.strip()
        ]
        return Block(table, starts[kept] + position.line, refused, text, after)


class _Texts:
    """The lines of a block, taken apart when the first is asked for."""

    def __init__(self, data: bytes, first: int) -> None:
        self._data = data
        self._first = first
        self._lines: list[bytes] | None = None

    @property
    def lines(self) -> list[bytes]:
        if self._lines is None:
            self._lines = self._data.split(b"\n")
        return self._lines

    def __call__(self, number: int) -> str:
        return self.lines[number - self._first].decode(errors="replace").rstrip("\r")


def _native(data: bytes) -> Any:
    """The bytes as Arrow's own: its threads read ahead, and might want Python when that ends."""
    copy = arrow.BufferOutputStream()
    copy.write(data)
    return arrow.BufferReader(copy.getvalue())


def _no_text(_number: int) -> str:
    return ""


def _first_line(file: Any) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < _SAMPLE_BYTES and (fresh := file.read(1 << 12)):
        data += fresh
    return data[: data.find(b"\n") + 1] or data


def _skip(file: Any, count: int) -> None:
    while count > 0:
        count -= len(file.read(min(count, _BLOCK_BYTES)))


def _end_of_rows(data: bytes) -> int:
    """Where the last whole row ends; a line break between quotes ends none."""
    cut = data.rfind(b"\n") + 1
    if b'"' in data:
        while cut and data.count(b'"', 0, cut) % 2:
            cut = data.rfind(b"\n", 0, cut - 1) + 1
    return cut


def _first_lines(text: str, delimiter: str, count: int) -> npt.NDArray[np.int64]:
    """The line each row begins in, from 0, where cells hold line breaks."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    starts = [0]
    starts.extend(reader.line_num for _row in reader)
    return np.array(starts[:count], np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Typed:
    """Files whose columns have types; their rows are counted from one."""

    def __init__(self, path: Path, schema: Any, total: int | None) -> None:
        self.path = path
        self.columns: list[str] = list(schema.names)
        self.start = Position(0, 1)
        self.total = total
        if len(set(self.columns)) != len(self.columns):
            raise SourceError(f"`{path}` names a column twice: {', '.join(self.columns)}")

    def _batches(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        """Batches, of which the first ones may hold rows to skip; and how many were left out."""
        raise NotImplementedError

    def sample(self) -> Any:
        for batch in self._batches(self.columns, 0):
            return arrow.Table.from_batches([batch])
        raise SourceError(f"`{self.path}` has no rows")

    def blocks(self, columns: Sequence[str], position: Position) -> Iterator[Block]:
        done = position.offset
        for batch in self._batches(columns, done):
            table = arrow.Table.from_batches([batch]).select(list(columns))
            first = done + 1
            done += int(table.num_rows)
            lines: Lines = np.arange(first, done + 1, dtype=np.int64)
            text = _RowText(table, first)
            yield Block(table, lines, [], text, Position(done, done + 1))


class _RowText:
    """Rows of a table as text."""

    def __init__(self, table: Any, first: int) -> None:
        self._table = table
        self._first = first

    def __call__(self, number: int) -> str:
        (row,) = self._table.slice(number - self._first, 1).to_pylist()
        return ",".join("" if value is None else str(value) for value in row.values())


class _Parquet(_Typed):
    def __init__(self, path: Path) -> None:
        # Opened again when it is read: a folder may have more files than can be open.
        with parquet.ParquetFile(path) as file:
            super().__init__(path, file.schema_arrow, file.metadata.num_rows)

    def _batches(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        with parquet.ParquetFile(self.path) as file:
            groups: list[int] = []
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if not groups and skip >= rows:
                    skip -= rows
                else:
                    groups.append(group)
            if groups:
                batches = file.iter_batches(_BLOCK_ROWS, row_groups=groups, columns=list(columns))
                yield from _after(batches, skip)


class _Arrow(_Typed):
    def __init__(self, path: Path, *, in_file_form: bool) -> None:
        self._in_file_form = in_file_form
        with arrow.memory_map(str(path)) as file:
            reader = ipc.open_file(file) if in_file_form else ipc.open_stream(file)
            super().__init__(path, reader.schema, None)

    def _batches(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        del columns  # a mapped file is read where it is looked at
        with arrow.memory_map(str(self.path)) as file:
            if self._in_file_form:
                reader = ipc.open_file(file)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
                yield from _after(_cut(batches), skip)
            else:
                yield from _after(_cut(ipc.open_stream(file)), skip)


def _cut(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        for first in range(0, batch.num_rows, _BLOCK_ROWS):
            yield batch.slice(first, _BLOCK_ROWS)


def _after(batches: Iterator[Any], skip: int) -> Iterator[Any]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip)
        skip = max(0, skip - batch.num_rows)
