"""Every example in a docstring runs, on both twins, and gives what it shows."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from uuid import uuid4

import pingthings.dask
import pingthings.timeseries as pt
import pytest
import pytest_asyncio
from ingest import simulated_recording
from pingthings.btrdb import difference, point, version
from pingthings.btrdb.utils import conversion, general
from pingthings.ingest import recording, streams, writer
from pingthings.server import Server
from pingthings.timeseries import constants, credentials, exceptions, frames, partitions, points
from pingthings.timeseries.stats import Stats
from pingthings.timeseries.utils import timez

START = 1_500_000_000_000_000_000
KEY = "documented"
PARSER = doctest.DocTestParser()
SYNC = (pt.Client, pt.Stream, pt.StreamSet)
ASYNC = (pt.AsyncClient, pt.AsyncStream, pt.AsyncStreamSet)
MODULES = (constants, credentials, exceptions, points, streams, timez)
OLDER = (conversion, difference, general, point, version)
RESULTS = (
    frames,
    partitions,
    pingthings.dask,
    recording,
    writer,
    Stats,
)  # these need a stream to make something of


def examples(owner: Any) -> list[tuple[str, list[doctest.Example]]]:
    found = []
    for name, member in vars(owner).items():
        target = member.__func__ if isinstance(member, staticmethod) else member
        text = inspect.getdoc(target) if callable(target) or inspect.isfunction(target) else None
        parsed = PARSER.get_examples(text) if text else []
        if parsed and getattr(target, "__module__", "").startswith("pingthings"):
            found.append((f"{owner.__name__}.{name}", parsed))
    return found


def cases(owners: tuple[Any, ...]) -> list[Any]:
    return [pytest.param(parsed, id=name) for owner in owners for name, parsed in examples(owner)]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(api_keys=[KEY]) as server:
        with pt.connect(endpoint=server.endpoint, apikey=KEY) as client:
            for name in ("L1MAG", "L2MAG"):
                stream = client.create(uuid4(), "docs/examples", {"name": name, "unit": "volts"})
                stream.insert([(START + k * 100_000_000, k + 1.0) for k in range(10)])
                stream.flush()
        yield server


def names(server: Server) -> dict[str, Any]:
    return {
        **{name: getattr(pt, name) for name in pt.__all__},
        **{name: getattr(timez, name) for name in timez.__all__ if not name.startswith("_")},
        **vars(exceptions),
        "PW": constants.PW,
        **{name: getattr(frames, name) for name in frames.__all__},
        **{name: getattr(streams, name) for name in streams.__all__},
        "Writer": writer.Writer,
        "plan": partitions.plan,
        "read": pingthings.dask.read,
        "Fraction": Fraction,
        "datetime": datetime,
        "UTC": UTC,
        "re": re,
        "timedelta": timedelta,
        "uuid4": uuid4,
        "pt": pt,
        "RawPoint": points.RawPoint,
        "StatPoint": points.StatPoint,
        "Server": Server,
        "endpoint": server.endpoint,
        "apikey": KEY,
        "start": START,
        "end": START + 1_000_000_000,
    }


@pytest.fixture
def sync_names(server: Server, tmp_path: Path) -> Iterator[dict[str, Any]]:
    simulated_recording.fault(tmp_path / "fault.cfg", "BINARY")
    with pt.connect(endpoint=server.endpoint, apikey=KEY) as client:
        found = client.streams_in_collection("docs/examples")
        known = {"client": client, "stream": found[0], "streams": found, "folder": tmp_path}
        yield {**names(server), **known}


@pytest_asyncio.fixture
async def async_names(server: Server) -> AsyncIterator[dict[str, Any]]:
    async with await pt.AsyncClient.connect(endpoint=server.endpoint, apikey=KEY) as client:
        found = await client.streams_in_collection("docs/examples")
        yield {**names(server), "client": client, "stream": found[0], "streams": found}


def compiled(source: str) -> tuple[CodeType, bool]:
    """The code, and whether its value is to be shown."""
    tree = ast.parse(source)
    shows = isinstance(tree.body[-1], ast.Expr) and len(tree.body) == 1
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    mode = "eval" if shows else "exec"
    return compile(source.strip() + "\n", "<example>", mode, flags), shows


def shown(example: doctest.Example) -> str:
    """The source, in which the last line of a `with` block prints its value, as a prompt would."""
    if example.want and re.match(r"(async )?with ", example.source):
        return re.sub(
            r"^(\s+)(\S.*)\n\Z", r"\1print(repr(\2))\n", example.source, flags=re.MULTILINE
        )
    return example.source


async def run(parsed: list[doctest.Example], namespace: dict[str, Any]) -> None:
    for example in parsed:
        code, shows = compiled(shown(example))
        printed = io.StringIO()
        with redirect_stdout(printed):
            value = eval(code, namespace)  # noqa: S307 - our own documentation
            if inspect.iscoroutine(value):
                value = await value
        got = printed.getvalue()
        if shows and value is not None:
            got += f"{value!r}\n"
        assert got == example.want, example.source


@pytest.mark.parametrize("parsed", cases(ASYNC))
async def test_async_example(parsed: list[doctest.Example], async_names: dict[str, Any]) -> None:
    await run(parsed, async_names)


@pytest.mark.parametrize("parsed", cases(SYNC))
def test_sync_example(parsed: list[doctest.Example], sync_names: dict[str, Any]) -> None:
    asyncio.run(run(parsed, sync_names))


@pytest.mark.parametrize("parsed", cases(MODULES))
def test_module_example(parsed: list[doctest.Example], server: Server) -> None:
    asyncio.run(run(parsed, names(server)))


@pytest.mark.parametrize("parsed", cases(RESULTS))
def test_example_of_results(parsed: list[doctest.Example], sync_names: dict[str, Any]) -> None:
    asyncio.run(run(parsed, sync_names))


@pytest.mark.parametrize("module", OLDER, ids=lambda module: module.__name__)
def test_example_of_the_names_of_the_older_client(module: ModuleType) -> None:
    parsed = [each for _, found in examples(module) for each in found]
    for owner in vars(module).values():
        if inspect.isclass(owner) and owner.__module__ == module.__name__:
            parsed += [each for _, found in examples(owner) for each in found]
    assert parsed
    asyncio.run(run(parsed, dict(vars(module))))


def test_there_are_examples() -> None:
    assert len(cases(ASYNC)) >= 15
    assert len(cases(SYNC)) >= 15
    assert len(cases(MODULES)) >= 3
    assert len(cases(RESULTS)) >= 6
