"""Annotations, which the server keeps as text and Python as values.

Text is kept as it is, as every client of the platform does, so that SQL and filters find it. Any
other value is kept as its JSON. Text that is exactly the JSON of a number, a truth value, null, a
list or an object is read as that value, whoever wrote it: the text `60` and the number 60 are kept
alike, and both are read as the number. Any other text is read as it is.

Versions before this rule kept text that looks like a value in quotes; it is read as that text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pingthings.timeseries.arguments import check_writable
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

__all__ = ["from_text", "from_texts", "is_kept_as", "to_text", "to_texts"]


def to_text(
    key: str,
    value: Any,
    encoder: type[json.JSONEncoder] | None = None,
) -> str:
    """Returns the text under which a value is kept.

    Raises:
        BTRDBTypeError: JSON has no form for it.
        BTRDBValueError: It is, or holds, a number that is not finite.
    """
    if isinstance(value, str):
        return str.__str__(value)  # a member of an enumeration is its text
    try:
        text = json.dumps(value, allow_nan=False, cls=encoder)
    except TypeError as error:
        raise BTRDBTypeError(f"annotation `{key}` cannot be kept as JSON: {error}") from None
    except ValueError as error:
        raise BTRDBValueError(f"annotation `{key}` cannot be kept as JSON: {error}") from None
    except RecursionError:
        raise BTRDBValueError(
            f"annotation `{key}` cannot be kept as JSON: it is nested too deeply"
        ) from None
    # What an encoder makes text of is kept like other text.
    return json.loads(text) if text.startswith('"') else text


def from_text(text: str) -> Any:
    """Returns the value that is read from a text."""
    if not _is_json(text):
        return text
    value = json.loads(text)
    # Text in quotes is text with quotes, but for what earlier versions put in quotes.
    return text if isinstance(value, str) and not _is_json(value) else value


def _is_json(text: str) -> bool:
    """Whether it is, to the letter, what a value is written as."""
    try:
        return json.dumps(json.loads(text), allow_nan=False) == text
    except (ValueError, RecursionError):
        return False


def is_kept_as(value: Any, text: str | None) -> bool:
    """Returns whether a text is what a value is kept as; of an object in any order of keys."""
    if text is None or value is None:
        return value is None and (text is None or from_text(text) is None)
    if isinstance(value, str):
        return value == text
    return json.dumps(from_text(text), sort_keys=True) == json.dumps(value, sort_keys=True)


def from_texts(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns the values of annotations as the server keeps them."""
    return {key: None if text is None else from_text(text) for key, text in texts.items()}


def to_texts(
    values: Mapping[str, Any] | None,
    name: str,
    encoder: type[json.JSONEncoder] | None = None,
) -> dict[str, str | None]:
    """Returns annotations as the server keeps them; None stays None.

    Raises:
        BTRDBTypeError: It is no mapping, a key is no text, or JSON has no form for a value.
        BTRDBValueError: A value holds a number that is not finite, or half a character.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise BTRDBTypeError(f"`{name}` maps text to values, it is no `{type(values).__name__}`")
    texts: dict[str, str | None] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise BTRDBTypeError(f"`{name}` maps text to values, not `{key!r}`")
        check_writable(key, name)
        texts[key] = None if value is None else check_writable(to_text(key, value, encoder), name)
    return texts
