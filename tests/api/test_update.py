"""Changing what a stream is."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.timeseries.annotations import from_text, is_kept_as, to_text
from pingthings.timeseries.exceptions import (
    AmbiguousStream,
    BTRDBTypeError,
    BTRDBValueError,
    ConcurrentModification,
    InvalidTagKey,
    StreamNotFoundError,
)

VALUES: dict[str, Any] = {
    "text": "twelve",
    "quoted": '"x"',
    "almost": "1.50",
    "number": 12,
    "fraction": 1.5,
    "flag": False,
    "nothing": None,
    "list": [1, "two", None],
    "dict": {"a": {"b": 1}},
    "unicode": "žluťoučký 𝄞",
    "empty": "",
}


async def test_annotations_come_back_as_what_they_were(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection, {"name": "a"}, VALUES)
    assert await stream.annotations() == VALUES
    assert await stream.annotations(refresh=True) == VALUES
    for key, value in VALUES.items():
        if value is not None:
            found = await client.streams_in_collection(collection, annotations={key: value})
            assert [s.uuid for s in found] == [stream.uuid], key
        everything = await client.streams_in_collection(collection)
        assert len(everything.filter(annotations={key: value})) == 1, key
    found = await client.streams_in_collection(collection)
    for other in ({"flag": 0}, {"number": 12.5}, {"nothing": "null"}, {"text": ["twelve"]}):
        assert len(found.filter(annotations=other)) == 0


class Phase(StrEnum):
    A = "A"


@pytest.mark.parametrize(
    ("given", "kept", "read"),
    [
        ("60", "60", 60),
        (60, "60", 60),
        ("true", "true", True),
        ("null", "null", None),
        ('"60"', '"60"', "60"),
        ('"x"', '"x"', '"x"'),
        ('{"a":1}', '{"a":1}', '{"a":1}'),
        ('{"a": 1}', '{"a": 1}', {"a": 1}),
        ("1.50", "1.50", "1.50"),
        ("007", "007", "007"),
        ("NaN", "NaN", "NaN"),
        ([1, "x"], '[1, "x"]', [1, "x"]),
        (Phase.A, "A", "A"),
    ],
)
async def test_text_is_kept_to_the_letter(
    client: pt.AsyncClient, collection: str, given: Any, kept: str, read: Any
):
    stream = await client.create(uuid4(), collection, {"name": "a"}, {"kv": given})
    other = await client.create(uuid4(), collection, {"name": "b"})
    await other.update(annotations={"kv": given})
    for known in (stream, other):
        for refresh in (False, True):
            assert (await known.annotations(refresh)) == {"kv": read}
    rows = await client.sql_query(
        "SELECT name FROM streams WHERE collection = $1 AND annotations->'kv' = $2 ORDER BY name",
        [collection, kept],
    )
    assert [row["name"] for row in rows] == ["a", "b"]
    for wanted in (given, kept):
        found = await client.streams_in_collection(collection, annotations={"kv": wanted})
        assert len(found) == 2
        assert len(found.filter(annotations={"kv": wanted})) == 2


def test_what_earlier_versions_kept_in_quotes_is_read_without():
    for text in ("12", "true", '"x"', "null", "[1]"):
        assert from_text(json.dumps(text)) == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_every_value_survives_being_text(value: Any):
    text = to_text("key", value)
    assert from_text(text) == value
    assert is_kept_as(value, text)


@given(st.text() | JSON.map(json.dumps) | st.sampled_from(["NaN", "1e400", "-0", "1.0", "1E5"]))
def test_every_text_survives(text: str):
    assert to_text("key", text) == text
    assert is_kept_as(text, text)
    # What others wrote is never lost: what is read is kept as what it was read from.
    value = from_text(text)
    is_of_earlier_versions = isinstance(value, str) and value != text
    assert to_text("key", value) == text or is_of_earlier_versions


async def test_update_changes_what_is_given(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection, {"name": "a", "unit": "V"}, {"x": 1, "y": 2})
    assert await stream.update(tags={"unit": "A"}) == 2
    assert await stream.update(annotations={"y": 3, "z": "new"}) == 3
    assert await stream.update(collection=f"{collection}/moved", tags={"name": "b"}) == 4
    other = (await client.streamset_from_uuids([stream.uuid]))[0]
    for known in (stream, other):
        assert (known.name, known.unit) == ("b", "A")
        assert known.collection == f"{collection}/moved"
        assert known.property_version == 4
        assert await known.annotations() == {"x": 1, "y": 3, "z": "new"}
    assert await stream.update({"name": "c"}, {"x": 9}, collection) == 6


async def test_replace_removes_what_is_not_given(client: pt.AsyncClient, collection: str):
    made = await client.create(uuid4(), collection, {"name": "a", "unit": "V"}, {"x": 1, "y": 2})
    stream = client.stream_from_uuid(made.uuid)
    await stream.update(annotations={"z": 3}, replace=True)
    assert await stream.annotations(refresh=True) == {"z": 3}
    assert (await stream.tags())["unit"] == "V"
    await stream.update(tags={"name": "b"}, replace=True)
    assert await stream.tags(refresh=True) == {
        "name": "b",
        "unit": "",
        "ingress": "",
        "distiller": "",
    }
    await stream.update(annotations={}, replace=True)
    assert await stream.annotations(refresh=True) == {}


async def test_somebody_elses_change_is_not_overwritten(client: pt.AsyncClient, collection: str):
    stream = await client.create(uuid4(), collection, {"name": "a"})
    other = (await client.streamset_from_uuids([stream.uuid]))[0]
    await other.update(annotations={"by": "other"})
    with pytest.raises(ConcurrentModification):
        await stream.update(annotations={"by": "me"})
    assert await stream.annotations(refresh=True) == {"by": "other"}
    await stream.update(annotations={"by": "me"})
    assert await other.annotations(refresh=True) == {"by": "me"}


async def test_bad_updates_are_refused(client: pt.AsyncClient, collection: str):
    await client.create(uuid4(), collection, {"name": "taken"})
    stream = await client.create(uuid4(), collection, {"name": "a"})
    with pytest.raises(BTRDBValueError, match="nothing to update"):
        await stream.update()
    with pytest.raises(InvalidTagKey):
        await stream.update(tags={"colour": "red"})
    with pytest.raises(AmbiguousStream):
        await stream.update(tags={"name": "taken"})
    with pytest.raises(BTRDBTypeError, match="`at` cannot be kept as JSON"):
        await stream.update(annotations={"at": datetime(2024, 1, 1)})  # noqa: DTZ001
    with pytest.raises(BTRDBValueError):
        await stream.update(annotations={"at": float("nan")})
    with pytest.raises(BTRDBTypeError):
        await stream.update(tags=[("name", "b")])  # type: ignore[arg-type]
    with pytest.raises(StreamNotFoundError):
        await client.stream_from_uuid(uuid4()).update(tags={"name": "b"})
    assert (await stream.tags(refresh=True))["name"] == "a"
    assert stream.property_version == 1


async def test_an_encoder_writes_what_json_cannot(client: pt.AsyncClient, collection: str):
    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return o.isoformat()

    stream = await client.create(uuid4(), collection, {"name": "a"})
    await stream.update(annotations={"at": [datetime(2024, 1, 1)]}, encoder=Encoder)  # noqa: DTZ001
    assert await stream.annotations() == {"at": ["2024-01-01T00:00:00"]}
