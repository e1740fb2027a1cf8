"""Folders of long tables: each row once or rejected, also when killed in the middle."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pingthings.files.source import SourceError
from pingthings.files.times import Clock
from pingthings.ingest.folder import COMMIT_ROWS, Columns, Ledger, Rejects, store
from pingthings.timeseries.exceptions import BTrDBError, BTRDBValueError

T = 1_700_000_000_000_000_000
STATIONS = ("oak", "elm")
NAMES = ("L1MAG", "L2MAG", "FREQ")

Until = Callable[[Callable[[], object]], None]


def values_of(client: pt.Client, collection: str) -> dict[str, list[tuple[int, float]]]:
    found = {}
    for stream in client.streams_in_collection(collection):
        arrays = pt.frames.to_numpy(stream.raw_values(T - 1, T + (1 << 40)))
        pairs = zip(arrays["time"].view(np.int64).tolist(), arrays["value"].tolist(), strict=True)
        found[f"{stream.collection}/{stream.name}"] = list(pairs)
    return found


def archive(folder: Path, form: str, files: int, rows: int) -> dict[str, list[tuple[int, float]]]:
    """Files of two stations, every 1000th row without a number; and what is good in them."""
    good: dict[str, list[tuple[int, float]]] = {}
    for station in STATIONS:
        for day in range(files):
            inside = folder / f"station={station}/day={day}"
            inside.mkdir(parents=True)
            numbers = np.arange(day * rows, (day + 1) * rows)
            names = [NAMES[number % len(NAMES)] for number in numbers]
            values = np.where(numbers % 1_000 == 999, np.inf, numbers / 8)
            columns: Any = {"name": names, "time": T + numbers, "value": values}
            table = pa.table(columns)
            if form == "parquet":
                times = table["time"].cast(pa.timestamp("ns", "UTC"))
                table = table.set_column(1, "time", times)
                pq.write_table(table, inside / "part-0.parquet", row_group_size=1 << 17)
            else:
                with (inside / "part-0.csv").open("w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file)
                    writer.writerow(table.column_names)
                    writer.writerows(zip(names, T + numbers, values, strict=True))
            for number, name in zip(numbers.tolist(), names, strict=True):
                if number % 1_000 != 999:
                    good.setdefault(f"{station}/{name}", []).append((T + number, number / 8))
    return good


def rejected(path: Path) -> list[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["file"], int(row["line"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_every_row_is_stored_or_rejected_and_new_files_are_added(
    client: pt.Client, collection: str, tmp_path: Path, form: str
):
    folder = tmp_path / "archive"
    good = archive(folder, form, 2, 3_000)
    columns = Columns(clock=Clock(unit="ns"), unit="volts")
    where = collection + "/{station}"
    for _ in range(2):  # the second time there is nothing to do
        ledger, rejects = Ledger.read(tmp_path / "ledger"), Rejects(tmp_path / "rejected")
        store(client, folder, where, ledger, rejects, columns)
        rejects.close()
        assert sum(one.rows for one in ledger.files.values()) == 12_000
        assert sum(one.rejected for one in ledger.files.values()) == 12
        found = values_of(client, collection)
        assert found == {f"{collection}/{name}": points for name, points in good.items()}
        assert len(rejected(tmp_path / "rejected")) == 12
    (folder / "station=oak/late").mkdir()
    late = pa.table({"name": ["L1MAG"], "time": [T - 1], "value": [5.0]})
    pq.write_table(late, folder / "station=oak/late/part-0.parquet")
    ledger, rejects = Ledger.read(tmp_path / "ledger"), Rejects(tmp_path / "rejected")
    store(client, folder, where, ledger, rejects, columns)
    rejects.close()
    assert values_of(client, collection)[f"{collection}/oak/L1MAG"][0] == (T - 1, 5.0)
    assert len(rejected(tmp_path / "rejected")) == 12
    (tmp_path / "rejected").unlink()
    with pytest.raises(ValueError, match="remove both"):
        store(client, folder, where, ledger, Rejects(tmp_path / "rejected"), columns)


def ragged(path: Path, rows: int) -> tuple[list[tuple[int, float]], list[int]]:
    """Writes some megabytes of rows, of which some are too long or too short, also the last."""
    lines, good, bad = ["time,name,value"], [], []
    for number in range(1, rows + 1):
        name = "a name that is so long that the file has several blocks of a megabyte"
        line = f"{T + number},{name},{number}"
        if number % 997 in {0, 1, 2} or number == rows:
            line = f"{T + number},{name}" if number % 2 else f"{line},more"
            bad.append(number + 1)  # the line
        else:
            good.append((T + number, float(number)))
        lines.append(line)
    path.write_text("\n".join(lines), "utf-8")
    return good, bad


def test_rows_of_another_length_are_rejected_wherever_they_stand(
    client: pt.Client, collection: str, tmp_path: Path
):
    folder = tmp_path / "archive"
    folder.mkdir()
    good, bad = ragged(folder / "a.csv", 60_000)
    ledger, rejects = Ledger.read(tmp_path / "ledger"), Rejects(tmp_path / "rejected")
    store(client, folder, collection, ledger, rejects, Columns(clock=Clock(unit="ns")))
    rejects.close()
    ((_, points),) = values_of(client, collection).items()
    assert points == good
    assert [line for _, line in rejected(tmp_path / "rejected")] == bad
    (progress,) = ledger.files.values()
    assert (progress.rows, progress.rejected) == (60_000, len(bad))


def test_a_file_that_cannot_be_read_is_named(client: pt.Client, collection: str, tmp_path: Path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for content in (b"time,name\n1,a\n", b"PAR1 and no more", b""):
        (folder / "a.csv").write_bytes(content)
        with pytest.raises(BTrDBError, match=re.escape(str(folder / "a.csv"))):
            store(client, folder, collection, Ledger(tmp_path / "ledger"), Rejects(None))


def arguments(folder: Path, collection: str) -> list[str]:
    ledger, refused = folder.parent / "ledger.json", folder.parent / "rejected.csv"
    return [
        *(str(folder), "--collection", collection + "/{station}"),
        *("--ledger", str(ledger), "--rejected", str(refused)),
    ]


def test_killed_in_the_middle_and_started_again_each_row_is_there_once(
    client: pt.Client, collection: str, program: Any, tmp_path: Path, until: Until
):
    folder, rows = tmp_path / "archive", COMMIT_ROWS + COMMIT_ROWS // 2
    good = archive(folder, "parquet", 1, rows)
    command = program("folder", *arguments(folder, collection))
    for committed in (1, rows + 1):  # in the middle of the first file, and of the second
        with subprocess.Popen(command) as process:

            def has_committed(at_least: int = committed) -> bool:
                files = Ledger.read(tmp_path / "ledger.json").files.values()
                return sum(one.rows for one in files) >= at_least

            until(has_committed)
            process.kill()
        assert process.returncode == -9
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == [
        f"{rows:,} rows, {rows // 1_000:,} of them rejected"
    ] * 2
    found = values_of(client, collection)
    assert found == {f"{collection}/{name}": points for name, points in good.items()}
    lines = [k + 1 for k in range(rows) if k % 1_000 == 999]
    files = [str(folder / f"station={one}/day=0/part-0.parquet") for one in sorted(STATIONS)]
    assert rejected(tmp_path / "rejected.csv") == [(file, line) for file in files for line in lines]


def test_memory_does_not_grow_with_the_folder(collection: str, program: Any, tmp_path: Path):
    took = []
    for files in (1, 8):
        folder = tmp_path / str(files) / "archive"
        archive(folder, "parquet", files, 250_000)
        code = (
            "import re, runpy; runpy.run_module('ingest.folder', run_name='__main__');"
            # What `getrusage` says may be the parent's.
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        command = program("folder", *arguments(folder, f"{collection}/{files}"))[3:]
        done = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
        )
        took.append(int(done.stdout.splitlines()[-1]))
    assert took[1] < took[0] * 1.3


def stored_rows(
    client: pt.Client, collection: str, folder: Path, columns: Columns | None = None
) -> tuple[dict[str, list[tuple[int, float]]], str]:
    """What is stored of a folder, and what is rejected."""
    rejects = Rejects(folder.parent / "rejected")
    try:
        store(client, folder, collection, Ledger.read(folder.parent / "ledger"), rejects, columns)
    finally:
        rejects.close()
    return values_of(client, collection), (folder.parent / "rejected").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 256, "is longer than 255 characters"), ("a\0b", "contains a NUL")],
)
def test_a_name_that_no_stream_can_have_rejects_its_row(
    client: pt.Client, collection: str, tmp_path: Path, name: str, why: str
):
    folder = tmp_path / "archive"
    folder.mkdir()
    rows = f"time,name,value\n2024-01-01,{name},1\n2024-01-02,good,2\n"
    (folder / "a.csv").write_text(rows, "utf-8")
    found, refused = stored_rows(client, collection, folder)
    assert list(found) == [f"{collection}/good"]
    assert why in refused


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"time": [1_704_067_200], "name": ["a"]}, "a.parquet` holds numbers; set what"),
        ({"time": [1_704_067_200.5], "name": ["a"]}, "a.parquet` holds numbers; set what"),
        ({"time": ["2024-01-01"], "name": [["a"]]}, "which names no streams"),
    ],
)
def test_columns_that_hold_something_else_are_named(
    client: pt.Client, collection: str, tmp_path: Path, columns: dict[str, Any], why: str
):
    folder = tmp_path / "archive"
    folder.mkdir()
    pq.write_table(pa.table({**columns, "value": [1.0]}), folder / "a.parquet")
    with pytest.raises(SourceError, match=why):
        stored_rows(client, collection, folder)


def test_a_number_that_is_none_names_no_stream(client: pt.Client, collection: str, tmp_path: Path):
    folder = tmp_path / "archive"
    folder.mkdir()
    table: dict[str, Any] = {
        "time": ["2024-01-01"] * 2,
        "name": [7.0, float("nan")],
        "value": [1.0, 2.0],
    }
    pq.write_table(pa.table(table), folder / "a.parquet")
    found, refused = stored_rows(client, collection, folder)
    assert list(found) == [f"{collection}/7"]
    assert "no name" in refused


def test_two_columns_of_one_name_are_refused(client: pt.Client, collection: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text("time,name,value,value\n2024-01-01,a,1,2\n", encoding="utf-8")
    ledger, rejects = Ledger(tmp_path / "ledger"), Rejects(tmp_path / "rejected")
    with pytest.raises(SourceError, match=r"another column `value`, `value \(column 4\)`"):
        store(client, tmp_path, collection, ledger, rejects)
    with pytest.raises(SourceError, match="does not exist"):
        store(client, tmp_path / "no", collection, ledger, rejects)
    rejects.close()
    assert not len(client.streams_in_collection(collection))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {"a": {}}, "rejected_bytes": 0}'])
def test_what_is_no_ledger_is_named(tmp_path: Path, text: str):
    path = tmp_path / "ledger.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BTRDBValueError, match=r"ledger.json` is not a ledger"):
        Ledger.read(path)


def test_a_unit_of_times_that_is_none_is_named():
    with pytest.raises(BTRDBValueError, match="`sec` is no unit of times; give one of `s`"):
        Clock(unit="sec")  # type: ignore[arg-type]
