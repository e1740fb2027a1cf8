"""A filled server, and a PostgreSQL."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pingthings.timeseries as pt
import pytest
from conftest import Serve
from pingthings.timeseries.annotations import from_text
from sql.postgresql import PostgreSQL, is_installed
from twins import connect_async


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    if not is_installed():
        if "CI" in os.environ:
            pytest.fail("PostgreSQL 15 is missing: install postgresql-15")
        pytest.skip("PostgreSQL 15 is not installed")
    with PostgreSQL() as server:
        yield server


@pytest.fixture
async def filled(serve: Serve) -> AsyncIterator[pt.AsyncClient]:
    """A client of a server that holds the fixture and nothing else."""
    client = await connect_async(serve().endpoint, None)
    fixture = json.loads((Path(__file__).parent / "fixture.json").read_text())
    for stream in fixture["streams"]:
        tags = {key: stream[key] for key in ("name", "unit", "ingress", "distiller")}
        # What the server keeps as just this text.
        annotations = {
            key: None if text is None else from_text(text)
            for key, text in stream["annotations"].items()
        }
        await client.create(UUID(stream["uuid"]), stream["collection"], tags, annotations)
    for retention in fixture["retention"]:
        await client.set_collection_retention(
            retention["collection"],
            retention["override"],
            timedelta(microseconds=retention["keep_ns"] // 1000),
        )
    for device in fixture["devices"]:
        await client.create_device({"name": device["name"], **device["fields"]})
    for unit in fixture["units"]:
        await client.create_unit({"name": unit["name"], **unit["fields"]})
    yield client
    await client.close()


@pytest.fixture
async def judge(filled: pt.AsyncClient, postgresql: PostgreSQL) -> PostgreSQL:
    """A PostgreSQL that holds what the server of `filled` says that it holds."""
    for table in ("streams", "devices", "units", "collections"):
        for row in await filled.sql_query(f"select * from {table}"):  # noqa: S608 - the tests' own
            postgresql.insert(table, row)
    return postgresql
