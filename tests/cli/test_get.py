"""`get`: the same rows whatever the format, and exact times."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pingthings.server import Fault, Server

Run = Callable[..., Any]

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def rows(result: Any) -> list[dict[str, str]]:
    assert (result.exit_code, result.stderr) == (0, "")
    return list(csv.DictReader(result.stdout.splitlines()))


def test_times_are_exact_and_the_end_is_excluded(run: Run, client: pt.Client, collection: str):
    stream = client.create(uuid4(), collection, {"name": "x"})
    points = [(START + k, 0.1 * k) for k in range(5)]
    stream.insert(points)
    found = rows(run("get", f"{collection}/x", "--end", str(START + 4)))
    times = [pt.utils.to_nanoseconds(row["time"]) for row in found]
    assert list(zip(times, (float(row["value"]) for row in found), strict=True)) == points[:4]
    assert found[1]["time"] == "2023-11-14T22:13:20.000000001Z"


def test_a_stream_is_named_by_uuid_or_by_collection_and_name(run: Run, uuids: dict[str, UUID]):
    by_uuid = run("get", str(uuids["lab/inner/L1MAG"]))
    assert by_uuid.stdout == run("get", "lab/inner/L1MAG").stdout
    assert len(rows(by_uuid)) == 600


@pytest.mark.parametrize("format_", ["csv", "parquet", "arrow"])
def test_formats_hold_the_same(run: Run, tmp_path: Path, client: pt.Client, format_: str):
    file = tmp_path / f"out.{format_}"
    result = run("get", "lab/L1MAG", "--output", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    (stream,) = client.streams_in_collection(
        "lab", is_collection_prefix=False, tags={"name": "L1MAG"}
    )
    expected = stream.raw_values(START, START + 600 * SECOND)
    if format_ == "parquet":
        found = pq.read_table(file)
    elif format_ == "arrow":
        found = pa.ipc.open_file(file.read_bytes()).read_all()
    else:
        found = pa.csv.read_csv(file)
    assert found.cast(expected.schema).equals(expected)
    assert list(tmp_path.iterdir()) == [file]


def test_several_streams_come_with_their_names(run: Run, tmp_path: Path):
    found = rows(run("get", "lab/L1MAG", "lab/L2MAG", "--end", str(START + 2 * SECOND)))
    assert [row["stream"] for row in found] == ["lab/L1MAG"] * 2 + ["lab/L2MAG"] * 2
    file = tmp_path / "out.parquet"
    run("get", "lab/L1MAG", "lab/L2MAG", "--output", str(file))
    names: Any = pq.read_table(file)["stream"]
    assert names.value_counts().to_pylist() == [
        {"values": "lab/L1MAG", "counts": 600},
        {"values": "lab/L2MAG", "counts": 600},
    ]


@pytest.mark.parametrize("suffix", ["arrow", "feather"])
def test_arrow_is_a_file_in_a_file_and_a_stream_in_a_pipe(
    server: Server, tmp_path: Path, suffix: str
):
    command = [sys.executable, "-m", "pingthings", "get", "lab/L1MAG", "lab/L2MAG"]
    file = tmp_path / f"out.{suffix}"
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint}
    subprocess.run([*command, "--output", str(file)], env=environ, check=True)
    piped = subprocess.run(
        [*command, "--format", "arrow"], env=environ, check=True, capture_output=True
    ).stdout
    found: Any = pl.read_ipc(file)
    assert found.equals(pl.read_ipc_stream(piped))
    assert set(found["stream"]) == {"lab/L1MAG", "lab/L2MAG"}
    assert found.height == 1200


def test_windows_hold_every_point_unless_told_otherwise(run: Run):
    precise = rows(run("get", "lab/L1MAG", "--width", "7m"))
    assert [row["count"] for row in precise] == ["420", "180"]
    assert precise[0]["time"] == "2023-11-14T22:13:20.000000000Z"
    aligned = rows(run("get", "lab/L1MAG", "--pw", "36"))
    assert sum(int(row["count"]) for row in aligned) == 600
    cut = rows(run("get", "lab/L1MAG", "--width", "7m", "--end", str(START + 600 * SECOND)))
    assert [row["count"] for row in cut] == ["420"]


def test_times_may_be_relative_to_now(run: Run, client: pt.Client, collection: str):
    stream = client.create(uuid4(), collection, {"name": "x"})
    now = pt.utils.currently_as_ns()
    stream.insert([(now - 7_200 * SECOND, 1.0), (now - 60 * SECOND, 2.0), (now + 10**13, 3.0)])
    found = rows(run("get", f"{collection}/x", "--start", "-1h", "--end", "+1h"))
    assert [row["value"] for row in found] == ["2"]
    assert rows(run("get", f"{collection}/x", "--start", "-1w", "--end", "-3h")) == []


def test_an_empty_stream_gives_headings_only(run: Run, client: pt.Client, collection: str):
    client.create(uuid4(), collection, {"name": "x"})
    assert run("get", f"{collection}/x").stdout == "time,value\n"
    assert run("get", f"{collection}/x", "--width", "1s").stdout.count("\n") == 1


def test_an_output_that_fails_leaves_what_was_there(run: Run, tmp_path: Path):
    file = tmp_path / "out.csv"
    file.write_text("before", encoding="utf-8")
    assert run("get", "lab/L1MAG", "lab/nothing", "--output", str(file)).exit_code == 1
    assert file.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.arrow", "out.txt"])
def test_an_error_on_the_way_publishes_nothing(
    run: Run, server: Server, client: pt.Client, collection: str, tmp_path: Path, name: str
):
    # Several messages, of which some arrive before the answer breaks off for good.
    count = 200_000
    stream = client.create(uuid4(), collection, {"name": "x"})
    stream.insert((np.arange(count), np.full(count, 0.5)))
    stream.flush()
    output = tmp_path / name
    output.write_text("what was there")
    arguments = ["get", f"{collection}/x", "--start", "0", "--end", str(count)]
    arguments += ["--output", str(output)]
    server.fault = Fault.cut(count * 8, calls=["ArrowRawValues"])
    try:
        failed = run(*arguments, PINGTHINGS_RETRY_SECONDS="0")
    finally:
        server.fault = None
    assert failed.exit_code == 1, failed.output
    assert failed.stderr.startswith("pingthings: ")
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_text() == "what was there"
    assert run(*arguments).exit_code == 0
    assert list(tmp_path.iterdir()) == [output]
    assert output.stat().st_size > count


@pytest.mark.parametrize("format_", ["csv", "table", "parquet", "arrow"])
def test_a_reader_that_has_enough_is_no_error(server: Server, format_: str):
    command = [sys.executable, "-m", "pingthings", "get", *["lab/L1MAG"] * 400]
    with subprocess.Popen(
        [*command, "--format", format_],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"BTRDB_ENDPOINTS": server.endpoint},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
