"""Lists the public names of the older client, from its wheel, without importing it.

    python tests/migration/list_btrdb_names.py btrdb-5.34.2-py3-none-any.whl > btrdb_names.json

Public is what has no leading underscore: classes with their methods, properties and attributes,
functions and constants of every module that is not generated.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from typing import TypeAlias

GENERATED = "btrdb/grpcinterface/"
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return not name.startswith("_")


def assigned(statement: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    for target in targets:
        if isinstance(target, ast.Name) and is_public(target.id):
            yield target.id


def attributes(node: ast.AST) -> Iterator[str]:
    """What a constructor sets on the object, and not on one of a class inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef):
            yield from attributes(child)
    if isinstance(node, ast.Attribute):
        owner = node.value
        if (
            isinstance(node.ctx, ast.Store)
            and isinstance(owner, ast.Name)
            and owner.id == "self"
            and is_public(node.attr)
        ):
            yield node.attr


def members(owner: ast.ClassDef) -> Iterator[str]:
    for statement in owner.body:
        yield from assigned(statement)
        if isinstance(statement, Function):
            if is_public(statement.name):
                yield statement.name
            elif statement.name == "__init__":
                yield from attributes(statement)


def imported(module: ast.Module) -> Iterator[str]:
    """What a package offers under its own name."""
    for statement in module.body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("btrdb"):
            yield from (alias.asname or alias.name for alias in statement.names)


def names(path: str, module: ast.Module) -> Iterator[str]:
    prefix = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if path.endswith("__init__.py"):
        yield from (f"{prefix}.{name}" for name in imported(module))
    for statement in module.body:
        yield from (f"{prefix}.{name}" for name in assigned(statement))
        if isinstance(statement, Function | ast.ClassDef) and is_public(statement.name):
            yield f"{prefix}.{statement.name}"
        if isinstance(statement, ast.ClassDef):
            yield from (f"{prefix}.{statement.name}.{name}" for name in members(statement))


def main(wheel: str) -> None:
    found: set[str] = set()
    with zipfile.ZipFile(wheel) as files:
        for path in files.namelist():
            if path.startswith("btrdb/") and path.endswith(".py") and GENERATED not in path:
                found.update(names(path, ast.parse(files.read(path))))
    listed = {"wheel": wheel.rpartition("/")[2], "names": sorted(found)}
    sys.stdout.write(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
