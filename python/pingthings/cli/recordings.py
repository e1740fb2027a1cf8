"""COMTRADE recordings among the files of `pingthings put`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pingthings.cli import instants
from pingthings.cli.output import print_json, shown
from pingthings.files.columns import unfit
from pingthings.ingest.recording import Recording, RecordingError, Scaling, read, store
from pingthings.timeseries.client import Client, StreamSet

__all__ = ["Handling", "check_whole", "parted", "put_recordings"]

_ALONE = ".cff"
_DESCRIPTION = ".cfg"
_DATA = ".dat"
_COUNTS = re.compile(rb"[\r\n]\s*\d+\s*,\s*\d+\s*[Aa]\s*,\s*\d+\s*[Dd]")
"""How a description counts its channels."""
_BESIDE = {_ALONE, _DESCRIPTION, _DATA, ".hdr", ".inf"}


@dataclass(frozen=True)
class Handling:
    """How recordings are stored."""

    collection: str | None
    """`{station}` and `{device}` are what the recording says; None is the name of the file."""
    zone: str | None
    ambiguous: Literal["earlier", "later", "reject"]
    scaling: Scaling
    encoding: str | None
    """Of the names; None finds it."""
    merge: Literal["replace", "retain", "equal", "never"]
    dry_run: bool
    as_json: bool


def parted(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the recordings among files and folders, and the rest.

    A recording is a `.cff` file, or a `.cfg` or `.dat` file with the other one beside it; both
    count once. A folder that holds nothing else is not among the rest.
    """
    recordings: dict[tuple[Path, str], Path] = {}
    rest: list[Path] = []
    for path in files:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        own = {_key(one): one for one in inside if one.is_file() and _is_recording(one)}
        recordings |= own
        others = [one for one in inside if one.is_file() and _key(one) not in own]
        if not own or (path.is_dir() and others):
            rest.append(path)
    return list(recordings.values()), rest


def _key(path: Path) -> tuple[Path, str]:
    return path.parent, path.stem.casefold() if path.suffix.lower() in _BESIDE else path.name


def _is_recording(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix == _ALONE:
        return True
    wanted = {_DESCRIPTION: _DATA, _DATA: _DESCRIPTION}.get(suffix)
    return wanted is not None and any(
        one.suffix.lower() == wanted and one.stem.casefold() == path.stem.casefold()
        for one in path.parent.iterdir()
    )


def check_whole(files: Iterable[Path]) -> None:
    """Refuses descriptions of recordings without their data, which are no tables.

    Raises:
        RecordingError: One is among the files.
    """
    for path in files:
        if path.suffix.lower() != _DESCRIPTION or not path.is_file():
            continue
        with path.open("rb") as file:
            if _COUNTS.search(file.read(4_096).replace(b"\0", b"")):
                raise RecordingError(
                    f"`{path}` describes a recording, whose data, `{path.stem}{_DATA}`, are not in "
                    "the same folder"
                )


def put_recordings(client: Client, files: Iterable[Path], handling: Handling) -> None:
    """Stores recordings, and says of each what became of it.

    Raises:
        RecordingError: One cannot be read; those before it are stored.
    """
    for path in files:
        recording = read(
            path,
            zone=handling.zone or "UTC",
            scaling=handling.scaling,
            encoding=handling.encoding,
            ambiguous=handling.ambiguous,
        )
        for channel in recording.channels:
            if (why := unfit(channel.name)) is not None:
                raise RecordingError(
                    f"channel `{channel.name[:40]}…` of `{path}` cannot name a stream: it {why}"
                )
        pattern = handling.collection or path.stem
        collection = pattern.replace("{station}", recording.station).replace(
            "{device}", recording.device
        )
        found = _facts(path, collection, recording)
        found["dry_run"] = handling.dry_run
        if not handling.dry_run:
            before = _count(client, collection, recording)
            points = store(client, collection, recording, merge=handling.merge)
            met = before + points - _count(client, collection, recording)
            found["stored"] = points - met
            found["replaced" if handling.merge == "replace" else "ignored"] = met
        if handling.as_json:
            print_json(found)
        else:
            _print(found)


def _count(client: Client, collection: str, recording: Recording) -> int:
    """How many points the streams of a recording have in its time."""
    names = {channel.name for channel in recording.channels}
    whole = [channel.times for channel in recording.channels if len(channel.times)]
    there = client.streams_in_collection(collection, is_collection_prefix=False)
    streams = StreamSet([stream for stream in there if stream.name in names])
    if not whole or not len(streams):
        return 0
    first, last = min(int(times[0]) for times in whole), max(int(times[-1]) for times in whole)
    return sum(streams.count(first, last + 1).values())


def _facts(path: Path, collection: str, recording: Recording) -> dict[str, Any]:
    points = sum(len(channel.times) for channel in recording.channels)
    return {
        "file": str(path),
        "recording": True,
        "station": recording.station,
        "device": recording.device,
        "start": instants.as_text(recording.start),
        "trigger": instants.as_text(recording.trigger),
        "samples": recording.samples,
        "declared": recording.declared,
        "points": points,
        "stored": points,
        "replaced": 0,
        "ignored": 0,
        "collection": collection,
        "streams": [
            {"name": channel.name, "unit": channel.unit, "points": len(channel.times)}
            for channel in recording.channels
        ],
    }


def _print(found: dict[str, Any]) -> None:
    would = "would be " if found["dry_run"] else ""
    first = (
        f"{found['file']}: a recording of {found['station']}, {found['samples']:,} samples from "
        f"{found['start']}; {found['points']:,} points, {found['stored']:,} {would}stored"
    )
    if found["replaced"]:
        first += f", {found['replaced']:,} in place of others at the same time"
    if found["ignored"]:
        first += f", {found['ignored']:,} left out as there are others at the same time"
    lines = [first]
    if found["samples"] < found["declared"]:
        lines.append(f"  it ends after {found['samples']:,} of {found['declared']:,} samples")
    if found["samples"] > found["declared"] > 0:
        lines.append(f"  it has more than the {found['declared']:,} samples it speaks of")
    for stream in found["streams"]:
        unit = f" [{stream['unit']}]" if stream["unit"] else ""
        lines.append(f"  {found['collection']}/{stream['name']}{unit}, {stream['points']:,} points")
    for line in lines:
        print(shown(line))
    sys.stdout.flush()
