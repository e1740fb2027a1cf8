"""The streams that columns or names of a file go into, and how many points each got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from pingthings.files.columns import Value, folded
from pingthings.timeseries.client import Client, Stream
from pingthings.timeseries.exceptions import BTrDBError, StreamNotFoundError

__all__ = ["Streams", "Target"]


@dataclass
class Target:
    """A stream to be, and what goes into it."""

    value: Value
    collection: str
    stream: Stream | None = None
    uuid: UUID | None = None
    """What it is to have, if the file says it."""
    points: int = 0
    replaced: int = 0
    """Points that took the place of others at the same time."""
    ignored: int = 0
    """Points that were not stored, because there are others at the same time."""
    first: int | None = None
    last: int | None = None
    newest: int | None = None
    """The last time that the stream has, as far as is known; None if it has none."""
    is_known: bool = False
    """Whether the server was asked for `newest`."""

    @property
    def name(self) -> str:
        """What the stream is called."""
        return self.value.name

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return str(self.stream.uuid) if self.stream else f"{self.collection}/{self.name}"

    def add(self, count: int, low: int, high: int) -> None:
        """Counts points from one time to another."""
        self.points += count
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)
        self.newest = high if self.newest is None else max(self.newest, high)


@dataclass
class Streams:
    """Streams that were looked up or made, for all files of a command."""

    client: Client
    _known: dict[str, dict[str, list[Stream]]] = field(default_factory=dict[str, Any])
    _folded: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict[str, Any])
    fed: dict[str, list[tuple[str, int, int]]] = field(
        default_factory=dict[str, list[tuple[str, int, int]]]
    )
    """Which files went into a stream, and from when to when."""

    def find(self, value: Value, collection: str) -> Stream | None:
        """Returns the stream of a collection that a column goes into, if there is one.

        Raises:
            BTrDBError: A stream of this name exists twice, or has another unit.
        """
        found = self._named(collection).get(value.name, [])
        if len(found) > 1 and value.unit:
            found = [stream for stream in found if stream.unit == value.unit]
        if len(found) > 1:
            raise BTrDBError(f"`{collection}/{value.name}` is the name of {len(found)} streams")
        if found and value.unit and found[0].unit != value.unit:
            raise BTrDBError(
                f"stream `{collection}/{value.name}` has the unit `{found[0].unit}`, not "
                f"`{value.unit}`; leave the unit out, or choose another name"
            )
        return found[0] if found else None

    def alike(self, name: str, collection: str) -> str | None:
        """Returns the name of a stream that is there, if this one differs from it by case only.

        Or by how its letters are composed.
        """
        known = self._named(collection)
        if name in known:
            return None
        count, names = self._folded.get(collection, (-1, {}))
        if count != len(known):
            count, names = len(known), {folded(other): other for other in known}
            self._folded[collection] = count, names
        return names.get(folded(name))

    def find_path(self, text: str) -> tuple[str, str, Stream | None] | None:
        """Returns the collection, name and stream of `collection/name`, None if it is no such.

        Either may hold slashes; without a stream the last one parts them.
        """
        place = len(text)
        while (place := text.rfind("/", 0, place)) > 0:
            collection, name = text[:place], text[place + 1 :]
            found = self._named(collection).get(name, [])
            if len(found) > 1:
                raise BTrDBError(f"`{text}` is the name of {len(found)} streams")
            if found:
                return collection, name, found[0]
        collection, slash, name = text.rpartition("/")
        return (collection, name, None) if slash and collection and name else None

    def find_uuid(self, uuid: UUID) -> Stream | None:
        """Returns the stream of a uuid, if there is one."""
        try:
            stream = self.client.streamset_from_uuids([uuid])[0]
            _ = stream.collection
        except StreamNotFoundError:
            return None
        return stream

    def make(self, target: Target) -> Stream:
        """Returns the stream of a target, which is made if there is none."""
        # Looked for again: a file before this one may have made it.
        found = target.stream or self.find(target.value, target.collection)
        if found is None:
            tags = {"name": target.name, "unit": target.value.unit}
            found = self.client.create(target.uuid or uuid4(), target.collection, tags)
            self._named(target.collection).setdefault(target.name, []).append(found)
        target.stream = found
        return found

    def _named(self, collection: str) -> dict[str, list[Stream]]:
        if collection not in self._known:
            by_name: dict[str, list[Stream]] = {}
            for stream in self.client.streams_in_collection(collection, is_collection_prefix=False):
                by_name.setdefault(stream.name or "", []).append(stream)
            self._known[collection] = by_name
        return self._known[collection]
