"""Names that are orders for a terminal: shown as escapes, and exact where programs read."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.cli.app import app
from pingthings.server import Server
from pingthings.timeseries.display import visible
from typer.testing import CliRunner

# Clears the screen, sets the title, C1 control sequence introducer, turns the direction of
# writing around, bell, backspace, a line of its own, and a sign that is not there.
ORDERS = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066\x08\u2028\u200b\x7f"
NAME = f"name{ORDERS}"
UNIT = f"unit{ORDERS}"
COLLECTION = f"hostile/{ORDERS}"
KEPT = "Größe \u2126 \u0905 \u6f22 \U0001f600"


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Server, UUID]]:
    with Server() as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(
            uuid4(), COLLECTION, {"name": NAME, "unit": UNIT}, {f"key{ORDERS}": f"value{ORDERS}"}
        )
        stream.insert([(k, float(k)) for k in range(10)])
        client.create(uuid4(), f"kept/{KEPT}", {"name": KEPT, "unit": "°"})
        client.create_device({"name": NAME, "field": ORDERS})
        # Two of one name, so that an error names it.
        client.create(uuid4(), COLLECTION, {"name": NAME, "unit": "other"})
        yield server, stream.uuid


def on_terminal(server: Server, *arguments: str) -> str:
    """What a terminal gets, from both streams, without the colours that are ours."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "BTRDB_ENDPOINTS": server.endpoint, "PYTHONUTF8": "1", "TERM": "dumb"}
    words = [sys.executable, "-m", "pingthings", *arguments]
    with subprocess.Popen(
        words, env=environ, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL
    ):
        os.close(theirs)
        found = b""
        while True:
            try:
                received = os.read(ours, 1 << 16)
            except OSError:  # the other side has ended
                break
            if not received:
                break
            found += received
    os.close(ours)
    return found.decode()


def in_pipe(server: Server, *arguments: str) -> str:
    environ = {"BTRDB_ENDPOINTS": server.endpoint}
    done = CliRunner().invoke(app, list(arguments), env=environ, prog_name="pingthings")
    return done.output_bytes.decode()


SQL = "SELECT name, unit, collection, annotations FROM streams"
SHOWING = [
    ("collections",),
    ("streams", "--count"),
    ("streams", "--json"),
    ("info",),
    ("sql", SQL),
    ("sql", SQL, "--json"),
    ("sql", "SELECT * FROM devices", "--format", "table"),
    ("sql", f'SELECT 1 AS "{ORDERS}"'),
    ("sql", f"SELECT {ORDERS}"),
    ("get", f"{COLLECTION}/{NAME}"),
    ("get", f"nowhere/{NAME}"),
    ("plot", f"{COLLECTION}/{NAME}", "--output", "nowhere.png"),
    ("doctor", "--stream", f"{COLLECTION}/{NAME}"),
    ("info", f"--no-such{ORDERS}"),
]


@pytest.mark.parametrize("arguments", SHOWING, ids=lambda words: " ".join(words)[:30])
def test_no_order_reaches_a_terminal(arguments: tuple[str, ...], hostile: tuple[Server, UUID]):
    shown = on_terminal(hostile[0], *arguments)
    assert shown.strip()
    unseen = {sign for sign in shown if not sign.isprintable()} - {"\n", "\r", "\t"}
    # Colours of help and tables come from rich, which a dumb terminal has none of.
    assert not unseen, shown
    if arguments[0] in {"collections", "streams"}:
        assert "Größe" in shown


@pytest.mark.parametrize("arguments", [("collections",), ("streams",), ("info",), ("get", "a/b")])
def test_what_is_piped_for_people_holds_none_either(
    arguments: tuple[str, ...], hostile: tuple[Server, UUID]
):
    shown = in_pipe(hostile[0], *arguments)
    assert not {sign for sign in shown if not sign.isprintable()} - {"\n", "\t"}


def test_programs_get_every_sign(hostile: tuple[Server, UUID]):
    server, uuid = hostile
    query = "SELECT name, unit, collection FROM streams WHERE uuid = $1"
    asked = ("sql", query, "--param", str(uuid))
    rows = list(csv.reader(io.StringIO(in_pipe(server, *asked), newline="")))
    assert rows[1] == [NAME, UNIT, COLLECTION]
    (row,) = in_pipe(server, *asked, "--json").split("\n")[:-1]
    assert json.loads(row) == {"name": NAME, "unit": UNIT, "collection": COLLECTION}
    names = [
        json.loads(line)["collection"]
        for line in in_pipe(server, "collections", "--json").split("\n")[:-1]
    ]
    assert COLLECTION in names
    assert f"kept/{KEPT}" in names


def test_pictures_and_reprs_show_escapes(hostile: tuple[Server, UUID]):
    server, uuid = hostile
    with pt.connect(endpoint=server.endpoint) as client:
        streams = client.streamset_from_uuids([uuid])
        for text in (repr(streams), repr(streams[0]), str(streams[0]), streams._repr_html_()):
            assert not {sign for sign in text if not sign.isprintable()} - {"\n"}
        figure = streams.plot(0, 100)
        titles = [axes.get_ylabel() for axes in figure.axes]
        titles += [text.get_text() for text in figure.texts]
        titles += [axes.get_title("left") for axes in figure.axes]
        assert any("name" in title for title in titles)
        assert all(title.replace("\n", "").isprintable() for title in titles)


def test_signs_of_every_language_stay():
    assert visible(KEPT) == KEPT
    assert visible("a\x1b\x9b\u202e\ud800\U000e0041") == "a\\x1b\\x9b\\u202e\\ud800\\U000e0041"
