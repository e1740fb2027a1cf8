"""What `--help` shows can be typed; what ends a command ends it as documented."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
from pingthings.cli.app import app

Run = Callable[..., Any]

ROOT: Any = typer.main.get_command(app)
LEAVES = {name: command for name, command in ROOT.commands.items() if name != "key"} | {
    f"key {name}": command for name, command in ROOT.commands["key"].commands.items()
}


def examples(command: Any) -> list[list[str]]:
    """The arguments of each example, without what the shell or the reader takes."""
    lines = [line for line in command.epilog.splitlines() if line.startswith("  pingthings ")]
    return [shlex.split(re.split(r"\s{3,}| \| | > ", line.strip())[0])[1:] for line in lines]


@pytest.mark.parametrize("name", LEAVES)
def test_examples_of_help_can_be_typed(name: str):
    found = [words for words in examples(LEAVES[name]) if " ".join(words).startswith(name)]
    assert found
    for words in found:
        rest = words[len(name.split()) :]
        LEAVES[name].make_context(name, rest)  # which complains about what it does not know


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_help(run: Run, name: str):
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    for param in LEAVES[name].params:
        assert getattr(param, "help", None), f"{name}: {param.name}"


def test_no_command_is_wrong_usage_and_shows_them_all(run: Run):
    result = run()
    assert result.exit_code == 2
    assert all(name in result.stdout for name in ROOT.commands)
    assert result.stderr == "pingthings: no command given; see `pingthings --help`\n"


def test_the_version_needs_no_typer():
    code = (
        "import sys; from pingthings.cli import main; main(['--version']);"
        "print(sorted({'typer', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"


def test_shells_complete(run: Run, monkeypatch: pytest.MonkeyPatch):
    # Otherwise the shell above this process counts, and there need not be one.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = run("--show-completion", "bash")
    assert result.exit_code == 0
    assert "pingthings" in result.stdout
