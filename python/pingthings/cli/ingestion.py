"""Storing a file: block by block, each row either stored or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.cli.checkpoint import Checkpoint
from pingthings.cli.points import Points, Rows
from pingthings.cli.repeats import Repeats
from pingthings.cli.targets import Streams, Target
from pingthings.files.arrays import flags, is_text, one_chunk, shown
from pingthings.files.columns import Value, are_numbers, choose_values, unfit, unfit_names
from pingthings.files.numbers import Notation, numbers
from pingthings.files.rejects import Rejected, Rejects
from pingthings.files.source import Block, Kinds, NothingInItError, Position, Source, SourceError
from pingthings.files.timecolumns import choose_times
from pingthings.files.timeparts import TimeColumns
from pingthings.files.times import Clock, likely_kind, times
from pingthings.timeseries.client import StreamSet
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME

__all__ = ["Ingestion", "Options"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_PREVIEW = 3
_OF_GET = ["stream", "time"]

Instants = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Options:
    """What holds for every file of a command."""

    times: tuple[str, ...]
    values: tuple[str, ...]
    unit: str
    clock: Clock
    notation: Notation
    merge: str
    dry_run: bool
    name_column: str | None = None
    start: int | None = None
    """The time of the first row, where there is no column of times."""
    step: Fraction | None = None
    """Nanoseconds from one row to the next."""
    keep_cells: bool = False
    """Whether a bad cell rejects itself only, and not its row."""
    collection: str | None = None


@dataclass
class Ingestion:
    """One file on its way into streams."""

    source: Source
    collection: str
    options: Options
    rejects: Rejects
    streams: Streams
    endpoint: str
    times: list[str] = field(init=False)
    values: list[Value] = field(init=False)
    names: str | None = field(init=False, default=None)
    notes: list[str] = field(init=False)
    targets: dict[tuple[str, str], Target] = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    repeats: Repeats = field(init=False)
    preview: list[dict[str, Any]] = field(init=False, default_factory=list[dict[str, Any]])
    comments: int = field(init=False, default=0)
    is_over: bool = field(init=False, default=False)

    def prepare(self) -> None:
        """Decides columns and streams, and where to begin.

        Raises:
            SourceError: The file has no times or no numbers.
            BTrDBError: A stream of this name exists twice, or has another unit.
        """
        options, source = self.options, self.source
        sample = source.sample()
        if not sample.num_rows and not any(True for _ in self._first_rows()):
            raise NothingInItError(f"`{source.path}` has no rows")
        self._clock = replace(options.clock, days=source.days)
        self.notes = []
        if options.step is None:
            self._time, hints = choose_times(source, sample, options.times, self._clock)
        else:
            self._time, hints = TimeColumns(()), []
        self.times = list(self._time.names)
        self.names = self._name_column(sample)
        taken = [*self.times, *([self.names] if self.names else [])]
        self.values, left_out = choose_values(
            source, sample, taken, options.values, options.unit, options.notation
        )
        self.notes = [*source.notes, *left_out, *([] if self.names else hints)]
        self._kinds = self._likely_kinds(sample)
        self.targets = {}
        if self.names is None:
            for value in self.values:
                if (why := unfit(value.name)) is not None:
                    told = f"`{shown(arrow.array([value.name]), 0)}` {why}"
                    raise SourceError(
                        f"column {source.columns.index(value.column) + 1} of `{source.path}` "
                        f"cannot name a stream: {told}; name it with `--value COLUMN=NAME`, or all "
                        "columns with `--names`"
                    )
                found = self.streams.find(value, self.collection)
                self.targets["", value.name] = Target(value, self.collection, found)
                self._notice_alike(value.name)
        self.repeats = Repeats(options.merge, dry_run=options.dry_run)
        identity = [self.endpoint, self.collection, options, self.rejects.path]
        start = source.start
        fresh = Checkpoint.find(source.path, start, identity, can_resume=source.can_resume)
        if fresh.is_resumed and (options.dry_run or not self._is_there(fresh)):
            fresh = replace(fresh.anew(), position=start)
        self._clock.last = fresh.last_time
        self.checkpoint = fresh

    def _notice_alike(self, name: str) -> None:
        other = self.streams.alike(name, self.collection)
        if other is not None:
            self.notes.append(
                f"`{self.collection}/{other}` is there, and `{name}` differs from it only in case, "
                "or in how letters are composed: it is another stream"
            )

    def _likely_kinds(self, sample: Any) -> Kinds:
        """What columns of text hold if no cell of them is odd."""
        notation, kinds = self.options.notation, dict[str, Any]()
        if notation.thousands is None:
            kinds.update((value.column, arrow.float64()) for value in self.values)
        if len(self.times) == 1:
            kinds.pop(self.times[0], None)
            kind = likely_kind(sample[self.times[0]], self.options.clock)
            kinds.update({self.times[0]: kind} if kind is not None else {})
        if self.names is not None:
            kinds.pop(self.names, None)
        return Kinds(kinds, notation.decimal)

    def _first_rows(self) -> Iterator[Block]:
        """A block that has rows, if the file can be looked at twice."""
        if self.source.can_resume:
            for block in self.source.blocks(self.source.columns, self.source.start):
                if len(block.lines) or block.refused:
                    yield block
                    return

    def _name_column(self, sample: Any) -> str | None:
        asked = self.options.name_column
        if asked is not None:
            if asked not in self.source.columns:
                raise SourceError(
                    f"`{self.source.path}` has no column `{asked}` to take names from"
                )
            kind = one_chunk(sample[asked]).type
            if arrow.types.is_nested(kind):
                raise SourceError(
                    f"column `{asked}` of `{self.source.path}` is {kind}, which names no streams"
                )
            return asked
        if self.source.columns[:2] == _OF_GET and is_text(one_chunk(sample["stream"]).type):
            return "stream"
        return None

    def _is_there(self, kept: Checkpoint) -> bool:
        """Whether what was stored before is still so: the server may have begun anew."""
        if not self.rejects.holds(kept.rejected_bytes):
            return False
        for key, last in kept.last.items():
            stream = self.streams.find_uuid(UUID(key))
            point = None if stream is None else stream.nearest(last)
            if point is None or point.time != last:
                return False
        return True

    def run(self, advance: Callable[[int], None]) -> None:
        """Stores the rest of the file; `advance` hears how far it is."""
        if not self.options.dry_run:
            self.checkpoint.save()  # so that a first block that is interrupted is known to be
        # Under `never` a point that comes again stays twice; those of a block that was begun may.
        begun = self.checkpoint.begun if self.checkpoint.is_resumed else 0
        names = [self.names] if self.names else []
        read = [*self.times, *names, *(value.column for value in self.values)]
        columns: list[str] = list(dict.fromkeys(read))
        blocks = self.source.blocks(columns, self.checkpoint.position, self._kinds)
        for block in _ahead(blocks) if self.source.can_resume else blocks:
            self._take(block, comes_again=self.checkpoint.position.offset < begun)
            advance(block.after.offset)
        self._finish()

    @property
    def is_begun(self) -> bool:
        """Whether a point may be stored."""
        return not self.options.dry_run and self.checkpoint.begun > 0

    def forget(self) -> None:
        """Forgets how far it is: it is stored, and was said to be."""
        self.is_over = True
        self.checkpoint.forget()

    def _finish(self) -> None:
        for value in self.values:
            if value.is_open:
                self.notes.append(f"column `{value.column}` is left out: it is empty")
        if self.comments:
            self.notes.append(f"comments are left out: {self.comments:,}")
        self.notes.extend(self.repeats.notes())
        for target in self.targets.values():
            if target.first is None or target.last is None:
                continue
            fed = self.streams.fed.setdefault(target.key, [])
            for other, first, last in fed:
                if first < target.last and target.first < last:
                    self.notes.append(
                        f"`{target.collection}/{target.name}` is fed from `{other}`, too, over the "
                        "same time; `--collection 'NAME/{key}'` keeps folders apart, `--value` or "
                        "`--collection` files"
                    )
                    break
            fed.append((str(self.source.path), target.first, target.last))

    # A block.

    def _take(self, block: Block, *, comes_again: bool) -> None:
        count = block.table.num_rows
        whens, bad = self._times(block)
        reasons = {place: (self._time_name, why) for place, why in bad.items()}
        cells: list[tuple[int, str, str]] = []
        columns: list[tuple[Value, Any]] = []
        for value in self._decided(block):
            found, wrong = numbers(block.table[value.column], value.column, self.options.notation)
            if self.options.keep_cells and wrong:
                mask = np.ones(count, bool)
                mask[list(wrong)] = False
                found = compute.if_else(arrow.array(mask), found, None)
                cells.extend((place, value.column, why) for place, why in wrong.items())
            else:
                for place, why in wrong.items():
                    reasons.setdefault(place, (value.column, why))
            columns.append((value, found))
        names = self._names(block, reasons)
        self._nothing(columns, count, reasons)
        good = np.ones(count, bool)
        good[list(reasons)] = False
        parts = self._parts(whens, columns, good, names, block.lines)
        self._show(parts)
        self._store(parts, block.after, comes_again=comes_again)
        self._note(block, reasons, [cell for cell in cells if good[cell[0]]], good, columns)
        if good.any() and self._clock.ambiguous != "infer":
            self._clock.last = int(whens[good][-1])

    @property
    def _time_name(self) -> str:
        return " and ".join(self.times)

    def _times(self, block: Block) -> tuple[Instants, dict[int, str]]:
        options = self.options
        if options.step is None:
            last = self._clock.last
            found, bad = times(self._time.joined(block.table), self._clock)
            if not bad or block.written is None:
                return found, bad
            # Once more, with cells as they are written: reasons show them.
            self._clock.last = last
            table = block.written(self.times)
            return times(self._time.joined(table), self._clock)
        # In two parts, so that no product leaves 64 bits.
        whole, rest = divmod(options.step.numerator, options.step.denominator)
        room = (MAXIMUM_INSERT_TIME - (options.start or 0)) // max(1, whole + 1)
        rows = np.minimum(block.rows, room)
        exact: Instants = (rows * rest * 2 + options.step.denominator) // (
            2 * options.step.denominator
        )
        found = (options.start or 0) + rows * whole + exact
        late = np.flatnonzero(block.rows > room).tolist()
        return found, dict.fromkeys(late, "its time is outside 1933 to 2079")

    def _decided(self, block: Block) -> list[Value]:
        """The columns that hold numbers, which some show only after a while."""
        if any(value.is_open for value in self.values):
            self.values = [
                kept for value in self.values if (kept := self._decide(block, value)) is not None
            ]
        return [value for value in self.values if not value.is_open]

    def _decide(self, block: Block, value: Value) -> Value | None:
        if not value.is_open:
            return value
        column = one_chunk(block.table[value.column])
        if column.null_count == len(column):
            return value
        if not are_numbers(column, self.options.notation):
            self.notes.append(f"column `{value.column}` is left out: it holds no numbers")
            self.targets.pop(("", value.name), None)
            return None
        return replace(value, is_open=False)

    def _names(self, block: Block, reasons: dict[int, tuple[str, str]]) -> Any:
        if self.names is None:
            return None
        column = one_chunk(block.table[self.names])
        if arrow.types.is_floating(column.type):
            column = compute.if_else(compute.is_nan(column), None, column)
        texts = column if arrow.types.is_string(column.type) else column.cast(arrow.string())
        if self.options.name_column is not None:  # what `get` wrote is what was meant
            texts = compute.utf8_trim_whitespace(texts)
        names: Any = texts.dictionary_encode()
        known: list[str | None] = names.dictionary.to_pylist()
        missing = flags(names.indices.is_null())
        if "" in known:
            missing |= flags(compute.equal(names.indices, known.index("")))
        for place in np.flatnonzero(missing).tolist():
            reasons.setdefault(place, (self.names, f"no name in column `{self.names}`"))
        if self.options.name_column is not None:
            longest = max((self._own_name("", value) for value in self.values), key=len, default="")
            for place, why in unfit_names(names, self.names, longest).items():
                reasons.setdefault(place, (self.names, why))
        return names

    def _own_name(self, name: str, value: Value) -> str:
        """What the stream of a column is called in the rows of a name."""
        several = len([one for one in self.values if not one.is_open]) > 1
        return f"{name}/{value.name}" if several else name

    def _nothing(
        self,
        columns: list[tuple[Value, Any]],
        count: int,
        reasons: dict[int, tuple[str, str]],
    ) -> None:
        if any(not column.null_count for _, column in columns):
            return
        nothing = np.ones(count, bool)
        for _, column in columns:
            nothing &= column.is_null().to_numpy(zero_copy_only=False)
        for place in np.flatnonzero(nothing).tolist():
            reasons.setdefault(place, ("", "no value in any column"))

    def _parts(
        self,
        whens: Instants,
        columns: list[tuple[Value, Any]],
        good: Flags,
        names: Any,
        lines: Instants,
    ) -> list[Points]:
        parts: list[Points] = []
        if names is None:
            every = Rows(whens, lines, good)
            for value, column in columns:
                parts.append(every.points(self.targets["", value.name], column))
            return [part for part in parts if len(part.times)]
        codes = names.indices.fill_null(0).to_numpy(zero_copy_only=False)
        known = names.dictionary.to_pylist()
        rows = np.flatnonzero(good)
        order = rows[np.argsort(codes[rows], kind="stable")]
        edges = np.flatnonzero(np.diff(codes[order])) + 1
        for chosen in np.split(order, edges) if len(order) else []:
            name = known[int(codes[chosen[0]])]
            some = Rows(whens[chosen], lines[chosen], np.ones(len(chosen), bool))
            for value, column in columns:
                target = self._named_target(name, value)
                parts.append(some.points(target, column.take(arrow.array(chosen))))
        return [part for part in parts if len(part.times)]

    def _named_target(self, name: str, value: Value) -> Target:
        key = name, value.name
        if key not in self.targets:
            own = self._own_name(name, value)
            several = own != name
            self.targets[key] = self._new_target(name, replace(value, name=own), several=several)
        return self.targets[key]

    def _new_target(self, name: str, value: Value, *, several: bool) -> Target:
        """Where rows of a name go: what `get` wrote goes where it came from."""
        if self.options.name_column is None and self.options.collection is None and not several:
            try:
                uuid = UUID(name)
            except ValueError:
                path = self.streams.find_path(name)
                if path is not None:
                    return Target(replace(value, name=path[1]), path[0], path[2])
            else:
                stream = self.streams.find_uuid(uuid)
                if stream is not None:
                    named = replace(value, name=stream.name or name)
                    return Target(named, stream.collection or "", stream, uuid)
                return Target(
                    value, self.collection, self.streams.find(value, self.collection), uuid
                )
        self._notice_alike(value.name)
        return Target(value, self.collection, self.streams.find(value, self.collection))

    def _show(self, parts: list[Points]) -> None:
        """Keeps the first rows as they would be stored."""
        wanted = _PREVIEW - len(self.preview)
        if not self.options.dry_run or wanted <= 0:
            return
        rows: dict[int, dict[str, Any]] = {}
        for part in parts:
            for place in range(min(wanted, len(part.times))):
                row = rows.setdefault(
                    int(part.lines[place]), {"time": int(part.times[place]), "values": {}}
                )
                row["values"][part.target.name] = part.values[place].as_py()
        self.preview.extend(rows[line] for line in sorted(rows)[:wanted])

    def _store(self, parts: list[Points], after: Position, *, comes_again: bool) -> None:
        if not parts:
            return
        merge = self.options.merge
        if merge == "never" and comes_again:
            merge = "equal"
        kept = self.checkpoint
        if not self.options.dry_run:
            for part in parts:
                self.streams.make(part.target)
        before = self.repeats.before(parts, comes_again=comes_again)
        if not self.options.dry_run:
            kept.begun = max(kept.begun, after.offset)
            kept.save(durably=self.options.merge == "never")
            data: dict[UUID, Any] = {}
            for part in parts:
                if part.target.stream is not None:
                    data[part.target.stream.uuid] = arrow.table(
                        [arrow.array(part.times), part.values], ["time", "value"]
                    )
                    kept.last[str(part.target.stream.uuid)] = int(part.times[-1])
            streams = [part.target.stream for part in parts if part.target.stream is not None]
            StreamSet(streams).insert(data, merge)
        replaced, ignored = self.repeats.after(parts, before)
        kept.replaced += replaced
        kept.ignored += ignored
        for part in parts:
            part.target.add(len(part.times), *part.ends)
            kept.points += len(part.times)

    def _note(
        self,
        block: Block,
        reasons: dict[int, tuple[str, str]],
        cells: list[tuple[int, str, str]],
        good: Flags,
        columns: list[tuple[Value, Any]],
    ) -> None:
        rows = [(int(block.lines[place]), why, column) for place, (column, why) in reasons.items()]
        rows.extend((line, why, "") for line, why in block.refused)
        whole = len(rows)
        rows.extend((int(block.lines[place]), why, column) for place, column, why in cells)
        rows.sort()
        kept = self.checkpoint
        kept.rejected_bytes = self.rejects.add(
            self.source.path,
            [Rejected(line, why, block.text(line), column) for line, why, column in rows],
        )
        accepted = int(good.sum())
        kept.accepted += accepted
        kept.rejected += whole
        kept.rejected_cells += len(cells)
        for _, column in columns:
            if column.null_count:
                kept.missing += int((good & flags(column.is_null())).sum())
        kept.missing -= len(cells)
        kept.position = block.after
        self.comments += block.comments
        kept.last_time = self._clock.last
        if not self.options.dry_run:
            kept.save()


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks, of which the next is read while one is stored."""
    with ThreadPoolExecutor(1) as reader:
        ready = reader.submit(next, blocks, None)
        while (block := ready.result()) is not None:
            ready = reader.submit(next, blocks, None)
            yield block
