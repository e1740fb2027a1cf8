"""Synchrophasors: frames of another implementation, exact times, and lost connections."""

from __future__ import annotations

import cmath
import contextlib
import json
import math
import signal
import socket
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
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest import simulated_sender
from ingest.simulated_sender import IDCODE, RATE, START, sending
from pingthings.ingest import c37118
from pingthings.ingest.c37118 import Command, FrameError, Kind, Splitter
from pingthings.ingest.feed import Counts, Feed
from pingthings.ingest.writer import Writer
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


def listening(server: Server, port: int, collection: str, *more: str) -> list[str]:
    """The command that listens to a sender."""
    source = f"c37118://127.0.0.1:{port}/{IDCODE}"
    command = [sys.executable, "-m", "pingthings", "listen", source, "--collection", collection]
    return [*command, "--endpoint", server.endpoint, *more]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stores_what_has_come_when_it_is_interrupted(
    server: Server, client: pt.Client, collection: str, number: signal.Signals
):
    count = 60

    def frames() -> Iterator[bytes]:
        for place in range(count):
            yield simulated_sender.data(place)
        while True:
            yield b""

    with sending(frames) as port:
        command = listening(server, port, collection, "--json", "--every", "0.1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            # It says how far it is, and so when all has come.
            told = [json.loads(next(iter(process.stdout)))]
            while told[-1]["frames"] < count:
                told.append(json.loads(process.stdout.readline()))
            process.send_signal(number)
            rest, _ = process.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert process.returncode == 0
    assert (last["done"], last["frames"], last["connections"]) == (True, count, 1)
    assert (last["stored"], last["waiting"], last["dropped"]) == (10 * count, 0, 0)
    assert not any(one["done"] for one in told)
    assert len(stored(client, collection)["FREQ"]) == count


def test_the_command_says_what_is_wrong_with_its_source(server: Server, collection: str):
    for source, message in (
        ("pmu.example:4712", "c37118://HOST:PORT"),
        ("http://pmu.example:4712", "c37118://HOST:PORT"),
        ("c37118://pmu.example", "c37118://HOST:PORT"),
        ("c37118://pmu.example:4712", "--idcode"),
        ("c37118://pmu.example:4712/x", "no idcode"),
    ):
        command = [*listening(server, 1, collection)[:4], source, "--endpoint", server.endpoint]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def third_configuration(names: tuple[str, ...] = ("Leitung Süd VA", "IA", "P")) -> bytes:
    """Configuration 3: a voltage, a current, an analog value, and sixteen states."""

    def text(name: str) -> bytes:
        content = name.encode()
        return bytes([len(content)]) + content

    body = struct.pack(">IH", 1_000_000, 1) + text("Umspannwerk Süd") + struct.pack(">H", 12)
    body += bytes(16) + struct.pack(">HHHH", 0b0001, 2, 1, 1)
    body += b"".join(map(text, [*names, *(f"BIT {bit}" for bit in range(16))]))
    body += struct.pack(">Iff", 0, 0.5, 0.0) + struct.pack(">Iff", 1 << 11, 0.25, math.pi / 2)
    body += struct.pack(">ff", 2.0, -1.0) + struct.pack(">HH", 0x0001, 0x0003)
    body += struct.pack(">fff", 48.2, 16.4, 151.0) + b"M" + struct.pack(">iiHHh", 0, 0, 1, 7, 50)
    return body


def third_data(number: int) -> bytes:
    body = struct.pack(">HHhHhhhhH", 0, 1000 + number, 100, 400, -100, 0, 50, number, 1)
    return c37118.frame(Kind.DATA, IDCODE, START + number, 0, body)


def in_parts(body: bytes, count: int) -> Iterator[bytes]:
    size = -(-len(body) // count)
    for place in range(count):
        number = place + 1 if place < count - 1 else 0xFFFF
        part = number.to_bytes(2, "big") + body[place * size : (place + 1) * size]
        yield c37118.frame(Kind.CONFIGURATION_3, IDCODE, START, 0, part)


def configured(frames: list[bytes]) -> c37118.Configuration | None:
    """What the frames say when they are put together."""
    assembler, known = c37118.Assembler(), None
    for frame in frames:
        if (whole := assembler.add(frame)) is not None:
            known = c37118.configuration(whole)
    return known


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_configuration_3_has_long_names_and_scales(parts: int):
    body = third_configuration()
    whole = c37118.frame(Kind.CONFIGURATION_3, IDCODE, START, 0, bytes(2) + body)
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
    assert pmu.place == pytest.approx((48.2, 16.4))
    (one,) = c37118.data(third_data(5), known).measurements
    assert one.phasors[0] == pytest.approx((502.5, math.degrees(0.01)))
    assert one.phasors[1] == pytest.approx((100.0, math.degrees(-0.01)))
    assert (one.frequency, one.rocof, one.analogs, one.digitals) == (50.0, 0.5, (9.0,), (1,))


def test_parts_of_a_configuration_that_do_not_follow_each_other_are_refused():
    first, second, third = in_parts(third_configuration(), 3)
    for frames in ([second], [third], [first, third, third], [first, first, third, second]):
        with pytest.raises(FrameError, match=r"does not follow|too early|after the"):
            configured(frames)


@given(st.binary(max_size=400), st.integers(0, 3))
def test_a_configuration_of_any_bytes_is_refused_in_words(body: bytes, number: int):
    frame = c37118.frame(Kind.CONFIGURATION_3, 1, START, 0, number.to_bytes(2, "big") + body)
    with contextlib.suppress(FrameError):
        configured([frame])


def test_configuration_3_is_asked_for_and_its_channels_are_told_apart(
    client: pt.Client, collection: str, until: Until
):
    body = third_configuration(("VA\0", "VA", ""))

    def frames() -> Iterator[bytes]:
        for number in range(10):
            yield third_data(number)
        while True:
            yield b""

    def configure() -> bytes:
        return b"".join(in_parts(body, 3))

    with (
        sending(frames, configure, Command.CONFIGURATION_3) as port,
        receiving(client, collection, port, configuration=3) as feed,
    ):
        until(lambda: feed.counts.frames == 10)
    found = {one.name: one for one in client.streams_in_collection(collection)}
    assert {one.collection for one in found.values()} == {f"{collection}/Umspannwerk Süd"}
    assert set(found) == {
        *("TIMEQ", "STAT", "FREQ", "ROCOF", "ANALOG 1", "BIT 0", "BIT 1"),
        *("VA MAG 3", "VA ANG 4", "VA MAG 5", "VA ANG 6"),
    }
    assert found["VA MAG 5"].unit == "amperes"
    assert found["VA ANG 6"].annotations()["adjustment"] == pytest.approx(90)
    assert [one.count() for one in found.values()] == [10] * len(found)


@pytest.mark.parametrize("transport", ["udp", "udp-listen"])
def test_frames_come_over_udp(client: pt.Client, collection: str, until: Until, transport: Any):
    count = 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
        if transport == "udp-listen":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        with receiving(client, collection, port, transport=transport, silence=60) as feed:
            if transport == "udp":
                sender.settimeout(60)
                asked, receiver = sender.recvfrom(1_000)
                assert c37118.kind(asked) is Kind.COMMAND
            else:
                until(lambda: feed.counts.connections)
                receiver = ("127.0.0.1", port)
            sender.sendto(simulated_sender.data(0)[:20], receiver)  # damaged
            sender.sendto(simulated_sender.configuration(), receiver)
            for number in range(count):
                sender.sendto(simulated_sender.data(number), receiver)
            until(lambda: feed.counts.frames == count)
    assert feed.counts == Counts(connections=1, frames=count, skipped=20)
    assert stored(client, collection)["VA MAG"] == [(sent(k), 230_000.0 + k) for k in range(count)]


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
