"""Prints rows: a table for people, tab-separated text or JSON lines for programs.

Text from a server is printed to a terminal only after `shown` has escaped it, or as JSON, which
escapes it too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pingthings.timeseries.display import visible

__all__ = ["cell", "is_terminal", "print_json", "print_rows", "print_table", "shown"]

_NUMBERS = {"count", "points", "rows", "accepted", "rejected"}
_WIDEST = 100_000
_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Prints complete rows as JSON, or the columns as a table or tab-separated text."""
    if as_json:
        for row in rows:
            print_json(row)
    elif is_terminal():
        print_table(rows, columns)
    else:
        for row in rows:
            print("\t".join(shown(cell(row[name]).translate(_ESCAPES)) for name in columns))


def print_json(row: Mapping[str, Any]) -> None:
    """Prints a line of JSON, with everything escaped that a terminal could interpret."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
    print(text)


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Prints a table without wrapping, because a wrapped uuid cannot be copied."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(Text(shown(name)), justify="right" if name in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(Text(shown(cell(row.get(name)))) for name in columns))
    Console(highlight=False, width=_WIDEST).print(table)


def shown(text: str) -> str:
    """Returns a text with everything escaped that a terminal could interpret; see `visible`."""
    return visible(text)


def cell(value: Any) -> str:
    """Returns the text of a value; the empty string for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
