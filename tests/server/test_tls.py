"""Proof of identity: handshakes, and certificates that are renewed while the server runs."""

import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import BTrDBError, BTRDBValueError

Until = Callable[[Callable[[], bool]], None]


def handshake(endpoint: str, trusted: Path) -> dict[str, Any]:
    """The name in the certificate that the server proves itself with."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.set_alpn_protocols(["h2"])
    host, port = endpoint.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        assert secured.version() == "TLSv1.3"
        found = secured.getpeercert()
    assert found is not None
    return {key: value for ((key, value),) in found["subject"]}  # type: ignore[misc, str-unpack]


def test_handshake_and_renewal(certificates: Path, tmp_path: Path, until: Until):
    names = ("certificate", "key")
    files = [tmp_path / f"{name}.pem" for name in names]
    trusted = {name: certificates / f"{name}.certificate.pem" for name in ("first", "second")}

    def install(which: str) -> None:
        for name, file in zip(names, files, strict=True):
            shutil.copy(certificates / f"{which}.{name}.pem", file)

    install("first")
    with Server(tls_certificate=files[0], tls_key=files[1]) as server:
        assert handshake(server.endpoint, trusted["first"]) == {"commonName": "first"}
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server.endpoint, trusted["second"])
        # A key that does not belong to the certificate changes nothing.
        shutil.copy(certificates / "second.key.pem", files[1])
        server.reload()
        assert handshake(server.endpoint, trusted["first"]) == {"commonName": "first"}
        install("second")

        def is_renewed() -> bool:
            try:
                return handshake(server.endpoint, trusted["second"]) == {"commonName": "second"}
            except ssl.SSLCertVerificationError:
                return False

        until(is_renewed)


def test_a_client_over_tls(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Any]
):
    certificate = certificates / "first.certificate.pem"
    monkeypatch.setenv("BTRDB_CA_BUNDLE", str(certificate))
    key = certificates / "first.key.pem"
    served = serve("--tls-certificate", str(certificate), "--tls-key", str(key), keys="secret")
    port = served.endpoint.rsplit(":", 1)[1]
    with pt.connect(endpoint=f"https://localhost:{port}", apikey="secret") as client:
        stream = client.create(uuid4(), "kept", {"name": "x"})
        stream.insert([(1, 1.0)])
        assert stream.latest() == (1, 1.0)
    with pytest.raises(BTrDBError):
        pt.connect(endpoint=f"localhost:{port}", apikey="secret")
    assert served.stop() == 0


def test_half_an_identity_is_refused(certificates: Path, tmp_path: Path):
    key = certificates / "first.key.pem"
    with pytest.raises(BTRDBValueError, match="tls_certificate"):
        Server(tls_key=key)
    with pytest.raises(BTrDBError, match="nowhere"):
        Server(tls_certificate=tmp_path / "nowhere", tls_key=key).start()
    second = certificates / "second.certificate.pem"
    with pytest.raises(BTrDBError, match="TLS"):
        Server(tls_certificate=second, tls_key=key).start()
