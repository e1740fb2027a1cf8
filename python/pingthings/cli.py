"""The command `pingthings`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import resource
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pingthings
from pingthings.server import Server
from pingthings.timeseries import pyo3_client
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["main"]

_EXAMPLES = """\
examples:
  pingthings serve                         data in memory, gone at the end
  pingthings serve ./grid-data             data in a directory, kept
  pingthings key add keys --name me --role admin
  pingthings serve ./grid-data --host 0.0.0.0 --keys keys

then, in Python:
  import pingthings.timeseries as pt
  client = pt.connect(endpoint="127.0.0.1:4410")
"""


_ROLES = ("read", "write", "admin")
_KEY_FILE_HEADER = "# API keys: name, role, SHA-256 of the key. Written by `pingthings key`.\n"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_STOPPED_AT_ONCE = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="pingthings", description="Time series of the power grid, on your machine."
    )
    parser.add_argument("--version", action="version", version=pingthings.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_serve(commands)
    _add_key(commands)
    _add_compact(commands)
    options = parser.parse_args(arguments)
    run = {"serve": _serve, "key": _key, "compact": _compact}[options.command]
    try:
        return run(options)
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
        help="file with one API key per line that may do everything; without it "
        "PINGTHINGS_SERVER_KEYS counts, where keys are separated by commas; without any key, this "
        "machine may connect without one",
    )
    serve.add_argument(
        "--keys", metavar="FILE", help="file of hashed keys with roles, see `pingthings key`"
    )
    serve.add_argument(
        "--anonymous", choices=_ROLES, help="what those may do who send no key (default: nothing)"
    )
    serve.add_argument("--tls-certificate", metavar="FILE", help="certificate chain, PEM")
    serve.add_argument("--tls-key", metavar="FILE", help="private key of the certificate, PEM")
    serve.add_argument(
        "--metrics", metavar="HOST:PORT", help="answer Prometheus there, by plain HTTP"
    )
    serve.add_argument(
        "--log-level",
        choices=("error", "warn", "info", "debug", "trace"),
        default="warn",
        help="what is written to standard error (default: %(default)s)",
    )
    serve.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="lines of text or of JSON (default: %(default)s)",
    )


def _add_key(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    key = commands.add_parser(
        "key",
        help="make, list and revoke API keys of a server",
        description="Keeps a file of hashed API keys for `pingthings serve --keys`. A running "
        "server notices changes within a second.",
    )
    actions = key.add_subparsers(dest="action", required=True, metavar="action")
    add = actions.add_parser("add", help="make a key and print it, once")
    add.add_argument("file")
    add.add_argument("--name", required=True, help="what to know it by")
    add.add_argument("--role", choices=_ROLES, required=True, help="what its holder may do")
    listing = actions.add_parser("list", help="print names and roles")
    listing.add_argument("file")
    revoke = actions.add_parser("revoke", help="make a key invalid")
    revoke.add_argument("file")
    revoke.add_argument("name")


def _add_compact(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compact = commands.add_parser(
        "compact",
        help="reclaim room in a data directory that no server has open",
        description="Writes the files of a data directory anew without what nothing leads to.",
    )
    compact.add_argument("directory")
    compact.add_argument(
        "--forget-older-than",
        metavar="AGE",
        type=_age,
        help="also forget versions replaced longer ago than this, such as 30d, 12h or 90m; the "
        "latest version of a stream is never forgotten",
    )


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; give a number and s, m, h, d or w")
    return float(int(match[1]) * _UNITS[match[2]])


def _serve(options: argparse.Namespace) -> int:
    # A signal may reach any thread, also those of libraries; the wake-up socket hears of each.
    hears, tells = socket.socketpair()
    tells.setblocking(False)  # noqa: FBT003 - the standard library's
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _heard)
    pyo3_client.log_to_stderr(options.log_level, options.log_format == "json")
    _raise_file_limit()
    server = Server(
        options.directory,
        host=options.host,
        port=options.port,
        api_keys=_api_keys(options.api_keys_file),
        keys=options.keys,
        anonymous=options.anonymous,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        metrics=options.metrics,
        durability=options.durability,
        arrow=not options.no_arrow,
    )
    with server:
        where = "in memory" if options.directory is None else f"in {options.directory}"
        at = "" if server.metrics_endpoint is None else f", metrics on {server.metrics_endpoint}"
        print(f"listening on {server.endpoint}, data {where}{at}", flush=True)
        while hears.recv(1)[0] == signal.SIGHUP:
            server.reload()
        print("stopping", file=sys.stderr, flush=True)
        threading.Thread(target=_stop_at_once, args=(hears,), daemon=True).start()
    return 0


def _stop_at_once(hears: socket.socket) -> None:
    """Ends the process at the second signal; what was acknowledged is on disk."""
    with contextlib.suppress(OSError):  # the socket goes with the interpreter
        while heard := hears.recv(1):
            if heard[0] != signal.SIGHUP:
                os._exit(_STOPPED_AT_ONCE)


def _raise_file_limit() -> None:
    """Each connection takes a file descriptor, and the usual limit suits programs that have few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(16_384, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _compact(options: argparse.Namespace) -> int:
    def progress(segments: int, before: int, after: int) -> None:
        if sys.stderr.isatty():
            text = f"{segments} segments, {_size(before)} -> {_size(after)}"
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    forgotten, segments, rewritten, removed, before, after = pyo3_client.compact(
        options.directory, options.forget_older_than, progress
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{forgotten} versions forgotten")
    print(f"{segments} segments looked at, {rewritten} written anew, {removed} removed")
    print(f"{_size(before)} before, {_size(after)} after")
    return 0


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1_024:  # noqa: PLR2004 - what the units mean
            return f"{count:.4g} {unit}"
        count /= 1_024
    return f"{count:.4g} TiB"


def _key(options: argparse.Namespace) -> int:
    file = Path(options.file)
    lines = _key_lines(file, may_be_missing=options.action == "add")
    if options.action == "list":
        for name, role, _digest in lines:
            print(f"{name}\t{role}")
        return 0
    known = any(name == options.name for name, _role, _digest in lines)
    if options.action == "revoke":
        if not known:
            raise BTrDBError(f"`{file}` has no key `{options.name}`; `pingthings key list` tells")
        _write_keys(file, [line for line in lines if line[0] != options.name])
        return 0
    if known:
        raise BTrDBError(f"`{file}` has a key `{options.name}` already; choose another name")
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", options.name):
        raise BTrDBError(f"name `{options.name}`; give letters, digits and ._@- only, at most 64")
    key = secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    _write_keys(file, [*lines, (options.name, options.role, digest)])
    print(key)
    return 0


def _key_lines(file: Path, *, may_be_missing: bool) -> list[tuple[str, str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if may_be_missing:
            return []
        raise BTrDBError(f"cannot read `{file}`: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BTrDBError(f"cannot read `{file}`: {error}") from error
    lines: list[tuple[str, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[1] not in _ROLES:  # noqa: PLR2004 - name, role, digest
            raise BTrDBError(f"line {number} of `{file}` is no key; was it written by hand?")
        lines.append((words[0], words[1], words[2]))
    return lines


def _write_keys(file: Path, lines: Sequence[tuple[str, str, str]]) -> None:
    """Replaces the file at once: a server never reads half of it."""
    text = _KEY_FILE_HEADER + "".join(" ".join(line) + "\n" for line in lines)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as fresh:
            fresh.write(text)
            fresh.flush()
            os.fsync(fresh.fileno())
        Path(fresh.name).replace(file)
    except OSError as error:
        raise BTrDBError(f"cannot write `{file}`: {error}") from error


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
