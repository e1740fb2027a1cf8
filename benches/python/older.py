"""The same work in the older client, `btrdb`, as its users write it."""

from __future__ import annotations

import statistics
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

warnings.simplefilter("ignore")  # it says on import that it is deprecated

import btrdb  # noqa: E402
from recording import points, table  # noqa: E402
from stopwatch import START, Job, Work, end, main  # noqa: E402


def connect(job: Job) -> Any:
    return btrdb.connect(f"127.0.0.1:{job['port']}", apikey="bench")


def one(job: Job) -> Any:
    return connect(job).stream_from_uuid(UUID(int=0))


def many(job: Job) -> Any:
    db = connect(job)
    streams = [db.stream_from_uuid(UUID(int=number)) for number in range(job["streams"])]
    return btrdb.stream.StreamSet(streams)


def raw(job: Job) -> Work:
    stream = one(job)
    return lambda: stream.arrow_values(START, end(job["rows"]))


def raw_points(job: Job) -> Work:
    stream = one(job)
    return lambda: stream.values(START, end(job["rows"]))


def raw_loop(job: Job) -> Work:
    """One request for each stream; threads make it no faster."""
    streams, last = many(job), end(job["rows"] // job["streams"])
    return lambda: [stream.arrow_values(START, last) for stream in streams]


def joined(job: Job) -> Work:
    streams = many(job).filter(START, end(job["rows"]))
    read: Work = streams.arrow_values
    return read


def windows(job: Job) -> Work:
    stream, last = one(job), START + (job["rows"] << job["width"])
    return lambda: stream.arrow_aligned_windows(START, last, pointwidth=job["width"])


def windows_set(job: Job) -> Work:
    each = job["rows"] // job["streams"]
    streams = many(job).filter(START, START + (each << job["width"]))
    streams = streams.aligned_windows(job["width"])
    return lambda: {"rows": streams.arrow_values().num_rows}


def insert(job: Job) -> Work:
    stream, data = one(job), table(job["points"])
    return lambda: {"version": stream.arrow_insert(data)}


def insert_tuples(job: Job) -> Work:
    stream, data = one(job), points(job["points"])
    return lambda: {"version": stream.insert(data)}


def concurrent_calls(job: Job) -> Work:
    """Small calls from 16 threads: it has no other way to have many in flight."""
    stream = one(job)
    stream.version()
    pool = ThreadPoolExecutor(16)

    def work() -> dict[str, float]:
        return {"calls": sum(1 for _ in pool.map(lambda _: stream.version(), range(requests)))}

    requests = job["requests"]
    return work


def single_calls(job: Job) -> Work:
    stream = one(job)
    stream.version()

    def work() -> dict[str, float]:
        times = []
        for _ in range(job["requests"]):
            begin = time.perf_counter()
            stream.version()
            times.append(time.perf_counter() - begin)
        return {"p50_us": statistics.median(times) * 1e6}

    return work


def metadata_set(job: Job) -> Work:
    streams = many(job)

    def work() -> dict[str, float]:
        for _ in streams._btrdb._executor.map(lambda s: s.refresh_metadata(), streams):
            pass
        return {"points": len(streams.latest())}

    return work


CASES = {
    case.__name__: case
    for case in (
        raw,
        raw_points,
        raw_loop,
        joined,
        windows,
        windows_set,
        insert,
        insert_tuples,
        concurrent_calls,
        single_calls,
        metadata_set,
    )
}

if __name__ == "__main__":
    main(CASES)
