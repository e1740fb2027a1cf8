"""The command `pingthings`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import pingthings
from pingthings.server import Server
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["main"]

_EXAMPLES = """\
examples:
  pingthings serve                         data in memory, gone at the end
  pingthings serve ./grid-data             data in a directory, kept
  PINGTHINGS_SERVER_KEYS=secret pingthings serve ./grid-data --host 0.0.0.0

then, in Python:
  import pingthings.timeseries as pt
  client = pt.connect(endpoint="127.0.0.1:4410")
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="pingthings", description="Time series of the power grid, on your machine."
    )
    parser.add_argument("--version", action="version", version=pingthings.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_serve(commands)
    options = parser.parse_args(arguments)
    try:
        return _serve(options)
    except BTrDBError as error:
        print(f"pingthings: {error}", file=sys.stderr)
        return 1


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run the server that comes with the package",
        description="Runs a single-node server until Ctrl-C. It speaks the platform's protocol.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "directory", nargs="?", help="where the data live; without it they are kept in memory"
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="IP address to listen on (default: %(default)s)"
    )
    serve.add_argument(
        "--port", type=int, default=4410, help="port; 0 takes a free one (default: %(default)s)"
    )
    serve.add_argument(
        "--durability",
        choices=("synced", "relaxed"),
        default="synced",
        help="when an insert is answered: on disk, or in the log (default: %(default)s)",
    )
    serve.add_argument(
        "--no-arrow", action="store_true", help="answer in points only, like old servers"
    )
    serve.add_argument(
        "--api-keys-file",
        metavar="FILE",
        help="file with one API key per line; without it PINGTHINGS_SERVER_KEYS counts, where keys "
        "are separated by commas; without either, this machine may connect without a key",
    )


def _serve(options: argparse.Namespace) -> int:
    # A signal may reach any thread, also those of libraries; the wake-up socket hears of each.
    hears, tells = socket.socketpair()
    tells.setblocking(False)  # noqa: FBT003 - the standard library's
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _heard)
    server = Server(
        options.directory,
        host=options.host,
        port=options.port,
        api_keys=_api_keys(options.api_keys_file),
        durability=options.durability,
        arrow=not options.no_arrow,
    )
    with server:
        where = "in memory" if options.directory is None else f"in {options.directory}"
        print(f"listening on {server.endpoint}, data {where}", flush=True)
        hears.recv(1)
        print("stopping", file=sys.stderr, flush=True)
    return 0


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Keeps the signal from ending the process; the wake-up socket tells that it came."""


def _api_keys(file: str | None) -> list[str]:
    if file is None:
        keys = os.environ.get("PINGTHINGS_SERVER_KEYS", "").split(",")
    else:
        try:
            with open(file, encoding="utf-8") as lines:  # noqa: PTH123 - one read of a named file
                keys = list(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise BTrDBError(f"cannot read the API keys of `{file}`: {error}") from error
    found = [key.strip() for key in keys if key.strip()]
    if file is not None and not found:
        raise BTrDBError(f"`{file}` holds no API key; write one on each line")
    return found


if __name__ == "__main__":
    sys.exit(main())
