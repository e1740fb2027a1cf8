"""Calls whose answers are damaged: each must end, with what is right or with an error of ours.

A program of its own, so that what it takes of memory and writes to standard error can be seen.
Prints what became of the calls as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
from pingthings.timeseries.exceptions import BTrDBError, DeadlineExceededError
from resilience.calls import Subject, asynchronous_calls, awaited
from resilience.mutating import EXACT, KINDS, MutatingProxy
from resilience.questions import END, Question, prepare, questions

AT_ONCE = 16
MEMORY_LIMIT = 64 << 20
HANG_S = 240.0


def _check(answer: Any, start: int, end: int) -> None:
    """Tables are as they must be, whatever has become of the values in them."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list | tuple):
        for part in answer:
            _check(part, start, end)
    if isinstance(answer, pa.Table) and answer.num_rows:
        times = answer["time"].cast(pa.int64()).to_numpy()
        assert start <= times[0]
        assert times[-1] < end
        assert bool(np.all(np.diff(times) >= 0))
        assert all(column.null_count == 0 for column in answer.columns)


class Run:
    """All calls of a run, and what became of them."""

    def __init__(self, endpoint: str, first: int, count: int, silence_s: float) -> None:
        self.endpoint = endpoint
        self.silence_s = silence_s
        self.seeds = iter(range(first, first + count))
        self.outcomes = Counter[str]()
        self.errors = Counter[str]()
        self.silent = Counter[str]()
        self.wrong: list[str] = []
        self.longest = 0.0
        self.damaged = 0

    async def prepare(self) -> None:
        chance = random.Random(1)  # noqa: S311 - not for cryptography
        async with await pt.AsyncClient.connect(endpoint=self.endpoint) as client:
            known = await prepare(client, chance)
            self.questions: list[Question] = await questions(client, known, chance, 33)
            stream = await client.create(uuid4(), "mutated/calls", {"name": "calls"}, {"a": [1]})
            await stream.insert([(k, float(k)) for k in range(100)])
            await stream.flush()
            await client.create_device({"name": "device", "more": {"deep": [1, "two"]}})
            self.uuid = stream.uuid

    async def work(self) -> None:
        proxy = MutatingProxy(self.endpoint)
        await proxy.start()
        for seed in self.seeds:
            await self.one(proxy, seed)
        self.damaged += proxy.damaged
        await proxy.stop()

    async def one(self, proxy: MutatingProxy, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - not for cryptography
        kind = chance.choice(list(KINDS))
        only_once = chance.random() < 0.3
        client = await pt.AsyncClient.connect(
            endpoint=proxy.endpoint,
            memory_limit=MEMORY_LIMIT,
            retry_for=0.3,
            timeout=self.silence_s,
        )
        name, ask = self.choose(chance, client, kind)
        what = f"seed {seed}, {kind}, {name}"
        proxy.arm(kind, seed, only_once=only_once)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(HANG_S):
                await ask()
            self.outcomes["answered"] += 1
        except DeadlineExceededError:
            self.outcomes["silent"] += 1
            self.silent[kind] += 1
        except BTrDBError as error:
            self.outcomes["refused"] += 1
            self.errors[type(error).__name__] += 1
        except TimeoutError:
            self.wrong.append(f"{what}: it hung")
        except BaseException as error:  # noqa: BLE001 - that it is none of ours is what is reported
            self.wrong.append(f"{what}: {type(error).__name__}: {error}"[:300])
        finally:
            self.longest = max(self.longest, time.monotonic() - begun)
            proxy.disarm()
            await client.close()

    def choose(
        self, chance: random.Random, client: pt.AsyncClient, kind: str
    ) -> tuple[str, Callable[[], Awaitable[None]]]:
        """A question with its answer, or any other call."""
        if chance.random() < 0.6:
            question = chance.choice(self.questions)

            async def ask() -> None:
                from resilience.questions import digest  # noqa: PLC0415 - beside its use

                answer = await question.ask(client)
                if kind in EXACT:
                    assert digest(answer) == question.answer, "another answer"
                _check(answer, -2 * END, 2 * END)

            return question.name, ask
        name, call = chance.choice(list(asynchronous_calls().items()))
        subject = Subject.of(client, self.uuid, self.endpoint)

        async def make() -> None:
            result = call(subject)
            if isinstance(result, AsyncIterator):
                async for _ in result:
                    pass
            else:
                await awaited(call, subject) if result is None else await result

        return name, make


async def main(endpoint: str, first: int, count: int, silence_s: float) -> None:
    run = Run(endpoint, first, count, silence_s)
    await run.prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    await asyncio.gather(*(run.work() for _ in range(AT_ONCE)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(  # noqa: T201 - what it is for
        json.dumps(
            {
                "calls": count,
                "damaged": run.damaged,
                "outcomes": run.outcomes,
                "errors": run.errors,
                "silent": run.silent,
                "wrong": run.wrong,
                "seconds": round(time.monotonic() - begun, 1),
                "longest": round(run.longest, 1),
                "more_kb": peak - before,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
