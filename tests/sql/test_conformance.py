"""Statements through a server and its client, and what PostgreSQL 15 with hstore answers."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, Self
from uuid import UUID

import pingthings.timeseries as pt
import pytest
from conftest import Serve
from pingthings.timeseries.annotations import from_text
from pingthings.timeseries.exceptions import BadSQLValue
from sql.postgresql import PostgreSQL, is_installed
from twins import connect_async

HERE = Path(__file__).parent


class Statement(NamedTuple):
    """A block of a file of statements."""

    name: str
    text: str
    parameters: list[str]
    refused: str | None

    @classmethod
    def parse(cls, block: str) -> Self:
        name, *lines = block.splitlines()
        parameters = [line.split(": ", 1)[1] for line in lines if line.startswith("-- $")]
        refused = [line.split(": ", 1)[1] for line in lines if line.startswith("-- refused")]
        text = "\n".join(line for line in lines if not line.startswith("-- ")).strip()
        return cls(name, text, parameters, refused[0] if refused else None)


def statements(file: str) -> list[Statement]:
    blocks = (HERE / file).read_text().split("-- name: ")
    return [Statement.parse(block) for block in blocks[1:]]


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
    fixture = json.loads((HERE / "fixture.json").read_text())
    for stream in fixture["streams"]:
        tags = {key: stream[key] for key in ("name", "unit", "ingress", "distiller")}
        uuid = UUID(stream["uuid"])
        # What the server keeps as just this text.
        annotations = {
            key: None if text is None else from_text(text)
            for key, text in stream["annotations"].items()
        }
        await client.create(uuid, stream["collection"], tags, annotations)
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


async def test_statements_give_what_postgresql_gives(
    filled: pt.AsyncClient, postgresql: PostgreSQL
) -> None:
    for table in ("streams", "devices", "units", "collections"):
        for row in await filled.sql_query(f"select * from {table}"):  # noqa: S608 - the tests' own
            postgresql.insert(table, row)
    differences: list[str] = []
    for statement in statements("queries.sql"):
        theirs = postgresql.rows(statement.text, statement.parameters)
        assert theirs is not None, statement.name
        try:
            ours = await filled.sql_query(statement.text, statement.parameters)
        except BadSQLValue as error:
            differences.append(f"{statement.name}: {error}")
            continue
        if ours != theirs:
            differences.append(f"{statement.name}: {ours} instead of {theirs}")
    assert not differences, "\n".join(differences)


async def test_statements_that_are_not_answered_say_why(filled: pt.AsyncClient) -> None:
    for statement in statements("refused.sql"):
        assert statement.refused is not None
        with pytest.raises(BadSQLValue) as raised:
            await filled.sql_query(statement.text, statement.parameters)
        assert statement.refused in str(raised.value), statement.name
