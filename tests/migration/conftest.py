from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pingthings.server import Server
from resilience.conftest import script
from resilience.proxy import Proxy

__all__ = ["script"]  # a fixture of the tests of resilience, for these too

CERTIFICATE = Path(__file__).resolve().parents[2] / "rust/server/tests/wire/certificate"


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    """Stands before the server of all tests."""
    with Proxy(endpoint) as proxy:
        yield proxy


@pytest.fixture
def certificate() -> Path:
    """A certificate for `localhost` that no system trusts."""
    return CERTIFICATE / "certificate.pem"


@pytest.fixture
def secure_endpoint(certificate: Path, apikey: str) -> Iterator[str]:
    """Where a server with that certificate listens, as a URL."""
    server = Server(api_keys=[apikey], tls_certificate=certificate, tls_key=CERTIFICATE / "key.pem")
    with server:
        yield f"https://localhost:{server.endpoint.rpartition(':')[2]}"
