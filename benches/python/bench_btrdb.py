"""Measures old programs: the same calls through `btrdb` and through `pingthings.btrdb`.

Each client works in a process of its own, in turn with the other (A B A B), against one embedded
server in a third. Ratios are medians over the rounds. Run with `make bench-btrdb`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
from pingthings.server import Server

PYTHON = Path(__file__).resolve().parents[2] / "python"
T = 1_500_000_000_000_000_000
STEP = 1_000_000_000 // 30
COLLECTION = "bench"
STREAMS = 16
CLIENTS = ("btrdb", "pingthings.btrdb")


def fill(endpoint: str, points: int) -> None:
    """Stores the same streams for both."""
    random = np.random.default_rng(1)
    with pt.connect(endpoint) as client:
        times = T + np.arange(points, dtype=np.int64) * STEP
        for number in range(STREAMS):
            stream = client.create(uuid4(), COLLECTION, {"name": f"s{number}", "unit": "volts"})
            stream.insert((times, random.normal(size=points)))
            stream.flush()


def cases(db: Any, streamset: Any, uuids: list[UUID], points: int) -> dict[str, Callable[[], Any]]:
    """What is measured, by what it is called on the page."""
    end = T + points * STEP
    stream = db.stream_from_uuid(uuids[0])
    few = T + points // 10 * STEP
    new = db.create(uuid4(), f"{COLLECTION}/{uuid4()}", {"name": "new"})
    pairs = [(T + k, float(k)) for k in range(points // 4)]

    def chosen() -> Any:
        return streamset([db.stream_from_uuid(uuid) for uuid in uuids])

    def within(last: int) -> Any:
        return chosen().filter(start=T, end=last)

    return {
        f"`stream.values`, {points:,} points": lambda: stream.values(T, end),
        f"`stream.arrow_values`, {points:,} points": lambda: stream.arrow_values(T, end),
        f"`to_dataframe`, {STREAMS} x {points // 10:,} points": lambda: within(few).to_dataframe(),
        f"`arrow_to_dataframe`, {STREAMS} x {points:,} points": lambda: within(
            end
        ).arrow_to_dataframe(),
        f"`aligned_windows(30)` `.to_dataframe`, {STREAMS} streams": lambda: (
            within(end).aligned_windows(30).to_dataframe()
        ),
        f"`windows` of 10 s `.arrow_to_dataframe`, {STREAMS} streams": lambda: (
            within(end).windows(10_000_000_000).arrow_to_dataframe()
        ),
        f"`earliest` of a set of {STREAMS}": lambda: chosen().earliest(),
        f"`filter(name=...)` of {STREAMS} uuids": lambda: chosen().filter(name="s3"),
        "`stream.nearest`, 100 times": lambda: [stream.nearest(T + k, 0) for k in range(100)],
        f"`stream.insert`, {len(pairs):,} pairs": lambda: new.insert(pairs),
    }


def contend(name: str, endpoint: str, points: int) -> None:
    """Prints the seconds of each case, the best of three."""
    warnings.simplefilter("ignore")
    client: Any = importlib.import_module(name)
    db = client.connect(endpoint)
    found = sorted(db.streams_in_collection(COLLECTION), key=lambda stream: str(stream.name))
    uuids = [stream.uuid for stream in found if stream.collection == COLLECTION]
    seconds: dict[str, float] = {}
    for case, call in cases(db, client.stream.StreamSet, uuids, points).items():
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
        seconds[case] = min(taken)
    print(json.dumps(seconds))


def measured(python: str, name: str, endpoint: str, points: int) -> dict[str, float]:
    command = [python, __file__, python, "--client", name, endpoint, "--points", str(points)]
    environ = os.environ | {"PYTHONPATH": str(PYTHON)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def compare(python: str, points: int, rounds: int) -> None:
    """Prints the table."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    with Server() as server:
        fill(server.endpoint, points)
        for number in range(rounds):
            for name in CLIENTS if number % 2 == 0 else CLIENTS[::-1]:
                taken[name].append(measured(python, name, server.endpoint, points))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {rounds} rounds\n")
    print("| call | `btrdb` | `pingthings.btrdb` | ratio |\n|---|---|---|---|")
    theirs, ours = taken.values()
    for case in theirs[0]:
        before, now = (statistics.median(each[case] for each in of) for of in (theirs, ours))
        ratio = statistics.median(
            old[case] / new[case] for old, new in zip(theirs, ours, strict=True)
        )
        print(f"| {case} | {before * 1e3:,.1f} ms | {now * 1e3:,.1f} ms | {ratio:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("python", help="that has the older client")
    parser.add_argument("--client", nargs=2, metavar=("NAME", "ENDPOINT"), help="internal")
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="little and once: that it runs")
    given = parser.parse_args()
    if given.client:
        name, endpoint = given.client
        contend(name, endpoint, given.points)
    elif given.smoke:
        compare(given.python, 1_000, 1)
    else:
        compare(given.python, given.points, given.rounds)


if __name__ == "__main__":
    main()
