"""The streams of a collection by name, made where they are missing; and what names are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Wanted", "clean", "decoded", "ensure", "told_apart"]


def decoded(content: bytes) -> str:
    """Returns the text of bytes that do not say how they are encoded: UTF-8, or that of Windows.

    Examples:
        >>> decoded("Süd".encode()), decoded("5 €".encode("cp1252"))
        ('Süd', '5 €')
    """
    for codec in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(codec)
        except UnicodeDecodeError:
            pass
    return content.decode("latin-1")  # five bytes mean nothing in the other


def clean(name: str) -> str:
    r"""Returns a name as it is given, without the blanks around it and what cannot be shown.

    Devices fill names with blanks or zero bytes up to a fixed length. Letters, signs, and blanks
    within stay as they are.

    Examples:
        >>> clean(" L1 Mag\0\0")
        'L1 Mag'
    """
    return "".join(one for one in name if one.isprintable()).strip()


def told_apart(names: Iterable[str]) -> list[str]:
    """Returns the names, each once: those that are there several times get their place behind them.

    Examples:
        >>> told_apart(["I", "I", "U"])
        ['I 1', 'I 2', 'U']
    """
    given = list(names)
    count = Counter(given)
    taken = {name for name in given if count[name] == 1}
    found: list[str] = []
    for place, name in enumerate(given, 1):
        fresh = name
        while count[name] > 1 and (fresh == name or fresh in taken):
            fresh = f"{fresh} {place}"
        taken.add(fresh)
        found.append(fresh)
    return found


@dataclass(frozen=True)
class Wanted:
    """A stream that is to be there."""

    name: str
    unit: str
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])


def ensure(client: Client, collection: str, wanted: Iterable[Wanted]) -> dict[str, UUID]:
    """Returns the streams of these names, and makes those that are not there.

    Raises:
        BTRDBValueError: A stream has another unit, or two have the same name.
    """
    there: dict[str, Any] = {}
    for stream in client.streams_in_collection(collection, is_collection_prefix=False):
        if stream.name in there:
            raise BTRDBValueError(f"`{collection}/{stream.name}` is the name of several streams")
        there[str(stream.name)] = stream
    found: dict[str, UUID] = {}
    for one in wanted:
        if one.name in found:
            raise BTRDBValueError(f"two streams of `{collection}` would be called `{one.name}`")
        if one.name in there and there[one.name].unit != one.unit:
            raise BTRDBValueError(
                f"`{collection}/{one.name}` has the unit `{there[one.name].unit}`, not `{one.unit}`"
            )
        if one.name not in there:
            tags = {"name": one.name, "unit": one.unit}
            there[one.name] = client.create(uuid4(), collection, tags, dict(one.annotations))
        found[one.name] = there[one.name].uuid
    return found
