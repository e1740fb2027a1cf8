"""The server that comes with the package: complete, single-node, offline, durable or in memory."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from weakref import WeakSet

from pingthings.timeseries import pyo3_client
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

__all__ = ["Server"]

_PORT_MAXIMUM = 65_535


class Server:
    """A server on threads of its own in this process, speaking the protocol of the platform.

    Use it in `with` (or `async with`), which starts it and stops it again, or call `start` and
    `stop`. It does not replicate: it is one node.

    Example:
        >>> with Server() as server, connect(server.endpoint) as client:
        ...     client.list_collections()
        []
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_keys: Sequence[str] = (),
        durability: str = "synced",
        arrow: bool = True,
    ) -> None:
        """Describes a server; nothing starts yet.

        Args:
            directory: Where the data live, made if it does not exist; None keeps them in memory,
                and they are gone when the server stops. One server per directory.
            host: IP address to listen on. Without API keys only this machine's own are allowed.
            port: Port to listen on; 0 takes a free one, which `endpoint` tells.
            api_keys: Keys to accept. Without any, everybody on this machine may do everything.
            durability: `synced` answers an insert when it is on disk; `relaxed` when it is in the
                log, so a crash of the machine, but not of the process, may lose the last moments.
            arrow: Whether to answer in Arrow; False acts like a server of before that, for tests of
                clients.
        """
        if not 0 <= port <= _PORT_MAXIMUM:
            raise BTRDBValueError(f"port {port} does not exist; give one of 0 to {_PORT_MAXIMUM}")
        if durability not in {"synced", "relaxed"}:
            raise BTRDBValueError(f"durability `{durability}`; give `synced` or `relaxed`")
        if isinstance(api_keys, str):
            raise BTRDBTypeError("`api_keys` is a sequence of keys; put a single one in a list")
        self._directory = None if directory is None else Path(directory)
        self._host = host
        self._port = port
        self._api_keys = tuple(api_keys)
        self._durability = durability
        self._arrow = arrow
        self._core: pyo3_client.Server | None = None

    def start(self) -> Self:
        """Starts it; calls are accepted when this returns.

        Raises:
            BTRDBServerError: The directory is in use or damaged, or the port is taken.
            BTRDBValueError: The host is no IP address.
        """
        if not self.is_running:
            self._core = pyo3_client.Server.start(
                directory=None if self._directory is None else str(self._directory),
                host=self._host,
                port=self._port,
                api_keys=self._api_keys,
                relaxed=self._durability == "relaxed",
                arrow=self._arrow,
            )
            _running.add(self)
        return self

    def stop(self) -> None:
        """Answers the calls it took, commits, and stops. Stopping twice is fine."""
        _running.discard(self)
        if self._core is not None:
            self._core.stop()

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._core is not None and self._core.is_running

    @property
    def endpoint(self) -> str:
        """Where it listens, as `host:port` for `connect`."""
        if self._core is None:
            raise BTRDBValueError("the server has not been started; use it in `with`")
        host = f"[{self._core.host}]" if ":" in self._core.host else self._core.host
        return f"{host}:{self._core.port}"

    @property
    def directory(self) -> Path | None:
        """Where the data live, or None if they are in memory."""
        return self._directory

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "in memory" if self._directory is None else f"on {str(self._directory)!r}"
        state = f"at {self.endpoint}" if self.is_running else "stopped"
        return f"<Server {where} {state}>"


_running: WeakSet[Server] = WeakSet()


@atexit.register
def _stop_all() -> None:
    """What was not stopped commits before the interpreter ends."""
    for server in list(_running):
        server.stop()
