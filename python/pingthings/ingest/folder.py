"""Stores a folder of long tables, which have a row for each point.

Each row has a stream name, a time and a value in three columns. For files with a column for each
stream, use `pingthings put`.

A ledger records the progress in each file. After an interruption of any kind, `store` continues
there: every row is stored once, or rejected with a reason. New and changed files are stored,
finished files are not read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import is_number, one_chunk
from pingthings.files.columns import unfit_names
from pingthings.files.folder import every_file
from pingthings.files.numbers import numbers
from pingthings.files.open import open_source
from pingthings.files.rejects import Rejected, Rejects
from pingthings.files.source import Block, Layout, Position, SourceError
from pingthings.files.times import Clock, times
from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Points, Writer
from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Columns", "Ledger", "Progress", "Rejects", "store"]

# Their stubs lag behind them.
arrow: Any = pa
compute: Any = pc

INSERT_POINTS = 65_536
COMMIT_ROWS = 8 * INSERT_POINTS


@dataclass(frozen=True)
class Columns:
    """The names of the columns, and how their cells are read."""

    time: str = "time"
    name: str = "name"
    value: str = "value"
    unit: str = ""
    clock: Clock = field(default_factory=Clock)
    layout: Layout = field(default_factory=Layout)
    """The layout of text files, as far as it is not to be detected."""


@dataclass
class Progress:
    """The progress in a file."""

    size: int
    changed: int
    rows: int = 0
    rejected: int = 0
    place: list[int] | None = None
    """The position at which to continue: bytes or rows before it, line, row."""
    is_finished: bool = False


@dataclass
class Ledger:
    """The progress in all files, kept in a file that is replaced atomically."""

    path: Path
    files: dict[str, Progress] = field(default_factory=dict[str, Progress])
    rejected_bytes: int = 0

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Reads the ledger of earlier runs; it is empty if the file does not exist.

        Raises:
            BTRDBValueError: The file is not a ledger.
        """
        if not path.exists():
            return cls(path)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            files = {name: Progress(**progress) for name, progress in kept["files"].items()}
            return cls(path, files, int(kept["rejected_bytes"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BTRDBValueError(
                f"`{path}` is not a ledger of an earlier run; name another file, or remove it to "
                "store everything again"
            ) from error

    def of(self, file: Path) -> Progress:
        """Returns the progress in a file; it is at the start if the file is new or has changed."""
        status = file.stat()
        known = self.files.get(str(file))
        if known is None or (known.size, known.changed) != (status.st_size, status.st_mtime_ns):
            known = self.files[str(file)] = Progress(status.st_size, status.st_mtime_ns)
        return known

    def save(self) -> None:
        """Writes the ledger atomically."""
        files = {name: vars(progress) for name, progress in self.files.items()}
        fresh = self.path.with_name(f"{self.path.name}.new")
        text = json.dumps({"files": files, "rejected_bytes": self.rejected_bytes}, indent=1)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path)


def store(
    client: Client,
    folder: Path,
    collection: str,
    ledger: Ledger,
    rejects: Rejects,
    columns: Columns | None = None,
) -> Ledger:
    """Stores the rows that are not stored yet, and returns the ledger.

    Args:
        client: A connected client.
        folder: Files, and subfolders such as `station=oak/`; all formats of `pingthings put`.
        collection: Collection of the streams; `{station}` is replaced by what follows `station=`
            in the path.
        ledger: The progress so far; it is saved as points are stored.
        rejects: The file for rows that cannot be stored, with the reason.
        columns: The names of the columns.

    Raises:
        BTRDBValueError: Rejected rows that the ledger has recorded are missing.
        SourceError: There is no file, a path has no such key, or a file cannot be read because a
            column is missing or it is damaged.
        WriterFailed: The points cannot be stored.
    """
    columns = columns or Columns()
    if not Path(folder).exists():
        raise SourceError(f"`{folder}` does not exist")
    if not rejects.holds(ledger.rejected_bytes):
        raise BTRDBValueError(
            f"`{rejects.path}` lacks rejected rows that `{ledger.path}` has recorded; remove both "
            "files to store everything again"
        )
    rejects.resume(ledger.rejected_bytes)
    known: dict[str, dict[str, UUID]] = {}
    with Writer(client, insert_points=INSERT_POINTS, most_points=4 * INSERT_POINTS) as writer:
        for file in every_file([Path(folder)]):
            progress = ledger.of(file.path)
            if progress.is_finished:
                continue
            where = file.collection(collection)
            source = open_source(file.path, columns.layout)
            wanted = _present(source.columns, columns, file.path)
            place = source.start if progress.place is None else Position(*progress.place)
            uncommitted = 0
            for block in source.blocks(wanted, place):
                _check_types(block.table, columns, file.path)
                good, bad = _points(block, columns)
                streams = known.setdefault(where, {})
                missing = [Wanted(name, columns.unit) for name in good if name not in streams]
                if missing:
                    streams |= ensure(client, where, missing)
                writer.add_all({streams[name]: points for name, points in good.items()})
                size = rejects.add(file.path, bad)
                done = len(block.lines) + len(block.refused)
                uncommitted += done
                progress.rejected += len(bad)
                progress.rows += done
                progress.place = [block.after.offset, block.after.line, block.after.row]
                if uncommitted >= COMMIT_ROWS:
                    _commit(writer, ledger, size)
                    uncommitted = 0
            progress.is_finished = True
            _commit(writer, ledger, rejects.add(file.path, []))
    return ledger


def _commit(writer: Writer, ledger: Ledger, rejected_bytes: int) -> None:
    """Saves the progress, after the server has acknowledged all points up to it."""
    writer.flush()
    ledger.rejected_bytes = rejected_bytes
    ledger.save()


def _present(found: list[str], columns: Columns, path: Path) -> list[str]:
    wanted = [columns.time, columns.name, columns.value]
    if len(set(wanted)) < len(wanted):
        raise SourceError(f"times, names and values are in three columns, not in {wanted}")
    for name in wanted:
        if name not in found:
            known = ", ".join(f"`{one}`" for one in found)
            raise SourceError(f"`{path}` has no column `{name}`; it has {known}")
        others = [one for one in found if one.startswith(f"{name} (column ")]
        if others:
            raise SourceError(f"`{path}` has another column `{name}`, `{others[0]}`; rename one")
    return wanted


def _check_types(table: Any, columns: Columns, path: Path) -> None:
    if is_number(table[columns.time].type) and columns.clock.unit is None:
        raise SourceError(
            f"column `{columns.time}` of `{path}` holds numbers; set what they count, as in "
            '`Columns(clock=Clock(unit="ns"))`'
        )
    kind = one_chunk(table[columns.name]).type
    if arrow.types.is_nested(kind):
        raise SourceError(f"column `{columns.name}` of `{path}` is {kind}, which names no streams")


def _points(block: Block, columns: Columns) -> tuple[dict[str, Points], list[Rejected]]:
    """Returns the points of each stream, and the rejected rows with line and reason."""
    table = block.table
    refused = [Rejected(line, why, block.text(line)) for line, why in block.refused]
    if not table.num_rows:
        return {}, refused
    when, bad = times(table[columns.time], columns.clock)
    values, wrong = numbers(table[columns.value], columns.value)
    names = one_chunk(table[columns.name])
    if arrow.types.is_floating(names.type):
        names = compute.if_else(compute.is_nan(names), None, names)
    for place, why in wrong.items():
        bad.setdefault(place, why)
    for column, mask in ((columns.name, compute.is_null(names)), ("value", values.is_null())):
        for place in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
            bad.setdefault(place, f"no {column}")
    encoded = names.cast(arrow.string()).dictionary_encode()
    codes = compute.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    for place, why in unfit_names(encoded, columns.name).items():
        bad.setdefault(place, why)
    good = np.ones(len(table), bool)
    good[list(bad)] = False
    doubles = values.to_numpy(zero_copy_only=False)
    found: dict[str, Points] = {}
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        mask = good & (codes == code)
        if mask.any():
            found[name] = when[mask], doubles[mask]
    lines = ((int(block.lines[place]), why) for place, why in bad.items())
    return found, sorted(
        [*(Rejected(line, why, block.text(line)) for line, why in lines), *refused]
    )
