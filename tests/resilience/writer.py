"""Inserts into streams of which the books are kept, through whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pyarrow as pa
from pingthings.timeseries.exceptions import BTrDBError
from resilience.ledger import Ledger, Points

HANG_S = 180.0
"""What takes longer than this hangs: the longest series of retries is over in a tenth of it."""

POINTS_PER_CALL = 50_000
_INSERTS_PER_STREAM = 40
_SPACE = 1_000_000

T = TypeVar("T")


async def bounded(call: Awaitable[T], client: pt.AsyncClient | None = None) -> T:
    """What the call returns, if it returns; else what the client is busy with."""
    try:
        return await asyncio.wait_for(call, HANG_S)
    except BTrDBError:
        raise
    except TimeoutError as error:
        busy = "" if client is None else f": {client.stats()}"
        raise AssertionError(f"a call hung for {HANG_S} seconds{busy}") from error


class Writer:
    """Fills one stream after the other under one merge policy, and has each compared in the end."""

    def __init__(
        self,
        merge: str,
        client: pt.AsyncClient,
        judge: pt.AsyncClient,
        seed: int,
        figures: Counter[str],
        *,
        has_large: bool = True,
    ) -> None:
        """Begins nothing yet.

        Args:
            merge: The policy of all inserts.
            client: Inserts, over connections that break.
            judge: Reads what was stored, over connections that only break with the server.
            seed: Of its choices.
            figures: Counts what happens.
            has_large: Whether some inserts are so large that they take several calls.
        """
        self.merge = merge
        self.must_check = False
        """Set to have the stream compared before the next insert."""
        self._client = client
        self._judge = judge
        self._chance = random.Random(seed)  # noqa: S311 - not for cryptography
        self._figures = figures
        self._has_large = has_large
        self._serial = 0
        self.finished: list[tuple[UUID, Ledger]] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            stream = await self._created()
            ledger = Ledger(self.merge)
            version = 0
            for _ in range(_INSERTS_PER_STREAM):
                version = await self._insert(stream, ledger, version)
                if self.must_check:
                    self.must_check = False
                    await self.check(stream.uuid, ledger)
                if stop.is_set():
                    break
            await self.check(stream.uuid, ledger)
            await self._keep(stream.uuid, ledger)

    async def check(self, uuid: UUID, ledger: Ledger) -> None:
        """Reads the stream where nothing is disturbed, and compares it with the books."""
        table = await self._persistently(self._judge.stream_from_uuid(uuid))
        times, values = (column.to_numpy() for column in table.columns)
        found = list(zip(times.view("int64").tolist(), values.tolist(), strict=True))
        self._figures["points_checked"] += len(found)
        wrong = ledger.faults(found)
        assert not wrong, f"{self.merge}, stream {uuid}: {len(wrong)} faults, {wrong[:5]}"

    async def _persistently(self, stream: pt.AsyncStream) -> pa.Table:
        """Reads it as often as the server dies under the read."""
        while True:
            try:
                return await bounded(stream.raw_values(-(1 << 60), 1 << 60))
            except BTrDBError:
                await asyncio.sleep(0.05)

    async def _created(self) -> pt.AsyncStream:
        while True:
            uuid = uuid4()
            try:
                return await bounded(self._client.create(uuid, f"faults/{uuid}"), self._client)
            except BTrDBError:
                self._figures["creates_failed"] += 1
                await asyncio.sleep(0.01)

    async def _keep(self, uuid: UUID, ledger: Ledger) -> None:
        """Some stay to be compared again at the end; room is made for the others."""
        self.finished.append((uuid, ledger))
        if len(self.finished) > 4:
            uuid, _ = self.finished.pop(self._chance.randrange(len(self.finished)))
            with contextlib.suppress(BTrDBError):
                await bounded(self._client.stream_from_uuid(uuid).obliterate())

    def _points(self, ledger: Ledger) -> Points:
        """New times, and now and then values that contradict what is there already."""
        chance = self._chance
        is_large = self._has_large and chance.random() < 0.01
        count = 60_000 if is_large else chance.randrange(1, 400)
        start = self._serial * _SPACE
        self._serial += 1
        times = {start + k * 7 for k in range(count)}
        if self.merge != "never" and ledger.times and chance.random() < 0.5:
            known = ledger.times
            times |= set(chance.choices(known, k=min(len(known), 50)))
        ordered = list(times)
        if chance.random() < 0.5:
            ordered.sort()
        return [(time, chance.random()) for time in ordered]

    async def _insert(self, stream: pt.AsyncStream, ledger: Ledger, version: int) -> int:
        points = self._points(ledger)
        while True:
            self._figures["inserts"] += 1
            try:
                answered = await bounded(stream.insert(points, self.merge), self._client)
            except BTrDBError as error:
                self._figures["inserts_failed"] += 1
                if self.merge == "never":
                    self._settle(error, ledger, points)
                    return version
                if error.in_doubt:
                    raise AssertionError(f"{self.merge} can be in no doubt") from error
                # These may be made again until they are answered, which users would do as well.
                continue
            assert answered >= version, f"version {answered} came after {version}"
            ledger.acknowledged(points)
            return answered

    def _settle(self, error: BTrDBError, ledger: Ledger, points: Points) -> None:
        is_atomic = len(points) <= POINTS_PER_CALL
        if error.in_doubt or not is_atomic:
            self._figures["in_doubt"] += 1
            ledger.in_doubt(points, is_atomic=is_atomic)
