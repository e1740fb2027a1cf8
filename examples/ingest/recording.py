"""COMTRADE recordings of a folder, each substation into a collection of its own.

    python -m ingest.recording localhost:4410 recordings --zone Europe/Vienna

`pingthings put fault.cfg` stores a single one. Here the station that a recording names says where
it goes, and those that cannot be read are listed at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pingthings.ingest.recording import RecordingError, read, store
from pingthings.timeseries import connect


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zone", default="UTC", help="of recorders that do not say")
    given = parser.parse_args()
    bad: list[RecordingError] = []
    with connect(endpoint=given.endpoint) as client:
        for file in sorted(given.folder.rglob("*")):
            if file.suffix.lower() not in {".cfg", ".cff"}:
                continue
            try:
                recording = read(file, zone=given.zone)
            except RecordingError as error:
                bad.append(error)
                continue
            points = store(client, f"recordings/{recording.station}", recording)
            print(f"{file}: {len(recording.channels)} channels, {points:,} points")
    for why in bad:
        print(f"not stored: {why}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(_main())
