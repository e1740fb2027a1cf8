"""COMTRADE: exact times, values on the side asked for, and each form of file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import comtrade
import numpy as np
import pingthings.timeseries as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest import simulated_recording as simulated
from ingest.simulated_recording import Analog, Recorded, Status
from pingthings.ingest.recording import Recording, RecordingError, read, store

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
    with pytest.raises(RecordingError, match="occurred twice"):
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
    with pytest.raises(RecordingError, match="line 2 of the description, `with other things`"):
        read(path)
    with pytest.raises(RecordingError, match="sample 2 has no time stamp"):
        read(written(tmp_path, replace(PLAIN, stamps=[0, None, 2, 3])))
    with pytest.raises(RecordingError, match=r"is not a time: `yesterday`"):
        read(written(tmp_path, replace(PLAIN, start="yesterday", rates=[("1000", 4)])))
    cut = tmp_path / "r.cff"
    cut.write_bytes(b"--- file type: CFG ---\r\n")
    with pytest.raises(RecordingError, match="section"):
        read(cut)


CFG = {
    "head": "ST,DEV,1999",
    "counts": "2,1A,1D",
    "analog": "1,VA,A,,kV,2.0,0.5,0,-32767,32767,100,1,P",
    "digital": "1,TRIP,,,0",
    "hertz": "50",
    "rates": "1\n1000,4",
    "start": "17/07/2021,18:06:06.826009",
    "trigger": "17/07/2021,18:06:06.845009",
    "form": "ASCII",
    "factor": "1",
}
DAT = "1,0,10,0\n2,1000,20,1\n3,2000,30,1\n4,3000,40,0\n"
BEGAN = pt.utils.to_nanoseconds("2021-07-17T18:06:06.826009Z")
VALUES = [20.5, 40.5, 60.5, 80.5]
MS = 1_000_000


def of(folder: Path, dat: str = DAT, stem: str = "r", **changed: str) -> Recording:
    (folder / f"{stem}.cfg").write_text("\n".join({**CFG, **changed}.values()) + "\n", "utf-8")
    (folder / f"{stem}.dat").write_text(dat, "utf-8")
    return read(folder / f"{stem}.cfg")


@pytest.mark.parametrize(
    ("dat", "changed"),
    [
        (DAT, {}),
        (DAT, {"rates": "1\n1000,2"}),  # more samples than are promised
        (DAT, {"rates": "1\n1000,9"}),  # fewer
        (DAT, {"rates": "1\n0,4"}),  # a rate of zero: the stamps count
        (DAT, {"rates": "0"}),  # no line of rates at all
        (DAT, {"factor": "0"}),  # which nobody uses beside a rate
        (DAT, {"factor": ""}),
        (DAT, {"hertz": ""}),
        (DAT, {"trigger": ""}),
        (DAT, {"counts": "9,1a,1d"}),
        (DAT, {"head": "ST,DEV,2001"}),
        (DAT, {"head": "\n\nST,DEV,1999"}),
        (DAT, {"analog": "1,VA,A,,kV,2.0,0.5"}),  # what follows is not needed
        (DAT, {"analog": CFG["analog"] + ",,"}),
        (DAT, {"digital": "1,TRIP,0"}),
        (DAT, {"start": "17-07-2021,18:06:06.826009"}),
        (DAT.replace("\n", "\r\n") + "\x1a", {}),
        (DAT.replace("\n", ",\n"), {}),  # rows that end in a comma
        ("\n" + DAT.replace("\n", "\n\n"), {}),
        ("0,0,10,0\n1,1000,20,1\n2,2000,30,1\n3,3000,40,0\n", {}),  # counted from zero
    ],
    ids=repr,
)
def test_quirks_of_vendors_are_read(tmp_path: Path, dat: str, changed: dict[str, str]):
    found = of(tmp_path, dat, **changed)
    analog, digital = found.channels
    times = [BEGAN + k * MS for k in range(4)]
    assert (analog.times.tolist(), analog.values.tolist()) == (times, VALUES)
    assert (digital.times.tolist(), digital.values.tolist()) == (times, [0, 1, 1, 0])
    assert found.samples == 4


@pytest.mark.parametrize(
    ("dat", "changed", "message"),
    [
        ("1,0,10\n2,1000,20\n", {}, "line 1 of the data has 3 cells, but .* requires 4"),
        (DAT + "5,4000,50,0,1\n", {}, "line 5 of the data has 5 cells"),
        (DAT.replace(",20,", ",x,"), {}, "sample 2 of the data contains `x`"),
        (DAT.replace("30,1", "30,7"), {}, "sample 3 of the data contains the state `7`"),
        (DAT.replace("3,2000", "2,2000"), {}, "sample 3 has the number 2 after 2"),
        (DAT.replace("3,2000", "x,2000"), {}, "sample 3 of the data has the number `x`"),
        (DAT.replace("2000", "2x"), {}, "sample 3 of the data has the time `2x`"),
        ("", {}, "contain no sample"),
        (DAT, {"rates": "0\n0,4", "factor": "0"}, "multiplier of the time stamps is zero"),
        (DAT.replace("2000", "1000"), {"rates": "0\n0,4"}, "do not ascend"),
        (DAT, {"rates": "0\n0,4", "factor": "1e-9"}, "do not ascend"),
        (DAT, {"rates": "1\n-1000,4"}, "the rate is negative"),
        (DAT, {"rates": "2\n1000,4\n2000,2"}, "do not ascend"),
        (DAT, {"rates": "1\nnan,4"}, "`nan` is not a number"),
        (DAT, {"rates": "x"}, "`x` is not an integer"),
        (DAT, {"analog": "1,VA,A,,kV,0,0"}, "factor of zero"),
        (DAT, {"analog": "1,VA,A,,kV"}, "no factor"),
        (DAT, {"analog": "1,VA,A,,kV,x,0"}, "`x` is not a number"),
        (DAT, {"counts": "2"}, "how many channels"),
        (DAT, {"counts": "2,1A"}, "TRIP"),
        (DAT, {"head": "ST"}, "must have the station"),
        (DAT, {"head": "ST,DEV,new"}, "not a revision year"),
        (DAT, {"start": "07/17/2021,18:06:06.826009"}, "month"),
        (DAT, {"form": "TEXT"}, "data type `TEXT`"),
    ],
    ids=repr,
)
def test_what_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, dat: str, changed: dict[str, str], message: str
):
    with pytest.raises(RecordingError, match=message) as raised:
        of(tmp_path, dat, **changed)
    assert str(tmp_path / "r.cfg") in str(raised.value)


@pytest.mark.parametrize("stem", ["fault[1]", "fault*", "a b", "x.y", "Störung"])
def test_the_data_are_found_whatever_the_name(tmp_path: Path, stem: str):
    (tmp_path / "fault1.dat").write_text("another one")
    assert of(tmp_path, stem=stem).samples == 4
    assert read(tmp_path / f"{stem}.dat").samples == 4
    (tmp_path / f"{stem}.dat").rename(tmp_path / f"{stem.upper()}.DAT")
    assert read(tmp_path / f"{stem}.cfg").samples == 4


def test_a_name_with_commas_shifts_nothing(tmp_path: Path):
    found = of(tmp_path, analog="1,VA, line 1,A,,kV,2.0,0.5,0,-32767,32767,100,1,P")
    assert (found.channels[0].name, found.channels[0].unit) == ("VA,line 1", "kV")
    assert found.channels[0].values.tolist() == VALUES


def test_a_channel_that_is_not_used_may_have_a_factor_of_zero(tmp_path: Path):
    dat = "1,0,7,0\n2,1000,7,1\n"
    assert of(tmp_path, dat, analog="1,VA,A,,kV,0,0.5").channels[0].values.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_what_is_written_is_read_or_refused(tmp_path: Path, form: Any, data: st.DataObject):
    """Whatever bytes are changed or cut: every channel keeps its length, or it is an error."""
    path = written(tmp_path, replace(PLAIN, rates=[("1000", 4)]), form)
    place = path.with_suffix(data.draw(st.sampled_from([".cfg", ".dat"])))
    kept = bytearray(place.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(kept) - 1))
        kept[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    place.write_bytes(bytes(kept))
    with contextlib.suppress(RecordingError):
        found = read(path)
        for channel in found.channels:
            assert len(channel.times) == len(channel.values) <= found.samples
            assert np.all(np.diff(channel.times) > 0)
            assert np.all(np.isfinite(channel.values))


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


ROWS = "1,0,10,0\n2,1000,11,1\n3,2000,12,0\n4,3000,13,1\n"


def described(
    *,
    revision: str = "2013",
    analog: str = "1,VA,A,,V,0.5,1,0,-32767,32767,1,1,P",
    rate: str = "1000,4",
    start: str = "15/03/2024,12:30:00.123456789",
    tail: str = "1\n0,0\n0,0",
) -> str:
    head = f"ST,DEV,{revision}\n2,1A,1D\n{analog}\n1,52A,,,0\n60\n1\n{rate}\n"
    return f"{head}{start}\n{start}\nASCII\n{tail}\n"


def read_text(folder: Path, description: str, data: str = ROWS) -> Recording:
    (folder / "r.cfg").write_text(description, "utf-8")
    (folder / "r.dat").write_text(data)
    return read(folder / "r.cfg")


NUMBERS: list[tuple[dict[str, str], str, str]] = [
    ({"rate": "0,4"}, ROWS.replace("2000", "1e999999999"), "sample 3 .* the time `1e999999999`"),
    ({"rate": "0,4"}, ROWS.replace("2000", "2e-99999999"), "sample 3 .* the time `2e-99999999`"),
    ({"rate": "0,4"}, ROWS.replace("2000", "1/3"), "sample 3 .* the time `1/3`"),
    ({"rate": "0,4"}, ROWS.replace("3000", "1e30"), "outside the range of nanoseconds"),
    ({"rate": "1e-30,4"}, ROWS, "outside the range of nanoseconds"),
    ({"rate": "1e-99999999,4"}, ROWS, "line 7 .* is not a number, or too large"),
    ({"rate": "1/3,4"}, ROWS, "line 7 .* is not a number, or too large"),
    ({"rate": "3e9,4"}, ROWS, "the sampling rate is higher than one per nanosecond"),
    ({"tail": "1e-99999999\n0,0"}, ROWS, "is not a number, or too large"),
    ({"start": "15/03/1600,12:30:00.1"}, ROWS, "outside the range of nanoseconds"),
    ({"start": "15/03/9999,12:30:00.1"}, ROWS, "outside the range of nanoseconds"),
    (
        {"revision": "1991"},
        ROWS,
        "in revision 1991, given by the first line, the month comes first",
    ),
    ({"analog": "1,VA,A,,V,1e308,1"}, ROWS, "`VA` has values that are not finite.* sample 1"),
    ({"analog": "1,VA,A,,V,1e300,0,0,0,0,1e300,1e-300,S"}, ROWS, "`VA` .* ratio 1e.300 to 1e-300"),
    ({"analog": "1,VA,A,,V,1,1,1e25"}, ROWS, "the skew of channel `VA`"),
    ({"analog": "1,VA,A,,V,1_0,1"}, ROWS, "line 3 .*`1_0` is not a number"),
    ({"analog": "1,VA,A,,V,0,5,1,0,-32767,32767,1,1,P"}, ROWS, "numbers must not have a comma"),
    ({}, ROWS.replace(",10,", ",1_0,"), "sample 1 .* contains `1_0`"),
    ({}, ROWS.replace("4,3", "1_0,3"), "sample 4 .* the number `1_0`"),
    *(
        ({"tail": f"1\n{code},0\n0,0"}, ROWS, f"`{code}` is not an offset from UTC")
        for code in ("hello", "5.5", "99", "-15", "5h60")
    ),
]


@pytest.mark.parametrize(("changes", "data", "why"), NUMBERS)
def test_what_cannot_be_meant_is_refused_at_once(
    tmp_path: Path, changes: dict[str, str], data: str, why: str
):
    with pytest.raises(
        RecordingError, match=f"r.cfg` is not a valid recording: .*{why.replace('+', '.')}"
    ):
        read_text(tmp_path, described(**changes), data)


@pytest.mark.parametrize(
    ("code", "ahead"),
    [("x", 0), ("", 0), ("0", 0), ("-4", -240), ("+5h30", 330), ("+5:30", 330), ("-0h30", -30)],
)
def test_the_time_code_of_2013(tmp_path: Path, code: str, ahead: int):
    recording = read_text(tmp_path, described(tail=f"1\n{code},{code}\n0,0"))
    assert recording.start == START - ahead * 60 * 10**9


def test_a_last_row_that_is_cut_off_is_left_out(tmp_path: Path):
    recording = read_text(tmp_path, described(), ROWS[:-4])
    assert (recording.samples, recording.declared) == (3, 4)
    with pytest.raises(RecordingError, match="line 4 of the data has 2 cells"):
        read_text(tmp_path, described(), ROWS[:-6] + "\n")


@pytest.mark.parametrize("sign", ["\x0b", "\x85", "\u2028"])
def test_a_name_breaks_no_line(tmp_path: Path, sign: str):
    analog = f"1,V{sign}A,A,,V,0.5,1,0,-32767,32767,1,1,P"
    assert read_text(tmp_path, described(analog=analog)).channels[0].name == "VA"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_one_file_of_any_encoding_with_a_section_after_the_data(tmp_path: Path, codec: str):
    path = tmp_path / "r.cff"
    sections = {"CFG": described(), "DAT ASCII": ROWS, "INF": "nothing\n"}
    text = "".join(f"--- file type: {kind} ---\n{held}" for kind, held in sections.items())
    path.write_bytes(text.encode(codec))
    assert times(read(path)) == [START + k * 10**6 for k in range(4)]
