"""One client, many threads and event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pingthings.timeseries as pt
import psutil
import pyarrow as pa
from pingthings.server import Server
from resilience.proxy import HEADERS, Proxy

THREADS = 16
ROUNDS = 20


def test_sixteen_threads_share_a_client(server: Server) -> None:
    with pt.connect(endpoint=server.endpoint) as client:
        collection = f"threads/{uuid4()}"

        def work(number: int) -> int:
            stream = client.create(uuid4(), collection, {"name": str(number)})
            for step in range(ROUNDS):
                stream.insert([(step * 1000 + k, number + k / 10) for k in range(10)])
                table = stream.raw_values(0, 1_000_000)
                assert table.num_rows == (step + 1) * 10
                assert table["value"][0].as_py() == number
            return stream.count()

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(work, range(THREADS))) == [ROUNDS * 10] * THREADS
        assert len(client.streams_in_collection(collection)) == THREADS


def test_sixteen_event_loops_share_a_client(server: Server, stream: pt.Stream) -> None:
    with pt.connect(endpoint=server.endpoint) as client:
        one = client.get_async_client().stream_from_uuid(stream.uuid)

        async def count_often() -> list[int]:
            return list(await asyncio.gather(*(one.count() for _ in range(ROUNDS))))

        with ThreadPoolExecutor(THREADS) as pool:
            counts = list(pool.map(lambda _: asyncio.run(count_often()), range(THREADS)))
        assert counts == [[1000] * ROUNDS] * THREADS


async def test_the_sync_client_works_inside_a_running_loop(server: Server) -> None:
    assert asyncio.get_running_loop().is_running()
    with pt.connect(endpoint=server.endpoint) as client:
        assert client.info()["major_version"] == 5


def test_points_may_come_from_a_generator_that_reads(stream: pt.Stream) -> None:
    schema = stream.raw_values(0, 1).schema

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 1000, 100):
            # A call inside a call, of the same client and in the same thread.
            table = stream.raw_values(start * 10**9, (start + 100) * 10**9)
            yield from table.to_batches()

    copy = stream.conn.create(uuid4(), f"threads/{uuid4()}")
    copy.insert(pa.RecordBatchReader.from_batches(schema, batches()))
    assert copy.raw_values(0, 10**12) == stream.raw_values(0, 10**12)


def test_a_blocking_call_lets_other_threads_run(proxy: Proxy) -> None:
    with pt.connect(endpoint=proxy.endpoint) as client:
        proxy.hold()
        called = proxy.frames[HEADERS]
        answers: list[object] = []
        waiting = threading.Thread(target=lambda: answers.append(client.info()))
        waiting.start()
        # This thread can only get here and on if the other one waits without the GIL.
        assert proxy.wait_for_frames(HEADERS, called + 1)
        assert sum(range(100_000)) > 0
        assert not answers
        proxy.release()
        waiting.join()
        assert len(answers) == 1


async def test_a_thousand_calls_need_no_thread_each(proxy: Proxy) -> None:
    async with await pt.AsyncClient.connect(
        endpoint=proxy.endpoint, concurrency_limit=1000
    ) as client:
        before = psutil.Process().num_threads()
        proxy.hold()
        called = proxy.frames[HEADERS]
        tasks = [asyncio.create_task(client.info()) for _ in range(1000)]
        assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 200)
        # One more may be the thread that just waited here.
        assert psutil.Process().num_threads() <= before + 1
        proxy.release()
        assert len({info["build"] for info in await asyncio.gather(*tasks)}) == 1
