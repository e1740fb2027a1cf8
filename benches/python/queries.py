"""Windows over a recording in DuckDB over Parquet, and in SQLite: what is at hand otherwise."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from recording import arrays, table
from stopwatch import Job, Work, main

PART = 10_000_000


def parquet(job: Job) -> Work:
    """Windows of a Parquet file, which DuckDB has read before: the file is in the page cache."""
    path = Path(job["directory"]) / f"{job['points']}.parquet"
    if not path.exists():
        with pq.ParquetWriter(path, table(1).schema) as writer:
            for first in range(0, job["points"], PART):
                writer.write_table(table(min(PART, job["points"] - first), first))
    connection: Any = duckdb.connect()
    width = 1 << job["width"]
    query = f"""
        select epoch_ns(time) // {width} as w, min(value), avg(value), max(value), count(*),
               stddev_pop(value)
        from '{path}' group by w order by w
    """  # noqa: S608 - both are ours
    connection.execute(query).fetchall()
    return lambda: {"windows": len(connection.execute(query).fetchall())}


def sqlite(job: Job) -> Work:
    """The same in a table whose key is the time."""
    path = Path(job["directory"]) / f"{job['points']}.sqlite"
    fresh = not path.exists()
    connection = sqlite3.connect(path)
    if fresh:
        connection.execute("pragma journal_mode = off")
        connection.execute("create table points (time integer primary key, value real not null)")
        times, values = arrays(job["points"])
        rows = zip(times.tolist(), values.tolist(), strict=True)
        connection.executemany("insert into points values (?, ?)", rows)
        connection.commit()
    query = f"""
        select time / {1 << job["width"]} as w, min(value), avg(value), max(value), count(*),
               avg(value * value) - avg(value) * avg(value)
        from points group by w order by w
    """  # noqa: S608 - a number of ours
    return lambda: {"windows": len(connection.execute(query).fetchall())}


if __name__ == "__main__":
    main({"parquet": parquet, "sqlite": sqlite})
