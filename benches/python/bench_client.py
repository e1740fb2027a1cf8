"""Measures the client, and the embedded server, beside what there is otherwise.

Every contender works in a process of its own, in turn with the others (A B A B), against a server
of prepared answers in a third one. Ratios are medians over the rounds. Run with `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pingthings
import pyarrow as pa
from cases import Row, Run, embedded, fillings, rows
from goals import OURS, seconds

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = HERE.parent / "results"
DIVISOR = 1_000
"""How many times smaller a smoke run is."""


@dataclass
class Bench:
    """Where everything is, and what was measured."""

    peers: str
    directory: str
    ports: dict[str, int] = field(default_factory=dict[str, int])
    results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def measure(self, run: Run, number: int) -> dict[str, Any]:
        """What one contender says in one process."""
        job = {
            **run.job,
            "case": run.case,
            "calls": run.calls,
            "round": number,
            "directory": self.directory,
            "port": self.ports.get(run.server, 0),
            "flight": self.ports.get("flight", 0),
        }
        python = self.peers if run.is_older else sys.executable
        done = subprocess.run(
            [python, HERE / f"{run.script}.py", json.dumps(job)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured

    def row(self, row: Row, rounds: int) -> None:
        """Measures a row, prints it, keeps it. A row that is measured once shows that it runs."""
        if rounds > 1 and row.runs[0].server in {"small", "large", "points", "gzip"}:
            # What the server has to make, it makes before the first round.
            self.measure(row.runs[0], -1)
        measured: list[dict[str, dict[str, Any]]] = []
        for number in range(rounds):
            order = row.runs if number % 2 == 0 else row.runs[::-1]
            measured.append({run.who: self.measure(run, number) for run in order})
        self.results.append(report(row, measured))


def report(row: Row, measured: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Prints what was measured, and gives it as data."""
    print(f"{row.name}  (rounds: {len(measured)})")
    contenders: dict[str, Any] = {}
    for run in row.runs:
        mine = [one[run.who] for one in measured]
        contenders[run.who] = {
            "first_s": statistics.median(seconds(m, "first") for m in mine),
            "repeated_s": statistics.median(seconds(m, "repeated") for m in mine),
            "cpu_s": statistics.median(statistics.median(m["cpu"]) for m in mine),
            "peak_mb": statistics.median(m["peak_mb"] for m in mine),
            "grown_mb": statistics.median(m["peak_mb"] - m["base_mb"] for m in mine),
        }
        c = contenders[run.who]
        print(
            f"    {run.who:16} first {c['first_s']:9.4f} s   repeated {c['repeated_s']:9.4f} s   "
            f"CPU {c['cpu_s']:8.4f} s   memory {c['peak_mb']:6.0f} MB"
        )
    goals = []
    for goal in row.goals if len(measured) > 1 or row.rounds == 1 else ():
        values = [goal.value(one) for one in measured]
        reached = statistics.median(values)
        met = goal.is_met(reached)
        cpu = None if goal.cpu is None else statistics.median(map(goal.cpu, measured))
        spread = f"({min(values):.2f} .. {max(values):.2f})"
        print(
            f"  {'ok ' if met else 'NOT'} {goal.text:28} target {goal.limit:7.2f} {goal.unit:3}"
            f"  reached {reached:8.2f} {spread:18}{'' if cpu is None else f' CPU {cpu:.2f}'}"
        )
        goals.append(
            {
                "text": goal.text,
                "target": goal.limit,
                "unit": goal.unit,
                "reached": reached,
                "cpu": cpu,
                "values": values,
                "met": met,
            }
        )
    return {"name": row.name, "contenders": contenders, "goals": goals, "rounds": measured}


@contextmanager
def process(*command: str | Path, environment: Mapping[str, str] = {}) -> Iterator[str]:
    """A server that ends with its standard input or when it is told; gives its first line."""
    with subprocess.Popen(
        [*map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline()
        finally:
            child.terminate()


def replay_server() -> Path:
    """The server of prepared answers, built."""
    build = "cargo build --release --locked --quiet -p pingthings-benches --bin replay"
    subprocess.run(build.split(), cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "replay"


def measure_client(bench: Bench, divisor: int, rounds: int, only: str) -> None:
    """Everything against prepared answers."""
    with ExitStack() as stack:
        line = stack.enter_context(process(replay_server()))
        bench.ports |= json.loads(line)
        line = stack.enter_context(process(sys.executable, HERE / "flight.py", "serve"))
        bench.ports["flight"] = int(line)
        for row in rows(divisor):
            if only in row.name:
                bench.row(row, min(rounds, row.rounds))


def measure_server(bench: Bench, divisor: int, rounds: int, only: str) -> None:
    """Everything on the embedded server, which stores on disk and syncs each insert."""
    wanted = [row for row in embedded(divisor) if only in row.name]
    if not wanted:
        return
    serve = (sys.executable, "-m", "pingthings", "serve", Path(bench.directory) / "store")
    with process(*serve, "--port", "0", environment={"PINGTHINGS_SERVER_KEYS": "bench"}) as line:
        bench.ports["server"] = int(line.split()[2].rstrip(",").rpartition(":")[2])
        for filling in fillings(divisor):
            bench.measure(Run(OURS, "ours", "fill", "server", filling, 1), 0)
        for row in wanted:
            bench.row(row, min(rounds, row.rounds))


def about() -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "pingthings": pingthings.__version__,
    }


def main() -> None:
    """Runs the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("peers", help="interpreter that has btrdb, grpcio and duckdb")
    parser.add_argument("--smoke", action="store_true", help="each once, on little data")
    parser.add_argument("--rounds", type=int, default=5, help="at most so many (default: 5)")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    options = parser.parse_args()
    divisor, rounds = (DIVISOR, 1) if options.smoke else (1, options.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(options.peers, directory)
        try:
            measure_client(bench, divisor, rounds, options.only)
            measure_server(bench, divisor, rounds, options.only)
        finally:
            if not options.smoke:
                write(bench.results)


def write(results: list[dict[str, Any]]) -> None:
    """Keeps all that was measured, also when something failed on the way."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps({"about": about(), "rows": results}, indent=2))
    print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
