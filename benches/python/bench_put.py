"""How fast `pingthings put` is, and the readers it could have been built on.

    python benches/python/bench_put.py            put of CSV and Parquet, wide, with a stray mark,
                                                  beside inserts of the same points out of memory
    python benches/python/bench_put.py readers    the same CSV file read by pyarrow, DuckDB, polars

Each measurement is a process of its own, so that its memory and the seconds of its processors are
known, which other programs on the machine change least; the server is one more.
`PUT_ROWS` is how many rows there are, ten million if it is not set.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pingthings.server import Server

ROWS = int(os.environ.get("PUT_ROWS", "10000000"))
BATCH_ROWS = 131_072
START = 1_704_067_200_000_000_000


def recording(folder: Path) -> None:
    """A time and three numbers, as CSV and as Parquet."""
    random = np.random.default_rng(1)
    times: Any = pa.array(START + np.arange(ROWS) * 33_333_000)
    columns: Any = {
        "time": times.cast(pa.timestamp("ns")),
        "voltage": np.round(random.normal(230, 5, ROWS), 3),
        "frequency": np.round(random.normal(50, 0.01, ROWS), 4),
        "power": np.round(random.normal(0, 90, ROWS), 3),
    }
    table: Any = pa.table(columns)
    pq.write_table(table, folder / "rows.parquet")
    texts = table["time"].cast(pa.timestamp("us")).cast(pa.string())
    options = pa.csv.WriteOptions(quoting_style="none")
    pa.csv.write_csv(table.set_column(0, "time", texts), folder / "rows.csv", options)


def wide(folder: Path, rows: int) -> Path:
    """Five thousand columns."""
    file = folder / f"wide-{rows}.csv"
    names = ",".join(f"c{k}" for k in range(5_000))
    cells = ",".join(f"{k % 97}.5" for k in range(5_000))
    with file.open("w", encoding="utf-8") as text:
        text.write(f"time,{names}\n")
        for row in range(rows):
            text.write(f"2024-01-01 00:{row // 60:02}:{row % 60:02},{cells}\n")
    return file


def stray(folder: Path, rows: int) -> Path:
    """A quotation mark that is never closed."""
    file = folder / f"stray-{rows}.csv"
    with file.open("w", encoding="utf-8") as text:
        text.write("time,value,note\n")
        for row in range(rows):
            note = '"12 pipe' if row == 5 else 'a "word"' if row % 2 else "ok"
            second, rest = divmod(row, 1_000)
            text.write(f"{START // 10**9 + second}.{rest:03},{row},{note}\n")
    return file


def measured(command: list[str], environ: dict[str, str]) -> tuple[float, float, int]:
    """Seconds, those of processors, and the most bytes of memory."""
    # A process begins with the memory of the one that starts it, which here may be a server.
    starter = [sys.executable, __file__, "start", *command]
    told = subprocess.run(starter, env=os.environ | environ, stdout=subprocess.PIPE, check=True)
    seconds, processors, memory = json.loads(told.stdout)
    return seconds, processors, memory


def start(command: list[str]) -> None:
    """Runs a command, and prints what it took."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command} failed")
    print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]))


def report(
    what: str, rows: int, seconds: float, processors: float, memory: int, server: float = 0.0
) -> None:
    print(
        json.dumps(
            {
                "what": what,
                "rows": rows,
                "seconds": round(seconds, 2),
                "processor_seconds": round(processors, 2),
                "server_processor_seconds": round(server, 2),
                "rows_per_second": round(rows / seconds),
                "rows_per_processor_second": round(rows / (processors + server)),
                "megabytes": memory >> 20,
            }
        ),
        flush=True,
    )


def put(file: Path, rows: int, what: str, *options: str) -> None:
    command = [sys.executable, "-m", "pingthings", "put", str(file), "--collection", "bench"]
    against_server(what, rows, [*command, "--rejected", os.devnull, *options])


def against_server(what: str, rows: int, command: list[str]) -> None:
    """Runs a command beside a server in this process, whose seconds are told, too."""
    with Server() as server:
        before = time.process_time()
        seconds, processors, memory = measured(command, {"BTRDB_ENDPOINTS": server.endpoint})
        used = time.process_time() - before
    report(what, rows, seconds, processors, memory, used)


def insert(file: str) -> None:
    """Inserts the rows of a Parquet file with nothing between it and the client."""
    batches = pq.ParquetFile(file).iter_batches(BATCH_ROWS)
    with pt.connect(os.environ["BTRDB_ENDPOINTS"]) as client:
        names: list[str] = pq.read_schema(file).names[1:]
        streams = [client.create(uuid4(), "bench", {"name": name}) for name in names]
        for batch in batches:
            pairs = zip(streams, batch.columns[1:], strict=True)
            data: Any = {
                stream.uuid: pa.table([batch.columns[0], column], ["time", "value"])
                for stream, column in pairs
            }
            pt.StreamSet(streams).insert(data, "replace")


def read(reader: str, file: str) -> None:
    """Reads a file to its end, in pieces."""
    rows = 0
    if reader == "pyarrow":
        from pingthings.files.open import open_source  # noqa: PLC0415 - what is not measured

        source = open_source(Path(file))
        rows = sum(block.table.num_rows for block in source.blocks(source.columns, source.start))
    elif reader == "duckdb":
        import duckdb  # noqa: PLC0415

        query = f"SELECT * FROM read_csv('{file}', store_rejects=true)"  # noqa: S608 - our own
        batches: Any = duckdb.connect().execute(query).to_arrow_reader(100_000)
        rows = sum(batch.num_rows for batch in batches)
    else:
        import polars as pl  # noqa: PLC0415

        frame: Any = pl.scan_csv(file, try_parse_dates=True)
        rows = sum(batch.height for batch in frame.collect_batches(chunk_size=100_000))
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)


def main() -> None:
    if sys.argv[1:2] == ["read"]:
        read(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["start"]:
        start(sys.argv[2:])
        return
    if sys.argv[1:2] == ["insert"]:
        insert(sys.argv[2])
        return
    if sys.argv[1:2] == ["make"]:
        recording(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Made elsewhere: a process begins with the memory of the one that starts it.
        subprocess.run([sys.executable, __file__, "make", name], check=True)
        csv, parquet = folder / "rows.csv", folder / "rows.parquet"
        if sys.argv[1:] == ["readers"]:
            for reader in ("pyarrow", "duckdb", "polars"):
                command = [sys.executable, __file__, "read", reader, str(csv)]
                report(reader, ROWS, *measured(command, {}))
            return
        straight = [sys.executable, __file__, "insert", str(parquet)]
        against_server("inserts out of Arrow", ROWS, straight)
        put(csv, ROWS, "CSV, dry run", "--dry-run")
        put(csv, ROWS, "CSV")
        put(parquet, ROWS, "Parquet, dry run", "--dry-run")
        put(parquet, ROWS, "Parquet")
        for rows in (500, 1_000):
            put(wide(folder, rows), rows, "5,000 columns")
        for rows in (500_000, 1_000_000):
            put(stray(folder, rows), rows, "a stray quotation mark", "--time-unit", "s")


if __name__ == "__main__":
    main()
