"""`pingthings put`: files of measurements into streams."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pingthings.cli import instants
from pingthings.cli.cells import Ambiguous, Clock, TimeUnit, zone_exists
from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.folder import every_file
from pingthings.cli.ingestion import Ingestion, Options, Rejects
from pingthings.cli.output import print_json
from pingthings.cli.recordings import Handling, parted, put_recordings
from pingthings.cli.source import Source, open_source
from pingthings.ingest.recording import Scaling
from pingthings.timeseries.client import Stream
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "put"]

EXAMPLES = """
Examples:
  pingthings put recording.csv --dry-run                what would happen
  pingthings put recording.csv --collection lab --unit volts
  pingthings put scada.csv --time Zeit --time-zone Europe/Vienna --decimal ,
  pingthings put pmu.parquet --value va=L1MAG:volts --value fa=FREQ:hertz
  pingthings put 2023-*.csv --collection lab --rejected rejected.csv
  pingthings put archive --collection pmu/{station}     all of archive/station=…/
  pingthings put fault.cfg --collection recordings/bay7   a COMTRADE recording
"""


def put(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="CSV, Parquet, Arrow IPC or COMTRADE, or a folder of such."
        ),
    ],
    collection: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where the streams go; {key} is what follows key= in a path. Default: the name "
            "of the file or folder.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column of times. Default: the one that holds any."
        ),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[=NAME[:UNIT]]",
            help="A column that becomes a stream; may be repeated. Default: every column of "
            "numbers, under its own name.",
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(metavar="UNIT", help="Unit of the streams that are given none.")
    ] = "",
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Where times without a zone are from, such as Europe/Vienna. Default: UTC.",
        ),
    ] = None,
    ambiguous: Annotated[
        Ambiguous,
        typer.Option(help="Which instant a time is that comes twice when clocks go back."),
    ] = "reject",
    time_unit: Annotated[
        TimeUnit | None, typer.Option(help="What times that are numbers count since 1970.")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="How times are written if not in ISO 8601, such as '%d.%m.%Y %H:%M:%S'.",
        ),
    ] = None,
    decimal: Annotated[
        Literal[".", ","], typer.Option(help="What stands before the decimals in a CSV file.")
    ] = ".",
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHARACTER", help="What separates cells. Default: found in line 1."),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of a CSV file.")] = "utf-8",
    merge: Annotated[
        Literal["replace", "retain", "equal", "never"],
        typer.Option(
            help="What happens to a time that has a value. With `replace` it gets the new one, so "
            "that repeating is safe."
        ),
    ] = "replace",
    scaling: Annotated[
        Scaling,
        typer.Option(help="Of which side of its transformers the values of a recording are."),
    ] = "primary",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read all and say what would happen; store nothing.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rejected rows go, with their line and the reason. Without it a rejected "
            "row makes the exit code 1.",
        ),
    ] = None,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Store files of measurements: one column of times, and a stream for each column of numbers.

    Streams that exist are added to, others are made. Every row is either stored or rejected with a
    reason; empty cells are neither. Memory stays the same however long the file is.

    How far it is stands beside the file: when interrupted, the same command goes on there.
    """
    if time_zone is not None and not zone_exists(time_zone):
        raise typer.BadParameter(f"there is no zone `{time_zone}`", param_hint="'--time-zone'")
    if delimiter is not None and len(delimiter) != 1:
        raise typer.BadParameter("give one character", param_hint="'--delimiter'")
    recordings, files = parted(files)
    if recordings:
        if time is not None or value:
            raise typer.BadParameter(
                f"`{recordings[0]}` is a recording, which says itself what its channels are",
                param_hint="'--time' / '--value'",
            )
        handling = Handling(collection, time_zone, scaling, merge, dry_run, json)
        with connected(endpoint, profile, apikey, apikey_file) as client:
            put_recordings(client, recordings, handling)
        if not files:
            return
    options = Options(
        time,
        tuple(value or ()),
        unit,
        Clock(time_zone, ambiguous, time_unit, time_format),
        decimal,
        merge,
        dry_run,
    )
    sources = [
        (open_source(file.path, delimiter, encoding), file.collection(collection))
        for file in every_file(files)
    ]
    with connected(endpoint, profile, apikey, apikey_file) as client:
        rejects = Rejects(rejected)
        known: dict[str, list[Stream]] = {}
        every = [
            Ingestion(client, source, where, options, rejects, known) for source, where in sources
        ]
        try:
            _run(every, rejects, as_json=json)
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):
                print(
                    "pingthings: interrupted; the same command goes on from there", file=sys.stderr
                )
            raise
        finally:
            rejects.close()
    _judge(every, rejects)


def _run(every: list[Ingestion], rejects: Rejects, *, as_json: bool) -> None:
    for one in every:
        one.prepare()
    rejects.resume(max(one.checkpoint.rejected_bytes for one in every))
    with _progress([one.source for one in every]) as advance:
        for place, one in enumerate(every):
            advance(place, one.checkpoint.position.offset)
            one.run(partial(advance, place))
    for one in every:
        _report(one, as_json=as_json)
    for one in every:
        one.checkpoint.forget()


def _judge(every: list[Ingestion], rejects: Rejects) -> None:
    """Fails if rows are lost to the user: rejected, and written nowhere."""
    rejected = sum(one.checkpoint.rejected for one in every)
    accepted = sum(one.checkpoint.accepted for one in every)
    first = rejects.samples[0] if rejects.samples else ""
    if not accepted:
        raise BTrDBError(f"no row could be stored; {first or 'the files have none'}")
    if rejected and not rejects.is_kept:
        raise BTrDBError(
            f"{rejected:,} of {accepted + rejected:,} rows were rejected, the first: {first}; "
            "`--rejected FILE` keeps them"
        )


@contextmanager
def _progress(sources: list[Source]) -> Generator[Callable[[int, int], None]]:
    """Shows how far it is, if a person looks: given the place of a file and an offset in it."""
    if not sys.stderr.isatty():
        yield lambda _place, _offset: None
        return
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    console = Console(stderr=True)
    sizes = [source.path.stat().st_size for source in sources]
    before = [0, *accumulate(sizes)]
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=before[-1])

        def advance(place: int, offset: int) -> None:
            source = sources[place]
            # Rows are some part of a file, compressed lines an unknown one.
            part = sizes[place] * offset // source.total if source.total else 0
            name = f"{source.path.name} ({place + 1}/{len(sources)})"
            progress.update(task, completed=before[place] + part, description=name)

        yield advance


def _report(one: Ingestion, *, as_json: bool) -> None:
    kept = one.checkpoint
    found: dict[str, Any] = {
        "file": str(one.source.path),
        "rows": kept.accepted + kept.rejected,
        "accepted": kept.accepted,
        "rejected": kept.rejected,
        "empty_cells": kept.missing,
        "points": kept.points,
        "collection": one.collection,
        "time": one.time,
        "dry_run": one.options.dry_run,
        "resumed": kept.is_resumed,
        "notes": one.notes,
        "streams": [
            {
                "column": target.value.column,
                "type": target.value.kind,
                "name": target.value.name,
                "unit": target.value.unit or (target.stream and target.stream.unit) or "",
                "uuid": None if target.stream is None else str(target.stream.uuid),
                "points": target.points,
                "first": None if target.first is None else instants.as_text(target.first),
                "last": None if target.last is None else instants.as_text(target.last),
            }
            for target in one.targets
        ],
    }
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    would = "would be " if found["dry_run"] else ""
    print(
        f"{found['file']}: {found['rows']:,} rows, {found['accepted']:,} {would}accepted, "
        f"{found['rejected']:,} rejected, {found['empty_cells']:,} empty cells"
    )
    if found["resumed"]:
        print("  went on where it was interrupted; streams are counted from there")
    print(f"  times from column `{found['time']}`")
    for note in found["notes"]:
        print(f"  {note}")
    for stream in found["streams"]:
        unit = f" [{stream['unit']}]" if stream["unit"] else ""
        where = "would be made" if stream["uuid"] is None else stream["uuid"]
        # All of a CSV file is text: that says nothing about what is stored.
        kind = "" if stream["type"] == "text" else f" ({stream['type']})"
        print(
            f"  {found['collection']}/{stream['name']}{unit}, {where}: column "
            f"`{stream['column']}`{kind}, {stream['points']:,} points"
            + (f", {stream['first']} to {stream['last']}" if stream["first"] else "")
        )
