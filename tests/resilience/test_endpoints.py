"""Several servers, and ways to them that lead over others."""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    DeadlineExceededError,
)
from resilience.relay import relay

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_another_server_takes_over(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "pingthings")
    with Server() as first, Server() as second:
        both = f"{first.endpoint}, {second.endpoint}"
        with pt.connect(endpoint=second.endpoint) as other, pt.connect(endpoint=both) as client:
            there = other.create(uuid4(), f"takeover/{uuid4()}")
            here = client.create(uuid4(), f"takeover/{uuid4()}")
            assert here.count() == 0
            first.stop()
            assert client.stream_from_uuid(there.uuid).count() == 0
            # What cannot have arrived may be sent again, whatever it is.
            client.create(uuid4(), f"takeover/{uuid4()}").insert([(1, 1.0)])
            assert client.info()["major_version"] == 5
            assert first.endpoint in repr(client)
            assert second.endpoint in repr(client)


def test_retries_are_told_once_each(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "pingthings")
    with Server() as server, pt.connect(endpoint=server.endpoint) as client:
        server.fault = Fault.busy(calls=["Info"], times=2)
        client.info()
        told: list[logging.LogRecord] = []
        pause = threading.Event()
        for _ in range(600):
            told = [record for record in caplog.records if "retrying a call" in record.message]
            if len(told) == 2:
                break
            pause.wait(0.05)
        assert [record.levelname for record in told] == ["DEBUG", "DEBUG"]
        assert all("Info" in record.message for record in told)


@contextmanager
def tunnels(server: Server, authorization: str | None) -> Iterator[tuple[str, list[str]]]:
    """A proxy that leads every tunnel to the server; yields where it is and what it was asked."""
    asked: list[str] = []

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.splitlines()[0])
        if authorization is not None and f"Basic {authorization}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return False
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        return True

    with relay(server, welcome) as port:
        yield f"127.0.0.1:{port}", asked


def test_a_proxy_is_asked_for_a_tunnel(monkeypatch: pytest.MonkeyPatch):
    with Server() as server, tunnels(server, None) as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        # A name that only the proxy could find.
        with pt.connect(endpoint="grid.invalid:4410") as client:
            assert client.list_collections() == []
        assert set(asked) == {"CONNECT grid.invalid:4410 HTTP/1.1"}
        asked.clear()
        # This machine is never looked for elsewhere, nor is what has been excepted.
        with pt.connect(endpoint=server.endpoint) as client:
            client.info()
        monkeypatch.setenv("NO_PROXY", "grid.invalid")
        with pytest.raises(ConnectionError):
            pt.connect(endpoint="grid.invalid:4410")
        with pytest.raises(ConnectionError):
            pt.connect(endpoint="grid.invalid:4410", proxy="")
        assert asked == []


def test_a_proxy_is_told_who_asks_and_nobody_else_is():
    password = base64.b64encode(b"grid:sec ret").decode()
    with Server() as server, tunnels(server, password) as (proxy, asked):
        url = f"http://grid:sec%20ret@{proxy}"
        with pt.connect(endpoint="grid.invalid:4410", proxy=url) as client:
            assert client.list_collections() == []
            for text in (repr(client), str(client.__reduce__())):
                assert "sec" not in text
        with pytest.raises(ConnectionError) as raised:
            pt.connect(endpoint="grid.invalid:4410", proxy=f"http://grid:wrong@{proxy}")
        assert "proxy" in str(raised.value)
        assert "wrong" not in str(raised.value)
        assert asked


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://me:secret@proxy:1", "a b:1"])
def test_a_proxy_of_another_kind_is_refused(proxy: str):
    with pytest.raises(BTRDBValueError, match="proxy") as raised:
        pt.connect(endpoint="grid.invalid:4410", proxy=proxy)
    assert "secret" not in str(raised.value)


def test_a_deadline_counts_for_the_whole_call():
    with Server() as server, pt.connect(endpoint=server.endpoint, deadline=0.3) as client:
        stream = client.create(uuid4(), f"deadline/{uuid4()}")
        server.fault = Fault.hang(calls=["ArrowInsert", "StreamInfo", "ArrowRawValues"])
        with pytest.raises(DeadlineExceededError, match="deadline") as raised:
            stream.insert([(1, 1.0)])
        assert raised.value.in_doubt is True
        with pytest.raises(DeadlineExceededError, match="300ms"):
            stream.raw_values(0, 10)
        patient = client.with_time_limits()
        assert (patient.deadline, patient.timeout, client.deadline) == (None, None, 0.3)
        server.fault = None
        assert patient.stream_from_uuid(stream.uuid).count() in (0, 1)
        client.deadline = None
        assert stream.count() in (0, 1)


async def test_time_limits_of_their_own_share_the_connection():
    with Server() as server:
        async with await pt.AsyncClient.connect(endpoint=server.endpoint, timeout=7) as client:
            hasty = client.with_time_limits(timeout=1, deadline=2)
            assert (hasty.timeout, hasty.deadline) == (1, 2)
            assert (client.timeout, client.deadline) == (7, None)
            await hasty.close()
            assert "closed" in repr(client)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, BTRDBValueError),
        ({"deadline": "soon"}, BTRDBTypeError),
        ({"memory_limit": "little"}, BTRDBValueError),
        ({"memory_limit": 5}, BTRDBValueError),
        ({"memory_limit": 1.5}, BTRDBTypeError),
        ({"connect_timeout": -1}, BTRDBValueError),
        ({"retry_for": -1}, BTRDBValueError),
        ({"tls": "yes"}, BTRDBTypeError),
        ({"require_tls": 1}, BTRDBTypeError),
        ({"ca_bundle": "/does/not/exist"}, BTRDBValueError),
        ({"client_certificate": "/one/file"}, BTRDBTypeError),
        ({"proxy": 5}, BTRDBTypeError),
        ({"colour": "green"}, BTRDBTypeError),
    ],
    ids=repr,
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object], error: type):
    with pytest.raises(error, match=f"`?{next(iter(options))}`?"):
        pt.connect(endpoint="127.0.0.1:1", **options)  # type: ignore[arg-type]


def test_options_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch):
    with Server() as server:
        monkeypatch.setenv("PINGTHINGS_MEMORY_LIMIT", "1.5 GiB")
        with pt.connect(endpoint=server.endpoint) as client:
            assert client.memory_limit == 3 << 29
            client.memory_limit = "64 MiB"
            assert client.get_async_client().memory_limit == 64 << 20
        monkeypatch.setenv("PINGTHINGS_CLIENT_CERTIFICATE", "/some/where")
        with pytest.raises(BTRDBValueError, match="PINGTHINGS_CLIENT_KEY"):
            pt.connect(endpoint=server.endpoint)
