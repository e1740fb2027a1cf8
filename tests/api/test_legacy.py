"""A server from before Arrow gives the same results, bit by bit."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.server import Server
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME, RAW_F32_SCHEMA
from pingthings.timeseries.exceptions import (
    BadValue,
    InvalidTimeRange,
    StreamNotFoundError,
    VersionNotAvailable,
)

T = 1500000000000000000
NUMBER = 12_345
UUID_OF_BOTH = UUID(int=7)

Connect = Callable[..., Awaitable[pt.AsyncClient]]
Pair = tuple[pt.AsyncStream, pt.AsyncStream]


@pytest.fixture
async def pair(connect: Connect) -> AsyncIterator[Pair]:
    """The same points on a server with Arrow and on one without, of which a part is unflushed."""
    generator = np.random.default_rng(11)
    times = T + generator.integers(0, 10**12, NUMBER)
    values = generator.standard_normal(NUMBER) * 10.0 ** generator.integers(-300, 300, NUMBER)
    values[:3] = [-0.0, 5e-324, np.finfo(float).max]
    with Server() as modern, Server(arrow=False) as legacy:
        async with (
            await connect(endpoint=modern.endpoint) as of_modern,
            await connect(endpoint=legacy.endpoint) as of_legacy,
        ):
            streams = []
            for client in (of_modern, of_legacy):
                stream = await client.create(UUID_OF_BOTH, "x", {"name": "x"}, {"a": "b"})
                await stream.insert((times[: NUMBER // 2], values[: NUMBER // 2]))
                await stream.flush()
                await stream.insert((times[NUMBER // 2 :], values[NUMBER // 2 :]))
                streams.append(stream)
            yield (streams[0], streams[1])


def bits(result: Any) -> Any:
    """With numbers as their bytes, since minus zero equals zero and NaN does not equal itself."""
    if isinstance(result, pa.Table):
        columns = [column.combine_chunks().to_numpy() for column in result.columns]
        return result.schema, [column.tobytes() for column in columns]
    return result


READS: dict[str, Callable[[pt.AsyncStream], Awaitable[Any]]] = {
    "raw": lambda s: s.raw_values(T, T + 10**12),
    "raw of all time": lambda s: s.raw_values(MINIMUM_TIME, MAXIMUM_TIME),
    "raw of nothing": lambda s: s.raw_values(0, 5),
    "raw in 32 bits": lambda s: s.raw_values(T, T + 10**12, schema=RAW_F32_SCHEMA),
    "raw of a version": lambda s: s.raw_values(T, T + 10**12, 11),
    "raw of the empty version": lambda s: s.raw_values(T, T + 10**12, 10),
    "aligned": lambda s: s.aligned_windows(T, T + 10**12, 30, schema=None),
    "aligned and fine": lambda s: s.aligned_windows(T, T + 10**12, 22, schema=None),
    "aligned in 32 bits": lambda s: s.aligned_windows(T, T + 10**12, 33),
    "aligned of a version": lambda s: s.aligned_windows(T, T + 10**12, 30, 11, None),
    "precise": lambda s: s.precise_windows(T, T + 10**12, 999_999_937, schema=None),
    "precise with gaps": lambda s: s.precise_windows(T, T + 10**12, 10**7, schema=None),
    "count": lambda s: s.count(),
    "count of a part": lambda s: s.count(T + 10**11, T + 10**12),
    "count of a version": lambda s: s.count(version=11),
    "earliest": lambda s: s.earliest(),
    "latest": lambda s: s.latest(),
    "nearest": lambda s: s.nearest(T + 5 * 10**11),
    "nearest backward": lambda s: s.nearest(T + 5 * 10**11, backward=True),
    "nearest of none": lambda s: s.nearest(T + 10**13),
    "version": lambda s: s.get_latest_version(),
    "annotations": lambda s: s.annotations(refresh=True),
}


async def test_reads_are_equal(pair: Pair):
    for name, read in READS.items():
        modern, legacy = [bits(await read(stream)) for stream in pair]
        assert modern == legacy, name


async def test_schemas_of_windows_by_name(pair: Pair):
    schema = pa.schema([("mean", pa.float64()), ("max", pa.float64())])
    modern, legacy = [
        bits(await stream.aligned_windows(T, T + 10**12, 35, schema=schema)) for stream in pair
    ]
    assert modern == legacy


@pytest.mark.parametrize("merge", ["never", "equal", "retain", "replace"])
async def test_merges_are_equal(pair: Pair, merge: str):
    for stream in pair:
        await stream.insert([(5, 1.0), (5, 2.0)])
        await stream.insert([(5, 1.0), (6, 2.0), (6, 3.0)], merge)
    modern, legacy = [bits(await stream.raw_values(0, 10)) for stream in pair]
    assert modern == legacy


async def test_errors_are_equal(pair: Pair):
    calls: list[tuple[type[Exception], Callable[[pt.AsyncStream], Awaitable[Any]]]] = [
        (InvalidTimeRange, lambda s: s.raw_values(5, 1)),
        (InvalidTimeRange, lambda s: s.insert([(MAXIMUM_TIME, 1.0)])),
        (BadValue, lambda s: s.insert([(5, float("nan"))])),
        (VersionNotAvailable, lambda s: s.raw_values(0, 1, 99)),
        (VersionNotAvailable, lambda s: s.aligned_windows(0, 8, 2, 99)),
        (VersionNotAvailable, lambda s: s.precise_windows(0, 8, 3, 99)),
    ]
    for error, call in calls:
        messages = []
        for stream in pair:
            with pytest.raises(error) as raised:
                await call(stream)
            messages.append(str(raised.value))
        assert messages[0] == messages[1]


async def test_unknown_stream(connect: Connect):
    with Server(arrow=False) as server:
        async with await connect(endpoint=server.endpoint) as client:
            unknown = client.stream_from_uuid(uuid4())
            for call in (
                unknown.raw_values(0, 1),
                unknown.aligned_windows(0, 8, 2),
                unknown.precise_windows(0, 8, 3),
                unknown.insert([(1, 1.0)]),
            ):
                with pytest.raises(StreamNotFoundError, match=str(unknown.uuid)):
                    await call
