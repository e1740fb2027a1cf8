"""The streams of a collection by name, made where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from pingthings.timeseries import Client

__all__ = ["Wanted", "ensure"]


@dataclass(frozen=True)
class Wanted:
    """A stream that is to be there."""

    name: str
    unit: str
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])


def ensure(client: Client, collection: str, wanted: Iterable[Wanted]) -> dict[str, UUID]:
    """Returns the streams of these names, and makes those that are not there.

    Raises:
        ValueError: A stream has another unit, or two have the same name.
    """
    there: dict[str, Any] = {}
    for stream in client.streams_in_collection(collection, is_collection_prefix=False):
        if stream.name in there:
            raise ValueError(f"`{collection}/{stream.name}` is the name of several streams")
        there[str(stream.name)] = stream
    found: dict[str, UUID] = {}
    for one in wanted:
        if one.name in found:
            raise ValueError(f"two streams of `{collection}` would be called `{one.name}`")
        if one.name in there and there[one.name].unit != one.unit:
            raise ValueError(
                f"`{collection}/{one.name}` has the unit `{there[one.name].unit}`, not `{one.unit}`"
            )
        if one.name not in there:
            tags = {"name": one.name, "unit": one.unit}
            there[one.name] = client.create(uuid4(), collection, tags, dict(one.annotations))
        found[one.name] = there[one.name].uuid
    return found
