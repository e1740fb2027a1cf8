"""A folder of tables with a row for each point, CSV or Parquet, into streams.

    python -m ingest.folder localhost:4410 archive --collection pmu/{station}

Each row says which stream, when, and what: three columns. Files with a column for each stream need
no program: `pingthings put` takes them, and folders of them.

A ledger beside the folder says how far each file is stored. Started again, after whatever ended it,
the program goes on there: every row is stored once. Files that are new or have changed since are
stored, those that are finished are not looked into.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
from pingthings.cli import cells
from pingthings.cli.folder import every_file
from pingthings.cli.ingestion import Rejects
from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Points, Writer
from pingthings.timeseries import Client, connect

__all__ = ["Columns", "Ledger", "store"]

# Their stubs lag behind them.
arrow: Any = pa
compute: Any = pc
csv: Any = pa_csv
datasets: Any = pa_dataset

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
    clock: cells.Clock = field(default_factory=cells.Clock)


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
        ValueError: The rejected rows that the ledger knows of are gone.
        SourceError: There is no file, or a path has no key of this name.
        WriterFailed: The points cannot be stored.
    """
    columns = columns or Columns()
    if not rejects.holds(ledger.rejected_bytes):
        raise ValueError(
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
            for first, table in _batches(file.path, columns, progress.rows):
                good, rejected = _points(table, columns)
                streams = known.setdefault(where, {})
                missing = [Wanted(name, columns.unit) for name in good if name not in streams]
                if missing:
                    streams |= ensure(client, where, missing)
                writer.add_all({streams[name]: points for name, points in good.items()})
                rows = [(first + place, why, _text(table, place)) for place, why in rejected]
                size = rejects.add(file.path, rows)
                uncommitted += table.num_rows
                progress.rejected += len(rows)
                progress.rows += table.num_rows
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


def _fragment(path: Path, columns: Columns) -> Any:
    """A file as the reader of Arrow's data sets sees it."""
    form: Any = _FORMS.get(path.suffix.lower())
    if form is None:
        # As text, so that one bad cell spoils no other.
        kinds = dict.fromkeys((columns.time, columns.name, columns.value), arrow.string())
        convert = csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
        form = datasets.CsvFileFormat(convert_options=convert)
    (fragment,) = datasets.dataset(path, format=form).get_fragments()
    return fragment


def _batches(path: Path, columns: Columns, skip: int) -> Iterator[tuple[int, Any]]:
    """Tables of some rows, without those of before; and the number of the first, from one."""
    done = 0
    wanted = [columns.time, columns.name, columns.value]
    # One batch ahead, so that memory does not grow with the file.
    fragment = _fragment(path, columns)
    for batch in fragment.to_batches(columns=wanted, batch_size=BATCH_ROWS, batch_readahead=1):
        fresh = max(skip - done, 0)
        if fresh < batch.num_rows:
            yield done + fresh + 1, arrow.Table.from_batches([batch.slice(fresh)])
        done += batch.num_rows


def _points(table: Any, columns: Columns) -> tuple[dict[str, Points], list[tuple[int, str]]]:
    """The points of each stream; and by place the rows that hold none, and why."""
    times, bad = cells.times(table[columns.time], columns.clock)
    values, wrong = cells.numbers(table[columns.value], columns.value, ".")
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
    numbers = values.to_numpy(zero_copy_only=False)
    found: dict[str, Points] = {}
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        mask = good & (codes == code)
        if mask.any():
            found[name] = times[mask], numbers[mask]
    return found, sorted(bad.items())


def _text(table: Any, place: int) -> str:
    (row,) = table.slice(place, 1).to_pylist()
    return ",".join("" if cell is None else str(cell) for cell in row.values())


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--collection", required=True, help="{station} is what a path says of it")
    parser.add_argument("--ledger", type=Path, default=Path("ledger.json"))
    parser.add_argument("--rejected", type=Path, default=Path("rejected.csv"))
    given = parser.parse_args()
    rejects = Rejects(given.rejected)
    with connect(endpoint=given.endpoint) as client:
        ledger = Ledger.read(given.ledger)
        store(client, given.folder, given.collection, ledger, rejects)
    rejects.close()
    for name, progress in ledger.files.items():
        print(f"{name}: {progress.rows:,} rows, {progress.rejected:,} of them rejected")


if __name__ == "__main__":
    _main()
