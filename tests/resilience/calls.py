"""Every public call of both clients with arguments, so that nothing can be left out of a test."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pyarrow as pa
from pingthings.timeseries.constants import _PW

SYNC = (pt.Client, pt.Stream, pt.StreamSet)
ASYNC = (pt.AsyncClient, pt.AsyncStream, pt.AsyncStreamSet)

END = 10**12
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Subject:
    """What is called: a client, a stream of it without metadata, and a set of such streams."""

    client: Any
    stream: Any
    streams: Any
    endpoint: str

    @classmethod
    def of(cls, client: Any, uuid: UUID, endpoint: str) -> Subject:
        made = pt.AsyncStreamSet if isinstance(client, pt.AsyncClient) else pt.StreamSet
        streams = made([client.stream_from_uuid(uuid) for _ in range(3)])
        return cls(client, client.stream_from_uuid(uuid), streams, endpoint)

    def stranger(self) -> Any:
        """A stream that does not exist, for what would end one."""
        return self.client.stream_from_uuid(uuid4())

    def each(self, value: Any) -> dict[UUID, Any]:
        return {stream.uuid: value for stream in self.streams}


Call = Callable[[Subject], Any]

ASKING: dict[str, Call] = {
    "Client.connect": lambda s: type(s.client).connect(endpoint=s.endpoint),
    "Client.create": lambda s: s.client.create(uuid4(), f"calls/{uuid4()}"),
    "Client.create_device": lambda s: s.client.create_device({"name": str(uuid4())}),
    "Client.create_unit": lambda s: s.client.create_unit({"name": str(uuid4())}),
    "Client.create_streams": lambda s: s.client.create_streams(
        pa.table({"time": [1], "x": [1.0]}), f"calls/{uuid4()}"
    ),
    "Client.delete_device": lambda s: s.client.delete_device(1),
    "Client.delete_unit": lambda s: s.client.delete_unit(1),
    "Client.get_collection_properties": lambda s: s.client.get_collection_properties("calls"),
    "Client.get_device": lambda s: s.client.get_device(1),
    "Client.get_unit": lambda s: s.client.get_unit(1),
    "Client.info": lambda s: s.client.info(),
    "Client.list_collections": lambda s: s.client.list_collections(),
    "Client.list_devices": lambda s: s.client.list_devices(),
    "Client.list_units": lambda s: s.client.list_units(),
    "Client.set_collection_retention": lambda s: s.client.set_collection_retention(
        "calls", remove_older_than=DAY
    ),
    "Client.sql_query": lambda s: s.client.sql_query("select 1"),
    "Client.streams_in_collection": lambda s: s.client.streams_in_collection("calls"),
    "Client.streamset_from_uuids": lambda s: s.client.streamset_from_uuids([s.stream.uuid]),
    "Client.update_device": lambda s: s.client.update_device({"id": 1, "name": str(uuid4())}),
    "Client.update_unit": lambda s: s.client.update_unit({"id": 1, "name": str(uuid4())}),
    "Stream.aligned_windows": lambda s: s.stream.aligned_windows(0, END, 30),
    "Stream.aligned_windows_iter": lambda s: s.stream.aligned_windows_iter(0, END, 30),
    "Stream.annotations": lambda s: s.stream.annotations(),
    "Stream.changes": lambda s: s.stream.changes(1, 2),
    "Stream.changes_iter": lambda s: s.stream.changes_iter(1, 2),
    "Stream.count": lambda s: s.stream.count(),
    "Stream.delete": lambda s: s.stranger().delete(0, 1),
    "Stream.earliest": lambda s: s.stream.earliest(),
    "Stream.flush": lambda s: s.stream.flush(),
    "Stream.get_latest_version": lambda s: s.stream.get_latest_version(),
    "Stream.get_retention": lambda s: s.stream.get_retention(),
    "Stream.get_version_at_time": lambda s: s.stream.get_version_at_time(END),
    "Stream.insert": lambda s: s.stream.insert([(1, 1.0)], "replace"),
    "Stream.latest": lambda s: s.stream.latest(),
    "Stream.nearest": lambda s: s.stream.nearest(5),
    "Stream.obliterate": lambda s: s.stranger().obliterate(),
    "Stream.plot": lambda s: s.stream.plot(0, END),
    "Stream.precise_windows": lambda s: s.stream.precise_windows(0, END, DAY),
    "Stream.precise_windows_iter": lambda s: s.stream.precise_windows_iter(0, END, DAY),
    "Stream.raw_values": lambda s: s.stream.raw_values(0, END),
    "Stream.raw_values_iter": lambda s: s.stream.raw_values_iter(0, END),
    "Stream.refresh_metadata": lambda s: s.stream.refresh_metadata(),
    "Stream.set_retention": lambda s: s.stranger().set_retention(DAY),
    "Stream.tags": lambda s: s.stream.tags(),
    "Stream.update": lambda s: s.stream.update(tags={"name": "again"}),
    "Stream.windowed_values": lambda s: s.stream.windowed_values(0, END, _PW(30)),
    "StreamSet.aligned_windows": lambda s: s.streams.aligned_windows(0, END, 30),
    "StreamSet.changes": lambda s: s.streams.changes(s.each(1), s.each(2)),
    "StreamSet.count": lambda s: s.streams.count(),
    "StreamSet.earliest": lambda s: s.streams.earliest(),
    "StreamSet.flush": lambda s: s.streams.flush(),
    "StreamSet.get_latest_version": lambda s: s.streams.get_latest_version(),
    "StreamSet.get_version_at_time": lambda s: s.streams.get_version_at_time(END),
    "StreamSet.insert": lambda s: s.streams.insert(s.each([(1, 1.0)]), "replace"),
    "StreamSet.latest": lambda s: s.streams.latest(),
    "StreamSet.pin_versions": lambda s: s.streams.pin_versions(),
    "StreamSet.plot": lambda s: s.streams.plot(0, END),
    "StreamSet.precise_windows": lambda s: s.streams.precise_windows(0, END, DAY),
    "StreamSet.raw_values": lambda s: s.streams.raw_values(0, END),
    "StreamSet.joined_values": lambda s: s.streams[:1].joined_values(0, END),
    "StreamSet.refresh_metadata": lambda s: s.streams.refresh_metadata(),
    "StreamSet.windowed_values": lambda s: s.streams.windowed_values(0, END, DAY),
}
"""What asks the server."""

ASKING_ONCE: dict[str, Call] = {
    "Stream.collection": lambda s: s.stream.collection,
    "Stream.name": lambda s: s.stream.name,
    "Stream.unit": lambda s: s.stream.unit,
}
"""What the blocking twin asks the server when it does not know it yet."""

SILENT = {
    *("Client.close", "Client.concurrency_limit", "Client.endpoint"),
    "Client.get_async_client",
    *("Client.get_event_loop", "Client.stream_from_uuid", "Client.timeout"),
    *("Client.deadline", "Client.memory_limit", "Client.stats", "Client.with_time_limits"),
    *("Stream.client", "Stream.conn", "Stream.pin_version", "Stream.pinned_version"),
    *("Stream.property_version", "Stream.uuid", "StreamSet.filter"),
}
"""What never asks."""


def members(*classes: type) -> set[str]:
    """The public names of classes, as they are called in the tables."""
    return {
        f"{cls.__name__.removeprefix('Async')}.{name}"
        for cls in classes
        for name, _ in inspect.getmembers(cls)
        if not name.startswith("_")
    }


def blocking_calls() -> dict[str, Call]:
    """What the blocking twin has that asks."""
    has = members(*SYNC)
    return {name: call for name, call in (ASKING | ASKING_ONCE).items() if name in has}


def asynchronous_calls() -> dict[str, Call]:
    """What the asynchronous twin has that asks."""
    has = members(*ASYNC)
    return {name: call for name, call in ASKING.items() if name in has}


def begun(call: Call, subject: Subject) -> Any:
    """The result of a blocking call, of an iterator its first item."""
    result = call(subject)
    return next(result) if isinstance(result, Iterator) else result


async def awaited(call: Call, subject: Subject) -> Any:
    """The result of an asynchronous call, of an iterator its first item."""
    result = call(subject)
    return await (anext(result) if isinstance(result, AsyncIterator) else result)
