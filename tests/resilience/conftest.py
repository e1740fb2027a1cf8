from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from resilience.proxy import Proxy

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server in this process; the clients under test live in processes of their own."""
    with Server() as server:
        yield server


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints at once, also where pytest keeps what is printed: figures, and that it goes on."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201 - what it is for

    return say


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def stream(server: Server) -> Iterator[pt.Stream]:
    """A stream of a thousand points, one a second from the epoch on, with values 0 to 999."""
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), f"resilience/{uuid4()}", {"name": "points"})
        stream.insert([(k * 1_000_000_000, float(k)) for k in range(1000)])
        yield stream


@contextmanager
def calling(text: str, proxy: Proxy, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script that connects through the proxy, says so, and calls once answers are held back."""
    proxy.release()
    with subprocess.Popen(
        [sys.executable, "-c", text, proxy.endpoint, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "connected\n"
        proxy.hold()
        child.stdin.write("\n")
        child.stdin.flush()
        yield child


@pytest.fixture
def script() -> Script:
    """Runs Python text in a process of its own, which must end before the time is over."""

    def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", text, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
