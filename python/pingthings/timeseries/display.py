"""Displays clients, streams and sets in terminals and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol
from uuid import UUID

__all__ = ["client_html", "stream_text", "streams_html", "streams_text", "visible"]

_ROWS_SHOWN = 10
_COLUMNS = ("collection", "name", "unit", "uuid", "tags")


class _Described(Protocol):
    """The displayed attributes of a stream; None where they are not fetched."""

    @property
    def uuid(self) -> UUID: ...
    @property
    def collection(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def _tags(self) -> Mapping[str, str] | None: ...


def visible(text: str) -> str:
    r"""Escapes characters in a text that a terminal would interpret or not show.

    Text on a server may contain anything: control sequences, characters that change the direction
    of writing, line breaks. Printable characters of all languages stay unchanged.

    Examples:
        >>> print(visible("L1\x1b[2J Größe"))
        L1\x1b[2J Größe
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def client_html(title: str, facts: Mapping[str, object]) -> str:
    """Returns a client as an HTML table; all text is escaped."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>"
        for name, fact in facts.items()
        if fact is not None
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>"


def stream_text(stream: _Described) -> str:
    """Returns one line for a stream."""
    if stream.collection is None:
        return f"<{type(stream).__name__} {stream.uuid}>"
    unit = f" [{stream.unit}]" if stream.unit else ""
    named = visible(f"{stream.collection}/{stream.name}{unit}")
    return f"<{type(stream).__name__} {named} {stream.uuid}>"


def streams_text(title: str, streams: Sequence[_Described]) -> str:
    """Returns a set as a plain-text table."""
    head = f"<{title} of {len(streams)} stream{'' if len(streams) == 1 else 's'}>"
    rows = [_row(stream) for stream in streams[:_ROWS_SHOWN]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if len(streams) > _ROWS_SHOWN:
        lines.append(f"... and {len(streams) - _ROWS_SHOWN} more")
    return "\n  ".join([head, *lines])


def streams_html(streams: Sequence[_Described]) -> str:
    """Returns streams as an HTML table; all text is escaped."""
    head = "".join(f"<th>{title}</th>" for title in _COLUMNS)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in (*_row(stream), _other_tags(stream)))
        + "</tr>"
        for stream in streams[:_ROWS_SHOWN]
    )
    rest = len(streams) - _ROWS_SHOWN
    more = f"<p>... and {rest} more</p>" if rest > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _other_tags(stream: _Described) -> str:
    """Returns the tags that are set and do not have their own column."""
    others = {key: text for key, text in (stream._tags or {}).items() if key not in _COLUMNS}
    return visible(", ".join(f"{key}={text}" for key, text in others.items() if text))


def _row(stream: _Described) -> tuple[str, str, str, str]:
    collection, name, unit = (
        visible(text or "") for text in (stream.collection, stream.name, stream.unit)
    )
    return collection, name, unit, str(stream.uuid)
