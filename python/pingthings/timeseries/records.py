"""Devices and units: free dictionaries with an id and a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pingthings.timeseries.answers import as_object
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

__all__ = ["SELECT_ALL", "as_record", "as_record_id", "from_row", "to_dict"]


SELECT_ALL = {
    "device": "SELECT * FROM devices ORDER BY id",
    "unit": "SELECT * FROM units ORDER BY id",
}
"""The queries that read them from servers which keep them in tables."""


def as_record_id(value: int, name: str) -> int:
    """Returns the id, which is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BTRDBTypeError(f"`{name}` is a whole number, not a `{type(value).__name__}`")
    if not 0 <= value < 1 << 63:
        raise BTRDBValueError(f"`{name}` is {value}; the server gives positive numbers")
    return value


def as_record(record: object, what: str) -> tuple[int | None, str | None, str]:
    """Returns id, name and the other fields as JSON of a device or unit to be written.

    Raises:
        BTRDBTypeError: It is no mapping of text, or JSON has no form for a field.
        BTRDBValueError: The name is empty, or a number is not finite.
    """
    given = cast("Mapping[Any, Any]", record)
    if not isinstance(record, Mapping) or not all(isinstance(key, str) for key in given):
        raise BTRDBTypeError(f"a {what} is a dict whose keys are text")
    fields = {key: value for key, value in given.items() if key not in ("id", "name")}
    number = given.get("id")
    name = given.get("name")
    if name is not None and not isinstance(name, str):
        raise BTRDBTypeError(f"the name of a {what} is text, not a `{type(name).__name__}`")
    if name == "" or ("name" in given and name is None):
        raise BTRDBValueError(f"a {what} needs a name that is not empty")
    try:
        text = json.dumps(fields, allow_nan=False)
    except TypeError as error:
        raise BTRDBTypeError(f"a field of the {what} cannot be kept as JSON: {error}") from None
    except ValueError as error:
        raise BTRDBValueError(f"a field of the {what} cannot be kept as JSON: {error}") from None
    return None if number is None else as_record_id(number, f"{what} id"), name, text


def to_dict(record: tuple[int, str, str]) -> dict[str, Any]:
    """Returns a device or unit as the server keeps it.

    Raises:
        BTRDBServerError: What the server sent is none.
    """
    number, name, fields = record
    others = as_object(fields or "{}", "a device or unit")
    return {"id": number, "name": name} | {
        key: value for key, value in others.items() if key not in ("id", "name")
    }


def from_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a device or unit from a row of SQL, whose further fields may be one column."""
    fields = row.get("fields")
    return {**row} if not isinstance(fields, dict) else {**_without(row, "fields"), **fields}


def _without(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != column}
