"""Rows on standard output: a table for people, tab-separated or JSON lines for programs.

What a server has sent goes to a terminal only as `shown` gives it, or in JSON, which has escapes of
its own.
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
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Prints rows: JSON whole, otherwise the columns, as a table or without headings and tabbed."""
    if as_json:
        for row in rows:
            print_json(row)
    elif is_terminal():
        print_table(rows, columns)
    else:
        for row in rows:
            print("\t".join(shown(cell(row[name]).translate(_ESCAPES)) for name in columns))


def print_json(row: Mapping[str, Any]) -> None:
    """Prints a line of JSON, in which whatever a terminal might obey is escaped."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
    print(text)


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Prints a table that is as wide as it needs to be: a uuid in pieces cannot be copied."""
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(Text(shown(name)), justify="right" if name in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(Text(shown(cell(row.get(name)))) for name in columns))
    Console(highlight=False, width=_WIDEST).print(table)


def shown(text: str) -> str:
    """Returns a text as a terminal may have it: see `visible`."""
    return visible(text)


def cell(value: Any) -> str:
    """The text of a value; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
