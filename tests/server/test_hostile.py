"""Clients that mean harm: the server stays up, bounded, quiet, and serves everybody else."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import psutil
import pytest
from server import frames

MEBIBYTE = 1 << 20


class Victim:
    """A server in a process of its own, watched."""

    def __init__(self, served: Any) -> None:
        self.served = served
        self.endpoint: str = served.endpoint
        self._process = psutil.Process(served.process.pid)
        # What it logs is read as it comes, lest it wait for us.
        self.log: list[str] = []
        self._reader = threading.Thread(target=self.log.extend, args=(served.process.stderr,))
        self._reader.start()
        self.client = pt.connect(endpoint=self.endpoint)
        self.stream = self.client.create(uuid4(), "kept", {"name": "x"})
        self.stream.insert([(1, 1.0)])

    def assert_serves(self) -> None:
        with pt.connect(endpoint=self.endpoint) as client:
            assert client.stream_from_uuid(self.stream.uuid).latest() == (1, 1.0)
        assert self.stream.latest() == (1, 1.0)

    def memory(self) -> int:
        return int(self._process.memory_info().rss)

    def connections(self) -> int:
        return len(self._process.net_connections())

    def stop(self) -> None:
        self.client.close()
        self.served.process.terminate()
        assert self.served.process.wait(60) == 0
        self._reader.join(60)
        self.served.process.stdout.close()
        self.served.process.stderr.close()
        panics = [line for line in self.log if "panic" in line.lower()]
        assert not panics, panics


@pytest.fixture
def victim(serve: Callable[..., Any]) -> Iterator[Victim]:
    victim = Victim(serve("--log-level", "info"))
    yield victim
    victim.stop()


def test_random_bytes(victim: Victim):
    numbers = random.Random(7)  # noqa: S311 - the same bytes in every run
    before = victim.memory()
    for attempt in range(300):
        connection = frames.plain(victim.endpoint)
        # A third begins like HTTP/2, so that the rest is read as frames.
        start = frames.PREFACE if attempt % 3 == 0 else b""
        with contextlib.suppress(OSError):
            connection.sendall(start + numbers.randbytes(numbers.randrange(1, 2_000)))
            connection.shutdown(socket.SHUT_WR)
        frames.until_closed(connection)
    victim.assert_serves()
    assert victim.memory() - before < 64 * MEBIBYTE


def test_lengths_that_are_never_sent(victim: Victim):
    before = victim.memory()
    path = "/v5api.BTrDB/ArrowInsert"
    for announced in (1 << 30, (1 << 32) - 1, 250 * MEBIBYTE):
        for _ in range(20):
            connection = frames.opened(victim.endpoint)
            message = b"\0" + struct.pack(">I", announced) + b"x" * 1_000
            connection.sendall(frames.call(1, path) + frames.frame(frames.DATA, 0, 1, message))
            connection.close()
    # A frame that is longer than allowed, and one for a call that was never opened.
    for bad in (b"\xff\xff\xff\0\0\0\0\0\1", frames.frame(frames.DATA, 0, 99, b"x")):
        connection = frames.opened(victim.endpoint)
        connection.sendall(bad)
        frames.until_closed(connection)
    victim.assert_serves()
    assert victim.memory() - before < 64 * MEBIBYTE


def test_a_message_of_a_gigabyte(victim: Victim):
    before = victim.memory()
    # In earnest: the client sends what it announces, until the server refuses.
    connection = frames.opened(victim.endpoint)
    connection.sendall(frames.call(1, "/v5api.BTrDB/ArrowInsert"))
    sent = 0
    with contextlib.suppress(OSError):
        head = b"\0" + struct.pack(">I", 1 << 30)
        connection.sendall(frames.frame(frames.DATA, 0, 1, head))
        connection.settimeout(0.2)
        while sent < 1 << 30:
            connection.sendall(frames.frame(frames.DATA, 0, 1, bytes(16_384)))
            sent += 16_384
    connection.close()
    # Whether it listens to the refusal is its business; nothing of it is kept.
    victim.assert_serves()
    assert victim.memory() - before < 128 * MEBIBYTE


def test_a_message_that_only_compression_makes_small(victim: Victim):
    before = victim.memory()
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(1_024)) + packer.flush()
    path = "/v5api.BTrDB/ArrowInsert"
    connection = frames.opened(victim.endpoint)
    connection.sendall(frames.call(1, path, ("grpc-encoding", "gzip")))
    message = b"\1" + struct.pack(">I", len(packed)) + packed
    connection.settimeout(30)
    # A server may answer that it is too much before all of it was sent, and hang up.
    with contextlib.closing(connection), contextlib.suppress(OSError):
        for at in range(0, len(message), 16_384):
            part = message[at : at + 16_384]
            flags = frames.END_STREAM if at + 16_384 >= len(message) else 0
            connection.sendall(frames.frame(frames.DATA, flags, 1, part))
        assert connection.recv(1 << 16)
    victim.assert_serves()
    # The limit of a message, 256 MiB, and as much again while its buffer grows.
    assert victim.memory() - before < 700 * MEBIBYTE


def test_calls_that_are_never_finished(victim: Victim):
    before = victim.memory()
    held = []
    for _ in range(50):
        connection = frames.opened(victim.endpoint)
        # No message ever comes, and the connection is closed in one direction only.
        for stream in range(1, 200, 2):
            connection.sendall(frames.call(stream, "/v5api.BTrDB/Insert"))
        connection.shutdown(socket.SHUT_WR)
        held.append(connection)
    victim.assert_serves()
    for connection in held:
        connection.close()
    assert victim.memory() - before < 128 * MEBIBYTE


def test_answers_that_nobody_reads(victim: Victim):
    rows = np.arange(2, 500_002)
    victim.stream.insert((rows, rows.astype(float)))
    victim.stream.flush()
    before = victim.memory()
    uuid = victim.stream.uuid.bytes
    # uuid, start and end of RawValuesParams.
    params = b"\x0a\x10" + uuid + b"\x11" + struct.pack("<q", 0) + b"\x19"
    params += struct.pack("<q", 1 << 40)
    message = b"\0" + struct.pack(">I", len(params)) + params
    held = []
    for _ in range(20):
        connection = frames.opened(victim.endpoint)
        # A connection of which nobody reads anything may have to give way to others.
        with contextlib.suppress(OSError):
            for stream in range(1, 400, 2):
                opening = frames.call(stream, "/v5api.BTrDB/RawValues")
                connection.sendall(
                    opening + frames.frame(frames.DATA, frames.END_STREAM, stream, message)
                )
        held.append(connection)
    # 4000 were asked for. Those beyond the limit are refused; the others hold what is made ahead.
    assert victim.stream.nearest(1, backward=False) == (1, 1.0)
    victim.stream.insert([(1 << 50, 1.0)])
    # The limit of what is held for callers, and what else it takes.
    assert victim.memory() - before < (512 + 200) * MEBIBYTE
    for connection in held:
        connection.close()
    assert len(victim.stream.raw_values(0, 1 << 40)) == 500_001


def test_connections_that_are_opened_and_left(
    victim: Victim, until: Callable[[Callable[[], bool]], None]
):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 20_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    before = victim.memory()
    count = min(10_000, most - 1_000)
    try:
        with contextlib.ExitStack() as held:
            for _ in range(count):
                held.enter_context(frames.plain(victim.endpoint))
            victim.assert_serves()
            assert victim.memory() - before < 400 * MEBIBYTE
        until(lambda: victim.connections() < 100)
        victim.assert_serves()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_that_never_greet_are_closed(victim: Victim):
    silent = frames.plain(victim.endpoint)
    silent.settimeout(60)
    frames.until_closed(silent)
    victim.assert_serves()
