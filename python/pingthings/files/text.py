"""Text with delimiters, such as CSV, in blocks of rows that begin where the one before ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pingthings.files.content import FAILURES, Bytes
from pingthings.files.dialect import Dialect, find_dialect
from pingthings.files.encodings import Encoding, Reader, Transcoded, find_encoding
from pingthings.files.numbers import MISSING
from pingthings.files.parser import Parser, Ragged
from pingthings.files.quotes import Rows, find_rows
from pingthings.files.source import AS_WRITTEN, Block, Kinds, Layout, Position, SourceError
from pingthings.files.spaces import Spaced, single_spaces

__all__ = ["Text"]

arrow: Any = pa  # its stubs lag behind it

_BLOCK_BYTES = 8 << 20
_SAMPLE_BYTES = 1 << 20
_LONGEST_LINE = 16 << 20
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_RETURN_TO_BREAK = bytes.maketrans(b"\r", b"\n")
_BLANKS = frozenset(b" \t")


class Text:
    """A file of text; each of its columns comes as text."""

    def __init__(self, content: Bytes, layout: Layout) -> None:
        """Finds out how the text is laid out.

        Raises:
            SourceError: It is no text in this encoding, or has no line of column names.
        """
        self.path = content.path
        self._content = content
        self._stream: _Head | Spaced | None = None
        self._is_spaced = False
        self._encoding = self._found_encoding(content.head, layout)
        self.can_resume = not content.is_pipe
        self.days = content.days
        self.total = content.size if self._encoding.is_utf8 else None
        self._is_old = b"\n" not in content.head and b"\r" in content.head
        head = self._head()
        self._sample = head
        self._is_whole = is_whole = len(head) < _SAMPLE_BYTES
        self._dialect: Dialect = find_dialect(head, self.path, layout, is_whole=is_whole)
        self._is_spaced = self._dialect.delimiter == " "
        if self._is_spaced:
            self._sample = single_spaces(head)
            self.total = None  # places in the file are not those in what is read
            self._part_by_spaces()
        self.columns = self._dialect.names
        self.units = self._dialect.units
        self.start = self._dialect.start
        self.notes = [
            *content.notes,
            *([self._encoding.note] if self._encoding.note else []),
            *self._dialect.notes,
        ]
        missing = [*MISSING, *layout.missing]
        self._parser = Parser(self.path, self.columns, self._dialect.delimiter, missing)

    def _found_encoding(self, head: bytes, layout: Layout) -> Encoding:
        found = find_encoding(head, layout.encoding)
        if found is not None:
            return found
        if layout.encoding is None:
            raise SourceError(
                f"`{self.path}` is no text, and no kind of file that is known: CSV, Parquet, Arrow "
                "IPC, .xlsx, or such packed as gzip, zip, zstd, bzip2, lz4 or xz"
            )
        other = find_encoding(head, None)
        advice = f"`--encoding {other.name}`" if other else "`--encoding latin-1`"
        raise SourceError(
            f"`{self.path}` is no text in {layout.encoding}; say which it is in, as in {advice}"
        )

    # The bytes.

    def _part_by_spaces(self) -> None:
        if self._stream is not None:
            self._stream = Spaced(self._stream)

    def _open(self) -> Reader:
        file = self._content.opener()
        if not self._encoding.is_utf8:
            file = Transcoded(file, self._encoding)
        elif self._encoding.mark:
            file.read(self._encoding.mark)
        file = _OldLines(file) if self._is_old else file
        return Spaced(file) if self._is_spaced else file

    def _head(self) -> bytes:
        if self._content.is_once:
            stream = self._stream = _Head(self._open(), _SAMPLE_BYTES)
            return _with_breaks(stream.head)
        file = self._open()
        try:
            return _with_breaks(_read(file, _SAMPLE_BYTES))
        finally:
            file.close()

    def _at(self, offset: int) -> Reader:
        if self._stream is not None:
            return _skipped(self._stream, offset)
        file: Any = self._open()
        if self.total is not None and not self._is_old:
            file.seek(offset + self._encoding.mark)
            found: Reader = file
            return found
        return _skipped(file, offset)

    # Blocks of rows.

    def sample(self) -> Any:
        """Returns the first rows with all columns."""
        data = self._sample[self.start.offset :]
        rows = find_rows(data, self._delimiter, is_last=self._is_whole)
        if data and not rows.end:
            raise SourceError(
                f"line {self.start.line} of `{self.path}` is longer than {_SAMPLE_BYTES >> 20} MiB"
            )
        block = self._parse(data, rows, self.columns, self.start, AS_WRITTEN)
        if block.refused and not block.table.num_rows:
            line, reason = min(block.refused)
            raise SourceError(f"no row of `{self.path}` can be read; line {line}: {reason}")
        return block.table

    @property
    def _delimiter(self) -> bytes:
        return self._dialect.delimiter.encode()

    def blocks(
        self, columns: Sequence[str], position: Position, kinds: Kinds = AS_WRITTEN
    ) -> Iterator[Block]:
        """Yields the rows from a position on, with some columns.

        Raises:
            SourceError: The file is damaged, or has a line of more than 16 MiB.
        """
        try:
            yield from self._blocks(columns, position, kinds)
        except FAILURES as error:
            raise SourceError(f"cannot read `{self.path}`: {error}") from error

    def _blocks(self, columns: Sequence[str], position: Position, kinds: Kinds) -> Iterator[Block]:
        file = self._at(position.offset)
        try:
            rest = b""
            while True:
                fresh = _read(file, _BLOCK_BYTES)
                data = _with_breaks(rest + fresh)
                rows = find_rows(data, self._delimiter, is_last=not fresh)
                if rows.end:
                    block = self._parse(data, rows, columns, position, kinds)
                    yield block
                    position = block.after
                if not fresh:
                    return
                rest = data[rows.end :]
                if len(rest) > _LONGEST_LINE:
                    raise SourceError(f"line {position.line} of `{self.path}` never ends")
        finally:
            file.close()

    def _parse(
        self, data: bytes, rows: Rows, columns: Sequence[str], position: Position, kinds: Kinds
    ) -> Block:
        is_row = np.ones(len(rows.starts), bool)
        blank, empty = self._blank(data, rows)
        is_row[blank] = False
        commented = self._commented(data, rows)
        is_row[commented] = False
        # A row of empty cells alone has nothing to store, but what is counted goes on with it.
        is_counted = is_row.copy()
        is_row[empty] = False
        numbers = np.cumsum(is_counted) - 1 + position.row
        line = position.line + rows.lines
        refused = [
            (int(line[row]), "a quotation mark that begins a cell is not closed")
            for row in rows.stray
            if is_row[row]
        ]
        after = Position(
            position.offset + rows.end,
            position.line + rows.count,
            position.row + int(is_counted.sum()),
        )
        is_row[rows.stray] = False
        kept = np.flatnonzero(is_row)
        count = len(kept)
        text = _joined(data, rows, is_row)
        text = text if data.isascii() else _valid(text)
        table, ragged = self._table(text, columns, count, kinds)

        def written(some: Sequence[str]) -> Any:
            return self._table(text, some, count, AS_WRITTEN)[0]

        wanted = len(self.columns)
        if ragged:
            refused.extend((int(line[kept[row]]), f"{n} cells, not {wanted}") for row, n in ragged)
            kept = np.delete(kept, [row for row, _ in ragged])
        shown = _Texts(data, rows, position.line)
        lines = line[kept]
        return Block(table, lines, numbers[kept], refused, shown, after, len(commented), written)

    def _blank(self, data: bytes, rows: Rows) -> tuple[list[int], list[int]]:
        """Rows without anything in them, which no table has; and those of empty cells alone."""
        letters = np.frombuffer(data, np.uint8)
        if not len(letters):
            return [], []
        first = letters[np.minimum(rows.starts, len(letters) - 1)]
        nothing = b' \t\r"\0\x1a' + self._delimiter  # zeros are room that a logger has not used
        may_be = (rows.ends <= rows.starts) | np.isin(first, np.frombuffer(nothing, np.uint8))
        blank: list[int] = []
        empty: list[int] = []
        for row in np.flatnonzero(may_be).tolist():
            text = data[rows.starts[row] : rows.ends[row]]
            if not text.strip(nothing):
                # Spaces part cells only where something stands between them.
                has_cells = b'"' in text or (self._delimiter != b" " and self._delimiter in text)
                (empty if has_cells else blank).append(row)
        return blank, empty

    def _commented(self, data: bytes, rows: Rows) -> list[int]:
        comment = self._dialect.comment
        if not comment or comment not in data:
            return []
        letters = np.frombuffer(data, np.uint8)
        first = letters[np.minimum(rows.starts, len(letters) - 1)]
        may_be = np.isin(first, np.frombuffer(comment[:1] + b" \t", np.uint8))
        return [
            row
            for row in np.flatnonzero(may_be).tolist()
            if data[rows.starts[row] : rows.ends[row]].lstrip().startswith(comment)
        ]

    def _table(
        self, data: Any, columns: Sequence[str], count: int, kinds: Kinds
    ) -> tuple[Any, Ragged]:
        if not count:
            nothing = arrow.array([], arrow.string())
            return arrow.table([nothing] * len(columns), list(columns)), []
        table, ragged = self._parser.table(data, columns, kinds)
        if table.num_rows + len(ragged) != count:
            raise SourceError(
                f"`{self.path}` has rows that end where none should; is "
                f"`{self._dialect.delimiter}` what parts its cells?"
            )
        return table, ragged


class _Texts:
    """The rows of a block by the number of their line."""

    def __init__(self, data: bytes, rows: Rows, first: int) -> None:
        self._data = data
        self._rows = rows
        self._first = first

    def __call__(self, number: int) -> str:
        place = int(np.searchsorted(self._rows.lines, number - self._first))
        row = self._data[int(self._rows.starts[place]) : int(self._rows.ends[place])]
        return row.decode(errors="replace").rstrip("\r")


class _Head:
    """A stream that can be read once, and the beginning that was looked at."""

    def __init__(self, file: Reader, size: int) -> None:
        self.head = _read(file, size)
        self._ready = self.head
        self._file = file

    def read(self, size: int, /) -> bytes:
        found, self._ready = self._ready[:size], self._ready[size:]
        return found or self._file.read(size)

    def close(self) -> None:
        self._file.close()


class _OldLines:
    """Text whose lines end with a carriage return alone."""

    def __init__(self, file: Reader) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        return self._file.read(size).translate(_RETURN_TO_BREAK)

    def close(self) -> None:
        self._file.close()


def _read(file: Reader, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (fresh := file.read(size)):
        parts.append(fresh)
        size -= len(fresh)
    return b"".join(parts)


def _skipped(file: Reader, count: int) -> Reader:
    while count > 0 and (passed := file.read(min(count, _SAMPLE_BYTES))):
        count -= len(passed)
    return file


def _with_breaks(data: bytes) -> bytes:
    """The data, of equal length, where no row ends with a carriage return alone."""
    if b"\r" not in data or data.count(b"\r") == data.count(b"\r\n") + data.endswith(b"\r"):
        return data
    body, last = (data[:-1], data[-1:]) if data.endswith(b"\r") else (data, b"")
    return _LONE_RETURN.sub(b"\n", body) + last


def _joined(data: bytes, rows: Rows, is_row: npt.NDArray[np.bool_]) -> Any:
    """The rows that are some, one behind the other."""
    if is_row.all():
        return memoryview(data)[: rows.end]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_row.astype(np.int8), [0]])))
    nexts = np.append(rows.starts[1:], rows.end)
    view = memoryview(data)
    pieces: list[Any] = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        piece = view[int(rows.starts[first]) : int(nexts[last - 1])]
        pieces.append(piece)
        if piece and piece[-1] != ord("\n"):
            pieces.append(b"\n")
    return b"".join(pieces)


def _valid(data: Any) -> Any:
    """The rows as UTF-8: bytes that are none would fail columns, and not cells."""
    found = bytes(data)
    try:
        found.decode()
    except UnicodeDecodeError:
        return found.decode(errors="replace").encode()
    return data
