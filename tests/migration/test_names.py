"""The migration page has every public name of the older client, and its successors exist."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pingthings.timeseries as pt
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "migrating-from-btrdb.md"
NAMES = Path(__file__).parent / "btrdb_names.json"
FAULTS = Path(__file__).parent / "test_faults.py"
TEST = re.compile(r"^(?:async )?def test_(\w+)\(", re.MULTILINE)
HEADING = re.compile(r"^### `([\w.]+)`$")
ROW = re.compile(r"^\| (?P<old>[^|]+) \| (?P<new>[^|]+) \|(?P<remark>[^|]*)\|$")
CODE = re.compile(r"`([^`]+)`")
ELSEWHERE = ("pyarrow", "polars")


class Row(NamedTuple):
    """One line of a table: names of the older client and what takes their place."""

    old: list[str]
    new: list[str]
    text: str


def rows() -> Iterator[Row]:
    prefix = None
    text = PAGE.read_text(encoding="utf-8")
    for line in text[text.index("## Every name") :].splitlines():
        if heading := HEADING.match(line):
            prefix = heading[1]
        elif prefix and (row := ROW.match(line)) and "`" in row["old"]:
            old = [f"{prefix}.{name}" for name in CODE.findall(row["old"])]
            yield Row(old, CODE.findall(row["new"]), line)


def exists(name: str) -> bool:
    """Whether a name is found in `pingthings.timeseries`, or in a library that it starts with."""
    parts = name.split(".")
    if parts[0] not in ELSEWHERE:
        owner: object = pt
    elif parts[1] == "csv":
        owner, parts = importlib.import_module("pyarrow.csv"), parts[2:]
    else:
        owner, parts = importlib.import_module(parts[0]), parts[1:]
    for part in parts:
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


def test_every_name_of_the_older_client_is_on_the_page_once() -> None:
    wanted = json.loads(NAMES.read_text(encoding="utf-8"))["names"]
    listed = [name for row in rows() for name in row.old]
    assert len(wanted) > 200
    assert sorted(listed) == wanted


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.old[0])
def test_what_takes_the_place_of_a_name_exists(row: Row) -> None:
    assert row.new or "| none |" in row.text
    assert [name for name in row.new if not exists(name)] == []


def test_every_fault_on_the_page_has_a_test_and_the_other_way_round() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("## What was wrong") : text.index("## Every name")]
    named = re.findall(r"\| `(\w+)` \|$", table, re.MULTILINE)
    assert sorted(named) == sorted(TEST.findall(FAULTS.read_text(encoding="utf-8")))
