"""A TCP proxy that can hold a connection still, cut it, and see the frames a client sends."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Self

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_FRAME_HEADER = 9
RST_STREAM = 0x3
HEADERS = 0x1


class Frames:
    """Counts the HTTP/2 frames of one connection, from client to server."""

    def __init__(self, counts: Counter[int]) -> None:
        self._counts = counts
        self._pending = bytearray()
        self._skip = _PREFACE

    def feed(self, data: bytes) -> None:
        self._pending += data
        while True:
            drop = min(self._skip, len(self._pending))
            del self._pending[:drop]
            self._skip -= drop
            if self._skip or len(self._pending) < _FRAME_HEADER:
                return
            self._counts[self._pending[3]] += 1
            self._skip = _FRAME_HEADER + int.from_bytes(self._pending[:3], "big")


class Proxy:
    """Stands between a client and a server; a context manager with its own thread."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._upstream = host, int(port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._cuts: deque[int] = deque()
        self._changed = threading.Condition()
        self.frames: Counter[int] = Counter()
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self) -> None:
        """Answers stop coming; what the client sends still arrives."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def release(self) -> None:
        """Answers come again."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Every connection breaks."""

        def close() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def cut_after(self, *counts: int) -> None:
        """The connection breaks on which this many more bytes of answers have come, then the next.

        Bytes are counted over all connections together.
        """
        asyncio.run_coroutine_threadsafe(self._plan(counts), self._loop).result()

    @property
    def pending_cuts(self) -> int:
        """How many of the planned cuts have not happened."""
        return len(self._cuts)

    async def _plan(self, counts: tuple[int, ...]) -> None:
        self._cuts = deque(counts)

    def wait_for_frames(self, kind: int, count: int, timeout_s: float = 30.0) -> bool:
        """Whether the client sends this many frames of a kind before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.frames[kind] >= count, timeout_s)

    async def _start(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"127.0.0.1:{port}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        server, to_server = await asyncio.open_connection(*self._upstream)
        self._writers += [to_client, to_server]
        counter = Frames(self.frames)
        self._spawn(self._pump(client, to_server, counter))
        self._spawn(self._pump(server, to_client, None))

    def _spawn(self, pump: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(pump)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, frames: Frames | None
    ) -> None:
        try:
            while data := await source.read(1 << 16):
                if frames is None:
                    await self._flowing.wait()
                    if self._cuts and self._cuts[0] < len(data):
                        sink.write(data[: self._cuts.popleft()])
                        await sink.drain()
                        # Sent before the end, so that the client has seen them.
                        break
                    if self._cuts:
                        self._cuts[0] -= len(data)
                else:
                    with self._changed:
                        frames.feed(data)
                        self._changed.notify_all()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()
