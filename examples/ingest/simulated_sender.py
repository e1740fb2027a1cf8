"""A sender of synchrophasors (IEEE C37.118.2) for trying things out; it measures nothing."""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pingthings.ingest import c37118_frames
from pingthings.ingest.c37118_frames import Command, Kind

__all__ = ["IDCODE", "RATE", "START", "configuration", "data", "sending"]

IDCODE = 7_734
START = 1_710_505_800
"""The second of the first frame."""
RATE = 30
_TIME_BASE = 1_000_000
_NAMES = ("VA", "VB", "IA")


def configuration() -> bytes:
    """Returns the configuration: two voltages and a current, as floating-point numbers."""
    body = struct.pack(">IH", _TIME_BASE, 1) + _name("OAK") + struct.pack(">HH", IDCODE, 0b1111)
    body += struct.pack(">HHH", len(_NAMES), 0, 0) + b"".join(_name(name) for name in _NAMES)
    body += struct.pack(">III", 0, 0, 1 << 24) + struct.pack(">HHh", 0, 1, RATE)
    return c37118_frames.frame(Kind.CONFIGURATION_2, IDCODE, START, 0, body)


def data(number: int) -> bytes:
    """Returns a frame of data; the first has the number 0."""
    second, part = divmod(number, RATE)
    angle = math.remainder(number / 100, 2 * math.pi)
    numbers = [230_000.0 + number, angle, 230_000.0 - number, -angle, 400.0, 0.0, 60.01, 0.5]
    fraction = round(part * _TIME_BASE / RATE)
    body = struct.pack(">H8f", 0, *numbers)
    return c37118_frames.frame(Kind.DATA, IDCODE, START + second, fraction, body)


def _name(text: str) -> bytes:
    return text.encode().ljust(16)


@contextmanager
def sending(
    frames: Callable[[], Iterator[bytes]],
    configure: Callable[[], bytes] = configuration,
    asked_by: Command = Command.CONFIGURATION_2,
) -> Iterator[int]:
    """Serves one receiver after another, and yields the port.

    Args:
        frames: Called for each connection: what to send once data are asked for. When there is no
            more, the sender hangs up; where there is an empty one, it looks for commands.
        configure: Gives the configuration when asked for it.
        asked_by: How it is asked for.
    """
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    link, _ = listener.accept()
                    with link:
                        _talk(link, frames, configure, asked_by, stop)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _talk(
    link: socket.socket,
    frames: Callable[[], Iterator[bytes]],
    configure: Callable[[], bytes],
    asked_by: Command,
    stop: threading.Event,
) -> None:
    """One connection: answers commands, and sends in between."""
    splitter = c37118_frames.Splitter()
    rest: Iterator[bytes] | None = None
    link.settimeout(0.01)
    while not stop.is_set():
        with suppress(TimeoutError):
            received = link.recv(1 << 12)
            if not received:
                return
            asked = {int.from_bytes(one[14:16], "big") for one in splitter.split(received)}
            if asked_by in asked:
                link.sendall(configure())
            if Command.DATA_ON in asked and rest is None:
                rest = frames()
        if rest is not None and not _send(link, rest):
            return


def _send(link: socket.socket, rest: Iterator[bytes]) -> bool:
    """Sends up to an empty frame; returns whether there was one."""
    for one in rest:
        if not one:
            return True
        link.sendall(one)
    link.shutdown(socket.SHUT_WR)
    while link.recv(1 << 12):  # what is unread would make it a reset
        pass
    return False
