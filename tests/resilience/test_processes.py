"""Many processes: forked, pooled, behind a web server, and ending in the middle of everything."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from resilience.conftest import Script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

CHILDREN, CHILDREN_LONG = 20, 1_000
EXITS, EXITS_LONG = 9, 1_000
WORKERS = 3
HANG_S = 60

FORKS = """
import asyncio, os, sys
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
expected = stream.raw_values(0, 10**12)

async def read():
    other = client.get_async_client().stream_from_uuid(sys.argv[2])
    return await asyncio.gather(*(other.raw_values(0, 10**12) for _ in range(3)))

def child(number):
    tables = [stream.raw_values(0, 10**12)] if number % 2 else asyncio.run(read())
    return all(table == expected for table in tables)

codes = {}
for first in range(0, int(sys.argv[3]), 10):
    born = []
    for number in range(first, first + 10):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 7 if child(number) else 2
            finally:
                os._exit(code)
        born.append(pid)
    for pid in born:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        codes[code] = codes.get(code, 0) + 1
assert stream.raw_values(0, 10**12) == expected
print(codes)
"""

# Each ends wherever it happens to be, with calls, iterators and inserts under way.
EXITING = {
    "tasks": """
import asyncio, random, sys, uuid
import pingthings.timeseries as pt

async def main():
    client = await pt.AsyncClient.connect(endpoint=sys.argv[1])
    stream = client.stream_from_uuid(sys.argv[2])
    own = await client.create(uuid.uuid4(), f"exits/{uuid.uuid4()}")
    points = [(at, 1.0) for at in range(5_000)]
    calls = [asyncio.ensure_future(stream.raw_values(0, 10**12)) for _ in range(50)]
    calls += [asyncio.ensure_future(own.insert(points, "replace")) for _ in range(20)]
    items = stream.raw_values_iter(0, 10**12)
    await anext(items)
    await asyncio.sleep(random.random() / 20)
    sys.exit(0)

asyncio.run(main())
""",
    "globals": """
import asyncio, sys
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
items = [stream.raw_values_iter(0, 10**12) for _ in range(20)]
for each in items:
    next(each)

async def begin():
    other = client.get_async_client()
    return [other._core.info() for _ in range(100)]

loop = asyncio.new_event_loop()
futures = loop.run_until_complete(begin())
loop.close()
""",
}

# The same, with daemon threads that are inside the core or on the way in or out.
EXITING_IN_THREADS = {
    "answers": """
import sys, threading
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
busy = threading.Semaphore(0)

def work(number):
    while True:
        if number % 2:
            stream.count()
        else:
            for table in stream.raw_values_iter(0, 10**12):
                break
        busy.release()

for number in range(6):
    threading.Thread(target=work, args=(number,), daemon=True).start()
for _ in range(100):
    busy.acquire()
""",
    # Taking a UUID apart and telling what is wrong runs Python, where the GIL changes hands.
    "arguments": """
import sys, threading, uuid
import pingthings.timeseries as pt

sys.setswitchinterval(1e-5)
client = pt.connect(endpoint=sys.argv[1])
core = client._client._core
known = uuid.UUID(sys.argv[2])
busy = threading.Semaphore(0)

def work():
    while True:
        try:
            core.latest_versions([known] * 200 + ["none"])
        except TypeError:
            busy.release()
        client.stream_from_uuid(known).refresh_metadata()

for _ in range(6):
    threading.Thread(target=work, daemon=True).start()
for _ in range(50):
    busy.acquire()
""",
    "loops": """
import asyncio, sys, threading
import pingthings.timeseries as pt

sys.setswitchinterval(1e-5)
client = pt.connect(endpoint=sys.argv[1]).get_async_client()
busy = threading.Semaphore(0)

async def call():
    stream = client.stream_from_uuid(sys.argv[2])
    while True:
        await stream.raw_values(0, 10**12)
        await stream.count()
        busy.release()

async def work():
    await asyncio.gather(*(call() for _ in range(5)))

for _ in range(4):
    threading.Thread(target=lambda: asyncio.run(work()), daemon=True).start()
for _ in range(100):
    busy.acquire()
""",
}


def fork(script: Script, server: Server, stream: pt.Stream, children: int) -> None:
    done = script(FORKS, server.endpoint, str(stream.uuid), str(children))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{{7: {children}}}\n", "")


def test_forked_children_read(script: Script, server: Server, stream: pt.Stream) -> None:
    fork(script, server, stream, CHILDREN)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_a_thousand_forked_children_read(script: Script, server: Server, stream: pt.Stream) -> None:
    for _ in range(CHILDREN_LONG // 100):
        fork(script, server, stream, 100)


def end(
    texts: list[str], script: Script, stream: pt.Stream, endpoint: str, times: int
) -> dict[str, int]:
    """Ends so many processes, and counts them by what they left behind."""

    def once(number: int) -> str:
        done = script(texts[number % len(texts)], endpoint, str(stream.uuid))
        return f"{done.returncode} {done.stdout}{done.stderr}"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(once, range(times)))
    return {outcome: outcomes.count(outcome) for outcome in outcomes}


@pytest.mark.timeout(600)
def test_processes_end_in_silence(script: Script, server: Server, stream: pt.Stream) -> None:
    outcomes = end(list(EXITING.values()), script, stream, server.endpoint, EXITS)
    assert outcomes == {"0 ": EXITS}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("text", EXITING_IN_THREADS.values(), ids=EXITING_IN_THREADS.keys())
def test_processes_with_busy_threads_end_in_silence(
    text: str, script: Script, server: Server, stream: pt.Stream
) -> None:
    outcomes = end([text], script, stream, server.endpoint, EXITS)
    assert outcomes == {"0 ": EXITS}


@pytest.mark.long
@pytest.mark.timeout(0)
def test_a_thousand_processes_end_in_silence(
    script: Script, server: Server, stream: pt.Stream, say: Callable[[str], None]
) -> None:
    texts = [*EXITING.values(), *EXITING_IN_THREADS.values()]
    outcomes = end(texts, script, stream, server.endpoint, EXITS_LONG)
    say(json.dumps({"what": "exits", "outcomes": outcomes}))
    assert outcomes == {"0 ": EXITS_LONG}


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_pools_read(method: str, stream: pt.Stream) -> None:
    expected = stream.raw_values(0, 10**12)
    with multiprocessing.get_context(method).Pool(2) as pool:
        tables = pool.map(methodcaller("raw_values", 0, 10**12), [stream] * 6)
        # Left in the middle: the pool kills its processes.
        pool.map_async(methodcaller("count"), [stream] * 1_000)
    assert tables == [expected] * 6
    assert stream.raw_values(0, 10**12) == expected


@contextmanager
def gunicorn(server: Server, stream: pt.Stream, log: Path) -> Iterator[int]:
    """Serves the application, loaded before the fork; yields its port."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path]),
        "TEST_ENDPOINT": server.endpoint,
        "TEST_STREAM": str(stream.uuid),
    }
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening, log.open("w") as errors:
        number = listening.fileno()
        program = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS)]
        with subprocess.Popen(
            [*program, "--bind", f"fd://{number}", "resilience.wsgi_app:app"],
            pass_fds=[number],
            stderr=errors,
            env=environment,
        ) as process:
            try:
                yield listening.getsockname()[1]
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    code = process.wait(HANG_S)
                finally:
                    process.kill()
            assert code == 0
    assert "Traceback" not in log.read_text(encoding="utf-8")


def answer(port: int) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    connection.request("GET", "/")
    response = connection.getresponse()
    text = response.read()
    connection.close()
    assert response.status == 200, text
    found: dict[str, int] = json.loads(text)
    return found


def test_a_web_server_forks_a_client(server: Server, stream: pt.Stream, tmp_path: Path) -> None:
    with gunicorn(server, stream, tmp_path / "log") as port:
        seen: set[int] = set()
        deadline = time.monotonic() + HANG_S
        while len(seen) < WORKERS and time.monotonic() < deadline:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: answer(port), range(24)))
            assert all(found["is_right"] for found in answers)
            seen |= {found["pid"] for found in answers}
        assert len(seen) == WORKERS
        # One that dies is forked anew from the process that made the client.
        os.kill(seen.pop(), signal.SIGKILL)
        while len(seen) < WORKERS and time.monotonic() < deadline:
            found = answer(port)
            assert found["is_right"]
            seen.add(found["pid"])
        assert len(seen) == WORKERS


# From 3.13 on the module has another name, and returns what it raised before.
SECOND = (
    """
import _interpreters as interpreters
{first}
second = interpreters.create()
error = interpreters.run_string(second, "import pingthings.timeseries").formatted
"""
    if sys.version_info >= (3, 13)
    else """
import _xxsubinterpreters as interpreters
{first}
second = interpreters.create()
try:
    error = interpreters.run_string(second, "import pingthings.timeseries")
except interpreters.RunFailedError as raised:
    error = str(raised)
"""
)


@pytest.mark.parametrize("first", ["pass", "import pingthings.timeseries"])
def test_a_second_interpreter_is_refused(script: Script, first: str) -> None:
    end = """
print("refused" if "ImportError" in error and "sub-interpreter" in error else error)
interpreters.destroy(second)
"""
    done = script(SECOND.format(first=first) + end)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
