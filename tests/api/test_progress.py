"""Who is told how far a call has come, and that it does the same."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from conftest import Connect
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pingthings.server import Fault, Server
from pingthings.timeseries.constants import RAW_F32_SCHEMA
from pingthings.timeseries.exceptions import (
    BadValue,
    BTRDBTypeError,
    InvalidTimeRange,
    ServerBusyError,
)
from tqdm import tqdm

STREAMS = 10
POINTS = 100_000


@pytest.fixture
async def streams(client: pt.AsyncClient, collection: str) -> pt.AsyncStreamSet:
    client.concurrency_limit = 4
    made = [await client.create(uuid4(), collection, {"name": str(k)}) for k in range(STREAMS)]
    found = await client.streamset_from_uuids([stream.uuid for stream in made])
    await found.insert({stream.uuid: [(k, 1.0)] for k, stream in enumerate(made[:-1])})
    return found


@pytest.fixture
async def long(stream: pt.AsyncStream) -> pt.AsyncStream:
    await stream.insert((np.arange(POINTS), np.arange(float(POINTS))))
    return stream


class Told(list[tuple[int, int]]):
    """Remembers what it was told."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


@pytest.mark.parametrize("method", ["raw_values", "aligned_windows", "precise_windows"])
async def test_a_set_tells_how_many_streams_are_done(method: str, streams: pt.AsyncStreamSet):
    arguments = (0, 100) if method == "raw_values" else (0, 100, 2)
    read = getattr(streams, method)
    told = Told()
    tables = await read(*arguments, progress=told)
    assert told == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert tables == await read(*arguments)
    assert tables[-1] is None
    assert tables == await read(*arguments, progress=False)


async def test_versions_stay_with_their_streams(streams: pt.AsyncStreamSet):
    await streams.flush()
    versions = list((await streams.get_latest_version()).values())
    await streams[7].insert([(50, 2.0)])
    told = Told()
    assert (await streams.raw_values(0, 100, progress=told))[7].num_rows == 2  # type: ignore[union-attr]
    tables = await streams.raw_values(0, 100, versions, RAW_F32_SCHEMA, progress=told)
    assert [table and table.num_rows for table in tables] == [1] * 9 + [None]
    assert tables[0] is not None
    assert tables[0].schema == RAW_F32_SCHEMA


async def test_a_stream_tells_how_many_points_have_arrived(long: pt.AsyncStream):
    told = Told()
    table = await long.raw_values(5, POINTS, progress=told)
    assert table.equals(await long.raw_values(5, POINTS))
    assert told[0] == (0, POINTS - 5)
    assert told[-1] == (POINTS - 5, POINTS - 5)
    assert len(told) > 2
    assert told == sorted(told)


async def test_a_stream_without_points(stream: pt.AsyncStream):
    told = Told()
    assert (await stream.raw_values(0, 5, None, RAW_F32_SCHEMA, progress=told)).num_rows == 0
    assert told == [(0, 0)]
    with pytest.raises(InvalidTimeRange):
        await stream.raw_values(5, 5, progress=told)


async def test_a_bar_of_tqdm_is_moved(streams: pt.AsyncStreamSet, long: pt.AsyncStream):
    for read, total in ((streams.raw_values, STREAMS), (long.raw_values, POINTS)):
        with tqdm(file=io.StringIO()) as bar:
            await read(0, POINTS, progress=bar)
            assert (bar.n, bar.total) == (total, total)


async def test_whoever_has_had_enough_stops_it(long: pt.AsyncStream, streams: pt.AsyncStreamSet):
    def enough(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    for read in (long.raw_values, streams.raw_values):
        with pytest.raises(KeyboardInterrupt):
            await read(0, POINTS, progress=enough)
    assert (await long.raw_values(0, POINTS)).num_rows == POINTS


async def test_what_cannot_be_told(streams: pt.AsyncStreamSet, stream: pt.AsyncStream):
    wrong: Any
    for wrong in ("yes", 1, {}):
        for read in (streams.raw_values, stream.raw_values):
            with pytest.raises(BTRDBTypeError, match="`progress` must be True"):
                await read(0, 5, progress=wrong)


READ = """
import sys
import pingthings.timeseries as pt
with pt.connect(endpoint=sys.argv[1], apikey=sys.argv[2]) as client:
    client.streams_in_collection(sys.argv[3]).raw_values(0, 100, progress=True)
"""


@pytest.mark.usefixtures("streams")
def test_true_is_a_line_where_nobody_looks(endpoint: str, apikey: str, collection: str):
    command = [sys.executable, "-W", "error", "-c", READ, endpoint, apikey, collection]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "10 of 10 streams" in line


@pytest.mark.usefixtures("streams")
def test_true_is_a_bar_in_a_terminal(endpoint: str, apikey: str, collection: str):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", READ, endpoint, apikey, collection]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    subprocess.run(command, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb") as screen:
        shown = os.read(screen.fileno(), 1 << 16).decode()
    assert "10 of 10 streams" in shown
    assert "\x1b[" in shown


async def test_true_is_a_bar_below_the_cell_in_a_notebook(
    streams: pt.AsyncStreamSet, monkeypatch: pytest.MonkeyPatch
):
    shell = InteractiveShell.instance()
    # What tells a notebook from IPython in a terminal.
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    try:
        with capture_output() as captured:
            await streams.raw_values(0, 100, progress=True)
    finally:
        InteractiveShell.clear_instance()
    shown = [output.data["text/html"] for output in captured.outputs]
    assert len(shown) == 4
    assert "0 of 10 streams" in shown[0]
    assert shown[-1] == '<progress value="10" max="10"></progress> 10 of 10 streams'


PARTS = POINTS // 50_000


async def test_an_insert_tells_how_many_points_are_stored(stream: pt.AsyncStream):
    told = Told()
    await stream.insert((np.arange(POINTS), np.arange(float(POINTS))), progress=told)
    assert told[0] == (0, POINTS)
    assert told[-1] == (POINTS, POINTS)
    assert len(told) == len(set(told)) <= 1 + PARTS
    assert told == sorted(told)
    assert await stream.count() == POINTS


async def test_an_insert_into_a_set_tells_of_all_of_them(streams: pt.AsyncStreamSet):
    told = Told()
    data = {stream.uuid: [(100 + k, 1.0) for k in range(3)] for stream in streams}
    versions = await streams.insert(data, progress=told)
    assert versions.keys() == data.keys()
    assert told[0] == (0, 3 * STREAMS)
    assert told[-1] == (3 * STREAMS, 3 * STREAMS)
    assert sum((await streams.count(100, 200)).values()) == 3 * STREAMS


async def test_an_insert_without_points(stream: pt.AsyncStream):
    told = Told()
    await stream.insert([], progress=told)
    assert told == [(0, 0)]


async def test_points_that_are_no_good_are_told_to_nobody(stream: pt.AsyncStream):
    told = Told()
    with pytest.raises(BadValue):
        await stream.insert([(1, 1.0), (2, float("nan"))], progress=told)
    assert told == []


async def test_whoever_has_had_enough_learns_what_is_stored(connect: Connect):
    many = 1_000_000

    def enough(done: int, _total: int) -> None:
        if done:
            raise RuntimeError

    # Time enough to stop it.
    with Server(fault=Fault.delay(0.2, calls=["ArrowInsert"])) as server:
        async with await connect(endpoint=server.endpoint) as client:
            stream = await client.create(uuid4(), "progress")
            with pytest.raises(RuntimeError) as caught:
                await stream.insert((np.arange(many), np.arange(float(many))), progress=enough)
            stored = await stream.count()
    (note,) = caught.value.__notes__
    assert note == f"{stored} of {many} points were stored before this"
    assert 0 < stored < many


async def test_an_insert_that_fails_says_what_is_stored(connect: Connect):
    with Server(fault=Fault.busy(calls=["ArrowInsert"])) as server:
        async with await connect(endpoint=server.endpoint, retry_for=0) as client:
            stream = await client.create(uuid4(), "progress")
            told = Told()
            with pytest.raises(ServerBusyError):
                await stream.insert([(1, 1.0)], progress=told)
            assert told == [(0, 1)]


async def test_a_bar_of_tqdm_is_moved_by_an_insert(stream: pt.AsyncStream):
    with tqdm(file=io.StringIO()) as bar:
        await stream.insert((np.arange(POINTS), np.arange(float(POINTS))), progress=bar)
        assert (bar.n, bar.total) == (POINTS, POINTS)
