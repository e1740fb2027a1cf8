"""Measures inserts, reads and small calls against the embedded server in a process of its own.

Where `btrdb` is installed it does the same work in turn, on the same server; ratios are medians of
the rounds. Run with `make bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa

START = 1_700_000_000_000_000_000
STEP = 1_000_000_000 // 30
KEY = "bench"

try:
    import btrdb
except ImportError:
    btrdb = None


class Work:
    """The same work for each client, on streams of its own."""

    def __init__(self, client: pt.Client, points: int, other: Any) -> None:
        self.client = client
        self.points = points
        self.other = other
        times = START + np.arange(points, dtype=np.int64) * STEP
        values = (60 + np.random.default_rng(7).normal(0, 0.01, points)).astype(np.float32)
        self.table = pa.table(
            [pa.array(times, pa.timestamp("ns", tz="UTC")), pa.array(values.astype(np.float64))],
            schema=pt.constants.RAW_F64_SCHEMA,
        )
        self.end = START + points * STEP
        self.stream = self.create("read")
        self.stream.insert(self.table)
        self.stream.flush()
        self.theirs: Any = None if other is None else other.stream_from_uuid(str(self.stream.uuid))

    def create(self, name: str) -> pt.Stream:
        return self.client.create(uuid4(), f"bench/{uuid4()}", {"name": name})

    def insert(self) -> None:
        self.create("insert").insert(self.table)

    def insert_theirs(self) -> None:
        stream = self.other.create(uuid4(), f"bench/{uuid4()}", tags={"name": "insert"})
        stream.arrow_insert(self.table)

    def read(self) -> None:
        assert self.stream.raw_values(START, self.end).num_rows == self.points

    def read_theirs(self) -> None:
        assert self.theirs.arrow_values(START, self.end).num_rows == self.points

    def windows(self) -> None:
        assert self.stream.windowed_values(START, self.end, STEP * 30).num_rows > 0

    def windows_theirs(self) -> None:
        assert self.theirs.arrow_windows(START, self.end, STEP * 30).num_rows > 0

    def small_calls(self) -> None:
        for _ in range(200):
            self.stream.get_latest_version()

    def small_calls_theirs(self) -> None:
        for _ in range(200):
            self.theirs.version()

    def concurrent_calls(self) -> None:
        stream = self.client.get_async_client().stream_from_uuid(self.stream.uuid)

        async def run() -> None:
            await asyncio.gather(*(stream.get_latest_version() for _ in range(1000)))

        asyncio.run(run())


def measure(ours: Callable[[], None], theirs: Callable[[], None] | None, rounds: int) -> Any:
    """Seconds of each in turn; the first round warms up and does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for place, work in enumerate((ours, theirs)):
            if work is None:
                continue
            begin = time.perf_counter()
            work()
            if number:
                times[place].append(time.perf_counter() - begin)
    return times


def serve(directory: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "pingthings", "serve", directory, "--port", "0"],
        env={**os.environ, "PINGTHINGS_SERVER_KEYS": KEY},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().split()[2].rstrip(",")


def report(name: str, amount: int, unit: str, times: Any) -> dict[str, Any]:
    """Prints one line and returns it as data."""
    row: dict[str, Any] = {"name": name, "unit": unit}
    for who, seconds in zip(("pingthings", "btrdb"), times, strict=True):
        if seconds:
            row[who] = amount / statistics.median(seconds)
    ratio = f"{row['pingthings'] / row['btrdb']:6.2f}" if "btrdb" in row else "      "
    theirs = f"{row['btrdb']:15,.0f}" if "btrdb" in row else " " * 15
    print(f"{name:34} {row['pingthings']:15,.0f} {theirs} {ratio}  {unit}")
    return row


def main() -> None:
    """Runs the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--smoke", action="store_true", help="once, on little data")
    parser.add_argument("--save", action="store_true", help="keep the results as JSON")
    options = parser.parse_args()
    points, rounds = (20_000, 1) if options.smoke else (2_000_000, 7)
    with tempfile.TemporaryDirectory() as directory:
        child, endpoint = serve(directory)
        try:
            with pt.connect(endpoint=endpoint, apikey=KEY) as client:
                other = None if btrdb is None else btrdb.connect(endpoint, apikey=KEY)
                rows = run(Work(client, points, other), rounds)
        finally:
            child.terminate()
            child.wait()
    if options.save:
        results = Path(__file__).parent.parent / "results"
        results.mkdir(exist_ok=True)
        about = {"python": platform.python_version(), "pingthings": pt.__version__}
        about["cpus"] = str(os.cpu_count())
        about["btrdb"] = "" if btrdb is None else btrdb.__version__
        text = json.dumps({"about": about, "points": points, "rows": rows}, indent=2)
        (results / "slice.json").write_text(text + "\n")


def run(work: Work, rounds: int) -> list[dict[str, Any]]:
    """Measures everything; both clients in turn where the other one is there."""
    both = work.other is not None
    n = work.points
    print(f"{'':34} {'pingthings':>15} {'btrdb':>15}  ratio")
    plan: list[tuple[str, int, str, Callable[[], None], Callable[[], None] | None]] = [
        ("insert from an Arrow table", n, "points/s", work.insert, work.insert_theirs),
        ("raw read to an Arrow table", n, "points/s", work.read, work.read_theirs),
        ("windows of 30 points", n // 30, "windows/s", work.windows, work.windows_theirs),
        ("small calls, one at a time", 200, "calls/s", work.small_calls, work.small_calls_theirs),
        ("small calls, 1,000 at once", 1000, "calls/s", work.concurrent_calls, None),
    ]
    return [
        report(name, amount, unit, measure(ours, theirs if both else None, rounds))
        for name, amount, unit, ours, theirs in plan
    ]


if __name__ == "__main__":
    main()
