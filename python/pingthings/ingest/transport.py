"""Receives synchrophasor frames over TCP or UDP."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from pingthings.ingest.c37118_frames import Splitter

__all__ = ["Link", "Transport", "connected"]

Transport = Literal["tcp", "udp", "udp-listen"]
"""`tcp`; `udp`, which sends commands to a sender; `udp-listen`, which sends none."""

_RECEIVED = 1 << 16


class Link:
    """A connection that receives frames."""

    def __init__(self, own: socket.socket, transport: Transport) -> None:
        self._socket = own
        self._transport = transport
        self._splitter = Splitter()

    @property
    def skipped(self) -> int:
        """The number of bytes outside of valid frames."""
        return self._splitter.skipped

    def send(self, frame: bytes) -> None:
        """Sends a command, unless this only listens."""
        if self._transport != "udp-listen":
            self._socket.sendall(frame)

    def receive(self, seconds: float) -> list[bytes]:
        """Returns the frames that arrive within this time; an empty list if none does.

        Raises:
            ConnectionError: The sender closed the connection.
        """
        self._socket.settimeout(seconds)
        try:
            received = self._socket.recv(_RECEIVED)
        except TimeoutError:
            return []
        frames = list(self._splitter.split(received))
        if self._transport != "tcp" or not received:  # the rest of a frame cannot follow
            frames += self._splitter.rest()
        if not received and not frames and self._transport == "tcp":
            raise ConnectionError("the sender closed the connection")
        return frames


@contextmanager
def connected(transport: Transport, host: str, port: int, seconds: float) -> Generator[Link]:
    """Connects to a sender, or listens for one, in a `with` statement.

    Raises:
        OSError: The address does not exist, or the sender does not answer in time.
    """
    if transport == "tcp":
        with socket.create_connection((host, port), seconds) as own:
            yield Link(own, transport)
        return
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as own:
        if transport == "udp":
            own.connect(address)
        else:
            _listen(own, host, port, address)
        yield Link(own, transport)


def _listen(own: socket.socket, host: str, port: int, address: tuple[object, ...]) -> None:
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    group = str(address[0])
    if not ipaddress.ip_address(group).is_multicast:
        own.bind(address)
    elif own.family == socket.AF_INET:
        own.bind((group, port))
        joined = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")  # noqa: S104 - any interface
        own.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    else:
        raise OSError(f"`{host}` is an IPv6 multicast group, which is not supported")
