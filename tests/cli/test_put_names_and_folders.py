"""`put` says which names are nearly one, which files hold nothing, and which cells no value."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from cli.files import ns, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.chart import LineChart, Reference
from pingthings.files.columns import folded
from pingthings.files.open import open_source

Run = Callable[..., Any]
Stored = Callable[..., list[tuple[int, float]]]

T = ns("2024-01-01")
FIXTURE = HealthCheck.function_scoped_fixture
CSV = "time,a\n2024-01-01,1\n2024-01-02,2\n"


@given(st.text(min_size=1, max_size=12))
def test_names_that_look_alike_are_one_when_folded(name: str):
    assert folded(unicodedata.normalize("NFC", name)) == folded(unicodedata.normalize("NFD", name))
    assert folded(name) == folded(folded(name))


@pytest.mark.parametrize("other", ["power", "caf\u00e9", "STRASSE"])
def test_columns_whose_names_look_alike_are_noticed(put: Run, tmp_path: Path, other: str):
    own = {"power": "Power", "caf\u00e9": "cafe\u0301", "STRASSE": "stra\u00dfe"}[other]
    found = put(write(tmp_path, f"time,{own},{other}\n2024-01-01,1,2\n2024-01-02,3,4\n"))
    (note,) = found["notes"]
    assert note.startswith(f"columns `{own}` and `{other}` differ only in case, or in how letters")
    assert [stream["name"] for stream in found["streams"]] == [own, other]


@pytest.mark.parametrize("is_long", [False, True])
def test_a_stream_whose_name_looks_alike_is_noticed(
    put: Run, collection: str, tmp_path: Path, is_long: bool
):
    put(write(tmp_path, CSV.replace("a\n", "Power\n", 1)))
    text = "time,name,value\n2024-01-03,power,1\n" if is_long else CSV.replace("a\n", "power\n", 1)
    options = ["--name-column", "name"] if is_long else []
    found = put(write(tmp_path, text), *options)
    (note,) = found["notes"]
    assert note.startswith(f"`{collection}/Power` is there, and `power` differs from it only in")
    assert put(write(tmp_path, text), *options, "--dry-run")["notes"] != found["notes"]


CELLS = st.text(st.sampled_from([*"ab \"',;\u00e9"]), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[FIXTURE])
@given(st.lists(CELLS, min_size=1, max_size=4))
def test_marks_within_names_are_kept(tmp_path: Path, names: list[str]):
    wanted = [" ".join(f"{name}{place}".split()) for place, name in enumerate(names)]
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in [*wanted, '"q"'])
    rows = "".join(f"2024-01-0{k},{','.join('1' for _ in names)},2\n" for k in range(1, 6))
    source = open_source(write(tmp_path, f"time,{quoted}\n{rows}"))
    assert source.columns == ["time", *wanted, '"q"']


def test_decimal_commas_between_spaces(put: Run, stored: Stored, tmp_path: Path):
    text = "time              a     b\n2024-01-01T00:00  0,5   1,25\n2024-01-02T00:00  1,5  12,25\n"
    put(write(tmp_path, text), "--decimal", ",")
    assert [value for _, value in stored("b")] == [1.25, 12.25]


def test_files_of_a_folder_without_rows_are_said(run: Run, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in {"a.csv": "", "b.csv": CSV, "c.csv": "time,a\n", "d.csv": "\n\n"}.items():
        write(folder, text, name)
    with zipfile.ZipFile(folder / "e.zip", "w") as archive:
        archive.writestr("e.csv", CSV.replace("2024", "2025"))
    with zipfile.ZipFile(folder / "f.zip", "w") as archive:
        archive.writestr("f.txt", "something else")
    collection = folder.name
    result = run("put", str(folder), "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (0, "")
    assert [(Path(one["file"]).name, one.get("left_out")) for one in found] == [
        ("b.csv", None),
        ("e.zip", None),
        ("a.csv", f"`{folder}/a.csv` is empty"),
        ("d.csv", f"`{folder}/d.csv` has no rows, and no names either"),
        ("c.csv", f"`{folder}/c.csv` has no rows"),
    ]
    assert [one["points"] for one in found[:2]] == [2, 2]
    assert {one["collection"] for one in found[:2]} == {collection}
    told = run("put", str(folder)).stdout
    assert f"`{folder}/a.csv` is empty: it is left out\n" in told


def test_a_folder_of_files_without_rows_is_refused(run: Run, tmp_path: Path):
    write(tmp_path, "", "a.csv")
    write(tmp_path, "time,a\n", "b.csv")
    result = run("put", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"pingthings: `{tmp_path}/a.csv` is empty\n"


def workbook(path: Path, *, count: int) -> Path:
    """Formulas, as a library writes them: without the values that a spreadsheet keeps."""
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["time", "a", "b"])
    for k in range(count):
        day = datetime(2024, 1, 1 + k)  # noqa: DTZ001 - a spreadsheet knows no zones
        sheet.append([day, k, f"=B{k + 2}*2"])
    chart = LineChart()
    chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=count))
    book.create_chartsheet("Drawn").add_chart(chart)
    book.save(path)
    return path


def test_formulas_without_values_and_charts_are_said(
    run: Run, put: Run, stored: Stored, tmp_path: Path
):
    file = workbook(tmp_path / "file.xlsx", count=5)
    found = put(file)
    charts, formulas, empty = found["notes"][-3:]
    assert charts == "charts are left out: `Drawn`"
    assert formulas.startswith(
        "formulas without a value are taken for empty cells: 5, the first in C2"
    )
    assert empty == "column `b` is left out: it is empty"
    assert [value for _, value in stored("a")] == [0, 1, 2, 3, 4]
    result = run("put", str(file), "--sheet", "Drawn")
    assert result.exit_code == 1
    told = f"pingthings: sheet `Drawn` of `{file}` is a chart, and holds no table\n"
    assert result.stderr == told
