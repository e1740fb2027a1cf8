"""The demonstration runs as a user runs it, and finds what is in its data."""

import re
import subprocess
import sys
from pathlib import Path

import pingthings.timeseries as pt
from pingthings.server import Server

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
ROWS = 3_000
PEAK_ROW = 1_234
PEAK_MW = 987.625
EMPTY_ROWS = {10, 20, 30}


def run_demo(folder: Path, *arguments: str, status: int = 0) -> str:
    result = subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == status, result.stdout
    return result.stdout


def write_csv(file: Path) -> None:
    """A minute between rows, one peak, three empty cells, and columns that hold no measurement."""
    lines = ["row,time,Load [MW],Temperature,state"]
    for row in range(1, ROWS + 1):
        load = PEAK_MW if row == PEAK_ROW else 500 + row % 60
        temperature = "" if row in EMPTY_ROWS else f"{20 + row % 7}"
        time = pt.utils.ns_to_datetime(1514764800 * 10**9 + row * 60 * 10**9)
        lines.append(f"{row},{time:%Y-%m-%dT%H:%M:%SZ},{load},{temperature},ok")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def assert_is_picture(file: Path) -> None:
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_csv_is_inserted_and_its_peak_found(tmp_path: Path):
    write_csv(tmp_path / "plant.csv")
    printed = run_demo(tmp_path, "plant.csv")
    assert "times from column `time`" in printed
    assert "`row` was left out: it numbers the rows" in printed
    assert "`state` was left out: it holds text" in printed
    assert "`Temperature`: 3 empty cells were left out" in printed
    assert re.search(r"demo/plant +Load +MW +3,000 +2018-01-01 00:01:00 ", printed)
    assert re.search(r"demo/plant +Temperature +- +2,997 ", printed)
    # Row 1,234 is 20 hours and 34 minutes after midnight.
    assert re.search(r"Load .* 987\.625 +2018-01-01 20:34:00 ", printed)
    assert len(re.findall(r"million points/s (in|out)", printed)) == 2
    assert len(re.findall(r"PW\[\d+\].* 5,997$", printed, re.MULTILINE)) == 3
    assert_is_picture(tmp_path / "demo-output" / "plant.png")


def test_recording_shows_the_fault_and_the_trip(tmp_path: Path):
    printed = run_demo(tmp_path, "--output", "pictures")
    assert "nothing here was measured" in printed
    assert "1,007,370 points into 56 streams" in printed
    assert "1,007,370 points of 56 streams in one call" in printed
    assert re.search(r"voltage +alder/voltage_a_magnitude +2024-02-29 14:03:00\.\d+ .*-76", printed)
    assert re.search(r"current +alder/current_a_magnitude +2024-02-29 14:03:00\.\d+ ", printed)
    assert re.search(r"frequency +dogwood/frequency +2024-02-29 14:06:04\.900 +59\.737 Hz", printed)
    assert_is_picture(tmp_path / "pictures" / "simulated_pmu.png")


def test_kept_data_are_served_again_and_a_second_run_adds_nothing(tmp_path: Path):
    write_csv(tmp_path / "plant.csv")
    for _ in range(2):
        printed = run_demo(tmp_path, "plant.csv", "--keep", "data")
        assert "pingthings serve data" in printed
        assert re.search(r"demo/plant +Load +MW +3,000 ", printed)
    with (
        Server(directory=tmp_path / "data") as server,
        pt.connect(endpoint=server.endpoint) as client,
    ):
        streams = client.streams_in_collection("demo/plant")
        assert sorted(streams.count().values()) == [2_997, 3_000]


def test_file_without_times_is_refused_with_advice(tmp_path: Path):
    (tmp_path / "plant.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    printed = run_demo(tmp_path, "plant.csv", status=2)
    assert "name one with --time" in printed
    assert not (tmp_path / "demo-output").exists()


def test_help_explains_every_option(tmp_path: Path):
    printed = run_demo(tmp_path, "--help")
    for option in ("CSV", "--time", "--columns", "--keep", "--output"):
        assert option in printed
