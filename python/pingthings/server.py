"""The server that comes with the package: complete, single-node, offline, durable or in memory."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from weakref import WeakSet

from pingthings.timeseries import pyo3_client
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError
from pingthings.timeseries.memory import as_bytes

__all__ = ["Fault", "Server"]

_PORT_MAXIMUM = 65_535
_LEAST_MEMORY = 1 << 20


@dataclass(frozen=True)
class Fault:
    """Something a `Server` does wrong on purpose, to test what a program does then.

    Make one by its name, for example `Fault.delay(0.5, calls=["Insert"], times=3)`. `calls` are
    names as in the contract (`proto/btrdb.proto`), none meaning all; `times` is how many calls it
    happens to, None meaning all.

    Examples:
        >>> from pingthings.server import Fault
        >>> with Server(fault=Fault.delay(0.01)) as server, connect(server.endpoint) as client:
        ...     client.list_collections()
        []
    """

    kind: str
    amount: float = 0.0
    calls: tuple[str, ...] = ()
    times: int | None = None

    @classmethod
    def delay(cls, seconds: float, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """The call is handled only after this time."""
        return cls("delay", seconds, tuple(calls), times)

    @classmethod
    def hang(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """The call is never handled nor answered."""
        return cls("hang", 0.0, tuple(calls), times)

    @classmethod
    def busy(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """The call is not handled, and answered with status 426."""
        return cls("busy", 0.0, tuple(calls), times)

    @classmethod
    def cut(
        cls, after_bytes: int = 0, *, calls: Sequence[str] = (), times: int | None = None
    ) -> Self:
        """The connection the call came by breaks once so many more bytes were sent on it."""
        return cls("cut", after_bytes, tuple(calls), times)

    @classmethod
    def go_away(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """All connections get HTTP/2 GOAWAY; calls under way are answered, this one included."""
        return cls("go_away", 0.0, tuple(calls), times)

    @classmethod
    def slow_reader(
        cls, bytes_per_second: int, *, calls: Sequence[str] = (), times: int | None = None
    ) -> Self:
        """The connection the call came by is read no faster than this from then on."""
        return cls("slow_reader", bytes_per_second, tuple(calls), times)

    @classmethod
    def restart(
        cls, down: float = 0.5, *, calls: Sequence[str] = (), times: int | None = 1
    ) -> Self:
        """All connections break, and connecting is refused for `down` seconds; data stay.

        It happens at one call unless `times` says otherwise, and that call is not handled.
        """
        return cls("restart", down, tuple(calls), times)

    def _parts(self) -> tuple[str, float, list[str], int | None]:
        return (self.kind, float(self.amount), list(self.calls), self.times)


class Server:
    """A server on threads of its own in this process, speaking the protocol of the platform.

    Use it in `with` (or `async with`), which starts it and stops it again, or call `start` and
    `stop`. It does not replicate: it is one node.

    Examples:
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
        keys: str | os.PathLike[str] | None = None,
        anonymous: str | None = None,
        tls_certificate: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        metrics: str | None = None,
        memory_limit: int | None = None,
        fault: Fault | None = None,
        durability: str = "synced",
        salvage: bool = False,
        arrow: bool = True,
        sql_statements: int = 4,
        sql_memory: int | str = "64 MiB",
    ) -> None:
        """Describes a server; nothing starts yet.

        Args:
            directory: Where the data live, made if it does not exist; None keeps them in memory,
                and they are gone when the server stops. One server per directory.
            host: IP address to listen on. Without API keys only this machine's own are allowed.
            port: Port to listen on; 0 takes a free one, which `endpoint` tells.
            api_keys: Keys that may do everything. Without these and `keys`, everybody on this
                machine may do everything.
            keys: File of hashed keys with roles, as `pingthings key add` writes it. What changes
                in it counts within a second.
            anonymous: Role of those who send no key, `read`, `write` or `admin`; None refuses them
                if there are keys.
            tls_certificate: File with the certificate chain, PEM; needs `tls_key`. A renewed one
                counts within a second, for new connections.
            tls_key: File with the private key of the certificate, PEM.
            metrics: `host:port` where Prometheus is answered by plain HTTP; port 0 takes a free
                one, which `metrics_endpoint` tells.
            memory_limit: Most bytes that requests on their way in and answers that were not taken
                may take; beyond it callers are told to try again later. One key, or one connection
                without a key, gets three quarters of it. None is 512 MiB.
            fault: Something to do wrong, for tests of clients.
            durability: `synced` answers an insert when it is on disk; `relaxed` when it is in the
                log, so a crash of the machine, but not of the process, may lose the last moments.
            salvage: Whether to open what is whole of a directory of which something is missing or
                damaged, and which is refused otherwise; `missing` says what.
            arrow: Whether to answer in Arrow; False acts like a server of before that, for tests of
                clients.
            sql_statements: SQL statements that run at the same time; more wait for their turn.
            sql_memory: What each of them may take, in bytes or as text like `64 MiB`; one that
                wants more is refused.
        """
        if not 0 <= port <= _PORT_MAXIMUM:
            raise BTRDBValueError(f"port {port} does not exist; give one of 0 to {_PORT_MAXIMUM}")
        if durability not in {"synced", "relaxed"}:
            raise BTRDBValueError(f"durability `{durability}`; give `synced` or `relaxed`")
        if isinstance(api_keys, str):
            raise BTRDBTypeError("`api_keys` is a sequence of keys; put a single one in a list")
        if (tls_certificate is None) != (tls_key is None):
            raise BTRDBValueError("`tls_certificate` and `tls_key` go together; give both")
        if memory_limit is not None and memory_limit < _LEAST_MEMORY:
            raise BTRDBValueError(f"a memory limit of {memory_limit} bytes; give 1 MiB at least")
        self._directory = None if directory is None else Path(directory)
        self._host = host
        self._port = port
        self._api_keys = tuple(api_keys)
        self._keys = keys
        self._anonymous = anonymous
        self._tls = None
        if tls_certificate is not None and tls_key is not None:
            self._tls = (os.fspath(tls_certificate), os.fspath(tls_key))
        self._metrics = metrics
        self._memory_limit = memory_limit
        self._fault = fault
        self._durability = durability
        self._salvage = salvage
        self._arrow = arrow
        if sql_statements < 1:
            raise BTRDBValueError(f"`sql_statements` is {sql_statements}; give 1 or more")
        self._sql = (sql_statements, as_bytes(sql_memory, "sql_memory"))
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
                key_file=None if self._keys is None else os.fspath(self._keys),
                anonymous=self._anonymous,
                tls=self._tls,
                relaxed=self._durability == "relaxed",
                salvage=self._salvage,
                arrow=self._arrow,
                metrics=self._metrics,
                memory_limit=self._memory_limit,
                fault=None if self._fault is None else self._fault._parts(),
                sql=self._sql,
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
    def metrics_endpoint(self) -> str | None:
        """Where Prometheus is answered, as `host:port`, or None if it is not."""
        return None if self._core is None else self._core.metrics

    @property
    def missing(self) -> list[str]:
        """What was missing from a directory opened with `salvage`, a sentence each."""
        return [] if self._core is None else self._core.missing

    @property
    def fault(self) -> Fault | None:
        """What it does wrong from now on; None is nothing. What was done to connections stays."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        if self._core is not None:
            self._core.set_fault(None if fault is None else fault._parts())
        self._fault = fault

    def go_away(self) -> None:
        """Sends HTTP/2 GOAWAY on all connections: calls under way are answered, no new ones."""
        if self._core is not None:
            self._core.go_away()

    def interrupt(self, down: float = 0.5) -> None:
        """Breaks all connections and refuses new ones for `down` seconds; the data stay."""
        if self._core is not None:
            self._core.interrupt(down)

    def reload(self) -> None:
        """Looks at `keys` and the certificate now, and not only within a second."""
        if self._core is not None:
            self._core.reload()

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
