"""`put` refuses in one line that says what is wrong, and where, whatever it is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.files import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Run = Callable[..., Any]

GOOD = "time,a\n2024-01-01T00:00:00Z,1\n2024-01-02T00:00:00Z,2\n"

OPTIONS = [
    *("--encoding", "--delimiter", "--time-format", "--time-zone", "--time", "--value"),
    *("--thousands", "--missing", "--names", "--comment", "--time-start", "--time-step"),
    *("--name-column", "--value-column", "--unit", "--sheet", "--collection", "--rejected"),
]
LETTERS = st.sampled_from([*"%YmdHMSfzZ.,;:-+'\"\\/#{}()[]*?$|0129 aé\0\n\t", "utf", "UTC"])


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(OPTIONS), st.lists(LETTERS, max_size=8).map("".join))
def test_no_value_of_an_option_is_a_crash(
    run: Run, tmp_path_factory: pytest.TempPathFactory, option: str, value: str
):
    folder = tmp_path_factory.mktemp("files")
    file = write(folder, GOOD)
    if option == "--rejected":
        value = str(folder / value.replace("\0", "").replace("/", "_"))
    result = run("put", str(file), option, value, "--dry-run")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 1, 2}
    if result.exit_code:
        assert result.stderr.startswith("pingthings: ")
        assert result.stderr.count("\n") == 1
    assert file.read_text(encoding="utf-8") == GOOD


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, len(GOOD) - 1),
    st.integers(0, 4),
    st.binary(max_size=6) | st.sampled_from([b'"', b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b",,,"]),
)
def test_no_byte_of_a_file_is_a_crash(
    run: Run, tmp_path_factory: pytest.TempPathFactory, place: int, length: int, more: bytes
):
    data = GOOD.encode()
    content = data[:place] + more + data[place + length :]
    file = write(tmp_path_factory.mktemp("files"), content)
    result = run("put", str(file), "--dry-run", "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert result.stderr.startswith("pingthings: ")
    else:
        found = json.loads(result.stdout)
        assert found["points"] == found["stored"] + found["replaced"] + found["ignored"]


TYPES = [
    *(pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns", "Europe/Vienna")),
    *(pa.duration("ms"), pa.string(), pa.large_string(), pa.string_view(), pa.binary()),
    *(pa.binary(3), pa.binary_view(), pa.decimal128(9, 2), pa.decimal256(60, 3), pa.null()),
    *(pa.list_(pa.int64()), pa.struct([("x", pa.int8())]), pa.dictionary(pa.int8(), pa.string())),
    *(pa.map_(pa.string(), pa.int8()), pa.list_view(pa.int8()), pa.month_day_nano_interval()),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("role", ["time", "value", "name", "none"])
def test_no_type_of_a_column_is_a_crash(run: Run, tmp_path: Path, kind: Any, role: str):
    column: Any = pa.nulls(3, kind)
    if not pa.types.is_null(kind):
        zeros = {"b": b"000", "s": "2024-01-01"}
        try:
            column = pa.array([0, None, 1], pa.int64()).cast(kind)
        except pa.ArrowException:
            text = zeros["b" if "binary" in str(kind) else "s"]
            try:
                column = pa.array([text, None, text], kind)
            except (pa.ArrowException, TypeError):
                column = pa.nulls(3, kind)
    times = pa.array([1, 2, 3], pa.timestamp("s"))
    table = pa.Table.from_arrays([times, pa.array([1.0, 2.0, 3.0]), column], ["t", "a", "odd"])
    with pa.ipc.new_file(str(tmp_path / "file.arrow"), table.schema) as writer:
        writer.write_table(table)
    options = {
        "time": ["--time", "odd", "--time-unit", "s"],
        "value": ["--value", "odd"],
        "name": ["--name-column", "odd", "--value", "a"],
        "none": [],
    }[role]
    result = run("put", str(tmp_path / "file.arrow"), "--dry-run", *options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert result.stderr.startswith("pingthings: ")
        assert result.stderr.count("\n") == 1
    if role == "none":
        assert "a, would be made: column `a` (double), 3 points" in result.stdout


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            "time,a\n" + "".join(f"2024-10-27 02:{k:02},{k}\n" for k in range(30)),
            ("--time-zone", "Europe/Vienna"),
            "came twice in Europe/Vienna; say `--ambiguous earlier`",
        ),
        ("time,a\n1654992000000,1\n1655078400000,2\n", ("--time-unit", "s"), "is it ms?"),
        (
            "time,a\n2021-10-11T18:59:14Z,1\n13.10.2021,2\n14.10.2021,3\n",
            (),
            "`13.10.2021` is not understood",
        ),
        ("time,a\n13.10.2021,2\n14.10.2021,3\n", (), "may be `--time-format '%d.%m.%Y'`"),
        ("when,a\n13/10/2021 5:30,2\n", (), "'%d/%m/%Y %H:%M'"),
        ("when,a\n3/10/2021,2\n", (), "'%d/%m/%Y'` or `--time-format '%m/%d/%Y'`"),
        (
            "time,a\n2024-01-01,1\n2024-01-02,x\n2024-01-03,1\n",
            (),
            "line 3: `x` in column `a` is no number",
        ),
        (
            "time;a\n2024-01-01;1.234,5\n",
            ("--decimal", ","),
            "say `--thousands .` if a point parts thousands",
        ),
        ('time,a\n2024-01-01,"1,234"\n', (), "or `--thousands ,`"),
        ("time,id\n2024-01-01,12345678901234567890\n", (), "too large for float64"),
        ("time,a\n2024-01-01,1\n", ("--name-column", "b"), "no column `b` to take names from"),
        ("time,a\n2024-01-01,1\n", ("--time-step", "0Hz"), "say when the first row was"),
        ("time,a\n2024-01-01,1\n", ("--time-start", "0"), "give --time-step"),
        (
            "time,a\n2024-01-01,1\n",
            ("--time-step", "0Hz", "--time-start", "2024-01-01"),
            "is not a step of at least 1 ns",
        ),
        *(
            ("a\n1\n", ("--time-step", "1s", *options), said)
            for options, said in (
                (("--time-start", "2024"), "so 1970-01-01T00:00:00.000002024Z"),
                (("--time-start", "1704067200"), "write it like 2024-01-01T12:00Z"),
                (
                    ("--time-start", "2024-03-31T02:30", "--time-zone", "Europe/Vienna"),
                    "does not exist in Europe/Vienna",
                ),
                (
                    ("--time-start", "2024-10-27T02:30", "--time-zone", "Europe/Vienna"),
                    "--ambiguous",
                ),
            )
        ),
        (f"time,a,{'x' * 256}\n2024-01-01,1,2\n", ("--dry-run",), "column 3 of"),
        ("time,a\0b\n2024-01-01,1\n", (), "cannot name a stream: `a\\x00b` contains a NUL"),
        ("time,a\n2024-01-01,1\n", ("--value-column", "a"), "give it with --name-column"),
        ("time,a\n2024-01-01,1\n", ("--thousands", "."), "not that of --decimal"),
        ("time,a\n2024-01-01,1\n", ("--no-header", "--header-line", "1"), "give one of them"),
    ],
)
def test_the_reason_is_the_one_that_holds(
    run: Run, tmp_path: Path, text: str, options: tuple[str, ...], said: str
):
    result = run("put", str(write(tmp_path, text)), "--dry-run", *options)
    assert result.exit_code in {1, 2}
    assert said in result.stderr


def test_a_damaged_file_among_others_is_named(run: Run, tmp_path: Path):
    values = np.random.default_rng(1).random(200_000)
    columns: Any = {"time": np.arange(200_000), "a": values}
    table = pa.table(columns)
    damaged = tmp_path / "damaged.parquet"
    pq.write_table(table, damaged, compression="zstd")
    data = bytearray(damaged.read_bytes())
    for tenth in (3, 7, 8, 9):
        place = len(data) // 10 * tenth
        data[place : place + 1_800] = bytes(1_800)
    damaged.write_bytes(data)
    good = write(tmp_path, "time,a\n1,1\n2,2\n")
    result = run("put", str(good), str(damaged), "--time-unit", "ns")
    assert result.exit_code == 1
    assert "damaged.parquet" in result.stderr


@pytest.mark.parametrize(
    ("day", "clock", "options", "form"),
    [
        ("2024-01-05", "10:15:00 PM", (), "%Y-%m-%d %I:%M:%S %p"),
        ("05.01.2024", "10:15", (), "%d.%m.%Y %H:%M"),
        ("31.01.2024", "10:15:00", ("--time-format", "%d.%m.%Y"), "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_days_are_no_times_where_a_clock_stands_beside_them(
    run: Run, tmp_path: Path, day: str, clock: str, options: tuple[str, ...], form: str
):
    file = str(write(tmp_path, f"date,time,a\n{day},{clock},1\n"))
    result = run("put", file, "--dry-run", *options)
    assert result.exit_code == 1
    assert f"`--time 'date' --time 'time'` with `--time-format '{form}'`" in result.stderr
    advised = ("--time", "date", "--time", "time", "--time-format", form)
    assert run("put", file, "--dry-run", *advised).exit_code == 0


@pytest.mark.parametrize("text", ["20240105101500", "202401051015", "20240105"])
def test_days_written_as_digits_are_advised_as_days(run: Run, tmp_path: Path, text: str):
    result = run("put", str(write(tmp_path, f"time,a\n{text},1\n")), "--dry-run")
    assert "`--time-format '%Y%m%d" in result.stderr


def test_a_zone_in_the_name_of_a_column_is_noticed(run: Run, tmp_path: Path):
    file = str(write(tmp_path, "Time (CET),a\n2024-01-01 00:00,1\n"))
    assert "names `CET`" in run("put", file, "--dry-run").stdout
    told = run("put", file, "--dry-run", "--time-zone", "Europe/Vienna")
    assert "names `CET`" not in told.stdout


def test_days_that_come_again_are_said_to_be_at_midnight(run: Run, tmp_path: Path):
    file = str(write(tmp_path, "date,part,a\n2024-01-01,1,1\n2024-01-01,2,2\n"))
    assert "times at midnight" in run("put", file, "--dry-run").stdout
