"""Every block of Python in the README and the docs runs, and prints and draws what stands below it.

`UPDATE=tutorial` writes the pictures of that page, which are to be looked at before they are
committed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from meta.test_package import EXPORTS
from pixels import MOST_DIFFERENT, difference

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [README, *PAGES, *sorted((ROOT / "docs/notebooks").glob("*.ipynb"))]
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]+\]\((?:\.\./)*pictures/([^)]+\.png)\)")
EXTERNAL = re.compile(r"\]\(([a-z]+:[^)]*)\)")
WELL_FORMED = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[^\s]*)?")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp)/")
DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)

# Runs the blocks it reads in one namespace, as a notebook would, and prints what each printed.
SESSION = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
printed = []
for number, code in enumerate(json.load(sys.stdin), 1):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, f"<block {number}>", "exec"), names)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def blocks(document: Path) -> list[tuple[str, str]]:
    return [(m["code"], m["output"] or "") for m in BLOCK.finditer(document.read_text())]


def run(codes: list[str], folder: Path) -> list[str]:
    """What each block printed, run in a folder with the files that the pages offer."""
    shutil.copytree(ROOT / "docs/data", folder, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SESSION],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    printed: list[str] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize(("code", "output"), blocks(README))
def test_a_block_of_the_readme_runs_alone_and_prints_what_is_shown(
    code: str, output: str, tmp_path: Path
) -> None:
    assert run([code], tmp_path) == [output]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order_and_print_what_is_shown(
    page: Path, tmp_path: Path
) -> None:
    expected = blocks(page)
    printed = run([code for code, _ in expected], tmp_path)
    for text, (code, output) in zip(printed, expected, strict=True):
        assert text == output, code
    drawn = {f"{page.stem}/{file.name}": file for file in tmp_path.glob("*.png")}
    assert set(PICTURE.findall(page.read_text())) == set(drawn)
    for name, file in drawn.items():
        shown = ROOT / "docs/pictures" / name
        if os.environ.get("UPDATE") == page.stem:
            shown.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, shown)
        assert difference(file.read_bytes(), shown.read_bytes()) < MOST_DIFFERENT, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    broken = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert broken == []
    assert not LOCAL_PATH.search(text)


def test_links_to_elsewhere_are_well_formed() -> None:
    # Whether somebody answers there is not asked: tests run without a network, too.
    links = [link for document in DOCUMENTS for link in EXTERNAL.findall(document.read_text())]
    assert [link for link in links if not WELL_FORMED.fullmatch(link)] == []


def test_every_picture_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    pictures = [f for f in (ROOT / "docs/pictures").rglob("*.*") if f.is_file()]
    unused = [str(p) for p in pictures if p.relative_to(ROOT / "docs").as_posix() not in pages]
    assert unused == []


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    shown = {
        name
        for page in (ROOT / "docs/reference").glob("*.md")
        for name in DIRECTIVE.findall(page.read_text())
    }
    modules = {
        "pingthings.server": EXPORTS["pingthings.server"],
        "pingthings.timeseries.async_client": EXPORTS["pingthings.timeseries.async_client"],
        "pingthings.timeseries.client": EXPORTS["pingthings.timeseries.client"],
        "pingthings.timeseries.connect": {"connect"},
        "pingthings.timeseries.points": {"RawPoint", "StatPoint"},
        "pingthings.timeseries.stats": EXPORTS["pingthings.timeseries.stats"],
    }
    elsewhere = {"pingthings.timeseries.client.ClientEventLoop"}  # is in a module of its own
    wanted = {f"{module}.{name}" for module, names in modules.items() for name in names}
    assert wanted - shown == elsewhere
    assert {f"pingthings.timeseries.{name}" for name in ("constants", "exceptions")} <= shown
    assert "pingthings.timeseries.utils.timez" in shown


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_page_names_commands_that_the_makefile_has(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"`?make ([a-z-]+)", (ROOT / page).read_text()):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_contributing_names_every_folder_of_the_tests() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    listed = set(re.findall(r"^\| `tests/(\w+)` \|", page, re.MULTILINE))
    folders = {d.name for d in (ROOT / "tests").iterdir() if d.is_dir()}
    assert listed == {name for name in folders if not name.startswith(("_", "."))}
