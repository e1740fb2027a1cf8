"""Answers that are JSON, which a server may have got wrong."""

from __future__ import annotations

import json
from typing import Any, NoReturn, cast

from pingthings.timeseries.exceptions import BTRDBServerError

__all__ = ["as_object"]


def as_object(text: bytes | str, what: str) -> dict[str, Any]:
    """Returns the JSON object that a server wrote.

    Args:
        text: The object, UTF-8 if it is bytes.
        what: What was asked for, as errors say it.

    Raises:
        BTRDBServerError: It is no UTF-8, no JSON or no object, or nested too deeply.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _unreadable(what, f"it is no UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _unreadable(what, "it is nested too deeply") from None
    except ValueError as error:
        raise _unreadable(what, f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable(what, f"it is no object but a `{type(found).__name__}`")
    if isinstance(found, _Pairs):
        return _distinct(found.pairs)
    return cast("dict[str, Any]", found)


class _Pairs(dict[str, Any]):
    """An object in which a name stands more than once: the last value, and all of them."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Pairs(pairs)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A row in which SQL has given two columns one name: each keeps its value."""
    found: dict[str, Any] = {}
    given = {name for name, _ in pairs}
    for place, (name, value) in enumerate(pairs, 1):
        own = name
        while own in found or (own != name and own in given):
            own = f"{own} (column {place})"
        found[own] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is no number")


def _unreadable(what: str, why: str) -> BTRDBServerError:
    return BTRDBServerError(f"the server's answer to {what} cannot be read: {why}")
