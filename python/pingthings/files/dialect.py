"""How a text is laid out: what parts its cells, where its names, its units and its rows are.

Everything is found by evidence in the first lines, unless it was told: the delimiter is the one by
which rows have equally many cells that look like times and numbers, and not the most frequent one;
names are what stands above such rows and looks different from them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pingthings.files.numbers import MISSING
from pingthings.files.quotes import find_rows
from pingthings.files.source import Layout, NothingInItError, Position, SourceError, distinct_names
from pingthings.files.spaces import single_spaces

__all__ = ["TIME_NAME", "Dialect", "find_dialect"]

TIME_NAME = re.compile(
    r"(?:.*[\s_\-.(\[/])?(?:time|times|timestamp|timestamps|datetime|date|datum|zeit|zeitstempel|"
    r"uhrzeit|epoch|utc|heure|fecha|hora|tijd|data|t|ts)(?:[\s_\-.)\]/:].*)?|"
    r"(?:time|date)[a-z_]*|(?:end|start|local|utc)[-_ ]?(?:time|date)",
    re.IGNORECASE,
)
"""What columns of times are called."""

_DELIMITERS = ",;\t|"
_TOLD = re.compile(rb'\s*"?sep=([!-/:-@\[-`{-~\t])"?[,;\t ]*(?:\r?\n|\r)', re.IGNORECASE)
"""A first line that tells spreadsheets what parts cells."""
_ROWS = 1_000
_SPACED = 0.4
"""How sure it must be that spaces part cells: they stand in any text."""
_NUMBER_LIKE = re.compile(r"[+\-\u2212]?(\d[\d.,'\u00a0\u202f ]*|[.,]\d+)([eE][+-]?\d+)?%?")
_TIME_LIKE = re.compile(
    r"[+-]?\d[\d.\-/:, TZ+W]*\d[Z]?|[A-Za-z]{3,9} \d+.*|"
    r"(?:[A-Za-z]{3}, )?\d+[./\- ][A-Za-z]{3,9}[./\- ,]+\d.*|"
    r"\d[\d.\-/: T]*\s*(?:[AaPp]\.?[Mm]\.?|[A-Z]{3,4})"
)
_ODD_NUMBER = re.compile(r"[+-]?(?:nan.*|inf|infinity|1\.#.*)|<na>|n/?a|null|none", re.IGNORECASE)
_UNIT = re.compile(
    r"[\[(<{].*[\])>}]|%|-|[°º]\s?[CFKcfk]?|[munµkMGT]?(?:V|A|W|VA|Var|var|VAr|VAR|Hz|Wh|VAh|varh|"
    r"Ah|s|m|g|Pa|bar|Ohm|ohm|Ω|J|N|K|S|F|H|T|L|l|B|mol|rad|deg|h|min|d|1(?=/))"
    r"(?:[²³23]|\^-?\d)?(?:[/·*. ][a-zA-Zµ²³°0-9^-]+)*|p\.?u\.?|(?i:deg(?:rees?)? ?[cfk]?|hertz|"
    r"volts?|amperes?|amps?|watts?|celsius|kelvin|percent|seconds?|minutes?|hours?|rpm|ppm|"
    r"ts|rn)|dB|count|bool|"
    r"UTC|GMT|CET|ISO ?8601|[yYmMdDhHsS.:/ \-]{6,}|date|time|datetime|timestamp|unix|epoch",
)


_MADE = re.compile(
    r"avg|average|mean|min|minimum|max|maximum|smp|sample|tot|total|sum|std|stdev|inst\w*|rms|"
    r"raw|float\d*|double|int\d*|integer|string|text|number|value",
    re.IGNORECASE,
)
"""How loggers say that values were made, or are kept."""


@dataclass(frozen=True)
class Dialect:
    """How a text is laid out."""

    delimiter: str
    names: list[str]
    units: dict[str, str]
    start: Position
    comment: bytes | None
    notes: list[str]


@dataclass(frozen=True)
class _Row:
    line: int
    """From 1."""
    end: int
    """Where the next row begins, in bytes."""
    text: str
    cells: list[str]

    @property
    def width(self) -> int:
        return len(self.cells)

    @property
    def is_blank(self) -> bool:
        return not any(self.cells)


def find_dialect(head: bytes, path: Path, layout: Layout, *, is_whole: bool) -> Dialect:
    """Returns how a text that begins so is laid out.

    Raises:
        SourceError: It has no line of names, or lines that were told are not there.
    """
    found = _Finder(head, path, layout, is_whole=is_whole)
    return found.dialect()


class _Finder:
    def __init__(self, head: bytes, path: Path, layout: Layout, *, is_whole: bool) -> None:
        self._head = single_spaces(head) if layout.delimiter == " " else head
        self._path = path
        self._layout = layout
        self._is_whole = is_whole
        self._missing = {word.strip().lower() for word in (*MISSING, *layout.missing)}
        self._notes: list[str] = []
        told = _TOLD.match(head)
        self._told_delimiter = told[1].decode() if told and told[1] != b'"' else None
        self._above = layout.skip_lines or int(self._told_delimiter is not None)
        """How many lines are skipped."""

    def dialect(self) -> Dialect:
        layout = self._layout
        delimiter = layout.delimiter or self._told_delimiter or self._delimiter()
        rows = self._rows(delimiter)
        comment = layout.comment or ("#" if any(self._is_comment(row) for row in rows) else None)
        body = [row for row in rows if not row.is_blank and not self._is_comment(row)]
        if not body and not self._is_whole:
            raise SourceError(f"`{self._path}` has no rows in its first {len(self._head):,} bytes")
        if not body:
            raise NothingInItError(f"`{self._path}` has no rows, and no names either")
        width = self._width(body)
        names_row, unit_row, first = self._header(rows, body, width)
        names = self._names(names_row, body, first, width)
        units = self._units(unit_row, names)
        last = max(
            (row for row in (names_row, unit_row) if row), key=lambda r: r.line, default=None
        )
        last = self._below_units(body, last) if last and last is unit_row else last
        start = self._start(rows, last)
        if delimiter != ",":
            self._notes.insert(0, f"{_called(delimiter)} parts its cells")
        return Dialect(
            delimiter, names, units, start, comment.encode() if comment else None, self._notes
        )

    # The rows of the head.

    def _rows(self, delimiter: str) -> list[_Row]:
        found = find_rows(self._head, delimiter.encode(), is_last=self._is_whole)
        if not len(found.starts) and self._head:
            found = find_rows(self._head, delimiter.encode(), is_last=True)
        rows: list[_Row] = []
        layout = self._layout
        told = max(layout.skip_lines or 0, layout.header_line or 0, layout.unit_line or 0)
        held = 0
        for place in range(len(found.starts)):
            if held >= _ROWS and place >= _ROWS + told:
                break
            start, end = int(found.starts[place]), int(found.ends[place])
            text = self._head[start:end].decode("utf-8", "replace").rstrip("\r")
            after = int(found.starts[place + 1]) if place + 1 < len(found.starts) else found.end
            rows.append(_Row(int(found.lines[place]) + 1, after, text, _cells(text, delimiter)))
            held += not (rows[-1].is_blank or self._is_comment(rows[-1]))
        return [row for row in rows if row.line > self._above]

    def _is_comment(self, row: _Row) -> bool:
        return row.text.lstrip().startswith(self._layout.comment or "#")

    # What parts cells.

    def _delimiter(self) -> str:
        best, most = ",", (0.0, 0)
        for delimiter in _DELIMITERS:
            rows = [
                row
                for row in self._rows(delimiter)
                if not row.is_blank and not self._is_comment(row)
            ]
            found = self._evidence(rows)
            if found > most:
                best, most = delimiter, found
        if (not most[1] or self._may_be_decimals(best)) and b" " in self._head.strip():
            whole, self._head = self._head, single_spaces(self._head)
            if self._are_spaced():
                return " "
            self._head = whole
        return best

    def _may_be_decimals(self, delimiter: str) -> bool:
        """Whether commas stand between digits only, and in none of the names."""
        if delimiter != "," or not self._layout.has_header:
            return False
        rows = [row for row in self._rows(",") if not row.is_blank and not self._is_comment(row)]
        return any(row.width == 1 for row in rows) and all(
            row.width == 1 or all(map(self._is_like_data, row.cells)) for row in rows
        )

    def _are_spaced(self) -> bool:
        """Whether spaces part cells: they do in names, too, and not in a column of dates alone."""
        every = [row for row in self._rows(" ") if not row.is_blank]
        body = [row for row in every if not self._is_comment(row)]
        evidence, width = self._evidence(body)
        if evidence < _SPACED:
            return False
        if not self._layout.has_header or self._layout.names or len(body) < len(every):
            return True
        return any(
            row.width == width and not any(map(self._is_like_data, row.cells)) for row in body
        )

    def _evidence(self, rows: list[_Row]) -> tuple[float, int]:
        if not rows:
            return 0.0, 0
        width = self._width(rows)
        if width < 2:  # noqa: PLR2004 - one cell is parted by nothing
            return 0.0, 0
        same = [row for row in rows if row.width == width]
        held = [cell for row in same[-200:] for cell in row.cells if cell]
        like = sum(self._is_like_data(cell) for cell in held)
        # Some weight for rows alone: a table of texts has a delimiter, too.
        evidence = (like + 0.1) / (len(held) + 0.1) * len(same) / len(rows)
        return round(evidence, 2) + 0.01, width

    def _width(self, rows: list[_Row]) -> int:
        counts = Counter(row.width for row in rows)
        most = max(counts.values())
        return max(width for width, count in counts.items() if count == most)

    def _is_no_value(self, cell: str) -> bool:
        """Whether a cell is a word that stands for no number; a name may be one, too."""
        return cell.lower() in self._missing or _ODD_NUMBER.fullmatch(cell) is not None

    def _is_like_data(self, cell: str) -> bool:
        cell = cell.strip('"')
        return bool(
            self._is_no_value(cell) or _NUMBER_LIKE.fullmatch(cell) or _TIME_LIKE.fullmatch(cell)
        )

    # What stands above the rows.

    def _header(
        self, rows: list[_Row], body: list[_Row], width: int
    ) -> tuple[_Row | None, _Row | None, _Row | None]:
        """The rows of names and of units, and the first one with data."""
        layout = self._layout
        told_units = self._told(rows, layout.unit_line, "--unit-line")
        if layout.header_line is not None:
            names = self._told(rows, layout.header_line, "--header-line")
        elif not layout.has_header:
            names = None
        elif layout.skip_lines is not None:
            names = body[0]
        else:
            names, found_units = self._found_header(rows, body, width)
            told_units = told_units or found_units
        after = [row for row in body if names is None or row.line > names.line]
        units = told_units
        if units is None and after and names is not None and self._are_units(after[0], after[1:]):
            units = after[0]
        data = [row for row in after if row is not units]
        return names, units, data[0] if data else None

    def _below_units(self, body: list[_Row], last: _Row) -> _Row:
        """The last of the rows that say more of the columns, such as `Avg`, as loggers write it."""
        for row in (row for row in body if row.line > last.line):
            if not all(_MADE.fullmatch(cell) for cell in row.cells if cell):
                return last
            last = row
            self._notes.append(f"line {row.line} says more of the columns, and is left out")
        return last

    def _told(self, rows: list[_Row], line: int | None, option: str) -> _Row | None:
        if line is None:
            return None
        row = next((row for row in rows if row.line == line), None)
        if row is None:
            raise SourceError(f"`{self._path}` has no row that begins in line {line} of `{option}`")
        return row

    def _found_header(
        self, rows: list[_Row], body: list[_Row], width: int
    ) -> tuple[_Row | None, _Row | None]:
        like = self._columns_like_data(body, width)
        first = next((row for row in body if self._is_good(row, like, width)), None)
        above = [row for row in body if first is None or row.line < first.line]
        fitting = [row for row in above if row.width == width]
        fitting = fitting or [row for row in above if self._could_be_names(row, width)]
        named = [row for row in fitting if self._is_different(row, like)]
        if not named or (first is not None and not above):
            commented = self._names_in_comment(rows, first, width)
            if commented is not None:
                return commented, None
        if not named:
            named = fitting[:1]
        if not named:
            names = next(iter(above or body))
            if first is None or names.line < first.line:
                return names, None
            if all(self._is_like_data(cell) for cell in names.cells if cell):
                raise SourceError(
                    f"line {names.line} of `{self._path}` has no names; say `--no-header`, or "
                    "write a line of names above it"
                )
            return names, None
        names = self._likeliest(named)
        below = [row for row in above if row.line > names.line]
        units = below[0] if below and self._are_units(below[0], below[1:]) else None
        if names is not body[0]:
            self._notes.append(
                f"names are taken from line {names.line}; what is above is no part of the table"
            )
        return names, units

    def _likeliest(self, named: list[_Row]) -> _Row:
        """The row of names among rows that look like one; units come after it."""
        if len(named) > 1 and self._are_units(named[-1], []):
            above = named[:-1]
            if any(map(_has_time_name, above)) or not _has_time_name(named[-1]):
                named = above
        for row, below in pairwise(named):
            # Names, units, and perhaps how a logger made the values, which is no name.
            is_told = _has_time_name(row) or not _has_time_name(below)
            if is_told and self._are_units(below, []) and not self._are_units(row, []):
                return row
        with_time = [row for row in named if _has_time_name(row)]
        if with_time:
            return with_time[-1]
        # The first of those that stand together above the data: what follows are rows, if bad ones.
        lines = {row.line for row in named}
        first = named[-1]
        while first.line - 1 in lines:
            first = next(row for row in named if row.line == first.line - 1)
        return first

    def _columns_like_data(self, body: list[_Row], width: int) -> list[bool]:
        same = [row for row in body if row.width == width]
        rows = same[len(same) // 2 :][:200] or same
        found: list[bool] = []
        for place in range(width):
            held = [row.cells[place] for row in rows if row.cells[place]]
            found.append(2 * sum(map(self._is_like_data, held)) > len(held) > 0)
        return found

    def _is_good(self, row: _Row, like: list[bool], width: int) -> bool:
        """Whether a row holds data wherever columns do."""
        if row.width != width or not any(like):
            return False
        held = [cell for cell, is_like in zip(row.cells, like, strict=True) if is_like and cell]
        return bool(held) and all(self._is_like_data(cell) for cell in held)

    def _is_different(self, row: _Row, like: list[bool]) -> bool:
        """Whether a row is unlike the data in all columns."""
        held = [
            cell
            for cell, is_like in zip(row.cells, like, strict=False)
            if is_like and cell and not self._is_no_value(cell)
        ]
        return bool(held) and not any(self._is_like_data(cell) for cell in held)

    def _could_be_names(self, row: _Row, width: int) -> bool:
        cells = row.cells
        if row.width < width:  # rows end with a delimiter, and names do not
            return row.width == width - 1 > 0
        return not any(cells[width:])

    def _are_units(self, row: _Row, after: Sequence[_Row]) -> bool:
        del after
        held = [cell for cell in row.cells if cell]
        return bool(held) and len(held) * 2 >= row.width - 1 and all(map(_is_unit, held))

    def _names_in_comment(self, rows: list[_Row], first: _Row | None, width: int) -> _Row | None:
        """Names as numpy and gnuplot write them, in the last comment above the rows."""
        above = [
            row
            for row in rows
            if self._is_comment(row) and (first is None or row.line < first.line)
        ]
        for row in reversed(above):
            cells = [cell.lstrip("#").strip() for cell in row.cells]
            if len(cells) == width + 1 and not cells[0]:  # `# time a b`, parted by spaces
                del cells[0]
            if len(cells) == width > 1 and not any(self._is_like_data(cell) for cell in cells):
                self._notes.append(f"names are taken from the comment in line {row.line}")
                return _Row(row.line, row.end, row.text, cells)
        return None

    # What comes of it.

    def _names(
        self, row: _Row | None, body: list[_Row], first: _Row | None, width: int
    ) -> list[str]:
        layout = self._layout
        cells = list(row.cells) if row is not None else [""] * width
        data = [other for other in body if first is not None and other.line >= first.line]
        if data:
            width = self._width(data)
            while len(cells) > width and not cells[-1]:
                cells.pop()  # names end with a delimiter, and rows do not
            if len(cells) < width and all(
                not any(other.cells[len(cells) :]) for other in data if other.width == width
            ):
                cells += [""] * (width - len(cells))
            if len(cells) != width and not layout.names:
                line = row.line if row is not None else 0
                raise SourceError(
                    f"most rows of `{self._path}` have {width} cells, but line {line} has "
                    f"{len(cells)} names; give names with `--names`, or say where they are with "
                    "`--header-line`"
                )
        if layout.names:
            if len(layout.names) != max(width, 1):
                raise SourceError(
                    f"`--names` has {len(layout.names)} names, and rows of `{self._path}` have "
                    f"{width} cells"
                )
            cells = list(layout.names)
        return distinct_names([" ".join(cell.split()) for cell in cells], self._notes)

    def _units(self, row: _Row | None, names: list[str]) -> dict[str, str]:
        if row is None:
            return {}
        units = {
            name: _bare(cell)
            for name, cell in zip(names, row.cells, strict=False)
            if _bare(cell) not in {"", "-"}
        }
        self._notes.append(f"units are taken from line {row.line}")
        return units

    def _start(self, rows: list[_Row], last: _Row | None) -> Position:
        if last is None:
            offset = 0
            for _ in range(self._above):
                offset = self._head.find(b"\n", offset) + 1
            return Position(offset, self._above + 1)
        after = [row.line for row in rows if row.line > last.line]
        line = after[0] if after else last.line + last.text.count("\n") + 1
        return Position(last.end, line)


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        lines = [f"{line}\n" for line in text.split("\n")]
        nothing: list[str] = []
        cells = next(csv.reader(lines, delimiter=delimiter), nothing)
    except csv.Error:
        cells = text.split(delimiter)
    return [_stripped(cell) for cell in cells]


def _stripped(cell: str) -> str:
    bare = cell.strip(" \t\u00a0\ufeff\r\n")
    # Marks with something around them are still those of the file; others belong to the cell.
    is_quoted = bare != cell and len(bare) > 1 and bare[0] == bare[-1] == '"'
    return bare[1:-1].strip() if is_quoted else bare


def _has_time_name(row: _Row) -> bool:
    return any(TIME_NAME.fullmatch(cell) for cell in row.cells if cell)


def _is_unit(cell: str) -> bool:
    return _UNIT.fullmatch(cell) is not None


def _bare(cell: str) -> str:
    return cell[1:-1].strip() if cell[:1] in "[(<{" and cell[-1:] in "])>}" and cell else cell


def _called(delimiter: str) -> str:
    return {"\t": "a tab", " ": "a space"}.get(delimiter, f"`{delimiter}`")
