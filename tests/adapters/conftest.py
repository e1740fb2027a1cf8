"""A server, and what waits for something to become true."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"

Program = Callable[..., list[str]]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[pt.Client]:
    with pt.connect(endpoint=server.endpoint) as client:
        yield client


@pytest.fixture
def collection() -> str:
    """The name of a collection that no other test uses."""
    return f"adapters/{uuid4()}"


@pytest.fixture
def program(server: Server, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The command that runs an example with the server and these arguments."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), *sys.path]))

    def command(module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"ingest.{module}", server.endpoint, *arguments]

    return command


@pytest.fixture
def until() -> Until:
    """Waits until something holds."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait
