"""`info`, `collections`, `streams` and `sql`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pingthings
import pingthings.timeseries as pt
import pytest
from pingthings.server import Server

Run = Callable[..., Any]


def lines(result: Any) -> list[list[str]]:
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_info_says_who_and_how_much(run: Run):
    found = dict(lines(run("info", "--count")))
    assert found["build"] == f"pingthings-server {pingthings.__version__}"
    assert int(found["streams"]) >= 4
    assert int(found["points"]) >= 4 * 600
    assert json.loads(run("info", "--json").stdout)["collections"] >= 3


def test_collections_are_found_by_the_beginning_of_their_names(run: Run):
    assert lines(run("collections", "lab")) == [["lab"], ["lab/inner"], ["labour"]]
    assert lines(run("collections", "nowhere")) == []
    assert json.loads(run("collections", "labour", "--json").stdout) == {"collection": "labour"}


def test_streams_of_a_collection_are_those_in_it_and_below_it(run: Run, uuids: dict[str, UUID]):
    rows = lines(run("streams", "lab"))
    assert [(row[2], row[0], row[1]) for row in rows] == [
        ("lab", "L1MAG", "volts"),
        ("lab", "L2MAG", "volts"),
        ("lab/inner", "L1MAG", "volts"),
    ]
    assert [row[3] for row in rows] == [
        str(uuids[name]) for name in ("lab/L1MAG", "lab/L2MAG", "lab/inner/L1MAG")
    ]


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        (("--tag", "name=L1MAG"), 2),
        (("--tag", "name=L1MAG", "--tag", "unit=amperes"), 0),
        (("--annotation", "phase=L2"), 1),
        (("--annotation", "rate=10"), 3),
        (("--annotation", "rate=11"), 0),
        (("--annotation", "phase"), 3),
        (("--annotation", "nothing"), 0),
    ],
)
def test_streams_are_found_by_tags_and_annotations(
    run: Run, conditions: tuple[str, ...], number: int
):
    assert len(lines(run("streams", "lab", *conditions))) == number


def test_streams_are_counted_and_dated_on_request(run: Run):
    (row,) = lines(run("streams", "lab/inner", "--count", "--range"))
    assert row[4:] == ["600", "2023-11-14T22:13:20.000000000Z", "2023-11-14T22:23:19.000000000Z"]
    found = json.loads(run("streams", "lab/inner", "--json", "--count").stdout)
    assert found["count"] == 600
    assert found["annotations"] == {"phase": "L1", "rate": 10}


def test_sql_answers_as_csv_or_json(run: Run):
    query = "SELECT name, unit FROM streams WHERE collection = $1 ORDER BY name"
    result = run("sql", query, "--param", "lab")
    assert list(csv.reader(result.stdout.splitlines())) == [
        ["name", "unit"],
        ["L1MAG", "volts"],
        ["L2MAG", "volts"],
    ]
    result = run("sql", query, "--param", "lab/inner", "--json")
    assert json.loads(result.stdout) == {"name": "L1MAG", "unit": "volts"}
    assert run("sql", query, "--param", "nowhere").stdout == ""


def test_a_table_for_people_keeps_uuids_whole(run: Run, uuids: dict[str, UUID]):
    query = "SELECT uuid, name, collection, uuid AS again FROM streams WHERE uuid = $1"
    uuid = str(uuids["lab/L1MAG"])
    result = run("sql", query, "--param", uuid, "--format", "table")
    assert result.stdout.splitlines()[-1].split() == [uuid, "L1MAG", "lab", uuid]


def test_names_that_the_output_cannot_hold_are_escaped(
    server: Server, client: pt.Client, collection: str
):
    client.create(uuid4(), collection, {"name": "Temperatur", "unit": "°C"})
    done = subprocess.run(
        [sys.executable, "-m", "pingthings", "streams", collection],
        env=os.environ | {"BTRDB_ENDPOINTS": server.endpoint, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\t")[:2] == ["Temperatur", "\\xb0C"]
