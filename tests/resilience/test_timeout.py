"""A server that is silent is not waited for longer than was said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    DeadlineExceededError,
)

COUNT = 200_000


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def stream(own_server: Server) -> Iterator[pt.Stream]:
    with pt.connect(endpoint=own_server.endpoint) as client:
        stream = client.create(uuid4(), f"timeout/{uuid4()}")
        stream.insert([(at, float(at)) for at in range(10)])
        client.timeout = 0.2
        yield stream
        own_server.fault = None


def test_a_silent_server_ends_the_call_and_nothing_else(stream: pt.Stream, own_server: Server):
    own_server.fault = Fault.hang(calls=["ArrowRawValues", "StreamInfo"])
    for call in (lambda: stream.raw_values(0, 10), stream.get_latest_version):
        with pytest.raises(DeadlineExceededError, match=r"200ms in answer to") as raised:
            call()
        assert isinstance(raised.value, TimeoutError)
        assert raised.value.uuid == stream.uuid
    assert stream.count() == 10
    own_server.fault = None
    assert stream.raw_values(0, 10).num_rows == 10


def test_an_insert_without_an_answer_is_in_doubt(stream: pt.Stream, own_server: Server):
    own_server.fault = Fault.hang(calls=["ArrowInsert"])
    with pytest.raises(DeadlineExceededError) as raised:
        stream.insert([(100, 1.0)])
    assert raised.value.in_doubt is True
    with pytest.raises(DeadlineExceededError) as raised:
        stream.insert([(100, 1.0)], "replace")
    assert raised.value.in_doubt is False


async def test_many_silent_calls_give_their_permits_back(own_server: Server, stream: pt.Stream):
    async with await pt.AsyncClient.connect(endpoint=own_server.endpoint) as client:
        client.concurrency_limit = 4
        client.timeout = 0.05
        own_server.fault = Fault.hang(calls=["Nearest"])
        mine = client.stream_from_uuid(stream.uuid)
        results = await asyncio.gather(*(mine.latest() for _ in range(12)), return_exceptions=True)
        assert {type(result) for result in results} == {DeadlineExceededError}
        own_server.fault = None
        client.timeout = None
        assert await asyncio.wait_for(mine.count(), 30) == 10


def test_a_long_answer_that_goes_on_is_no_silence(own_server: Server):
    with pt.connect(endpoint=own_server.endpoint) as client:
        stream = client.create(uuid4(), f"timeout/{uuid4()}")
        stream.insert([(at, float(at)) for at in range(COUNT)])
        client.timeout = 5
        rows = 0
        for table in stream.raw_values_iter(0, COUNT):
            rows += table.num_rows
        assert rows == COUNT


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, BTRDBValueError),
        (-1.0, BTRDBValueError),
        (float("nan"), BTRDBValueError),
        (float("inf"), BTRDBValueError),
        (True, BTRDBTypeError),
        ("5", BTRDBTypeError),
    ],
    ids=repr,
)
def test_a_timeout_is_a_number_above_zero(own_server: Server, value: Any, error: type[Exception]):
    with pt.connect(endpoint=own_server.endpoint) as client:
        assert client.timeout is None
        client.timeout = 2.5
        with pytest.raises(error, match="`timeout`"):
            client.timeout = value
        assert client.timeout == 2.5
        assert client.get_async_client().timeout == 2.5
        client.timeout = None
        assert client.timeout is None
