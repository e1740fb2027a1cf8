"""A server in a process of its own, and both clients of it under one name."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from twins import connect_async, connect_sync

APIKEY = "key-of-the-tests"

Connect = Callable[..., Awaitable[pt.AsyncClient]]


class Served(NamedTuple):
    """A running `pingthings serve`."""

    process: subprocess.Popen[str]
    endpoint: str

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        self.process.communicate(timeout=60)
        return self.process.returncode


Serve = Callable[..., Served]


def serve_process(*arguments: str, keys: str | None = None) -> Served:
    environ = {k: v for k, v in os.environ.items() if k != "PINGTHINGS_SERVER_KEYS"}
    if keys is not None:
        environ["PINGTHINGS_SERVER_KEYS"] = keys
    process = subprocess.Popen(
        [sys.executable, "-m", "pingthings", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    assert process.stdout is not None
    match = re.fullmatch(r"listening on (\S+), data .+\n", process.stdout.readline())
    if match is None:
        process.kill()
        pytest.fail(f"the server did not start: {process.communicate()[1]}")
    return Served(process, match[1])


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and stops those that a failing test left behind."""
    started: list[Served] = []

    def start(*arguments: str, keys: str | None = None) -> Served:
        started.append(serve_process(*arguments, keys=keys))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Where the server of all tests listens: in memory, with `apikey` as its key."""
    server = serve_process(keys=f"another-key,{APIKEY}")
    yield server.endpoint
    assert server.stop() == 0


@pytest.fixture(scope="session")
def apikey() -> str:
    return APIKEY


@pytest.fixture(params=["async", "sync"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Connects either twin."""
    return connect_async if request.param == "async" else connect_sync


@pytest.fixture
async def client(connect: Connect, endpoint: str, apikey: str) -> AsyncIterator[pt.AsyncClient]:
    async with await connect(endpoint=endpoint, apikey=apikey) as client:
        yield client


@pytest.fixture
def collection() -> str:
    """The name of a collection that no other test uses."""
    return f"tests/{uuid4()}"


@pytest.fixture
async def stream(client: pt.AsyncClient, collection: str) -> pt.AsyncStream:
    """An empty stream."""
    return await client.create(uuid4(), collection, {"name": "L1MAG", "unit": "volts"})


@pytest.fixture
async def unknown(client: pt.AsyncClient) -> pt.AsyncStream:
    """A stream that the server does not know."""
    return client.stream_from_uuid(uuid4())


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Known answers, by the name of their file."""
    folder = Path(__file__).parent / "vectors"
    return lambda name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
