"""The command in this process, and a server with a little in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.cli.app import app
from pingthings.server import Server
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from typer.testing import CliRunner

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
COUNT = 600

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Holds `lab/L1MAG`, `lab/L2MAG`, `lab/inner/L1MAG` and `labour/L1MAG`, a point a second."""
    with Server() as server:
        with pt.connect(endpoint=server.endpoint) as client:
            for collection, name in [
                ("lab", "L1MAG"),
                ("lab", "L2MAG"),
                ("lab/inner", "L1MAG"),
                ("labour", "L1MAG"),
            ]:
                tags = {"name": name, "unit": "volts"}
                annotations = {"phase": name[:2], "rate": 10}
                stream = client.create(uuid4(), collection, tags, annotations)
                stream.insert([(START + k * SECOND, k / 8) for k in range(COUNT)])
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[pt.Client]:
    with pt.connect(endpoint=server.endpoint) as client:
        yield client


@pytest.fixture
def uuids(client: pt.Client) -> dict[str, UUID]:
    streams = client.streams_in_collection("lab")
    return {f"{stream.collection}/{stream.name}": stream.uuid for stream in streams}


@pytest.fixture
def run(server: Server) -> Run:
    """Runs the command with the server's endpoint in the environment."""
    runner = CliRunner()

    def run(*arguments: str, stdin: bytes | None = None, **environ: str) -> Any:
        env = {"BTRDB_ENDPOINTS": server.endpoint, "BTRDB_API_KEY": None, "BTRDB_PROFILE": None}
        return runner.invoke(
            app, list(arguments), env=env | environ, input=stdin, prog_name="pingthings"
        )

    return run


@pytest.fixture
def collection() -> str:
    """The name of a collection that no other test uses."""
    return f"tests/{uuid4()}"


@pytest.fixture
def put(run: Run, collection: str) -> Run:
    """Puts files into the test's own collection, and gives what it says of the first."""

    def put(*arguments: str | Path, **more: Any) -> Any:
        result = run("put", *map(str, arguments), "--collection", collection, "--json", **more)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout.splitlines()[0])

    return put


@pytest.fixture
def stored(client: pt.Client, collection: str) -> Callable[..., Any]:
    """The points of a stream of the test's own collection."""

    def stored(name: str = "value") -> list[tuple[int, float]]:
        (stream,) = client.streams_in_collection(
            collection, is_collection_prefix=False, tags={"name": name}
        )
        table: Any = stream.raw_values(MINIMUM_TIME, MAXIMUM_TIME)
        times = table["time"].cast(pa.int64()).to_pylist()
        return list(zip(times, table["value"].to_pylist(), strict=True))

    return stored
