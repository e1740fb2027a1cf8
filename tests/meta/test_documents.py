"""Every block of Python in the README and the docs runs, and prints what stands below it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp)/")


def blocks() -> list[tuple[str, str, str]]:
    return [
        (f"{document.relative_to(ROOT)}:{number}", match["code"], match["output"] or "")
        for document in DOCUMENTS
        for number, match in enumerate(BLOCK.finditer(document.read_text()), 1)
    ]


@pytest.mark.parametrize(("where", "code", "output"), blocks(), ids=lambda value: str(value)[:40])
def test_block_runs_and_prints_what_is_shown(where: str, code: str, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), where
    if output:
        assert done.stdout == output, where


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    broken = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert broken == []
    assert not LOCAL_PATH.search(text)


def test_the_readme_names_the_commands_that_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
