"""Synchrophasors over a network: exact times, lost connections, and changed configurations."""

from __future__ import annotations

import json
import math
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import pingthings.timeseries as pt
import pytest
from adapters import pyc37_sender
from adapters.receiver import receiving, stored
from adapters.sent_frames import in_parts, known_to_pyc37, third_configuration, third_data
from ingest import simulated_sender
from ingest.simulated_sender import IDCODE, RATE, START, sending
from pingthings.ingest import c37118_frames
from pingthings.ingest.c37118_frames import Command, Kind
from pingthings.ingest.feed import Counts
from pingthings.server import Server
from pyc37.frame import DataFrame

Until = Callable[[Callable[[], object]], None]


def sent(number: int) -> int:
    """When a frame of the simulated sender is from."""
    return START * 10**9 + number // RATE * 10**9 + round(number % RATE * 10**6 / RATE) * 1_000


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
    assert feed.counts == Counts(connections=5, frames=count, skipped=4 * 20)
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
        return c37118_frames.frame(Kind.CONFIGURATION_2, IDCODE, START, 0, whole[14:])

    def frames() -> Iterator[bytes]:
        for number in range(30):
            frame = simulated_sender.data(number)
            if 10 <= number < 20:
                soc, fracsec = struct.unpack_from(">II", frame, 6)
                body = changing + frame[16:-2]
                frame = c37118_frames.frame(Kind.DATA, IDCODE, soc, fracsec, body)
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
        ("c37118://pmu.example:4712/x", "not an idcode"),
    ):
        command = [*listening(server, 1, collection)[:4], source, "--endpoint", server.endpoint]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


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
                assert c37118_frames.kind(asked) is Kind.COMMAND
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
