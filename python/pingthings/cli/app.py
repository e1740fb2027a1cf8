"""Registers the commands and converts their errors to messages and exit codes.

Exit codes: 0 success, 1 the operation failed, 2 wrong usage, 130 interrupted. An error is one line
on standard error.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import warnings
from collections.abc import Generator
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn, TextIO

import pyarrow as pa
import typer
from rich.markup import escape
from typer.core import TyperGroup

import pingthings
from pingthings.cli import (
    collections,
    compact,
    doctor,
    get,
    info,
    key,
    listen,
    plot,
    put,
    serve,
    sql,
    streams,
)
from pingthings.cli.output import shown
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["app"]

_FAILED = 1
_WRONG = 2
# The exception for wrong usage has no public name, but it is the base class of this one.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EXAMPLES = """
Examples:
  pingthings serve ./grid-data                     a server on this machine
  export BTRDB_ENDPOINTS=127.0.0.1:4410            the server that other commands use
  pingthings put recording.csv --collection lab    store a file
  pingthings streams lab                           list streams
  pingthings get lab/L1MAG --width 1m              read statistics of windows
  pingthings doctor                                find out why a connection fails
"""


class Commands(TyperGroup):
    """The commands; converts each expected error to a line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Runs a command and exits."""
        kwargs["standalone_mode"] = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # names may be unprintable in its encoding
                stream.reconfigure(errors="backslashreplace")
        try:
            with _readable_warnings():
                code = super().main(*args, **kwargs)
        except _UsageError as error:
            code = _wrong_usage(error)
        except OSError as error:  # printing the version failed
            _abandon_output()
            code = _complain(_of_system(error), _FAILED)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command. Handles closed pipes here, because `main` of the base class also does."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader closed the pipe, which is not an error
            _abandon_output()
            return 0
        except (BTrDBError, pa.ArrowException) as error:
            return _complain(str(error), _FAILED)
        except OSError as error:
            _abandon_output()
            return _complain(_of_system(error), _FAILED)
        except UnicodeEncodeError as error:
            if not any("\udc80" <= sign <= "\udcff" for sign in str(error.object)):
                raise
            # An argument or a variable has invalid bytes. It may be a key, so it is not shown.
            return _complain(
                "an argument or an environment variable is not valid UTF-8",
                _WRONG,
            )
        return result


def _abandon_output() -> None:
    """Redirects an unwritable standard output to null, or Python would fail again at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong_usage(error: Any) -> int:
    context = error.ctx
    command = "pingthings" if context is None else context.command_path
    if type(error).__name__ == "NoArgsIsHelpError":  # typer has already printed the help
        return _complain(f"no command given; see `{command} --help`", error.exit_code)
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    return _complain(f"{message}; see `{command} --help`", error.exit_code)


def _of_system(error: OSError) -> str:
    where = "" if error.filename is None else f"`{error.filename}`: "
    return f"{where}{error.strerror or error}"


def _complain(message: str, code: int) -> int:
    print(f"pingthings: {shown(' '.join(message.split()))}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _readable_warnings() -> Generator[None]:
    """Prints a warning as one line, without its location in our code."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del category, filename, lineno, line
        print(f"pingthings: warning: {shown(str(message))}", file=file or sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


app = typer.Typer(
    cls=Commands,
    name="pingthings",
    help="Time series of the power grid, from the command line.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _flowing(text: str) -> str:
    """Returns the text with each paragraph on one line, so that the terminal wraps it."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return escape("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _version(asked: bool) -> None:
    if asked:
        print(pingthings.__version__)
        raise typer.Exit


@app.callback()
def pingthings_(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Time series of the power grid, from the command line."""


for name, command, examples in (
    ("info", info.info, info.EXAMPLES),
    ("collections", collections.collections, collections.EXAMPLES),
    ("streams", streams.streams, streams.EXAMPLES),
    ("sql", sql.sql, sql.EXAMPLES),
    ("get", get.get, get.EXAMPLES),
    ("plot", plot.plot, plot.EXAMPLES),
    ("put", put.put, put.EXAMPLES),
    ("listen", listen.listen, listen.EXAMPLES),
    ("doctor", doctor.doctor, doctor.EXAMPLES),
    ("serve", serve.serve, serve.EXAMPLES),
    ("compact", compact.compact, compact.EXAMPLES),
):
    app.command(name, help=_flowing(command.__doc__ or ""), epilog=examples)(command)
app.add_typer(key.key, name="key")
