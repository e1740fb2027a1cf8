"""COMTRADE: exact times, values on the side asked for, and each form of file."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import comtrade
import numpy as np
import pingthings.timeseries as pt
import pytest
from ingest import simulated_recording as simulated
from ingest.recording import Recording, RecordingError, read, store
from ingest.simulated_recording import Analog, Recorded, Status

START = pt.utils.to_nanoseconds("2024-03-15T12:30:00.123456789Z")
FORMS: list[Any] = ["ASCII", "BINARY", "BINARY32", "FLOAT32"]
STAMPED = "15/03/2024,12:30:00.123456789"
STATES = [Status(f"S{bit}", [bit >> k & 1 for k in range(4)]) for bit in range(17)]
PLAIN = Recorded(
    STAMPED, STAMPED, [Analog("VA", "A", "V", [1, None, -3, 30_000], "0.5", "1")], STATES
)


def written(folder: Path, recorded: Recorded, form: Any = "ASCII", name: str = "r.cfg") -> Path:
    path = folder / name
    simulated.write(path, recorded, form)
    return path


def times(recording: Recording) -> list[int]:
    """When each sample was taken; a digital channel lacks none."""
    found: list[int] = recording.channels[-1].times.tolist()
    return found


@pytest.mark.parametrize("name", ["r.cfg", "R.CFG", "r.cff"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file(tmp_path: Path, form: Any, name: str):
    recorded = replace(PLAIN, rates=[("4800", 4)])
    recording = read(written(tmp_path, recorded, form, name))
    voltage, *states = recording.channels
    # The second sample is missing.
    assert voltage.times.tolist() == [START, START + 416_667, START + 625_000]
    assert voltage.values.tolist() == [1.5, -0.5, 15_001.0]
    assert (voltage.name, voltage.unit) == ("VA", "V")
    assert [state.values.tolist() for state in states] == [list(one.samples) for one in STATES]
    assert times(recording) == [START, START + 208_333, START + 416_667, START + 625_000]
    assert (recording.station, recording.start) == ("SIMULATED", START)


@pytest.mark.parametrize("form", FORMS)
def test_times_by_rates_are_exact_however_long_it_takes(tmp_path: Path, form: Any):
    rates = [("1440", 50_000), ("960.5", 60_000), ("29.97", 60_100)]
    count = rates[-1][1]
    channel = Analog("VA", "A", "V", [0] * count)
    state = Status("S", [0] * count)
    path = written(tmp_path, replace(PLAIN, analog=[channel], status=[state], rates=rates), form)
    wanted, now, first = [], Fraction(START), 1
    for rate, last in rates:
        for number in range(first, last + 1):
            if number > 1:
                now += 0 if number == first and first > 1 else Fraction(10**9) / Fraction(rate)
            if number > first or first == 1:
                wanted.append(int((2 * now + 1) // 2))
        first = last
    found = times(read(path))
    assert len(found) == count
    assert found == wanted
    # What the library itself says is off, in floating point.
    said = comtrade.load(str(path), ignore_warnings=True).time
    assert max(abs(START + round(float(t) * 1e9) - w) for t, w in zip(said, found, strict=True))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("start", "multiplier", "step"),
    [
        (STAMPED, "1", 1),
        (STAMPED, "0.25", Fraction(1, 4)),
        ("15/03/2024,12:30:00.123456", "1", 1_000),
        ("15/03/2024,12:30:00.123456", "0.001", 1),
        ("15/03/2024,12:30:00.123456", "1.0E+1", 10_000),
    ],
)
def test_times_by_stamps(tmp_path: Path, form: Any, start: str, multiplier: str, step: Any):
    stamps = [0, 208, 417, 4_294_967_294]
    recorded = replace(PLAIN, start=start, trigger=start, stamps=stamps, multiplier=multiplier)
    digits = start.rpartition(".")[2]
    begin = START - START % 10**9 + int(digits.ljust(9, "0"))
    wanted = [begin + int((2 * stamp * step + 1) // 2) for stamp in stamps]
    assert times(read(written(tmp_path, recorded, form))) == wanted


def test_with_rates_stamps_do_not_count(tmp_path: Path):
    recorded = replace(PLAIN, rates=[("1000", 4)], stamps=[7, 8, 9, None])
    assert times(read(written(tmp_path, recorded))) == [START + k * 10**6 for k in range(4)]


def test_the_skew_of_a_channel_moves_its_times(tmp_path: Path):
    late = replace(PLAIN.analog[0], skew="12.3456")
    recorded = replace(PLAIN, analog=[late], rates=[("1000", 4)])
    channel = read(written(tmp_path, recorded)).channels[0]
    assert channel.times.tolist() == [START + 12_346 + k * 10**6 for k in (0, 2, 3)]


@pytest.mark.parametrize(
    ("code", "hours"), [("0", 0), ("-5", -5), ("+10h30", 10.5), ("-7h15", -7.25), ("+2", 2)]
)
def test_the_time_code_of_2013_says_where_the_clock_is(tmp_path: Path, code: str, hours: float):
    recorded = replace(PLAIN, rates=[("1000", 4)], time_code=code)
    recording = read(written(tmp_path, recorded), zone="Asia/Tokyo")
    assert recording.start == START - int(hours * 3_600) * 10**9


def test_older_files_are_from_where_the_caller_says(tmp_path: Path):
    recorded = replace(PLAIN, rates=[("1000", 4)], revision="1999")
    assert read(written(tmp_path, recorded)).start == START
    tokyo = read(written(tmp_path, recorded), zone="Asia/Tokyo").start
    assert tokyo == START - 9 * 3_600 * 10**9
    twice = replace(recorded, start="27/10/2024,02:30:00.000000")
    with pytest.raises(RecordingError, match="came twice"):
        read(written(tmp_path, twice), zone="Europe/Vienna")


def test_a_file_of_1991_begins_with_the_month_and_has_short_years(tmp_path: Path):
    start = "03/15/24,12:30:00.123456"
    recorded = replace(PLAIN, start=start, trigger=start, rates=[("1000", 4)], revision="1991")
    recording = read(written(tmp_path, recorded))
    assert recording.start == START - 789
    assert recording.channels[0].values.tolist() == [1.5, -0.5, 15_001.0]
    assert recording.channels[0].annotations["side"] == "recorded"


@pytest.mark.parametrize(
    ("side", "scaling", "factor"),
    [
        *(("P", "primary", 1), ("P", "secondary", 1 / 2_000), ("P", "recorded", 1)),
        *(("S", "primary", 2_000), ("S", "secondary", 1), ("S", "recorded", 1)),
    ],
)
def test_values_are_of_the_side_that_is_asked_for(
    tmp_path: Path, side: Any, scaling: Any, factor: float
):
    channel = Analog("VA", "A", "V", [1, 2], "0.5", primary="230", secondary="0.115", side=side)
    recorded = replace(PLAIN, analog=[channel], status=[], rates=[("1000", 2)])
    found = read(written(tmp_path, recorded), scaling=scaling).channels[0]
    assert found.values == pytest.approx([0.5 * factor, factor], rel=1e-15)
    wanted = {"P": "primary", "S": "secondary"}[side] if scaling == "recorded" else scaling
    assert found.annotations["side"] == wanted
    assert (found.annotations["primary"], found.annotations["secondary"]) == (230.0, 0.115)


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_is_as_long_as_it_is(tmp_path: Path, form: Any):
    path = written(tmp_path, replace(PLAIN, rates=[("1000", 4)]), form)
    data = path.with_suffix(".dat")
    kept = data.read_bytes()
    if form == "ASCII":
        data.write_bytes(b"".join(kept.splitlines(keepends=True)[:3]))
    else:
        data.write_bytes(kept[: len(kept) * 3 // 4 + 1])
    recording = read(path)
    assert (recording.samples, recording.declared) == (3, 4)
    assert recording.channels[0].values.tolist() == [1.5, -0.5]
    assert len(recording.channels[-1].values) == 3


def test_what_is_no_recording_says_why(tmp_path: Path):
    path = tmp_path / "r.cfg"
    with pytest.raises(RecordingError, match=r"no `.dat` file"):
        read(path)
    path.with_suffix(".dat").write_bytes(b"")
    with pytest.raises(RecordingError, match="cannot read"):
        read(path)
    path.write_text("a table,of,1999\nwith other things\n", encoding="utf-8")
    with pytest.raises(RecordingError, match="is no recording"):
        read(path)
    with pytest.raises(RecordingError, match="neither a sampling rate nor a time at sample 2"):
        read(written(tmp_path, replace(PLAIN, stamps=[0, None, 2, 3])))
    with pytest.raises(RecordingError, match=r"line \d+ is no time"):
        read(written(tmp_path, replace(PLAIN, start="yesterday", rates=[("1000", 4)])))
    cut = tmp_path / "r.cff"
    cut.write_bytes(b"--- file type: CFG ---\r\n")
    with pytest.raises(RecordingError, match="section"):
        read(cut)


def test_channels_of_one_name_are_told_apart(tmp_path: Path):
    twice = [Analog(name, "A", "V", [1]) for name in ("I", "I", "")]
    recorded = replace(PLAIN, analog=twice, status=[Status("T", [1])], rates=[("1000", 1)])
    found = [one.name for one in read(written(tmp_path, recorded)).channels]
    assert found == ["I 1", "I 2", "A3", "T"]


def test_stored_twice_it_is_there_once(client: pt.Client, collection: str, tmp_path: Path):
    path = tmp_path / "fault.cff"
    simulated.fault(path, "BINARY")
    recording = read(path)
    for _ in range(2):
        assert store(client, collection, recording) == 4 * 480
    found = {stream.name: stream for stream in client.streams_in_collection(collection)}
    assert {name: stream.unit for name, stream in found.items()} == {
        **dict.fromkeys(("VA", "VB", "VC"), "V"),
        "52A": "state",
    }
    for channel in recording.channels:
        stream = found[channel.name]
        arrays = pt.frames.to_numpy(stream.raw_values(START, START + 10**9))
        assert arrays["time"].view(np.int64).tolist() == channel.times.tolist()
        assert arrays["value"].tolist() == channel.values.tolist()
        assert stream.annotations() == channel.annotations
    # 9,000 counts of 12.5 mV, by 2,000.
    assert found["VB"].raw_values(START, START + 10**9)["value"].to_numpy().max() == pytest.approx(
        225_000, rel=1e-3
    )


def test_the_program_says_what_it_stored(
    client: pt.Client, collection: str, program: Any, tmp_path: Path
):
    whole, cut = tmp_path / "fault.cff", tmp_path / "cut.cfg"
    simulated.fault(whole, "BINARY")
    written(tmp_path, replace(PLAIN, rates=[("1000", 9)]), name=cut.name)
    command = program("recording", str(whole), str(cut), "--collection", collection)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{whole}: 4 channels, 1,920 points",
        f"{cut}: 18 channels, 71 points",
        "  it ends after 4 of 9 samples",
    ]
    assert len(client.streams_in_collection(collection)) == 4 + 17
