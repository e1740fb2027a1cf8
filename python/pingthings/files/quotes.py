"""Where the rows of a text begin and end, in time that grows with its length and nothing else.

A quotation mark counts where a cell begins. A line break between two of them ends no row. One that
is never closed, or closed in the middle of a cell some lines later, spoils its own line only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LONGEST_CELL", "Rows", "find_rows"]

LONGEST_CELL = 1 << 16
"""How many bytes a cell with line breaks may have."""

_BREAK, _QUOTE, _RETURN = 10, 34, 13
_END = frozenset(b"\r\n")

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Rows by the bytes where they begin and end, without the line break."""

    starts: Places
    ends: Places
    lines: Places
    """The line in which each begins, counted from 0."""
    stray: list[int]
    """Rows with a quotation mark that is not closed."""
    end: int
    """How many bytes the rows take; what is behind is no whole row yet."""
    count: int
    """How many lines the rows take."""


def find_rows(data: bytes, delimiter: bytes, *, is_last: bool) -> Rows:
    """Returns the whole rows of some text that begins with one; the last needs no line break."""
    letters = np.frombuffer(data, np.uint8)
    breaks = np.flatnonzero(letters == _BREAK)
    if is_last and data and data[-1] != _BREAK:
        breaks = np.append(breaks, len(data))
    if not len(breaks):
        return Rows(breaks, breaks, breaks, [], 0, 0)
    starts = np.concatenate([[0], breaks[:-1] + 1]).astype(np.int64)
    ends = breaks.astype(np.int64)
    lines = np.arange(len(starts), dtype=np.int64)
    odd = _odd_lines(letters, breaks, delimiter[0])
    odd = odd[odd < len(starts)]  # what is behind the last break is no row yet
    stray: list[int] = []
    if len(odd):
        return _joined(data, delimiter, starts, ends, odd.tolist(), is_last=is_last)
    return Rows(starts, ends, lines, stray, min(int(ends[-1]) + 1, len(data)), len(lines))


def _odd_lines(letters: npt.NDArray[np.uint8], breaks: Places, delimiter: int) -> Places:
    """Lines whose quotation marks do not simply stand around cells."""
    quotes = np.flatnonzero(letters == _QUOTE)
    if not len(quotes):
        return quotes
    line = np.searchsorted(breaks, quotes)
    before = np.where(quotes > 0, letters[quotes - 1], _BREAK)
    after = letters[np.minimum(quotes + 1, len(letters) - 1)]
    after[quotes + 1 >= len(letters)] = _BREAK
    opens = (before == delimiter) | (before == _BREAK)
    closes = (after == delimiter) | (after == _BREAK) | (after == _RETURN)
    count = len(breaks) + 1
    total = np.bincount(line, minlength=count)
    opening = np.bincount(line[opens], minlength=count)
    closing = np.bincount(line[closes], minlength=count)
    both = np.bincount(line[opens & closes], minlength=count)
    return np.flatnonzero((total % 2 == 1) | (opening != closing) | (both > 0))


def _joined(
    data: bytes,
    delimiter: bytes,
    starts: Places,
    ends: Places,
    odd: list[int],
    *,
    is_last: bool,
) -> Rows:
    """The rows where some lines belong together."""
    is_start = np.ones(len(starts), bool)
    stray: list[int] = []
    known = len(starts)
    done = 0
    for line in odd:
        if line < done:
            continue
        end = _row_end(data, delimiter, int(starts[line]), is_last=is_last)
        if end is None or (end >= len(data) and not is_last):  # it goes on behind this text
            known = line
            break
        if end < 0:
            stray.append(line)
            continue
        last = int(np.searchsorted(ends, end))
        is_start[line + 1 : last + 1] = False
        done = last + 1
    first = np.flatnonzero(is_start[:known])
    last_lines = np.append(first[1:], known) - 1
    final = ends[last_lines] if len(first) else ends[:0]
    end = min(int(final[-1]) + 1, len(data)) if len(first) else 0
    place_of = np.searchsorted(first, np.array(stray, np.int64)).tolist()
    return Rows(starts[first], final, first.astype(np.int64), place_of, end, known)


def _row_end(data: bytes, delimiter: bytes, start: int, *, is_last: bool) -> int | None:
    """Where the line break of a row is; -1 if a mark is not closed, None if that is not known."""
    place = start
    end = _line_end(data, place)
    while True:
        if data[place : place + 1] == b'"':
            close = _closing(data, place + 1)
            if close is None:
                is_known = is_last or place + LONGEST_CELL < len(data)
                return -1 if is_known else None
            if close > end:
                after = data[close + 1 : close + 2]
                if after and after != delimiter and after[0] not in _END:
                    return -1
                if not after and not is_last:
                    return None
                end = _line_end(data, close)
            place = close + 1
        found = data.find(delimiter, place, end)
        if found < 0:
            return end
        place = found + 1


def _closing(data: bytes, place: int) -> int | None:
    limit = place + LONGEST_CELL
    while (found := data.find(b'"', place, limit)) >= 0:
        if data[found + 1 : found + 2] != b'"':
            return found
        place = found + 2
    return None


def _line_end(data: bytes, place: int) -> int:
    found = data.find(b"\n", place)
    return len(data) if found < 0 else found
