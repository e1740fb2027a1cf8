"""A TCP proxy that spoils connections as networks do, and sees the frames that pass.

It never reorders bytes: what a connection carries arrives as it was sent, later, in part or not at
all.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from resilience.frames import DATA, HEADERS, RST_STREAM
from resilience.link import Conditions, Link, Side

__all__ = ["DATA", "HEADERS", "RST_STREAM", "Proxy"]

T = TypeVar("T")


class Proxy:
    """Stands between a client and a server; a context manager with its own thread.

    What is said of a `connection`, counted from 0, holds for that one; otherwise for all that are
    open and all that come.
    """

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._upstream = host, int(port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: list[Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._conditions = Conditions()
        self._cuts: deque[int] = deque()
        self._cut = 0
        self._changed = threading.Condition()
        self._accepted = 0
        self.frames: Counter[int] = Counter()
        """How many frames of each kind clients sent."""
        self.reset_times: deque[float] = deque(maxlen=100_000)
        """When each RST_STREAM of a client was seen, in seconds of `time.monotonic`."""
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

    def hold(self, connection: int | None = None) -> None:
        """Answers stop coming; what the client sends still arrives."""
        self._change(connection, is_held=True)

    def release(self, connection: int | None = None) -> None:
        """Answers come again."""
        self._change(connection, is_held=False)

    def delay(self, seconds: float, connection: int | None = None) -> None:
        """Every byte arrives so much later, in both directions."""
        self._change(connection, delay_s=seconds)

    def slow(self, bytes_per_second: float, connection: int | None = None) -> None:
        """No direction carries more than this."""
        self._change(connection, bytes_per_second=bytes_per_second)

    def blackhole(self, connection: int | None = None) -> None:
        """Connecting works, and then nothing arrives anywhere."""
        self._change(connection, dead=frozenset(("client", "server")))

    def half_open(self, dead: Side, connection: int | None = None) -> None:
        """Nothing arrives at this side any more, not even that the other one hung up."""
        self._change(connection, dead=frozenset((dead,)))

    def clear(self) -> None:
        """All is well again; connections that have lost bytes break."""
        self._change(None, **vars(Conditions()))

    def cut(self, connection: int | None = None) -> None:
        """Every connection breaks, or this one."""

        def abort() -> None:
            for link in self._chosen(connection):
                link.abort()

        self._tell(abort)

    def cut_after(self, *counts: int) -> None:
        """The connection breaks on which this many more bytes of answers have come, then the next.

        Bytes are counted over all connections together.
        """

        def plan() -> None:
            self._cuts, self._cut = deque(counts), 0

        self._tell(plan)

    @property
    def pending_cuts(self) -> int:
        """How many of the planned cuts have not happened."""
        return len(self._cuts)

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def open_connections(self) -> list[int]:
        """The numbers of those that neither side has ended."""
        return self._tell(lambda: [link.number for link in self._links])

    @property
    def open_streams(self) -> int:
        """How many HTTP/2 streams were opened, and neither reset nor answered to the end."""
        return self._tell(lambda: sum(len(link.open_streams) for link in self._links))

    def wait_for_frames(self, kind: int, count: int, timeout_s: float = 30.0) -> bool:
        """Whether the client sends this many frames of a kind before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.frames[kind] >= count, timeout_s)

    def wait_for_cuts(self, count: int, timeout_s: float = 30.0) -> bool:
        """Whether this many of the planned cuts happen before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._cut >= count, timeout_s)

    def _tell(self, what: Callable[[], T]) -> T:
        """Does it in the proxy's thread; it has been done when this returns."""

        async def do() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def _change(self, connection: int | None, **changes: Any) -> None:
        def change() -> None:
            if connection is None:
                self._conditions = replace(self._conditions, **changes)
            for link in self._chosen(connection):
                link.set(replace(link.conditions, **changes))

        self._tell(change)

    def _chosen(self, connection: int | None) -> list[Link]:
        return [link for link in self._links if connection in (None, link.number)]

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"127.0.0.1:{port}"

    async def _stop(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        link = Link(self._accepted, self._conditions, self)
        self._accepted += 1
        self._links.append(link)
        task = self._loop.create_task(link.run(client, to_client, self._upstream))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._links.remove(link)

        task.add_done_callback(ended)

    def asked(self, kind: int) -> None:
        with self._changed:
            self.frames[kind] += 1
            if kind == RST_STREAM:
                self.reset_times.append(time.monotonic())
            self._changed.notify_all()

    def answered(self, data: bytes) -> bytes:
        return data

    def allowance(self, size: int) -> int | None:
        if not self._cuts:
            return None
        if self._cuts[0] < size:
            with self._changed:
                self._cut += 1
                self._changed.notify_all()
            return self._cuts.popleft()
        self._cuts[0] -= size
        return None
