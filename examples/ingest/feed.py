"""Synchrophasors as they are sent (IEEE C37.118.2 over TCP), into streams.

    python -m ingest.feed localhost:4410 pmu.example:4712 --idcode 7734 --collection pmu

Connects, asks for the configuration, makes the streams, asks for data, and stores it: an insert a
second. A connection that is lost or silent is made again. What is sent meanwhile is gone, since the
protocol sends nothing twice. While the server is away points wait in memory, up to a bound; beyond
it they are dropped and counted.
"""

from __future__ import annotations

import argparse
import logging
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from pingthings.timeseries import Client, connect
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME
from pingthings.timeseries.exceptions import BTRDBServerError

from ingest import c37118
from ingest.c37118 import Command, Configuration, Kind, Measurement, Pmu
from ingest.streams import Wanted, ensure
from ingest.writer import Points, Writer

__all__ = ["Counts", "Feed"]

_RECEIVED = 1 << 16
_LONGEST_PAUSE = 10.0
_MOST_HELD = 1_000

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What has come so far."""

    connections: int = 0
    frames: int = 0
    invalid: int = 0
    """Measurements that their unit called no measurements; of these only STAT is stored."""
    refused: int = 0
    """Frames that were not as the configuration says, or of an impossible time."""
    skipped: int = 0
    """Bytes that belonged to no good frame."""


@dataclass
class Feed:
    """What a sender sends, into streams of `collection/STATION`.

    A phasor `VA` becomes the streams `VA MAG` (volts or amperes) and `VA ANG` (degrees). `FREQ` is
    in hertz, `ROCOF` in hertz per second, `STAT` the status word and `TIMEQ` the quality of the
    time, as they came. Analog values and the valid bits of digital words have the names they were
    given.
    """

    client: Client
    writer: Writer
    host: str
    port: int
    idcode: int
    collection: str
    silence: float = 5.0
    """After so many seconds without a frame the connection counts as lost."""
    counts: Counts = field(default_factory=Counts)
    _known: Configuration | None = None
    _held: list[bytes] = field(default_factory=list[bytes])
    _was_changing: bool = False
    _uuids: list[dict[str, UUID]] = field(default_factory=list[dict[str, UUID]])

    def run(self, stop: threading.Event) -> None:
        """Receives until it is told to stop.

        Raises:
            WriterFailed: The points cannot be stored, now or later.
            ValueError: Two channels have the same name, or a stream has another unit.
        """
        pause = 0.1
        while not stop.is_set():
            before = self.counts.frames
            try:
                self._receive(stop)
            except (OSError, BTRDBServerError) as error:
                log.warning("%s:%s is lost: %s", self.host, self.port, error)
            pause = 0.1 if self.counts.frames > before else min(2 * pause, _LONGEST_PAUSE)
            stop.wait(pause)

    def _receive(self, stop: threading.Event) -> None:
        """One connection, until it ends."""
        splitter = c37118.Splitter()
        self._known, self._held, self._was_changing = None, [], False
        with socket.create_connection((self.host, self.port), self.silence) as link:
            self.counts.connections += 1
            try:
                self._ask(link, Command.CONFIGURATION_2)
                heard = time.monotonic()
                link.settimeout(min(0.2, self.silence))
                while not stop.is_set():
                    try:
                        received = link.recv(_RECEIVED)
                    except TimeoutError:
                        if time.monotonic() - heard > self.silence:
                            raise
                        continue
                    if not received:
                        raise ConnectionError("the sender hung up")
                    for one in splitter.split(received):
                        heard = time.monotonic()
                        self._take(link, one)
                self._ask(link, Command.DATA_OFF)
            finally:
                self.counts.skipped += splitter.skipped

    def _ask(self, link: socket.socket, what: Command) -> None:
        link.sendall(c37118.command(self.idcode, what, int(time.time())))

    def _take(self, link: socket.socket, received: bytes) -> None:
        what = c37118.kind(received)
        if what in {Kind.CONFIGURATION_1, Kind.CONFIGURATION_2}:
            try:
                self._configure(c37118.configuration(received))
            except c37118.FrameError as error:
                raise ConnectionError(f"its configuration is none: {error}") from error
            self._ask(link, Command.DATA_ON)
            held, self._held = self._held, []
            for one in held:
                self._take(link, one)
        elif what is Kind.DATA and self._known is not None:
            self._measured(link, received, self._known)
        elif what is Kind.DATA:
            self._held = [*self._held, received][-_MOST_HELD:]

    def _measured(self, link: socket.socket, received: bytes, known: Configuration) -> None:
        try:
            found = c37118.data(received, known)
            if not found.time <= MAXIMUM_INSERT_TIME:
                raise c37118.FrameError(f"time {found.time} is beyond 2079")  # noqa: TRY301
        except c37118.FrameError as error:
            self.counts.refused += 1
            log.warning("a frame of %s:%s is refused: %s", self.host, self.port, error)
            self._reconfigure(link)
            return
        is_changing = any(one.is_changing for one in found.measurements)
        if self._was_changing and not is_changing:
            self._held.append(received)
            self._reconfigure(link)
        else:
            self.counts.frames += 1
            self._store(found, known)
        self._was_changing = is_changing

    def _reconfigure(self, link: socket.socket) -> None:
        """Asks what the frames consist of now. Those that come before the answer wait for it."""
        self._known = None
        self._ask(link, Command.CONFIGURATION_2)

    def _configure(self, known: Configuration) -> None:
        stations = [pmu.station or str(pmu.idcode) for pmu in known.pmus]
        self._uuids = []
        for pmu, station in zip(known.pmus, stations, strict=True):
            # A station may have several units.
            name = station if stations.count(station) == 1 else f"{station} {pmu.idcode}"
            self._uuids.append(ensure(self.client, f"{self.collection}/{name}", _wanted(pmu)))
        self._known = known

    def _store(self, found: c37118.Data, known: Configuration) -> None:
        points: dict[UUID, Points] = {}
        for pmu, one, uuids in zip(known.pmus, found.measurements, self._uuids, strict=True):
            self.counts.invalid += not one.is_valid
            for name, value in [("TIMEQ", float(found.quality)), *_values(pmu, one)]:
                if math.isfinite(value):
                    points[uuids[name]] = found.time, value
        self.writer.add_all(points)


def _bits(pmu: Pmu) -> Iterator[tuple[int, int, str]]:
    """The words, bits and names of the states that the unit calls valid."""
    for word, digital in enumerate(pmu.digitals):
        for bit, name in enumerate(digital.names):
            if digital.valid >> bit & 1 and name:
                yield word, bit, name


def _wanted(pmu: Pmu) -> Iterator[Wanted]:
    about = {"station": pmu.station, "idcode": pmu.idcode}
    yield Wanted("STAT", "bits", about)
    yield Wanted("TIMEQ", "bits", about)
    for phasor in pmu.phasors:
        yield Wanted(f"{phasor.name} MAG", phasor.unit, about)
        yield Wanted(f"{phasor.name} ANG", "degrees", about)
    yield Wanted("FREQ", "hertz", {**about, "nominal": pmu.nominal})
    yield Wanted("ROCOF", "hertz per second", about)
    for analog in pmu.analogs:
        yield Wanted(analog.name, "", {**about, "kind": analog.kind, "factor": analog.factor})
    for word, bit, name in _bits(pmu):
        normal = pmu.digitals[word].normal >> bit & 1
        yield Wanted(name, "state", {**about, "normal": normal})


def _values(pmu: Pmu, one: Measurement) -> Iterator[tuple[str, float]]:
    yield "STAT", float(one.stat)
    if not one.is_valid:
        return
    for phasor, (magnitude, angle) in zip(pmu.phasors, one.phasors, strict=True):
        yield f"{phasor.name} MAG", magnitude
        yield f"{phasor.name} ANG", angle
    yield "FREQ", one.frequency
    yield "ROCOF", one.rocof
    for analog, value in zip(pmu.analogs, one.analogs, strict=True):
        yield analog.name, value
    for word, bit, name in _bits(pmu):
        yield name, float(one.digitals[word] >> bit & 1)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint")
    parser.add_argument("sender", help="host:port")
    parser.add_argument("--idcode", type=int, required=True)
    parser.add_argument("--collection", default="pmu")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    host, _, port = given.sender.rpartition(":")
    with (
        connect(endpoint=given.endpoint) as client,
        Writer(client, most_points=1_000_000, when_full="drop") as writer,
    ):
        feed = Feed(client, writer, host, int(port), given.idcode, given.collection)
        try:
            feed.run(threading.Event())
        except KeyboardInterrupt:  # what has come is stored all the same
            writer.flush()
        print(feed.counts, writer.counts)


if __name__ == "__main__":
    _main()
