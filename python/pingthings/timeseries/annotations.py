"""Annotations, which the server keeps as text and Python as values.

Text is kept as it is. Any other value is kept as its JSON text, as the platform's older client
does; reading, text that is exactly what a value is written as becomes that value again. Text that
would be mistaken for one is kept in quotes. So every value comes back as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pingthings.timeseries.arguments import check_writable
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

__all__ = ["from_text", "from_texts", "to_text", "to_texts"]


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
        return value if from_text(value) is value else json.dumps(value)
    try:
        return json.dumps(value, allow_nan=False, cls=encoder)
    except TypeError as error:
        raise BTRDBTypeError(f"annotation `{key}` cannot be kept as JSON: {error}") from None
    except ValueError as error:
        raise BTRDBValueError(f"annotation `{key}` cannot be kept as JSON: {error}") from None


def from_text(text: str) -> Any:
    """Returns the value that was kept under a text."""
    try:
        value = json.loads(text)
        is_written_so = json.dumps(value, allow_nan=False) == text
    except (ValueError, RecursionError):
        return text
    return value if is_written_so else text


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
