"""Statements through a server and its client, and what PostgreSQL 15 with hstore answers."""

from pathlib import Path
from typing import NamedTuple, Self

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import BadSQLValue
from sql.postgresql import PostgreSQL


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
    blocks = (Path(__file__).parent / file).read_text().split("-- name: ")
    return [Statement.parse(block) for block in blocks[1:]]


async def test_statements_give_what_postgresql_gives(
    filled: pt.AsyncClient, judge: PostgreSQL
) -> None:
    differences: list[str] = []
    for statement in statements("queries.sql"):
        theirs = judge.rows(statement.text, statement.parameters)
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
