"""Clients as recipes: what travels to another process, and what is made of it there.

A recipe says where to connect and not as whom: the key is looked for at the other end, in its
environment or its credentials file, unless the client was connected with `pickle_key=True`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from pingthings.timeseries.exceptions import BTRDBTypeError

if TYPE_CHECKING:
    from pingthings.timeseries.async_client import AsyncClient
    from pingthings.timeseries.client import Client

__all__ = ["recipe", "reconnect", "refuse"]

Recipe = tuple[str | None, str, int, tuple[tuple[str, Any], ...]]

_MOST_CLIENTS = 16
_CLIENTS: dict[Recipe, Client] = {}
"""Clients of this process by their recipes: tasks that arrive one by one share a connection."""


def recipe(client: AsyncClient) -> Recipe:
    """Returns what it takes to connect again; a secret is in it only if that was asked for."""
    options: dict[str, Any] = dict(client._options)
    options["apikey"] = client._pickled_key
    options |= {"timeout": client.timeout, "deadline": client.deadline}
    if "@" in (options.get("proxy") or ""):
        # It holds a password; the other end has its own way out.
        del options["proxy"]
    given = sorted((name, value) for name, value in options.items() if value is not None)
    creds = client._creds
    return creds.get("profile"), creds["endpoint"], client.concurrency_limit, tuple(given)


def reconnect(recipe: Recipe, connect: Callable[..., Client]) -> Client:
    """Returns a client of this process for a recipe.

    Args:
        recipe: What `recipe` returned, here or in another process.
        connect: `Client.connect`.

    Raises:
        AuthenticationError: The key is not to be found here, or is another one.
        ConnectionError: The server cannot be reached from here.
    """
    profile, endpoint, concurrency_limit, options = recipe
    client = _CLIENTS.pop(recipe, None)
    if client is None or client._client._core.is_closed:
        given = None if profile is not None else endpoint
        others = dict(options)
        apikey = others.pop("apikey", None)
        client = connect(profile, given, apikey, concurrency_limit, **others)
    _CLIENTS[recipe] = client
    while len(_CLIENTS) > _MOST_CLIENTS:
        # Whoever still uses it keeps it.
        _CLIENTS.pop(next(iter(_CLIENTS)))
    return client


def refuse(name: str) -> NoReturn:
    """Refuses to pickle an asynchronous object."""
    raise BTRDBTypeError(
        f"`{name}` cannot be pickled, because connecting again has to be awaited: pickle its "
        f"synchronous twin `{name.removeprefix('Async')}`, or the uuids"
    )
