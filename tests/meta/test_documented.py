"""What the platform documents, and what was decided where it is silent, is what there is.

`documented.json` has a line for each class, method, function, constant and exception: its signature
as it is documented, with the number of the decision that fills a gap. Types of parameters in it are
those of the documents; ours may be wider, so of parameters names, order and defaults are compared.
Under `ours` stand parameters that we added, by keyword only.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings.timeseries import constants, exceptions

DOCUMENTED = json.loads((Path(__file__).parent / "documented.json").read_text(encoding="utf-8"))
CASES = [
    pytest.param(line, owner, id=f"{owner}.{line['name']}")
    for line in DOCUMENTED["callables"]
    for owner in line["on"]
]
CLASSES = ("AsyncClient", "AsyncStream", "AsyncStreamSet", "Client", "Stream", "StreamSet")
Parameters = list[tuple[str, Any]]


def owned(owner: str) -> Any:
    return pt if owner == "." else attrgetter(owner)(pt)


def value(node: ast.expr) -> Any:
    """A default as it is written: a literal, or the name of one of our constants."""
    if isinstance(node, ast.Name):
        return getattr(constants, node.id)
    return ast.literal_eval(node)


def written(signature: str) -> Parameters:
    """The parameters of a signature, with their defaults."""
    function = ast.parse(f"def _{signature}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    names = [argument.arg for argument in function.args.args]
    defaults = [value(default) for default in function.args.defaults]
    required = [inspect.Parameter.empty] * (len(names) - len(defaults))
    named = [
        (argument.arg, value(default))
        for argument, default in zip(
            function.args.kwonlyargs, function.args.kw_defaults, strict=True
        )
        if default is not None
    ]
    return [*zip(names, [*required, *defaults], strict=True), *named]


def found(function: Any) -> Parameters:
    # What `connect` takes by keyword beyond what is documented is held by its type.
    return [
        (parameter.name, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self" and parameter.kind != inspect.Parameter.VAR_KEYWORD
    ]


@pytest.mark.parametrize(("line", "owner"), CASES)
def test_a_documented_name_takes_what_is_documented(line: dict[str, Any], owner: str) -> None:
    member = inspect.getattr_static(owned(owner), line["name"])
    if line["kind"] == "property":
        assert isinstance(member, property)
        return
    if line["kind"] == "static":
        assert isinstance(member, staticmethod | classmethod)
    ours = written(line["ours"]) if "ours" in line else []
    assert found(getattr(owned(owner), line["name"])) == written(line["signature"]) + ours


@pytest.mark.parametrize(("line", "owner"), CASES)
def test_a_documented_name_gives_what_is_documented(line: dict[str, Any], owner: str) -> None:
    _, _, gives = line["signature"].partition(" -> ")
    if gives:
        if not owner.startswith("Async") and line["name"] != "get_async_client":
            gives = gives.replace("Async", "")
        ours = inspect.signature(getattr(owned(owner), line["name"])).return_annotation
        assert ours.replace("pa.", "") == gives


@pytest.mark.parametrize(("line", "owner"), CASES)
def test_a_documented_name_is_awaited_on_the_asynchronous_side_only(
    line: dict[str, Any], owner: str
) -> None:
    function = getattr(owned(owner), line["name"])
    is_async = owner.startswith("Async")
    asks_the_server = line["kind"] == "io" or line["name"] == "connect"
    is_iterator = line["kind"] == "iterator"
    assert inspect.iscoroutinefunction(function) == (asks_the_server and is_async)
    assert inspect.isasyncgenfunction(function) == (is_iterator and is_async)
    if is_iterator and not is_async:
        assert inspect.signature(function).return_annotation.startswith("Iterator[")


@pytest.mark.parametrize("owner", CLASSES)
def test_nothing_is_public_that_is_not_in_the_list(owner: str) -> None:
    listed = {line["name"] for line in DOCUMENTED["callables"] if owner in line["on"]}
    public = {name for name in vars(owned(owner)) if not name.startswith("_")} | {"__init__"}
    assert public == listed
    assert not public & set(DOCUMENTED["absent"].get(owner, ()))


def test_every_line_says_where_it_is_from() -> None:
    for kind in ("callables", "constants", "exceptions"):
        for line in DOCUMENTED[kind]:
            basis = r"documented|btrdb 5|design [46]|peers \d+|D\d{1,2}"
            assert re.fullmatch(basis, line["basis"]), line["name"]


@pytest.mark.parametrize("line", DOCUMENTED["constants"], ids=lambda line: str(line["name"]))
def test_a_constant_has_its_value(line: dict[str, str]) -> None:
    names = {"pa": pa, "_PW": constants._PW}
    expected = eval(line["value"], names)  # noqa: S307 - our own list
    ours = getattr(constants, line["name"])
    assert ours == expected
    if isinstance(expected, pa.Schema):
        assert ours.equals(expected, check_metadata=True)


@pytest.mark.parametrize("line", DOCUMENTED["exceptions"], ids=lambda line: str(line["name"]))
def test_an_exception_has_its_bases_and_codes(line: dict[str, Any]) -> None:
    ours = getattr(exceptions, line["name"])
    for base in line["bases"]:
        known = getattr(exceptions, base, None) or getattr(builtins, base)
        assert issubclass(ours, known)
    for code in line["codes"]:
        assert isinstance(exceptions.from_code(code, "refused"), ours)


async def test_a_table_of_sql_has_its_columns(
    client: pt.AsyncClient, stream: pt.AsyncStream
) -> None:
    for table, columns in DOCUMENTED["columns"].items():
        query = f"SELECT * FROM {table} WHERE uuid = $1"  # noqa: S608 - our own list
        (row,) = await client.sql_query(query, [str(stream.uuid)])
        assert list(row) == columns
