"""The command `pingthings`; each of its commands is in the file of its name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:  # without what the other commands need
        from pingthings.timeseries import __version__  # noqa: PLC0415

        print(__version__)
        return 0
    from pingthings.cli.app import app  # noqa: PLC0415

    try:
        app(given, prog_name="pingthings")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
