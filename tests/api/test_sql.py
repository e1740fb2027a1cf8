"""SQL over the metadata, through both clients."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import BadSQLValue, BTrDBError, BTRDBTypeError


async def test_rows_are_dicts_by_column(client: pt.AsyncClient, collection: str):
    uuid = uuid4()
    await client.create(uuid, collection, {"name": "b", "unit": "V"}, {"phase": "A", "n": None})
    await client.create(uuid4(), collection, {"name": "a"})
    rows = await client.sql_query(
        "SELECT * FROM streams WHERE collection = $1 ORDER BY name DESC LIMIT 1", [collection]
    )
    (row,) = rows
    assert {
        key: row[key] for key in ("uuid", "collection", "name", "unit", "property_version")
    } == {
        "uuid": str(uuid),
        "collection": collection,
        "name": "b",
        "unit": "V",
        "property_version": 1,
    }
    assert row["annotations"] == {"phase": "A", "n": None}
    counted = await client.sql_query(
        "SELECT count(*), annotations -> 'phase' AS phase FROM streams"
        " WHERE collection = $1 GROUP BY 2 ORDER BY 2",
        [collection],
    )
    assert counted == [{"count": 1, "phase": "A"}, {"count": 1, "phase": None}]
    assert await client.sql_query("SELECT name FROM streams WHERE false") == []


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM streams",
        "SELECT 1; SELECT 2",
        "SELECT * FROM versions",
        "SELECT nonsense(name) FROM streams",
        "SELEC name",
        "",
    ],
    ids=repr,
)
async def test_what_is_not_understood_is_refused(client: pt.AsyncClient, query: str):
    with pytest.raises(BTrDBError) as raised:
        await client.sql_query(query)
    assert raised.value.code in (440, 441)
    assert str(raised.value)


async def test_bad_parameters_are_refused(client: pt.AsyncClient):
    with pytest.raises(BadSQLValue):
        await client.sql_query("SELECT name FROM streams WHERE uuid = $1::uuid", ["no uuid"])
    with pytest.raises(BTrDBError):
        await client.sql_query("SELECT name FROM streams WHERE name = $1")
    wrong: Any
    for wrong in (["x", 5], "x", 5):
        with pytest.raises(BTRDBTypeError):
            await client.sql_query("SELECT name FROM streams WHERE name = $1", wrong)


async def test_collections_say_how_long_they_keep_points(client: pt.AsyncClient, collection: str):
    await client.create(uuid4(), collection)
    query = "SELECT * FROM collections WHERE name = $1"
    expected = {"name": collection, "streams": 1}
    (row,) = await client.sql_query(query, [collection])
    assert row == {**expected, "remove_older_than_ns": None, "override_per_stream": None}
    await client.set_collection_retention(collection, remove_older_than=timedelta(seconds=2))
    (row,) = await client.sql_query(query, [collection])
    kept = {"remove_older_than_ns": 2_000_000_000, "override_per_stream": False}
    assert row == {**expected, **kept}
    # For ever, whatever the streams say.
    await client.set_collection_retention(collection, override_per_stream=True)
    (row,) = await client.sql_query(query, [collection])
    assert row == {**expected, "remove_older_than_ns": None, "override_per_stream": True}
    assert await client.get_collection_properties(collection) == {
        "retention": {"override_per_stream": True}
    }
