"""A call that nobody waits for any more ends on the wire, and leaves the client usable."""

from __future__ import annotations

import asyncio
import logging
import random
import urllib.request
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server
from pingthings.timeseries.exceptions import ClientClosedError, ConnectionError  # noqa: A004
from resilience.proxy import DATA, HEADERS, RST_STREAM, Proxy


async def test_cancelling_a_task_resets_its_stream(proxy: Proxy) -> None:
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        proxy.hold()
        called, reset = proxy.frames[HEADERS], proxy.frames[RST_STREAM]
        task = asyncio.create_task(client.info())
        assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(proxy.wait_for_frames, RST_STREAM, reset + 1)
        proxy.release()
        assert (await client.info())["major_version"] == 5


async def test_a_timeout_frees_its_place_under_the_limit(proxy: Proxy) -> None:
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint, concurrency_limit=1) as client:
        proxy.hold()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.info()
        proxy.release()
        assert (await client.info())["major_version"] == 5


async def test_cancelling_a_set_ends_every_request(proxy: Proxy, stream: pt.Stream) -> None:
    async with await pt.AsyncClient.connect(
        endpoint=proxy.endpoint, concurrency_limit=64
    ) as client:
        one = client.stream_from_uuid(stream.uuid)
        streams = pt.AsyncStreamSet([one] * 50)
        proxy.hold()
        called, reset = proxy.frames[HEADERS], proxy.frames[RST_STREAM]
        task = asyncio.create_task(streams.raw_values(0, 10**12))
        assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(proxy.wait_for_frames, RST_STREAM, reset + 50)
        proxy.release()
        assert await one.count() == 1000


async def test_cancelling_an_insert_that_tells_ends_it(proxy: Proxy, stream: pt.Stream) -> None:
    many = 1_000_000
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        await client.info()
        proxy.hold()
        called, reset = proxy.frames[HEADERS], proxy.frames[RST_STREAM]
        one = client.stream_from_uuid(stream.uuid)
        points = (np.arange(many), np.arange(float(many)))
        told: list[int] = []
        insert = one.insert(points, progress=lambda done, _: told.append(done))
        task = asyncio.create_task(insert)
        assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        # What holds the error, and so the frames of the call, keeps no insert going.
        assert caught.tb is not None
        assert await asyncio.to_thread(proxy.wait_for_frames, RST_STREAM, reset + 4)
        proxy.release()
        before = proxy.frames[HEADERS]
        assert await one.nearest(0) is not None
        assert proxy.frames[HEADERS] == before + 1
        assert told == [0]


async def test_what_is_written_over_after_cancelling_is_not_stored(proxy: Proxy) -> None:
    chance = random.Random(1)  # noqa: S311 - not for cryptography
    times = np.arange(500_000)
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        one = await client.create(uuid4(), f"cancel/{uuid4()}")
        before = proxy.frames[DATA]
        await one.insert((times, np.ones(len(times))))
        frames, cancelled = proxy.frames[DATA] - before, 0
        proxy.slow(50e6)
        for _ in range(12):
            # Points are sent from the memory they lie in, which is ours again afterwards.
            values = np.ones(len(times))
            sent = proxy.frames[DATA] + chance.randrange(1, frames)
            insert = asyncio.create_task(one.insert((times, values)))
            assert await asyncio.to_thread(proxy.wait_for_frames, DATA, sent)
            insert.cancel()
            try:
                await insert
            except asyncio.CancelledError:
                cancelled += 1
            values.fill(-1.0)
        assert cancelled > 0
        proxy.clear()
        stored = (await one.raw_values(0, len(times)))["value"]
    assert len(stored) > len(times)
    assert stored.unique().to_pylist() == [1.0]


async def test_closing_ends_calls_in_flight(proxy: Proxy) -> None:
    client = await pt.AsyncClient.connect(endpoint=proxy.endpoint)
    proxy.hold()
    called = proxy.frames[HEADERS]
    tasks = [asyncio.create_task(client.info()) for _ in range(10)]
    assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 10)
    await client.close()
    for task in tasks:
        with pytest.raises(ClientClosedError):
            await task
    with pytest.raises(ClientClosedError):
        await client.info()


async def test_a_cut_connection_is_an_error_and_the_next_call_connects_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINGTHINGS_RETRY_SECONDS", "0")
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        proxy.hold()
        called = proxy.frames[HEADERS]
        task = asyncio.create_task(client.info())
        assert await asyncio.to_thread(proxy.wait_for_frames, HEADERS, called + 1)
        proxy.cut()
        with pytest.raises(ConnectionError, match=proxy.endpoint):
            await task
        proxy.release()
        assert (await client.info())["major_version"] == 5


async def test_a_server_drops_what_nobody_waits_for() -> None:
    def in_flight(server: Server) -> int:
        with urllib.request.urlopen(
            f"http://{server.metrics_endpoint}/metrics", timeout=30
        ) as answer:
            lines = answer.read().decode().splitlines()
        return int(next(n.split()[1] for n in lines if n.startswith("pingthings_calls_in_flight ")))

    fault = Fault.hang(calls=["ArrowRawValues", "ArrowInsert", "SQLQuery"])
    with Server(metrics="127.0.0.1:0") as server:
        async with await pt.AsyncClient.connect(endpoint=server.endpoint) as client:
            one = await client.create(uuid4(), f"cancel/{uuid4()}")
            server.fault = fault
            calls = (
                *(one.raw_values(0, 10) for _ in range(20)),
                *(one.insert([(1, 1.0)]) for _ in range(20)),
                *(client.sql_query("select 1") for _ in range(20)),
            )
            tasks = [asyncio.create_task(call) for call in calls]
            async with asyncio.timeout(30):
                while in_flight(server) < len(tasks):  # noqa: ASYNC110 - of the server
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                while in_flight(server):  # noqa: ASYNC110 - of the server
                    await asyncio.sleep(0.01)
            server.fault = None
            assert await one.count() == 0


async def test_cancelling_many_calls_fails_no_other(
    proxy: Proxy, stream: pt.Stream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pingthings")
    chance = random.Random(1)  # noqa: S311 - not for cryptography
    async with await pt.AsyncClient.connect(endpoint=proxy.endpoint) as client:
        one = client.stream_from_uuid(stream.uuid)
        new = await client.create(uuid4(), f"cancelled/{uuid4()}")
        for number in range(400):
            # What would be in doubt if its connection ended.
            insert = asyncio.create_task(new.insert([(number, float(number))], "never"))
            tasks = [asyncio.create_task(one.raw_values(0, 10**12)) for _ in range(50)]
            await asyncio.wait(tasks, timeout=chance.random() / 200)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await insert
        assert await one.count() == 1000
        assert await new.count() == 400
    assert not [record for record in caplog.records if "Insert" in record.message]
