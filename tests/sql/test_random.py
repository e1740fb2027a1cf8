"""Expressions at random: where this server and PostgreSQL both answer, they answer alike."""
# ruff: noqa: S608 - statements are what is made here

import random

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import BadSQLValue
from sql.postgresql import PostgreSQL

ATOMS = (
    *("name", "unit", "collection", "uuid", "annotations", "annotations->'phase'", "watched"),
    *("annotations->'r'", "property_version", "created_at", "last_written", "distiller"),
    *("1", "2", "-3", "2.5", "0.10", "1e2", "4000000000", "1.5::float8", "null", "true", "false"),
    *("'a'", "'1'", "''", "'VPHM'", "'phase'", "'x'::text", "'2024-01-01'", "'{a,b}'"),
    *("interval '1 day'", "interval '36:00'", "date '2024-02-29'", "created_at::date"),
    *("timestamp '2024-01-01 10:00'", "'a=>1'::hstore", "'{\"a\": 1}'::jsonb", "(select 1)"),
    *("array['a','b']", "array[1,2]", "akeys(annotations)", "length(name)", "unit = 'volts'"),
    *("count(*)", "max(name)", "sum(property_version)"),
)
OPERATORS = (
    *("=", "<>", "<", ">=", "+", "-", "*", "/", "%", "^", "||", "->", "->>", "?", "?|", "@>"),
    *("<@", "&&", "like", "ilike", "similar to", "~", "~*", "!~", "and", "or"),
    *("is distinct from", "is not distinct from"),
)
FUNCTIONS = (
    *(("upper", 1), ("lower", 1), ("length", 1), ("coalesce", 2), ("nullif", 2), ("greatest", 2)),
    *(("least", 2), ("abs", 1), ("round", 1), ("round", 2), ("floor", 1), ("ceil", 1)),
    *(("sign", 1), ("substr", 2), ("substr", 3), ("left", 2), ("right", 2), ("split_part", 3)),
    *(("replace", 3), ("strpos", 2), ("concat", 2), ("concat_ws", 3), ("repeat", 2), ("lpad", 3)),
    *(("date_trunc", 2), ("to_char", 2), ("exist", 2), ("defined", 2), ("akeys", 1)),
    *(("avals", 1), ("hstore_to_json", 1), ("array_length", 2), ("cardinality", 1), ("btrim", 2)),
    *(("array_to_string", 2), ("string_to_array", 2), ("mod", 2), ("power", 2), ("sqrt", 1)),
    *(("reverse", 1), ("initcap", 1), ("date_part", 2), ("min", 1), ("max", 1), ("sum", 1)),
    *(("avg", 1), ("count", 1), ("bool_or", 1), ("to_json", 1), ("hstore", 2), ("slice", 2)),
    *(("ascii", 1), ("jsonb_typeof", 1), ("unnest", 1), ("skeys", 1)),
)
TYPES = (
    *("text", "int", "bigint", "numeric", "float8", "varchar(3)", "bool", "uuid", "date"),
    *("timestamp", "timestamptz", "interval", "hstore", "json", "jsonb", "text[]", "int[]"),
)


class Statements:
    """Makes statements, most of which some types forbid."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret

    def expression(self, depth: int) -> str:
        part = self.expression
        if depth == 0 or self.random.random() < 0.3:
            return self.random.choice(ATOMS)
        below = depth - 1
        name, count = self.random.choice(FUNCTIONS)
        return self.random.choice(
            [
                *[f"({part(below)} {self.random.choice(OPERATORS)} {part(below)})"] * 4,
                *[f"{name}({', '.join(part(below) for _ in range(count))})"] * 3,
                *[f"({part(below)})::{self.random.choice(TYPES)}"] * 2,
                f"({part(below)} is not null)",
                f"({part(below)} in ({part(below)}, {part(below)}))",
                f"({part(below)} between {part(below)} and {part(below)})",
                f"case when {part(below)} then {part(below)} else {part(below)} end",
                f"({part(below)} = any ({part(below)}))",
            ]
        )

    def chain(self) -> str:
        """Without parentheses: what binds first is part of the question."""
        text = self.random.choice(ATOMS)
        for _ in range(self.random.randint(1, 3)):
            sign = self.random.choice(["", "", "not ", "- "])
            text += f" {self.random.choice(OPERATORS)} {sign}{self.random.choice(ATOMS)}"
        return text

    def item(self) -> str:
        return self.chain() if self.random.random() < 0.3 else self.expression(2)

    def statement(self) -> str:
        key = self.expression(1)
        return self.random.choice(
            [
                *[f"select {self.item()}, {self.item()} from streams order by uuid"] * 3,
                f"select {self.item()} from streams where {self.item()} order by uuid",
                f"select {key} as k, {self.item()} from streams group by {key} order by 1, 2",
                f"select {self.item()} as a union select {self.item()} from streams order by 1",
                f"select distinct {self.item()} as a from streams order by a desc",
            ]
        )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
async def test_answers_at_random_are_those_of_postgresql(
    filled: pt.AsyncClient, judge: PostgreSQL, seed: int
) -> None:
    make = Statements(seed)
    asked = [make.statement() for _ in range(10_000)]
    answered = 0
    differences: list[str] = []
    for statement, theirs in zip(asked, judge.answers(asked), strict=True):
        try:
            ours = await filled.sql_query(statement)
        except BadSQLValue:
            continue
        if theirs is None:
            continue  # not as strict as PostgreSQL
        answered += 1
        if ours != theirs:
            differences.append(f"{statement}: {ours} instead of {theirs}")
    assert not differences, "\n".join(differences)
    assert answered > 300
