"""Reads of data that do not change, with the answers they had when nothing was disturbed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
from pingthings.timeseries.exceptions import NotSupportedError
from twins import Twin

STEP = 1_000_000
LONG = 60_000
SHORT = 2_000
END = LONG * STEP

Ask = Callable[[pt.AsyncClient], Awaitable[Any]]


@dataclass(frozen=True)
class Question:
    """Something to ask by way of any client, and what it is answered."""

    name: str
    ask: Ask
    answer: Any


@dataclass(frozen=True)
class Known:
    """The streams that questions are about."""

    collection: str
    long: UUID
    short: tuple[UUID, ...]
    versions: tuple[int, ...]
    """Versions of the first short stream, each with more points than the one before."""


def digest(answer: Any) -> Any:
    """Equal for two answers only if they are bit for bit, however they were cut in batches."""
    if isinstance(answer, pa.Table):
        columns = tuple(
            np.ascontiguousarray(column.to_numpy()).tobytes() for column in answer.columns
        )
        return (str(answer.schema), answer.num_rows, columns)
    if isinstance(answer, dict):
        return tuple(sorted((str(key), digest(value)) for key, value in answer.items()))
    if isinstance(getattr(answer, "uuid", None), UUID):
        return str(answer.uuid)
    if isinstance(answer, list | tuple | pt.AsyncStreamSet | Twin):
        return tuple(digest(item) for item in answer)
    return repr(answer)


async def prepare(client: pt.AsyncClient, chance: random.Random) -> Known:
    """Creates the streams. Some points of the long one have the same time as their neighbours."""
    collection = f"faults/{uuid4()}"
    long = await client.create(uuid4(), collection, {"name": "long"})
    times = pa.array([k // 3 * 3 * STEP for k in range(LONG)], pa.timestamp("ns", "UTC"))
    values = pa.array([chance.gauss(60, 0.01) for _ in range(LONG)])
    await long.insert(pa.table({"time": times, "value": values}))
    await long.flush()
    short = []
    for number in range(6):
        stream = await client.create(uuid4(), collection, {"name": f"short{number}"})
        at = sorted(chance.sample(range(-END, END), SHORT))
        await stream.insert([(time, chance.random()) for time in at])
        await stream.flush()
        short.append(stream)
    versions = []
    for _ in range(3):
        await short[0].insert([(chance.randrange(END), 1.0) for _ in range(100)])
        await short[0].flush()
        versions.append(await short[0].get_latest_version())
    return Known(collection, long.uuid, tuple(s.uuid for s in short), tuple(versions))


async def questions(
    client: pt.AsyncClient, known: Known, chance: random.Random, count: int
) -> list[Question]:
    """Questions of every kind with random arguments, asked once while nothing is disturbed."""
    found = []
    for number in range(count):
        name, ask = _KINDS[number % len(_KINDS)](known, chance)
        found.append(Question(name, ask, digest(await ask(client))))
    return found


async def _whole(tables: AsyncIterator[pa.Table]) -> pa.Table | None:
    parts = [table async for table in tables]
    return pa.concat_tables(parts) if parts else None


def _range(chance: random.Random) -> tuple[int, int]:
    start = chance.choice((-END, 0, chance.randrange(END)))
    return start, chance.choice((END, start + chance.randrange(1, END)))


Kind = Callable[[Known, random.Random], tuple[str, Ask]]


def _raw_values(known: Known, chance: random.Random) -> tuple[str, Ask]:
    uuid, (start, end) = chance.choice((known.long, *known.short)), _range(chance)
    return "raw_values", lambda client: client.stream_from_uuid(uuid).raw_values(start, end)


def _raw_values_iter(known: Known, chance: random.Random) -> tuple[str, Ask]:
    start, end = _range(chance)

    def ask(client: pt.AsyncClient) -> Awaitable[Any]:
        return _whole(client.stream_from_uuid(known.long).raw_values_iter(start, end))

    return "raw_values_iter", ask


def _old_version(known: Known, chance: random.Random) -> tuple[str, Ask]:
    uuid, version = known.short[0], chance.choice(known.versions)

    async def ask(client: pt.AsyncClient) -> Any:
        stream = client.stream_from_uuid(uuid)
        count = await stream.count(version=version)
        return count, await stream.raw_values(-END, END, version)

    return "old_version", ask


def _aligned(known: Known, chance: random.Random) -> tuple[str, Ask]:
    start, width = -END, chance.choice((22, 25, 30, 36))

    def ask(client: pt.AsyncClient) -> Awaitable[Any]:
        return client.stream_from_uuid(known.long).aligned_windows(start, END, width)

    return "aligned_windows", ask


def _precise(known: Known, chance: random.Random) -> tuple[str, Ask]:
    width = chance.choice((4 * STEP, 7 * STEP + 1, END // 3))

    def ask(client: pt.AsyncClient) -> Awaitable[Any]:
        return _whole(client.stream_from_uuid(known.long).precise_windows_iter(0, END, width))

    return "precise_windows_iter", ask


def _points(known: Known, chance: random.Random) -> tuple[str, Ask]:
    uuid, at, backward = chance.choice(known.short), chance.randrange(END), chance.random() < 0.5

    async def ask(client: pt.AsyncClient) -> Any:
        stream = client.stream_from_uuid(uuid)
        ends = await stream.earliest(), await stream.latest()
        return ends, await stream.nearest(at, backward=backward), await stream.count(0, at)

    return "points", ask


def _set(known: Known, chance: random.Random) -> tuple[str, Ask]:
    start, end = _range(chance)

    async def ask(client: pt.AsyncClient) -> Any:
        streams = await client.streams_in_collection(known.collection)
        counts = await streams.count()
        return streams, counts, await streams.raw_values(start, end), await streams.latest()

    return "set", ask


def _joined(known: Known, chance: random.Random) -> tuple[str, Ask]:
    (start, end), period = _range(chance), chance.choice((None, END // 1_000))

    async def ask(client: pt.AsyncClient) -> Any:
        streams = await client.streamset_from_uuids([known.long, *known.short])
        try:
            return await streams.joined_values(start, end, period=period)
        except NotSupportedError:
            return "not on this server"  # which is what an older one says, disturbed or not

    return "joined", ask


def _metadata(known: Known, chance: random.Random) -> tuple[str, Ask]:
    uuid = chance.choice(known.short)

    async def ask(client: pt.AsyncClient) -> Any:
        stream = client.stream_from_uuid(uuid)
        found = await client.streams_in_collection(known.collection, tags={"name": "long"})
        return await stream.tags(), await client.list_collections(known.collection), found

    return "metadata", ask


def _changes(known: Known, chance: random.Random) -> tuple[str, Ask]:
    uuid, resolution = known.short[0], chance.choice((0, 20, 40))
    first, last = known.versions[0], known.versions[-1]

    def ask(client: pt.AsyncClient) -> Awaitable[Any]:
        return client.stream_from_uuid(uuid).changes(first, last, resolution)

    return "changes", ask


def _sql(known: Known, _chance: random.Random) -> tuple[str, Ask]:
    query = f"select name, uuid from streams where collection = '{known.collection}' order by name"  # noqa: S608 - our own name
    return "sql_query", lambda client: client.sql_query(query)


_KINDS: tuple[Kind, ...] = (
    *(_raw_values, _raw_values_iter, _old_version, _aligned, _precise),
    *(_points, _set, _joined, _metadata, _changes, _sql),
)
