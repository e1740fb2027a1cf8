"""Collects the settings of a connection from arguments, environment and credentials file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from pingthings.timeseries import pyo3_client
from pingthings.timeseries.arguments import as_seconds, as_text
from pingthings.timeseries.credentials import resolve, resolve_concurrency_limit
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InsecureTransportWarning,
)
from pingthings.timeseries.memory import as_bytes, available

__all__ = ["ConnectionOptions", "Settings", "find_proxies", "warn_of_clear_text"]

CONNECT_TIMEOUT_S = 10.0
"""The time limit for connecting, in seconds."""

RETRY_FOR_S = 10.0
"""How long failed calls are retried, in seconds."""

_MOST_SECONDS = 86_400.0
_SHARE_OF_MEMORY = 4
_PROXY_NAMES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


class ConnectionOptions(TypedDict, total=False):
    """Options of a connection, given as keyword arguments.

    Most of them can also be set in the environment, for programs that cannot be changed.
    """

    tls: bool
    """Whether to use TLS, whatever the port and scheme are."""
    require_tls: bool
    """Whether to refuse to send a key to another machine in clear text. Default:
    `PINGTHINGS_REQUIRE_TLS`."""
    ca_bundle: str | os.PathLike[str]
    """PEM file with the only authorities to trust. Default: `BTRDB_CA_BUNDLE`, or else those of the
    system."""
    client_certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]]
    """PEM files of a certificate and its key, for servers that require one. Default:
    `PINGTHINGS_CLIENT_CERTIFICATE` and `PINGTHINGS_CLIENT_KEY`."""
    proxy: str
    """URL of an HTTP proxy, as in `http://user:password@proxy:3128`; `""` means none. Default:
    `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. This machine is always reached
    directly."""
    memory_limit: int | str
    """Maximum memory of answers that are received and not yet returned, as in `2 GiB`. Default:
    `PINGTHINGS_MEMORY_LIMIT`, or else a quarter of the machine's memory."""
    timeout: float | None
    """Seconds for which the server may be silent during a call; see `timeout` of the client."""
    deadline: float | None
    """Seconds that a complete call may take; see `deadline` of the client."""
    connect_timeout: float
    """Seconds that connecting may take. Default: 10."""
    retry_for: float
    """Seconds for which failed calls are retried, 0 for no retries. Default:
    `PINGTHINGS_RETRY_SECONDS`, or else 10."""
    pickle_key: bool
    """Whether the key is part of a pickled client. By default it is not, and the process that
    unpickles the client provides it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a connection. The repr never shows a secret."""

    endpoint: str
    apikey: str | None = field(repr=False)
    profile: str | None
    concurrency_limit: int
    tls: bool | None
    require_tls: bool
    ca_bundle: bytes | None = field(repr=False)
    identity: tuple[bytes, bytes] | None = field(repr=False)
    proxies: tuple[str, str, str, str] = field(repr=False)
    memory_limit: int
    timeout_s: float | None
    deadline_s: float | None
    connect_timeout_s: float
    retry_for_s: float
    pickle_key: bool

    @classmethod
    def find(
        cls,
        profile: str | None,
        endpoint: str | None,
        apikey: str | None,
        concurrency_limit: int | None,
        options: ConnectionOptions,
    ) -> Settings:
        """Determines the settings from arguments, environment and credentials file."""
        _check_names(options)
        environ = os.environ
        credentials = resolve(profile, endpoint, apikey, environ)
        return cls(
            endpoint=credentials.endpoint,
            apikey=credentials.apikey,
            profile=credentials.profile,
            concurrency_limit=resolve_concurrency_limit(concurrency_limit, environ),
            tls=_flag(options, "tls"),
            require_tls=_require_tls(options, environ),
            ca_bundle=_ca_bundle(options, environ),
            identity=_identity(options, environ),
            proxies=find_proxies(options, environ),
            memory_limit=_memory_limit(options, environ),
            timeout_s=as_seconds(options.get("timeout"), "timeout"),
            deadline_s=as_seconds(options.get("deadline"), "deadline"),
            connect_timeout_s=as_seconds(options.get("connect_timeout"), "connect_timeout")
            or CONNECT_TIMEOUT_S,
            retry_for_s=_retry_for_s(options, environ),
            pickle_key=_flag(options, "pickle_key") or False,
        )

    async def connect(self, *, blocking: bool) -> pyo3_client.Client:
        """Connects and returns the core.

        Args:
            blocking: Whether connecting and all later calls block until they are done.
        """
        return await pyo3_client.connect(
            self.endpoints,
            apikey=self.apikey,
            tls=self.tls,
            require_tls=self.require_tls,
            ca_bundle=self.ca_bundle,
            identity=self.identity,
            proxies=self.proxies,
            concurrency_limit=self.concurrency_limit,
            memory_limit=self.memory_limit,
            connect_timeout_s=self.connect_timeout_s,
            retry_for_s=self.retry_for_s,
            blocking=blocking,
        )

    @property
    def endpoints(self) -> list[str]:
        """The endpoints, the preferred one first."""
        return [endpoint.strip() for endpoint in self.endpoint.split(",") if endpoint.strip()]


def _check_names(options: ConnectionOptions) -> None:
    known = ConnectionOptions.__annotations__
    for name in options:
        if name not in known:
            raise BTRDBTypeError(
                f"`{name}` is not a connection option; the options are {', '.join(known)}"
            )


def _flag(options: ConnectionOptions, name: str) -> bool | None:
    value: object = options.get(name)
    if value is not None and not isinstance(value, bool):
        raise BTRDBTypeError(f"`{name}` is True or False, not a `{type(value).__name__}`")
    return value


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    if not isinstance(path, str | os.PathLike):
        raise BTRDBTypeError(f"`{name}` is a path, not a `{type(path).__name__}`")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BTRDBValueError(
            f"{name} names `{path}`, which cannot be read: {error.strerror}"
        ) from error


def _ca_bundle(options: ConnectionOptions, environ: Mapping[str, str]) -> bytes | None:
    given = options.get("ca_bundle")
    if given is not None:
        return _read(given, "ca_bundle")
    path = environ.get("BTRDB_CA_BUNDLE", "").strip()
    return _read(path, "BTRDB_CA_BUNDLE") if path else None


def _identity(options: ConnectionOptions, environ: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    names = ("PINGTHINGS_CLIENT_CERTIFICATE", "PINGTHINGS_CLIENT_KEY")
    given = options.get("client_certificate")
    if given is not None:
        try:
            certificate, key = given
        except (TypeError, ValueError):
            raise BTRDBTypeError(
                "`client_certificate` must be a pair of paths, of a certificate and its key"
            ) from None
        return _read(certificate, "client_certificate"), _read(key, "client_certificate")
    paths = [environ.get(name, "").strip() for name in names]
    if not any(paths):
        return None
    if not all(paths):
        raise BTRDBValueError(f"{names[0]} and {names[1]} belong together; set both or none")
    return _read(paths[0], names[0]), _read(paths[1], names[1])


def find_proxies(
    options: ConnectionOptions, environ: Mapping[str, str]
) -> tuple[str, str, str, str]:
    """Returns the proxies for TLS, without TLS, for both, and what to reach without one."""
    given = options.get("proxy")
    if given is not None:
        return "", "", as_text(given, "proxy").strip(), ""
    https, http, both, none = (
        (environ.get(name) or environ.get(name.upper()) or "").strip() for name in _PROXY_NAMES
    )
    return https, http, both, none


def _memory_limit(options: ConnectionOptions, environ: Mapping[str, str]) -> int:
    given = options.get("memory_limit")
    if given is not None:
        return as_bytes(given, "memory_limit")
    text = environ.get("PINGTHINGS_MEMORY_LIMIT", "").strip()
    return as_bytes(text, "PINGTHINGS_MEMORY_LIMIT") if text else available() // _SHARE_OF_MEMORY


def _require_tls(options: ConnectionOptions, environ: Mapping[str, str]) -> bool:
    given = _flag(options, "require_tls")
    if given is not None:
        return given
    value = environ.get("PINGTHINGS_REQUIRE_TLS", "").strip().lower()
    if value in {"", "0", "false", "no"}:
        return False
    if value in {"1", "true", "yes"}:
        return True
    raise BTRDBValueError(f"PINGTHINGS_REQUIRE_TLS is `{value}`; set it to 1 or 0")


def _retry_for_s(options: ConnectionOptions, environ: Mapping[str, str]) -> float:
    given: object = options.get("retry_for")
    name = "PINGTHINGS_RETRY_SECONDS" if given is None else "retry_for"
    value: object = environ.get(name, "").strip() or RETRY_FOR_S if given is None else given
    try:
        seconds = float(value) if isinstance(value, int | float | str) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST_SECONDS:
        raise BTRDBValueError(
            f"{name} is `{value}`; set it to a number of seconds, 0 for no retries"
        )
    return seconds


def warn_of_clear_text(endpoint: str) -> None:
    """Warns that the key leaves this machine unencrypted."""
    warnings.warn(
        f"the API key is sent to `{endpoint}` in clear text; use TLS (port 4411 or an https:// "
        "endpoint), or set PINGTHINGS_REQUIRE_TLS=1 to make this an error",
        InsecureTransportWarning,
        stacklevel=3,
    )
