"""`put` and its neighbours with what is seldom: odd layouts, odd bytes, odd surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.files import ns, write
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from pingthings.server import Server

Run = Callable[..., Any]
Stored = Callable[..., list[tuple[int, float]]]

T = ns("2024-01-01")
SECOND = 1_000_000_000
DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - a spreadsheet knows no zones
CSV = "time,a\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:01Z,2\n"
TWO = [(T, 1.0), (T + SECOND, 2.0)]
parquet: Any = pq
arrow: Any = pa


@pytest.mark.parametrize(
    "text",
    [
        "time a b\n2024-01-01T00:00:00Z 1 7\n2024-01-01T00:00:01Z 2 7\n",
        "time                   a  b\n2024-01-01T00:00:00Z   1  7\n2024-01-01T00:00:01Z  2   7\n",
        "   date    time  a \t b\n 2024-01-01 00:00:00  1 7 \n 2024-01-01 00:00:01  2 7 \n",
        "# time a b\n2024-01-01T00:00:00Z 1 7\n2024-01-01T00:00:01Z 2 7\n",
    ],
    ids=["one-space", "in-line", "at-the-edges", "names-in-a-comment"],
)
def test_spaces_part_cells_where_nothing_else_does(
    put: Run, stored: Stored, tmp_path: Path, text: str
):
    found = put(write(tmp_path, text))
    assert "a space parts its cells" in found["notes"]
    assert stored("a") == TWO


def test_a_table_parted_by_spaces_comes_through_a_pipe(put: Run, stored: Stored):
    rows = "".join(f"  {T + n:d}   {n:6d}\n" for n in range(60_000))  # more than is looked at first
    put("-", "--time-unit", "ns", stdin=("time    a\n" + rows).encode())
    points = stored("a")
    assert len(points) == 60_000
    assert points[-1] == (T + 59_999, 59_999.0)


def test_a_column_of_dates_and_times_alone_is_not_parted(run: Run, tmp_path: Path):
    path = write(tmp_path, "when\n2024-01-01 00:00:00\n2024-01-01 00:00:01\n")
    done = run("put", str(path), "--collection", "x")
    assert "no column of numbers beside `when`" in done.stderr


def test_units_below_names_and_how_a_logger_made_the_values(
    put: Run, client: pt.Client, collection: str, tmp_path: Path
):
    text = (
        '"TOA5","CR1000","CR1000","1234"\n"TIMESTAMP","RECORD","BattV","Temp"\n'
        '"TS","RN","Volts","Deg C"\n"","","Min","Avg"\n'
        '"2024-01-01 00:00:00",0,12.5,20.1\n"2024-01-01 00:01:00",1,12.6,"NAN"\n'
    )
    found = put(write(tmp_path, text))
    assert found["rejected"] == 0
    assert "line 4 says more of the columns, and is left out" in found["notes"]
    units = {stream.name: stream.unit for stream in client.streams_in_collection(collection)}
    assert units == {"RECORD": "RN", "BattV": "Volts", "Temp": "Deg C"}


def test_a_title_above_names_is_not_taken_for_the_names(
    put: Run, client: pt.Client, collection: str, tmp_path: Path
):
    rows = "2024-01-01T00:00:00Z,1,4\n2024-01-01T00:00:01Z,1,4\n"
    put(write(tmp_path, "Station,Oak,x\ntime,Hertz,Volts\n" + rows))
    names = {stream.name for stream in client.streams_in_collection(collection)}
    assert names == {"Hertz", "Volts"}


def test_a_bad_row_below_units_is_rejected(run: Run, collection: str, tmp_path: Path):
    path = write(tmp_path, "time,a\n,V\nbad,worse\n" + CSV.partition("\n")[2])
    done = run("put", str(path), "--collection", collection)
    assert "line 3: time `bad` is not understood" in done.stderr


def test_when_something_was_is_not_taken_for_the_time_of_days_that_come_once(
    run: Run, put: Run, stored: Stored, tmp_path: Path
):
    text = "date,peak,a\n2024-01-01 00:00:00,12:30:00,1\n2024-01-02 00:00:00,13:30:00,2\n"
    path = write(tmp_path, text)
    assert "columns `date` and `peak`" in run("put", str(path), "--collection", "x").stderr
    put(path, "--time", "date")
    assert [time for time, _ in stored("a")] == [T, T + 86_400 * SECOND]


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"])
def test_wide_signs_without_a_mark(put: Run, stored: Stored, tmp_path: Path, encoding: str):
    put(write(tmp_path, CSV.encode(encoding)))
    assert stored("a") == TWO


def test_a_text_that_is_not_in_the_encoding_that_was_told(run: Run, tmp_path: Path):
    done = run("put", str(write(tmp_path, CSV)), "--collection", "x", "--encoding", "utf-16")
    assert "is no text in utf-16; say which it is in, as in `--encoding utf-8`" in done.stderr


@pytest.mark.parametrize("room", [b"\0" * 4096, b"\x1a"], ids=["zeros", "end-of-file"])
def test_room_behind_the_rows_is_no_row(put: Run, stored: Stored, tmp_path: Path, room: bytes):
    assert put(write(tmp_path, CSV.encode() + room))["rejected"] == 0
    assert stored("a") == TWO


def test_times_with_exponents_are_exact(put: Run, stored: Stored, tmp_path: Path):
    text = f"time,a\n{T / 1e9:.18e},1\n1.704067201000000000e+09,2\n"
    put(write(tmp_path, text), "--time-unit", "s")
    assert stored("a") == TWO


@pytest.mark.parametrize("sign", list("\\^$*()[]{}?_'"))
def test_any_sign_may_part_thousands(put: Run, stored: Stored, tmp_path: Path, sign: str):
    text = f"time,a\n2024-01-01T00:00:00Z,1{sign}234.5\n"
    put(write(tmp_path, text), "--thousands", sign)
    assert stored("a") == [(T, 1234.5)]


def test_names_below_more_comments_than_are_looked_at(put: Run, stored: Stored, tmp_path: Path):
    put(write(tmp_path, "# c\n" * 5_000 + CSV))
    assert stored("a") == TWO


def test_why_no_row_can_be_read(run: Run, tmp_path: Path):
    done = run(
        "put", str(write(tmp_path, 'time,a\n2024-01-01T00:00:00Z,"1\n')), "--collection", "x"
    )
    assert "line 2: a quotation mark that begins a cell is not closed" in done.stderr


def test_one_column_may_be_cells_that_nothing_known_parts(run: Run, put: Run, tmp_path: Path):
    path = write(tmp_path, CSV.replace(",", "~"))
    done = run("put", str(path), "--collection", "x")
    assert "say what with `--delimiter`" in done.stderr
    assert put(path, "--delimiter", "~")["accepted"] == 2


# Files whose columns have types.


def test_equal_names_beside_nested_columns_keep_their_values(
    put: Run, stored: Stored, tmp_path: Path
):
    times = arrow.array([T, T + SECOND], arrow.timestamp("ns", "UTC"))
    one, other = arrow.array([1.0, 2.0]), arrow.array([8.0, 9.0])
    nested = arrow.array([{"x": 3.0}, {"x": 4.0}])
    table = arrow.Table.from_arrays([times, one, nested, other], names=["time", "v", "s", "v"])
    parquet.write_table(table, tmp_path / "a.parquet")
    put(tmp_path / "a.parquet")
    assert stored("v") == TWO
    assert stored("v (column 4)") == [(T, 8.0), (T + SECOND, 9.0)]


def test_days_as_timestamps_and_times_of_day(put: Run, stored: Stored, tmp_path: Path):
    days = arrow.array([T, T], arrow.timestamp("ns"))
    clocks = arrow.array([0, SECOND], arrow.time64("ns"))
    parquet.write_table(
        arrow.table({"date": days, "time": clocks, "a": [1.0, 2.0]}), tmp_path / "a.parquet"
    )
    put(tmp_path / "a.parquet")
    assert stored("a") == TWO


# Workbooks and archives.


def workbook(path: Path, *sheets: Any) -> Path:
    book: Any = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_days_and_times_of_day_in_a_workbook(put: Run, stored: Stored, tmp_path: Path):
    day = date(2024, 1, 1)
    rows = [["date", "time", "a"], [day, time(0, 0, 0), 1], [day, time(0, 0, 1), 2]]
    put(workbook(tmp_path / "a.xlsx", rows))
    assert stored("a") == TWO


def test_the_first_sheet_with_a_table_is_read(put: Run, stored: Stored, tmp_path: Path):
    rows = [["time", "a"], [DAY, 1], [DAY + timedelta(seconds=1), 2]]
    found = put(workbook(tmp_path / "a.xlsx", [["Plant report"], ["2024"]], rows))
    assert "sheet `sheet 1` is read, and not `sheet 0`; `--sheet` says which" in found["notes"]
    assert stored("a") == TWO


def test_a_workbook_needs_no_ending(put: Run, stored: Stored, tmp_path: Path):
    rows = [["time", "a"], [DAY, 1]]
    put(workbook(tmp_path / "a.xlsx", rows).rename(tmp_path / "download"))
    assert stored("a") == TWO[:1]


def test_standard_input_is_one_file(run: Run, collection: str):
    done = run("put", "-", "-", "--collection", collection, stdin=CSV.encode())
    assert (done.exit_code, "can be read once only" in done.stderr) == (2, True)


def test_options_about_texts_leave_the_cells_of_a_workbook(
    put: Run, stored: Stored, tmp_path: Path
):
    rows = [["time", "ä"], [DAY, 1.234], [DAY + timedelta(seconds=1), "1.002,5"]]
    text = ("--decimal", ",", "--thousands", ".", "--delimiter", ";", "--encoding", "latin-1")
    put(workbook(tmp_path / "a.xlsx", rows), *text)
    assert [value for _, value in stored("ä")] == [1.234, 1_002.5]


def test_a_workbook_may_count_its_days_from_1904(put: Run, stored: Stored, tmp_path: Path):
    book: Any = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    for row in (["time", "a"], [43_830, 1], [43_830 + 1 / 86_400, 2]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    put(tmp_path / "a.xlsx", "--time-unit", "excel")
    assert stored("a") == TWO


def test_days_of_a_spreadsheet_are_taken_for_such(run: Run, tmp_path: Path):
    path = write(tmp_path, "time,a\n45292.5,1\n45292.75,2\n")
    done = run("put", str(path), "--collection", "x")
    assert "`--time-unit`, which may be excel" in done.stderr


def test_an_archive_of_a_table_and_what_is_said_of_it(put: Run, stored: Stored, tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "what this is")
        archive.writestr("a.csv", CSV)
    put(path)
    assert stored("a") == TWO


# SQL.


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_columns_of_one_name_are_all_shown(run: Run, form: str):
    query = "SELECT name, unit AS name, collection AS name FROM streams WHERE collection = 'labour'"
    done = run("sql", query, "--format", form)
    assert done.exit_code == 0
    for text in ("name", "name (column 2)", "name (column 3)", "L1MAG", "volts", "labour"):
        assert text in done.stdout


# Surroundings.


def command(server: Server, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    environ = os.environ | {"BTRDB_ENDPOINTS": server.endpoint} | more.pop("environ", {})
    return subprocess.run(
        [sys.executable, "-m", "pingthings", *arguments],
        capture_output=True,
        env=environ,
        check=False,
        timeout=100,
        **more,
    )


@pytest.mark.parametrize(
    "option",
    [["--missing"], ["--header-line", "1", "--names"], ["--apikey"], ["--endpoint"], ["--unit"]],
    ids=lambda option: option[-1],
)
def test_arguments_that_are_no_text_are_said(server: Server, tmp_path: Path, option: list[str]):
    odd = os.fsdecode(b"time,\xff")
    done = command(server, "put", str(write(tmp_path, CSV)), "--collection", "odd", *option, odd)
    assert done.returncode in {1, 2}
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("columns", ["0", "-1", "x", "100000000", "9" * 30])
def test_a_width_that_no_terminal_has_is_none(server: Server, columns: str):
    done = command(server, "put", "--help", environ={"COLUMNS": columns})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) < 1_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_the_version_on_a_full_disk():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pingthings", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"pingthings: No space left on device\n")
