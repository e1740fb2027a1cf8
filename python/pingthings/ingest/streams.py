"""Finds or creates the streams of a collection by name, and cleans names of devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Wanted", "clean", "decoded", "ensure", "unique_names"]


def decoded(content: bytes) -> str:
    """Decodes text of unknown encoding as UTF-8 or, if it is not valid, as Windows-1252.

    Examples:
        >>> decoded("Süd".encode()), decoded("5 €".encode("cp1252"))
        ('Süd', '5 €')
    """
    for codec in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(codec)
        except UnicodeDecodeError:
            pass
    return content.decode("latin-1")  # five bytes are undefined in Windows-1252


def clean(name: str) -> str:
    r"""Returns a name without surrounding blanks and unprintable characters.

    Devices pad names with blanks or zero bytes to a fixed length. All other characters, including
    blanks inside a name, stay unchanged.

    Examples:
        >>> clean(" L1 Mag\0\0")
        'L1 Mag'
    """
    return "".join(one for one in name if one.isprintable()).strip()


def unique_names(names: Iterable[str]) -> list[str]:
    """Returns the names made unique: the position is appended to names that occur several times.

    Examples:
        >>> unique_names(["I", "I", "U"])
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
    """A stream to find or create."""

    name: str
    unit: str
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])


def ensure(client: Client, collection: str, wanted: Iterable[Wanted]) -> dict[str, UUID]:
    """Returns the uuids of the streams with these names, and creates missing streams.

    Raises:
        BTRDBValueError: A stream has another unit, or two have the same name.
    """
    there: dict[str, Any] = {}
    for stream in client.streams_in_collection(collection, is_collection_prefix=False):
        if stream.name in there:
            raise BTRDBValueError(f"several streams have the name `{collection}/{stream.name}`")
        there[str(stream.name)] = stream
    found: dict[str, UUID] = {}
    for one in wanted:
        if one.name in found:
            raise BTRDBValueError(f"two streams of `{collection}` would have the name `{one.name}`")
        if one.name in there and there[one.name].unit != one.unit:
            raise BTRDBValueError(
                f"`{collection}/{one.name}` has the unit `{there[one.name].unit}`, not `{one.unit}`"
            )
        if one.name not in there:
            tags = {"name": one.name, "unit": one.unit}
            there[one.name] = client.create(uuid4(), collection, tags, dict(one.annotations))
        found[one.name] = there[one.name].uuid
    return found
