"""Which encoding a text is in, by its first bytes, and the text as UTF-8."""

from __future__ import annotations

import codecs
from typing import IO, Protocol

__all__ = ["Encoding", "Reader", "Transcoded", "check_encoding", "find_encoding"]

_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_CONTROLS = bytes(sorted({*range(32), 127} - {*b"\t\n\r\f\v\x1a\x1b"}))
_PIECE = 1 << 20


class Reader(Protocol):
    """Bytes that are read from beginning to end."""

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives back what is open."""
        raise NotImplementedError


class Encoding:
    """An encoding, and how it became known."""

    def __init__(self, name: str, mark: int = 0, note: str | None = None) -> None:
        """Remembers it; `mark` bytes at the beginning are no text."""
        self.name = name
        self.mark = mark
        self.note = note

    @property
    def is_utf8(self) -> bool:
        """Whether nothing has to be converted."""
        return self.name == "utf-8"


def check_encoding(name: str) -> str:
    """Returns the name that Python has for an encoding of texts.

    Raises:
        ValueError: There is none of this name.
    """
    try:
        found = codecs.lookup(name)
        data = "time,1\n".encode(found.name)
        text = codecs.getincrementaldecoder(found.name)("replace").decode(data, final=True)
        if not getattr(found, "_is_text_encoding", True) or text != "time,1\n":
            raise ValueError  # noqa: TRY301 - one way out for all
    except Exception as error:
        raise ValueError(
            f"there is no encoding `{name}`; give one like utf-8 or latin-1"
        ) from error
    return "utf-8" if found.name == "utf-8-sig" else found.name


def find_encoding(head: bytes, asked: str | None) -> Encoding | None:  # noqa: PLR0911 - by evidence
    """Returns the encoding of a text that begins so, None if it is no text (in this encoding)."""
    mark, marked = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", ""))
    if asked is not None:
        if marked and asked.replace("_", "-") in {marked, marked[:6]}:
            return Encoding(marked, len(mark))
        if asked in {"utf-16", "utf-32"}:  # without a mark
            asked = _wide(head) or f"{asked}-le"
        if asked.startswith(("utf-16", "utf-32")) and b"\0" not in head:
            return None  # any bytes are signs of UTF-16, but a line break has a zero
        return Encoding(asked) if _is_in(head, asked) else None
    if marked:
        return Encoding(marked, len(mark), None if marked == "utf-8" else f"it is in {marked}")
    if wide := _wide(head):
        return Encoding(wide, 0, f"it is in {wide}")
    if _is_in(head, "utf-8"):
        return Encoding("utf-8")
    if len(head.translate(None, _CONTROLS)) < len(head):
        return None
    name = "cp1252" if _is_in(head, "cp1252") else "latin-1"
    return Encoding(name, 0, f"it is no UTF-8 and taken for {name}; `--encoding` says otherwise")


def _is_in(head: bytes, name: str) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(head)
    except (UnicodeError, ValueError):
        return False
    return True


def _wide(head: bytes) -> str | None:
    """Text without a mark whose characters have a zero byte, or three, before or after each."""
    even, odd = head[0::2], head[1::2]
    if len(odd) < 2:  # noqa: PLR2004 - one pair says nothing
        return None
    for name in ("utf-32-le", "utf-32-be"):
        # Hardly any other bytes, by fours, are below the last character, and none of them zero.
        if len(head) > 7 and _is_in(head, name) and "\0" not in head.decode(name, "ignore"):  # noqa: PLR2004 - two
            return name
    for name, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros.count(0) * 2 > len(zeros) and others.count(0) * 8 < len(others):
            return name
    return None


class Transcoded:
    """Text in another encoding, as UTF-8; what is no text in it becomes U+FFFD."""

    def __init__(self, file: IO[bytes] | Reader, encoding: Encoding) -> None:
        """Reads on from where the file is, past the mark."""
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding.name)("replace")
        file.read(encoding.mark)
        self._ready = b""
        self._is_over = False

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes of UTF-8, fewer only at the end."""
        parts = [self._ready]
        length = len(self._ready)
        while length < size and not self._is_over:
            fresh = self._file.read(_PIECE)
            self._is_over = not fresh
            part = self._decoder.decode(fresh, final=self._is_over).encode("utf-8", "replace")
            parts.append(part)
            length += len(part)
        found = b"".join(parts)
        self._ready = found[size:]
        return found[:size]

    def close(self) -> None:
        """Closes the file below."""
        self._file.close()
