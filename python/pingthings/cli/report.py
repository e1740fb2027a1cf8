"""What `put` says of files: how they were read, what is stored, what is not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pingthings.cli import instants
from pingthings.cli.ingestion import Ingestion
from pingthings.cli.output import print_json, shown
from pingthings.cli.targets import Target

__all__ = ["report", "report_left_out", "summary"]


def report(one: Ingestion, *, as_json: bool) -> None:
    """Prints what happened to a file."""
    kept = one.checkpoint
    found: dict[str, Any] = {
        "file": str(one.source.path),
        "rows": kept.accepted + kept.rejected,
        "accepted": kept.accepted,
        "rejected": kept.rejected,
        "rejected_cells": kept.rejected_cells,
        "empty_cells": kept.missing,
        "points": kept.points,
        "stored": kept.points - kept.replaced - kept.ignored,
        "replaced": kept.replaced,
        "ignored": kept.ignored,
        "collection": one.collection,
        "time": " and ".join(one.times) or None,
        "dry_run": one.options.dry_run,
        "resumed": kept.is_resumed,
        "notes": one.notes,
        "streams": [_stream(target) for target in one.targets.values()],
    }
    if one.options.dry_run:
        found["first_rows"] = [
            {"time": instants.as_text(row["time"]), "values": row["values"]} for row in one.preview
        ]
    if as_json:
        print_json(found)
    else:
        _print(found, one)


def _stream(target: Target) -> dict[str, Any]:
    return {
        "column": target.value.column,
        "type": target.value.kind,
        "collection": target.collection,
        "name": target.name,
        "unit": target.value.unit or (target.stream and target.stream.unit) or "",
        "uuid": None if target.stream is None else str(target.stream.uuid),
        "points": target.points,
        "replaced": target.replaced,
        "ignored": target.ignored,
        "first": None if target.first is None else instants.as_text(target.first),
        "last": None if target.last is None else instants.as_text(target.last),
    }


def report_left_out(nothing: dict[Path, str], *, as_json: bool) -> None:
    """Prints which files of folders have nothing in them."""
    for path, reason in nothing.items():
        if as_json:
            print_json({"file": str(path), "left_out": reason})
        else:
            _say(f"{reason}: it is left out")


def summary(every: list[Ingestion]) -> None:
    """Prints the sums over several files."""
    kept = [one.checkpoint for one in every]
    points = sum(one.points for one in kept)
    replaced, ignored = sum(one.replaced for one in kept), sum(one.ignored for one in kept)
    would = "would be " if every[0].options.dry_run else ""
    rows = _rows(sum(one.accepted for one in kept), sum(one.rejected for one in kept), would)
    print(f"{len(every):,} files: {rows}; {_points(points, replaced, ignored, would)}")


def _rows(accepted: int, rejected: int, would: str) -> str:
    return f"{accepted + rejected:,} rows, {accepted:,} {would}accepted, {rejected:,} rejected"


def _points(points: int, replaced: int, ignored: int, would: str) -> str:
    text = f"{points:,} points, {points - replaced - ignored:,} {would}stored"
    if replaced:
        text += f", {replaced:,} in place of others at the same time"
    if ignored:
        text += f", {ignored:,} left out as there are others at the same time"
    return text


def _print(found: dict[str, Any], one: Ingestion) -> None:
    would = "would be " if found["dry_run"] else ""
    cells = f", {found['rejected_cells']:,} cells rejected" if found["rejected_cells"] else ""
    _say(
        f"{found['file']}: {_rows(found['accepted'], found['rejected'], would)}{cells}, "
        f"{found['empty_cells']:,} empty cells"
    )
    if found["resumed"]:
        _say("  went on where it was interrupted; streams are counted from there")
    if one.times:
        several = "s" if len(one.times) > 1 else ""
        _say(f"  times from column{several} {' and '.join(f'`{name}`' for name in one.times)}")
    else:
        _say("  times are counted from the first row")
    if one.names is not None:
        _say(f"  names of streams from column `{one.names}`")
    for note in found["notes"]:
        _say(f"  {note}")
    for stream in found["streams"]:
        if stream["points"] or not one.values[0].is_open:
            _print_stream(stream)
    if found["dry_run"] and one.preview:
        _say("  the first rows would be stored as")
        for row in found["first_rows"]:
            values = ", ".join(f"{name} {value!r}" for name, value in row["values"].items())
            _say(f"    {row['time']}  {values}")
    _say(f"  {_points(found['points'], found['replaced'], found['ignored'], would)}")


def _say(text: str) -> None:
    # Names come from files, and may hold what a terminal obeys.
    print(shown(text))


def _print_stream(stream: dict[str, Any]) -> None:
    unit = f" [{stream['unit']}]" if stream["unit"] else ""
    where = stream["uuid"] or ("would be made" if stream["points"] else "not made")
    # All of a CSV file is text: that says nothing about what is stored.
    kind = "" if stream["type"] == "text" else f" ({stream['type']})"
    _say(
        f"  {stream['collection']}/{stream['name']}{unit}, {where}: column "
        f"`{stream['column']}`{kind}, {stream['points']:,} points"
        + (f", {stream['first']} to {stream['last']}" if stream["first"] else "")
    )
