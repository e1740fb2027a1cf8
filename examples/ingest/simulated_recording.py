"""Writes COMTRADE recordings, as IEEE C37.111-2013 says; nothing in them was measured."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Analog", "Form", "Recorded", "Status", "fault", "write"]

Form = Literal["ASCII", "BINARY", "BINARY32", "FLOAT32"]

_CODES = {"BINARY": "h", "BINARY32": "i", "FLOAT32": "f"}
_MISSING: dict[str, float] = {
    "BINARY": -0x8000,
    "BINARY32": -0x80000000,
    "FLOAT32": struct.unpack("<f", b"\xff\xff\x7f\xff")[0],
}


@dataclass(frozen=True)
class Analog:
    """An analog channel; its values are `a * sample + b` in its unit."""

    name: str
    phase: str
    unit: str
    samples: Sequence[int | None]
    a: str = "1"
    b: str = "0"
    skew: str = "0"
    primary: str = "1"
    secondary: str = "1"
    side: Literal["P", "S"] = "P"


@dataclass(frozen=True)
class Status:
    """A digital channel."""

    name: str
    samples: Sequence[int]
    normal: int = 0


@dataclass(frozen=True)
class Recorded:
    """What goes into a recording. Without rates the stamps say when a sample was taken."""

    start: str
    trigger: str
    analog: Sequence[Analog]
    status: Sequence[Status] = ()
    rates: Sequence[tuple[str, int]] = ()
    stamps: Sequence[int | None] = field(default_factory=tuple)
    multiplier: str = "1"
    time_code: str = "0"
    revision: str = "2013"

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.analog[0].samples)


def write(path: Path, recorded: Recorded, form: Form) -> None:
    """Writes a `.cff` file, or a `.cfg` file and a `.dat` file beside it."""
    text = _description(recorded, form)
    data = _text(recorded) if form == "ASCII" else _binary(recorded, form)
    if path.suffix.lower() == ".cff":
        about = "" if form == "ASCII" else f": {len(data)}"
        parts = [
            f"--- file type: CFG ---\r\n{text}--- file type: INF ---\r\n".encode(),
            f"--- file type: HDR ---\r\n--- file type: DAT {form}{about} ---\r\n".encode(),
            data,
        ]
        path.write_bytes(b"".join(parts))
    else:
        path.write_bytes(text.encode())
        path.with_suffix(".dat").write_bytes(data)


def fault(path: Path, form: Form) -> None:
    """Writes a tenth of a second of a line to ground, 4800 samples a second."""
    count, hertz, rate = 480, 60, 4_800
    waves = []
    for name, phase, shift in (("VA", "A", 0), ("VB", "B", 120), ("VC", "C", 240)):
        angles = [math.radians(360 * hertz * k / rate - shift) for k in range(count)]
        heights = [0.3 if name == "VA" and k >= count // 2 else 1.0 for k in range(count)]
        samples = [round(9_000 * h * math.sin(a)) for h, a in zip(heights, angles, strict=True)]
        scale = {"a": "0.0125", "primary": "230000", "secondary": "115"}
        waves.append(Analog(name, phase, "V", samples, **scale, side="S"))
    tripped = Status("52A", [int(k >= count * 3 // 4) for k in range(count)])
    start, trigger = "15/03/2024,12:30:00.123456789", "15/03/2024,12:30:00.173456789"
    write(path, Recorded(start, trigger, waves, [tripped], [(str(rate), count)]), form)


def _description(recorded: Recorded, form: Form) -> str:
    analog, status = recorded.analog, recorded.status
    year = [] if recorded.revision == "1991" else [recorded.revision]
    lines = [",".join(["SIMULATED", "recorder", *year])]
    lines.append(f"{len(analog) + len(status)},{len(analog)}A,{len(status)}D")
    for place, one in enumerate(analog, 1):
        cells = [place, one.name, one.phase, "line", one.unit, one.a, one.b, one.skew]
        cells += [-32767, 32767]
        if recorded.revision != "1991":
            cells += [one.primary, one.secondary, one.side]
        lines.append(",".join(str(cell) for cell in cells))
    for place, state in enumerate(status, 1):
        lines.append(f"{place},{state.name},,line,{state.normal}")
    lines.append("60")
    lines.append(str(len(recorded.rates)))
    lines += [f"{rate},{last}" for rate, last in recorded.rates] or [f"0,{recorded.count}"]
    lines += [recorded.start, recorded.trigger, form]
    if recorded.revision != "1991":
        lines.append(recorded.multiplier)
    if recorded.revision == "2013":
        lines += [f"{recorded.time_code},{recorded.time_code}", "0,0"]
    return "".join(f"{line}\r\n" for line in lines)


def _text(recorded: Recorded) -> bytes:
    stamps = recorded.stamps or [None] * recorded.count
    rows = []
    for k, stamp in enumerate(stamps):
        values = [one.samples[k] for one in recorded.analog]
        cells = [k + 1, stamp, *values, *(one.samples[k] for one in recorded.status)]
        rows.append(",".join("" if cell is None else str(cell) for cell in cells) + "\r\n")
    return "".join(rows).encode()


def _binary(recorded: Recorded, form: Form) -> bytes:
    stamps = recorded.stamps or [None] * recorded.count
    words = -(-len(recorded.status) // 16)
    pattern = struct.Struct(f"<II{len(recorded.analog)}{_CODES[form]}{words}H")
    rows = []
    for k, stamp in enumerate(stamps):
        values = [one.samples[k] for one in recorded.analog]
        kept = [_MISSING[form] if value is None else value for value in values]
        bits = [0] * words
        for place, one in enumerate(recorded.status):
            bits[place // 16] |= one.samples[k] << (place % 16)
        rows.append(pattern.pack(k + 1, 0xFFFFFFFF if stamp is None else stamp, *kept, *bits))
    return b"".join(rows)
