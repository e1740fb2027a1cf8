"""Servers that ask who the client is, and clients that do not trust the server."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import (
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
)
from pingthings.timeseries.settings import ConnectionOptions
from resilience.relay import relay

if shutil.which("openssl") is None:
    pytest.skip("openssl, which makes the certificates, is not installed", allow_module_level=True)


def certify(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, for localhost, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    use = ["-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"]
    subject = ["-subj", f"/CN={name}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", *kind, *subject, *names, *use, *files]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def gate(server: Server, identity: tuple[Path, Path], admitted: Path) -> Iterator[str]:
    """TLS before a server, for those only who prove themselves; yields where it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    context.load_verify_locations(admitted)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    with relay(server, context=context) as port:
        yield f"localhost:{port}"


def test_a_certificate_opens_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    theirs, mine = certify(tmp_path, "theirs"), certify(tmp_path, "mine")
    with Server() as server, gate(server, theirs, mine[0]) as endpoint:
        url = f"https://{endpoint}"
        with pt.connect(endpoint=url, ca_bundle=theirs[0], client_certificate=mine) as client:
            assert client.list_collections() == []
        with pytest.raises(ConnectionError):
            pt.connect(endpoint=url, ca_bundle=theirs[0])
        monkeypatch.setenv("BTRDB_CA_BUNDLE", str(theirs[0]))
        monkeypatch.setenv("PINGTHINGS_CLIENT_CERTIFICATE", str(mine[0]))
        monkeypatch.setenv("PINGTHINGS_CLIENT_KEY", str(mine[1]))
        with pt.connect(endpoint=url) as client:
            assert client.list_collections() == []
        other = certify(tmp_path, "other")
        with pytest.raises(ConnectionError):
            pt.connect(endpoint=url, client_certificate=other)
        with pytest.raises(BTRDBValueError, match="PEM"):
            pt.connect(endpoint=url, client_certificate=(mine[1], mine[1]))


def test_an_unknown_authority_is_named_with_what_to_do(tmp_path: Path):
    identity, stranger = certify(tmp_path, "theirs"), certify(tmp_path, "stranger")
    with Server(tls_certificate=identity[0], tls_key=identity[1]) as server:
        port = server.endpoint.rpartition(":")[2]
        for bundle, trusted in ((stranger[0], "given bundle"), (None, "of this system|ship with")):
            options: ConnectionOptions = {} if bundle is None else {"ca_bundle": bundle}
            with pytest.raises(ConnectionError, match=trusted) as raised:
                pt.connect(endpoint=f"https://localhost:{port}", **options)
            assert "BTRDB_CA_BUNDLE" in str(raised.value)
