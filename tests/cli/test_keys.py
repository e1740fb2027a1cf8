"""The API key from a file, from the environment, or as an argument."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pingthings.cli.app import app
from pingthings.server import Server
from typer.testing import CliRunner

KEY = "key-of-this-file"

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server(api_keys=[KEY]) as server:
        yield server


@pytest.fixture
def run(guarded: Server) -> Run:
    environ = {"BTRDB_ENDPOINTS": guarded.endpoint, "BTRDB_API_KEY": "", "BTRDB_PROFILE": ""}

    def run(*arguments: str, text: str | None = None, **more: str) -> Any:
        return CliRunner().invoke(
            app, list(arguments), input=text, env=environ | more, prog_name="pingthings"
        )

    return run


@pytest.mark.parametrize("written", [KEY, f"{KEY}\n", f"  {KEY}\r\n\n"])
def test_a_file_holds_the_key(run: Run, tmp_path: Path, written: str):
    file = tmp_path / "key"
    file.write_text(written)
    done = run("collections", "--apikey-file", str(file))
    assert (done.exit_code, done.output) == (0, "")
    done = run("doctor", "--apikey-file", str(file))
    assert (done.exit_code, "in place of --apikey" in done.output) == (0, False)


def test_standard_input_and_the_environment_hold_it_too(run: Run):
    assert run("collections", "--apikey-file", "-", text=f"{KEY}\n").exit_code == 0
    assert run("collections", BTRDB_API_KEY=KEY).exit_code == 0
    assert run("collections", "--apikey", KEY).exit_code == 0
    assert "--apikey-file or BTRDB_API_KEY" in run("doctor", "--apikey", KEY).output
    assert run("collections").exit_code == 1


@pytest.mark.parametrize("written", ["", "\n", f"{KEY} {KEY}", b"\xff\xfe"])
def test_a_file_without_a_key_is_an_error(run: Run, tmp_path: Path, written: str | bytes):
    file = tmp_path / "key"
    file.write_bytes(written if isinstance(written, bytes) else written.encode())
    done = run("collections", "--apikey-file", str(file))
    assert done.exit_code == 1
    assert str(file) in done.stderr
    assert KEY not in done.output


def test_a_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path):
    done = run("collections", "--apikey-file", str(tmp_path / "nothing"))
    assert done.exit_code == 1
    assert "nothing`: No such file" in done.stderr
    done = run("collections", "--apikey", KEY, "--apikey-file", os.devnull)
    assert done.exit_code == 2
    assert "give one of them" in done.stderr
