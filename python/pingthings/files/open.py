"""Files by what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pingthings.files import excel
from pingthings.files.content import FAILURES, open_bytes
from pingthings.files.source import Layout, Source, SourceError
from pingthings.files.text import Text
from pingthings.files.typed import ArrowFile, ParquetFile

__all__ = ["open_source"]


def open_source(path: Path, layout: Layout | None = None) -> Source:
    """Returns the file by what it begins with, whatever its name.

    Raises:
        SourceError: It cannot be read, is empty, or is laid out in a way that is not understood.
    """
    layout = layout or Layout()
    content = open_bytes(path)
    try:
        if content.kind == "parquet":
            return ParquetFile(content, layout)
        if content.kind in {"arrow", "stream"}:
            return ArrowFile(content, layout)
        if content.kind == "excel":
            content = excel.as_text(content, layout)
            # What was told of texts is not so of cells, which come as CSV in UTF-8.
            layout = replace(layout, delimiter=",", encoding="utf-8")
        return Text(content, layout)
    except FAILURES as error:
        raise SourceError(f"cannot read `{path}`: {error}") from error
