"""`pingthings compact`: reclaims space in a data directory."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from pingthings.timeseries import pyo3_client

__all__ = ["EXAMPLES", "compact"]

EXAMPLES = """
Examples:
  pingthings compact ./grid-data
  pingthings compact ./grid-data --forget-older-than 30d
"""

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not an age; give a number and s, m, h, d or w")
    return float(int(match[1]) * _UNITS[match[2]])


def compact(
    directory: Annotated[str, typer.Argument(help="A data directory that no server has open.")],
    forget_older_than: Annotated[
        float | None,
        typer.Option(
            metavar="AGE",
            parser=_age,
            help="Also remove versions that were superseded longer ago than this, such as 30d, 12h "
            "or 90m; the latest version of a stream is never removed.",
        ),
    ] = None,
) -> None:
    """Reclaim space in a data directory that no server has open.

    Rewrites its files without data that no version refers to.
    """

    def progress(segments: int, before: int, after: int) -> None:
        if sys.stderr.isatty():
            text = f"{segments} segments, {_size(before)} -> {_size(after)}"
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    forgotten, segments, rewritten, removed, before, after = pyo3_client.compact(
        directory, forget_older_than, progress
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{forgotten} versions removed")
    print(f"{segments} segments checked, {rewritten} rewritten, {removed} removed")
    print(f"{_size(before)} before, {_size(after)} after")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1_024:  # noqa: PLR2004 - the factor between the units
            return f"{count:.4g} {unit}"
        count /= 1_024
    return f"{count:.4g} TiB"
