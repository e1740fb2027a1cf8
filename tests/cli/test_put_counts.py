"""What `put` says is stored is there, and nothing else was touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from cli.files import ns, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.cli import ingestion
from pingthings.cli.checkpoint import Checkpoint
from pingthings.files import text as blocks
from pingthings.timeseries.exceptions import BTrDBError

Run = Callable[..., Any]
Stored = Callable[..., list[tuple[int, float]]]

T = ns("2024-01-01")
SECOND = 1_000_000_000
COLUMNS = "ab"


def file_of(folder: Path, seconds: list[int], name: str = "file.csv") -> Path:
    rows = (f"{T + second * SECOND},{place}" for place, second in enumerate(seconds))
    return write(folder, "\n".join(["time,a", *rows, ""]), name)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=40), min_size=1, max_size=3),
    st.sampled_from(["replace", "retain", "equal", "never"]),
    st.integers(20, 200),
)
def test_points_are_stored_or_replaced_or_left_out(
    run: Run,
    client: pt.Client,
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[int]],
    merge: str,
    block: int,
):
    folder = tmp_path_factory.mktemp("files")
    collection = f"counts/{folder.name}"
    paths = [str(file_of(folder, seconds, f"{k}.csv")) for k, seconds in enumerate(files)]
    arguments = ["put", *paths, "--collection", collection, "--time-unit", "ns", "--merge", merge]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK_BYTES", block)
        result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    (stream,) = client.streams_in_collection(collection)
    assert sum(report["stored"] for report in reports) == stream.count()
    for report, seconds in zip(reports, files, strict=True):
        assert report["points"] == len(seconds)
        assert report["points"] == report["stored"] + report["replaced"] + report["ignored"]
        repeated = report["replaced"] or report["ignored"]
        assert bool(repeated) == any(
            "at the same time" in note or "at the same\n" in note for note in report["notes"]
        )
    if merge == "replace":
        last = {T + s * SECOND: float(k) for f in files for k, s in enumerate(f)}
        table: Any = stream.raw_values(T, T + 100 * SECOND)
        times = table["time"].cast("int64").to_pylist()
        assert dict(zip(times, table["value"].to_pylist(), strict=True)) == last


def test_the_first_lines_that_repeat_a_time_are_said(run: Run, collection: str, tmp_path: Path):
    file = file_of(tmp_path, [0, 1, 0, 2, 1])
    arguments = ("put", str(file), "--collection", collection, "--time-unit", "ns")
    for options in (("--dry-run",), ()):
        told = run(*arguments, *options).stdout
        assert "2 points" in told
        assert "line 4 has the time of line 2, 2024-01-01T00:00:00.000000000Z" in told
        assert "line 6 has the time of line 3" in told
    again = run(*arguments, "--dry-run").stdout
    assert "0 would be stored, 5 in place of others" in again
    assert "line 2 has a time that was stored" in run(*arguments).stdout


def test_a_stream_fed_by_two_files_over_the_same_time_is_noticed(
    run: Run, collection: str, tmp_path: Path
):
    for station, seconds in (("elm", [0, 2, 4]), ("oak", [1, 3, 5]), ("yew", [6, 7])):
        (tmp_path / station).mkdir()
        file_of(tmp_path / station, seconds)
    result = run("put", str(tmp_path), "--collection", collection, "--time-unit", "ns", "--json")
    notes = [json.loads(line)["notes"] for line in result.stdout.splitlines()]
    assert [any("elm" in note and "is fed from" in note for note in own) for own in notes] == [
        *(False, True, False)
    ]


def test_what_get_writes_of_several_streams_goes_where_it_came_from(
    run: Run, client: pt.Client, collection: str, tmp_path: Path
):
    rows = "".join(f"2024-01-01 00:00:0{k},{k},{k * 2}\n" for k in range(5))
    run("put", str(write(tmp_path, f"time,a,b\n{rows}")), "--collection", collection)
    uuids = {stream.name: stream.uuid for stream in client.streams_in_collection(collection)}
    for suffix in ("csv", "parquet", "arrow"):
        both = tmp_path / f"both.{suffix}"
        run("get", f"{collection}/a", str(uuids["b"]), "--output", str(both))
        for name in COLUMNS:
            client.streams_in_collection(collection, tags={"name": name})[0].delete(
                T, T + 9 * SECOND
            )
        result = run("put", str(both), "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["stored"] == 10
        found = {s.name: (s.uuid, s.count()) for s in client.streams_in_collection(collection)}
        assert found == {name: (uuid, 5) for name, uuid in uuids.items()}
    other = f"{collection}/other"
    run("put", str(tmp_path / "both.csv"), "--collection", other)
    names = {s.name: s.count() for s in client.streams_in_collection(other)}
    assert names == {f"{collection}/a": 5, str(uuids["b"]): 5}


@pytest.mark.parametrize("how", ["same", "link", "hard link", "in a folder", "another file"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_rejected_rows_never_overwrite_what_is_there(
    run: Run, tmp_path: Path, how: str, dry_run: bool
):
    file = write(tmp_path, "time,a\n2024-01-01,1\n2024-01-02,x\n2024-01-03,2\n")
    rejected, given = file, file
    if how == "link":
        rejected = tmp_path / "link.csv"
        rejected.symlink_to(file)
    elif how == "hard link":
        rejected = tmp_path / "link.csv"
        os.link(file, rejected)
    elif how == "in a folder":
        given = tmp_path
    elif how == "another file":
        rejected = write(tmp_path, "mine,own\n1,2\n", "other.csv")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    options = ["--dry-run"] if dry_run else []
    result = run("put", str(given), "--rejected", str(rejected), *options)
    assert result.exit_code == 1
    assert str(rejected) in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_that_were_rejected_before_may_be_written_over(put: Run, tmp_path: Path):
    file, rejected = (
        write(tmp_path, "time,a\n2024-01-01,1\nx,1\n2024-01-02,2\n"),
        tmp_path / "rejected.csv",
    )
    for _ in range(2):
        assert put(file, "--rejected", rejected)["rejected"] == 1
    assert len(rejected.read_text(encoding="utf-8").splitlines()) == 2


def test_the_good_cells_of_a_row_are_kept_where_that_is_asked(
    put: Run, run: Run, stored: Stored, tmp_path: Path
):
    text = "time,a,b\n2024-01-01,x,1\n2024-01-02,2,inf\n2024-01-03,x,y\nno,3,3\n2024-01-04,4,4\n"
    text += "2024-01-05,5,5\n2024-01-06,6,6\n2024-01-07,7,7\n"
    file, rejected = write(tmp_path, text), tmp_path / "rejected.csv"
    found = put(file, "--bad-cell", "cell", "--rejected", rejected)
    assert (found["accepted"], found["rejected"], found["rejected_cells"]) == (6, 2, 2)
    assert [value for _, value in stored("a")] == [2.0, 4.0, 5.0, 6.0, 7.0]
    assert [value for _, value in stored("b")] == [1.0, 4.0, 5.0, 6.0, 7.0]
    lines = rejected.read_text(encoding="utf-8").splitlines()[1:]
    assert [line.rpartition(",")[2] for line in lines] == ["a", "b", "", "time"]
    assert run("put", str(file), "--bad-cell", "cell", "--dry-run").exit_code == 1


# Going on where it was interrupted.


def count_of(client: pt.Client, collection: str) -> int:
    (stream,) = client.streams_in_collection(collection)
    return stream.count()


@pytest.mark.parametrize("merge", ["never", "replace"])
def test_a_block_stored_before_its_checkpoint_fails_is_there_once(
    run: Run,
    client: pt.Client,
    collection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    merge: str,
):
    file = file_of(tmp_path, list(range(200)))
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 500)
    arguments = ("put", str(file), "--collection", collection, "--time-unit", "ns")
    save, calls = Checkpoint.save, []

    def fail(self: Checkpoint, **how: Any) -> None:
        calls.append(self.accepted)
        if len(calls) == 5:  # right after an insert
            raise BTrDBError("the disk is full")
        save(self, **how)

    monkeypatch.setattr(Checkpoint, "save", fail)
    failed = run(*arguments, "--merge", merge)
    assert failed.exit_code == 1
    assert count_of(client, collection) == calls[-1] > 0
    monkeypatch.setattr(Checkpoint, "save", save)
    found = json.loads(run(*arguments, "--merge", merge, "--json").stdout)
    assert found["resumed"]
    assert (found["accepted"], found["replaced"], found["ignored"]) == (200, 0, 0)
    assert count_of(client, collection) == 200


def test_a_checkpoint_that_cannot_be_written_any_more_ends_the_command(
    run: Run,
    client: pt.Client,
    collection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    file = file_of(tmp_path, list(range(200)))
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 500)
    arguments = ["put", str(file), "--collection", collection, "--time-unit", "ns"]
    arguments += ["--merge", "never"]
    replace, calls = Path.replace, []

    def fail(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "which says how far the file is stored: No space left" in result.stderr
    monkeypatch.setattr(Path, "replace", replace)
    assert run(*arguments).exit_code == 0
    assert count_of(client, collection) == 200


@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_file_rewritten_at_equal_size_is_another(
    run: Run,
    stored: Stored,
    collection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeps_time: bool,
):
    file = file_of(tmp_path, list(range(100, 300)))
    status = file.stat()
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 500)
    arguments = ("put", str(file), "--collection", collection, "--time-unit", "ns")
    take, taken = ingestion.Ingestion._take, []

    def stop(self: ingestion.Ingestion, *given: Any, **more: Any) -> None:
        taken.append(1)
        if len(taken) > 2:
            raise BTrDBError("stopped")
        take(self, *given, **more)

    monkeypatch.setattr(ingestion.Ingestion, "_take", stop)
    assert run(*arguments).exit_code == 1
    monkeypatch.setattr(ingestion.Ingestion, "_take", take)
    file_of(tmp_path, list(range(400, 600)))
    assert file.stat().st_size == status.st_size
    if keeps_time:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = json.loads(run(*arguments, "--json").stdout)
    assert not found["resumed"]
    assert found["accepted"] == 200
    assert {T + second * SECOND for second in range(400, 600)} <= {t for t, _ in stored("a")}


def test_one_column_may_become_two_streams(put: Run, stored: Stored, tmp_path: Path):
    said = put(
        *(file_of(tmp_path, [0, 1]), "--time-unit", "ns"), *("--value", "a=x", "--value", "a=y")
    )
    assert (said["points"], said["stored"]) == (4, 4)
    assert stored("x") == stored("y") == [(T, 0.0), (T + SECOND, 1.0)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_names_come_back_as_they_are(run: Run, client: pt.Client, tmp_path: Path, ending: str):
    collection = f"odd/{tmp_path.name}"
    names = [" s p ", "a,b", 'q"x', "n\nl", "NaN", "null", "1.5", "e\u0301", "\u00e9"]
    for place, name in enumerate(names):
        stream = client.create(uuid4(), collection, {"name": name, "unit": "V"})
        stream.insert([(T, place)])
    file = tmp_path / f"all.{ending}"
    assert run("get", *(f"{collection}/{n}" for n in names), "--output", str(file)).exit_code == 0
    assert run("put", str(file)).exit_code == 0
    assert sorted(str(s.name) for s in client.streams_in_collection(collection)) == sorted(names)
    assert all(s.count() == 1 for s in client.streams_in_collection(collection))


def test_only_points_that_are_left_out_are_said_to_be(put: Run, tmp_path: Path):
    text = "time,a\n2024-01-01,1\n2024-01-01,1\n2024-01-01,2\n"
    said = put(write(tmp_path, text), "--merge", "equal")
    assert (said["points"], said["stored"]) == (3, 2)
    assert "line 4" not in " ".join(said["notes"])


def test_rejected_rows_do_not_go_to_a_file_called_minus(run: Run, tmp_path: Path):
    result = run("put", str(file_of(tmp_path, [0])), "--rejected", "-")
    assert result.exit_code == 1
    assert "into a file" in result.stderr
