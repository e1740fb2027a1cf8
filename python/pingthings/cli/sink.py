"""Writes tables to standard output or a file, as text for people, CSV, Parquet or Arrow IPC."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import typer

from pingthings.cli.output import cell, is_terminal
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["Format", "Sink", "format_of"]

Format = Literal["table", "csv", "parquet", "arrow"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".txt": "table",
}
_STANDARD_OUTPUT = Path("-")
_TIME_WIDTH = 30
_NUMBER_WIDTH = 24


def format_of(asked: Format | None, output: Path | None) -> Format:
    """Returns the requested format, or the default for this output."""
    if output is not None and output != _STANDARD_OUTPUT:
        found = asked or _SUFFIXES.get(output.suffix.lower())
        if found is None:
            raise typer.BadParameter(
                f"the suffix of `{output}` is of no known format; give `--format`, too",
                param_hint="'--output'",
            )
        return found
    chosen = asked or ("table" if is_terminal() else "csv")
    if chosen in {"parquet", "arrow"} and is_terminal():
        raise typer.BadParameter(
            f"{chosen} cannot be shown on a terminal; give `--output FILE`",
            param_hint="'--format'",
        )
    return chosen


class _Writer(Protocol):
    """A writer of one format."""

    def write(self, table: pa.Table) -> None: ...
    def close(self) -> None: ...


class Sink:
    """Writes tables of one schema.

    A file appears under its name only once it is complete, so half of an answer is never mistaken
    for a complete one.
    """

    def __init__(self, chosen: Format, output: Path | None, schema: pa.Schema) -> None:
        """Opens the output.

        Raises:
            BTrDBError: The file cannot be written.
        """
        output = None if output == _STANDARD_OUTPUT else output
        if output is None and getattr(sys.stdout, "name", "") == os.devnull:
            raise BTrDBError("standard output is closed; give `--output FILE`")
        self._output = output
        self._fresh: Path | None = None
        self._file: IO[bytes] = sys.stdout.buffer
        if output is not None:
            try:
                self._file, self._fresh = _open(output)
            except OSError as error:
                raise _unwritable(output, error) from error
        # Arrow's file format can be mapped and read in parts, but not written into a pipe.
        open_writer = _ArrowFile if chosen == "arrow" and self._fresh else _WRITERS[chosen]
        self._writer = open_writer(self._file, schema)

    def write(self, table: pa.Table) -> None:
        """Writes the rows of a table."""
        try:
            self._writer.write(table)
        except OSError as error:
            if self._output is None:
                raise
            raise _unwritable(self._output, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._writer.close()
                self._file.flush()
                self._finish()
        except OSError as error:
            if self._output is None:
                raise
            raise _unwritable(self._output, error) from error
        finally:
            if self._output is not None:
                self._discard()

    def _discard(self) -> None:
        """Removes an incomplete file, if there is one."""
        if not self._file.closed:
            with contextlib.suppress(OSError, ValueError, pa.ArrowException):
                self._writer.close()  # otherwise the garbage collector would close it later
            with contextlib.suppress(OSError):
                self._file.close()
        if self._fresh is not None:
            self._fresh.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._output is None:
            return
        self._file.close()
        if self._fresh is not None:
            self._fresh.replace(self._output)


def _open(output: Path) -> tuple[IO[bytes], Path | None]:
    """Returns the file to write and its temporary name; a pipe has none."""
    if output.exists() and not output.is_file():  # a pipe, or /dev/null
        return output.open("wb"), None
    number, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    mask = os.umask(0)
    os.umask(mask)
    fresh = Path(name)
    fresh.chmod(0o666 & ~mask)  # the mode of a new file; `mkstemp` creates private ones
    return os.fdopen(number, "wb"), fresh


def _unwritable(output: Path, error: OSError) -> BTrDBError:
    return BTrDBError(f"cannot write `{output}`: {error.strerror or error}")


class _Csv:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        file.write((",".join(schema.names) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        import pyarrow.csv  # noqa: PLC0415 - only this format needs it

        # With "needed", Arrow quotes all text, but times need no quotes.
        name = cell(table["stream"][0].as_py()) if "stream" in table.column_names else ""
        quoting: Any = "needed" if set(name) & set('",\r\n') else "none"
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
        pyarrow.csv.write_csv(_texts(table), self._file, options)

    def close(self) -> None:
        pass


class _Table:
    """Text with columns of fixed width, so that writing can start before all rows are known."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        self._widths = [_width(name) for name in schema.names]
        names = [_aligned(name, w) for name, w in zip(schema.names, self._widths, strict=True)]
        file.write(("  ".join(names).rstrip() + "\n").encode())

    def write(self, table: pa.Table) -> None:
        columns = [column.cast(pa.string()).to_pylist() for column in _texts(table).columns]
        lines = (
            "  ".join(_aligned(text, w) for text, w in zip(row, self._widths, strict=True))
            for row in zip(*columns, strict=True)
        )
        self._file.write(("\n".join(lines) + "\n").encode())

    def close(self) -> None:
        pass


def _width(name: str) -> int:
    """Returns the width of a column; negative for text, which is aligned to the left."""
    return -_TIME_WIDTH if name in {"time", "stream"} else _NUMBER_WIDTH


def _aligned(text: str, width: int) -> str:
    return text.ljust(-width) if width < 0 else text.rjust(width)


def _texts(table: pa.Table) -> pa.Table:
    """Returns the table with times as ISO 8601 to the nanosecond."""
    index = table.schema.get_field_index("time")
    # Slicing the text is ten times as fast as Arrow's replacement and strftime.
    text = table["time"].cast(pa.string())
    join: Any = pc.binary_join_element_wise  # its stub has no separator
    day, clock = pc.utf8_slice_codeunits(text, 0, 10), pc.utf8_slice_codeunits(text, 11)
    return table.set_column(index, "time", join(day, clock, "T"))


class _Parquet:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        import pyarrow.parquet  # noqa: PLC0415 - only this format needs it

        self._writer = pyarrow.parquet.ParquetWriter(file, schema)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


class _ArrowStream:
    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._writer: Any = pa.ipc.new_stream(file, schema)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


class _ArrowFile(_ArrowStream):
    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(file, schema)


_WRITERS: dict[Format, Callable[[IO[bytes], pa.Schema], _Writer]] = {
    "csv": _Csv,
    "table": _Table,
    "parquet": _Parquet,
    "arrow": _ArrowStream,
}
