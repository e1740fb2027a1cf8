"""How much memory reads take that do not all fit into it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import BTRDBValueError
from pingthings.timeseries.memory import as_bytes, available
from pingthings.timeseries.stats import CallCounts

READING = Path(__file__).with_name("reading.py")
MIB = 1 << 20


def much_at_once(server: Server, points: int, reads: int, memory_limit: int) -> dict[str, int]:
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), f"memory/{uuid4()}")
        stream.insert((np.arange(points), np.arange(points) / 8))
        stream.flush()
        done = subprocess.run(
            [
                sys.executable,
                READING,
                server.endpoint,
                str(stream.uuid),
                str(reads),
                str(memory_limit),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    assert found["reads"] == reads
    assert found["rows"] == points
    print(found)  # noqa: T201 - a figure of docs/design/reliability.md
    return dict(found)


def test_reads_at_once_stay_within_their_limit(server: Server) -> None:
    # 200 answers of 4.8 MB, five to ten times what may be here.
    limit = 128 * MIB
    assert much_at_once(server, 300_000, 200, limit)["took"] < limit * 1.5


def test_what_memory_costs_is_counted(server: Server) -> None:
    limit = 16 * MIB
    points, reads = 300_000, 8  # 38 MB, of which twelve may be here
    with pt.connect(endpoint=server.endpoint, memory_limit=limit) as client:
        stream = client.create(uuid4(), f"memory/{uuid4()}")
        stream.insert((np.arange(points), np.arange(points) / 8))
        stream.flush()
        before = client.stats()
        tables = pt.StreamSet([stream] * reads).raw_values(0, points)
        assert [table and table.num_rows for table in tables] == [points] * reads
        done = client.stats().since(before)
        assert done.paused_reads > 0
        assert done.requests > reads
        assert done.points_read == points * reads
        # Whoever has been told to wait has received what it asked for before.
        assert done.memory_peak > limit / 2
        assert done.calls.raw_values == CallCounts(reads, reads)
        # They have been handed over, which is what counts.
        assert (done.memory_held, done.reads_waiting) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_thousand_large_reads_stay_within_their_limit(server: Server) -> None:
    limit = 512 * MIB
    assert much_at_once(server, 1_000_000, 1_000, limit)["took"] < limit * 1.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (16 * MIB, 16 * MIB),
        ("16MiB", 16 * MIB),
        (" 1.5 GiB ", 3 << 29),
        ("2 gb", 2_000_000_000),
        ("20000000", 20_000_000),
        ("0.5t", 500_000_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: int | str, expected: int) -> None:
    assert as_bytes(text, "size") == expected


@pytest.mark.parametrize("text", ["", "much", "16 QiB", "-1 GiB", "1e9", "1 MiB", 1 << 63])
def test_what_is_no_size_is_refused(text: int | str) -> None:
    with pytest.raises(BTRDBValueError, match="`size`"):
        as_bytes(text, "size")


def test_this_machine_has_memory() -> None:
    assert available() > 64 * MIB
