"""HTTP/2 frames of a connection, counted from the bytes that pass in one direction."""

from __future__ import annotations

from collections.abc import Callable

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_FRAME_HEADER = 9
DATA = 0x0
HEADERS = 0x1
RST_STREAM = 0x3
GOAWAY = 0x7
END_STREAM = 0x1

Seen = Callable[[int, int, int], None]
"""Told of each frame: its kind, its flags and its stream."""


class Frames:
    """Finds the frames in bytes that come in pieces of any size."""

    def __init__(self, seen: Seen, *, is_client: bool) -> None:
        self._seen = seen
        self._pending = bytearray()
        self._skip = _PREFACE if is_client else 0

    def feed(self, data: bytes) -> None:
        self._pending += data
        while True:
            drop = min(self._skip, len(self._pending))
            del self._pending[:drop]
            self._skip -= drop
            if self._skip or len(self._pending) < _FRAME_HEADER:
                return
            kind, flags = self._pending[3:5]
            stream = int.from_bytes(self._pending[5:9], "big") & 0x7FFF_FFFF
            self._seen(kind, flags, stream)
            self._skip = _FRAME_HEADER + int.from_bytes(self._pending[:3], "big")
