"""`put` reads files as they come: laid out, packed and written in any way."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pingthings.timeseries as pt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.files import ns, write

Run = Callable[..., Any]
Stored = Callable[..., list[tuple[int, float]]]

T = ns("2024-01-01")
SECOND = 1_000_000_000


def values(points: list[tuple[int, float]]) -> list[float]:
    return [value for _time, value in points]


@pytest.mark.parametrize(
    "head",
    ["Timestamp;Power, kW;V, V", "Timestamp;Power, active, kW", '"Timestamp";"Power, active, kW"'],
)
def test_names_with_commas_do_not_make_commas_the_delimiter(put: Run, tmp_path: Path, head: str):
    cells = head.count(";")
    found = put(write(tmp_path, f"{head}\n2024-01-01T00:00:00Z{';1' * cells}\n"))
    assert len(found["streams"]) == cells
    assert "`;` parts its cells" in found["notes"]


def test_rows_may_end_with_a_delimiter_that_names_do_not_have(
    put: Run, stored: Stored, tmp_path: Path
):
    put(write(tmp_path, "time;a\n2024-01-01T00:00:00Z;1;\n2024-01-01T00:15:00Z;2;\n"))
    assert values(stored("a")) == [1.0, 2.0]


def test_a_table_below_a_preamble_with_units(
    put: Run, stored: Stored, client: pt.Client, collection: str, tmp_path: Path
):
    text = (
        "Station:;Oak\nRate:;50\n\nZeit;U1;I1\n;[V];[A]\n"
        "01.02.2024 00:00:00,25;230,5;1\n01.02.2024 00:00:00,5;231,5;2\n"
    )
    format_ = "%d.%m.%Y %H:%M:%S,%f"
    found = put(write(tmp_path, text), "--decimal", ",", "--time-format", format_)
    assert stored("U1") == [
        (ns("2024-02-01T00:00:00.25"), 230.5),
        (ns("2024-02-01T00:00:00.5"), 231.5),
    ]
    units = {stream.name: stream.unit for stream in client.streams_in_collection(collection)}
    assert units == {"U1": "V", "I1": "A"}
    assert "units are taken from line 5" in found["notes"]


def test_lines_are_skipped_and_names_given_as_told(put: Run, stored: Stored, tmp_path: Path):
    file = write(tmp_path, "x;y\n2024-01-01;5\n2024-01-02;6\n")
    put(file, "--no-header", "--skip-lines", "1", "--names", "time,mine")
    assert values(stored("mine")) == [5.0, 6.0]
    put(file, "--header-line", "2", "--names", "time,other")
    assert values(stored("other")) == [6.0]


def test_comments_are_no_rows(put: Run, stored: Stored, tmp_path: Path):
    text = "// made\ntime,a\n2024-01-01,1\n// pause\n2024-01-02,2\n"
    found = put(write(tmp_path, text), "--comment", "//")
    assert values(stored("a")) == [1.0, 2.0]
    assert found["rows"] == 2
    assert "comments are left out: 1" in found["notes"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Date,Time,a\n2024-01-01,00:00:00,1\n2024-01-01,00:00:01,2\n", ()),
        ("a,clock,day\n1,00:00:00,2024-01-01\n2,00:00:01,2024-01-01\n", ()),
        (
            "Datum;Zeit;a\n01.01.2024;00:00:00;1\n01.01.2024;00:00:01;2\n",
            ("--time-format", "%d.%m.%Y %H:%M:%S"),
        ),
        (
            "p,q,a\n01.01.2024,00:00:00,1\n01.01.2024,00:00:01,2\n",
            ("--time", "p", "--time", "q", "--time-format", "%d.%m.%Y %H:%M:%S"),
        ),
        ("sec,a\n0,1\n1,2\n", ("--time", "sec", "--time-unit", "s", "--time-start", "2024-01-01")),
        ("t,a\n45292,1\n45292.0000115741,2\n", ("--time-unit", "excel")),
        ("a,b\n1,5\n2,5\n", ("--time-start", "2024-01-01", "--time-step", "1Hz")),
        ("a,b\n1,5\n2,5\n", ("--time-start", "2024-01-01", "--time-step", "1s")),
    ],
)
def test_times_come_in_many_ways(
    put: Run, stored: Stored, tmp_path: Path, text: str, options: tuple[str, ...]
):
    put(write(tmp_path, text), "--value", "a", *options)
    assert stored("a") == [(T, 1.0), (T + SECOND, 2.0)]


def test_dates_and_times_of_day_of_typed_files(put: Run, stored: Stored, tmp_path: Path):
    table: Any = pa.table(
        {
            "day": pa.array([datetime(2024, 1, 1).date()] * 2),  # noqa: DTZ001 - a day
            "clock": pa.array([0, SECOND], pa.time64("ns")),
            "a": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "file.parquet")
    found = put(tmp_path / "file.parquet")
    assert found["time"] == "day and clock"
    assert stored("a") == [(T, 1.0), (T + SECOND, 2.0)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\ntime;a\n2024-01-01;1\n2024-01-01T00:00:01;2\n", ()),
        ('"sep=;"\r\ntime;a\r\n2024-01-01;1\r\n2024-01-01T00:00:01;2\r\n', ()),
        ("SEP=~\rtime~a\r2024-01-01~1\r2024-01-01T00:00:01~2\r", ()),
        ("sep=,,\ntime,a\n2024-01-01,1\n2024-01-01T00:00:01,2\n", ()),
        ("sep=\t\n2024-01-01\t1\n2024-01-01T00:00:01\t2\n", ("--no-header", "--names", "t,a")),
        ("sep=;\ntime;a\n2024-01-01;1\n2024-01-01T00:00:01;2\n", ("--header-line", "2")),
        ("sep=;\nx\ntime;a\n2024-01-01;1\n2024-01-01T00:00:01;2\n", ("--skip-lines", "2")),
    ],
)
def test_a_first_line_may_tell_what_parts_cells(
    put: Run, stored: Stored, tmp_path: Path, text: str, options: tuple[str, ...]
):
    put(write(tmp_path, text), *options)
    assert stored("a") == [(T, 1.0), (T + SECOND, 2.0)]


def test_rows_without_a_time_are_not_said_to_share_one(run: Run, tmp_path: Path):
    text = "day,note,a\n2024-01-01,x,1\n,x,2\n2024-01-02,x,3\n"
    done = run("put", str(write(tmp_path, text)), "--dry-run")
    assert "2 would be accepted" in done.stdout
    assert "more than once" not in done.stdout


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2024-07-01", "2024-06-30T22:00Z"),
        ("2024-10-27T02:30", "2024-10-27T01:30Z"),
        ("2024-07-01T00:00Z", "2024-07-01T00:00Z"),
        ("2024-07-01T00:00+01:00", "2024-06-30T23:00Z"),
        ("1719792000000000000", "2024-07-01T00:00Z"),
        ("0", "1970-01-01T00:00Z"),
    ],
)
@pytest.mark.parametrize("is_column", [False, True])
def test_a_start_without_a_zone_is_in_that_of_the_option(
    put: Run, stored: Stored, tmp_path: Path, start: str, expected: str, is_column: bool
):
    rest = ("--time", "t", "--time-unit", "s") if is_column else ("--time-step", "1s")
    zone = ("--time-zone", "Europe/Vienna", "--ambiguous", "later")
    put(write(tmp_path, "t,a\n0,5\n1,6\n"), "--value", "a", "--time-start", start, *zone, *rest)
    assert [time - ns(expected) for time, _ in stored("a")] == [0, SECOND]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,1\n,\n3,3\n,\n",
        'a\n1\n""\n3\n',
        "a\tb\n1\t1\n\t\n3\t3\n",
        'a;b\r\n1;1\r\n"";""\r\n3;3\r\n\r\n',
        "a,b\n1,1\nNA,\n3,3\n",
    ],
)
def test_steps_count_rows_of_empty_cells(run: Run, stored: Stored, collection: str, text: str):
    options = ("--time-start", "2024-01-01", "--time-step", "1s", "--collection", collection)
    run("put", "-", *options, stdin=text.encode())
    assert stored("a") == [(T, 1.0), (T + 2 * SECOND, 3.0)]


@pytest.mark.parametrize("step", ["50Hz", "59.94Hz", "4.8kHz", "16.6667ms", "1MHz"])
def test_steps_are_counted_exactly(put: Run, stored: Stored, tmp_path: Path, step: str):
    rows = "".join(f"{k}\n" if k % 10 else "bad\n" for k in range(2_000))
    file, rejected = write(tmp_path, f"a\n{rows}"), tmp_path / "rejected.csv"
    put(file, "--time-start", "2024-01-01", "--time-step", step, "--rejected", rejected)
    lengths = {
        "50Hz": (SECOND, 50),
        "59.94Hz": (SECOND * 100, 5994),
        "4.8kHz": (SECOND, 4_800),
        "16.6667ms": (166_667 * 100, 1),
        "1MHz": (1_000, 1),
    }
    above, below = lengths[step]
    expected = [T + round(k * above / below) for k in range(2_000) if k % 10]
    assert [time for time, _ in stored("a")] == expected


def test_words_for_missing_values(put: Run, stored: Stored, tmp_path: Path):
    text = "time,a,b\n2024-01-01,n/v,1\n2024-01-02,-999,2\n2024-01-03,3, n/v \n"
    found = put(write(tmp_path, text), "--missing", "n/v", "--missing", "-999")
    assert found["empty_cells"] == 3
    assert values(stored("a")) == [3.0]
    assert values(stored("b")) == [1.0, 2.0]


def test_a_long_table_has_a_stream_for_each_name(
    put: Run, stored: Stored, run: Run, tmp_path: Path
):
    rows = [f"2024-01-01 00:00:{k // 3:02},{'ABC'[k % 3]},{k}" for k in range(30)]
    file = write(tmp_path, "\n".join(["time,station,reading", *rows]))
    found = put(file, "--name-column", "station", "--value-column", "reading")
    assert found["points"] == found["stored"] == 30
    for place, name in enumerate("ABC"):
        assert values(stored(name)) == [float(k) for k in range(place, 30, 3)]
    hint = run("put", str(file), "--dry-run")
    assert "say `--name-column 'station'`" in hint.stdout


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 256, "in column `name` cannot name a stream: it is longer than 255 characters"),
        ("a\0b", "in column `name` cannot name a stream: it contains a NUL"),
        (" ", "no name in column `name`"),
    ],
)
def test_a_name_that_no_stream_can_have_rejects_its_row(
    run: Run, stored: Stored, collection: str, name: str, why: str
):
    rows = ["time,name,value", f"2024-01-01,{name},1", "2024-01-01,é" + "x" * 254 + ",2"]
    options = ("--name-column", "name", "--value-column", "value", "--collection", collection)
    done = run("put", "-", *options, stdin="\n".join(rows).encode())
    assert (done.exit_code, why in done.stderr) == (1, True), done.stderr
    assert values(stored("é" + "x" * 254)) == [2.0]


def test_names_of_typed_files_are_texts_or_numbers(run: Run, tmp_path: Path):
    when: Any = pa.array([T, T + SECOND], pa.timestamp("ns"))
    names: dict[str, Any] = {"number": [7.0, float("nan")], "list": [["a"], ["b"]]}
    pq.write_table(pa.table({"time": when, "value": [1.0, 2.0], **names}), tmp_path / "f.parquet")
    where = ("--value-column", "value", "--collection", "names")
    done = run("put", str(tmp_path / "f.parquet"), "--name-column", "number", *where)
    assert "line 2: no name in column `number`" in done.stderr
    done = run("put", str(tmp_path / "f.parquet"), "--name-column", "list", *where)
    assert "which names no streams" in done.stderr


def test_the_order_of_rows_tells_the_hours_apart(put: Run, stored: Stored, tmp_path: Path):
    clock = ["01:00", "01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    text = "time,a\n" + "".join(f"2024-10-27 {time},{k}\n" for k, time in enumerate(clock))
    put(write(tmp_path, text), "--time-zone", "Europe/Vienna", "--ambiguous", "infer")
    assert values(stored("a")) == [float(k) for k in range(7)]
    assert len({time for time, _ in stored("a")}) == 7


def workbook(folder: Path) -> Path:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["Report of a day"])
    sheet.append([])
    sheet.append(["Time", "P", "Q"])
    sheet.append([None, "kW", "kvar"])
    sheet.append([datetime(2024, 1, 1), 1.5, None])  # noqa: DTZ001 - cells have no zone
    sheet.append([datetime(2024, 1, 1, 0, 0, 1), "bad", 3])  # noqa: DTZ001
    book.create_sheet("other")
    book.save(folder / "file.xlsx")
    return folder / "file.xlsx"


def test_sheets_are_read(run: Run, put: Run, stored: Stored, tmp_path: Path):
    file, rejected = workbook(tmp_path), tmp_path / "rejected.csv"
    found = put(file, "--bad-cell", "cell", "--rejected", rejected, "--value", "P", "--value", "Q")
    assert stored("P") == [(T, 1.5)]
    assert stored("Q") == [(T + SECOND, 3.0)]
    assert {stream["unit"] for stream in found["streams"]} == {"kW", "kvar"}
    assert any("not `other`" in note for note in found["notes"])
    assert "`file.xlsx`".strip("`") in rejected.read_text(encoding="utf-8")
    result = run("put", str(file), "--sheet", "no")
    assert "has no sheet `no`; it has `Sheet`, `other`" in result.stderr


def packed(how: str) -> bytes:
    text = b"time,a\n2024-01-01T00:00:00Z,1\n"
    if how == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("inner.csv", text)
        return file.getvalue()
    if how == "parquet":
        sink = pa.BufferOutputStream()
        table: Any = pa.table({"time": pa.array([T], pa.timestamp("ns")), "a": [1.0]})
        pq.write_table(table, sink)
        return sink.getvalue().to_pybytes()
    return gzip.compress(text) if how == "gzip" else text


@pytest.mark.parametrize("how", ["text", "gzip", "zip", "parquet"])
def test_standard_input_is_a_file(put: Run, stored: Stored, how: str):
    found = put("-", stdin=packed(how))
    assert stored("a") == [(T, 1.0)]
    assert (found["file"], found["resumed"]) == ("-", False)


def test_a_named_pipe_is_a_file(put: Run, stored: Stored, tmp_path: Path):
    pipe = tmp_path / "pipe.csv"
    subprocess.run(["mkfifo", str(pipe)], check=True)
    lines = "\n".join(f"2024-01-01 00:00:00.{k:06},{k}" for k in range(60_000))
    text = f"time,a\n{lines}\n"
    with subprocess.Popen(
        ["sh", "-c", f"cat > {pipe}"], stdin=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        import threading  # noqa: PLC0415 - both ends of the pipe at once

        feeder = threading.Thread(target=lambda: writer.communicate(text))
        feeder.start()
        put(pipe)
        feeder.join()
    assert values(stored("a")) == [float(k) for k in range(60_000)]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.csv"]


def test_a_dry_run_says_what_was_guessed(run: Run, collection: str, tmp_path: Path):
    text = "Logger 7\nZeit;Wert\n;kV\n2024-01-01 00:00;1,5\n2024-01-01 00:15;2,5\n"
    file = write(tmp_path, text.encode("utf-16"))
    result = run("put", str(file), "--decimal", ",", "--dry-run", "--collection", collection)
    for said in (
        "it is in utf-16-le",
        "`;` parts its cells",
        "names are taken from line 2",
        "units are taken from line 3",
        "times from column `Zeit`",
        "2024-01-01T00:00:00.000000000Z  Wert 1.5",
        "2024-01-01T00:15:00.000000000Z  Wert 2.5",
    ):
        assert said in result.stdout
    assert result.stdout.splitlines()[-1].strip() == "2 points, 2 would be stored"


def test_a_column_that_begins_empty_is_a_column(put: Run, stored: Stored, tmp_path: Path):
    lines = [f"2024-01-01 00:00:00.{k:06},{k},,," for k in range(60_000)]
    lines.append("2024-01-02,1,5,fine,7")
    found = put(write(tmp_path, "\n".join(["time,a,late,note,", *lines])))
    assert stored("late") == [(ns("2024-01-02"), 5.0)]
    assert stored("column 5") == [(ns("2024-01-02"), 7.0)]
    assert {stream["name"] for stream in found["streams"]} == {"a", "late", "column 5"}
    assert "column `note` is left out: it holds no numbers" in found["notes"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts_of_typed_files_are_read(put: Run, stored: Stored, tmp_path: Path, kind: Any):
    times = pa.array([f"2024-01-01T00:00:0{k}Z" for k in range(4)]).cast(kind)
    table: Any = pa.table({"time": times, "a": pa.array(["1", "2", "3", "4"]).cast(kind)})
    pq.write_table(table, tmp_path / "file.parquet")
    put(tmp_path / "file.parquet")
    assert stored("a") == [(T + k * SECOND, k + 1.0) for k in range(4)]


def test_equal_names_of_typed_columns_are_told_apart(put: Run, stored: Stored, tmp_path: Path):
    columns: Any = [pa.array([T], pa.timestamp("ns")), pa.array([1.0]), pa.array([2.0])]
    table = pa.Table.from_arrays(columns, ["time", "a", "a"])
    pq.write_table(table, tmp_path / "file.parquet")
    found = put(tmp_path / "file.parquet")
    assert stored("a") == [(T, 1.0)]
    assert stored("a (column 3)") == [(T, 2.0)]
    assert any("two columns are called `a`" in note for note in found["notes"])


def test_times_of_96_bits_do_not_wrap(put: Run, stored: Stored, tmp_path: Path):
    moments = [datetime(year, 1, 1) for year in (2567, 2024, 2025)]  # noqa: DTZ001 - as stored
    table: Any = pa.table({"time": pa.array(moments, pa.timestamp("us")), "a": [1.0, 2.0, 3.0]})
    file = tmp_path / "file.parquet"
    pq.write_table(table, file, use_deprecated_int96_timestamps=True, store_schema=False)
    found = put(file, "--rejected", tmp_path / "rejected.csv")
    assert (found["accepted"], found["rejected"]) == (2, 1)
    assert values(stored("a")) == [2.0, 3.0]


def test_a_file_of_many_columns_is_read(run: Run, tmp_path: Path):
    names = ",".join(f"c{k}" for k in range(5_000))
    row = ",".join(str(k) for k in range(5_000))
    file = write(tmp_path, f"time,{names}\n2024-01-01,{row}\n2024-01-02,{row}\n")
    result = run("put", str(file), "--dry-run", "--json", "--collection", "wide")
    found = json.loads(result.stdout)
    assert found["points"] == 10_000


def test_nanoseconds_survive(put: Run, stored: Stored, tmp_path: Path):
    times = T + np.arange(3)
    file = write(tmp_path, "time,a\n" + "".join(f"{time},1\n" for time in times.tolist()))
    put(file, "--time-unit", "ns")
    assert [time for time, _ in stored("a")] == times.tolist()
