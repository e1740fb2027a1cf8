"""What the options of `put` say, or why they say nothing."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from io import StringIO

import pyarrow as pa
import typer

from pingthings.cli import instants
from pingthings.cli.ingestion import Options
from pingthings.files.encodings import check_encoding
from pingthings.files.numbers import Notation
from pingthings.files.timeformat import TimeFormat
from pingthings.files.times import Ambiguous, Clock, TimeUnit, times
from pingthings.files.zones import zone_exists, zones_are_known
from pingthings.timeseries.utils.timez import currently_as_ns

__all__ = [
    "clock_of",
    "counted_of",
    "delimiter_of",
    "encoding_of",
    "names_of",
    "notation_of",
]

_LEAST_START = 10**17
"""Nanoseconds since 1970, in 1973: fewer are likely to be a year, or seconds."""


def delimiter_of(text: str | None) -> str | None:
    """Returns what parts cells."""
    if text is None:
        return None
    found = {"\\t": "\t", "tab": "\t", "space": " "}.get(text, text)
    if len(found) != 1:
        raise typer.BadParameter("give one character", param_hint="'--delimiter'")
    if not found.isascii() or found in '"\r\n\0':
        raise typer.BadParameter(
            f"{text!r} cannot part cells; give a character of ASCII, such as ;",
            param_hint="'--delimiter'",
        )
    return found


def encoding_of(name: str | None) -> str | None:
    """Returns the name that Python has for an encoding."""
    if name is None:
        return None
    try:
        return check_encoding(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--encoding'") from error


def names_of(text: str | None) -> tuple[str, ...]:
    """Returns names of columns."""
    if text is None:
        return ()
    try:
        rows = list(csv.reader(StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error:
        rows = []
    if len(rows) != 1 or not any(rows[0]):
        raise typer.BadParameter("give names with commas between", param_hint="'--names'")
    return tuple(rows[0])


def notation_of(decimal: str, thousands: str | None, missing: list[str]) -> Notation:
    """Returns how numbers are written."""
    if thousands is not None and (
        len(thousands) != 1 or thousands == decimal or thousands.isalnum() or thousands in "+-"
    ):
        raise typer.BadParameter(
            "give one character, which is no digit and not that of --decimal",
            param_hint="'--thousands'",
        )
    return Notation(decimal, thousands, tuple(missing))


def clock_of(
    zone: str | None,
    ambiguous: Ambiguous,
    unit: TimeUnit | None,
    form: str | None,
    start: str | None,
    step: str | None,
) -> Clock:
    """Returns how times are to be read."""
    if zone is not None and not zone_exists(zone):
        why = "" if zones_are_known() else "; this machine knows none: pip install tzdata"
        raise typer.BadParameter(f"there is no zone `{zone}`{why}", param_hint="'--time-zone'")
    if form is not None:
        try:
            TimeFormat(form)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="'--time-format'") from error
    if form is not None and unit is not None:
        raise typer.BadParameter("--time-format and --time-unit are both given; give one of them")
    if start is not None and step is None and unit in {None, "excel"}:
        raise typer.BadParameter(
            "give --time-step, or the --time-unit of a column of numbers",
            param_hint="'--time-start'",
        )
    clock = Clock(zone, ambiguous, unit, form)
    if start is None or step is not None:
        return clock
    return replace(clock, origin=_start_of(start, clock))


def _start_of(text: str, clock: Clock) -> int:
    """Returns when times begin to be counted: without a zone it is one of `--time-zone`."""
    hint = "'--time-start'"
    found = instants.parse(text, currently_as_ns(), "--time-start")
    if re.fullmatch(r"\s*[+-]?\d+\s*", text):
        if 0 < abs(found) < _LEAST_START:
            raise typer.BadParameter(
                f"{text!r} would be nanoseconds since 1970, so {instants.as_text(found)}; write it "
                "like 2024-01-01T12:00Z",
                param_hint=hint,
            )
        return found
    if clock.zone is None:
        return found
    # What has a zone, or is `now` or an offset from it, is the same in every zone.
    rule: Ambiguous = "reject" if clock.ambiguous == "infer" else clock.ambiguous
    (local,), bad = times(pa.array([text]), Clock(clock.zone, rule))
    if any("not understood" in why for why in bad.values()):
        return found
    for why in bad.values():
        raise typer.BadParameter(why, param_hint=hint)
    return int(local)


def counted_of(found: Options, start: str | None, step: str | None) -> Options:
    """The options with times that are counted from the first row, if they are."""
    if step is None:
        return found
    if start is None:
        raise typer.BadParameter("say when the first row was", param_hint="'--time-start'")
    if found.times or found.clock.unit is not None or found.clock.form is not None:
        raise typer.BadParameter(
            "times are either counted or in a column; leave --time, --time-unit and --time-format "
            "out",
            param_hint="'--time-step'",
        )
    return replace(
        found,
        start=_start_of(start, found.clock),
        step=instants.step(step),
    )
