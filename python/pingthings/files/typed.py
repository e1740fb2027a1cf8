"""Files whose columns have types, Parquet and Arrow IPC; their rows are counted from one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc as pa_ipc
from pyarrow import parquet as pa_parquet

from pingthings.files.content import FAILURES, Bytes
from pingthings.files.source import (
    AS_WRITTEN,
    Block,
    Kinds,
    Layout,
    Lines,
    NothingInItError,
    Position,
    SourceError,
    distinct_names,
)

__all__ = ["ArrowFile", "ParquetFile"]

# Their stubs lag behind them.
arrow: Any = pa
compute: Any = pc
ipc: Any = pa_ipc
parquet: Any = pa_parquet

_BLOCK_ROWS = 131_072
_BLOCK_CELLS = 1 << 22
_BUFFER_BYTES = 1 << 20
_LEAST_US, _MOST_US = -(1 << 63) // 1000 + 1, ((1 << 63) - 1) // 1000


class _Typed:
    """What both have in common."""

    def __init__(self, content: Bytes, layout: Layout, schema: Any, total: int | None) -> None:
        self.path = content.path
        self._content = content  # it may hold a file that is closed when it goes
        self.start = Position(0, 1)
        self.total = total
        self.can_resume = not content.is_pipe
        self.days = 0
        self.notes = content.notes
        if layout.names and len(layout.names) != len(schema.names):
            raise SourceError(
                f"`--names` has {len(layout.names)} names, and `{self.path}` has "
                f"{len(schema.names)} columns"
            )
        self.columns = distinct_names(layout.names or schema.names, self.notes)
        self.units: dict[str, str] = {}
        for name, field in zip(self.columns, schema, strict=True):
            metadata: dict[bytes, bytes] = field.metadata or {}
            if metadata.get(b"unit"):
                self.units[name] = metadata[b"unit"].decode(errors="replace")
        self._missing = list(layout.missing)
        self._schema = schema
        self._block_rows = max(1_024, min(_BLOCK_ROWS, _BLOCK_CELLS // max(1, len(schema.names))))

    def _batches(self, places: Sequence[int], skip: int) -> Iterator[tuple[Any, Any]]:
        """Batches of some columns behind so many rows, and which times of them are made up."""
        raise NotImplementedError

    def sample(self) -> Any:
        """Returns the first rows with all columns."""
        try:
            for batch, _ in self._batches(range(len(self.columns)), 0):
                if batch.num_rows:
                    return arrow.Table.from_batches([batch]).rename_columns(self.columns)
        except FAILURES as error:
            raise SourceError(f"cannot read `{self.path}`: {error}") from error
        raise NothingInItError(f"`{self.path}` has no rows")

    def blocks(
        self, columns: Sequence[str], position: Position, kinds: Kinds = AS_WRITTEN
    ) -> Iterator[Block]:
        """Yields the rows from a position on, with some columns, in the types that they have.

        Raises:
            SourceError: The file is damaged.
        """
        del kinds
        done = position.offset
        places = [self.columns.index(name) for name in columns]
        try:
            for batch, wrong in self._batches(places, done):
                table = arrow.Table.from_batches([batch]).rename_columns(list(columns))
                yield self._block(table, wrong, done)
                done += int(batch.num_rows)
        except FAILURES as error:
            raise SourceError(f"cannot read `{self.path}`, after row {done}: {error}") from error

    def _block(self, table: Any, wrong: Any, done: int) -> Block:
        count = int(table.num_rows)
        lines: Lines = np.arange(done + 1, done + count + 1, dtype=np.int64)
        text = _RowText(table, done + 1)
        after = Position(done + count, done + count + 1, done + count)
        refused: list[tuple[int, str]] = []
        if wrong is not None and wrong.any():
            refused = [
                (int(lines[place]), "its time is outside 1933 to 2079")
                for place in np.flatnonzero(wrong).tolist()
            ]
            table, lines = table.filter(arrow.array(~wrong)), lines[~wrong]
        return Block(table, lines, lines - 1, refused, text, after)


class _RowText:
    """Rows of a table as text."""

    def __init__(self, table: Any, first: int) -> None:
        self._table = table
        self._first = first

    def __call__(self, number: int) -> str:
        (row,) = _plain(self._table.slice(number - self._first, 1))
        return ",".join("" if value is None else str(value) for value in row)


def _plain(table: Any) -> list[list[Any]]:
    """The rows of a table, in which some values may be more than Python can hold."""
    columns: list[list[Any]] = []
    for column in table.columns:
        try:
            columns.append(column.to_pylist())
        except (ValueError, OverflowError, arrow.ArrowException):
            columns.append(column.cast(arrow.string()).to_pylist())
    return [list(row) for row in zip(*columns, strict=True)]


@contextmanager
def _opened(file: Path | IO[bytes], **options: Any) -> Generator[Any]:
    if not isinstance(file, Path):
        file.seek(0)
    # Page by page: a group of rows may be larger than memory.
    reader = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES, **options)
    try:
        yield reader
    finally:
        if isinstance(file, Path):
            reader.close()


class ParquetFile(_Typed):
    """A Parquet file, opened again when it is read: a folder may have more than can be open."""

    def __init__(self, content: Bytes, layout: Layout) -> None:
        """Reads the schema."""
        self._file = content.file
        with _opened(self._file) as file:
            super().__init__(content, layout, file.schema_arrow, file.metadata.num_rows)
            kinds = [file.schema.column(n) for n in range(len(file.schema))]
            self._int96 = {kind.name for kind in kinds if kind.physical_type == "INT96"}

    def _batches(self, places: Sequence[int], skip: int) -> Iterator[tuple[Any, Any]]:
        by_place = len(set(self._schema.names)) != len(self._schema.names)
        every = self._schema.names
        chosen = [every[place] for place in places]
        has_int96 = bool(self._int96 & set(chosen))
        # By name a reader gives each column once, and maybe a field of another: take all.
        read = None if by_place else chosen
        with _opened(self._file) as file:
            groups: list[int] = []
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if not groups and skip >= rows:
                    skip -= rows
                else:
                    groups.append(group)
            if not groups:
                return
            rows = self._block_rows
            batches = file.iter_batches(rows, row_groups=groups, columns=read)
            if not has_int96:
                for batch in _after(batches, skip):
                    yield _selected(batch, places if by_place else chosen), None
                return
            with _opened(self._file, coerce_int96_timestamp_unit="us") as exact:
                others = exact.iter_batches(rows, row_groups=groups, columns=read)
                pairs = zip(_after(batches, skip), _after(others, skip), strict=True)
                for batch, other in pairs:
                    yield _selected(batch, places if by_place else chosen), self._beyond(other)

    def _beyond(self, batch: Any) -> Any:
        """Where times of 96 bits are more than 64 bits of nanoseconds: Arrow lets them wrap."""
        wrong = np.zeros(batch.num_rows, bool)
        for name in self._int96:
            if name in batch.schema.names:
                counted = compute.fill_null(batch.column(name).cast(arrow.int64()), 0)
                times = counted.to_numpy(zero_copy_only=False)
                wrong |= (times < _LEAST_US) | (times > _MOST_US)
        return wrong


def _selected(batch: Any, columns: Sequence[int] | Sequence[str]) -> Any:
    names = batch.schema.names
    return batch.select([names.index(one) if isinstance(one, str) else one for one in columns])


class ArrowFile(_Typed):
    """A file or stream of Arrow IPC."""

    def __init__(self, content: Bytes, layout: Layout) -> None:
        """Reads the schema."""
        self._file = content.file
        self._in_file_form = content.kind == "arrow"
        with self._opened() as file:
            reader = ipc.open_file(file) if self._in_file_form else ipc.open_stream(file)
            super().__init__(content, layout, reader.schema, None)

    @contextmanager
    def _opened(self) -> Generator[Any]:
        if isinstance(self._file, Path):
            with arrow.memory_map(str(self._file)) as mapped:
                yield mapped
        else:
            self._file.seek(0)
            yield arrow.PythonFile(self._file, "r")

    def _batches(self, places: Sequence[int], skip: int) -> Iterator[tuple[Any, Any]]:
        with self._opened() as file:
            if self._in_file_form:
                reader = ipc.open_file(file)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                batches = ipc.open_stream(file)
            for batch in _after(_cut(batches, self._block_rows), skip):
                batch.validate()  # what a damaged file says of its buffers is not believed
                yield batch.select(list(places)), None


def _cut(batches: Iterator[Any], size: int) -> Iterator[Any]:
    for batch in batches:
        for first in range(0, batch.num_rows, size):
            yield batch.slice(first, size)


def _after(batches: Iterator[Any], skip: int) -> Iterator[Any]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip)
        skip = max(0, skip - batch.num_rows)
