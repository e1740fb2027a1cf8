"""`doctor`: each step says what it found, and what to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pingthings.cli import network
from pingthings.cli.network import Target
from pingthings.server import Server

Run = Callable[..., Any]

CERTIFICATES = Path(__file__).parents[1] / "server" / "certificates"
STEPS = [
    *("endpoint", "addresses", "proxies", "tcp", "tls", "http2", "key"),
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


def test_an_old_server_is_said_to_be_one(run: Run):
    with Server(arrow=False) as server:
        found = findings(run("doctor", "--json", "--endpoint", server.endpoint))
    assert found["server"]["verdict"] == "warning"
    assert "Arrow: no" in found["server"]["why"]


def test_proxies_are_named_without_their_passwords(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    assert network.proxies()["HTTPS_PROXY"] == "http://***@proxy:3128"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("grid.example.com:4411", Target("grid.example.com", 4411, tls=True)),
        ("grid.example.com:4410", Target("grid.example.com", 4410, tls=False)),
        ("https://grid.example.com:443/", Target("grid.example.com", 443, tls=True)),
        ("http://[::1]:4411", Target("::1", 4411, tls=False)),
        ("grid.example.com", None),
        ("ftp://grid:1", None),
    ],
)
def test_endpoints_are_read_as_the_client_reads_them(text: str, target: Target | None):
    assert Target.parse(text) == target
