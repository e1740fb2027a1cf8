"""The server inside this process: its life, its directory, and what it refuses."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
)

POINTS = [(1, 1.0), (2, 2.0), (3, 3.0)]


def store(server: Server) -> Any:
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "kept", {"name": "x"}, {"note": "y"})
        stream.insert(POINTS)
        return stream.uuid


def assert_kept(server: Server, uuid: Any) -> None:
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.stream_from_uuid(uuid)
        assert stream.raw_values(0, 9)["value"].to_pylist() == [1.0, 2.0, 3.0]
        assert (stream.collection, stream.name) == ("kept", "x")
        assert stream.annotations() == {"note": "y"}


def test_with():
    server = Server()
    assert repr(server) == "<Server in memory stopped>"
    with server as started:
        assert started is server
        assert repr(server) == f"<Server in memory at {server.endpoint}>"
        assert_kept(server, store(server))
    assert not server.is_running
    with pytest.raises(ConnectionError):
        pt.connect(endpoint=server.endpoint)


async def test_async_with():
    async with (
        Server() as server,
        await pt.AsyncClient.connect(endpoint=server.endpoint) as client,
    ):
        assert await client.list_collections() == []
    assert not server.is_running


def test_start_and_stop_twice():
    server = Server()
    server.stop()
    endpoint = server.start().endpoint
    assert server.start().endpoint == endpoint
    server.stop()
    server.stop()
    assert not server.is_running


def test_endpoint_before_the_start():
    with pytest.raises(BTRDBValueError, match="has not been started"):
        _ = Server().endpoint


def test_memory_is_gone_after_a_restart():
    server = Server()
    with server:
        store(server)
    with server, pt.connect(endpoint=server.endpoint) as client:
        assert client.list_collections() == []


@pytest.mark.parametrize("durability", ["synced", "relaxed"])
def test_directory_keeps_data(tmp_path: Path, durability: str):
    directory = tmp_path / "a" / "grid data"
    with Server(directory, durability=durability) as server:
        assert server.directory == directory
        assert repr(server) == f"<Server on {str(directory)!r} at {server.endpoint}>"
        uuid = store(server)
    with Server(str(directory)) as server:
        assert_kept(server, uuid)
    with server:
        assert_kept(server, uuid)


def test_two_servers_do_not_share_a_directory(tmp_path: Path):
    with Server(tmp_path) as server:
        uuid = store(server)
        with pytest.raises(BTrDBError) as raised:
            Server(tmp_path).start()
        assert str(tmp_path) in str(raised.value)
        assert "use" in str(raised.value)
        assert_kept(server, uuid)
    with Server(tmp_path) as server:
        assert_kept(server, uuid)


def test_directory_that_is_a_file_is_refused(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(BTrDBError, match=str(file)):
        Server(file).start()
    assert file.read_text(encoding="utf-8") == "x"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_taken_port_is_named(taken: int):
    server = Server(port=taken)
    with pytest.raises(BTrDBError, match=f"127.0.0.1:{taken}"):
        server.start()
    assert not server.is_running


def test_directory_is_free_after_a_failed_start(tmp_path: Path, taken: int):
    with pytest.raises(BTrDBError):
        Server(tmp_path, port=taken).start()
    with Server(tmp_path) as server:
        assert server.is_running


@pytest.mark.parametrize("host", ["example", "", "127.0.0.1:80", "256.0.0.1"])
def test_host_must_be_an_address(host: str):
    with pytest.raises(BTRDBValueError, match="address"):
        Server(host=host).start()


def test_open_host_needs_keys():
    with pytest.raises(BTrDBError, match="key"), Server(host="0.0.0.0"):  # noqa: S104 - refused
        pass


def test_address_of_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Server(host="::1") as server:
        assert server.endpoint.startswith("[::1]:")
        assert_kept(server, store(server))


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
def test_port_must_exist(port: int):
    with pytest.raises(BTRDBValueError, match=f"port {port} "):
        Server(port=port)


def test_other_arguments_are_checked():
    with pytest.raises(BTRDBValueError, match="`never`"):
        Server(durability="never")
    with pytest.raises(BTRDBTypeError, match="`api_keys`"):
        Server(api_keys="key")


def test_keys():
    with Server(api_keys=["first", "second"]) as server:
        for key in ("first", "second"):
            pt.connect(endpoint=server.endpoint, apikey=key).close()
        for mistaken in ("third", "first,second", "First"):
            with pytest.raises(AuthenticationError):
                pt.connect(endpoint=server.endpoint, apikey=mistaken)
        assert "first" not in repr(server)


def test_stop_with_clients_connected():
    with Server() as server:
        client = pt.connect(endpoint=server.endpoint)
        stream = client.create(uuid4(), "x")
    with pytest.raises(ConnectionError), client:
        stream.count()
