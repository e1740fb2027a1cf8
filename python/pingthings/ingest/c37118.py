"""The frames of synchrophasors (IEEE C37.118.2): bytes in, exact times and engineering units out.

Nothing of this reads or writes a socket.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pingthings.ingest.streams import clean

__all__ = [
    "Analog",
    "Assembler",
    "Command",
    "Configuration",
    "Data",
    "Digital",
    "FrameError",
    "Kind",
    "Measurement",
    "Phasor",
    "Pmu",
    "Splitter",
    "command",
    "configuration",
    "data",
    "frame",
    "kind",
]

SYNC = 0xAA
HEAD = struct.Struct(">BBHHII")
SECOND = 1_000_000_000
_CHECK_BYTES = 2
_NAME = 16
_BITS = 16
_MISSING = -0x8000
_CONTINUED = 2
_LAST = 0xFFFF
_LARGEST = 1 << 20


class FrameError(ValueError):
    """A whole frame with a good checksum that cannot be meant."""


class Kind(IntEnum):
    """What a frame is."""

    DATA = 0
    HEADER = 1
    CONFIGURATION_1 = 2
    CONFIGURATION_2 = 3
    COMMAND = 4
    CONFIGURATION_3 = 5


class Command(IntEnum):
    """What a receiver asks for."""

    DATA_OFF = 1
    DATA_ON = 2
    HEADER = 3
    CONFIGURATION_1 = 4
    CONFIGURATION_2 = 5
    CONFIGURATION_3 = 6


@dataclass(frozen=True)
class Phasor:
    """A phasor: volts or amperes, and how much one step is."""

    name: str
    unit: str
    scale: float
    """Of integers; in configuration 3 of floating-point numbers, too."""
    adjustment: float = 0.0
    """What configuration 3 says of its angle, in degrees; it is not added to it."""
    scales_floats: bool = False


@dataclass(frozen=True)
class Analog:
    """An analog value; in configuration 3 it is `scale` times what is sent, and `offset`."""

    name: str
    kind: int
    factor: int
    """What its owner scales it by, in configuration 1 and 2; it is left to the owner."""
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Digital:
    """Sixteen states; the least significant bit comes first."""

    names: tuple[str, ...]
    normal: int
    valid: int


@dataclass(frozen=True)
class Pmu:
    """One measurement unit of a stream of frames."""

    station: str
    idcode: int
    form: int
    phasors: tuple[Phasor, ...]
    analogs: tuple[Analog, ...]
    digitals: tuple[Digital, ...]
    nominal: int
    """In hertz."""
    place: tuple[float, float] | None = None
    """Latitude and longitude in degrees, where configuration 3 says them."""

    @property
    def is_polar(self) -> bool:
        """Whether phasors come as magnitude and angle."""
        return bool(self.form & 1)

    @property
    def layout(self) -> struct.Struct:
        """What it sends in a frame."""
        integers = "Hh" if self.is_polar else "hh"
        phasor = "ff" if self.form & 2 else integers
        analog = "f" if self.form & 4 else "h"
        frequency = "ff" if self.form & 8 else "hh"
        return struct.Struct(
            f">H{phasor * len(self.phasors)}{frequency}{analog * len(self.analogs)}"
            f"{'H' * len(self.digitals)}"
        )


@dataclass(frozen=True)
class Configuration:
    """What the frames of data will consist of."""

    idcode: int
    time_base: int
    """How many parts a second is divided into."""
    pmus: tuple[Pmu, ...]
    rate: int
    """Frames in a second; below zero, seconds between two."""


@dataclass(frozen=True)
class Measurement:
    """What one unit measured. A value that is missing is NaN."""

    stat: int
    phasors: tuple[tuple[float, float], ...]
    """Magnitude in the unit of the phasor, angle in degrees."""
    frequency: float
    """In hertz."""
    rocof: float
    """Its change, in hertz per second."""
    analogs: tuple[float, ...]
    digitals: tuple[int, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the unit says that these are measurements: no error, and no test."""
        return self.stat >> 14 == 0

    @property
    def is_changing(self) -> bool:
        """Whether the configuration is about to change; it has when this ends."""
        return bool(self.stat & 0x0400)


@dataclass(frozen=True)
class Data:
    """A frame of measurements."""

    time: int
    """Nanoseconds since 1970, UTC."""
    quality: int
    """Of the time: the upper eight bits of FRACSEC."""
    measurements: tuple[Measurement, ...]


class Splitter:
    """Takes bytes as they come, and gives whole frames whose checksum is right."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.skipped = 0
        """Bytes that belong to no good frame."""

    @property
    def waiting(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._kept)

    def split(self, received: bytes) -> Iterator[bytes]:
        """Yields the frames that these bytes complete."""
        kept = self._kept
        kept += received
        while len(kept) >= 4:  # noqa: PLR2004 - up to the size
            size = int.from_bytes(kept[2:4], "big")
            if kept[0] != SYNC or kept[1] >> 4 > max(Kind) or size < HEAD.size:
                self._skip()
            elif len(kept) < size:
                return
            elif binascii.crc_hqx(kept[:size], 0xFFFF):  # over its own checksum it is zero
                self._skip()
            else:
                found = bytes(kept[:size])
                del kept[:size]
                yield found

    def _skip(self) -> None:
        """Leaves out all before the next byte that may begin a frame."""
        place = self._kept.find(SYNC, 1)
        count = len(self._kept) if place < 0 else place
        self.skipped += count
        del self._kept[:count]


def frame(what: Kind, idcode: int, soc: int, fracsec: int, body: bytes) -> bytes:
    """Returns a frame of these contents, with its checksum."""
    size = HEAD.size + len(body) + _CHECK_BYTES
    head = HEAD.pack(SYNC, what << 4 | 1, size, idcode, soc, fracsec)
    check = binascii.crc_hqx(head + body, 0xFFFF)
    return head + body + check.to_bytes(_CHECK_BYTES, "big")


def command(idcode: int, what: Command, soc: int) -> bytes:
    """Returns the frame that asks for something."""
    return frame(Kind.COMMAND, idcode, soc, 0, what.to_bytes(2, "big"))


def kind(received: bytes) -> Kind:
    """Returns what a frame is."""
    return Kind(received[1] >> 4)


class Assembler:
    """Puts together what comes in several frames, as configuration 3 may."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, received: bytes) -> bytes | None:
        """Returns a whole frame, or None if more has to come.

        Raises:
            FrameError: Parts are missing or too many.
        """
        if kind(received) is not Kind.CONFIGURATION_3:
            return received
        if len(received) < HEAD.size + _CONTINUED + _CHECK_BYTES:
            raise FrameError("the configuration ends too early")
        body = received[HEAD.size + _CONTINUED : -_CHECK_BYTES]
        number = int.from_bytes(received[HEAD.size : HEAD.size + _CONTINUED], "big")
        if number in {0, 1}:
            self._parts = []
        elif not self._parts or (number != _LAST and number != len(self._parts) + 1):
            self._parts = []
            raise FrameError(f"part {number} of a configuration does not follow the one before")
        self._parts.append(body)
        if sum(map(len, self._parts)) > _LARGEST:
            self._parts = []
            raise FrameError("the configuration is larger than a megabyte")
        if number not in {0, _LAST}:
            return None
        whole, self._parts = b"".join(self._parts), []
        return received[: HEAD.size] + bytes(_CONTINUED) + whole + received[-_CHECK_BYTES:]


def configuration(received: bytes) -> Configuration:
    """Returns what a frame of configuration 1, 2 or 3 says; of 3 a whole one.

    Raises:
        FrameError: It is shorter or longer than it says.
    """
    idcode = HEAD.unpack_from(received)[3]
    is_third = kind(received) is Kind.CONFIGURATION_3
    skip = _CONTINUED if is_third else 0
    reader = _Reader(received[HEAD.size + skip : -_CHECK_BYTES])
    time_base = reader.number(4) & 0xFFFFFF
    if not time_base:
        raise FrameError("a second is divided into no parts")
    read = _third_pmu if is_third else _pmu
    pmus = tuple(read(reader) for _ in range(reader.number(2)))
    rate = reader.number(2, signed=True)
    if reader.rest:
        raise FrameError(f"{reader.rest} bytes after the configuration")
    return Configuration(idcode, time_base, pmus, rate)


def _pmu(reader: _Reader) -> Pmu:
    station = reader.text()
    idcode, form = reader.number(2), reader.number(2)
    phasors, analogs, digitals = reader.number(2), reader.number(2), reader.number(2)
    names = [reader.text() for _ in range(phasors + analogs + _BITS * digitals)]
    phasor_units = [reader.number(4) for _ in range(phasors)]
    analog_units = [reader.number(4) for _ in range(analogs)]
    digital_units = [reader.number(4) for _ in range(digitals)]
    nominal = 50 if reader.number(2) & 1 else 60
    reader.number(2)  # how often the configuration has changed
    return Pmu(
        station,
        idcode,
        form,
        tuple(
            Phasor(name, _unit(unit >> 24 & 1), (unit & 0xFFFFFF) / 100_000)
            for name, unit in zip(names[:phasors], phasor_units, strict=True)
        ),
        tuple(
            Analog(name, unit >> 24, (unit & 0xFFFFFF) - ((unit & 0x800000) << 1))
            for name, unit in zip(names[phasors : phasors + analogs], analog_units, strict=True)
        ),
        _digitals(names[phasors + analogs :], digital_units),
        nominal,
    )


def _third_pmu(reader: _Reader) -> Pmu:
    station = reader.counted_text()
    idcode = reader.number(2)
    reader.skip(16)  # a global identity
    form = reader.number(2)
    phasors, analogs, digitals = reader.number(2), reader.number(2), reader.number(2)
    names = [reader.counted_text() for _ in range(phasors + analogs + _BITS * digitals)]
    found: list[Phasor] = []
    for name in names[:phasors]:
        kinds, scale, turn = reader.number(4), reader.real(), reader.real()
        # A scale of nothing is none: senders of floating-point numbers leave it out.
        one = Phasor(name, _unit(kinds >> 11 & 1), scale or 1.0, math.degrees(turn), True)  # noqa: FBT003
        found.append(one)
    values = [
        Analog(name, 0, 0, reader.real() or 1.0, reader.real())
        for name in names[phasors : phasors + analogs]
    ]
    digital_units = [reader.number(4) for _ in range(digitals)]
    latitude, longitude = reader.real(), reader.real()
    reader.skip(4 + 1 + 4 + 4)  # elevation, class of service, window, delay
    nominal = 50 if reader.number(2) & 1 else 60
    reader.number(2)  # how often the configuration has changed
    is_known = math.isfinite(latitude) and math.isfinite(longitude)
    return Pmu(
        *(station, idcode, form, tuple(found), tuple(values)),
        digitals=_digitals(names[phasors + analogs :], digital_units),
        nominal=nominal,
        place=(latitude, longitude) if is_known else None,
    )


def _unit(is_current: int) -> str:
    return "amperes" if is_current else "volts"


def _digitals(names: list[str], units: list[int]) -> tuple[Digital, ...]:
    return tuple(
        Digital(tuple(names[_BITS * k : _BITS * (k + 1)]), unit >> 16, unit & 0xFFFF)
        for k, unit in enumerate(units)
    )


class _Reader:
    """The fields of a frame one after another."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    @property
    def rest(self) -> int:
        return len(self._content) - self._place

    def _take(self, count: int) -> bytes:
        if self.rest < count:
            raise FrameError("the configuration ends too early")
        self._place += count
        return self._content[self._place - count : self._place]

    def number(self, count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "big", signed=signed)

    def real(self) -> float:
        (number,) = struct.unpack(">f", self._take(4))
        return float(number)

    def skip(self, count: int) -> None:
        self._take(count)

    def text(self) -> str:
        """A name of sixteen bytes, filled up with blanks or zeros."""
        return _name(self._take(_NAME))

    def counted_text(self) -> str:
        """A name that says how long it is."""
        return _name(self._take(self.number(1)))


def _name(content: bytes) -> str:
    try:
        return clean(content.decode())
    except UnicodeDecodeError:
        return clean(content.decode("latin-1"))


def data(received: bytes, known: Configuration) -> Data:
    """Returns what a frame of data says.

    Raises:
        FrameError: It is not as long as the configuration says, or its fraction is no fraction.
    """
    soc, fracsec = HEAD.unpack_from(received)[4:]
    parts = fracsec & 0xFFFFFF
    if parts >= known.time_base:
        raise FrameError(f"{parts} parts of a second that has {known.time_base}")
    # In whole numbers, to the nearest nanosecond.
    fraction = (2 * parts * SECOND + known.time_base) // (2 * known.time_base)
    layouts = [pmu.layout for pmu in known.pmus]
    size = HEAD.size + sum(layout.size for layout in layouts) + _CHECK_BYTES
    if size != len(received):
        raise FrameError(f"{len(received)} bytes of data where the configuration says {size}")
    found: list[Measurement] = []
    place = HEAD.size
    for pmu, layout in zip(known.pmus, layouts, strict=True):
        found.append(_measurement(pmu, layout.unpack_from(received, place)))
        place += layout.size
    return Data(soc * SECOND + fraction, fracsec >> 24, tuple(found))


def _measurement(pmu: Pmu, numbers: tuple[float, ...]) -> Measurement:
    count = len(pmu.phasors)
    pairs = zip(numbers[1 : 2 * count : 2], numbers[2 : 2 * count + 1 : 2], strict=True)
    phasors = tuple(_phasor(pmu, one, pair) for one, pair in zip(pmu.phasors, pairs, strict=True))
    frequency, rocof = numbers[2 * count + 1 : 2 * count + 3]
    if not pmu.form & 8:
        frequency = math.nan if frequency == _MISSING else pmu.nominal + frequency / 1_000
        rocof = math.nan if rocof == _MISSING else rocof / 100
    place = 2 * count + 3
    analogs = numbers[place : place + len(pmu.analogs)]
    if not pmu.form & 4:
        analogs = tuple(math.nan if one == _MISSING else one for one in analogs)
    analogs = tuple(
        one * known.scale + known.offset for one, known in zip(analogs, pmu.analogs, strict=True)
    )
    words = tuple(int(one) for one in numbers[place + len(pmu.analogs) :])
    return Measurement(int(numbers[0]), phasors, frequency, rocof, analogs, words)


def _phasor(pmu: Pmu, phasor: Phasor, pair: tuple[float, float]) -> tuple[float, float]:
    first, second = pair
    if not pmu.form & 2:
        if _MISSING in (second, first):
            return math.nan, math.nan
        first *= phasor.scale
        # Angles are steps of 0.1 mrad, imaginary parts are as real ones.
        second *= 1e-4 if pmu.is_polar else phasor.scale
    elif phasor.scales_floats:
        first *= phasor.scale
        second *= 1 if pmu.is_polar else phasor.scale
    if not pmu.is_polar:
        first, second = math.hypot(first, second), math.atan2(second, first)
    return first, math.degrees(second)
