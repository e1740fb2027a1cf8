"""One connection through the proxy: two directions, each with its bytes in order."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Literal, Protocol

from resilience.frames import END_STREAM, HEADERS, RST_STREAM, Frames

Side = Literal["client", "server"]

_CHUNK = 1 << 16
_CHUNKS_HELD = 64
_TICKS_PER_SECOND = 50


@dataclass
class Conditions:
    """How bytes travel."""

    delay_s: float = 0.0
    bytes_per_second: float = math.inf
    is_held: bool = False
    dead: frozenset[Side] = frozenset()
    """The sides that nothing arrives at any more."""


class Watcher(Protocol):
    """Whoever is told what passes, and has a say in it."""

    def asked(self, kind: int) -> None:
        """A frame of this kind came from the client."""

    def answered(self, data: bytes) -> bytes:
        """What goes to the client in the place of these bytes."""

    def allowance(self, size: int) -> int | None:
        """After how many of so many bytes for the client it breaks; None if it does not."""


class Link:
    """A client on one side, the server on the other; `run` carries bytes until both are gone."""

    def __init__(self, number: int, conditions: Conditions, watcher: Watcher) -> None:
        self.number = number
        self.open_streams: set[int] = set()
        self._conditions = conditions
        self._watcher = watcher
        self._flowing = asyncio.Event()
        self._has_lost = False
        self._writers: list[asyncio.StreamWriter] = []
        self._frames = {
            "server": Frames(self._asked, is_client=True),
            "client": Frames(self._answered, is_client=False),
        }
        self.set(conditions)

    @property
    def conditions(self) -> Conditions:
        return self._conditions

    def set(self, conditions: Conditions) -> None:
        """How bytes travel from now on. What has lost bytes cannot go on and breaks instead."""
        revives = self._conditions.dead - conditions.dead
        self._conditions = conditions
        if conditions.is_held:
            self._flowing.clear()
        else:
            self._flowing.set()
        if revives and self._has_lost:
            self.abort()

    def abort(self) -> None:
        """Both sides see the connection break, without a word."""
        self.open_streams.clear()
        for writer in self._writers:
            writer.transport.abort()

    async def run(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        upstream: tuple[str, int],
    ) -> None:
        self._writers.append(to_client)
        try:
            if "server" in self._conditions.dead:
                await self._swallow(client)
                return
            server, to_server = await asyncio.open_connection(*upstream)
            self._writers.append(to_server)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._carry(client, to_server, "server"))
                directions.create_task(self._carry(server, to_client, "client"))
        except OSError:
            pass  # nobody listens there; the client sees its connection break
        finally:
            self.abort()

    async def _swallow(self, client: asyncio.StreamReader) -> None:
        """Hears the client, and neither forwards nor answers."""
        self._has_lost = True
        while data := await client.read(_CHUNK):
            self._frames["server"].feed(data)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, to: Side
    ) -> None:
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_HELD)
        reading = asyncio.create_task(self._read(source, arrived, to))
        try:
            while True:
                at, data = await arrived.get()
                if not data and to not in self._conditions.dead:
                    break
                if not await self._deliver(at, data, sink, to):
                    break
        except OSError:
            pass
        finally:
            reading.cancel()
            if to == "server":
                self.open_streams.clear()
            sink.close()

    async def _read(
        self, source: asyncio.StreamReader, arrived: asyncio.Queue[tuple[float, bytes]], to: Side
    ) -> None:
        data = b" "
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            if to == "server":
                self._frames[to].feed(data)
            await arrived.put((asyncio.get_running_loop().time(), data))

    async def _deliver(self, at: float, data: bytes, sink: asyncio.StreamWriter, to: Side) -> bool:
        """Sends what arrived as the conditions say; whether the connection is still whole."""
        if to == "client":
            await self._flowing.wait()
        late = at + self._conditions.delay_s - asyncio.get_running_loop().time()
        if late > 0:
            await asyncio.sleep(late)
        if to in self._conditions.dead:
            self._has_lost = True
            return True
        allowed = None
        if to == "client" and data:
            data = self._watcher.answered(data)
            allowed = self._watcher.allowance(len(data))
            data = data[:allowed]
            self._frames[to].feed(data)
        await self._trickle(data, sink)
        # Sent before the end, so that the client has seen them.
        return allowed is None

    async def _trickle(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        while data:
            rate = self._conditions.bytes_per_second
            size = len(data) if math.isinf(rate) else max(1, int(rate / _TICKS_PER_SECOND))
            piece, data = data[:size], data[size:]
            sink.write(piece)
            await sink.drain()
            if not math.isinf(rate):
                await asyncio.sleep(len(piece) / rate)

    def _asked(self, kind: int, _flags: int, stream: int) -> None:
        if kind == HEADERS:
            self.open_streams.add(stream)
        elif kind == RST_STREAM:
            self.open_streams.discard(stream)
        self._watcher.asked(kind)

    def _answered(self, kind: int, flags: int, stream: int) -> None:
        # The flag means something else in frames of the connection, which has no such stream.
        if kind == RST_STREAM or flags & END_STREAM:
            self.open_streams.discard(stream)
