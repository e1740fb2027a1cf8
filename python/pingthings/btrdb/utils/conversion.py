"""Annotations as JSON, and uuids."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import numpy as np

from pingthings.timeseries import utils
from pingthings.timeseries.arguments import as_time

__all__ = ["RFC3339", "AnnotationDecoder", "AnnotationEncoder", "to_uuid"]

RFC3339 = "%Y-%m-%d %H:%M:%S.%f%z"
"""How times are written into annotations."""


class AnnotationEncoder(json.JSONEncoder):
    """Writes annotations: text as it is, and times, uuids and sets besides what JSON has.

    Examples:
        >>> AnnotationEncoder().encode("Zürich"), AnnotationEncoder().encode([1, None])
        ('Zürich', '[1, null]')
    """

    def default(self, o: Any) -> Any:
        """Returns a value that JSON has a form for."""
        match o:
            case UUID():
                return str(o)
            case np.datetime64():
                instant = utils.ns_to_datetime(as_time(cast("Any", o), "annotation"))
                return instant.astimezone(UTC).strftime(RFC3339)
            case datetime():
                return o.strftime(RFC3339)
            case set() | frozenset():
                return list(cast("set[Any]", o))
            case _:
                return super().default(o)

    def encode(self, o: Any) -> str:
        """Returns the text under which an annotation is kept."""
        if isinstance(o, UUID | datetime | np.datetime64):
            o = self.default(o)
        return o if isinstance(o, str) else super().encode(o)


class AnnotationDecoder(json.JSONDecoder):
    """Reads annotations: what is no JSON is text."""

    def decode(self, s: str) -> Any:  # type: ignore[override] # what it has and nobody gives
        """Returns the value of a text, or the text."""
        try:
            return super().decode(s)
        except (json.JSONDecodeError, RecursionError):
            return s


def to_uuid(obj: UUID | str | bytes) -> UUID:
    """Returns the UUID that a value is or spells.

    Raises:
        ValueError: The text is no uuid.
        TypeError: It is neither.
    """
    if isinstance(obj, UUID):
        return obj
    if isinstance(obj, bytes):
        obj = obj.decode()
    if isinstance(obj, str):
        return UUID(obj)
    raise TypeError(f"Cannot convert object to UUID ({type(obj).__name__})")
