"""Frames of synchrophasors: found among any bytes in linear time, and exactly what they say."""

from __future__ import annotations

import binascii
import cmath
import contextlib
import math
import struct
from fractions import Fraction

import pytest
from adapters.sent_frames import (
    NAMES,
    in_parts,
    known_to_pyc37,
    third_configuration,
    third_data,
    unit,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest import simulated_sender
from ingest.simulated_sender import IDCODE, START
from pingthings.ingest import c37118, c37118_frames
from pingthings.ingest.c37118_frames import Command, FrameError, Kind, Splitter
from pyc37.frame import CommandFrame, DataFrame
from pyc37.frame import FrameError as TheirFrameError


@pytest.mark.parametrize("is_polar", [True, False])
@pytest.mark.parametrize("has_floats", [True, False])
def test_frames_of_another_implementation(is_polar: bool, has_floats: bool):
    known = known_to_pyc37((is_polar, has_floats, has_floats, has_floats))
    found = c37118.configuration(known.convert2bytes())
    (pmu,) = found.pmus
    assert (found.idcode, found.time_base, found.rate) == (IDCODE, 1_000_000, 50)
    assert (pmu.station, pmu.idcode, pmu.nominal) == ("OAK", 12, 50)
    assert [(one.name, one.unit, one.scale) for one in pmu.phasors] == [
        ("VA", "volts", 9.15527),
        ("IA", "amperes", 0.45776),
    ]
    assert [(one.name, one.kind, one.factor) for one in pmu.analogs] == [("ANALOG", 1, -7)]
    assert [(one.names, one.normal, one.valid) for one in pmu.digitals] == [
        (tuple(NAMES[3:]), 0x000F, 0x00FF)
    ]
    phasors = [(14_635, -7_318), (1_092, 12_676)]
    if is_polar and has_floats:
        phasors = [(14_635, -1), (1_092, 3)]
    stat = 0b0111_1110_1110_0111
    sent = DataFrame(
        *(IDCODE, stat, phasors, -20, 123, [-100], [0x3C12], known),
        *(START, (250_000, "-", True, True, 15)),
    )
    data = c37118.data(sent.convert2bytes(), found)
    (one,) = data.measurements
    assert (data.time, data.quality) == (START * 10**9 + 250_000_000, 0x7F)
    assert one.stat == stat
    assert not one.is_valid
    assert one.is_changing
    scales = [1, 1] if has_floats else [9.15527, 0.45776]
    for (first, second), scale, (magnitude, angle) in zip(
        phasors, scales, one.phasors, strict=True
    ):
        if is_polar:
            wanted = cmath.rect(first * scale, second * (1 if has_floats else 1e-4))
        else:
            wanted = complex(first, second) * scale
        assert cmath.rect(magnitude, math.radians(angle)) == pytest.approx(wanted)
    assert (one.frequency, one.rocof) == ((-20, 123) if has_floats else (49.98, 1.23))
    assert (one.analogs, one.digitals) == ((-100,), (0x3C12,))


def test_commands_are_understood_by_another_implementation():
    ours = c37118_frames.command(IDCODE, Command.DATA_ON, START)
    theirs = CommandFrame.convert2frame(ours)
    assert (theirs.get_command(), theirs.get_id_code(), theirs.get_soc()) == (
        "start",
        IDCODE,
        START,
    )


@given(st.integers(1, 0xFFFFFF), st.integers(0, 0xFFFFFFFF), st.data())
def test_times_are_the_nearest_nanosecond(time_base: int, soc: int, draw: st.DataObject):
    parts = draw.draw(st.integers(0, time_base - 1))
    body = struct.pack(">IHh", time_base, 0, 30)
    known = c37118.configuration(c37118_frames.frame(Kind.CONFIGURATION_2, 1, soc, 0, body))
    found = c37118.data(c37118_frames.frame(Kind.DATA, 1, soc, 5 << 24 | parts, b""), known)
    exact = (soc + Fraction(parts, time_base)) * 10**9
    assert abs(found.time - exact) <= Fraction(1, 2)
    assert found.quality == 5


def test_what_the_library_makes_of_such_frames_is_why_it_only_sends_here():
    known = known_to_pyc37((False, False, False, False), 0xFFFFFF)
    fraction = 0xC00000
    frame = DataFrame(
        IDCODE, 0, [(1, 2), (3, 4)], 0, 0, [1], [1], known, START, (fraction,)
    ).convert2bytes()
    assert c37118.data(frame, c37118.configuration(known.convert2bytes())).time == (
        START * 10**9 + round(Fraction(fraction, 0xFFFFFF) * 10**9)
    )
    assert DataFrame.convert2frame(frame, known).get_frasec()[0] == fraction - 0x800000
    of_some_quality = DataFrame(
        IDCODE, 1 << 6, [(1, 2), (3, 4)], 0, 0, [1], [1], known, START, (0,)
    )
    with pytest.raises(TheirFrameError):
        DataFrame.convert2frame(of_some_quality.convert2bytes(), known)


@given(st.data())
def test_frames_are_found_in_any_pieces_and_between_other_bytes(draw: st.DataObject):
    frames = [simulated_sender.data(number) for number in range(5)]
    noise = st.binary(max_size=40).map(lambda b: b.replace(b"\xaa", b"\xab"))
    noises = [draw.draw(noise) for _ in frames]
    wire = b"".join(n + f for n, f in zip(noises, frames, strict=True))
    splitter, place = Splitter(), 0
    found: list[bytes] = []
    while place < len(wire):
        step = draw.draw(st.integers(1, 60))
        found += splitter.split(wire[place : place + step])
        place += step
    assert found == frames
    assert splitter.skipped == sum(map(len, noises))


@settings(deadline=None)
@given(st.integers(0, 47), st.integers(1, 255))
def test_a_damaged_frame_is_left_out_and_the_next_is_found(place: int, difference: int):
    frames = [simulated_sender.data(number) for number in range(4_000)]
    damaged = bytearray(frames[0])
    damaged[place] ^= difference
    found = list(Splitter().split(bytes(damaged) + b"".join(frames[1:])))
    assert found == frames[1:]


def test_frames_that_cannot_be_meant():
    known = c37118.configuration(simulated_sender.configuration())
    frame = simulated_sender.data(0)
    longer = c37118_frames.frame(Kind.DATA, IDCODE, START, 0, frame[14:-2] + b"\0\0")
    with pytest.raises(FrameError, match="52 bytes of data where the configuration says 50"):
        c37118.data(longer, known)
    late = c37118_frames.frame(Kind.DATA, IDCODE, START, 1_000_000, frame[14:-2])
    with pytest.raises(FrameError, match="1000000/1000000 of a second"):
        c37118.data(late, known)
    short = c37118_frames.frame(
        Kind.CONFIGURATION_2, 1, START, 0, simulated_sender.configuration()[14:60]
    )
    with pytest.raises(FrameError, match="truncated"):
        c37118.configuration(short)


def configured(frames: list[bytes]) -> c37118.Configuration | None:
    """What the frames say when they are put together."""
    assembler, known = c37118_frames.Assembler(), None
    for frame in frames:
        if (whole := assembler.add(frame)) is not None:
            known = c37118.configuration(whole)
    return known


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_configuration_3_has_long_names_and_scales(parts: int):
    body = third_configuration()
    whole = c37118_frames.frame(Kind.CONFIGURATION_3, IDCODE, START, 0, bytes(2) + body)
    frames = [whole] if parts == 1 else list(in_parts(body, parts))
    assert configured(frames[:-1]) is None
    known = configured(frames)
    assert known is not None
    (pmu,) = known.pmus
    assert (pmu.station, pmu.idcode, pmu.nominal) == ("Umspannwerk Süd", 12, 50)
    assert [(one.name, one.unit, one.scale) for one in pmu.phasors] == [
        ("Leitung Süd VA", "volts", 0.5),
        ("IA", "amperes", 0.25),
    ]
    assert pmu.phasors[1].adjustment == pytest.approx(90)
    assert pmu.location == pytest.approx((48.2, 16.4))
    (one,) = c37118.data(third_data(5), known).measurements
    assert one.phasors[0] == pytest.approx((502.5, math.degrees(0.01)))
    # It is turned back by a quarter.
    assert one.phasors[1] == pytest.approx((100.0, math.degrees(-0.01) - 90))
    assert (one.frequency, one.rocof, one.analogs, one.digitals) == (50.0, 0.5, (9.0,), (1,))


def test_parts_of_a_configuration_that_do_not_follow_each_other_are_refused():
    first, second, third = in_parts(third_configuration(), 3)
    for frames in ([second], [third], [first, third, third], [first, first, third, second]):
        with pytest.raises(FrameError, match=r"does not follow|truncated|after the"):
            configured(frames)


@given(st.binary(max_size=400), st.integers(0, 3))
def test_a_configuration_of_any_bytes_is_refused_in_words(body: bytes, number: int):
    frame = c37118_frames.frame(Kind.CONFIGURATION_3, 1, START, 0, number.to_bytes(2, "big") + body)
    with contextlib.suppress(FrameError):
        configured([frame])


def one_by_one(wire: bytes) -> list[bytes]:
    """The good frames among bytes, by the checksum of every place where one may begin."""
    found, place = [], 0
    while place < len(wire):
        size = int.from_bytes(wire[place + 2 : place + 4], "big")
        whole = wire[place : place + size]
        begins = wire[place] == 0xAA and place + 1 < len(wire) and wire[place + 1] < 0x60
        if begins and 16 <= size == len(whole) and not binascii.crc_hqx(whole, 0xFFFF):
            found.append(whole)
            place += size
        else:
            place += 1
    return found


GOOD = st.sampled_from([simulated_sender.data(1), unit("OAK"), third_data(2)])
HEADS = st.sampled_from(
    [b"\xaa", b"\xaa\x01", b"\xaa\x01\x00\x10", b"\xaa\x01\x01\xff", b"\xaa\x01\xff\xff"]
)
WIRE = st.lists(GOOD | HEADS | st.binary(max_size=20), max_size=60).map(b"".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WIRE, st.lists(st.integers(1, 300), min_size=1))
def test_every_good_frame_is_found_at_a_cost_that_is_linear(
    monkeypatch: pytest.MonkeyPatch, wire: bytes, steps: list[int]
):
    summed = 0

    def counted(data: bytes, start: int) -> int:
        nonlocal summed
        summed += len(data)
        return checksum(data, start)

    checksum = binascii.crc_hqx
    splitter, found, place = Splitter(), list[bytes](), 0
    with monkeypatch.context() as patch:
        patch.setattr(binascii, "crc_hqx", counted)
        for step in steps * (len(wire) // sum(steps) + 1):
            found += splitter.split(wire[place : place + step])
            place += step
        found += splitter.rest()
    assert found == one_by_one(wire)
    assert splitter.skipped == len(wire) - sum(map(len, found))
    assert splitter.waiting == 0
    # Each byte once or twice, and for each place where a frame may begin two pieces of 256.
    assert summed <= 2 * len(wire) + 2 * 256 * wire.count(b"\xaa")


def test_a_megabyte_of_heads_is_not_summed_for_each():
    splitter = Splitter()
    for _ in range(64):
        assert list(splitter.split(b"\xaa\x01\xff\xff" * 4_096)) == []
    frame = simulated_sender.data(0)
    assert list(splitter.split(frame)) == []  # it may be a part of the frame before
    assert list(splitter.rest()) == [frame]
    assert splitter.skipped == 1 << 20


@given(
    st.floats(-4, 4, width=32),
    st.floats(0.125, 100, width=32),
    st.booleans(),
    st.booleans(),
    st.tuples(st.integers(1, 30_000), st.integers(-30_000, 30_000)),
)
def test_configuration_3_turns_and_scales_phasors(
    turn: float, scale: float, is_polar: bool, has_floats: bool, sent: tuple[int, int]
):
    body = third_configuration(form=is_polar | has_floats << 1, scale=scale, turn=turn)
    known = configured([c37118_frames.frame(Kind.CONFIGURATION_3, 1, START, 0, bytes(2) + body)])
    assert known is not None
    first, second = sent
    integers = ">HHhhh" if is_polar else ">Hhhhh"
    phasors = struct.pack(">Hffff" if has_floats else integers, 0, first, second, 1, 0)
    frame = c37118_frames.frame(Kind.DATA, 1, START, 0, phasors + struct.pack(">hhhH", 0, 0, 0, 0))
    magnitude, angle = c37118.data(frame, known).measurements[0].phasors[0]
    step = 1 if has_floats else 1e-4
    whole = cmath.rect(first, second * step) if is_polar else complex(first, second)
    wanted = whole * scale * cmath.exp(-1j * turn)
    assert cmath.rect(magnitude, math.radians(angle)) == pytest.approx(wanted, rel=1e-9, abs=1e-6)
    assert turn == 0 or -180 <= angle <= 180


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_configuration_that_scales_by_no_number_is_refused(number: float):
    for body in third_configuration(scale=number), third_configuration(turn=number):
        frame = c37118_frames.frame(Kind.CONFIGURATION_3, 1, START, 0, bytes(2) + body)
        with pytest.raises(FrameError, match=f"scales a channel by {number}"):
            configured([frame])


def test_names_are_of_utf_8_or_of_windows():
    for name in ("Süd…", "5 €"):
        known = c37118.configuration(unit(name, (name,)))
        assert (known.pmus[0].station, known.pmus[0].phasors[0].name) == (name, name)


@given(st.binary(min_size=18, max_size=18))
def test_data_of_any_bytes_are_numbers(body: bytes):
    frame = c37118_frames.frame(
        Kind.CONFIGURATION_3, 1, START, 0, bytes(2) + third_configuration(form=3)
    )
    known = configured([frame])
    assert known is not None
    sent = c37118_frames.frame(Kind.DATA, 1, START, 0, body + bytes(8))
    (one,) = c37118.data(sent, known).measurements
    for magnitude, angle in one.phasors:
        assert isinstance(magnitude, float)
        assert isinstance(angle, float)
