"""Converts annotations between Python values and the text that the server stores.

Text is stored unchanged, as by every client of the platform, so that SQL and filters find it. Any
other value is stored as its JSON. Text that is exactly the JSON of a number, a boolean, null, a
list or an object is read as that value, whoever wrote it: the text `60` and the number 60 are
stored alike, and both are read as the number. Any other text is read unchanged.

Earlier versions stored text that looks like a value in quotes; it is read as that text.
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
    """Returns the stored text of a value.

    Raises:
        BTRDBTypeError: JSON cannot represent the value.
        BTRDBValueError: It is, or contains, a number that is not finite.
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
    # A value that the encoder converts to text is stored like other text.
    return json.loads(text) if text.startswith('"') else text


def from_text(text: str) -> Any:
    """Returns the value of a stored text."""
    if not _is_json(text):
        return text
    value = json.loads(text)
    # Quotes are part of the text, unless an earlier version added them to text like a value.
    return text if isinstance(value, str) and not _is_json(value) else value


def _is_json(text: str) -> bool:
    """Whether the text is exactly the JSON of a value."""
    try:
        return json.dumps(json.loads(text), allow_nan=False) == text
    except (ValueError, RecursionError):
        return False


def is_kept_as(value: Any, text: str | None) -> bool:
    """Returns whether a value is stored as this text; the order of an object's keys is ignored."""
    if text is None or value is None:
        return value is None and (text is None or from_text(text) is None)
    if isinstance(value, str):
        return value == text
    return json.dumps(from_text(text), sort_keys=True) == json.dumps(value, sort_keys=True)


def from_texts(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns the values of stored annotations."""
    return {key: None if text is None else from_text(text) for key, text in texts.items()}


def to_texts(
    values: Mapping[str, Any] | None,
    name: str,
    encoder: type[json.JSONEncoder] | None = None,
) -> dict[str, str | None]:
    """Returns annotations as the server stores them; None stays None.

    Raises:
        BTRDBTypeError: `values` is not a mapping, a key is not text, or JSON cannot represent a
            value.
        BTRDBValueError: A value contains a number that is not finite, or half a surrogate pair.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise BTRDBTypeError(
            f"`{name}` must map text to values, but is a `{type(values).__name__}`"
        )
    texts: dict[str, str | None] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise BTRDBTypeError(f"`{name}` must map text to values, not `{key!r}`")
        check_writable(key, name)
        texts[key] = None if value is None else check_writable(to_text(key, value, encoder), name)
    return texts
