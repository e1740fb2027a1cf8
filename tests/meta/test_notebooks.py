"""Every notebook of the docs runs from scratch, and shows what is committed.

`make notebooks` writes what they show anew. Its pictures are to be looked at before they are
committed.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pixels import MOST_DIFFERENT, difference

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
LARGEST = 600_000  # bytes; they are fetched with every clone


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("JUPYTER_RUNTIME_DIR", raising=False)


def read(file: Path) -> Any:
    return nbformat.read(file, as_version=4)


def executed(file: Path) -> Any:
    """The notebook after its cells ran one after the other; one that fails raises."""
    fresh = read(file)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folder = {"metadata": {"path": str(file.parent)}}
    NotebookClient(
        fresh, timeout=60, resources=folder, record_timing=False, coalesce_streams=True
    ).execute()
    fresh.metadata.language_info = {"name": "python"}  # not which Python it was
    return fresh


def outputs(notebook: Any) -> Iterator[tuple[str, str]]:
    """What a notebook shows, as pairs of a kind and its content."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                yield output.name, output.text
            else:
                yield from sorted(output.data.items())


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_shows_what_it_does(file: Path) -> None:
    fresh = executed(file)
    if os.environ.get("UPDATE") == "notebooks":
        nbformat.write(fresh, file)
    ours, theirs = list(outputs(fresh)), list(outputs(read(file)))
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs]
    for (kind, drawn), (_, wanted) in zip(ours, theirs, strict=True):
        if kind == "image/png":
            pictures = base64.b64decode(drawn), base64.b64decode(wanted)
            assert difference(*pictures) < MOST_DIFFERENT
        else:
            assert drawn == wanted
    assert "stderr" not in dict(ours), "warnings are not for readers"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_page_of_a_notebook_has_all_that_it_shows(file: Path) -> None:
    notebook = read(file)
    pictures: list[bytes] = []

    def picture(number: int, content: bytes) -> str:
        pictures.append(content)
        return f"{number}.png"

    page = run_path(str(ROOT / "tools/notebook_pages.py"))["page"]
    text = page(notebook, file.name, picture)
    assert text.startswith("# ")
    assert f'href="{file.name}"' in text
    for cell in notebook.cells[1:]:
        fence = f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source
        assert fence in text
    shown = list(outputs(notebook))
    printed = [content.rstrip() for kind, content in shown if kind == "stdout"]
    assert all(f"```text\n{content}\n```" in text for content in printed)
    assert len(pictures) == [kind for kind, _ in shown].count("image/png") > 0
    assert text.count(".png)") == len(pictures)
    assert text.count("<div>") >= [kind for kind, _ in shown].count("text/html")
    # The site has styles of its own, and two colours.
    assert "<style" not in text
    assert 'class="' not in text


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_small_and_says_nothing_of_who_ran_it(file: Path) -> None:
    assert file.stat().st_size < LARGEST
    notebook = read(file)
    nbformat.validate(notebook)
    numbers = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)
