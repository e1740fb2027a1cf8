"""`put`: every row is stored once, or rejected with its line and a reason."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from cli.files import ns, write
from pingthings.server import Server

Run = Callable[..., Any]

START = 1_700_000_000_000_000_000


def test_each_column_of_numbers_becomes_a_stream(put: Run, stored: Any, tmp_path: Path):
    rows = (
        "row,Time,a,b,note\n1,2024-01-01T00:00:00Z,1.5,,x\n2,2024-01-01T00:00:00.000000001Z,2,3,y\n"
    )
    found = put(write(tmp_path, rows))
    assert (found["rows"], found["accepted"], found["rejected"]) == (2, 2, 0)
    assert (found["empty_cells"], found["points"], found["time"]) == (1, 3, "Time")
    assert [stream["name"] for stream in found["streams"]] == ["a", "b"]
    start = ns("2024-01-01")
    assert stored("a") == [(start, 1.5), (start + 1, 2.0)]
    assert stored("b") == [(start + 1, 3.0)]
    assert put(write(tmp_path, rows))["points"] == 3
    assert len(stored("a")) == 2


def test_columns_get_names_and_units(put: Run, client: pt.Client, collection: str, tmp_path: Path):
    file = write(tmp_path, "time,a=b,c,d\n2024-01-01,1,2,3\n")
    put(file, "--value", "a=b=L1MAG:volts", "--value", "c", "--unit", "hertz")
    found = client.streams_in_collection(collection)
    assert {(s.name, s.unit) for s in found} == {("L1MAG", "volts"), ("c", "hertz")}


@pytest.mark.parametrize("format_", ["csv", "csv.gz", "parquet", "arrow", "stream"])
def test_formats_are_told_by_what_is_in_them(put: Run, stored: Any, tmp_path: Path, format_: str):
    times = START + np.arange(300_000) * 33_333_333
    values = np.random.default_rng(1).normal(230, 5, len(times))
    columns: Any = {"t": pa.array(times).cast(pa.timestamp("ns", "UTC")), "value": values}
    table = pa.table(columns)
    file = tmp_path / f"file.{format_}"
    if format_ == "csv":
        pa.csv.write_csv(table, file)
    elif format_ == "csv.gz":
        with pa.CompressedOutputStream(str(file), "gzip") as compressed:
            pa.csv.write_csv(table, compressed)
    elif format_ == "parquet":
        pq.write_table(table, file, row_group_size=70_000)
    else:
        make = pa.ipc.new_file if format_ == "arrow" else pa.ipc.new_stream
        with make(str(file), table.schema) as writer:
            writer.write_table(table)
    assert put(file)["points"] == len(times)
    assert stored() == list(zip(times.tolist(), values.tolist(), strict=True))


def test_what_get_writes_put_reads(run: Run, put: Run, stored: Any, tmp_path: Path):
    for name in ("out.csv", "out.parquet", "out.arrow"):
        run("get", "lab/L1MAG", "--output", str(tmp_path / name))
        assert put(tmp_path / name, "--value", f"value={name}")["points"] == 600
    assert stored("out.csv") == stored("out.parquet") == stored("out.arrow")
    assert stored("out.csv")[8] == (START + 8 * 10**9, 1.0)


def test_every_bad_row_is_kept_with_its_line_and_reason(
    run: Run, stored: Any, put: Run, tmp_path: Path
):
    lines = [
        "time;value;other",
        "2024-01-01T00:00:00Z;1;1",
        "",
        "x;2;2",
        "2024-01-01T00:00:01Z;abc;3",
        "2024-01-01T00:00:02Z;1",
        "2024-01-01T00:00:03Z;;",
        ";5;5",
        "2024-01-01T00:00:04Z;inf;5",
        "1800-01-01T00:00:00Z;1;1",
        '2024-01-01T00:00:05Z;"two\nlines";1',
        "2024-01-01T00:00:06Z;7; 8 ",
        "",
    ]
    rows_by_line = dict(enumerate(lines, 1))
    file, rejected = write(tmp_path, "\r\n".join(lines)), tmp_path / "rejected.csv"
    found = put(file, "--rejected", rejected)
    assert (found["rows"], found["accepted"], found["rejected"]) == (10, 2, 8)
    assert [value for _time, value in stored("other")] == [1.0, 8.0]
    with rejected.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [int(row["line"]) for row in rows] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert {row["file"] for row in rows} == {str(file)}
    for row, reason in zip(
        rows,
        (
            "`x` is not",
            "`abc`",
            "2 cells, not 3",
            "no value",
            "no time",
            "`inf`",
            "1800",
            "no number",
        ),
        strict=True,
    ):
        assert reason in row["reason"]
        assert row["row"] == rows_by_line[int(row["line"])]
    result = run("put", str(file), "--dry-run")
    assert result.exit_code == 1
    assert "8 of 10 rows were rejected" in result.stderr
    assert "line 4" in result.stderr


def test_rejected_rows_of_typed_files_are_counted_from_one(put: Run, tmp_path: Path):
    table = pa.table(
        {
            "time": pa.array([1, None, 3, 4], pa.timestamp("s")),
            "value": [1.0, 2.0, None, float("inf")],
        }
    )
    file, rejected = tmp_path / "file.parquet", tmp_path / "rejected.csv"
    pq.write_table(table, file)
    found = put(file, "--rejected", rejected)
    assert (found["accepted"], found["rejected"]) == (1, 3)
    with rejected.open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))[1:]
    assert [row[1:3] for row in rows] == [
        ["2", "no time"],
        ["3", "no value in any column"],
        ["4", "`inf` in column `value` is not finite"],
    ]


LOCAL = (
    "time,value\n"
    "2024-03-31T01:30:00,1\n2024-03-31T02:30:00,2\n2024-03-31T03:30:00,3\n"
    "2024-10-27T01:30:00,4\n2024-10-27T02:30:00,5\n2024-10-27T03:30:00,6\n"
)


@pytest.mark.parametrize(
    ("ambiguous", "stored_at"),
    [("earlier", "2024-10-27T00:30:00Z"), ("later", "2024-10-27T01:30:00Z"), ("reject", None)],
)
def test_local_times_over_changes_of_the_clock(
    put: Run, stored: Any, tmp_path: Path, ambiguous: str, stored_at: str | None
):
    rejected = tmp_path / "rejected.csv"
    zone = ("--time-zone", "Europe/Vienna", "--ambiguous", ambiguous)
    put(write(tmp_path, LOCAL), *zone, "--rejected", rejected)
    expected = [
        (ns("2024-03-31T00:30:00Z"), 1.0),
        (ns("2024-03-31T01:30:00Z"), 3.0),
        (ns("2024-10-26T23:30:00Z"), 4.0),
        *([] if stored_at is None else [(ns(stored_at), 5.0)]),
        (ns("2024-10-27T02:30:00Z"), 6.0),
    ]
    assert stored() == expected
    reasons = rejected.read_text(encoding="utf-8")
    assert "does not exist in Europe/Vienna" in reasons
    assert ("came twice" in reasons) == (stored_at is None)


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("s", "1700000000", START),
        ("s", "1700000000.123456789", START + 123_456_789),
        ("ms", "1700000000000.5", START + 500_000),
        ("us", "1700000000000001", START + 1_000),
        ("ns", "1700000000000000001", START + 1),
        ("s", "-0.5", -500_000_000),
    ],
)
def test_numbers_are_times_of_a_unit(
    put: Run, stored: Any, tmp_path: Path, unit: str, text: str, expected: int
):
    put(write(tmp_path, f"time,value\n{text},1\n"), "--time-unit", unit)
    assert stored() == [(expected, 1.0)]


def test_times_and_numbers_as_they_are_written_elsewhere(put: Run, stored: Any, tmp_path: Path):
    file = tmp_path / "file.csv"
    file.write_bytes("Zeit;Temperatur °C\n31.12.2023 23:00;-1,5\n".encode("latin-1"))
    options = ("--decimal", ",", "--time-format", "%d.%m.%Y %H:%M", "--encoding", "latin-1")
    put(file, *options, "--time-zone", "Europe/Vienna")
    assert stored("Temperatur °C") == [(ns("2023-12-31T22:00:00Z"), -1.5)]


def test_a_dry_run_changes_nothing(run: Run, client: pt.Client, collection: str, tmp_path: Path):
    result = run("put", str(write(tmp_path, LOCAL)), "--dry-run", "--collection", collection)
    assert result.exit_code == 0
    assert "6 would be accepted, 0 rejected" in result.stdout
    assert f"{collection}/value, would be made: column `value`, 6 points" in result.stdout
    assert "2024-03-31T01:30:00.000000000Z to 2024-10-27T03:30:00.000000000Z" in result.stdout
    assert client.list_collections(collection) == []
    assert [file.name for file in tmp_path.iterdir()] == ["file.csv"]


def has_begun(state: Path) -> Callable[[], bool]:
    """Whether some rows of a file are stored, and known to be."""
    return lambda: state.exists() and json.loads(state.read_text("utf-8"))["accepted"] > 0


def wait_for(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
@pytest.mark.parametrize("merge", ["replace", "never"])
def test_interrupted_and_started_again_each_row_is_there_once(
    server: Server,
    stored: Any,
    collection: str,
    tmp_path: Path,
    how: signal.Signals,
    code: int,
    merge: str,
):
    count = 1_000_000
    lines = [f"{START + k},{k % 1000}" if k % 50_000 != 7 else f"x{k},1" for k in range(count)]
    file = write(tmp_path, "\n".join(["time,value", *lines]))
    rejected = tmp_path / "rejected.csv"
    command = [sys.executable, "-m", "pingthings", "put", str(file), "--collection", collection]
    command += ["--time-unit", "ns", "--rejected", str(rejected), "--merge", merge, "--json"]
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        wait_for(has_begun(tmp_path / ".file.csv.put"), process)
        process.send_signal(how)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert told.splitlines() == (
        [b"pingthings: interrupted; the same command goes on from there"] * (code == 130)
    )
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["resumed"]
    assert (found["accepted"], found["rejected"]) == (count - 20, 20)
    assert [t for t, _ in stored()] == [START + k for k in range(count) if k % 50_000 != 7]
    with rejected.open(encoding="utf-8", newline="") as text:
        kept = [int(row["line"]) for row in csv.DictReader(text)]
    assert kept == [k + 2 for k in range(count) if k % 50_000 == 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.csv", "rejected.csv"]


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_typed_files_go_on_where_they_were_killed(
    server: Server, stored: Any, collection: str, tmp_path: Path, format_: str
):
    count = 1_000_000
    values = np.arange(count) / 8
    values[::50_000] = np.inf
    columns: Any = {"time": START + np.arange(count), "value": values}
    table, file = pa.table(columns), tmp_path / f"file.{format_}"
    if format_ == "parquet":
        pq.write_table(table, file, row_group_size=1 << 20)
    else:
        with pa.ipc.new_file(str(file), table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 20)
    command = [sys.executable, "-m", "pingthings", "put", str(file), "--collection", collection]
    command += ["--time-unit", "ns", "--merge", "never", "--json"]
    command += ["--rejected", str(tmp_path / "rejected.csv")]
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint}
    with subprocess.Popen(command, env=environ) as process:
        wait_for(has_begun(tmp_path / f".file.{format_}.put"), process)
        process.kill()
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["resumed"]
    assert (found["accepted"], found["rejected"]) == (count - 20, 20)
    kept = [(START + k, k / 8) for k in range(count) if k % 50_000]
    assert stored() == kept
    with (tmp_path / "rejected.csv").open(encoding="utf-8", newline="") as text:
        lines = [int(row["line"]) for row in csv.DictReader(text)]
    assert lines == [k + 1 for k in range(0, count, 50_000)]


def test_a_server_that_forgot_gets_everything_again(tmp_path: Path, run: Run):
    count = 500_000
    file = write(tmp_path, "\n".join(["time,value", *(f"{START + k},{k}" for k in range(count))]))
    arguments = ("put", str(file), "--time-unit", "ns", "--json")
    with Server() as first:
        port = int(first.endpoint.rpartition(":")[2])
        environ = os.environ | {"BTRDB_ENDPOINTS": first.endpoint}
        command = [sys.executable, "-m", "pingthings", *arguments]
        with subprocess.Popen(command, env=environ) as process:
            wait_for(has_begun(tmp_path / ".file.csv.put"), process)
            process.kill()
    with Server(port=port) as second:
        found = json.loads(run(*arguments, BTRDB_ENDPOINTS=second.endpoint).stdout)
    assert not found["resumed"]
    assert found["accepted"] == count


def test_a_stream_keeps_its_unit(run: Run, put: Run, collection: str, tmp_path: Path):
    file = write(tmp_path, "time,value\n2024-01-01,1\n")
    put(file, "--unit", "volts")
    put(file)
    result = run("put", str(file), "--collection", collection, "--unit", "amperes")
    assert result.exit_code == 1
    assert "has the unit `volts`" in result.stderr


def test_unknown_streams_are_made_with_uuids_of_their_own(put: Run, tmp_path: Path):
    file = write(tmp_path, "time,value\n2024-01-01,1\n")
    first = put(file)["streams"][0]["uuid"]
    assert put(file)["streams"][0]["uuid"] == first != str(uuid4())


@pytest.mark.parametrize("name", ["file.parquet", "file.arrow"])
def test_a_file_that_is_damaged_within_is_said_to_be(run: Run, tmp_path: Path, name: str):
    columns: Any = {"time": np.arange(300_000), "value": np.random.default_rng(1).random(300_000)}
    table, file = pa.table(columns), tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(table, file, row_group_size=100_000)
    else:
        with pa.ipc.new_stream(str(file), table.schema) as writer:
            writer.write_table(table, max_chunksize=100_000)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    if name.endswith("parquet"):
        data[4:middle] = b"?" * (middle - 4)  # with the headers of pages
    else:
        del data[middle:]
    file.write_bytes(data)
    result = run("put", str(file), "--time-unit", "ns", "--rejected", str(tmp_path / "rejected"))
    assert result.exit_code == 1
    assert result.stderr.startswith("pingthings: ")
    assert result.stderr.count("\n") == 1


def test_files_of_one_collection_go_into_the_same_new_streams(
    put: Run, stored: Any, tmp_path: Path
):
    first = write(tmp_path, "time,value\n2024-01-01,1\n", "first.csv")
    second = write(tmp_path, "time,value\n2024-01-02,2\n", "second.csv")
    put(first, second)
    assert stored() == [(ns("2024-01-01"), 1.0), (ns("2024-01-02"), 2.0)]


def test_files_before_the_one_that_was_interrupted_are_not_stored_again(
    server: Server, stored: Any, collection: str, tmp_path: Path
):
    count = 500_000
    lines = [f"{START + k},{k}" for k in range(count)]
    first = write(tmp_path, f"time,value\n{START - 1},5\n", "first.csv")
    second = write(tmp_path, "\n".join(["time,value", *lines]), "second.csv")
    command = [sys.executable, "-m", "pingthings", "put", str(first), str(second)]
    command += ["--collection", collection, "--time-unit", "ns", "--merge", "never"]
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint}
    with subprocess.Popen(command, env=environ) as process:
        wait_for(has_begun(tmp_path / ".second.csv.put"), process)
        process.kill()
    subprocess.run(command, env=environ, capture_output=True, check=True)
    assert [time for time, _ in stored()] == [START + k for k in range(-1, count)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.csv", "second.csv"]


def test_a_folder_is_all_the_files_in_it(run: Run, client: pt.Client, tmp_path: Path):
    archive = tmp_path / f"archive-{uuid4()}"
    for day in (2, 1):
        inside = archive / f"2024/day {day}"
        inside.mkdir(parents=True)
        write(inside, f"time,value\n2024-01-0{day},{day}\n")
        times = [ns(f"2024-01-0{day}T12:00")]
        table = pa.table({"time": pa.array(times, pa.timestamp("ns")), "value": [day + 0.5]})
        pq.write_table(table, inside / "file.parquet")
    (archive / "_tmp").mkdir()
    for name in ("_tmp/file.csv", ".file.csv", "_SUCCESS.csv", "readme.txt"):
        write(archive, "no,such\nthing,1\n", name)
    result = run("put", str(archive), "--json")
    assert result.exit_code == 0, result.stderr
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["day 1/file.csv", "day 1/file.parquet", "day 2/file.csv", "day 2/file.parquet"]
    assert [report["file"] for report in reports] == [f"{archive}/2024/{name}" for name in names]
    assert {report["collection"] for report in reports} == {archive.name}
    (stream,) = client.streams_in_collection(archive.name)
    table = stream.raw_values(ns("2024-01-01"), ns("2024-01-03"))
    assert table["value"].to_pylist() == [1.0, 1.5, 2.0, 2.5]


def test_keys_of_a_path_name_the_collection(
    run: Run, client: pt.Client, collection: str, tmp_path: Path
):
    for station, day in (("oak", 1), ("oak", 2), ("El%20Paso", 1)):
        inside = tmp_path / f"station={station}/day=2024-01-0{day}"
        inside.mkdir(parents=True)
        write(inside, f"time,value\n2024-01-0{day},{day}\n", "part-0.csv")
    result = run("put", str(tmp_path), "--collection", collection + "/{station}")
    assert result.exit_code == 0, result.stderr
    found = {
        str(stream.collection).removeprefix(f"{collection}/"): stream.count()
        for stream in client.streams_in_collection(collection)
    }
    assert found == {"oak": 2, "El Paso": 1}


def test_a_folder_that_was_killed_goes_on(
    server: Server, stored: Any, collection: str, tmp_path: Path
):
    count, rows = 40, 20_000
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(count):
        first = START + number * rows
        lines = [f"{first + k},{k}" if k else f"x,{k}" for k in range(rows)]
        write(archive, "\n".join(["time,value", *lines]), f"{number:03}.csv")
    command = [sys.executable, "-m", "pingthings", "put", str(archive)]
    command += ["--collection", collection, "--time-unit", "ns", "--merge", "never", "--json"]
    command += ["--rejected", str(tmp_path / "rejected.csv")]
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint}
    for number in (10, 25):
        with subprocess.Popen(command, env=environ) as process:
            wait_for(has_begun(archive / f".{number:03}.csv.put"), process)
            process.kill()
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["rejected"] for report in reports] == [1] * count
    assert [report["accepted"] for report in reports] == [rows - 1] * count
    assert [time for time, _ in stored()] == [START + k for k in range(count * rows) if k % rows]
    with (tmp_path / "rejected.csv").open(encoding="utf-8", newline="") as text:
        assert [int(row["line"]) for row in csv.DictReader(text)] == [2] * count
    assert len(list(archive.iterdir())) == count


def test_more_files_than_can_be_open(run: Run, stored: Any, collection: str, tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(100):
        times = pa.array([START + number], pa.timestamp("ns"))
        table = pa.table({"time": times, "value": [float(number)]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
    try:
        result = run("put", str(tmp_path), "--collection", collection)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.exit_code == 0, result.stderr
    assert len(stored()) == 100


def test_a_terminal_sees_one_bar_for_all_files(server: Server, collection: str, tmp_path: Path):
    for number in range(3):
        times = range(START, START + 100_000)
        lines = [f"{time + number},{number}" for time in times]
        write(tmp_path, "\n".join(["time,value", *lines]), f"{number}.csv")
    command = [sys.executable, "-m", "pingthings", "put", str(tmp_path), "--time-unit", "ns"]
    command += ["--collection", collection]
    ours, theirs = pty.openpty()
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint, "TERM": "xterm"}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # where the other end is closed
            while data := os.read(ours, 1 << 12):
                seen += data
        process.communicate()
    os.close(ours)
    assert process.returncode == 0
    # What is drawn is up to the clock, but for the end.
    assert b"2.csv (3/3)" in seen
    assert b"100%" in seen
