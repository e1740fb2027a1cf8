"""The command `pingthings`; each subcommand has a file of its name."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

__all__ = ["main"]

_WIDEST = 10_000
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    _open_standard_streams()
    _bound_width()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:  # does not import what the other commands need
        from pingthings.timeseries import __version__  # noqa: PLC0415

        try:
            print(__version__, flush=True)
        except OSError:
            pass  # reported below, as for any other command
        else:
            return 0
    if arguments is None and given[:1] == ["put"] and "pandas" not in sys.modules:
        sys.meta_path.insert(0, _WithoutPandas())
    try:
        from pingthings.cli.app import app  # noqa: PLC0415

        app(given, prog_name="pingthings")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    else:
        code = 0
    if arguments is None:  # what was to be done is done, and Python takes a while to end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


class _WithoutPandas(MetaPathFinder):
    """Keeps Arrow from importing pandas, which it does with the first array that it makes.

    That takes as long as storing a million rows, and Ctrl-C in the middle of it leaves half of
    pandas behind.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None, /) -> None:  # noqa: ARG002
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _bound_width() -> None:
    """Ignores an absurd terminal width, because each line of the help is padded to it."""
    try:
        is_sane = 0 < int(os.environ.get("COLUMNS", "80")) <= _WIDEST
    except ValueError:
        is_sane = False
    if not is_sane:
        del os.environ["COLUMNS"]


class _Closed(io.TextIOBase):
    """Replaces a closed standard output: every write is an error."""

    name = os.devnull

    def write(self, _text: str, /) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


def _open_standard_streams() -> None:
    """Opens standard streams that were closed before the program started.

    Otherwise the next file or socket would get their descriptors, and output would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    # Python sets a closed stream to None, and `print` to None writes to the other stream.
    if sys.stdout is None:
        closed: Any = _Closed()
        sys.stdout = closed
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
