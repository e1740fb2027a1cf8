"""Tables whose columns are parted by spaces, one or as many as make them stand in line."""

from __future__ import annotations

import re

from pingthings.files.encodings import Reader

__all__ = ["Spaced", "single_spaces"]

_RUN = re.compile(rb"[ \t]+")
_EDGE = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_PIECE = 1 << 20


def single_spaces(text: bytes) -> bytes:
    """Returns lines with one space between cells, and none at their ends."""
    return _EDGE.sub(b"", _RUN.sub(b" ", text))


class Spaced:
    """Text with one space between cells, whatever stands between them in the file."""

    def __init__(self, file: Reader) -> None:
        """Reads on from where the file is, which is the beginning of a line."""
        self._file = file
        self._line: list[bytes] = []
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""
        parts = [self._ready]
        length = len(self._ready)
        while length < size and (part := self._lines()):
            parts.append(part)
            length += len(part)
        found = b"".join(parts)
        self._ready = found[size:]
        return found[:size]

    def _lines(self) -> bytes:
        """The next whole lines; nothing at the end."""
        while fresh := self._file.read(_PIECE):
            body, end, rest = fresh.rpartition(b"\n")
            if end:
                found = single_spaces(b"".join([*self._line, body, end]))
                self._line = [rest]
                return found
            self._line.append(fresh)
        found, self._line = b"".join(self._line), []
        return single_spaces(found)

    def close(self) -> None:
        """Closes the file below."""
        self._file.close()
