"""What every measuring process does: set up, do its work some times, say how long that took.

A process is given a job as JSON and prints its measurements as JSON. Only the work is timed, not
setting up, and not letting go of results.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

START = 1_500_000_000_000_000_000
STEP = 33_333_333
"""Nanoseconds between points, as the server of prepared answers has them."""

Job = dict[str, Any]
Work = Callable[[], Any]
Cases = Mapping[str, Callable[[Job], Work]]


def end(points: int) -> int:
    """The end of a range with this many points from START."""
    return START + points * STEP


def main(cases: Cases) -> None:
    """Does the job of the command line."""
    job: Job = json.loads(sys.argv[1])
    work = cases[job["case"]](job)
    base = memory_mb("VmHWM")
    seconds: list[float] = []
    cpu: list[float] = []
    notes: dict[str, float] = {}
    for _ in range(job["calls"]):
        begin, spent = time.perf_counter(), time.process_time()
        result = work()
        seconds.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - spent)
        if isinstance(result, dict):
            # A case may time the part that counts by itself.
            seconds[-1] = result.pop("seconds", seconds[-1])
            cpu[-1] = result.pop("cpu", cpu[-1])
            notes = result
        elif "rows" in job:
            assert rows(result) == job["rows"], (rows(result), job)
        del result
    peak = memory_mb("VmHWM")
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "base_mb": base, **notes}))


def rows(result: Any) -> int:
    """Rows of a table, of several, or of a list."""
    if isinstance(result, list):
        return sum(map(rows, result)) if hasattr(result[0], "num_rows") else len(result)
    return int(result.num_rows)


def memory_mb(kind: str) -> float:
    """What the kernel says of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))
