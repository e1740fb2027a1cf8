"""Synchrophasors: frames of another implementation, exact times, and lost connections."""

from __future__ import annotations

import cmath
import math
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pingthings.timeseries as pt
import pytest
from adapters import pyc37_sender
from hypothesis import given
from hypothesis import strategies as st
from ingest import c37118, simulated_sender
from ingest.c37118 import FrameError, Kind, Splitter
from ingest.feed import Counts, Feed
from ingest.simulated_sender import IDCODE, RATE, START, sending
from ingest.writer import Writer
from pingthings.server import Server
from pyc37.frame import CommandFrame, ConfigFrame2, DataFrame
from pyc37.frame import FrameError as TheirFrameError

Until = Callable[[Callable[[], object]], None]
NAMES = ["VA", "IA", "ANALOG", *(f"BIT {bit}" for bit in range(16))]


def known_to_pyc37(form: tuple[bool, bool, bool, bool], time_base: int = 1_000_000) -> Any:
    return ConfigFrame2(
        *(IDCODE, time_base, 1, "OAK", 12, form, 2, 1, 1, NAMES),
        *([(915_527, "v"), (45_776, "i")], [(-7, "rms")], [(0x000F, 0x00FF)], 50, 1, 50),
        *(START, (0,)),
    )


@contextmanager
def receiving(client: pt.Client, collection: str, port: int, **more: Any) -> Iterator[Feed]:
    """A feed in a thread, that has ended after the block."""
    stop = threading.Event()
    with Writer(client, insert_seconds=0.02) as writer:
        feed = Feed(client, writer, "127.0.0.1", port, IDCODE, collection, **more)
        thread = threading.Thread(target=feed.run, args=(stop,))
        thread.start()
        try:
            yield feed
        finally:
            stop.set()
            thread.join(30)
        writer.flush()
    assert not thread.is_alive()


def stored(client: pt.Client, collection: str) -> dict[str, list[tuple[int, float]]]:
    found = {}
    for stream in client.streams_in_collection(collection):
        table = stream.raw_values(START * 10**9, (START + 1_000) * 10**9)
        arrays = pt.frames.to_numpy(table)
        times: list[int] = arrays["time"].view(np.int64).tolist()
        found[str(stream.name)] = list(zip(times, arrays["value"].tolist(), strict=True))
    return found


def sent(number: int) -> int:
    """When a frame of the simulated sender is from."""
    return START * 10**9 + number // RATE * 10**9 + round(number % RATE * 10**6 / RATE) * 1_000


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
    ours = c37118.command(IDCODE, c37118.Command.DATA_ON, START)
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
    known = c37118.configuration(c37118.frame(Kind.CONFIGURATION_2, 1, soc, 0, body))
    found = c37118.data(c37118.frame(Kind.DATA, 1, soc, 5 << 24 | parts, b""), known)
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
    longer = c37118.frame(Kind.DATA, IDCODE, START, 0, frame[14:-2] + b"\0\0")
    with pytest.raises(FrameError, match="52 bytes of data where the configuration says 50"):
        c37118.data(longer, known)
    late = c37118.frame(Kind.DATA, IDCODE, START, 1_000_000, frame[14:-2])
    with pytest.raises(FrameError, match="1000000 parts of a second"):
        c37118.data(late, known)
    short = c37118.frame(Kind.CONFIGURATION_2, 1, START, 0, simulated_sender.configuration()[14:60])
    with pytest.raises(FrameError, match="too early"):
        c37118.configuration(short)


def test_every_frame_is_stored_once_over_lost_connections(
    client: pt.Client, collection: str, until: Until
):
    count, each = 200, 50
    numbers = iter(range(count))

    def frames() -> Iterator[bytes]:
        if next_ := list(zip(range(each), numbers, strict=False)):
            for _, number in next_:
                yield simulated_sender.data(number)
            yield simulated_sender.data(0)[:20]  # and is cut
        else:
            while True:
                yield b""

    with sending(frames) as port, receiving(client, collection, port) as feed:
        until(lambda: feed.counts.frames == count and feed.counts.connections == 5)
    assert feed.counts == Counts(connections=5, frames=count)
    found = stored(client, collection)
    assert set(found) == {
        *("STAT", "TIMEQ", "FREQ", "ROCOF"),
        *(f"{name} {part}" for name in ("VA", "VB", "IA") for part in ("MAG", "ANG")),
    }
    assert found["VA MAG"] == [(sent(k), 230_000.0 + k) for k in range(count)]
    frequency = struct.unpack(">f", struct.pack(">f", 60.01))[0]
    assert found["FREQ"] == [(sent(k), frequency) for k in range(count)]
    angles = [value for _, value in found["VA ANG"]]
    assert angles == pytest.approx([math.degrees(k / 100) for k in range(count)], abs=1e-4)
    units = {one.name: one.unit for one in client.streams_in_collection(collection)}
    assert (units["IA MAG"], units["IA ANG"], units["FREQ"]) == ("amperes", "degrees", "hertz")


def test_a_silent_sender_is_asked_again(client: pt.Client, collection: str, until: Until):
    numbers = iter(range(1_000))

    def frames() -> Iterator[bytes]:
        yield simulated_sender.data(next(numbers))
        while True:
            yield b""

    with (
        sending(frames) as port,
        receiving(client, collection, port, silence=0.3) as feed,
    ):
        until(lambda: feed.counts.frames >= 3)
    assert feed.counts.connections >= 3


def test_while_the_server_is_away_nothing_is_lost(tmp_path: Path, until: Until):
    numbers = iter(range(1_000_000))

    def frames() -> Iterator[bytes]:
        while True:
            yield simulated_sender.data(next(numbers))
            yield b""

    first = Server(tmp_path).start()
    port = int(first.endpoint.rpartition(":")[2])
    with (
        pt.connect(endpoint=first.endpoint, retry_for=0.05, connect_timeout=1) as client,
        sending(frames) as sender,
        ExitStack() as servers,
    ):
        servers.callback(first.stop)
        with receiving(client, "pmu", sender) as feed:
            until(lambda: feed.writer.counts.stored)
            first.stop()
            before = feed.counts.frames
            until(lambda: feed.counts.frames >= before + 10 and feed.writer.counts.retries)
            servers.enter_context(Server(tmp_path, port=port))
            last = feed.counts.frames
            until(lambda: feed.counts.frames > last)
        found = stored(client, "pmu")["VA MAG"]
        assert found == [(sent(k), 230_000.0 + k) for k in range(feed.counts.frames)]


def test_what_is_called_invalid_or_is_missing_is_not_stored(
    client: pt.Client, collection: str, until: Until
):
    known = known_to_pyc37((False, False, False, False))
    stats = [0x0000, 0x4000, 0x8000, 0xC000, 0x0000]

    def frames() -> Iterator[bytes]:
        for number, stat in enumerate(stats):
            values = (-32_768 if number == 4 else 100, 0)
            yield DataFrame(
                *(IDCODE, stat, [values, (7, 0)], -20, 50, [5], [0x0102], known),
                *(START + number, (0,)),
            ).convert2bytes()
        while True:
            yield b""

    with (
        sending(frames, known.convert2bytes) as port,
        receiving(client, collection, port) as feed,
    ):
        until(lambda: feed.counts.frames == 5)
    assert feed.counts == Counts(connections=1, frames=5, invalid=3)
    found = stored(client, collection)
    times = [(START + k) * 10**9 for k in range(5)]
    assert found["STAT"] == list(zip(times, map(float, stats), strict=True))
    assert [time for time, _ in found["FREQ"]] == [times[0], times[4]]
    assert [value for _, value in found["FREQ"]] == [49.98, 49.98]
    assert [time for time, _ in found["VA MAG"]] == times[:1]
    assert [value for _, value in found["VA MAG"]] == pytest.approx([915.527])
    assert [value for _, value in found["IA MAG"]] == pytest.approx([3.20432] * 2)
    assert found["ANALOG"] == [(times[0], 5.0), (times[4], 5.0)]
    # Bits 0 to 7 are valid, of which bit 1 is set.
    assert {name for name in found if name.startswith("BIT")} == {f"BIT {k}" for k in range(8)}
    assert found["BIT 1"] == [(times[0], 1.0), (times[4], 1.0)]
    assert found["BIT 0"] == [(times[0], 0.0), (times[4], 0.0)]


def test_a_changed_configuration_counts_from_the_frame_it_begins_with(
    client: pt.Client, collection: str, until: Until
):
    names = ["VA", "VX"]
    changing = (1 << 10).to_bytes(2, "big")

    def configure() -> bytes:
        return simulated_sender.configuration().replace(b"VA ", names[0].encode() + b" ")[:-2]

    def checked() -> bytes:
        whole = configure()
        return c37118.frame(Kind.CONFIGURATION_2, IDCODE, START, 0, whole[14:])

    def frames() -> Iterator[bytes]:
        for number in range(30):
            frame = simulated_sender.data(number)
            if 10 <= number < 20:
                soc, fracsec = struct.unpack_from(">II", frame, 6)
                body = changing + frame[16:-2]
                frame = c37118.frame(Kind.DATA, IDCODE, soc, fracsec, body)
            if number == 20:
                names.pop(0)
            yield frame
        while True:
            yield b""

    with sending(frames, checked) as port, receiving(client, collection, port) as feed:
        until(lambda: feed.counts.frames == 30)
    assert feed.counts == Counts(connections=1, frames=30)
    found = stored(client, collection)
    assert found["VA MAG"] == [(sent(k), 230_000.0 + k) for k in range(20)]
    assert found["VX MAG"] == [(sent(k), 230_000.0 + k) for k in range(20, 30)]
    assert len(found["VB MAG"]) == 30


def test_the_program_stores_what_has_come_when_it_is_interrupted(
    client: pt.Client, collection: str, program: Any, until: Until
):
    count = 60
    is_asked_again = threading.Event()

    def frames() -> Iterator[bytes]:
        for number in range(count):
            yield simulated_sender.data(number)
        is_asked_again.set()
        while True:
            yield b""

    with sending(frames) as port:
        command = program("feed", f"127.0.0.1:{port}", "--idcode", str(IDCODE))
        command += ["--collection", collection]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert is_asked_again.wait(60)
            until(lambda: len(client.streams_in_collection(collection)) == 10)
            until(lambda: stored(client, collection)["STAT"])
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"frames={count}" in told
    assert f"stored={count * 10}, dropped=0" in told
    assert len(stored(client, collection)["FREQ"]) == count


def test_a_sender_of_another_implementation(client: pt.Client, collection: str, until: Until):
    count = 20
    command = [sys.executable, pyc37_sender.__file__, str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as sender:
        try:
            assert sender.stderr is not None
            port = int(sender.stderr.readline())
            # It sends once, to the first connection, which may be slow but must not be given up.
            with receiving(client, collection, port, silence=3_600.0) as feed:
                until(lambda: feed.counts.frames == count)
        finally:
            sender.communicate()
    assert feed.counts.refused == feed.counts.skipped == 0
    found = stored(client, collection)
    base = pyc37_sender.TIME_BASE
    times = [
        round((START + k // 30 + Fraction((k % 30) * base // 30, base)) * 10**9)
        for k in range(count)
    ]
    assert [time for time, _ in found["FREQ"]] == times
    assert [value for _, value in found["FREQ"]] == pytest.approx(
        [59.98 + k / 1_000 for k in range(count)]
    )
    magnitudes = [math.hypot(14_635 + k, k) * 9.15527 for k in range(count)]
    assert [value for _, value in found["VA MAG"]] == pytest.approx(magnitudes)
    assert found["BREAKER 1"] == [(time, float(k >> 1 & 1)) for k, time in enumerate(times)]
