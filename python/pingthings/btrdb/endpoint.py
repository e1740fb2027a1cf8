"""What stood between the older client and its wire."""

from __future__ import annotations

from typing import Any, NoReturn

from pingthings.timeseries import Client

__all__ = ["Endpoint"]


class Endpoint:
    """The connection of a `BTrDB`, which makes its calls in Rust.

    It has none of the methods that the older one had for each call of the protocol; see
    `docs/migrating-from-btrdb.md` for what takes their place.

    Args:
        channel: A client; `Connection.channel` is one.
    """

    def __init__(self, channel: Client) -> None:
        self._client = channel

    @property
    def client(self) -> Client:
        """The client of `pingthings.timeseries` over the same connection."""
        return self._client

    def info(self) -> dict[Any, Any]:
        """Returns who the server is; see `pingthings.timeseries.Client.info`."""
        return self._client.info()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"`Endpoint.{name}` is not here: calls of the protocol are made in Rust. The methods "
            "of `BTrDB`, `Stream` and `endpoint.client` cover them"
        )
