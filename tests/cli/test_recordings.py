"""COMTRADE recordings among the files of `put`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pingthings.timeseries as pt
import pytest
from ingest import simulated_recording as simulated
from pingthings.cli.recordings import parted

Run = Callable[..., Any]


@pytest.fixture
def fault(tmp_path: Path) -> Path:
    simulated.fault(tmp_path / "fault.cfg", "BINARY")
    return tmp_path / "fault.cfg"


@pytest.mark.parametrize("which", [".cfg", ".dat", "folder", "both"])
def test_put_stores_a_recording(
    client: pt.Client, run: Run, collection: str, fault: Path, which: str
):
    files = {"folder": [fault.parent], "both": [fault, fault.with_suffix(".dat")]}
    given = files[which] if which in files else [fault.with_suffix(which)]
    arguments = ("put", *map(str, given), "--collection", collection + "/{station}", "--json")
    run(*arguments)
    done = run(*arguments)  # stored twice, it is there once
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["station"], found["samples"], found["points"]) == ("SIMULATED", 480, 1_920)
    streams = client.streams_in_collection(f"{collection}/SIMULATED")
    assert sorted(str(one.name) for one in streams) == ["52A", "VA", "VB", "VC"]
    assert set(streams.count().values()) == {480}


@pytest.mark.parametrize(
    ("merge", "stored", "replaced", "ignored"),
    [
        ("replace", 0, 1_920, 0),
        ("retain", 0, 0, 1_920),
        ("equal", 0, 0, 1_920),
        ("never", 1_920, 0, 0),
    ],
)
def test_what_was_there_already_is_said(
    run: Run, collection: str, fault: Path, merge: str, stored: int, replaced: int, ignored: int
):
    arguments = ("put", str(fault), "--collection", collection, "--merge", merge, "--json")
    first, second = (json.loads(run(*arguments).stdout) for _ in range(2))
    for found, wanted in ((first, (1_920, 0, 0)), (second, (stored, replaced, ignored))):
        assert (found["stored"], found["replaced"], found["ignored"]) == wanted
    text = run(*arguments[:-1]).stdout
    assert ("in place of others" in text, "left out" in text) == (bool(replaced), bool(ignored))


def test_a_dry_run_stores_nothing_and_says_what_there_is(
    client: pt.Client, run: Run, collection: str, fault: Path
):
    done = run("put", str(fault), "--collection", collection, "--dry-run")
    assert done.exit_code == 0
    assert "1,920 points, 1,920 would be stored" in done.stdout
    assert f"{collection}/VA [V], 480 points" in done.stdout
    assert client.list_collections(collection) == []


def test_a_cut_recording_says_so_and_values_are_of_the_side_asked_for(
    client: pt.Client, run: Run, collection: str, fault: Path
):
    data = fault.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-100])
    done = run("put", str(fault), "--collection", collection, "--scaling", "secondary")
    assert done.exit_code == 0
    assert "it ends after 473 of 480 samples" in done.stdout
    (voltage,) = client.streams_in_collection(collection, tags={"name": "VB"})
    assert voltage.annotations()["side"] == "secondary"


def test_tables_and_recordings_may_come_together(
    client: pt.Client, run: Run, collection: str, fault: Path
):
    (fault.parent / "table.csv").write_text("time,v\n2024-01-01T00:00:00Z,1\n", "utf-8")
    done = run("put", str(fault.parent), "--collection", collection)
    assert done.exit_code == 0, done.stderr
    assert len(client.streams_in_collection(collection)) == 5


def test_what_is_no_recording_is_an_error_of_one_line(run: Run, collection: str, fault: Path):
    fault.write_text("nothing", "utf-8")
    done = run("put", str(fault), "--collection", collection)
    assert done.exit_code == 1
    assert done.stderr.startswith("pingthings: `")
    assert "the first line must have the station" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run("put", str(fault), "--collection", collection, "--value", "VA")
    assert done.exit_code == 2
    assert "is a recording" in done.stderr


def test_a_file_called_dat_without_a_description_is_a_table(tmp_path: Path):
    table = tmp_path / "log.dat"
    table.write_text("time,v\n", "utf-8")
    assert parted([table]) == ([], [table])
    (tmp_path / "LOG.CFG").write_text("ST,DEV,1999\n", "utf-8")
    assert parted([table, tmp_path / "LOG.CFG"]) == ([tmp_path / "LOG.CFG"], [])


TEXT = """ST,DEV,1999\r
1,1A,0D\r
1,{name},A,,V,0.5,0,0,-32767,32767,1,1,P\r
50\r
1\r
1000,2\r
{date},02:30:00.0\r
{date},02:30:00.0\r
ASCII\r
1\r
"""


def recorded(folder: Path, *, date: str = "27/10/2024", name: str = "VA") -> Path:
    (folder / "r.cfg").write_text(TEXT.format(date=date, name=name), newline="")
    (folder / "r.dat").write_text("1,0,10\r\n2,1000,20\r\n", newline="")
    return folder / "r.cfg"


@pytest.mark.parametrize(("rule", "hour"), [("earlier", 0), ("later", 1)])
def test_a_recording_in_the_hour_that_comes_twice(
    run: Run, collection: str, tmp_path: Path, rule: str, hour: int
):
    zone = ("--collection", collection, "--time-zone", "Europe/Vienna", "--json")
    done = run("put", str(recorded(tmp_path)), *zone, "--ambiguous", rule)
    assert json.loads(done.stdout)["start"] == f"2024-10-27T0{hour}:30:00.000000000Z"


@pytest.mark.parametrize(
    ("date", "name", "options", "said"),
    [
        ("27/10/2024", "VA", (), "occurred twice in Europe/Vienna: clocks went back; `ambiguous`"),
        ("31/03/2024", "VA", (), "does not exist in Europe/Vienna: clocks went forward"),
        ("01/02/2024", "V" * 256, ("--dry-run",), "cannot name a stream: it is longer than 255"),
    ],
)
def test_why_a_recording_is_refused(
    run: Run,
    collection: str,
    tmp_path: Path,
    date: str,
    name: str,
    options: tuple[str, ...],
    said: str,
):
    file = recorded(tmp_path, date=date, name=name)
    zone = ("--collection", collection, "--time-zone", "Europe/Vienna")
    done = run("put", str(file), *zone, *options)
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
    assert "the day comes first" not in done.stderr


def test_a_description_without_its_data_is_no_table(run: Run, collection: str, tmp_path: Path):
    file = recorded(tmp_path)
    file.with_suffix(".dat").unlink()
    done = run("put", str(file), "--collection", collection)
    assert "whose data, `r.dat`, are not in the same folder" in done.stderr
