"""Every call of both clients ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import psutil
import pytest
from pingthings.server import Server
from resilience.calls import (
    ASKING,
    ASKING_ONCE,
    ASYNC,
    SILENT,
    SYNC,
    Subject,
    asynchronous_calls,
    awaited,
    members,
)
from resilience.faulty_server import FaultyServer
from resilience.proxy import HEADERS, RST_STREAM, Proxy

HANG_S = 60
ROUNDS_LONG = 20
CANCELLED = 500
CANCELLED_LONG = 10_000
CHANNELS = 7  # four for reads, two for what must not be repeated, one for iterators
TESTS = Path(__file__).parent.parent

Say = Callable[[str], None]


def figures(what: str, waits: list[float]) -> str:
    """Milliseconds that waits took, as JSON."""
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    found = {"p50": cuts[49], "p99": cuts[98], "max": max(waits)}
    milliseconds = {f"{name}_ms": round(wait * 1_000, 1) for name, wait in found.items()}
    return json.dumps({"what": what, "calls": len(waits), **milliseconds})


def test_the_tables_know_every_call() -> None:
    known = ASKING.keys() | ASKING_ONCE.keys() | SILENT
    assert members(*SYNC) | members(*ASYNC) == known, "enter it in one table of calls.py"
    assert not (ASKING.keys() | ASKING_ONCE.keys()) & SILENT


def interrupt_every_call(server: Server, stream: pt.Stream, rounds: int) -> list[float]:
    program = [sys.executable, "-W", "error", "-m", "resilience.interrupting"]
    done = subprocess.run(
        [*program, server.endpoint, str(stream.uuid), str(rounds)],
        capture_output=True,
        text=True,
        timeout=HANG_S * (rounds + 5),
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    waits = json.loads(done.stdout)
    return [wait for each in waits.values() for wait in each]


@pytest.mark.timeout(600)
def test_ctrl_c_ends_every_blocking_call(server: Server, stream: pt.Stream, say: Say) -> None:
    say(figures("Ctrl-C", interrupt_every_call(server, stream, 1)))


@pytest.mark.long
@pytest.mark.timeout(0)
def test_ctrl_c_ends_every_blocking_call_soon(server: Server, stream: pt.Stream, say: Say) -> None:
    say(figures("Ctrl-C", interrupt_every_call(server, stream, ROUNDS_LONG)))


@pytest.mark.timeout(600)
async def test_cancelling_ends_every_asynchronous_call(
    proxy: Proxy, stream: pt.Stream, say: Say
) -> None:
    waits = []
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        for name, call in asynchronous_calls().items():
            proxy.hold()
            asked, resets = proxy.frames[HEADERS], proxy.frames[RST_STREAM]
            subject = Subject.of(client, stream.uuid, proxy.endpoint)
            task = asyncio.create_task(awaited(call, subject))
            assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, asked + 1), name
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, HANG_S)
            if name != "Client.connect":  # which ends its whole connection
                reset = await asyncio.to_thread(proxy.wait_for_frames, RST_STREAM, resets + 1)
                assert reset, f"{name} goes on"
                waits.append(proxy.reset_times[-1] - began)
            proxy.release()
            assert (await client.info())["major_version"] == 5, name
    say(figures("cancel to RST_STREAM", waits))


async def cancel_at_random(proxy: Proxy, client: pt.AsyncClient, uuid: UUID, count: int) -> None:
    """Cancels so many calls at every stage, some of them without a hope of an answer."""
    chance = random.Random(count)  # noqa: S311 - not for cryptography
    # Pictures that are drawn after all leave what the library that draws them keeps.
    calls = [call for name, call in asynchronous_calls().items() if not name.endswith(".plot")]
    left = count
    while left > 0:
        if chance.random() < 0.5:
            proxy.hold()
        subject = Subject.of(client, uuid, proxy.endpoint)
        tasks = [
            asyncio.create_task(awaited(chance.choice(calls), subject))
            for _ in range(min(left, 50))
        ]
        left -= len(tasks)
        for task in tasks:
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() / 200)
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG_S)
        # Some were answered before; a connection that was made is one to end.
        for result in done:
            if isinstance(result, pt.AsyncClient):
                await result.close()
        proxy.release()


async def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + HANG_S
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110 - of another thread
        await asyncio.sleep(0.01)
    return holds()


async def cancel_and_look(directory: Path, count: int) -> dict[str, int]:
    """Cancels, and returns what this process, which serves nothing, grew by after a first part."""
    process = psutil.Process()
    with FaultyServer(directory) as server, Proxy(server.endpoint) as proxy:
        async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
            stream = await client.create(uuid4(), f"calls/{uuid4()}")
            await stream.insert([(k * 10**9, float(k)) for k in range(1_000)])
            await cancel_at_random(proxy, client, stream.uuid, min(count, 2_000))
            gc.collect()
            before = process.memory_info().rss, process.num_fds(), process.num_threads()
            await cancel_at_random(proxy, client, stream.uuid, count)
            gc.collect()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert await until(lambda: proxy.open_streams == 0)
            assert await until(lambda: len(proxy.open_connections) <= CHANNELS)
            after = process.memory_info().rss, process.num_fds(), process.num_threads()
            assert (await client.info())["major_version"] == 5
    names = "rss_bytes", "file_descriptors", "threads"
    return {name: b - a for name, a, b in zip(names, before, after, strict=True)}


@pytest.mark.timeout(600)
async def test_cancelled_calls_leave_nothing(tmp_path: Path, say: Say) -> None:
    grown = await cancel_and_look(tmp_path, CANCELLED)
    say(json.dumps({"what": "grown by cancelled calls", "calls": CANCELLED, **grown}))


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_many_cancelled_calls_leave_nothing(tmp_path: Path, say: Say) -> None:
    grown = await cancel_and_look(tmp_path, CANCELLED_LONG)
    say(json.dumps({"what": "grown by cancelled calls", "calls": CANCELLED_LONG, **grown}))
    assert grown["rss_bytes"] < 5 << 20
    assert grown["file_descriptors"] <= 0
    assert grown["threads"] <= 0
