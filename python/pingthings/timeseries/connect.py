"""The function that most scripts begin with."""

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
    """Returns a synchronous client that is connected; see `AsyncClient.connect` for the rest.

    Args:
        profile: Name of a profile of `~/.predictivegrid/credentials.yaml`. Something of the form
            `host:port` is taken as the endpoint.
        endpoint: Host and port, as in `grid.example.com:4411`; `BTRDB_ENDPOINTS` if left out.
        apikey: The API key; `BTRDB_API_KEY` if left out.
        concurrency_limit: Most requests in flight at once; `PINGTHINGS_CONCURRENCY_LIMIT` if left
            out, or else `constants.DEFAULT_CONCURRENCY_LIMIT`.
        **options: TLS, proxies, memory and time limits; see `settings.ConnectionOptions`.

    Raises:
        AuthenticationError: The server does not accept the key.
        ConnectionError: The server cannot be reached, or nothing says where it is.

    Examples:
        >>> with connect(endpoint, apikey=apikey) as client:
        ...     client.info()["major_version"]
        5
    """
    return Client.connect(profile, endpoint, apikey, concurrency_limit, **options)
