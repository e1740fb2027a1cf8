"""Storing a file: block by block, each row either stored or rejected with a reason."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID, uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.cli import cells
from pingthings.cli.cells import Bad, Clock
from pingthings.cli.checkpoint import Checkpoint
from pingthings.cli.columns import Value, choose_time, choose_values
from pingthings.cli.source import Block, Source, SourceError
from pingthings.timeseries.client import Client, Stream, StreamSet
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["Ingestion", "Options", "Rejects", "Target"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc


@dataclass(frozen=True)
class Options:
    """What holds for every file of a command."""

    time: str | None
    values: tuple[str, ...]
    unit: str
    clock: Clock
    decimal: str
    merge: str
    dry_run: bool


@dataclass
class Target:
    """A stream to be, and what goes into it."""

    value: Value
    stream: Stream | None
    points: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, times: npt.NDArray[np.int64]) -> None:
        """Counts points of these times."""
        if not len(times):
            return
        low, high = int(times.min()), int(times.max())
        self.points += len(times)
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)


class Rejects:
    """The file of rejected rows: the source, the number of the row, the reason, the row."""

    def __init__(self, path: Path | None) -> None:
        """Remembers where they go; the file is opened when the first comes, or is resumed."""
        self.path = path
        self._file: TextIO | None = None
        self.samples: list[str] = []

    @property
    def is_kept(self) -> bool:
        """Whether there is a file for them."""
        return self.path is not None

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
                csv.writer(file).writerow(["file", "line", "reason", "row"])
            file.flush()
        except OSError as error:
            raise BTrDBError(f"cannot write `{self.path}`: {error.strerror}") from error
        self._file = file

    def add(self, source: Path, rows: Sequence[tuple[int, str, str]]) -> int:
        """Writes rows and returns how large the file is."""
        shown = 3
        for line, reason, _text in rows[: max(0, shown - len(self.samples))]:
            self.samples.append(f"`{source}`, line {line}: {reason}")
        if self._file is None:
            return 0
        csv.writer(self._file).writerows((source, *row) for row in rows)
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


@dataclass
class Ingestion:
    """One file on its way into streams."""

    client: Client
    source: Source
    collection: str
    options: Options
    rejects: Rejects
    known: dict[str, list[Stream]]
    """The streams of collections, those that were looked up and those that were made."""
    time: str = field(init=False)
    notes: list[str] = field(init=False)
    targets: list[Target] = field(init=False)
    checkpoint: Checkpoint = field(init=False)

    def prepare(self) -> None:
        """Decides columns and streams, and where to begin.

        Raises:
            SourceError: The file has no times or no numbers.
            BTrDBError: A stream of this name exists twice, or has another unit.
        """
        options, source = self.options, self.source
        sample = source.sample()
        if not sample.num_rows:
            raise SourceError(f"`{source.path}` has no rows")
        self.time = choose_time(source, sample, options.time, options.clock)
        values, self.notes = choose_values(
            source, sample, self.time, options.values, options.unit, options.decimal
        )
        self.targets = [Target(value, self._stream(value)) for value in values]
        endpoint = self.client.get_async_client()._creds["endpoint"]
        identity = [endpoint, self.collection, options, self.rejects.path]
        start = source.start
        fresh = Checkpoint.find(source.path, start, identity)
        if fresh.is_resumed and (options.dry_run or not self._is_there(fresh)):
            fresh = Checkpoint(fresh.path, fresh.fingerprint, start)
        self.checkpoint = fresh

    def _is_there(self, kept: Checkpoint) -> bool:
        """Whether what was stored before is still so: the server may have begun anew."""
        if not self.rejects.holds(kept.rejected_bytes):
            return False
        for target in self.targets:
            stream = target.stream
            last = None if stream is None else kept.last.get(str(stream.uuid))
            if stream is None:
                return False
            if last is not None:
                point = stream.nearest(last)
                if point is None or point.time != last:
                    return False
        return True

    def run(self, advance: Callable[[int], None]) -> None:
        """Stores the rest of the file; `advance` hears how far it is."""
        if not self.options.dry_run:
            self._create()
            self.checkpoint.save()  # so that a first block that is interrupted is known to be
        # Under `never` a point that comes again stays twice; the first block may come again.
        merge = self.options.merge
        if merge == "never" and self.checkpoint.is_resumed:
            merge = "equal"
        columns = list(dict.fromkeys([self.time, *(one.value.column for one in self.targets)]))
        for block in self.source.blocks(columns, self.checkpoint.position):
            self._take(block, merge)
            merge = self.options.merge
            advance(block.after.offset)

    def _stream(self, value: Value) -> Stream | None:
        if self.collection not in self.known:
            self.known[self.collection] = list(
                self.client.streams_in_collection(self.collection, is_collection_prefix=False)
            )
        return _known(self.known[self.collection], value, self.collection)

    def _create(self) -> None:
        for target in self.targets:
            # Looked for again: a file before this one may have made it.
            target.stream = target.stream or self._stream(target.value)
            if target.stream is None:
                tags = {"name": target.value.name, "unit": target.value.unit}
                target.stream = self.client.create(uuid4(), self.collection, tags)
                self.known[self.collection].append(target.stream)

    def _take(self, block: Block, merge: str) -> None:
        times, bad = cells.times(block.table[self.time], self.options.clock)
        values = [self._numbers(block, target.value, bad) for target in self.targets]
        nothing = np.ones(len(times), bool)
        for column in values:
            nothing &= column.is_null().to_numpy(zero_copy_only=False)
        for place in np.flatnonzero(nothing).tolist():
            bad.setdefault(place, "no value in any column")
        good = np.ones(len(times), bool)
        good[list(bad)] = False
        self._store(times, values, good, merge)

        rows = [(int(block.lines[place]), reason) for place, reason in bad.items()]
        rows = sorted([*rows, *block.refused])
        kept = self.checkpoint
        size = self.rejects.add(
            self.source.path, [(line, why, block.text(line)) for line, why in rows]
        )
        kept.rejected_bytes = size
        kept.accepted += int(good.sum())
        kept.rejected += len(rows)
        kept.position = block.after
        if not self.options.dry_run:
            kept.save()

    def _numbers(self, block: Block, value: Value, bad: Bad) -> Any:
        found, wrong = cells.numbers(block.table[value.column], value.column, self.options.decimal)
        for place, reason in wrong.items():
            bad.setdefault(place, reason)
        return found

    def _store(
        self,
        times: npt.NDArray[np.int64],
        values: list[Any],
        good: npt.NDArray[np.bool_],
        merge: str,
    ) -> None:
        data: dict[UUID, Any] = {}
        kept = self.checkpoint
        for target, column in zip(self.targets, values, strict=True):
            held = column.is_valid().to_numpy(zero_copy_only=False)
            mask = good & held
            kept.missing += int((good & ~held).sum())
            chosen = times[mask]
            target.add(chosen)
            kept.points += len(chosen)
            if target.stream is None or not len(chosen):
                continue
            numbers = column if mask.all() else column.filter(arrow.array(mask))
            data[target.stream.uuid] = arrow.table(
                [arrow.array(chosen), numbers], ["time", "value"]
            )
            kept.last[str(target.stream.uuid)] = int(chosen[-1])
        if data and not self.options.dry_run:
            streams = [one.stream for one in self.targets if one.stream is not None]
            StreamSet(streams).insert(data, merge)


def _known(streams: list[Stream], value: Value, collection: str) -> Stream | None:
    """The stream of the collection that a column goes into, if there is one."""
    found = [stream for stream in streams if stream.name == value.name]
    if len(found) > 1 and value.unit:
        found = [stream for stream in found if stream.unit == value.unit]
    if len(found) > 1:
        raise BTrDBError(f"`{collection}/{value.name}` is the name of {len(found)} streams")
    if found and value.unit and found[0].unit != value.unit:
        raise BTrDBError(
            f"stream `{collection}/{value.name}` has the unit `{found[0].unit}`, not "
            f"`{value.unit}`; leave the unit out, or choose another name"
        )
    return found[0] if found else None
