"""What goes wrong on the way to a server, and with the server, one thing after the other."""

from __future__ import annotations

import asyncio
import random

from resilience.faulty_server import FaultyServer
from resilience.proxy import Proxy

# How often each comes: the names of the methods below.
_WEIGHTS = {
    "cut": 20,
    "cut_after": 20,
    "go_away": 12,
    "misbehave": 12,
    "interrupt": 8,
    "delay": 8,
    "slow": 5,
    "hold": 5,
    "half_open": 4,
    "blackhole": 3,
    "kill": 4,
}


class Disturbances:
    """Chooses at random, and lasts no longer than a fifth of a second at a time."""

    def __init__(
        self, server: FaultyServer, proxy: Proxy, chance: random.Random, *, may_kill: bool = True
    ) -> None:
        self._weights = _WEIGHTS | ({} if may_kill else {"kill": 0})
        self._server = server
        self._proxy = proxy
        self._chance = chance

    async def next(self) -> str:
        """Lets one happen; returns its name when it is over."""
        (name,) = self._chance.choices(list(self._weights), list(self._weights.values()))
        await getattr(self, f"_{name}")()
        return name

    async def end(self) -> None:
        """All is well from now on."""
        self._proxy.cut_after()
        self._proxy.clear()
        await asyncio.to_thread(self._server.misbehave, "busy", 0, 0)

    async def _lasts(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _cut(self) -> None:
        self._proxy.cut()

    async def _cut_after(self) -> None:
        sizes = (0, 1, 100, 10_000, 1_000_000)
        chance = self._chance
        self._proxy.cut_after(*(chance.randrange(chance.choice(sizes) + 1) for _ in range(3)))

    async def _go_away(self) -> None:
        await asyncio.to_thread(self._server.go_away)

    async def _misbehave(self) -> None:
        """426, calls that are handled late, and connections that the server itself breaks."""
        kind, amount = self._chance.choice((("busy", 0.0), ("delay", 0.2), ("cut", 5_000.0)))
        times = self._chance.randrange(1, 6)
        await asyncio.to_thread(self._server.misbehave, kind, amount, times)

    async def _interrupt(self) -> None:
        await asyncio.to_thread(self._server.interrupt, self._chance.uniform(0, 0.2))

    async def _delay(self) -> None:
        self._proxy.delay(self._chance.uniform(0.001, 0.05))
        await self._lasts()
        self._proxy.clear()

    async def _slow(self) -> None:
        self._proxy.slow(self._chance.uniform(1e5, 1e7))
        await self._lasts()
        self._proxy.clear()

    async def _hold(self) -> None:
        self._proxy.hold()
        await self._lasts()
        if self._chance.random() < 0.5:
            self._proxy.cut()
        self._proxy.clear()

    async def _half_open(self) -> None:
        self._proxy.half_open("client" if self._chance.random() < 0.5 else "server")
        await self._lasts()
        self._proxy.clear()

    async def _blackhole(self) -> None:
        self._proxy.blackhole()
        await self._lasts()
        self._proxy.clear()

    async def _kill(self) -> None:
        """What was acknowledged survives the process under both kinds of durability."""
        durability = self._chance.choice(("synced", "relaxed"))
        await asyncio.to_thread(self._server.kill, durability)
