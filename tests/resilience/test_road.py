"""Real networks: long ways, packets that are lost, and cables that are pulled."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.server import Server
from resilience.road import SERVER, Road, why_not

pytestmark = pytest.mark.timeout(600)

KEY = "key-of-the-road"
COUNT = 1_500_000
STEP = 1_000_000
END = COUNT * STEP
HANG_S = 240
OUTAGE_S = 1.0

# Prints what it reads, hashed; says when the first part is there, and goes on at a line.
READ = """
import hashlib, json, sys, time
import numpy as np
import pingthings.timeseries as pt

def hashed(tables):
    text = hashlib.sha256()
    for number in range(tables[0].num_columns):
        for table in tables:
            text.update(np.ascontiguousarray(table.column(number).to_numpy()).tobytes())
    return text.hexdigest()

end = int(sys.argv[3])
with pt.connect(endpoint=sys.argv[1], apikey="key-of-the-road") as client:
    stream = client.stream_from_uuid(sys.argv[2])
    items = stream.raw_values_iter(0, end)
    tables = [next(items)]
    print("begun", flush=True)
    sys.stdin.readline()
    tables += items
    began = time.monotonic()
    whole = stream.raw_values(0, end)
    seconds = time.monotonic() - began
    stream.insert([(-5, 1.0), (-4, 2.0)], "replace")
    found = {
        "parts": hashed(tables),
        "whole": hashed([whole]),
        "windows": hashed([stream.windowed_values(0, end, 1_000_000_000)]),
        "before": stream.raw_values(-10, 0)["value"].to_pylist(),
        "seconds": seconds,
    }
    print(json.dumps(found))
"""


def hashed(table: pa.Table) -> str:
    text = hashlib.sha256()
    for column in table.columns:
        text.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return text.hexdigest()


@pytest.fixture(scope="module", autouse=True)
def _roads() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, UUID, dict[str, object]]:
    """A directory with a stream, and what undisturbed reads of it give."""
    directory = tmp_path_factory.mktemp("road")
    with Server(directory) as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "road", {"name": "long"})
        times = np.arange(COUNT) * STEP
        values = np.random.default_rng(1).normal(60, 0.01, COUNT)
        stream.insert((times, values))
        stream.flush()
        whole = hashed(stream.raw_values(0, END))
        windows = hashed(stream.windowed_values(0, END, 1_000_000_000))
    expected: dict[str, object] = {"parts": whole, "whole": whole, "windows": windows}
    expected["before"] = [1.0, 2.0]
    return directory, stream.uuid, expected


@contextmanager
def reading(road: Road, directory: Path, uuid: UUID, end: int) -> Iterator[subprocess.Popen[str]]:
    """A reader at one end, which has its first rows, and a server at the other."""
    serve = [sys.executable, "-m", "pingthings", "serve", str(directory), "--host", SERVER]
    environment = os.environ | {"PINGTHINGS_SERVER_KEYS": KEY}
    with subprocess.Popen(
        road.program("s", *serve), stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("listening on")
            script = [sys.executable, "-W", "ignore", "-c", READ]
            with subprocess.Popen(
                road.program("c", *script, f"{SERVER}:4410", str(uuid), str(end)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as reader:
                try:
                    assert reader.stdout is not None
                    first = reader.stdout.readline()
                    if first != "begun\n":
                        pytest.fail(reader.communicate(timeout=HANG_S)[1])
                    yield reader
                finally:
                    reader.kill()
        finally:
            server.terminate()


def finished(reader: subprocess.Popen[str]) -> dict[str, object]:
    """What the reader found, once it is told to go on."""
    out, errors = reader.communicate("\n", timeout=HANG_S)
    assert (reader.returncode, errors) == (0, "")
    found: dict[str, object] = json.loads(out)
    return found


def test_a_long_road_that_loses_packets(
    stored: tuple[Path, UUID, dict[str, object]], say: Callable[[str], None]
) -> None:
    directory, uuid, expected = stored
    with Road(0.02, 0.02) as road, reading(road, directory, uuid, END) as reader:
        found = finished(reader)
        seconds = found.pop("seconds")
        say(json.dumps({"what": "20 ms each way, 2 % lost", "points": COUNT, "seconds": seconds}))
        assert found == expected
        assert road.lost > 0


@pytest.mark.parametrize("what", ["cable", "interface"])
def test_a_link_that_goes_down_in_the_middle_of_a_read(
    what: str, stored: tuple[Path, UUID, dict[str, object]]
) -> None:
    directory, uuid, expected = stored
    with Road(0.01) as road, reading(road, directory, uuid, END) as reader:
        if what == "cable":
            road.is_up = False
        else:
            road.interface("c", "down")
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        time.sleep(OUTAGE_S)  # what the outage lasts
        assert reader.poll() is None, "it was not in the middle of its read"
        if what == "cable":
            road.is_up = True
        else:
            road.interface("c", "up")
        found = finished(reader)
        found.pop("seconds")
        assert found == expected


@pytest.mark.long
def test_how_long_a_large_read_takes_at_fifty_milliseconds(
    stored: tuple[Path, UUID, dict[str, object]], say: Callable[[str], None]
) -> None:
    directory, uuid, expected = stored
    for delay_s in (0.0, 0.025):
        with Road(delay_s) as road, reading(road, directory, uuid, END) as reader:
            found = finished(reader)
            seconds = found.pop("seconds")
            assert isinstance(seconds, float)
            rtt = round(2_000 * delay_s)
            mb = round(COUNT * 16 / 1e6 / seconds, 1)
            say(json.dumps({"what": "large read", "round_trip_ms": rtt, "mb_per_second": mb}))
            assert found == expected
