"""Devices and units: dictionaries with an id, a name and any other keys.

Both twins run these coroutines, so they may await only the core (docs/design/twins.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pingthings.timeseries.answers import as_object
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    NotSupportedError,
    ObjectNotFound,
)

if TYPE_CHECKING:
    from pingthings.timeseries.pyo3_client import Client

__all__ = ["create", "delete", "get", "list_all", "update"]

Kind: TypeAlias = Literal["device", "unit"]

_SELECT_ALL = {
    "device": "SELECT * FROM devices ORDER BY id",
    "unit": "SELECT * FROM units ORDER BY id",
}
"""The queries for servers that provide them only as SQL tables."""


async def list_all(core: Client, kind: Kind) -> list[dict[str, Any]]:
    """Returns all devices, or all units, by id."""
    try:
        return [_to_dict(record) for record in await core.list_records(kind)]
    except NotSupportedError:
        # Servers of the platform provide them only as SQL tables.
        rows = await core.sql_query(_SELECT_ALL[kind], [])
        return [_from_row(as_object(row, "a query")) for row in rows]


async def get(core: Client, kind: Kind, number: int) -> dict[str, Any]:
    """Returns the device or unit with this id."""
    number = _as_id(number, f"{kind}_id")
    try:
        return _to_dict(await core.get_record(kind, number))
    except NotSupportedError:
        for record in await list_all(core, kind):
            if record.get("id") == number:
                return record
        raise ObjectNotFound(f"there is no {kind} {number}") from None


async def create(core: Client, kind: Kind, record: object) -> dict[str, Any]:
    """Creates a device or unit and returns it as the server stores it."""
    number, name, fields = _parts(record, kind)
    if number is not None or name is None:
        raise BTRDBValueError(f"a new {kind} needs a `name` and no `id`; the server sets the id")
    return _to_dict(await core.create_record(kind, name, fields))


async def update(core: Client, kind: Kind, record: object) -> dict[str, Any]:
    """Changes the device or unit with the `id` of the dict and returns its new state."""
    number, name, fields = _parts(record, kind)
    if number is None:
        raise BTRDBValueError(f"the {kind} has no `id`; give that of the {kind} to change")
    return _to_dict(await core.update_record(kind, number, name, fields))


async def delete(core: Client, kind: Kind, number: int) -> None:
    """Removes the device or unit with this id."""
    await core.delete_record(kind, _as_id(number, f"{kind}_id"))


def _as_id(value: int, name: str) -> int:
    """Returns the id after checking that it is an integer from 0 to 2^63 - 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BTRDBTypeError(f"`{name}` must be an integer, not a `{type(value).__name__}`")
    if not 0 <= value < 1 << 63:
        raise BTRDBValueError(f"`{name}` is {value}; ids are positive integers below 2^63")
    return value


def _parts(record: object, what: str) -> tuple[int | None, str | None, str]:
    """Returns id, name and the other fields as JSON of a device or unit to store.

    Raises:
        BTRDBTypeError: The record is not a mapping with text as keys, or JSON cannot represent a
            field.
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
    return None if number is None else _as_id(number, f"{what} id"), name, text


def _to_dict(record: tuple[int, str, str]) -> dict[str, Any]:
    """Returns a device or unit from the answer of a server.

    Raises:
        BTRDBServerError: The answer is invalid.
    """
    number, name, fields = record
    others = as_object(fields or "{}", "a device or unit")
    return {"id": number, "name": name} | {
        key: value for key, value in others.items() if key not in ("id", "name")
    }


def _from_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a device or unit from a SQL row, whose other fields may be in one column."""
    fields = row.get("fields")
    return {**row} if not isinstance(fields, dict) else {**_without(row, "fields"), **fields}


def _without(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != column}
