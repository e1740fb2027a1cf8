"""The interpreter ends with calls in flight: exit code 0 and not a word."""

from __future__ import annotations

import pytest
from resilience.conftest import Script, calling
from resilience.proxy import HEADERS, Proxy

RUNS = 50
IN_FLIGHT = 1000

# Each begins when the proxy holds the answers back, which it learns from the line on stdin.
TASKS = """
import asyncio, sys
import pingthings.timeseries as pt

async def main():
    client = await pt.AsyncClient.connect(endpoint=sys.argv[1], concurrency_limit=1000)
    print("connected", flush=True)
    sys.stdin.readline()
    calls = [asyncio.ensure_future(client.info()) for _ in range(int(sys.argv[2]))]
    await asyncio.sleep(0)
    print("calling", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""
FUTURES = """
import asyncio, sys
import pingthings.timeseries as pt

async def main():
    client = await pt.AsyncClient.connect(endpoint=sys.argv[1], concurrency_limit=1000)
    print("connected", flush=True)
    sys.stdin.readline()
    calls = [client._core.info() for _ in range(int(sys.argv[2]))]
    print("calling", flush=True)
    sys.stdin.readline()
    sys.exit(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
THREADS = """
import sys, threading
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1], concurrency_limit=1000)
print("connected", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    threading.Thread(target=client.info, daemon=True).start()
print("calling", flush=True)
sys.stdin.readline()
"""


def end_while_calling(text: str, proxy: Proxy, calls: int) -> tuple[int, str]:
    """Starts the script, holds its answers, lets it call, then lets it end."""
    before = proxy.frames[HEADERS] + 1  # the call with which the script connects
    with calling(text, proxy, str(calls)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "calling\n"
        # The server allows so many per connection; the others wait inside the client.
        assert proxy.wait_for_frames(HEADERS, before + min(calls, 200))
        _, errors = child.communicate("\n", timeout=30)
    return child.returncode, errors


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", [TASKS, FUTURES], ids=["tasks", "futures"])
def test_exit_with_a_thousand_calls_in_flight_is_clean(text: str, proxy: Proxy) -> None:
    outcomes = [end_while_calling(text, proxy, IN_FLIGHT) for _ in range(RUNS // 2)]
    assert outcomes == [(0, "")] * (RUNS // 2)


def test_exit_with_blocked_daemon_threads_is_clean(proxy: Proxy) -> None:
    # FATAL errors of daemon threads at exit are the interpreter's weakest spot, so a few rounds.
    outcomes = [end_while_calling(THREADS, proxy, 20) for _ in range(10)]
    assert outcomes == [(0, "")] * 10


def test_exit_while_results_arrive_is_clean(script: Script, proxy: Proxy) -> None:
    text = """
import asyncio, sys
import pingthings.timeseries as pt

async def main():
    client = await pt.AsyncClient.connect(endpoint=sys.argv[1], concurrency_limit=1000)
    calls = [client._core.info() for _ in range(1000)]
    await calls[0]

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
    done = [script(text, proxy.endpoint) for _ in range(5)]
    assert [(run.returncode, run.stderr) for run in done] == [(0, "")] * 5


def test_results_for_a_closed_loop_are_dropped_in_silence(script: Script, proxy: Proxy) -> None:
    text = """
import asyncio, sys
import pingthings.timeseries as pt

async def begin(client):
    client._core.info()

client = pt.connect(endpoint=sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(begin(client.get_async_client()))
loop.close()
for _ in range(50):
    client.info()
print("fine")
"""
    done = script(text, proxy.endpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
