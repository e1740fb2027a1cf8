"""`pingthings serve`: the server that comes with the package."""

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
  pingthings serve                         data in memory, gone at the end
  pingthings serve ./grid-data             data in a directory, kept
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
        typer.Argument(help="Where the data live; without it they are kept in memory."),
    ] = None,
    host: Annotated[str, typer.Option(help="IP address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 4410,
    durability: Annotated[
        Literal["synced", "relaxed"],
        typer.Option(help="When an insert is answered: on disk, or in the log."),
    ] = "synced",
    salvage: Annotated[
        bool,
        typer.Option(
            "--salvage",
            help="Open what is whole of a directory that is not, and say what is missing.",
        ),
    ] = False,
    no_arrow: Annotated[
        bool, typer.Option("--no-arrow", help="Answer in points only, like old servers.")
    ] = False,
    api_keys_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with one API key per line that may do everything; without it "
            "PINGTHINGS_SERVER_KEYS counts, where keys are separated by commas; without any key, "
            "this machine may connect without one.",
        ),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="File of hashed keys with roles, see `pingthings key --help`."
        ),
    ] = None,
    anonymous: Annotated[
        Role | None, typer.Option(help="What those may do who send no key (default: nothing).")
    ] = None,
    tls_certificate: Annotated[
        str | None, typer.Option(metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Private key of the certificate, PEM.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Answer Prometheus there, by plain HTTP."),
    ] = None,
    sql_statements: Annotated[
        int, typer.Option(help="SQL statements that run at the same time.")
    ] = 4,
    sql_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory that each SQL statement may take.")
    ] = "64 MiB",
    memory_limit: Annotated[
        int | None,
        typer.Option(
            metavar="MIB",
            min=1,
            help="Most MiB of requests that arrive and answers that are not taken (default: 512).",
        ),
    ] = None,
    log_level: Annotated[
        Literal["error", "warn", "info", "debug", "trace"],
        typer.Option(help="What is written to standard error."),
    ] = "warn",
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="Lines of text or of JSON.")
    ] = "text",
) -> None:
    """Run the server that comes with the package, until Ctrl-C.

    It is a single node, and speaks the platform's protocol.
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
    # A signal may reach any thread, also those of libraries; the wake-up socket hears of each.
    hears, tells = socket.socketpair()
    tells.setblocking(False)  # noqa: FBT003 - the standard library's
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, _HANGUP):
        if number is not None:
            signal.signal(number, _heard)
    pyo3_client.log_to_stderr(log_level, log_format == "json")
    _raise_file_limit()
    with server:
        where = "in memory" if directory is None else f"in {directory}"
        at = "" if server.metrics_endpoint is None else f", metrics on {server.metrics_endpoint}"
        print(f"listening on {server.endpoint}, data {where}{at}", flush=True)
        while hears.recv(1)[0] == _HANGUP:
            server.reload()
        print("stopping", file=sys.stderr, flush=True)
        threading.Thread(target=_stop_at_once, args=(hears,), daemon=True).start()


def _stop_at_once(hears: socket.socket) -> None:
    """Ends the process at the second signal; what was acknowledged is on disk."""
    with contextlib.suppress(OSError):  # the socket goes with the interpreter
        while heard := hears.recv(1):
            if heard[0] != _HANGUP:
                os._exit(_STOPPED_AT_ONCE)


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Keeps the signal from ending the process; the wake-up socket tells that it came."""


def _raise_file_limit() -> None:
    """Each connection takes a file descriptor, and the usual limit suits programs that have few."""
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
            raise BTrDBError(f"`{file}` is no text; write one API key on each line") from error
    found = [key.strip() for key in keys if key.strip()]
    if file is not None and not found:
        raise BTrDBError(f"`{file}` holds no API key; write one on each line")
    return found
