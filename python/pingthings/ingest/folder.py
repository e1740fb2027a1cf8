"""A folder of tables with a row for each point, CSV or Parquet, into streams.

Each row says which stream, when, and what: three columns. Files with a column for each stream need
no program: `pingthings put` takes them, and folders of them.

A ledger says how far each file is stored. Started again, after whatever ended it, `store` goes on
there: every row is stored once, or rejected with a reason. Files that are new or have changed since
are stored, those that are finished are not looked into.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset

from pingthings.files.folder import every_file
from pingthings.files.numbers import numbers
from pingthings.files.rejects import Rejected, Rejects
from pingthings.files.times import Clock, times
from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Points, Writer
from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Columns", "Ledger", "Progress", "Rejects", "store"]

# Their stubs lag behind them.
arrow: Any = pa
compute: Any = pc
csv: Any = pa_csv
datasets: Any = pa_dataset

Rows = npt.NDArray[np.int64]

BATCH_ROWS = 65_536
COMMIT_ROWS = 8 * BATCH_ROWS

_FORMS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc"}


@dataclass(frozen=True)
class Columns:
    """What the columns are called, and how their cells are read."""

    time: str = "time"
    name: str = "name"
    value: str = "value"
    unit: str = ""
    clock: Clock = field(default_factory=Clock)


@dataclass
class Progress:
    """How far a file is."""

    size: int
    changed: int
    rows: int = 0
    rejected: int = 0
    is_finished: bool = False


@dataclass
class Ledger:
    """How far every file is, in a file that is replaced as a whole."""

    path: Path
    files: dict[str, Progress] = field(default_factory=dict[str, Progress])
    rejected_bytes: int = 0

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Returns what is known of earlier runs."""
        if not path.exists():
            return cls(path)
        kept = json.loads(path.read_text(encoding="utf-8"))
        files = {name: Progress(**progress) for name, progress in kept["files"].items()}
        return cls(path, files, kept["rejected_bytes"])

    def of(self, file: Path) -> Progress:
        """Returns how far a file is: at its start, if it is not the one of before."""
        status = file.stat()
        known = self.files.get(str(file))
        if known is None or (known.size, known.changed) != (status.st_size, status.st_mtime_ns):
            known = self.files[str(file)] = Progress(status.st_size, status.st_mtime_ns)
        return known

    def save(self) -> None:
        """Writes it at once: it is never half there."""
        files = {name: vars(progress) for name, progress in self.files.items()}
        fresh = self.path.with_name(f"{self.path.name}.new")
        text = json.dumps({"files": files, "rejected_bytes": self.rejected_bytes}, indent=1)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path)


@dataclass(frozen=True)
class _Block:
    """Some rows of a file."""

    table: Any
    rows: Rows
    """The number of each in its file, counted from one."""
    refused: list[tuple[int, str, str]]
    """Rows that have not as many cells as the first line: number, reason, text."""
    after: int
    """How many rows of the file are done after it."""


def store(
    client: Client,
    folder: Path,
    collection: str,
    ledger: Ledger,
    rejects: Rejects,
    columns: Columns | None = None,
) -> Ledger:
    """Stores what is not stored yet, and returns the ledger.

    Args:
        client: Connected.
        folder: CSV or Parquet files, and folders of them such as `station=oak/`.
        collection: Where the streams go; `{station}` is what the path says of `station`.
        ledger: How far it is; it is written as points are stored.
        rejects: Where rows go that cannot be stored, with the reason.
        columns: What the columns are called.

    Raises:
        BTRDBValueError: The rejected rows that the ledger knows of are gone, or a file cannot be
            read: it lacks a column, or is damaged.
        SourceError: There is no file, or a path has no key of this name.
        WriterFailed: The points cannot be stored.
    """
    columns = columns or Columns()
    if not rejects.holds(ledger.rejected_bytes):
        raise BTRDBValueError(
            f"`{rejects.path}` does not hold what `{ledger.path}` knows of; remove both, and "
            "everything is stored again"
        )
    rejects.resume(ledger.rejected_bytes)
    known: dict[str, dict[str, UUID]] = {}
    with Writer(client, insert_points=BATCH_ROWS, most_points=4 * BATCH_ROWS) as writer:
        for file in every_file([folder]):
            progress = ledger.of(file.path)
            if progress.is_finished:
                continue
            where = file.collection(collection)
            uncommitted = 0
            for block in _blocks(file.path, columns, progress.rows):
                good, bad = _points(block, columns)
                streams = known.setdefault(where, {})
                missing = [Wanted(name, columns.unit) for name in good if name not in streams]
                if missing:
                    streams |= ensure(client, where, missing)
                writer.add_all({streams[name]: points for name, points in good.items()})
                size = rejects.add(file.path, [Rejected(*row) for row in bad])
                uncommitted += block.after - progress.rows
                progress.rejected += len(bad)
                progress.rows = block.after
                if uncommitted >= COMMIT_ROWS:
                    _commit(writer, ledger, size)
                    uncommitted = 0
            progress.is_finished = True
            _commit(writer, ledger, rejects.add(file.path, []))
    return ledger


def _commit(writer: Writer, ledger: Ledger, rejected_bytes: int) -> None:
    """Notes how far it is. What is noted is stored: the server has answered for it."""
    writer.flush()
    ledger.rejected_bytes = rejected_bytes
    ledger.save()


def _blocks(path: Path, columns: Columns, skip: int) -> Iterator[_Block]:
    """Rows of a file, without so many of before."""
    form = _FORMS.get(path.suffix.lower())
    try:
        blocks = _text_blocks(path, columns) if form is None else _typed_blocks(path, form, columns)
        for block in blocks:
            fresh = block.rows > skip
            refused = [one for one in block.refused if one[0] > skip]
            if refused or fresh.any():
                kept = block.table.filter(arrow.array(fresh))
                yield _Block(kept, block.rows[fresh], refused, block.after)
    except (pa.ArrowException, KeyError) as error:
        raise BTRDBValueError(f"cannot read `{path}`: {error}") from error


def _typed_blocks(path: Path, form: str, columns: Columns) -> Iterator[_Block]:
    (fragment,) = datasets.dataset(path, format=form).get_fragments()
    wanted = [columns.time, columns.name, columns.value]
    done = 0
    # One batch ahead, so that memory does not grow with the file.
    for batch in fragment.to_batches(columns=wanted, batch_size=BATCH_ROWS, batch_readahead=1):
        rows: Rows = np.arange(done + 1, done + batch.num_rows + 1, dtype=np.int64)
        done += batch.num_rows
        yield _Block(arrow.Table.from_batches([batch]), rows, [], done)


def _text_blocks(path: Path, columns: Columns) -> Iterator[_Block]:
    """Cells as text, so that one bad cell spoils no other; a bad row spoils no other, either."""
    refused: list[tuple[int, str, str]] = []

    def refuse(row: Any) -> str:
        why = f"{row.actual_columns} cells where the first line has {row.expected_columns}"
        refused.append((row.number - 1, why, row.text))  # the first line is none of the rows
        return "skip"

    wanted = [columns.time, columns.name, columns.value]
    reader = csv.open_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, arrow.string()),
            include_columns=wanted,
            strings_can_be_null=True,
        ),
    )
    good = told = 0
    for batch in reader:
        numbers: Rows = np.array([one[0] for one in refused], np.int64)
        before: Rows = numbers - np.arange(
            len(numbers)
        )  # so many good rows and one stand before each
        places: Rows = np.arange(good + 1, good + batch.num_rows + 1, dtype=np.int64)
        rows: Rows = places + np.searchsorted(before, places, side="right")
        good += batch.num_rows
        last = int(rows[-1]) if len(rows) else 0
        own = [one for one in refused[told:] if one[0] <= last]
        told += len(own)
        yield _Block(arrow.Table.from_batches([batch]), rows, own, last)
    if refused[told:]:
        empty = arrow.table({name: arrow.array([], arrow.string()) for name in wanted})
        yield _Block(empty, np.empty(0, np.int64), refused[told:], refused[-1][0])


def _points(
    block: _Block, columns: Columns
) -> tuple[dict[str, Points], list[tuple[int, str, str]]]:
    """The points of each stream; and the rows that hold none, with their number and the reason."""
    table = block.table
    if not table.num_rows:
        return {}, block.refused
    when, bad = times(table[columns.time], columns.clock)
    values, wrong = numbers(table[columns.value], columns.value)
    names = table[columns.name].combine_chunks()
    for place, why in wrong.items():
        bad.setdefault(place, why)
    for column, mask in ((columns.name, compute.is_null(names)), ("value", values.is_null())):
        for place in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
            bad.setdefault(place, f"no {column}")
    good = np.ones(len(table), bool)
    good[list(bad)] = False
    encoded = names.cast(arrow.string()).dictionary_encode()
    codes = compute.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    doubles = values.to_numpy(zero_copy_only=False)
    found: dict[str, Points] = {}
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        mask = good & (codes == code)
        if mask.any():
            found[name] = when[mask], doubles[mask]
    rejected = [(int(block.rows[place]), why, _text(table, place)) for place, why in bad.items()]
    return found, sorted([*rejected, *block.refused])


def _text(table: Any, place: int) -> str:
    (row,) = table.slice(place, 1).to_pylist()
    return ",".join("" if cell is None else str(cell) for cell in row.values())
