"""`pingthings put`: files of measurements into streams."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.ingestion import Ingestion, Options
from pingthings.cli.put_options import (
    clock_of,
    counted_of,
    delimiter_of,
    encoding_of,
    names_of,
    notation_of,
)
from pingthings.cli.recordings import Handling, check_whole, parted, put_recordings
from pingthings.cli.report import report, report_left_out, summary
from pingthings.cli.targets import Streams
from pingthings.files.content import STANDARD_INPUT
from pingthings.files.folder import File, every_file
from pingthings.files.open import open_source
from pingthings.files.rejects import Rejects
from pingthings.files.source import Layout, NothingInItError, Source
from pingthings.files.times import Ambiguous, TimeUnit
from pingthings.ingest.recording import Scaling
from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "put"]

EXAMPLES = """
Examples:
  pingthings put recording.csv --dry-run                what would happen
  pingthings put recording.csv --collection lab --unit volts
  pingthings put scada.csv --time Zeit --time-zone Europe/Vienna --decimal ,
  pingthings put pmu.parquet --value va=L1MAG:volts --value fa=FREQ:hertz
  pingthings put long.csv --name-column station --value-column reading
  pingthings put wave.csv --time-start 2024-01-01T12:00Z --time-step 50kHz
  pingthings put 2023-*.csv --collection lab --rejected rejected.csv
  pingthings put archive --collection pmu/{station}     all of archive/station=…/
  zcat feed.gz | pingthings put - --collection lab
  pingthings put fault.cfg --collection recordings/bay7   a COMTRADE recording
"""

_LAYOUT = "Layout"
_TIMES = "Times"
_CELLS = "Values"


def put(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="CSV, Parquet, Arrow IPC, .xlsx, also compressed, or COMTRADE, or a folder of "
            "such; `-` is standard input.",
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
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of times; twice for one of dates and one of times of day. Default: "
            "what holds any.",
            rich_help_panel=_TIMES,
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
    name_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column that names the stream of each row, in a table with a row for each "
            "point.",
        ),
    ] = None,
    value_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of values, with --name-column."),
    ] = None,
    unit: Annotated[
        str, typer.Option(metavar="UNIT", help="Unit of the streams that are given none.")
    ] = "",
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Where times without a zone are from, such as Europe/Vienna. Default: UTC.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    ambiguous: Annotated[
        Ambiguous,
        typer.Option(
            help="Which instant a time is that comes twice when clocks go back; `infer` takes the "
            "order of rows.",
            rich_help_panel=_TIMES,
        ),
    ] = "reject",
    time_unit: Annotated[
        TimeUnit | None,
        typer.Option(
            help="What times that are numbers count since 1970, or since --time-start; `excel` is "
            "days of a spreadsheet.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="How times are written if not in ISO 8601, such as '%d.%m.%Y %H:%M:%S.%f'.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    time_start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The time of the first row, or what numbers of --time-unit count from.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    time_step: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="From one row to the next, such as 20ms or 50Hz, where no column holds times.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    decimal: Annotated[
        Literal[".", ","],
        typer.Option(help="What stands before the decimals.", rich_help_panel=_CELLS),
    ] = ".",
    thousands: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="What parts thousands, as in 1,234. Default: nothing does.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="What else stands for no value; may be repeated.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    bad_cell: Annotated[
        Literal["row", "cell"],
        typer.Option(
            help="What a cell that is no number rejects: its row, or only itself.",
            rich_help_panel=_CELLS,
        ),
    ] = "row",
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="What parts cells. Default: found in the first rows.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encoding of a text. Default: found in its first bytes.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    skip_lines: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="COUNT",
            help="Lines above the names that are no part of the table. Default: found.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    header_line: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="LINE",
            help="The line of names, the first being 1. Default: found.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option("--no-header", help="There is no line of names.", rich_help_panel=_LAYOUT),
    ] = False,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,…",
            help="Names of all columns, instead of those in the file.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    unit_line: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="LINE",
            help="The line of units. Default: the one below the names, if it holds units.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    comment: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What lines begin with that are comments. Default: # if any does at the top.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The sheet of a workbook. Default: the first with a table.",
            rich_help_panel=_LAYOUT,
        ),
    ] = None,
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
    reason; empty cells are neither. Points that take the place of others are counted. Memory stays
    the same however long the file is.

    How far it is stands beside the file: when interrupted, the same command goes on there.
    """
    layout = Layout(
        delimiter_of(delimiter),
        encoding_of(encoding),
        skip_lines,
        header_line,
        not no_header,
        names_of(names),
        unit_line,
        comment or None,
        sheet,
        tuple(missing or ()),
        decimal,
    )
    if no_header and header_line is not None:
        raise typer.BadParameter("--no-header and --header-line are both given; give one of them")
    if value_column is not None and (name_column is None or value):
        raise typer.BadParameter(
            "give it with --name-column and without --value", param_hint="'--value-column'"
        )
    options = Options(
        times=tuple(time or ()),
        values=(value_column,) if value_column is not None else tuple(value or ()),
        unit=unit,
        clock=clock_of(time_zone, ambiguous, time_unit, time_format, time_start, time_step),
        notation=notation_of(decimal, thousands, missing or []),
        merge=merge,
        dry_run=dry_run,
        name_column=name_column,
        keep_cells=bad_cell == "cell",
        collection=collection,
    )
    options = counted_of(options, time_start, time_step)
    if STANDARD_INPUT in files and apikey_file == STANDARD_INPUT:
        raise typer.BadParameter(
            "standard input can be read once only", param_hint="'--apikey-file'"
        )
    if files.count(STANDARD_INPUT) > 1:
        raise typer.BadParameter("standard input can be read once only", param_hint="'FILE'")
    if collection is None and STANDARD_INPUT in files:
        raise typer.BadParameter(
            "standard input has no name; say where its streams go", param_hint="'--collection'"
        )
    recordings, files = parted(files)
    check_whole(files)
    if recordings and (time is not None or options.values):
        raise typer.BadParameter(
            f"`{recordings[0]}` is a recording, which says itself what its channels are",
            param_hint="'--time' / '--value'",
        )
    found = every_file(files)
    rejects = Rejects(rejected)
    rejects.check([*recordings, *(file.path for file in found)])
    connect = partial(connected, endpoint, profile, apikey, apikey_file)
    if recordings:
        rule = "reject" if ambiguous == "infer" else ambiguous
        handling = Handling(
            *(collection, time_zone, rule, scaling, layout.encoding, merge), dry_run, json
        )
        with connect() as client:
            put_recordings(client, recordings, handling)
        if not files:
            return
    _put_files(found, layout, options, rejects, connect, as_json=json)


def _put_files(
    found: list[File],
    layout: Layout,
    options: Options,
    rejects: Rejects,
    connect: Callable[[], AbstractContextManager[Client]],
    *,
    as_json: bool,
) -> None:
    every: list[Ingestion] = []
    try:
        _store(found, layout, options, rejects, connect, every, as_json=as_json)
    except KeyboardInterrupt:
        if not all(one.is_over for one in every) or not every:
            with contextlib.suppress(OSError):
                print(f"pingthings: interrupted; {_how_far(every)}", file=sys.stderr)
            raise
    finally:
        rejects.close()
    _judge(every, rejects)


def _how_far(every: list[Ingestion]) -> str:
    """What became of the files of a command that was interrupted."""
    begun = [one for one in every if one.is_begun]
    if not begun:
        return "nothing was stored"
    if all(one.checkpoint.path for one in begun):
        return "the same command goes on from there"
    rows = sum(one.checkpoint.accepted for one in begun)
    return f"{rows:,} rows or more are stored; the same command begins anew"


def _store(
    found: list[File],
    layout: Layout,
    options: Options,
    rejects: Rejects,
    connect: Callable[[], AbstractContextManager[Client]],
    every: list[Ingestion],
    *,
    as_json: bool,
) -> None:
    """Stores files, of which those that can be read become known in `every`."""
    nothing: dict[Path, str] = {}
    sources: list[tuple[File, Source]] = []
    for file in found:
        with _left_out(file, nothing):
            sources.append((file, open_source(file.path, layout)))
    with connect() as client:
        streams = Streams(client)
        where = client.endpoint
        for file, source in sources:
            place = file.collection(options.collection)
            one = Ingestion(source, place, options, rejects, streams, where)
            with _left_out(file, nothing):
                one.prepare()
                every.append(one)
        if not every:
            raise NothingInItError(next(iter(nothing.values())))
        _run(every, nothing, rejects, as_json=as_json)


@contextmanager
def _left_out(file: File, nothing: dict[Path, str]) -> Generator[None]:
    """Leaves a file of a folder out that has no rows; one that was named is refused."""
    try:
        yield
    except NothingInItError as error:
        if file.folder is None:
            raise
        nothing[file.path] = str(error)


def _run(
    every: list[Ingestion], nothing: dict[Path, str], rejects: Rejects, *, as_json: bool
) -> None:
    rejects.resume(max(one.checkpoint.rejected_bytes for one in every))
    with _progress([one.source for one in every]) as advance:
        for place, one in enumerate(every):
            advance(place, one.checkpoint.position.offset)
            one.run(partial(advance, place))
    for one in every:
        report(one, as_json=as_json)
    report_left_out(nothing, as_json=as_json)
    if len(every) > 1 and not as_json:
        summary(every)
    for one in every:
        one.forget()


def _judge(every: list[Ingestion], rejects: Rejects) -> None:
    """Fails if rows are lost to the user: rejected, and written nowhere."""
    rejected = sum(one.checkpoint.rejected for one in every)
    cells = sum(one.checkpoint.rejected_cells for one in every)
    accepted = sum(one.checkpoint.accepted for one in every)
    first = rejects.samples[0] if rejects.samples else ""
    if not accepted:
        raise BTrDBError(f"no row could be stored; {first or 'the files have none'}")
    if rejected and not rejects.is_kept:
        raise BTrDBError(
            f"{rejected:,} of {accepted + rejected:,} rows were rejected, the first: {first}; "
            "`--rejected FILE` keeps them"
        )
    if cells and not rejects.is_kept:
        raise BTrDBError(
            f"{cells:,} cells were rejected, the first: {first}; `--rejected FILE` keeps them"
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

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    console = Console(stderr=True)
    sizes = [source.path.stat().st_size if source.can_resume else 0 for source in sources]
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
