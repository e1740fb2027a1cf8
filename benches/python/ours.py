"""The work of this client."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pingthings.timeseries as pt
from pingthings.timeseries import frames
from recording import points, table
from stopwatch import START, Job, Work, end, main

F64 = pt.constants.STAT_F64_SCHEMA


def connect(job: Job) -> pt.Client:
    return pt.connect(
        endpoint=f"127.0.0.1:{job['port']}", apikey="bench", concurrency_limit=job.get("limit")
    )


def one(job: Job) -> pt.Stream:
    return connect(job).stream_from_uuid(UUID(int=job.get("stream", 0)))


def many(job: Job) -> pt.StreamSet:
    uuids = [UUID(int=number) for number in range(job["streams"])]
    return connect(job).streamset_from_uuids(uuids, fetch_metadata=False)


def raw(job: Job) -> Work:
    stream = one(job)
    return lambda: stream.raw_values(START, end(job["rows"]))


def raw_set(job: Job) -> Work:
    streams = many(job)
    return lambda: streams.raw_values(START, end(job["rows"] // job["streams"]))


def joined(job: Job) -> Work:
    streams = many(job)
    return lambda: streams.joined_values(START, end(job["rows"]))


def windows(job: Job) -> Work:
    stream = one(job)
    width = 1 << job["width"]
    return lambda: stream.windowed_values(
        START, START + job["rows"] * width, pt.constants.PW[job["width"]], schema=F64
    )


def windows_set(job: Job) -> Work:
    streams = many(job)
    width = 1 << job["width"]
    last = START + job["rows"] // job["streams"] * width
    return lambda: streams.windowed_values(
        START, last, pt.constants.PW[job["width"]], single_stream_schema=F64
    )


def to_numpy(job: Job) -> Work:
    result = raw(job)()
    return lambda: {"rows": len(frames.to_numpy(result)["value"])}


def to_polars(job: Job) -> Work:
    import polars as pl  # noqa: PLC0415 - the others do without

    result = raw(job)()
    return lambda: {"rows": len(pl.from_arrow(result))}


def insert(job: Job) -> Work:
    stream, data = one(job), table(job["points"])
    return lambda: {"version": stream.insert(data)}


def insert_tuples(job: Job) -> Work:
    stream, data = one(job), points(job["points"])
    return lambda: {"version": stream.insert(data)}


def concurrent_calls(job: Job) -> Work:
    """Small calls, 64 at a time, from one event loop."""

    async def run() -> dict[str, float]:
        client = await pt.AsyncClient.connect(
            endpoint=f"127.0.0.1:{job['port']}", apikey="bench", concurrency_limit=job["at_once"]
        )
        stream = client.stream_from_uuid(UUID(int=0))
        await stream.get_latest_version()

        async def caller() -> None:
            for _ in range(job["requests"] // job["at_once"]):
                await stream.get_latest_version()

        begin, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(caller() for _ in range(job["at_once"])))
        took = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - spent}
        await client.close()
        return took

    return lambda: asyncio.run(run())


def single_calls(job: Job) -> Work:
    stream = one(job)
    stream.get_latest_version()

    def work() -> dict[str, float]:
        times = []
        for _ in range(job["requests"]):
            begin = time.perf_counter()
            stream.get_latest_version()
            times.append(time.perf_counter() - begin)
        return {"p50_us": statistics.median(times) * 1e6}

    return work


def metadata_set(job: Job) -> Work:
    streams = many(job)

    def work() -> dict[str, float]:
        streams.refresh_metadata()
        return {"points": len(streams.latest())}

    return work


def iterate(job: Job) -> Work:
    """Reads more than memory should hold, more slowly than it comes."""
    stream = one(job)

    def tables() -> Iterator[Any]:
        yield from stream.raw_values_iter(START, end(job["points"]))

    def work() -> dict[str, float]:
        seen = 0
        for part in tables():
            seen += part.num_rows
            time.sleep(job["pause"])
        assert seen == job["points"]
        return {"points": seen}

    return work


def imports(job: Job) -> Work:
    """A fresh interpreter that imports a module."""
    return lambda: {
        "code": subprocess.run([sys.executable, "-c", job["text"]], check=True).returncode
    }


def fill(job: Job) -> Work:
    """Creates a stream on the embedded server and fills it."""
    client = connect(job)
    stream = client.create(UUID(int=job["stream"]), f"bench/{job['stream']}", {"name": "filled"})

    def work() -> dict[str, float]:
        part = 10_000_000
        for first in range(0, job["points"], part):
            stream.insert(table(min(part, job["points"] - first), first))
        stream.flush()
        return {"points": job["points"]}

    return work


def ingest_set(job: Job) -> Work:
    """Inserts into many streams of the embedded server at once; each insert is durable."""
    client = connect(job)
    first = 1_000_000 * (1 + job["round"])
    uuids = [UUID(int=first + number) for number in range(job["streams"])]
    for uuid in uuids:
        client.create(uuid, f"bench/many/{uuid}", {"name": "ingest"})
    streams = client.streamset_from_uuids(uuids, fetch_metadata=False)
    each = job["points"] // job["streams"]
    turns = iter(range(job["calls"]))

    def work() -> dict[str, float]:
        data = table(each, next(turns) * each)
        begin = time.perf_counter()
        streams.insert(dict.fromkeys(uuids, data))
        return {"seconds": time.perf_counter() - begin}

    return work


def served_windows(job: Job) -> Work:
    """About a thousand windows over all points of a stream of the embedded server."""
    stream = one(job)

    def work() -> dict[str, float]:
        width = pt.constants.PW[job["width"]]
        table = stream.windowed_values(START, end(job["points"]), width, schema=F64)
        return {"windows": table.num_rows}

    work()
    return work


def served_raw(job: Job) -> Work:
    stream = one(job)
    return lambda: {"rows": stream.raw_values(START, end(job["points"])).num_rows}


CASES = {
    case.__name__: case
    for case in (
        raw,
        raw_set,
        joined,
        windows,
        windows_set,
        to_numpy,
        to_polars,
        insert,
        insert_tuples,
        concurrent_calls,
        single_calls,
        metadata_set,
        iterate,
        imports,
        fill,
        ingest_set,
        served_windows,
        served_raw,
    )
}

if __name__ == "__main__":
    main(CASES)
