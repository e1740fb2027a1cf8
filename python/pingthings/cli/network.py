"""The road to a server, looked at without our own client: addresses, TCP, TLS, HTTP/2."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Address",
    "Certificate",
    "NotHttp2Error",
    "Stores",
    "Target",
    "greet",
    "look_up",
    "proxies",
    "secure",
]

TIMEOUT_S = 5.0
_TLS_PORT = 4411
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER = 9
_SETTINGS = 4
_TLS_ALERT = 0x15
_SETTING_NAMES = {3: "streams at once", 4: "window", 5: "largest frame"}
_PROXY_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "GRPC_PROXY")


class NotHttp2Error(Exception):
    """What answers speaks something else; the message says what."""


@dataclass(frozen=True)
class Target:
    """What an endpoint says."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, endpoint: str) -> Target | None:
        """Returns the parts of an endpoint as the client reads them; None if it is none."""
        match = re.fullmatch(
            r"(?:(https?)://)?(?:\[([^\]]+)\]|([^:/\[\]]+)):(\d{1,5})/?", endpoint.strip()
        )
        if match is None:
            return None
        port = int(match[4])
        tls = match[1] == "https" or (match[1] is None and port == _TLS_PORT)
        return cls(match[2] or match[3], port, tls)

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        if self.host == "localhost":
            return True
        return self.is_literal and ipaddress.ip_address(self.host).is_loopback

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address and no name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Address:
    """One address of a name."""

    family: int
    where: Any

    @property
    def text(self) -> str:
        """The address alone."""
        return str(self.where[0])

    def connect(self) -> tuple[socket.socket, float]:
        """Returns a connection and the seconds that it took.

        Raises:
            OSError: Nobody answers.
        """
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT_S)
        begin = time.perf_counter()
        try:
            connection.connect(self.where)
        except OSError:
            connection.close()
            raise
        return connection, time.perf_counter() - begin


def look_up(target: Target) -> list[Address]:
    """Returns the addresses of a host.

    Raises:
        OSError: The name is unknown, or no name server answers.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    unique = {where[0]: Address(family, where) for family, _, _, _, where in found}
    return list(unique.values())


def proxies() -> dict[str, str]:
    """Returns the variables that name proxies, without passwords."""
    found: dict[str, str] = {}
    for name in _PROXY_NAMES:
        for variable in (name, name.lower()):
            value = os.environ.get(variable, "")
            if value:
                found[variable] = re.sub(r"//[^@/]*@", "//***@", value)
    return found


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

    def context(self) -> ssl.SSLContext:
        """Returns what trusts these authorities and no others.

        Raises:
            OSError: The bundle cannot be read, or holds no certificate.
        """
        context = ssl.create_default_context(cafile=self.bundle)
        context.set_alpn_protocols(["h2"])
        return context


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
    def untrusted(cls, target: Target, address: Address) -> Certificate | None:
        """Returns the certificate of a server whose authority is unknown, for a look at it.

        A second handshake trusts exactly the certificate that the first one brought: the standard
        library takes only trusted ones apart.
        """
        blind = ssl.create_default_context()
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
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


def secure(target: Target, address: Address, stores: Stores) -> ssl.SSLSocket:
    """Returns an encrypted connection to a server that proved who it is.

    Raises:
        ssl.SSLError: It did not.
        OSError: It does not answer.
    """
    return _secured(stores.context(), target, address)


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
