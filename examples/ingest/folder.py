"""A folder of tables with a row for each point, CSV or Parquet, into streams.

    python -m ingest.folder localhost:4410 archive --collection pmu/{station}

A ledger says how far each file is stored; started again, the program goes on there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pingthings.ingest.folder import Columns, Ledger, Rejects, store
from pingthings.timeseries import connect


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--collection", required=True, help="{station} is what the path says")
    parser.add_argument("--time", default="time", help="the column of times")
    parser.add_argument("--name", default="name", help="the column of names of streams")
    parser.add_argument("--value", default="value", help="the column of values")
    parser.add_argument("--unit", default="", help="the unit of the streams")
    parser.add_argument("--ledger", type=Path, default=Path("ledger.json"))
    parser.add_argument("--rejected", type=Path, default=Path("rejected.csv"))
    given = parser.parse_args()
    columns = Columns(given.time, given.name, given.value, given.unit)
    ledger, rejects = Ledger.read(given.ledger), Rejects(given.rejected)
    with connect(endpoint=given.endpoint) as client:
        store(client, given.folder, given.collection, ledger, rejects, columns)
    rejects.close()
    for name, progress in ledger.files.items():
        print(f"{name}: {progress.rows:,} rows, {progress.rejected:,} of them rejected")


if __name__ == "__main__":
    _main()
