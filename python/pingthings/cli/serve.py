"""`pingthings serve`: runs the server in the package."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Annotated, Literal

import typer

from pingthings.cli.key import Role
from pingthings.server import Server
from pingthings.timeseries import pyo3_client
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "serve"]

EXAMPLES = """
Examples:
  pingthings serve                         data in memory, lost at the end
  pingthings serve ./grid-data             data in a directory
  pingthings key add keys --name me --role admin
  pingthings serve ./grid-data --host 0.0.0.0 --keys keys

Then, in Python:
  import pingthings.timeseries as pt
  client = pt.connect(endpoint="127.0.0.1:4410")
"""

_FILES_WANTED = 16_384
_STOPPED_AT_ONCE = 130
# Windows has no hangup.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)


def serve(
    directory: Annotated[
        str | None,
        typer.Argument(help="The data directory; without it the data are in memory."),
    ] = None,
    host: Annotated[str, typer.Option(help="IP address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 selects a free one.")] = 4410,
    durability: Annotated[
        Literal["synced", "relaxed"],
        typer.Option(
            help="When an insert is acknowledged: once it is on disk, or once it is in the log."
        ),
    ] = "synced",
    salvage: Annotated[
        bool,
        typer.Option(
            "--salvage",
            help="Open the intact part of a damaged directory, and say what is missing.",
        ),
    ] = False,
    no_arrow: Annotated[
        bool, typer.Option("--no-arrow", help="Answer without Arrow, like old servers.")
    ] = False,
    api_keys_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with one API key per line; these keys may do everything. Default: the keys "
            "in PINGTHINGS_SERVER_KEYS, separated by commas. Without any key, everyone on this "
            "machine may connect.",
        ),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="File of hashed keys with roles, see `pingthings key --help`."
        ),
    ] = None,
    anonymous: Annotated[
        Role | None, typer.Option(help="Role of callers without a key. Default: none.")
    ] = None,
    tls_certificate: Annotated[
        str | None, typer.Option(metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Private key of the certificate, PEM.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve Prometheus metrics here, over plain HTTP."),
    ] = None,
    sql_statements: Annotated[
        int, typer.Option(help="Number of SQL statements that run at the same time.")
    ] = 4,
    sql_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Maximum memory of each SQL statement.")
    ] = "64 MiB",
    memory_limit: Annotated[
        int | None,
        typer.Option(
            metavar="MIB",
            min=1,
            help="Maximum MiB of arriving requests and unread answers. Default: 512.",
        ),
    ] = None,
    log_level: Annotated[
        Literal["error", "warn", "info", "debug", "trace"],
        typer.Option(help="Level of the log on standard error."),
    ] = "warn",
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="Format of the log.")
    ] = "text",
) -> None:
    """Run the server in the package until Ctrl-C.

    It is a single node and speaks the platform's protocol.
    """
    server = Server(
        directory,
        host=host,
        port=port,
        api_keys=_api_keys(api_keys_file),
        keys=keys,
        anonymous=anonymous,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        metrics=metrics,
        memory_limit=None if memory_limit is None else memory_limit << 20,
        durability=durability,
        salvage=salvage,
        arrow=not no_arrow,
        sql_statements=sql_statements,
        sql_memory=sql_memory,
    )
    # A signal may reach any thread, even one of a library; the wake-up socket receives each.
    signals, wakeup = socket.socketpair()
    wakeup.setblocking(False)  # noqa: FBT003 - the standard library's
    signal.set_wakeup_fd(wakeup.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, _HANGUP):
        if number is not None:
            signal.signal(number, _ignore)
    pyo3_client.log_to_stderr(log_level, log_format == "json")
    _raise_file_limit()
    with server:
        where = "in memory" if directory is None else f"in {directory}"
        at = "" if server.metrics_endpoint is None else f", metrics on {server.metrics_endpoint}"
        print(f"listening on {server.endpoint}, data {where}{at}", flush=True)
        while signals.recv(1)[0] == _HANGUP:
            server.reload()
        print("stopping", file=sys.stderr, flush=True)
        threading.Thread(target=_stop_at_once, args=(signals,), daemon=True).start()


def _stop_at_once(signals: socket.socket) -> None:
    """Ends the process at the second signal; acknowledged points are on disk."""
    with contextlib.suppress(OSError):  # the interpreter closes the socket at exit
        while received := signals.recv(1):
            if received[0] != _HANGUP:
                os._exit(_STOPPED_AT_ONCE)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Keeps the signal from ending the process; the wake-up socket receives it."""


def _raise_file_limit() -> None:
    """Raises the limit of file descriptors, because each connection takes one."""
    try:
        import resource  # noqa: PLC0415 - Windows has neither the module nor the limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _api_keys(file: str | None) -> list[str]:
    if file is None:
        keys = os.environ.get("PINGTHINGS_SERVER_KEYS", "").split(",")
    else:
        try:
            with open(file, encoding="utf-8") as lines:  # noqa: PTH123 - one read of a named file
                keys = list(lines)
        except OSError as error:
            raise BTrDBError(f"cannot read `{file}`: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BTrDBError(
                f"`{file}` is not a text file; write one API key on each line"
            ) from error
    found = [key.strip() for key in keys if key.strip()]
    if file is not None and not found:
        raise BTrDBError(f"`{file}` contains no API key; write one on each line")
    return found
