"""The road to a server, step by step: addresses, TCP, TLS, HTTP/2.

What an endpoint means and which proxy leads to it says the core of the client. TLS and HTTP/2 are
looked at with the standard library, since the core says of a handshake whether it failed, and not
what was seen in it: whose certificate it was, until when it holds, what the server would speak.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pingthings.timeseries import pyo3_client
from pingthings.timeseries.settings import find_proxies

__all__ = [
    "Address",
    "Certificate",
    "Identity",
    "NotHttp2Error",
    "Proxy",
    "Stores",
    "Target",
    "greet",
    "look_up",
    "secure",
]

TIMEOUT_S = 5.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER = 9
_SETTINGS = 4
_TLS_ALERT = 0x15
_SETTING_NAMES = {3: "streams at once", 4: "window", 5: "largest frame"}


class NotHttp2Error(Exception):
    """What answers speaks something else; the message says what."""


@dataclass(frozen=True)
class Target:
    """What an endpoint says."""

    host: str
    port: int
    tls: bool
    is_loopback: bool
    """Whether it is on this machine."""

    @classmethod
    def parse(cls, endpoint: str) -> Target:
        """Returns the parts of an endpoint, which the client's core takes apart.

        Raises:
            BTRDBValueError: It is none.
        """
        host, port, tls, is_loopback, _ = pyo3_client.route(endpoint, ("", "", "", ""))
        return cls(host, port, tls, is_loopback)


@dataclass(frozen=True)
class Proxy:
    """What is asked for a tunnel to a server, by HTTP CONNECT."""

    variable: str
    host: str
    port: int
    authorization: str | None

    @classmethod
    def find(cls, endpoint: str) -> Proxy | None:
        """Returns the proxy over which the client's core reaches an endpoint.

        Raises:
            BTRDBValueError: What the environment names is no proxy.
        """
        found = pyo3_client.route(endpoint, find_proxies({}, os.environ))
        tls, proxy = found[2], found[4]
        if proxy is None:
            return None
        names = ("https_proxy" if tls else "http_proxy", "all_proxy")
        variables = (variable for name in names for variable in (name, name.upper()))
        return cls(next(name for name in variables if os.environ.get(name, "").strip()), *proxy)

    def ask(self, connection: socket.socket, target: Target) -> None:
        """Asks for a tunnel.

        Raises:
            OSError: The proxy refuses.
        """
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (fresh := connection.recv(1)):
            answer += fresh
        status = answer.partition(b"\r\n")[0].decode(errors="replace")
        if " 200" not in status:
            raise OSError(f"the proxy answers `{status}`")


@dataclass(frozen=True)
class Address:
    """One address of a server, or of the proxy before it."""

    family: int
    where: Any
    target: Target
    proxy: Proxy | None

    @property
    def text(self) -> str:
        """The address and the port."""
        return f"{self.where[0]} port {self.where[1]}"

    def connect(self) -> tuple[socket.socket, float]:
        """Returns a connection to the server and the seconds that it took.

        Raises:
            OSError: Nobody answers.
        """
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT_S)
        begin = time.perf_counter()
        try:
            connection.connect(self.where)
            if self.proxy is not None:
                self.proxy.ask(connection, self.target)
        except OSError:
            connection.close()
            raise
        return connection, time.perf_counter() - begin


def look_up(target: Target, proxy: Proxy | None) -> list[Address]:
    """Returns the addresses of a server, or of the proxy before it.

    Raises:
        OSError: The name is unknown, or no name server answers.
    """
    host, port = (target.host, target.port) if proxy is None else (proxy.host, proxy.port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    unique = {where[0]: Address(family, where, target, proxy) for family, _, _, _, where in found}
    return list(unique.values())


@dataclass(frozen=True)
class Stores:
    """Where authorities are looked for."""

    bundle: str | None

    @classmethod
    def find(cls) -> Stores:
        """Returns what the environment says."""
        return cls(os.environ.get("BTRDB_CA_BUNDLE", "").strip() or None)

    @property
    def text(self) -> str:
        """In words."""
        if self.bundle is not None:
            return f"BTRDB_CA_BUNDLE, `{self.bundle}`"
        paths = ssl.get_default_verify_paths()
        places = [place for place in (paths.cafile, paths.capath) if place]
        return f"this system's, {' and '.join(f'`{place}`' for place in places) or 'none found'}"

    def context(self, identity: Identity | None) -> ssl.SSLContext:
        """Returns what trusts these authorities and no others, and proves who asks.

        Raises:
            OSError: The bundle cannot be read, or holds no certificate.
        """
        context = ssl.create_default_context(cafile=self.bundle)
        context.set_alpn_protocols(["h2"])
        if identity is not None:
            identity.load_into(context)
        return context


@dataclass(frozen=True)
class Identity:
    """The files that this client proves itself with."""

    certificate: str
    key: str

    @classmethod
    def find(cls) -> Identity | None:
        """Returns what the environment names, as the client reads it.

        Raises:
            ValueError: It names one file of the two.
        """
        names = ("PINGTHINGS_CLIENT_CERTIFICATE", "PINGTHINGS_CLIENT_KEY")
        certificate, key = (os.environ.get(name, "").strip() for name in names)
        if not certificate and not key:
            return None
        if not certificate or not key:
            raise ValueError(f"{names[0]} and {names[1]} belong together; one is not set")
        return cls(certificate, key)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Has a side of TLS prove itself with it.

        Raises:
            OSError: A file cannot be read, or holds nothing of use; or the key belongs to another
                certificate.
        """
        # Who is asked for the password of a key waits for ever where nobody types.
        context.load_cert_chain(self.certificate, self.key, password="")

    def read(self) -> Certificate:
        """Returns what the certificate says, as a server would see it.

        The standard library takes certificates apart only in a handshake, so there is one, with
        nobody but this process.

        Raises:
            OSError: It is of no use; the message says why.
        """
        asking, asked = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
        for context in (asking, asked):
            self.load_into(context)
        asked.load_verify_locations(self.certificate)
        asked.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        asked.verify_mode = ssl.CERT_REQUIRED
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = asking.wrap_bio(back, there)
        server = asked.wrap_bio(there, back, server_side=True)
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        client.do_handshake()
        server.do_handshake()
        return Certificate.of(server.getpeercert())


@dataclass(frozen=True)
class Certificate:
    """What a server proves itself with."""

    subject: str
    issuer: str
    names: list[str]
    expires: float

    @classmethod
    def of(cls, found: Any) -> Certificate:
        """Returns the parts that matter of what `getpeercert` gives."""
        return cls(
            _name(found["subject"]),
            _name(found["issuer"]),
            [value for _kind, value in found.get("subjectAltName", ())],
            ssl.cert_time_to_seconds(found["notAfter"]),
        )

    @classmethod
    def untrusted(
        cls, target: Target, address: Address, identity: Identity | None
    ) -> Certificate | None:
        """Returns the certificate of a server whose authority is unknown, for a look at it.

        A second handshake trusts exactly the certificate that the first one brought: the standard
        library takes only trusted ones apart.
        """
        blind = ssl.create_default_context()
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        if identity is not None:
            identity.load_into(blind)
        try:
            with _secured(blind, target, address) as first:
                leaf = first.getpeercert(binary_form=True)
            if leaf is None:
                return None
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "leaf.pem"
                file.write_text(ssl.DER_cert_to_PEM_cert(leaf), encoding="ascii")
                context = ssl.create_default_context(cafile=str(file))
            context.check_hostname = False
            if identity is not None:
                identity.load_into(context)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            with _secured(context, target, address) as second:
                return cls.of(second.getpeercert())
        except (OSError, ValueError):  # expired ones are trusted by nobody
            return None


def _name(parts: Any) -> str:
    return ", ".join(f"{key}={value}" for part in parts for key, value in part)


def _secured(context: ssl.SSLContext, target: Target, address: Address) -> ssl.SSLSocket:
    plain, _seconds = address.connect()
    try:
        return context.wrap_socket(plain, server_hostname=target.host)
    except BaseException:
        plain.close()
        raise


def secure(
    target: Target, address: Address, stores: Stores, identity: Identity | None
) -> ssl.SSLSocket:
    """Returns an encrypted connection to a server that proved who it is.

    Raises:
        ssl.SSLError: It did not.
        OSError: It does not answer.
    """
    return _secured(stores.context(identity), target, address)


def greet(connection: socket.socket) -> dict[str, int]:
    """Begins to speak HTTP/2 and returns the settings that the server answers with.

    Raises:
        NotHttp2Error: It answers something else.
        OSError: It does not answer.
    """
    connection.sendall(_PREFACE + _EMPTY_SETTINGS)
    header = _receive(connection, _FRAME_HEADER)
    if header[:5] == b"HTTP/":
        raise NotHttp2Error("an HTTP/1 server or proxy answers")
    if header[:1] == bytes([_TLS_ALERT]):
        raise NotHttp2Error("it speaks TLS")
    if len(header) < _FRAME_HEADER or header[3] != _SETTINGS:
        raise NotHttp2Error("it closes the connection" if not header else "it answers otherwise")
    payload = _receive(connection, int.from_bytes(header[:3]))
    pairs = [payload[place : place + 6] for place in range(0, len(payload), 6)]
    settings = {int.from_bytes(pair[:2]): int.from_bytes(pair[2:]) for pair in pairs}
    return {name: settings[key] for key, name in _SETTING_NAMES.items() if key in settings}


def _receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (fresh := connection.recv(count - len(found))):
        found += fresh
    return found
