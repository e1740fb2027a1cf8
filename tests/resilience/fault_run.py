"""Reads and inserts while the way to the server, and the server, fail at random.

Some of it goes by a client that repeats nothing, called hasty here: every fault reaches its caller.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import BTrDBError
from resilience.disturbances import Disturbances
from resilience.faulty_server import FaultyServer
from resilience.proxy import Proxy
from resilience.questions import Question, digest, prepare, questions
from resilience.writer import Writer, bounded
from twins import Twin

QUESTIONS = 60
READERS = 4
MERGES = ("never", "equal", "retain", "replace")

Say = Callable[[str], None]


class FaultRun:
    """One run: prepares, disturbs, judges. `figures` says what happened."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        say: Say,
        *,
        is_steady: bool = False,
        arrow: bool = True,
    ) -> None:
        """Begins nothing yet.

        Args:
            directory: Where the server keeps its data.
            seed: Of all choices.
            say: Told now and then how far it is.
            is_steady: Whether it goes on evenly, without kills and large inserts, so that what the
                processes take up can be compared over time.
            arrow: Whether the server answers in Arrow; older ones know points only.
        """
        self._arrow = arrow
        self._is_steady = is_steady
        self.server_pid = 0
        self._directory = directory
        self._seed = seed
        self._say = say
        self._chance = random.Random(seed)  # noqa: S311 - not for cryptography
        self._done = asyncio.Event()
        self._stop = asyncio.Event()
        self._writers: list[Writer] = []
        self.figures: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def run(
        self, is_over: Callable[[int], bool], at_rest: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Adds faults until it is over, which is asked with how many there were.

        Args:
            is_over: Called between faults.
            at_rest: Called before the first call and after the last, with the server running.

        Raises:
            AssertionError: A read differed, a point was lost or doubled, or a call hung.
        """
        began = time.monotonic()
        with self._server() as server, Proxy(server.endpoint) as proxy:
            self.server_pid = server.pid
            if at_rest is not None:
                await at_rest()
            async with AsyncExitStack() as stack:
                connect = pt.AsyncClient.connect
                judge = await stack.enter_async_context(await connect(endpoint=server.endpoint))
                patient = await stack.enter_async_context(await connect(endpoint=proxy.endpoint))
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("PINGTHINGS_RETRY_SECONDS", "0")
                    hasty = await stack.enter_async_context(await connect(endpoint=proxy.endpoint))
                known = await prepare(judge, self._chance)
                asked = await questions(judge, known, self._chance, QUESTIONS)
                self._writers = [
                    self._writer(merge, client, judge, number)
                    for number, merge in enumerate(MERGES)
                    for client in (patient, hasty)
                ]
                async with asyncio.TaskGroup() as tasks:
                    for number in range(READERS):
                        client, how = (hasty, "hasty_") if number == 0 else (patient, "")
                        tasks.create_task(self._read(client, asked, number, how))
                    tasks.create_task(asyncio.to_thread(self._read_blocking, proxy, asked))
                    for writer in self._writers:
                        tasks.create_task(writer.run(self._stop))
                    try:
                        await self._disturb(server, proxy, is_over)
                    finally:
                        self._stop.set()
                if at_rest is not None:
                    await at_rest()
                await self._judge_all(server, judge, asked)
        self.figures["seconds"] = round(time.monotonic() - began)

    def _server(self) -> FaultyServer:
        return FaultyServer(self._directory, arrow=self._arrow)

    def _writer(
        self, merge: str, client: pt.AsyncClient, judge: pt.AsyncClient, number: int
    ) -> Writer:
        seed, has_large = self._seed * 100 + number, not self._is_steady
        return Writer(merge, client, judge, seed, self.figures, has_large=has_large)

    def report(self) -> str:
        """The figures as a line of JSON."""
        faults = {"all": self.faults.total(), **dict(sorted(self.faults.items()))}
        return json.dumps({"seed": self._seed, "faults": faults, **sorted_dict(self.figures)})

    async def _disturb(
        self, server: FaultyServer, proxy: Proxy, is_over: Callable[[int], bool]
    ) -> None:
        may_kill = not self._is_steady
        disturbances = Disturbances(server, proxy, self._chance, may_kill=may_kill)
        said = time.monotonic()
        while not is_over(self.faults.total()):
            name = await disturbances.next()
            self.faults[name] += 1
            if name == "kill":
                for writer in self._writers:
                    writer.must_check = True
            await self._pause()
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self._say(self.report())
        await disturbances.end()

    async def _pause(self) -> None:
        """Until something got through, but not for ever, so that faults also pile up."""
        self._done.clear()
        await asyncio.sleep(self._chance.uniform(0, 0.03))
        try:
            await asyncio.wait_for(self._done.wait(), self._chance.choice((0.05, 0.5)))
        except TimeoutError:
            self.figures["faults_on_top"] += 1

    async def _read(
        self, client: pt.AsyncClient, asked: list[Question], number: int, how: str
    ) -> None:
        chance = random.Random(self._seed * 100 + number)  # noqa: S311 - not for cryptography
        while not self._stop.is_set():
            await self._compare(client, chance.choice(asked), how)

    async def _compare(self, client: pt.AsyncClient, question: Question, how: str) -> None:
        self.figures[f"{how}reads"] += 1
        began = time.monotonic()
        try:
            answer = await bounded(question.ask(client), client)
        except BTrDBError as error:
            self.figures[f"{how}reads_failed"] += 1
            if not how:
                tried_s = time.monotonic() - began
                self._say(f"{question.name} failed after {tried_s:.1f} s: {error!r}")
            return
        assert digest(answer) == question.answer, f"{question.name} differs"
        self._done.set()

    def _read_blocking(self, proxy: Proxy, asked: list[Question]) -> None:
        """The same with the blocking client, in a thread, and over new connections at times."""
        chance = random.Random(-self._seed)  # noqa: S311 - not for cryptography
        while not self._stop.is_set():
            try:
                client = pt.connect(endpoint=proxy.endpoint)
            except BTrDBError:
                self.figures["connects_failed"] += 1
                continue
            with client, asyncio.Runner() as runner:
                for question in chance.choices(asked, k=20):
                    runner.run(self._compare_blocking(client, question))
                    if self._stop.is_set():
                        return

    async def _compare_blocking(self, client: pt.Client, question: Question) -> None:
        self.figures["blocking_reads"] += 1
        try:
            answer = await question.ask(Twin(client))  # type: ignore[arg-type]
        except BTrDBError:
            self.figures["blocking_reads_failed"] += 1
            return
        assert digest(answer) == question.answer, f"{question.name} differs, blocking"

    async def _judge_all(
        self, server: FaultyServer, judge: pt.AsyncClient, asked: list[Question]
    ) -> None:
        """After a last kill: what does not change has not changed, and every stream is complete."""
        await asyncio.to_thread(server.kill)
        for question in asked:
            assert digest(await bounded(question.ask(judge))) == question.answer, question.name
        for writer in self._writers:
            for uuid, ledger in writer.finished:
                await writer.check(uuid, ledger)
                self.figures["streams_checked_again"] += 1


def sorted_dict(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
