"""Finds, assembles and encodes synchrophasor frames (IEEE C37.118.2).

`c37118` decodes their content.
"""

from __future__ import annotations

import binascii
import re
import struct
from array import array
from collections.abc import Iterator
from enum import IntEnum
from functools import cache

__all__ = [
    "CHECK_BYTES",
    "CONTINUED",
    "HEAD",
    "Assembler",
    "Command",
    "FrameError",
    "Kind",
    "Splitter",
    "command",
    "frame",
    "idcode",
    "kind",
]

SYNC = 0xAA
_BEGIN = re.compile(rb"\xaa(?:[\x00-\x5f]|\Z)")
HEAD = struct.Struct(">BBHHII")
CHECK_BYTES = 2
CONTINUED = 2
"""Bytes of the continuation index in configuration 3."""
_SIZED = 4
"""Bytes up to the end of the length field of a frame."""
_START = 0xFFFF
_POLYNOMIAL = 0x1021
_PERIOD = 32_767
"""The checksum register returns to its value after this many zero bits."""
_STEP = 256
_DONE = 1 << 16
_LAST = 0xFFFF
_LARGEST = 1 << 20


class FrameError(ValueError):
    """A complete frame with a valid checksum has invalid content."""


class Kind(IntEnum):
    """The type of a frame."""

    DATA = 0
    HEADER = 1
    CONFIGURATION_1 = 2
    CONFIGURATION_2 = 3
    COMMAND = 4
    CONFIGURATION_3 = 5


class Command(IntEnum):
    """A command to a sender."""

    DATA_OFF = 1
    DATA_ON = 2
    HEADER = 3
    CONFIGURATION_1 = 4
    CONFIGURATION_2 = 5
    CONFIGURATION_3 = 6


class Splitter:
    """Splits received bytes into complete frames with a valid checksum.

    A byte that looks like the start of a frame may be any other byte, and the length after it may
    then be anything. To keep the cost linear, the checksum of a candidate is not computed over its
    bytes. It is derived from two checksums of all kept bytes, up to the start of the candidate and
    up to its end, which takes the same time for every length.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._place = 0
        """Offset of the first byte that is not processed yet."""
        self._sums = [0]
        """Checksums of the first 0, 256, 512, ... kept bytes, with an initial value of zero."""
        self.skipped = 0
        """Number of bytes outside of valid frames."""

    @property
    def waiting(self) -> int:
        """The number of bytes that wait for the rest of their frame."""
        return len(self._kept) - self._place

    def split(self, received: bytes) -> Iterator[bytes]:
        """Yields the frames that these bytes complete."""
        self._kept += received
        return self._frames(more_comes=True)

    def rest(self) -> Iterator[bytes]:
        """Yields the frames in the waiting bytes and skips the rest, as no more bytes will come."""
        return self._frames(more_comes=False)

    def _frames(self, *, more_comes: bool) -> Iterator[bytes]:
        kept = self._kept
        while self.waiting >= (_SIZED if more_comes else 1):
            place = self._place
            size = int.from_bytes(kept[place + 2 : place + _SIZED], "big")
            if not self._may_begin(place, size):
                self._skip()
            elif self.waiting < size and more_comes:
                break
            elif self.waiting < size:
                self._skip()
            elif self._is_whole(place, size):
                self._place += size
                yield bytes(kept[place : place + size])
            else:
                self._skip()
        if self._place > _DONE or self._place == len(kept):
            del kept[: self._place]
            self._place, self._sums = 0, [0]

    def _may_begin(self, place: int, size: int) -> bool:
        begins = _BEGIN.match(self._kept, place) is not None
        return begins and size >= HEAD.size + CHECK_BYTES

    def _skip(self) -> None:
        """Skips to the next byte that may begin a frame."""
        found = _BEGIN.search(self._kept, self._place + 1)
        after = len(self._kept) if found is None else found.start()
        self.skipped += after - self._place
        self._place = after

    def _is_whole(self, place: int, size: int) -> bool:
        """Whether these bytes are a frame: the checksum over a frame and its own is zero."""
        before, after = self._sum(place), self._sum(place + size)
        return after == _shifted(before ^ _START, size)

    def _sum(self, end: int) -> int:
        """Returns the checksum of the kept bytes before `end`, with an initial value of zero."""
        while len(self._sums) * _STEP <= end:
            begin = (len(self._sums) - 1) * _STEP
            step = self._kept[begin : begin + _STEP]
            self._sums.append(binascii.crc_hqx(step, self._sums[-1]))
        whole = end // _STEP
        return binascii.crc_hqx(self._kept[whole * _STEP : end], self._sums[whole])


def _shifted(check: int, size: int) -> int:
    """Returns a checksum after `size` more zero bytes."""
    powers, first, shifted = _powers(), 8 * size, 0
    for bit in range(16):
        if check >> bit & 1:
            shifted ^= powers[(first + bit) % _PERIOD]
    return shifted


@cache
def _powers() -> array[int]:
    """Returns the checksum 1 after 0, 1, 2, ... zero bits."""
    found, power = array("H"), 1
    for _ in range(_PERIOD):
        found.append(power)
        power = power << 1 ^ (power >> 15) * (1 << 16 | _POLYNOMIAL)
    return found


def frame(what: Kind, idcode: int, soc: int, fracsec: int, body: bytes) -> bytes:
    """Encodes a frame with its checksum."""
    size = HEAD.size + len(body) + CHECK_BYTES
    head = HEAD.pack(SYNC, what << 4 | 1, size, idcode, soc, fracsec)
    check = binascii.crc_hqx(head + body, _START)
    return head + body + check.to_bytes(CHECK_BYTES, "big")


def command(idcode: int, what: Command, soc: int) -> bytes:
    """Encodes a command frame."""
    return frame(Kind.COMMAND, idcode, soc, 0, what.to_bytes(2, "big"))


def kind(received: bytes) -> Kind:
    """Returns the type of a frame."""
    return Kind(received[1] >> 4)


def idcode(received: bytes) -> int:
    """Returns the idcode of the data stream to which a frame belongs."""
    code: int = HEAD.unpack_from(received)[3]
    return code


class Assembler:
    """Assembles a configuration 3 that is sent in several frames."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, received: bytes) -> bytes | None:
        """Returns a complete frame, or None if further parts are missing.

        Raises:
            FrameError: A part is out of order, or the parts are too large.
        """
        if kind(received) is not Kind.CONFIGURATION_3:
            return received
        if len(received) < HEAD.size + CONTINUED + CHECK_BYTES:
            raise FrameError("the configuration is truncated")
        body = received[HEAD.size + CONTINUED : -CHECK_BYTES]
        number = int.from_bytes(received[HEAD.size : HEAD.size + CONTINUED], "big")
        if number in {0, 1}:
            self._forget()
        elif not self._parts or (number != _LAST and number != len(self._parts) + 1):
            self._forget()
            raise FrameError(f"part {number} of a configuration does not follow the previous part")
        self._parts.append(body)
        self._size += len(body)
        if self._size > _LARGEST:
            self._forget()
            raise FrameError("the configuration is larger than a megabyte")
        if number not in {0, _LAST}:
            return None
        whole = b"".join(self._parts)
        self._forget()
        return received[: HEAD.size] + bytes(CONTINUED) + whole + received[-CHECK_BYTES:]

    def _forget(self) -> None:
        self._parts, self._size = [], 0
