"""`doctor`: each step says what it found, and what to do."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pingthings.timeseries as pt
import pytest
from pingthings.cli import network
from pingthings.cli.network import Proxy, Target
from pingthings.server import Server
from pingthings.timeseries.exceptions import (
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    DeadlineExceededError,
)
from resilience.relay import relay

Run = Callable[..., Any]

CERTIFICATES = Path(__file__).parents[1] / "server" / "certificates"
QUICK = {"PINGTHINGS_RETRY_SECONDS": "0"}
STEPS = [
    *("endpoint", "proxy", "addresses", "tcp", "identity", "tls", "http2", "key"),
    *("server", "clock", "round trip", "throughput", "settings"),
]


def findings(result: Any) -> dict[str, dict[str, str]]:
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["step"] for one in found] == STEPS
    assert (result.exit_code != 0) == any(one["verdict"] == "failed" for one in found)
    assert all(one["advice"] for one in found if one["verdict"] in {"failed", "warning"})
    return {one["step"]: one for one in found}


@pytest.fixture
def secure() -> Iterator[Server]:
    files = [str(CERTIFICATES / f"first.{name}.pem") for name in ("certificate", "key")]
    with Server(tls_certificate=files[0], tls_key=files[1], api_keys=["secret"]) as server:
        yield server


def https(server: Server) -> str:
    return f"https://localhost:{server.endpoint.rpartition(':')[2]}"


def test_all_is_well(run: Run):
    found = findings(run("doctor", "--json", "--stream", "lab/L1MAG"))
    assert {one["verdict"] for one in found.values()} == {"ok"}
    assert "Arrow: yes, SQL: yes, management: yes" in found["server"]["why"]
    assert "600 points of `lab/L1MAG`" in found["throughput"]["why"]
    assert "s from ours" in found["clock"]["why"]
    lines = run("doctor").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["ok", step] for step in STEPS]


def test_encryption_with_an_authority_that_is_named(run: Run, secure: Server):
    bundle = str(CERTIFICATES / "first.certificate.pem")
    environ = {"BTRDB_CA_BUNDLE": bundle, "BTRDB_API_KEY": "secret"}
    found = findings(run("doctor", "--json", "--endpoint", https(secure), **environ))
    assert found["tls"]["verdict"] == "ok"
    assert "TLSv1.3, for localhost" in found["tls"]["why"]
    assert f"trusted by BTRDB_CA_BUNDLE, `{bundle}`" in found["tls"]["why"]
    assert found["http2"]["verdict"] == found["key"]["verdict"] == "ok"
    assert found["throughput"]["verdict"] == "skipped"
    assert "PINGTHINGS_REQUIRE_TLS=1" in found["settings"]["why"]


def test_encryption_with_an_authority_that_nobody_knows(run: Run, secure: Server):
    result = run("doctor", "--json", "--endpoint", https(secure), BTRDB_API_KEY="secret")
    found = findings(result)
    assert "self-signed" in found["tls"]["why"]
    assert "signed by" in found["tls"]["why"]
    assert "searched: this system's" in found["tls"]["why"]
    assert "BTRDB_CA_BUNDLE" in found["tls"]["advice"]
    assert found["http2"]["verdict"] == "skipped"
    assert "steps failed" in result.stderr


def test_a_bundle_that_is_missing(run: Run, secure: Server, tmp_path: Path):
    missing = str(tmp_path / "missing.pem")
    found = findings(run("doctor", "--json", "--endpoint", https(secure), BTRDB_CA_BUNDLE=missing))
    assert "cannot be read" in found["tls"]["why"]
    assert "unset BTRDB_CA_BUNDLE" in found["tls"]["advice"]


def test_one_side_speaks_tls_and_the_other_does_not(run: Run, server: Server, secure: Server):
    found = findings(run("doctor", "--json", "--endpoint", https(server)))
    assert "`http://`" in found["tls"]["advice"]
    found = findings(run("doctor", "--json", "--endpoint", secure.endpoint))
    assert found["tls"]["verdict"] == "ok"
    assert found["http2"]["verdict"] == "failed"


def test_a_key_that_is_wrong_or_missing(run: Run):
    with Server(api_keys=["secret"]) as server:
        wrong = findings(run("doctor", "--json", "--endpoint", server.endpoint, "--apikey", "x"))
        missing = findings(run("doctor", "--json", "--endpoint", server.endpoint))
        right = findings(
            run("doctor", "--json", "--endpoint", server.endpoint, "--apikey", "secret")
        )
    assert "revoked" in wrong["key"]["advice"]
    assert "BTRDB_API_KEY" in missing["key"]["advice"]
    assert right["key"]["verdict"] == "ok"
    assert "BTRDB_API_KEY in place of --apikey" in right["settings"]["why"]
    assert wrong["server"] == {
        "step": "server",
        "verdict": "skipped",
        "why": "not without: key",
        "advice": "",
        "endpoint": server.endpoint,
    }


def test_nobody_answers_or_somebody_else_does(run: Run):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{listening.getsockname()[1]}"
        found = findings(run("doctor", "--json", "--endpoint", endpoint))
        assert found["tcp"]["verdict"] == "failed"
        assert "refused" in found["tcp"]["why"]
        listening.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 10)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = findings(
            run("doctor", "--json", "--endpoint", endpoint, PINGTHINGS_RETRY_SECONDS="0")
        )
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "HTTP/1" in found["http2"]["why"]
    assert found["key"]["verdict"] == "failed"


def test_a_name_that_is_unknown_and_an_endpoint_that_is_none(run: Run):
    found = findings(run("doctor", "--json", "--endpoint", "nothing.invalid:4411"))
    assert "nothing.invalid" in found["addresses"]["why"]
    found = findings(run("doctor", "--json", "--endpoint", "nothing"))
    assert found["endpoint"]["verdict"] == "failed"


def test_each_of_several_endpoints_is_looked_at(run: Run, server: Server):
    with socket.socket() as nobody, Server(api_keys=["secret"]) as other:
        nobody.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
        endpoints = [server.endpoint, closed, other.endpoint]
        result = run("doctor", "--json", "--endpoint", ", ".join(endpoints))
        lines = run("doctor", "--endpoint", ",".join(endpoints)).stdout.splitlines()
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["endpoint"] for one in found] == [at for at in endpoints for _ in STEPS]
    assert [one["step"] for one in found] == STEPS * 3
    verdicts = {(one["endpoint"], one["step"]): one["verdict"] for one in found}
    assert verdicts[server.endpoint, "throughput"] == "ok"
    assert verdicts[closed, "tcp"] == verdicts[other.endpoint, "key"] == "failed"
    assert verdicts[closed, "key"] == "skipped"
    assert "2 of 3" in found[len(STEPS)]["why"]
    assert (result.exit_code, "2 of 39 steps failed" in result.stderr) == (1, True)
    assert [line.split("\t")[4] for line in lines] == [one["endpoint"] for one in found]


def test_a_list_that_names_nobody(run: Run):
    found = findings(run("doctor", "--json", "--endpoint", ", ,"))
    assert found["endpoint"]["verdict"] == "failed"


def identity(name: str) -> dict[str, str]:
    """What says which certificate the client proves itself with."""
    files = [str(CERTIFICATES / f"{name}.{part}.pem") for part in ("certificate", "key")]
    names = ("PINGTHINGS_CLIENT_CERTIFICATE", "PINGTHINGS_CLIENT_KEY")
    return dict(zip(names, files, strict=True))


@pytest.fixture
def guard() -> ssl.SSLContext:
    """Lets in those only who prove themselves with the second certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    first = CERTIFICATES / "first.certificate.pem"
    context.load_cert_chain(first, CERTIFICATES / "first.key.pem")
    context.load_verify_locations(CERTIFICATES / "second.certificate.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
def guarded(server: Server, guard: ssl.SSLContext) -> Iterator[str]:
    with relay(server, context=guard) as port:
        yield f"https://localhost:{port}"


@pytest.fixture
def closed_door(guard: ssl.SSLContext) -> Iterator[str]:
    """Says why it does not let somebody in, as servers do, unlike the relay."""

    def refuse() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            secured = guard.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with suppress(OSError):
                secured.do_handshake()
            with socket.socket(fileno=secured.detach()) as told, suppress(OSError):
                told.shutdown(socket.SHUT_WR)
                while told.recv(1 << 10):
                    pass

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=refuse)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_client_certificate_is_shown_and_used(run: Run, guarded: str):
    bundle = {"BTRDB_CA_BUNDLE": str(CERTIFICATES / "first.certificate.pem")}
    environ = {**bundle, **identity("second")}
    found = findings(run("doctor", "--json", "--endpoint", guarded, **environ))
    assert {one["verdict"] for one in found.values()} == {"ok"}
    expires = ssl.cert_time_to_seconds(until("second"))
    day = time.strftime("%Y-%m-%d", time.gmtime(expires))
    assert found["identity"]["why"].startswith("commonName=second, signed by commonName=second")
    assert (
        f"until {day}; from `{environ['PINGTHINGS_CLIENT_CERTIFICATE']}`"
        in (found["identity"]["why"])
    )


def test_a_server_that_wants_another_certificate(run: Run, guarded: str, closed_door: str):
    bundle = {"BTRDB_CA_BUNDLE": str(CERTIFICATES / "first.certificate.pem")}
    none = findings(run("doctor", "--json", "--endpoint", closed_door, **bundle, **QUICK))
    assert none["identity"]["why"] == "no client certificate is set"
    assert none["http2"]["why"] == "the server wants a client certificate, and none is set"
    assert "PINGTHINGS_CLIENT_CERTIFICATE" in none["http2"]["advice"]
    environ = {**bundle, **identity("first"), **QUICK}
    wrong = findings(run("doctor", "--json", "--endpoint", closed_door, **environ))
    assert wrong["identity"]["verdict"] == "ok"
    assert "does not accept the client certificate" in wrong["http2"]["why"]
    assert wrong["key"]["verdict"] == "failed"
    cut = findings(run("doctor", "--json", "--endpoint", guarded, **bundle, **QUICK))
    assert cut["http2"]["verdict"] == "failed"
    assert "does it want a client certificate?" in cut["http2"]["advice"]


def until(name: str) -> str:
    """The end of a certificate, as another program reads it."""
    file = CERTIFICATES / f"{name}.certificate.pem"
    command = ["openssl", "x509", "-enddate", "-noout", "-in", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("=")[2]


def test_client_certificates_that_are_of_no_use(run: Run, secure: Server, tmp_path: Path):
    at = ("doctor", "--json", "--endpoint", https(secure))

    def why(files: dict[str, str]) -> dict[str, str]:
        found = findings(run(*at, **files, **QUICK))["identity"]
        assert found["verdict"] == "failed"
        return found

    good = identity("first")
    assert "belong together" in why({"PINGTHINGS_CLIENT_KEY": good["PINGTHINGS_CLIENT_KEY"]})["why"]
    missing = {**good, "PINGTHINGS_CLIENT_CERTIFICATE": str(tmp_path / "none.pem")}
    assert "No such file" in why(missing)["why"]
    other = {**good, "PINGTHINGS_CLIENT_KEY": identity("second")["PINGTHINGS_CLIENT_KEY"]}
    assert "mismatch" in why(other)["why"].lower()
    key = good["PINGTHINGS_CLIENT_KEY"]
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", key, "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)
    assert why({**good, "PINGTHINGS_CLIENT_KEY": str(locked)})["advice"]


def test_a_client_certificate_without_encryption_is_unused(run: Run):
    found = findings(run("doctor", "--json", **identity("first")))
    assert found["identity"]["verdict"] == "warning"
    assert "goes nowhere" in found["identity"]["why"]


def test_an_old_server_is_said_to_be_one(run: Run):
    with Server(arrow=False) as server:
        found = findings(run("doctor", "--json", "--endpoint", server.endpoint))
    assert found["server"]["verdict"] == "warning"
    assert "Arrow: no" in found["server"]["why"]


def answer_once(listening: socket.socket, answer: bytes, upstream: str, asked: list[bytes]) -> None:
    """A proxy for one connection: answers, and carries what was sent to and fro."""
    client, _ = listening.accept()
    with client:
        while not (asked and asked[-1].endswith(b"\r\n\r\n")):
            asked[:] = [b"".join(asked) + client.recv(1 << 10)]
        client.sendall(answer)
        if b" 200 " not in answer:
            return
        host, _, port = upstream.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as server:
            server.sendall(client.recv(1 << 10))
            client.sendall(server.recv(1 << 10))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK", b"HTTP/1.1 407 Who are you?"])
def test_a_proxy_is_asked_for_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, server: Server, answer: bytes
):
    asked: list[bytes] = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://me:p%40ss@127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.delenv("http_proxy", raising=False)
        target, proxy = Target.parse("grid.invalid:4410"), Proxy.find("grid.invalid:4410")
        assert proxy is not None
        (address,) = network.look_up(target, proxy)
        arguments = (listening, answer + b"\r\n\r\n", server.endpoint, asked)
        thread = threading.Thread(target=answer_once, args=arguments)
        thread.start()
        if b"200" in answer:
            connection, _ = address.connect()
            with connection:
                assert network.greet(connection)["streams at once"] > 0
        else:
            with pytest.raises(OSError, match="407 Who are you"):
                address.connect()
        thread.join()
    assert asked[0].startswith(b"CONNECT grid.invalid:4410 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in asked[0]


@pytest.mark.parametrize(
    ("endpoint", "exempt", "is_asked"),
    [
        ("https://grid.invalid:4411", "", True),
        ("grid.invalid:4411", "other.com,invalid", False),
        ("10.1.2.3:4411", "10.0.0.0/8", False),
        ("10.1.2.3:4411", "192.168.0.0/16", True),
        ("127.0.0.1:4411", "", False),
        ("grid.invalid:4410", "", False),
    ],
)
def test_the_proxy_is_the_one_that_the_client_asks(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, exempt: str, is_asked: bool
):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        port = listening.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", exempt)
        found = Proxy.find(endpoint)
        assert (found is not None) == is_asked
        if found is not None:
            assert (found.variable, found.host, found.port) == ("HTTPS_PROXY", "127.0.0.1", port)
        if endpoint.startswith("10."):  # somebody may be there, and takes long to be nobody
            return
        with pytest.raises((ConnectionError, DeadlineExceededError)):
            pt.connect(endpoint=endpoint, connect_timeout=1, retry_for=0)
        if is_asked:
            listening.accept()[0].close()
        else:
            with pytest.raises(BlockingIOError):
                listening.accept()


@pytest.mark.parametrize(
    ("endpoint", "proxy"),
    [("grid.invalid:4411", "socks5://proxy:1"), ("grid.invalid:4411", "http://pro xy")],
)
def test_what_is_no_proxy_is_refused_as_the_client_refuses_it(run: Run, endpoint: str, proxy: str):
    found = findings(run("doctor", "--json", "--endpoint", endpoint, HTTPS_PROXY=proxy))
    with pytest.raises(BTRDBValueError) as raised:
        pt.connect(endpoint=endpoint, proxy=proxy)
    assert (found["proxy"]["verdict"], found["proxy"]["why"]) == ("failed", str(raised.value))


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "is_loopback"),
    [
        ("grid.example.com:4411", "grid.example.com", 4411, True, False),
        ("grid.example.com:4410", "grid.example.com", 4410, False, False),
        ("HTTPS://grid.example.com:443/", "grid.example.com", 443, True, False),
        ("http://[::1]:4411", "::1", 4411, False, True),
        ("localhost:4410", "localhost", 4410, False, True),
    ],
)
def test_an_endpoint_has_parts(text: str, host: str, port: int, tls: bool, is_loopback: bool):
    assert Target.parse(text) == Target(host, port, tls, is_loopback)


@pytest.mark.parametrize(
    "text",
    ["grid.example.com", "ftp://grid:1", "grid:65536", "grid:-1", "[grid]:1", "gr id:1", ":1"],
)
def test_what_is_no_endpoint_is_refused_as_the_client_refuses_it(run: Run, text: str):
    found = findings(run("doctor", "--json", "--endpoint", text))
    with pytest.raises(BTRDBValueError) as raised:
        pt.connect(endpoint=text)
    assert (found["endpoint"]["verdict"], found["endpoint"]["why"]) == ("failed", str(raised.value))
