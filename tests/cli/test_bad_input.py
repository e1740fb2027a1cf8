"""What each command does with bad input is what docs/command-line.md says it does."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server

Run = Callable[..., Any]

PAGE = Path(__file__).parents[2] / "docs/command-line.md"
ROW = re.compile(
    r"\| `(?P<command>[^|]+)` \| (?P<what>[^|]+) \| (?P<code>\d) \| (?P<message>.+) \|"
)
COMMANDS = {
    *("info", "collections", "streams", "sql", "get", "plot", "put", "listen", "doctor"),
    *("serve", "key add", "key list", "key revoke", "compact"),
}
TWICE = UUID(int=1), UUID(int=2)

GOOD = "time,value,note\n2024-01-01T00:00:00Z,1,a\n2024-01-01T00:00:01Z,2,b\n"
FILES = {
    "good.csv": GOOD,
    "bad.csv": GOOD + "2024-01-01T00:00:02Z,three,c\n",
    "all-bad.csv": "time,value\n2024-01-01T00:00:00Z,inf\nyesterday,1\n2024-01-01T00:00:01Z,2 V\n",
    "empty.csv": "",
    "header.csv": "time,value\n",
    "no-numbers.csv": "time,note\n2024-01-01T00:00:00Z,a\n",
    "commas.csv": "time;value\n2024-01-01;1,5\n",
    "no-times.csv": "place,value\nhere,1\n",
    "epoch.csv": "time,value\n1700000000,1\n",
    "twice.csv": "time,value,value\n2024-01-01,1,2\n",
    "no-names.csv": "1700000000,1\n1700000001,2\n",
    "answer.csv": "<!DOCTYPE html><html>404</html>",
    "thousands.csv": "time;value\n2024-01-01;1.234\n2024-01-02;1.235\n",
    "twice-an-hour.csv": "time,value\n2024-10-27 02:30,1\n",
    "days.csv": "time,value\n31.12.2023,1\n",
    "ragged.csv": "time,value\n2024-01-01,1,2\n2024-01-02,1,2\n",
    "broken.parquet": "PAR1 and no more",
    "broken.cfg": "nothing",
    "broken.dat": "",
    "keys": "",
}


class Case(NamedTuple):
    """A row of the table."""

    command: str
    code: int
    message: re.Pattern[str]


def cases() -> Iterator[Case]:
    for match in ROW.finditer(PAGE.read_text(encoding="utf-8")):
        message = re.escape(match["message"].replace("\\|", "|"))
        yield Case(match["command"], int(match["code"]), re.compile(message.replace("…", ".+")))


@pytest.fixture(scope="module")
def addresses(server: Server) -> Iterator[dict[str, str]]:
    with pt.connect(endpoint=server.endpoint) as client:
        for uuid, unit in zip(TWICE, ("volts", "amperes"), strict=True):
            client.create(uuid, "pair", {"name": "twice", "unit": unit})
    with socket.socket() as nobody, Server(api_keys=["right"]) as with_keys:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        yield {
            "$NOBODY": f"127.0.0.1:{nobody.getsockname()[1]}",
            "$TAKEN": with_keys.endpoint.rpartition(":")[2],
            "$WITH_KEYS": with_keys.endpoint,
        }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files of every kind."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes("time,temperature °C\n2024-01-01,1\n".encode("latin-1"))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("a.csv", GOOD)
        archive.writestr("b.csv", GOOD)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PINGTHINGS_RETRY_SECONDS", "0")
    return tmp_path


def run_here(run: Run, words: list[str], environ: dict[str, str]) -> tuple[int, str]:
    result = run(*words, **environ)
    return result.exit_code, result.stderr


def serve(_run: Run, words: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Runs a server in a process of its own, since it takes the signals of its process."""
    done = subprocess.run(
        [sys.executable, "-m", "pingthings", *words],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.command)
def test_bad_input_is_answered_as_documented(
    run: Run, folder: Path, addresses: dict[str, str], case: Case
):
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    environ = {}
    words = shlex.split(case.command)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environ[name] = value
    assert words.pop(0) == "pingthings"
    code, told = (serve if words[0] == "serve" else run_here)(
        run, [addresses.get(word, word) for word in words], environ
    )
    assert told.startswith("pingthings: ")
    assert told.count("\n") == 1
    assert case.message.fullmatch(told.strip().removeprefix("pingthings: "))
    assert code == case.code
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_every_command_has_bad_input_in_the_table():
    commands = {
        found
        for case in cases()
        for found in COMMANDS
        if case.command.partition("pingthings ")[2].startswith(f"{found} ")
    }
    assert commands == COMMANDS
    assert len(list(cases())) >= 50
