"""Makes a page of the site of each notebook in `docs/notebooks`; mkdocs calls it as a hook.

A notebook's text, code and what it shows become Markdown, and its pictures become files, so that
they look like the rest of the site in both of its colours, and the search finds them. The notebooks
themselves are copied beside their pages.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = "notebooks/"
HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
LINK = re.compile(r"\]\(([\w-]+)\.ipynb\)")
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
LOOKS = re.compile(r' (?:border|class|style)="[^"]*"')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and their pictures."""
    for file in list(files):
        if not file.src_uri.startswith(FOLDER) or not file.src_uri.endswith(".ipynb"):
            continue
        name = file.src_uri.removesuffix(".ipynb")

        def picture(number: int, content: bytes, name: str = name) -> str:
            uri = f"{name}/{number}.png"
            files.append(File.generated(config, uri, content=content))
            return uri.removeprefix(FOLDER)

        notebook = json.loads(Path(str(file.abs_src_path)).read_text())
        text = page(notebook, Path(file.src_uri).name, picture)
        files.append(File.generated(config, f"{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leads links to notebooks, which other viewers follow, to their pages."""
    return LINK.sub(r"](\1.md)", markdown)


def page(notebook: dict[str, Any], file: str, picture: Callable[[int, bytes], str]) -> str:
    """Returns a notebook as Markdown.

    Args:
        notebook: What is in the file.
        file: Its name, for the link to it.
        picture: Takes the number and the bytes of a picture, and says where it is.
    """
    head, *rest = notebook["cells"]
    title, _, introduction = _text(head["source"]).partition("\n")
    link = f'<a href="{file}" download>Download this notebook</a>'
    parts = [title, link, introduction.strip()]
    drawn = 0
    heading = title
    for cell in rest:
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            heading = (HEADING.findall(source) or [heading])[-1]
            continue
        parts.append(f"```python\n{source}\n```")
        for kind, content in _shown(cell["outputs"]):
            if kind == "image/png":
                drawn += 1
                place = picture(drawn, base64.b64decode(content))
                parts.append(f"![{heading.lstrip('# ')}: what the cell above draws]({place})")
            elif kind == "text/html":
                parts.append(f"<div>{LOOKS.sub('', STYLE.sub('', content)).strip()}</div>")
            else:
                parts.append(f"```text\n{content.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _shown(outputs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What a cell shows, each in the best of its forms."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield "text/plain", _text(output["text"])
            continue
        forms = output["data"]
        best = next(kind for kind in ("image/png", "text/html", "text/plain") if kind in forms)
        yield best, _text(forms[best])


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
