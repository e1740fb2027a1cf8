"""What is measured, by whom, and what has to be reached. Sizes are divided for a smoke run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from goals import OURS, Goal, below, faster, less, rate

BTRDB = "btrdb"
FLIGHT = "flight"
AIO = "grpc.aio"


@dataclass(frozen=True)
class Run:
    """A contender: a script and its job. `server` says which port it is given."""

    who: str
    script: str
    case: str
    server: str = "small"
    job: dict[str, Any] = field(default_factory=dict[str, Any])
    calls: int = 4

    @property
    def is_older(self) -> bool:
        """Whether it runs in the environment of the older client."""
        return self.script in {"older", "aio", "queries"}


@dataclass(frozen=True)
class Row:
    """A line of the report."""

    name: str
    runs: tuple[Run, ...]
    goals: tuple[Goal, ...] = ()
    rounds: int = 5


def pair(case: str, server: str, job: dict[str, Any], older: str = "", calls: int = 4) -> list[Run]:
    """The same in both clients."""
    return [
        Run(OURS, "ours", case, server, job, calls),
        Run(BTRDB, "older", older or case, server, job, calls),
    ]


def rows(divisor: int = 1) -> list[Row]:
    """All rows, with amounts divided."""
    return [
        make(max(1, divisor))
        for make in (
            raw_small,
            raw_large,
            to_numpy,
            to_polars,
            raw_points,
            raw_gzip,
            one_of_set_size,
            joined,
            windows,
            windows_set,
            insert,
            insert_tuples,
            concurrent_calls,
            metadata_set,
            single_calls,
            imports,
            iterate,
        )
    ]


def raw(server: str, batch: int, d: int) -> list[Run]:
    job = {"rows": 10_000_000 // d, "batch": batch}
    return [*pair("raw", server, job), Run(FLIGHT, "flight", "raw", "flight", job)]


def raw_small(d: int) -> Row:
    goals = (faster(BTRDB, 3, "first"), faster(BTRDB, 4), faster(FLIGHT, 1.1))
    return Row("raw read, messages of 5,000 rows", tuple(raw("small", 5_000, d)), goals)


def raw_large(d: int) -> Row:
    goals = (faster(BTRDB, 1.3, "first"), faster(BTRDB, 1.3), faster(FLIGHT, 1))
    return Row("raw read, messages of 65,536 rows", tuple(raw("large", 65_536, d)), goals)


def to_numpy(d: int) -> Row:
    run = Run(OURS, "ours", "to_numpy", "small", {"rows": 10_000_000 // d})
    return Row("that result to numpy", (run,), (below("time", 2, "ms", "first"),))


def to_polars(d: int) -> Row:
    run = Run(OURS, "ours", "to_polars", "small", {"rows": 10_000_000 // d})
    return Row("that result to polars", (run,), (below("time", 2, "ms"),))


def raw_points(d: int) -> Row:
    ours = Run(OURS, "ours", "raw", "points", {"rows": 10_000_000 // d}, 3)
    theirs = Run(BTRDB, "older", "raw_points", "points", {"rows": 10_000_000 // d}, 1)
    goals = (faster(BTRDB, 40, "first"), less("memory", BTRDB, 5))
    return Row("raw read, server without Arrow", (ours, theirs), goals, rounds=2)


def raw_gzip(d: int) -> Row:
    job = {"rows": 10_000_000 // d}
    goals = (faster(BTRDB, 3, "first"), faster(BTRDB, 3))
    return Row("raw read, gzip", tuple(pair("raw", "gzip", job)), goals, rounds=3)


def one_of_set_size(d: int) -> Row:
    job = {"streams": max(10, 1_000 // d)}
    job["rows"] = job["streams"] * 10_000
    single = Run("one stream", "ours", "raw", "small", {"rows": job["rows"]})
    ours, theirs = pair("raw_set", "small", job, "raw_loop")
    goals = (
        faster(BTRDB, 6),
        # As long as one stream of the same size takes, and a third more at most.
        replace(faster("one stream", 1 / 1.3), text="repeated, against one stream"),
    )
    return Row("1,000 streams x 10,000 points", (ours, theirs, single), goals)


def joined(d: int) -> Row:
    job = {"streams": max(10, 1_000 // d), "rows": 10_000}
    goals = (faster(BTRDB, 3, "first"), faster(BTRDB, 3))
    return Row("joined read of these", tuple(pair("joined", "small", job)), goals)


def windows(d: int) -> Row:
    job = {"rows": 1_000_000 // d, "width": 30}
    goals = (faster(BTRDB, 3.5, "first"), faster(BTRDB, 3.5))
    return Row("1,000,000 windows", tuple(pair("windows", "small", job)), goals)


def windows_set(d: int) -> Row:
    job = {"streams": max(10, 1_000 // d), "width": 30}
    job["rows"] = job["streams"] * (10_000 if d == 1 else 1_000)
    ours, theirs = pair("windows_set", "small", job, calls=3)
    theirs = replace(theirs, calls=1, job={**job, "rows": job["rows"]})
    return Row("1,000 streams x 10,000 windows", (ours, theirs), (faster(BTRDB, 6, "first"),), 2)


def insert(d: int) -> Row:
    job = {"points": 10_000_000 // d}
    runs = (*pair("insert", "small", job), Run(FLIGHT, "flight", "insert", "flight", job))
    goals = (faster(BTRDB, 2, "first"), faster(BTRDB, 2), faster(FLIGHT, 1))
    return Row("insert of an Arrow table", runs, goals)


def insert_tuples(d: int) -> Row:
    job = {"points": 1_000_000 // d}
    runs = tuple(pair("insert_tuples", "small", job, calls=2))
    return Row("insert of 1,000,000 tuples", runs, (faster(BTRDB, 20),), 3)


def concurrent_calls(d: int) -> Row:
    job = {"requests": max(64, 6_400 // d), "at_once": 64}
    runs = (
        *pair("concurrent_calls", "small", job, calls=3),
        Run(AIO, "aio", "concurrent_calls", "small", job, 3),
    )
    return Row("small calls, 64 in flight", runs, (faster(AIO, 2), faster(BTRDB, 4)))


def metadata_set(d: int) -> Row:
    job = {"streams": max(10, 1_000 // d)}
    goals = (faster(BTRDB, 6),)
    return Row("metadata and latest of 1,000", tuple(pair("metadata_set", "small", job)), goals)


def single_calls(d: int) -> Row:
    job = {"requests": max(20, 2_000 // d)}
    goals = (less("p50_us", BTRDB, 2), less("CPU", BTRDB, 4))
    return Row("one small call at a time", tuple(pair("single_calls", "small", job)), goals)


def imports(_divisor: int) -> Row:
    ours = Run(OURS, "ours", "imports", job={"text": "import pingthings.timeseries"})
    arrow = Run("pyarrow", "ours", "imports", job={"text": "import pyarrow"})
    goal = Goal(
        "above pyarrow, at most",
        lambda m: 1e3 * (min(m[OURS]["seconds"]) - min(m["pyarrow"]["seconds"])),
        100,
        "ms",
        at_most=True,
    )
    return Row("import", (ours, arrow), (goal,), 3)


def iterate(d: int) -> Row:
    job = {"points": 100_000_000 // d, "pause": 0.0005}
    run = Run(OURS, "ours", "iterate", "small", job, 1)
    return Row("iterate 100 million, slowly", (run,), (below("peak_mb", 300, "MB"),), 1)


def embedded(divisor: int) -> list[Row]:
    """Rows on the embedded server, which has been filled; see `fillings`."""
    d = max(1, divisor)
    long, short = fillings(d)
    ingest = {"points": max(100_000, 10_000_000 // d), "streams": max(10, 1_000 // d)}
    windows = {**long, "width": 41 if d == 1 else 31}
    parquet = Run("duckdb", "queries", "parquet", "none", windows, 2)
    small = Run("sqlite, a tenth", "queries", "sqlite", "none", {**windows, **short}, 2)
    served = Run(OURS, "ours", "served_windows", "server", windows, 20)

    def run(case: str, job: dict[str, Any]) -> Run:
        return Run(OURS, "ours", case, "server", job, 3)

    return [
        Row(
            "server: ingest, 1,000 streams",
            (run("ingest_set", ingest),),
            (rate(ingest["points"], 3, "M/s"),),
            3,
        ),
        Row(
            "server: raw read",
            (run("served_raw", short),),
            (rate(short["points"], 20, "M/s"),),
            3,
        ),
        Row(
            "server: 1,500 windows of 100 million",
            (served, parquet, small),
            (below("time", 5, "ms"), faster("duckdb", 20)),
            2,
        ),
    ]


def fillings(d: int) -> list[dict[str, Any]]:
    """Streams of the embedded server: one for windows, one to read."""
    return [
        {"stream": 1, "points": 100_000_000 // d},
        {"stream": 2, "points": 10_000_000 // d},
    ]
