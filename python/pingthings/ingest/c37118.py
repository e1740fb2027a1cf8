"""Decodes synchrophasor frames (IEEE C37.118.2) to exact times and values in their units.

This module reads no socket; `c37118_frames` finds the frames in received bytes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property

from pingthings.ingest.c37118_frames import (
    CHECK_BYTES,
    CONTINUED,
    HEAD,
    FrameError,
    Kind,
    idcode,
    kind,
)
from pingthings.ingest.streams import clean, decoded

__all__ = [
    "Analog",
    "Configuration",
    "Data",
    "Digital",
    "Measurement",
    "Phasor",
    "Pmu",
    "configuration",
    "data",
]

SECOND = 1_000_000_000
_NAME = 16
_BITS = 16
_MISSING = -0x8000
_NO_CLOCK = 15


@dataclass(frozen=True)
class Phasor:
    """A phasor channel, in volts or amperes."""

    name: str
    unit: str
    scale: float
    """The value of one integer step. In configuration 3 it also scales floating-point numbers."""
    adjustment: float = 0.0
    """Degrees that are subtracted from its angle, in configuration 3."""
    scales_floats: bool = False


@dataclass(frozen=True)
class Analog:
    """An analog channel; in configuration 3 a value is `scale * sent + offset`."""

    name: str
    kind: int
    factor: int
    """A user-defined scale in configuration 1 and 2. It is recorded, but not applied."""
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Digital:
    """A word of sixteen states, beginning with the least significant bit."""

    names: tuple[str, ...]
    normal: int
    valid: int


@dataclass(frozen=True)
class Pmu:
    """One measurement unit (PMU) of a data stream."""

    station: str
    idcode: int
    form: int
    phasors: tuple[Phasor, ...]
    analogs: tuple[Analog, ...]
    digitals: tuple[Digital, ...]
    nominal: int
    """In hertz."""
    location: tuple[float, float] | None = None
    """Latitude and longitude in degrees, if configuration 3 contains them."""

    @property
    def is_polar(self) -> bool:
        """Whether phasors are sent as magnitude and angle."""
        return bool(self.form & 1)

    @cached_property
    def layout(self) -> struct.Struct:
        """The layout of its part of a data frame."""
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
    """The description of the data frames of one idcode."""

    idcode: int
    time_base: int
    """The number of parts into which a second is divided."""
    pmus: tuple[Pmu, ...]
    rate: int
    """Frames per second; a negative number is the seconds between two frames."""

    @cached_property
    def size(self) -> int:
        """The length of a data frame in bytes."""
        return HEAD.size + sum(pmu.layout.size for pmu in self.pmus) + CHECK_BYTES


@dataclass(frozen=True)
class Measurement:
    """The values that one unit measured. A missing value is NaN."""

    stat: int
    phasors: tuple[tuple[float, float], ...]
    """Magnitude in the unit of the phasor, angle in degrees."""
    frequency: float
    """In hertz."""
    rocof: float
    """Rate of change of frequency, in hertz per second."""
    analogs: tuple[float, ...]
    digitals: tuple[int, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the status word marks these as measurements, without error or test mode."""
        return self.stat >> 14 == 0

    @property
    def is_changing(self) -> bool:
        """Whether the configuration is about to change; when this bit clears, it has changed."""
        return bool(self.stat & 0x0400)


@dataclass(frozen=True)
class Data:
    """A frame of measurements."""

    time: int
    """Nanoseconds since 1970, UTC."""
    quality: int
    """The time quality: the upper eight bits of FRACSEC."""
    measurements: tuple[Measurement, ...]

    @property
    def has_clock(self) -> bool:
        """Whether the sender's clock works; otherwise the time is not reliable."""
        return self.quality & 0x0F != _NO_CLOCK


def configuration(received: bytes) -> Configuration:
    """Decodes a frame of configuration 1, 2 or 3. One of configuration 3 must be complete.

    Raises:
        FrameError: It is shorter or longer than its fields require.
    """
    is_third = kind(received) is Kind.CONFIGURATION_3
    skip = CONTINUED if is_third else 0
    reader = _Reader(received[HEAD.size + skip : -CHECK_BYTES])
    time_base = reader.number(4) & 0xFFFFFF
    if not time_base:
        raise FrameError("the time base of the configuration is zero")
    read = _third_pmu if is_third else _pmu
    pmus = tuple(read(reader) for _ in range(reader.number(2)))
    rate = reader.number(2, signed=True)
    if reader.rest:
        raise FrameError(f"{reader.rest} bytes after the configuration")
    return Configuration(idcode(received), time_base, pmus, rate)


def _pmu(reader: _Reader) -> Pmu:
    station = reader.text()
    code, form = reader.number(2), reader.number(2)
    phasors, analogs, digitals = reader.number(2), reader.number(2), reader.number(2)
    names = [reader.text() for _ in range(phasors + analogs + _BITS * digitals)]
    phasor_units = [reader.number(4) for _ in range(phasors)]
    analog_units = [reader.number(4) for _ in range(analogs)]
    digital_units = [reader.number(4) for _ in range(digitals)]
    nominal = 50 if reader.number(2) & 1 else 60
    reader.number(2)  # the number of configuration changes
    return Pmu(
        station,
        code,
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
    code = reader.number(2)
    reader.skip(16)  # the global identifier
    form = reader.number(2)
    phasors, analogs, digitals = reader.number(2), reader.number(2), reader.number(2)
    names = [reader.counted_text() for _ in range(phasors + analogs + _BITS * digitals)]
    found: list[Phasor] = []
    for name in names[:phasors]:
        kinds, scale, turn = reader.number(4), reader.factor(), reader.factor()
        # Senders of floating-point numbers leave the scale at zero, which means no scale.
        one = Phasor(name, _unit(kinds >> 11 & 1), scale or 1.0, math.degrees(turn), True)  # noqa: FBT003
        found.append(one)
    values = [
        Analog(name, 0, 0, reader.factor() or 1.0, reader.factor())
        for name in names[phasors : phasors + analogs]
    ]
    digital_units = [reader.number(4) for _ in range(digitals)]
    latitude, longitude = reader.real(), reader.real()
    reader.skip(4 + 1 + 4 + 4)  # elevation, class of service, window, delay
    nominal = 50 if reader.number(2) & 1 else 60
    reader.number(2)  # the number of configuration changes
    is_known = math.isfinite(latitude) and math.isfinite(longitude)
    return Pmu(
        *(station, code, form, tuple(found), tuple(values)),
        digitals=_digitals(names[phasors + analogs :], digital_units),
        nominal=nominal,
        location=(latitude, longitude) if is_known else None,
    )


def _unit(is_current: int) -> str:
    return "amperes" if is_current else "volts"


def _digitals(names: list[str], units: list[int]) -> tuple[Digital, ...]:
    return tuple(
        Digital(tuple(names[_BITS * k : _BITS * (k + 1)]), unit >> 16, unit & 0xFFFF)
        for k, unit in enumerate(units)
    )


class _Reader:
    """Reads the fields of a configuration frame in order."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    @property
    def rest(self) -> int:
        return len(self._content) - self._place

    def _take(self, count: int) -> bytes:
        if self.rest < count:
            raise FrameError("the configuration is truncated")
        self._place += count
        return self._content[self._place - count : self._place]

    def number(self, count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "big", signed=signed)

    def real(self) -> float:
        (number,) = struct.unpack(">f", self._take(4))
        return float(number)

    def factor(self) -> float:
        number = self.real()
        if not math.isfinite(number):
            raise FrameError(f"the configuration scales a channel by {number}")
        return number

    def skip(self, count: int) -> None:
        self._take(count)

    def text(self) -> str:
        """Reads a name of sixteen bytes, padded with blanks or zeros."""
        return _name(self._take(_NAME))

    def counted_text(self) -> str:
        """Reads a name that follows its length."""
        return _name(self._take(self.number(1)))


def _name(content: bytes) -> str:
    return clean(decoded(content))


def data(received: bytes, known: Configuration) -> Data:
    """Decodes a data frame.

    Raises:
        FrameError: Its length differs from the configuration's, or its fraction of a second is 1
            or more.
    """
    soc, fracsec = HEAD.unpack_from(received)[4:]
    parts = fracsec & 0xFFFFFF
    if parts >= known.time_base:
        raise FrameError(f"the fraction of its time is {parts}/{known.time_base} of a second")
    # Computed with integers, to the nearest nanosecond.
    fraction = (2 * parts * SECOND + known.time_base) // (2 * known.time_base)
    if known.size != len(received):
        raise FrameError(f"{len(received)} bytes of data where the configuration says {known.size}")
    found: list[Measurement] = []
    place = HEAD.size
    for pmu in known.pmus:
        found.append(_measurement(pmu, pmu.layout.unpack_from(received, place)))
        place += pmu.layout.size
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
        # Angles have steps of 0.1 mrad; imaginary parts are scaled like real ones.
        second *= 1e-4 if pmu.is_polar else phasor.scale
    elif phasor.scales_floats:
        first *= phasor.scale
        second *= 1 if pmu.is_polar else phasor.scale
    if not pmu.is_polar:
        first, second = math.hypot(first, second), math.atan2(second, first)
    angle = math.degrees(second)
    if phasor.adjustment and math.isfinite(angle):
        angle = math.remainder(angle - phasor.adjustment, 360)
    return first, angle
