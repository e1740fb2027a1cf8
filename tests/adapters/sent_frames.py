"""Frames as senders make them: of another implementation, and of configuration 3."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from ingest.simulated_sender import IDCODE, START
from pingthings.ingest import c37118_frames
from pingthings.ingest.c37118_frames import Kind
from pyc37.frame import ConfigFrame2

__all__ = [
    "NAMES",
    "in_parts",
    "known_to_pyc37",
    "measured",
    "third_configuration",
    "third_data",
    "unit",
]

NAMES = ["VA", "IA", "ANALOG", *(f"BIT {bit}" for bit in range(16))]


def known_to_pyc37(form: tuple[bool, bool, bool, bool], time_base: int = 1_000_000) -> Any:
    return ConfigFrame2(
        *(IDCODE, time_base, 1, "OAK", 12, form, 2, 1, 1, NAMES),
        *([(915_527, "v"), (45_776, "i")], [(-7, "rms")], [(0x000F, 0x00FF)], 50, 1, 50),
        *(START, (0,)),
    )


def third_configuration(
    names: tuple[str, ...] = ("Leitung Süd VA", "IA", "P"),
    form: int = 0b0001,
    scale: float = 0.5,
    turn: float = 0.0,
) -> bytes:
    """Configuration 3: a voltage, a current, an analog value, and sixteen states."""

    def text(name: str) -> bytes:
        content = name.encode()
        return bytes([len(content)]) + content

    body = struct.pack(">IH", 1_000_000, 1) + text("Umspannwerk Süd") + struct.pack(">H", 12)
    body += bytes(16) + struct.pack(">HHHH", form, 2, 1, 1)
    body += b"".join(map(text, [*names, *(f"BIT {bit}" for bit in range(16))]))
    body += struct.pack(">Iff", 0, scale, turn) + struct.pack(">Iff", 1 << 11, 0.25, math.pi / 2)
    body += struct.pack(">ff", 2.0, -1.0) + struct.pack(">HH", 0x0001, 0x0003)
    body += struct.pack(">fff", 48.2, 16.4, 151.0) + b"M" + struct.pack(">iiHHh", 0, 0, 1, 7, 50)
    return body


def third_data(number: int) -> bytes:
    body = struct.pack(">HHhHhhhhH", 0, 1000 + number, 100, 400, -100, 0, 50, number, 1)
    return c37118_frames.frame(Kind.DATA, IDCODE, START + number, 0, body)


def in_parts(body: bytes, count: int) -> Iterator[bytes]:
    size = -(-len(body) // count)
    for place in range(count):
        number = place + 1 if place < count - 1 else 0xFFFF
        part = number.to_bytes(2, "big") + body[place * size : (place + 1) * size]
        yield c37118_frames.frame(Kind.CONFIGURATION_3, IDCODE, START, 0, part)


def unit(
    station: str,
    names: tuple[str, ...] = ("VA",),
    *,
    idcode: int = IDCODE,
    rate: int = 30,
    units: int = 1,
) -> bytes:
    """Configuration 2 of units that are alike: so many voltages, as floating-point numbers."""
    body = struct.pack(">IH", 1_000_000, units)
    for number in range(units):
        body += station.encode("cp1252").ljust(16) + struct.pack(">HH", idcode + number, 0b1111)
        body += struct.pack(">HHH", len(names), 0, 0)
        body += b"".join(name.encode("cp1252").ljust(16) for name in names)
        body += bytes(4 * len(names)) + struct.pack(">HH", 0, 1)
    body += struct.pack(">h", rate)
    return c37118_frames.frame(Kind.CONFIGURATION_2, idcode, START, 0, body)


def measured(
    number: int,
    values: list[float],
    *,
    idcode: int = IDCODE,
    stat: int = 0,
    second: int = START,
    quality: int = 0,
) -> bytes:
    """What a unit of such voltages sends in so many seconds."""
    body = struct.pack(">H", stat)
    body += b"".join(struct.pack(">ff", value, 0.0) for value in values) + struct.pack(">ff", 60, 0)
    return c37118_frames.frame(Kind.DATA, idcode, second + number, quality << 24, body)
