"""Which file of a Rust crate imports from which, and that none of them do so in a circle.

The text is read, not a compiler's view of it: `use`, and every other path that begins with `crate`,
`self`, `super` or a child module. A re-export hands a name on and is no import; whoever takes the
name by way of it imports from the file that defines it. Tests inside the files are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

RUST = Path(__file__).resolve().parents[2] / "rust"

Module = tuple[str, ...]
Graph = dict[Module, set[Module]]


def crate(source: Path) -> Graph:
    """The modules of a crate with those that they import from."""
    modules = {_module(file, source): file for file in sorted(source.rglob("*.rs"))}
    texts = {module: _without_tests(file.read_text()) for module, file in modules.items()}
    names = {module: dict(_re_exports(module, text, modules)) for module, text in texts.items()}
    graph: Graph = {}
    for module, text in texts.items():
        paths = _paths(module, _RE_EXPORT.sub("", text), modules)
        graph[module] = {_owner(path, modules, names) for path in paths} - {module}
    return graph


_RE_EXPORT = re.compile(r"^\s*pub(?:\([^)]*\))? use ([^;]+);", re.MULTILINE)
_TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:pub\S* )?mod \w+ \{.*?^\}", re.DOTALL | re.MULTILINE)
_USE = re.compile(r"^\s*use ([^;]+);", re.MULTILINE)
_PATH = re.compile(r"(?<![\w:])(?:crate|self|super|[a-z]\w*)(?:::\w+)+")


def _module(file: Path, source: Path) -> Module:
    parts = file.relative_to(source).with_suffix("").parts
    return () if parts == ("lib",) else tuple(part for part in parts if part != "mod")


def _without_tests(text: str) -> str:
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(
        r"#\[cfg\(test\)\]\s*(?:pub\S* )?mod \w+ \{.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE
    )


def _leaves(tree: str) -> Iterator[str]:
    """The paths of a `use`, one for each name that it brings."""
    head, brace, rest = tree.partition("{")
    if not brace:
        yield tree.split(" as ", maxsplit=1)[0].strip()
        return
    depth, item = 0, ""
    for character in rest[: rest.rindex("}")] + ",":
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if item.strip():
                yield from _leaves(head.strip() + item.strip())
            item = ""
        else:
            item += character


def _absolute(module: Module, path: str, modules: dict[Module, Path]) -> Module | None:
    """A path from the root of the crate; `None` for one that leads elsewhere."""
    parts = path.split("::")
    if parts[0] == "crate":
        return tuple(parts[1:])
    base = module
    if parts[0] == "self":
        return (*base, *parts[1:])
    if parts[0] == "super":
        while parts and parts[0] == "super":
            base, parts = base[:-1], parts[1:]
        return (*base, *parts)
    if (*module, parts[0]) in modules:
        return (*module, *parts)
    return None


def _paths(module: Module, text: str, modules: dict[Module, Path]) -> Iterator[Module]:
    uses = [leaf for tree in _USE.findall(text) for leaf in _leaves(tree)]
    for path in uses + _PATH.findall(_USE.sub("", text)):
        absolute = _absolute(module, path, modules)
        if absolute is not None:
            yield absolute


def _re_exports(
    module: Module, text: str, modules: dict[Module, Path]
) -> Iterator[tuple[str, Module]]:
    for tree in _RE_EXPORT.findall(text):
        for leaf in _leaves(tree):
            absolute = _absolute(module, leaf, modules)
            if absolute is not None:
                yield absolute[-1], absolute


def _owner(
    path: Module, modules: dict[Module, Path], names: dict[Module, dict[str, Module]]
) -> Module:
    """The module that defines what a path leads to."""
    at = max(n for n in range(len(path) + 1) if path[:n] in modules)
    module, rest = path[:at], path[at:]
    if rest and (handed_on := names[module].get(rest[0])) and handed_on[:-1] != module:
        return _owner(handed_on, modules, names)
    return module


@pytest.mark.parametrize("name", ["client", "storage", "python"])
def test_files_import_each_other_in_no_circle(name: str) -> None:
    graph = crate(RUST / name / "src")
    assert len(graph) > 10
    assert sum(map(len, graph.values())) > 2 * len(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        around = " <- ".join("/".join(module) or "lib" for module in error.args[1])
        pytest.fail(f"files of rust/{name}/src import each other: {around}")


def test_the_client_s_folders_are_layers() -> None:
    layers = [set[str](), {"transport", "answer"}, {"session"}, {"insert", "calls"}]
    height = {room: number for number, rooms in enumerate(layers) for room in rooms}
    graph = crate(RUST / "client/src")
    assert {module[0] for module in graph if len(module) > 1} == set(height)
    for module, others in graph.items():
        for other in others:
            mine, theirs = height.get(module[0] if module else "", 0), height.get(other[0], 0)
            if module and module[0] != other[0]:
                assert mine > theirs or (mine == theirs == 0), f"{module} imports {other}"


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    files = {
        "lib.rs": "mod a;\nmod b;\npub use b::B;\n",
        "a.rs": "mod c;\nuse crate::{B, a::c::C};\n",
        "a/c.rs": "use std::fmt;\n// use crate::b;\nfn f() { super::super::b::g(); }\n",
        "b.rs": "#[cfg(test)]\nmod tests {\n    use crate::a::c;\n}\n",
    }
    (tmp_path / "a").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    graph = crate(tmp_path)
    expected: Graph = {(): set(), ("a",): {("a", "c"), ("b",)}, ("a", "c"): {("b",)}, ("b",): set()}
    assert graph == expected
    (tmp_path / "b.rs").write_text("use crate::a::{c::{self, C}, D as E};\n")
    assert crate(tmp_path)["b",] == {("a",), ("a", "c")}
