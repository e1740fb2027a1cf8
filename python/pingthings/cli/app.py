"""What all commands share: how they are found, how they fail, and how they end.

Exit codes: 0 is well, 1 is that the operation failed, 2 is wrong usage, 130 is interrupted. An
error is one line on standard error.
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
# What is raised for wrong usage has no public name of its own, but this one's base is it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EXAMPLES = """
Examples:
  pingthings serve ./grid-data                     a server on this machine
  export BTRDB_ENDPOINTS=127.0.0.1:4410            where the others look
  pingthings put recording.csv --collection lab    store a file
  pingthings streams lab                           what is there
  pingthings get lab/L1MAG --width 1m              look at it
  pingthings doctor                                why it does not connect
"""


class Commands(TyperGroup):
    """The commands; each error that is expected becomes a line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Runs a command and exits."""
        kwargs["standalone_mode"] = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # names may hold what a terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        try:
            with _readable_warnings():
                code = super().main(*args, **kwargs)
        except _UsageError as error:
            code = _wrong_usage(error)
        except OSError as error:  # the version could not be printed
            _abandon_output()
            code = _complain(_of_system(error), _FAILED)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; below `main`, which has ideas of its own about closed pipes."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has enough
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
            # An argument or a variable as bytes that are no text. It may be a key: it is not shown.
            return _complain(
                "an argument, or a variable of the environment, is not in UTF-8, where a text is "
                "needed",
                _WRONG,
            )
        return result


def _abandon_output() -> None:
    """Lets standard output go if it cannot be written: Python would complain again at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong_usage(error: Any) -> int:
    context = error.ctx
    command = "pingthings" if context is None else context.command_path
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
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
    """Shows a warning as a line, without the place in our code that it comes from."""

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
    """The text with its paragraphs in one line each: a terminal breaks them where it ends."""
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
