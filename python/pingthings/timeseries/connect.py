"""`connect`, with which most scripts begin."""

from __future__ import annotations

from typing import Unpack

from pingthings.timeseries.client import Client
from pingthings.timeseries.settings import ConnectionOptions

__all__ = ["connect"]


def connect(
    profile: str | None = None,
    endpoint: str | None = None,
    apikey: str | None = None,
    concurrency_limit: int | None = None,
    **options: Unpack[ConnectionOptions],
) -> Client:
    """Connects and returns a synchronous client; see `AsyncClient.connect` for details.

    Args:
        profile: Name of a profile in `~/.predictivegrid/credentials.yaml`. A value of the form
            `host:port` is used as the endpoint.
        endpoint: Host and port, as in `grid.example.com:4411`. Default: `BTRDB_ENDPOINTS`.
        apikey: The API key. Default: `BTRDB_API_KEY`.
        concurrency_limit: Maximum number of requests in flight. Default:
            `PINGTHINGS_CONCURRENCY_LIMIT`, or else `constants.DEFAULT_CONCURRENCY_LIMIT`.
        **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

    Raises:
        AuthenticationError: The server does not accept the key.
        ConnectionError: The server cannot be reached, or no endpoint is configured.

    Examples:
        >>> with connect(endpoint, apikey=apikey) as client:
        ...     client.info()["major_version"]
        5
    """
    return Client.connect(profile, endpoint, apikey, concurrency_limit, **options)
