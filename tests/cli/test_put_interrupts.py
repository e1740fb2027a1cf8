"""Ctrl-C ends `put` in every phase with one line that is true, and the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server

START = 1_700_000_000
COUNT = 400_000
BLOCK = 9 << 20  # bytes, of which `put` reads 8 MiB at a time
DELAY_S = 3.0


@pytest.fixture
def slow_server() -> Iterator[Server]:
    """Lets the first insert wait."""
    with Server(fault=Fault.delay(DELAY_S, calls=["Insert"], times=1)) as server:
        yield server


def command(file: Path, collection: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pingthings", "put", str(file)),
        *("--collection", collection, "--time-unit", "s", "--merge", "never"),
    ]


def started(file: Path, collection: str, server: Server) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(file, collection),
        env=os.environ | {"BTRDB_ENDPOINTS": server.endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what was said."""
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not is_so():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def values(server: Server, collection: str) -> list[float]:
    with pt.connect(endpoint=server.endpoint) as client:
        streams = client.streams_in_collection(collection, is_collection_prefix=False)
        if not len(streams):
            return []
        (stream,) = streams
        table: Any = stream.raw_values(0, START * 2 * 10**9)
        found: list[float] = table["value"].to_pylist()
        return found


def rows(first: int, count: int) -> str:
    return "".join(f"{START + k},{k}\n" for k in range(first, first + count))


def test_while_the_first_bytes_are_awaited(server: Server, tmp_path: Path):
    pipe, collection = tmp_path / "pipe", f"tests/{uuid4()}"
    os.mkfifo(pipe)
    process = started(pipe, collection, server)
    with pipe.open("wb"):  # it is open when it is read
        found = interrupted(process)
    assert found == (130, "pingthings: interrupted; nothing was stored\n")


def test_while_rows_of_a_pipe_are_awaited(server: Server, tmp_path: Path):
    pipe, collection = tmp_path / "pipe", f"tests/{uuid4()}"
    os.mkfifo(pipe)
    process = started(pipe, collection, server)
    with pipe.open("w", encoding="ascii") as file:
        file.write("time,value\n" + rows(0, BLOCK // len(rows(COUNT, 1))))
        file.flush()
        wait_for(lambda: bool(values(server, collection)), process)
        code, told = interrupted(process)
    assert code == 130
    stored = len(values(server, collection))
    match = re.fullmatch(
        r"pingthings: interrupted; ([\d,]+) rows or more are stored; the same command begins anew",
        told.strip(),
    )
    assert match is not None, told
    assert int(match[1].replace(",", "")) in {0, stored}  # 0 before the server has answered


def test_while_points_are_sent(slow_server: Server, tmp_path: Path):
    file, collection = tmp_path / "file.csv", f"tests/{uuid4()}"
    file.write_text("time,value\n" + rows(0, COUNT), encoding="ascii")
    kept = tmp_path / ".file.csv.put"
    process = started(file, collection, slow_server)
    wait_for(lambda: kept.exists() and json.loads(kept.read_text("utf-8"))["begun"] > 0, process)
    found = interrupted(process)
    assert found == (130, "pingthings: interrupted; the same command goes on from there\n")
    again = started(file, collection, slow_server)
    out, told = again.communicate(timeout=60)
    assert (again.returncode, told) == (0, "")
    assert f"{COUNT:,} rows, {COUNT:,} accepted, 0 rejected" in out
    assert values(slow_server, collection) == [float(k) for k in range(COUNT)]


def test_while_it_says_what_it_has_done(server: Server, tmp_path: Path):
    file, collection = tmp_path / "file.csv", f"tests/{uuid4()}"
    file.write_text("time,value\n" + rows(0, 1_000), encoding="ascii")
    process = started(file, collection, server)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first == f"{file}: 1,000 rows, 1,000 accepted, 0 rejected, 0 empty cells\n"
    code, told = interrupted(process)
    assert "Traceback" not in told
    assert code in {0, 130}
    if code:
        again = started(file, collection, server)
        again.communicate(timeout=60)
        assert again.returncode == 0
    assert values(server, collection) == [float(k) for k in range(1_000)]
