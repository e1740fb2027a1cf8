"""HTTP/2 by hand, as much as a hostile client needs."""

from __future__ import annotations

import contextlib
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
CANCEL, ENHANCE_YOUR_CALM = 8, 11
HEAD = 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    length = struct.pack(">I", len(payload))[1:]
    return length + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header that is neither indexed nor compressed; both texts are short."""
    return b"".join((b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()))


def call(stream: int, path: str, *headers: tuple[str, str]) -> bytes:
    """Opens a call, whose message is still to come."""
    always = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    block = b"".join(literal(name, value) for name, value in [*always, *headers])
    return frame(HEADERS, END_HEADERS, stream, block)


def reset(stream: int) -> bytes:
    """Gives a call up."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


def drained(connection: socket.socket, seconds: float) -> bytes:
    """What comes until nothing has come for so long, or the connection has ended."""
    connection.settimeout(seconds)
    found = b""
    with contextlib.suppress(OSError):
        while received := connection.recv(1 << 16):
            found += received
    return found


def kinds(received: bytes) -> list[tuple[int, bytes]]:
    """The frames in what was received, by kind and payload."""
    found = []
    while len(received) >= HEAD:
        length = int.from_bytes(received[:3], "big")
        found.append((received[3], received[HEAD : HEAD + length]))
        received = received[HEAD + length :]
    return found


def message(data: bytes = b"") -> bytes:
    """A message that is not packed."""
    return b"\0" + struct.pack(">I", len(data)) + data


def opened(endpoint: str, *settings: tuple[int, int]) -> socket.socket:
    """A connection that has greeted."""
    connection = plain(endpoint)
    payload = b"".join(struct.pack(">HI", name, value) for name, value in settings)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, payload))
    return connection


def plain(endpoint: str) -> socket.socket:
    host, port = endpoint.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def until_closed(connection: socket.socket) -> bytes:
    """What comes until the other side closes or breaks the connection."""
    found = b""
    with connection, contextlib.suppress(ConnectionError):
        while received := connection.recv(1 << 16):
            found += received
    return found
