"""Parses answers that are JSON, and checks them."""

from __future__ import annotations

import json
from typing import Any, NoReturn, cast

from pingthings.timeseries.exceptions import BTRDBServerError

__all__ = ["as_object"]


def as_object(text: bytes | str, what: str) -> dict[str, Any]:
    """Parses a JSON object from a server.

    Args:
        text: The object, in UTF-8 if it is bytes.
        what: The request, for error messages.

    Raises:
        BTRDBServerError: It is not UTF-8, not JSON or not an object, or is nested too deeply.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _unreadable(what, f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _unreadable(what, "it is nested too deeply") from None
    except ValueError as error:
        raise _unreadable(what, f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable(what, f"it is a `{type(found).__name__}` instead of an object")
    if isinstance(found, _Pairs):
        return _distinct(found.pairs)
    return cast("dict[str, Any]", found)


class _Pairs(dict[str, Any]):
    """An object in which a name occurs more than once, with all of its pairs."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Pairs(pairs)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a row with unique column names, so that columns of equal name keep their values."""
    found: dict[str, Any] = {}
    given = {name for name, _ in pairs}
    for number, (name, value) in enumerate(pairs, 1):
        own = name
        while own in found or (own != name and own in given):
            own = f"{own} (column {number})"
        found[own] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not a number")


def _unreadable(what: str, why: str) -> BTRDBServerError:
    return BTRDBServerError(f"the server's answer to {what} cannot be read: {why}")
