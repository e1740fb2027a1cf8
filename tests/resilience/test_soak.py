"""For an hour everything at once: what the processes take up stays what it was.

`PINGTHINGS_SOAK_MINUTES` says for how long.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from resilience.fault_run import FaultRun

MINUTES = float(os.environ.get("PINGTHINGS_SOAK_MINUTES", "60"))
SEED = int(os.environ.get("PINGTHINGS_FAULT_SEED", "1"))
WARM_UP = 1 / 3
# A server lets a thread that worked on calls go once it had nothing to do for ten seconds. What it
# does every second, by all of them in turn, keeps some of them.
OFTEN_USED = 12
SETTLE_S = 60


@dataclass(frozen=True)
class Sample:
    minutes: float
    rss_mb: float
    threads: int
    file_descriptors: int


class Watch:
    """Samples a process about once a second, when it is asked."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._samples: list[Sample] = []
        self._last = 0.0
        self._threads_at_rest: list[int] = []

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._began) / 60

    def look(self, process: psutil.Process) -> None:
        if time.monotonic() - self._last < 1:
            return
        self._last = time.monotonic()
        rss = process.memory_info().rss / (1 << 20)
        self._samples.append(Sample(self.minutes, rss, process.num_threads(), process.num_fds()))

    async def rest(self, process: psutil.Process) -> None:
        """Notes how many threads are left where nothing is called, before all and after all."""
        before = self._threads_at_rest[:1]
        deadline = time.monotonic() + SETTLE_S
        most = before[0] + OFTEN_USED if before else process.num_threads()
        while process.num_threads() > most and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self._threads_at_rest.append(process.num_threads())

    def figures(self) -> dict[str, float]:
        """What became of it after the first part, in which caches fill."""
        end = self._samples[-1].minutes
        warm = [sample for sample in self._samples if sample.minutes > end * WARM_UP]
        middle = len(warm) // 2
        slope, _ = statistics.linear_regression(
            [sample.minutes for sample in warm], [sample.rss_mb for sample in warm]
        )
        found = {
            "samples": len(warm),
            "rss_mb": round(statistics.mean(sample.rss_mb for sample in warm), 1),
            "rss_mb_per_minute": round(slope, 3),
        }
        for name in ("threads", "file_descriptors"):
            values = [getattr(sample, name) for sample in warm]
            found[f"{name}_before"] = statistics.median(values[:middle])
            found[f"{name}_after"] = statistics.median(values[middle:])
        if self._threads_at_rest:
            found["threads_at_rest_before"] = self._threads_at_rest[0]
            found["threads_at_rest_after"] = self._threads_at_rest[-1]
        return found


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_nothing_grows(tmp_path: Path, say: Callable[[str], None]) -> None:
    run = FaultRun(tmp_path, SEED, say, is_steady=True)
    client, server = Watch(), Watch()
    own = psutil.Process()

    def is_over(_faults: int) -> bool:
        client.look(own)
        server.look(psutil.Process(run.server_pid))
        return client.minutes >= MINUTES

    async def at_rest() -> None:
        await server.rest(psutil.Process(run.server_pid))

    await run.run(is_over, at_rest)
    say(run.report())
    for name, watch in (("client and tests", client), ("server", server)):
        say(json.dumps({"what": "soak", "process": name, **watch.figures()}))
    for watch in (client, server):
        found = watch.figures()
        # What counts is growth that goes on; over a short run the slope is mostly noise.
        assert found["rss_mb_per_minute"] < found["rss_mb"] * 0.1 / max(MINUTES * (1 - WARM_UP), 5)
        assert found["file_descriptors_after"] <= found["file_descriptors_before"] + 4
    # A server under load has as many threads as it once had calls at the same time.
    busy, idle = client.figures(), server.figures()
    assert busy["threads_after"] <= busy["threads_before"] + 2
    assert idle["threads_at_rest_after"] <= idle["threads_at_rest_before"] + OFTEN_USED
