"""Stores the data of a synchrophasor sender (IEEE C37.118.2, over TCP or UDP) in streams.

A feed connects, requests the configuration, creates the streams, requests data, and passes them to
a `Writer`. It opens a lost or silent connection again. Data sent in between are lost, because the
protocol sends nothing twice. While the server is unreachable, points wait in memory, up to the
limit of the writer.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from pingthings.ingest import c37118, c37118_frames
from pingthings.ingest.c37118 import Configuration, Measurement, Pmu
from pingthings.ingest.c37118_frames import Assembler, Command, FrameError, Kind
from pingthings.ingest.streams import Wanted, ensure, unique_names
from pingthings.ingest.transport import Link, Transport, connected
from pingthings.ingest.writer import Points, Writer
from pingthings.timeseries.client import Client
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME
from pingthings.timeseries.exceptions import BTRDBServerError, BTRDBValueError

__all__ = ["Counts", "Feed"]

_ASKED = {2: Command.CONFIGURATION_2, 3: Command.CONFIGURATION_3}
_CONFIGURATIONS = {Kind.CONFIGURATION_1, Kind.CONFIGURATION_2, Kind.CONFIGURATION_3}
_LONGEST_PAUSE = 10.0
_MOST_HELD = 1_000
_MOST_SOURCES = 1_000
_DAY = 86_400_000_000_000

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """The connections, frames and bytes that a feed has received so far."""

    connections: int = 0
    frames: int = 0
    invalid: int = 0
    """Measurements that their unit marked as invalid; only their STAT and TIMEQ are stored."""
    refused: int = 0
    """Frames that do not fit the configuration, have none, or have an impossible time."""
    foreign: int = 0
    """Frames of another idcode than the requested one."""
    skipped: int = 0
    """Bytes outside of valid frames."""


@dataclass
class _Source:
    """The state of the frames of one idcode."""

    parts: Assembler = field(default_factory=Assembler)
    known: Configuration | None = None
    uuids: list[list[UUID]] = field(default_factory=list[list[UUID]])
    was_changing: bool = False


@dataclass
class Feed:
    """Stores the data of a sender in streams of `collection/STATION`.

    A phasor `VA` becomes the streams `VA MAG` (volts or amperes) and `VA ANG` (degrees). `FREQ` is
    in hertz, `ROCOF` in hertz per second; `STAT` is the status word and `TIMEQ` the time quality,
    both unchanged. Analog values and the valid bits of digital words keep their names, without
    padding; if several channels have the same name, the position of each is appended to it.

    Args:
        client: A connected client, which creates the streams.
        writer: A writer over the same client, which stores the points.
        host: Address of the sender; for `udp-listen` the address to listen on, or a multicast
            group.
        port: Port of the sender, or port to listen on.
        idcode: The sender's idcode of the data stream. With `udp-listen` frames of other idcodes
            are left out; 0 accepts all.
        collection: Prefix of the collections of the stations.
        transport: `tcp`; `udp`, which sends commands to the sender and receives frames; or
            `udp-listen`, for a sender that sends frames and its configuration without commands.
        configuration: The configuration to request, 2 or 3.
        silence: Seconds without a frame after which the connection counts as lost.
    """

    client: Client
    writer: Writer
    host: str
    port: int
    idcode: int
    collection: str
    silence: float = 5.0
    transport: Transport = "tcp"
    configuration: Literal[2, 3] = 2
    counts: Counts = field(default_factory=Counts)
    _sources: dict[int, _Source] = field(default_factory=dict[int, _Source])
    _held: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=_MOST_HELD))

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection whose configuration is known."""
        return any(source.known is not None for source in list(self._sources.values()))

    def run(self, stop: threading.Event) -> None:
        """Receives frames until `stop` is set.

        Raises:
            WriterFailed: The points cannot be stored, and a retry would not help.
            BTRDBValueError: A stream has another unit, several have the name of a channel, or two
                senders have a station with the same name.
        """
        pause = 0.1
        while not stop.is_set():
            before = self.counts.frames
            try:
                self._receive(stop)
            except (OSError, BTRDBServerError) as error:
                log.warning("connection to %s:%s lost: %s", self.host, self.port, error)
            pause = 0.1 if self.counts.frames > before else min(2 * pause, _LONGEST_PAUSE)
            stop.wait(pause)

    def _receive(self, stop: threading.Event) -> None:
        """Receives frames of one connection until it ends."""
        self._sources.clear()
        self._held.clear()
        with connected(self.transport, self.host, self.port, self.silence) as link:
            self.counts.connections += 1
            try:
                self._ask(link, _ASKED[self.configuration])
                heard = time.monotonic()
                while not stop.is_set():
                    for one in link.receive(min(0.2, self.silence)):
                        heard = time.monotonic()
                        self._take(link, one)
                    if time.monotonic() - heard > self.silence:
                        raise TimeoutError(f"no frame arrived for {self.silence:g} s")
                self._ask(link, Command.DATA_OFF)
            finally:
                self.counts.skipped += link.skipped
                self._sources.clear()

    def _ask(self, link: Link, what: Command) -> None:
        link.send(c37118_frames.command(self.idcode, what, int(time.time())))

    def _take(self, link: Link, received: bytes) -> None:
        code = c37118_frames.idcode(received)
        if self.transport == "udp-listen" and self.idcode not in {0, code}:
            self.counts.foreign += 1
            return
        if code not in self._sources and len(self._sources) >= _MOST_SOURCES:
            self._refuse(f"frames of {_MOST_SOURCES:,} other idcodes have already arrived")
            return
        source = self._sources.setdefault(code, _Source())
        what = c37118_frames.kind(received)
        if what in _CONFIGURATIONS:
            try:
                whole = source.parts.add(received)
                if whole is None:
                    return
                known = c37118.configuration(whole)
            except FrameError as error:
                raise ConnectionError(f"its configuration is invalid: {error}") from error
            if known != source.known:
                self._configure(source, known)
            self._ask(link, Command.DATA_ON)
            self._take_held(link)
        elif what is Kind.DATA and source.known is not None:
            self._measured(link, source, received, source.known)
        elif what is Kind.DATA:
            if len(self._held) == _MOST_HELD:
                self._refuse("no configuration has arrived for it")
            self._held.append(received)

    def _take_held(self, link: Link) -> None:
        """Processes frames that waited for a configuration; some may wait for another one."""
        held = list(self._held)
        self._held.clear()
        for one in held:
            self._take(link, one)

    def _refuse(self, why: str) -> None:
        self.counts.refused += 1
        log.warning("refused a frame from %s:%s: %s", self.host, self.port, why)

    def _measured(self, link: Link, source: _Source, received: bytes, known: Configuration) -> None:
        try:
            found = c37118.data(received, known)
        except FrameError as error:
            self._refuse(str(error))
            self._reconfigure(link, source)
            return
        is_changing = any(one.is_changing for one in found.measurements)
        if source.was_changing and not is_changing:
            self._held.append(received)
            self._reconfigure(link, source)
        elif not found.time <= MAXIMUM_INSERT_TIME:
            self._refuse(f"its time {found.time} is after 2079")
        elif not found.has_clock and abs(found.time - time.time_ns()) > _DAY:
            self._refuse(f"its time {found.time} is from a clock that the sender reports as failed")
        else:
            self.counts.frames += 1
            self._store(source, found, known)
        source.was_changing = is_changing

    def _reconfigure(self, link: Link, source: _Source) -> None:
        """Requests the configuration again. Frames that arrive before the answer wait for it."""
        source.known = None
        self._ask(link, _ASKED[self.configuration])

    def _configure(self, source: _Source, known: Configuration) -> None:
        stations = _stations(known)
        for other in self._sources.values():
            shared = set(stations).intersection(_stations(other.known) if other.known else ())
            if other is not source and other.known and shared:
                raise BTRDBValueError(
                    f"idcodes {known.idcode} and {other.known.idcode} both have a station "
                    f"`{min(shared)}`; use a separate feed and collection for each idcode"
                )
        source.uuids = []
        for pmu, name in zip(known.pmus, stations, strict=True):
            wanted = list(_wanted(pmu))
            found = ensure(self.client, f"{self.collection}/{name}", wanted)
            source.uuids.append([found[one.name] for one in wanted])
        source.known = known

    def _store(self, source: _Source, found: c37118.Data, known: Configuration) -> None:
        points: dict[UUID, Points] = {}
        for pmu, one, uuids in zip(known.pmus, found.measurements, source.uuids, strict=True):
            self.counts.invalid += not one.is_valid
            values = [float(found.quality), *_values(pmu, one)]
            for uuid, value in zip(uuids, values, strict=False):  # fewer values if invalid
                if not math.isnan(value):
                    points[uuid] = found.time, value
        self.writer.add_all(points)


def _stations(known: Configuration) -> list[str]:
    """Returns the names of the units' collections; a station may have several units."""
    names = [pmu.station or str(pmu.idcode) for pmu in known.pmus]
    several = [
        name if names.count(name) == 1 else f"{name} {pmu.idcode}"
        for name, pmu in zip(names, known.pmus, strict=True)
    ]
    return unique_names(several)


def _bits(pmu: Pmu) -> Iterator[tuple[int, int, str]]:
    """Yields word, bit and name of each state that the unit marks as valid."""
    for word, digital in enumerate(pmu.digitals):
        for bit, name in enumerate(digital.names):
            if digital.valid >> bit & 1 and name:
                yield word, bit, name


def _wanted(pmu: Pmu) -> Iterator[Wanted]:
    """Yields the streams of a unit, in the order of `_values`."""
    every = list(_channels(pmu))
    names = unique_names(one.name for one in every)
    for one, name in zip(every, names, strict=True):
        yield Wanted(name, one.unit, one.annotations)


def _channels(pmu: Pmu) -> Iterator[Wanted]:
    about: dict[str, object] = {"station": pmu.station, "idcode": pmu.idcode}
    if pmu.location is not None:
        about |= {"latitude": pmu.location[0], "longitude": pmu.location[1]}
    yield Wanted("TIMEQ", "bits", about)
    yield Wanted("STAT", "bits", about)
    for number, phasor in enumerate(pmu.phasors, 1):
        name = phasor.name or f"PHASOR {number}"
        turned = {"adjustment": phasor.adjustment} if phasor.adjustment else {}
        yield Wanted(f"{name} MAG", phasor.unit, about)
        yield Wanted(f"{name} ANG", "degrees", {**about, **turned})
    yield Wanted("FREQ", "hertz", {**about, "nominal": pmu.nominal})
    yield Wanted("ROCOF", "hertz per second", about)
    for number, analog in enumerate(pmu.analogs, 1):
        notes = {**about, "kind": analog.kind, "factor": analog.factor}
        yield Wanted(analog.name or f"ANALOG {number}", "", notes)
    for word, bit, name in _bits(pmu):
        normal = pmu.digitals[word].normal >> bit & 1
        yield Wanted(name, "state", {**about, "normal": normal})


def _values(pmu: Pmu, one: Measurement) -> Iterator[float]:
    yield float(one.stat)
    if not one.is_valid:
        return
    for magnitude, angle in one.phasors:
        yield magnitude
        yield angle
    yield one.frequency
    yield one.rocof
    yield from one.analogs
    for word, bit, _ in _bits(pmu):
        yield float(one.digitals[word] >> bit & 1)
