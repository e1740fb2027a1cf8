"""What a connection needs to know, from arguments, the environment and the credentials file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pingthings.timeseries.credentials import resolve, resolve_concurrency_limit
from pingthings.timeseries.exceptions import BTRDBValueError, InsecureTransportWarning

__all__ = ["Settings", "warn_of_clear_text"]

CONNECT_TIMEOUT_S = 10.0
"""How long connecting may take, in seconds."""


RETRY_FOR_S = 10.0
"""For how long calls that failed on the way are repeated, in seconds."""

_MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to connect, as whom, within which limits. Its repr never shows the key."""

    endpoint: str
    apikey: str | None = field(repr=False)
    profile: str | None
    concurrency_limit: int
    ca_bundle: bytes | None = field(repr=False)
    require_tls: bool
    retry_for_s: float

    @classmethod
    def find(
        cls,
        profile: str | None,
        endpoint: str | None,
        apikey: str | None,
        concurrency_limit: int | None,
    ) -> Settings:
        """Returns the settings that arguments, environment and file amount to."""
        environ = os.environ
        credentials = resolve(profile, endpoint, apikey, environ)
        return cls(
            endpoint=credentials.endpoint,
            apikey=credentials.apikey,
            profile=credentials.profile,
            concurrency_limit=resolve_concurrency_limit(concurrency_limit, environ),
            ca_bundle=_ca_bundle(environ),
            require_tls=_require_tls(environ),
            retry_for_s=_retry_for_s(environ),
        )


def _ca_bundle(environ: Mapping[str, str]) -> bytes | None:
    path = environ.get("BTRDB_CA_BUNDLE", "").strip()
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BTRDBValueError(
            f"BTRDB_CA_BUNDLE names `{path}`, which cannot be read: {error.strerror}"
        ) from error


def _require_tls(environ: Mapping[str, str]) -> bool:
    value = environ.get("PINGTHINGS_REQUIRE_TLS", "").strip().lower()
    if value in {"", "0", "false", "no"}:
        return False
    if value in {"1", "true", "yes"}:
        return True
    raise BTRDBValueError(f"PINGTHINGS_REQUIRE_TLS is `{value}`; set it to 1 or 0")


def _retry_for_s(environ: Mapping[str, str]) -> float:
    text = environ.get("PINGTHINGS_RETRY_SECONDS", "").strip()
    if not text:
        return RETRY_FOR_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST_SECONDS:
        raise BTRDBValueError(
            f"PINGTHINGS_RETRY_SECONDS is `{text}`; set it to a number of seconds, 0 for no retries"
        )
    return seconds


def warn_of_clear_text(endpoint: str) -> None:
    """Says once for each place in the code that a key leaves the machine unencrypted."""
    warnings.warn(
        f"the API key goes to `{endpoint}` in clear text; use TLS (port 4411 or an https:// "
        "endpoint), or set PINGTHINGS_REQUIRE_TLS=1 to make this an error",
        InsecureTransportWarning,
        stacklevel=3,
    )
