"""Clients, streams and sets in other processes."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import AuthenticationError, BTRDBTypeError

KEY = "a-key-that-must-not-travel"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server(api_keys=[KEY]) as server:
        yield server


@pytest.fixture
def streams(guarded: Server) -> Iterator[pt.StreamSet]:
    with pt.connect(endpoint=guarded.endpoint, apikey=KEY) as client:
        collection = f"pickle/{uuid4()}"
        for name in "abc":
            stream = client.create(uuid4(), collection, {"name": name}, {"rate": 30})
            stream.insert([(at, float(at)) for at in range(100)])
            stream.flush()
        yield client.streams_in_collection(collection)


def test_no_key_travels(streams: pt.StreamSet):
    for item in (streams[0].conn, streams[0], streams):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert KEY.encode() not in pickle.dumps(item, protocol)


@pytest.mark.parametrize("proxy", ["http://user:s3cret@proxy:3128", "user:s3cret@proxy:3128"])
@pytest.mark.parametrize("is_argument", [True, False])
def test_no_password_of_a_proxy_travels(
    proxy: str, is_argument: bool, guarded: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    monkeypatch.setattr("pingthings.timeseries.pickling._CLIENTS", {})
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "" if is_argument else proxy)
    options = {"proxy": proxy} if is_argument else {}
    # This machine is reached directly, whatever the proxy.
    with pt.connect(endpoint=guarded.endpoint, **options) as client:  # type: ignore[arg-type]
        stream = client.stream_from_uuid(uuid4())
        for item in (client, stream, pt.StreamSet([stream])):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                assert b"s3cret" not in pickle.dumps(item, protocol)
            pickle.loads(pickle.dumps(item))  # noqa: S301 - our own
        assert "s3cret" not in repr(client) + str(vars(client.get_async_client())["_creds"])


def test_other_ways_out_travel(guarded: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    for proxy in (None, "http://proxy:3128"):
        with pt.connect(endpoint=guarded.endpoint, proxy=proxy) as client:  # type: ignore[arg-type]
            assert (b"proxy:3128" in pickle.dumps(client)) == (proxy is not None)


def test_a_key_travels_if_that_is_asked_for(guarded: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BTRDB_API_KEY", raising=False)
    with pt.connect(endpoint=guarded.endpoint, apikey=KEY, pickle_key=True, deadline=60) as client:
        copied = pickle.loads(pickle.dumps(client))  # noqa: S301 - our own
        with copied:
            assert copied.list_collections() == client.list_collections()
            assert (copied.deadline, copied.timeout) == (60, None)
            assert KEY not in repr(copied)
    with pt.connect(endpoint=guarded.endpoint, apikey=KEY) as client:
        data = pickle.dumps(client)
    with pytest.raises(AuthenticationError):
        pickle.loads(data)  # noqa: S301 - our own


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_streams_work_in_a_pool(
    method: str, streams: pt.StreamSet, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    context = multiprocessing.get_context(method)
    read = methodcaller("raw_values", 0, 1_000)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found = list(pool.map(read, list(streams) * 4))
        assert pool.submit(methodcaller("count"), streams).result() == streams.count()
    assert found == streams.raw_values(0, 1_000) * 4


def test_what_is_known_comes_along(streams: pt.StreamSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    streams.pin_versions()
    streams[0].insert([(5_000, 1.0)])
    for made in (pickle.loads(pickle.dumps(streams)), copy.deepcopy(streams)):  # noqa: S301
        assert isinstance(made, pt.StreamSet)
        assert [s.uuid for s in made] == [s.uuid for s in streams]
        assert made[0].conn is made[1].conn
        assert made[0].conn is not streams[0].conn
        assert made[0]._stream.name == "a"
        assert made[0].annotations() == {"rate": 30}
        assert made[0].pinned_version == streams[0].pinned_version
        assert made[0].count() == 100
        made[0].pin_version(None)
        assert made[0].count() == 101
        assert streams[0].pinned_version is not None


class Recording(pickle.Unpickler):
    """Notes the modules that a pickle names."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module)
        return super().find_class(module, name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_names_the_documented_modules_only(
    protocol: int, streams: pt.StreamSet, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    for item in (streams[0].conn, streams[0], streams):
        unpickler = Recording(pickle.dumps(item, protocol))
        assert type(unpickler.load()) is type(item)
        ours = {name for name in unpickler.modules if name.startswith("pingthings")}
        assert ours == {"pingthings.timeseries.client"}


def test_the_key_is_looked_for_where_it_arrives(
    streams: pt.StreamSet, monkeypatch: pytest.MonkeyPatch
):
    text = pickle.dumps(streams[0])
    monkeypatch.delenv("BTRDB_API_KEY", raising=False)
    monkeypatch.setattr("pingthings.timeseries.pickling._CLIENTS", {})
    with pytest.raises(AuthenticationError):
        pickle.loads(text)  # noqa: S301
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    stream = pickle.loads(text)  # noqa: S301
    stream.conn.close()
    # A closed client is not handed out again.
    assert pickle.loads(text).count() == 100  # noqa: S301


async def test_asynchronous_ones_say_what_to_do(guarded: Server):
    async with await pt.AsyncClient.connect(endpoint=guarded.endpoint, apikey=KEY) as client:
        stream = client.stream_from_uuid(uuid4())
        for item in (client, stream, pt.AsyncStreamSet([stream])):
            with pytest.raises(BTRDBTypeError, match="synchronous twin"):
                pickle.dumps(item)
