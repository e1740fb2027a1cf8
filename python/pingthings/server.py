"""The embedded server: complete, single-node, durable or in memory."""

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
    """A failure that a `Server` simulates, to test how a program handles it.

    Create one with a class method, for example `Fault.delay(0.5, calls=["Insert"], times=3)`.
    `calls` are method names of the contract (`proto/btrdb.proto`), and an empty sequence means all;
    `times` is the number of calls that fail, None means all.

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
        """The server handles the call only after this time."""
        return cls("delay", seconds, tuple(calls), times)

    @classmethod
    def hang(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """The server neither handles nor answers the call."""
        return cls("hang", 0.0, tuple(calls), times)

    @classmethod
    def busy(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """The server answers with status 426 without handling the call."""
        return cls("busy", 0.0, tuple(calls), times)

    @classmethod
    def cut(
        cls, after_bytes: int = 0, *, calls: Sequence[str] = (), times: int | None = None
    ) -> Self:
        """The connection of the call breaks after this many more bytes were sent on it."""
        return cls("cut", after_bytes, tuple(calls), times)

    @classmethod
    def go_away(cls, *, calls: Sequence[str] = (), times: int | None = None) -> Self:
        """All connections get HTTP/2 GOAWAY; calls in progress are answered, including this one."""
        return cls("go_away", 0.0, tuple(calls), times)

    @classmethod
    def slow_reader(
        cls, bytes_per_second: int, *, calls: Sequence[str] = (), times: int | None = None
    ) -> Self:
        """The server reads the connection of the call no faster than this from then on."""
        return cls("slow_reader", bytes_per_second, tuple(calls), times)

    @classmethod
    def restart(
        cls, down: float = 0.5, *, calls: Sequence[str] = (), times: int | None = 1
    ) -> Self:
        """All connections break and new ones are refused for `down` seconds; the data stay.

        By default this happens once (`times=1`). The call that triggers it is not handled.
        """
        return cls("restart", down, tuple(calls), times)

    def _parts(self) -> tuple[str, float, list[str], int | None]:
        return (self.kind, float(self.amount), list(self.calls), self.times)


class Server:
    """A server on separate threads of this process, with the protocol of the platform.

    Use it in a `with` or `async with` statement, which starts and stops it, or call `start` and
    `stop`. It is a single node without replication.

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
        """Configures a server; `start` starts it.

        Args:
            directory: Data directory, created if it does not exist; None keeps the data in memory
                until the server stops. Only one server can open a directory.
            host: IP address to listen on. Without API keys it must be a loopback address.
            port: Port to listen on; 0 selects a free one, see `endpoint`.
            api_keys: Keys with the role `admin`. Without these and `keys`, everyone on this machine
                may do everything.
            keys: File of hashed keys with roles, as written by `pingthings key add`. Changes to it
                take effect within a second.
            anonymous: Role of callers without a key: `read`, `write` or `admin`. None refuses them
                if there are keys.
            tls_certificate: File with the certificate chain, PEM; needs `tls_key`. A renewed
                certificate takes effect within a second, for new connections.
            tls_key: File with the private key of the certificate, PEM.
            metrics: `host:port` for Prometheus metrics over plain HTTP; port 0 selects a free one,
                see `metrics_endpoint`.
            memory_limit: Maximum bytes of arriving requests and of answers that clients have not
                read; beyond it callers are told to try again later. One key, or one connection
                without a key, gets at most three quarters of it. None is 512 MiB.
            fault: A failure to simulate, for tests of clients.
            durability: `synced` acknowledges an insert when it is on disk; `relaxed` when it is
                written to the log, so a crash of the machine (not of the process) may lose the
                most recent inserts.
            salvage: Whether to open the intact part of a directory in which something is missing
                or damaged. Otherwise such a directory is refused. `missing` says what is missing.
            arrow: Whether to answer in Arrow; False acts like an older server, for tests of
                clients.
            sql_statements: Number of SQL statements that run at the same time; others wait.
            sql_memory: Memory of each SQL statement, in bytes or as text such as `64 MiB`; a
                statement that needs more is refused.
        """
        if not 0 <= port <= _PORT_MAXIMUM:
            raise BTRDBValueError(f"port {port} does not exist; give one of 0 to {_PORT_MAXIMUM}")
        if durability not in {"synced", "relaxed"}:
            raise BTRDBValueError(
                f"durability `{durability}` does not exist; give `synced` or `relaxed`"
            )
        if isinstance(api_keys, str):
            raise BTRDBTypeError("`api_keys` is a string; give a list of keys")
        if (tls_certificate is None) != (tls_key is None):
            raise BTRDBValueError("`tls_certificate` and `tls_key` belong together; give both")
        if memory_limit is not None and memory_limit < _LEAST_MEMORY:
            raise BTRDBValueError(
                f"a memory limit of {memory_limit} bytes is too small; give at least 1 MiB"
            )
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
        """Starts the server; it accepts calls when this returns.

        Raises:
            BTRDBServerError: The directory is in use or damaged, or the port is in use.
            BTRDBValueError: The host is not an IP address.
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
        """Finishes the calls in progress, commits and stops. Stopping twice is allowed."""
        _running.discard(self)
        if self._core is not None:
            self._core.stop()

    @property
    def is_running(self) -> bool:
        """Whether the server has been started and not stopped."""
        return self._core is not None and self._core.is_running

    @property
    def endpoint(self) -> str:
        """The address of the server, as `host:port` for `connect`."""
        if self._core is None:
            raise BTRDBValueError("the server has not been started; use it in a `with` statement")
        host = f"[{self._core.host}]" if ":" in self._core.host else self._core.host
        return f"{host}:{self._core.port}"

    @property
    def metrics_endpoint(self) -> str | None:
        """The address of the Prometheus metrics, as `host:port`, or None."""
        return None if self._core is None else self._core.metrics

    @property
    def missing(self) -> list[str]:
        """What was missing from a directory opened with `salvage`, one sentence each."""
        return [] if self._core is None else self._core.missing

    @property
    def fault(self) -> Fault | None:
        """The simulated failure, or None. Effects on existing connections stay."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        if self._core is not None:
            self._core.set_fault(None if fault is None else fault._parts())
        self._fault = fault

    def go_away(self) -> None:
        """Sends HTTP/2 GOAWAY on all connections: calls in progress are answered, new ones not."""
        if self._core is not None:
            self._core.go_away()

    def interrupt(self, down: float = 0.5) -> None:
        """Breaks all connections and refuses new ones for `down` seconds; the data stay."""
        if self._core is not None:
            self._core.interrupt(down)

    def reload(self) -> None:
        """Reads `keys` and the certificate again now instead of within a second."""
        if self._core is not None:
            self._core.reload()

    @property
    def directory(self) -> Path | None:
        """The data directory, or None if the data are in memory."""
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
    """Stops running servers before the interpreter ends, so that they commit."""
    for server in list(_running):
        server.stop()
