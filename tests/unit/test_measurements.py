"""Reading of CSV files by the demonstration: which column is the time, and what is left out."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NEW_YEAR = 1514764800000000000


@pytest.fixture(scope="module")
def measurements() -> Iterator[ModuleType]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("measurements")
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def read(measurements: ModuleType, tmp_path: Path) -> Any:
    def read_text(text: str, time: str | None = None, columns: tuple[str, ...] = ()) -> Any:
        file = tmp_path / "grid.csv"
        file.write_text(text, encoding="utf-8")
        return measurements.read_csv(file, time, columns)

    return read_text


def times(series: Any) -> list[int]:
    assert series.points.schema.names == ["time", "value"]
    assert series.points.schema.types == [pa.timestamp("ns", "UTC"), pa.float64()]
    times: list[int] = series.points["time"].cast(pa.int64()).to_pylist()
    return times


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [
        ("2018-01-01T00:00:00Z", "2018-01-01T00:00:01Z", 10**9),
        ("2018-01-01 00:00:00", "2018-01-01 00:00:01", 10**9),
        ("2018-01-01 00:00", "2018-01-01 00:01", 60 * 10**9),
        ("2018-01-01", "2018-01-02", 86400 * 10**9),
        ("2018-01-01T00:00:00.000000000Z", "2018-01-01T00:00:00.000000001Z", 1),
        ("2018-01-01T01:00:00+01:00", "2018-01-01T00:00:01+00:00", 10**9),
        ("1514764800", "1514764801", 10**9),
        ("1514764800000", "1514764800001", 10**6),
        ("1514764800000000", "1514764800000001", 10**3),
        ("1514764800000000000", "1514764800000000001", 1),
    ],
)
def test_time_is_read_exactly(read: Any, first: str, second: str, step: int):
    found = read(f"time,MW\n{first},1.5\n{second},2\n")
    (series,) = found.series
    assert times(series) == [NEW_YEAR, NEW_YEAR + step]
    assert series.points["value"].to_pylist() == [1.5, 2.0]


def test_column_of_times_is_found_among_dates_and_numbers(read: Any):
    text = "n,day,when,timestamp,kV\n1,2018-01-01,2018-01-01T00:00:00Z,1514764800,5\n"
    text += "2,2018-01-01,2018-01-01T00:00:01Z,1514764801,6\n"
    found = read(text)
    assert "times from column `timestamp`" in found.notes[0]
    assert times(read(text, "day").series[0]) == [NEW_YEAR, NEW_YEAR]
    assert "taken as midnight UTC" in read(text, "day").notes[0]


def test_everything_left_out_is_said(read: Any):
    found = read(
        "row,time,Voltage [kV],note,closed,blank\n"
        "1,2018-01-01T00:00:00Z,110.5,ok,true,\n"
        "2,2018-01-01T00:00:01Z,,bad,false,\n"
        "3,,111,ok,true,\n"
        "4,2018-01-01T00:00:02Z,inf,ok,true,\n"
        "5,2018-01-01T00:00:02Z,112,ok,true,\n"
    )
    (series,) = found.series
    assert (series.collection, series.name, series.unit) == ("demo/grid", "Voltage", "kV")
    assert series.points["value"].to_pylist() == [110.5, 112.0]
    said = "\n".join(found.notes)
    assert "1 rows have no time" in said
    assert "1 rows repeat a time" in said
    assert "`row` was left out: it numbers the rows" in said
    assert "`Voltage [kV]`: 2 empty cells" in said
    assert "`note` was left out: it holds text" in said
    assert "`closed` was left out: it holds true or false" in said
    assert "`blank` was left out: it is empty" in said


def test_named_columns_are_taken_also_if_they_number_the_rows(read: Any):
    text = "row,time,kV\n0,2018-01-01,5\n1,2018-01-02,6\n"
    assert [series.name for series in read(text, columns=("row",)).series] == ["row"]
    assert [series.name for series in read(text).series] == ["kV"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_recognised(read: Any, delimiter: str):
    text = "time,kV,kA\n2018-01-01,5,1\n2018-01-02,6,2\n".replace(",", delimiter)
    assert [series.name for series in read(text).series] == ["kV", "kA"]


@pytest.mark.parametrize(
    ("text", "time", "columns", "said"),
    [
        ("kV,kA\n1,2\n", None, (), "no column of .* holds times; name one with --time"),
        ("time,kV\n2018-01-01,5\n", "when", (), "has no column `when`; it has `time`, `kV`"),
        ("time,kV\n2018-01-01,5\n", None, ("kA",), "has no column `kA`"),
        ("time,note\n2018-01-01,ok\n", None, (), "no column of numbers beside `time`"),
        ("note,kV\nok,5\n", "note", (), "`note` .* holds no times"),
        ("time,kV\n", None, (), "has no rows"),
        ("time,kV,kV\n2018-01-01,1,2\n", None, (), "names a column twice"),
        ("time,kV\n2018-01-01,1,2\n", None, (), "is no table"),
        ("", None, (), "is no table"),
    ],
)
def test_file_that_cannot_be_used_says_why(
    read: Any, text: str, time: str | None, columns: tuple[str, ...], said: str
):
    with pytest.raises(sys.modules["measurements"].SourceError, match=said):
        read(text, time, columns)


def test_file_that_is_absent_or_binary_says_so(measurements: ModuleType, tmp_path: Path):
    with pytest.raises(measurements.SourceError, match="cannot read"):
        measurements.read_csv(tmp_path / "absent.csv", None, ())
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"time,kV\n\xff\xfe\n")
    with pytest.raises(measurements.SourceError, match="not UTF-8"):
        measurements.read_csv(binary, None, ())
