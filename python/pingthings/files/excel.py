"""Sheets of workbooks (.xlsx) as text, row by row, so that they are read as other text is."""

from __future__ import annotations

import csv
import io
import re
import weakref
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from pingthings.files.content import Bytes
from pingthings.files.encodings import Reader
from pingthings.files.source import Layout, NothingInItError, SourceError

__all__ = ["as_text"]

_PIECE_ROWS = 512
_PIECE_BYTES = 1 << 20
_LOOKED_AT = 100
_LATE_EPOCH, _DAYS_OF_1904 = 1904, 1_462
"""Days are counted from 1904 in workbooks of old Macs: that many later than in others."""
_UNCOMPUTED = re.compile(
    rb"""<(?:\w+:)?c\b[^>]*?\br="([A-Z]+\d+)"[^>]*>\s*<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)"""
    rb"""\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"""
)
"""A cell with a formula and no value; its letters and number."""


def as_text(content: Bytes, layout: Layout) -> Bytes:
    """Returns a sheet of a workbook as CSV, in which each row is a line.

    Raises:
        SourceError: It cannot be read, there is no such sheet, or openpyxl is not installed.
    """
    workbook = _open(content)
    try:
        names = [sheet.title for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        every = [sheet.title for sheet in workbook.worksheets]
        charts = [sheet.title for sheet in workbook.chartsheets]
        days = _DAYS_OF_1904 if workbook.epoch.year == _LATE_EPOCH else 0
        tables = [name for name in names if len(names) > 1 and _holds_table(workbook[name])]
    finally:
        workbook.close()
    asked = layout.sheet
    if asked in charts:
        raise SourceError(f"sheet `{asked}` of `{content.path}` is a chart, and holds no table")
    if asked is not None and asked not in every:
        has = _listed(every)
        raise SourceError(f"`{content.path}` has no sheet `{asked}`; it has {has}")
    if not names and asked is None:
        only = f", only charts: {_listed(charts)}" if charts else ""
        raise SourceError(f"`{content.path}` has no sheet of cells{only}")
    chosen = asked if asked is not None else (tables or names)[0]

    def opener() -> Reader:
        return _Sheet(_open(content), chosen, layout.decimal)

    file = opener()
    head = file.read(1 << 16)
    file.close()
    found = Bytes(content.path, "text", head, opener)
    found.is_pipe = content.is_pipe
    found.days = days
    others = [name for name in names if name != chosen]
    found.notes = [f"sheet `{chosen}` is read"]
    if others:
        told = f"sheet `{chosen}` is read, and not {_listed(others)}; `--sheet` says which"
        found.notes = [told]
    if charts:
        found.notes.append(f"charts are left out: {_listed(charts)}")
    found.notes.extend(_without_value(content, chosen))
    if not head.strip(b",\n"):
        raise NothingInItError(f"sheet `{chosen}` of `{content.path}` is empty")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _without_value(content: Bytes, name: str) -> list[str]:
    """What to say of formulas that no spreadsheet has computed: their cells seem to be empty."""
    workbook = _open(content)
    count, first = 0, ""
    try:
        with workbook[name]._get_source() as file:  # there is no other way to the cells as written
            rest = b""
            while fresh := file.read(_PIECE_BYTES):
                # Whole cells only: the last one may go on.
                text, end, rest = (rest + fresh).rpartition(b"</c>")
                found = _UNCOMPUTED.findall(text + end)
                first = first or (found[0].decode() if found else "")
                count += len(found)
    except Exception as error:
        raise SourceError(f"cannot read `{content.path}`: {error}") from error
    finally:
        workbook.close()
    if not count:
        return []
    told = f"formulas without a value are taken for empty cells: {count:,}, the first in {first}"
    return [f"{told}; save the file with a spreadsheet program, which computes them"]


def _holds_table(sheet: Any) -> bool:
    """Whether a sheet has two rows of two cells; a title page has not."""
    rows = sheet.iter_rows(max_row=_LOOKED_AT, values_only=True)
    return sum(sum(cell is not None for cell in row) > 1 for row in rows) > 1


def _open(content: Bytes) -> Any:
    try:
        import openpyxl  # noqa: PLC0415 - only these files need it
    except ImportError as error:
        raise SourceError(
            f"`{content.path}` is a workbook, which needs openpyxl: pip install 'pingthings[excel]'"
        ) from error
    file: Any = content.file
    if hasattr(file, "seek"):
        file.seek(0)
    try:
        # Given a name, it would go by how that ends.
        opened: Any = file.open("rb") if isinstance(file, Path) else file
        book = openpyxl.load_workbook(opened, read_only=True, data_only=True)
    except Exception as error:
        raise SourceError(f"cannot read `{content.path}`: {error}") from error
    if opened is not file:
        weakref.finalize(book, opened.close)
    return book


class _Sheet:
    """The rows of a sheet as bytes."""

    def __init__(self, workbook: Any, name: str, decimal: str) -> None:
        self._workbook = workbook
        self._decimal = decimal
        sheet = workbook[name]
        sheet.reset_dimensions()  # what a file says of its size may be wrong
        self._rows: Iterator[Any] = sheet.iter_rows(values_only=True)
        self._ready = b""
        self._line = 0
        self._width = 0

    def read(self, size: int, /) -> bytes:
        parts = [self._ready]
        length = len(self._ready)
        while length < size and (part := self._piece()):
            parts.append(part)
            length += len(part)
        found = b"".join(parts)
        self._ready = found[size:]
        return found[:size]

    def _piece(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        try:
            for _ in range(_PIECE_ROWS):
                row = next(self._rows, None)
                if row is None:
                    break
                self._line += 1
                cells = [_text(value, self._decimal) for value in row]
                while cells and not cells[-1]:
                    cells.pop()
                # Rows of a sheet end where their last value is: all become as wide as the first.
                self._width = max(self._width, len(cells))
                writer.writerow(cells + [""] * (self._width - len(cells)) or [""])
        except Exception as error:
            raise SourceError(f"the sheet is damaged after row {self._line}: {error}") from error
        return text.getvalue().encode("utf-8", "replace")

    def close(self) -> None:
        self._workbook.close()


def _text(value: Any, decimal: str) -> str:  # noqa: PLR0911 - one for each type
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        case date() | time():
            return value.isoformat()
        case timedelta():  # a clock that went past midnight, as spreadsheets count
            return str(value)
        case float():
            # A number is what it is, however texts beside it are written.
            return repr(value).replace(".", decimal)
        case _:
            return " ".join(str(value).split()) if isinstance(value, str) else str(value)
