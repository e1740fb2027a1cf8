"""Retention, devices and units."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    ObjectExists,
    ObjectNotFound,
    StreamNotFoundError,
)

WEEK = timedelta(days=7)


async def test_a_stream_keeps_what_it_says_or_what_its_collection_says(
    client: pt.AsyncClient, stream: pt.AsyncStream, collection: str
):
    assert await stream.get_retention() == {}
    await client.set_collection_retention(
        collection, override_per_stream=False, remove_older_than=WEEK
    )
    assert await stream.get_retention() == {"remove_older_than": WEEK}
    await stream.set_retention(timedelta(days=1, microseconds=1))
    assert await stream.get_retention() == {"remove_older_than": timedelta(days=1, microseconds=1)}
    await client.set_collection_retention(
        collection, override_per_stream=True, remove_older_than=WEEK
    )
    assert await stream.get_retention() == {"remove_older_than": WEEK}
    assert await client.get_collection_properties(collection) == {
        "retention": {"remove_older_than": WEEK, "override_per_stream": True}
    }
    await client.set_collection_retention(collection)
    assert await client.get_collection_properties(collection) == {"retention": {}}
    assert await stream.get_retention() == {"remove_older_than": timedelta(days=1, microseconds=1)}
    await stream.set_retention()
    assert await stream.get_retention() == {}


async def test_a_collection_without_streams_may_have_a_retention(client: pt.AsyncClient):
    name = f"tests/{uuid4()}"
    assert await client.get_collection_properties(name) == {"retention": {}}
    await client.set_collection_retention(name, remove_older_than=WEEK)
    assert await client.get_collection_properties(name) == {
        "retention": {"remove_older_than": WEEK}
    }


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (timedelta(0), BTRDBValueError),
        (timedelta(days=-1), BTRDBValueError),
        (timedelta.max, BTRDBValueError),
        (datetime(2024, 1, 1, tzinfo=UTC), BTRDBTypeError),
        (7, BTRDBTypeError),
    ],
    ids=repr,
)
async def test_retention_is_a_positive_duration(
    client: pt.AsyncClient, stream: pt.AsyncStream, value: Any, error: type[Exception]
):
    with pytest.raises(error, match="`remove_older_than`"):
        await stream.set_retention(value)
    with pytest.raises(error, match="`remove_older_than`"):
        await client.set_collection_retention("x", remove_older_than=value)
    assert await stream.get_retention() == {}


async def test_retention_of_unknown_streams(unknown: pt.AsyncStream):
    with pytest.raises(StreamNotFoundError):
        await unknown.get_retention()
    with pytest.raises(StreamNotFoundError):
        await unknown.set_retention(WEEK)


FIELDS: dict[str, Any] = {
    "rate": 30,
    "scale": 0.1,
    "large": 2**70,
    "vendor": "Škoda",
    "channels": ["a", {"b": None}],
    "active": True,
}


@pytest.mark.parametrize("kind", ["device", "unit"])
async def test_records_are_kept_as_they_are(client: pt.AsyncClient, kind: str):
    name = f"{kind} {uuid4()}"
    create, update = getattr(client, f"create_{kind}"), getattr(client, f"update_{kind}")
    get, delete = getattr(client, f"get_{kind}"), getattr(client, f"delete_{kind}")
    listed = getattr(client, f"list_{kind}s")
    made = await create({"name": name, **FIELDS})
    assert made == {"id": made["id"], "name": name, **FIELDS}
    assert list(made) == ["id", "name", *FIELDS]
    assert await get(made["id"]) == made
    assert made in await listed()
    changed = await update({"id": made["id"], "rate": 60, "name": f"{name}!"})
    assert changed == {**made, "rate": 60, "name": f"{name}!"}
    assert await get(made["id"]) == changed
    with pytest.raises(ObjectExists, match=re.escape(f"{name}!")):
        await create({"name": f"{name}!"})
    assert await delete(made["id"]) is None
    for call in (get(made["id"]), delete(made["id"]), update({"id": made["id"], "rate": 1})):
        with pytest.raises(ObjectNotFound) as raised:
            await call
        assert isinstance(raised.value, LookupError)
        assert str(made["id"]) in str(raised.value)
    ids = [record["id"] for record in await listed()]
    assert made["id"] not in ids
    assert ids == sorted(ids)


@pytest.mark.parametrize("kind", ["device", "unit"])
@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({}, BTRDBValueError),
        ({"name": ""}, BTRDBValueError),
        ({"name": None}, BTRDBValueError),
        ({"name": 5}, BTRDBTypeError),
        ({"name": "x", "id": 3}, BTRDBValueError),
        ({"name": "x", "rate": float("nan")}, BTRDBValueError),
        ({"name": "x", "rate": {1, 2}}, BTRDBTypeError),
        ({"name": "x", 5: 6}, BTRDBTypeError),
        ("x", BTRDBTypeError),
    ],
    ids=repr,
)
async def test_bad_records_are_refused(
    client: pt.AsyncClient, kind: str, record: Any, error: type[Exception]
):
    with pytest.raises(error):
        await getattr(client, f"create_{kind}")(record)


async def test_bad_ids_are_refused(client: pt.AsyncClient):
    with pytest.raises(BTRDBTypeError, match="`device_id` must be an integer"):
        await client.get_device("1")  # type: ignore[arg-type]
    with pytest.raises(BTRDBValueError, match="`unit_id` is -1"):
        await client.delete_unit(-1)
    with pytest.raises(BTRDBValueError, match="has no `id`"):
        await client.update_device({"name": "x"})
