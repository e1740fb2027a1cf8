"""What the other tests here lean on: the proxy does to connections what it says."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from resilience.proxy import HEADERS, RST_STREAM, Proxy

PATIENCE_S = 30


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: str) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    """A connection that bytes have passed through, so that the proxy has taken it."""
    host, _, port = proxy.endpoint.rpartition(":")
    wire = socket.create_connection((host, int(port)), PATIENCE_S)
    wire.sendall(b"?")
    assert wire.recv(1) == b"?"
    return wire


def exchanged(wire: socket.socket, data: bytes) -> bytes:
    """What comes back for these bytes, as far as it does."""
    sending = threading.Thread(target=wire.sendall, args=(data,))
    sending.start()
    answer = b""
    while len(answer) < len(data) and (piece := wire.recv(1 << 16)):
        answer += piece
    sending.join()
    return answer


def is_silent(wire: socket.socket) -> bool:
    wire.settimeout(0.2)
    try:
        return not wire.recv(1)
    except TimeoutError:
        return True
    finally:
        wire.settimeout(PATIENCE_S)


def is_broken(wire: socket.socket) -> bool:
    """Whether the connection ends, which must not be by a timeout."""
    try:
        while wire.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("kind", ["plain", "delay", "slow"])
def test_bytes_arrive_in_order(kind: str, proxy: Proxy) -> None:
    with connected(proxy) as wire:
        data = random.Random(7).randbytes(300_000)  # noqa: S311 - not for cryptography
        least = 0.0
        if kind == "delay":
            proxy.delay(0.2)
            least = 0.4
        elif kind == "slow":
            data = data[:50_000]
            proxy.slow(100_000)
            least = 0.4
        before = time.monotonic()
        assert exchanged(wire, data) == data
        assert time.monotonic() - before >= least
        proxy.clear()
        assert exchanged(wire, data) == data


def test_what_is_held_comes_later(proxy: Proxy) -> None:
    with connected(proxy) as one, connected(proxy) as other:
        proxy.hold(connection=0)
        one.sendall(b"a")
        assert is_silent(one)
        assert exchanged(other, b"b") == b"b"
        proxy.release()
        assert one.recv(1) == b"a"


def test_a_black_hole_takes_everything(proxy: Proxy) -> None:
    with connected(proxy) as old:
        proxy.blackhole()
        old.sendall(b"a")
        host, _, port = proxy.endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as fresh:
            fresh.sendall(b"b")
            assert is_silent(old)
            assert is_silent(fresh)
            assert proxy.connections == 2
            proxy.clear()
            # What is lost is lost: these cannot go on.
            assert is_broken(old)
            assert is_broken(fresh)
        with connected(proxy) as wire:
            assert exchanged(wire, b"c") == b"c"


@pytest.mark.parametrize("dead", ["client", "server"])
def test_half_open_is_dead_in_one_direction(dead: str, proxy: Proxy) -> None:
    with connected(proxy) as wire, connected(proxy) as other:
        proxy.half_open("client" if dead == "client" else "server", connection=0)
        wire.sendall(b"a")
        assert is_silent(wire)
        assert exchanged(other, b"b") == b"b"
        proxy.cut(connection=0)
        assert is_broken(wire)
        assert exchanged(other, b"c") == b"c"


def test_cuts_happen_where_they_were_planned(proxy: Proxy) -> None:
    with connected(proxy) as one, connected(proxy) as other:
        proxy.cut_after(100, 50)
        assert exchanged(one, b"x" * 1_000) == b"x" * 100
        assert exchanged(other, b"y" * 1_000) == b"y" * 50
        assert proxy.pending_cuts == 0


def test_a_server_that_is_away_is_a_broken_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with Proxy(f"127.0.0.1:{port}") as proxy:
            host, _, at = proxy.endpoint.rpartition(":")
            with socket.create_connection((host, int(at)), PATIENCE_S) as wire:
                assert is_broken(wire)


def test_streams_are_seen_to_open_and_to_end(server: Server) -> None:
    with Proxy(server.endpoint) as proxy, pt.connect(endpoint=proxy.endpoint) as client:
        client.info()
        # Connecting asked as well.
        assert proxy.frames[HEADERS] == 2
        assert proxy.open_streams == 0
        proxy.hold()
        client.timeout = 0.05
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            client.info()
        assert proxy.wait_for_frames(RST_STREAM, 1)
        assert before < proxy.reset_times[-1] < time.monotonic()
        assert proxy.open_streams == 0
        assert proxy.open_connections == list(range(proxy.connections))
