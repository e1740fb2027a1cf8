"""What a file is, by its first bytes and not by its name, and the bytes that are in it."""

from __future__ import annotations

import io
import lzma
import re
import stat
import sys
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from pingthings.files.encodings import Reader
from pingthings.files.source import NothingInItError, SourceError

__all__ = ["COMPRESSED", "FAILURES", "STANDARD_INPUT", "Bytes", "open_bytes", "same_file"]

arrow: Any = pa  # its stubs lag behind it

STANDARD_INPUT = Path("-")
"""The name that stands for standard input."""

COMPRESSED = {".gz", ".bz2", ".zst", ".lz4", ".xz", ".zip"}
"""How the names of compressed files end, which only the names of streams are made of."""

FAILURES = (
    OSError,
    EOFError,
    arrow.ArrowException,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,  # a way to compress that this Python does not know
)
"""What damaged files make those raise who read them."""

_HEAD = 1 << 16
_PIECE = 1 << 20
_CODECS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_KINDS = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "stream",
    b"PK\x03\x04": "zip",
}
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "a workbook of an old spreadsheet (.xls); save it as .xlsx or CSV",
    b"PK\x05\x06": "an archive with nothing in it",
    b"PARE": "an encrypted Parquet file",
    b"FEA1": "a Feather file of version 1; write it again with a newer library",
    b"ORC": "an ORC file; convert it to Parquet",
    b"Obj\x01": "an Avro file; convert it to Parquet",
    b"SQLite format 3": "an SQLite database; export a table as CSV",
    b"\x89HDF": "an HDF5 file; convert it to Parquet",
    b"CDF": "a NetCDF file; convert it to Parquet",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x89PNG": "a picture",
    b"\x7fELF": "a program",
}
_BINARY = bytes(range(9))
_TAR = slice(257, 262)
_HIDDEN = (".", "_")
_TABLES = {".csv", ".tsv", ".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", ".dat"}


class Bytes:
    """The bytes of a file, unpacked, to be read once or more often from the beginning."""

    def __init__(self, path: Path, kind: str, head: bytes, opener: Callable[[], Reader]) -> None:
        """Knows what is in the file, and how it begins."""
        self.path = path
        self.kind = kind
        self.head = head
        self.opener = opener
        self.size: int | None = None
        """How many bytes there are, if they stand in a file as they are."""
        self.notes: list[str] = []
        self.days = 0
        """How many days later than 1899-12-30 a workbook begins to count."""
        self.is_once = False
        """Whether they can be read only once, as text from a pipe."""
        self.is_pipe = False
        """Whether another program that begins anew finds something else."""
        self.file: Path | IO[bytes] = path
        """Where typed files are read from: they jump to and fro."""


class _Replayed:
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        found, self._head = self._head[:size], self._head[size:]
        return found if len(found) == size else found + _whole(self._rest, size - len(found))

    @property
    def closed(self) -> bool:
        return bool(getattr(self._rest, "closed", False))

    def close(self) -> None:
        self._rest.close()


class _Xz(lzma.LZMAFile):
    """Unpacks xz, and closes the file below, too."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def _whole(file: Reader, size: int) -> bytes:
    """So many bytes, of a file that may give fewer at a time."""
    parts: list[bytes] = []
    while size > 0 and (fresh := file.read(size)):
        parts.append(fresh)
        size -= len(fresh)
    return b"".join(parts)


def open_bytes(path: Path) -> Bytes:
    """Returns what is in a file, or comes through a pipe.

    Raises:
        SourceError: It cannot be read, is empty, or is of a kind that holds no table.
    """
    try:
        if path == STANDARD_INPUT or not _is_regular(path):
            found = _of_pipe(path)
            found.is_pipe = True
        else:
            found = _of_file(path)
    except SourceError:
        raise
    except FAILURES as error:
        raise SourceError(f"cannot read `{path}`: {_reason(error)}") from error
    if not found.head:
        raise NothingInItError(f"`{path}` is empty")
    return found


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _is_regular(path: Path) -> bool:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise SourceError(f"`{path}` is a folder")
    return stat.S_ISREG(mode)


def _of_file(path: Path) -> Bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind, codec = _kind(path, head)
    if kind == "zip":
        return _of_zip(path, path)
    if codec is None:
        found = Bytes(path, kind, head, lambda: path.open("rb"))
        found.size = path.stat().st_size
        return found
    return _unpacked(path, codec, lambda: path.open("rb"), is_once=False)


def _of_pipe(path: Path) -> Bytes:
    if path == STANDARD_INPUT and sys.stdin is None:
        raise SourceError("standard input is closed")
    file: Any = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
    head = _whole(file, _HEAD)
    kind, codec = _kind(path, head)
    stream = _Replayed(head, file)
    if kind == "zip":
        file = _kept(stream)
        found = _of_zip(path, file)
        weakref.finalize(found, file.close)
        return found
    if codec is not None:
        return _unpacked(path, codec, lambda: stream, is_once=True)
    found = Bytes(path, kind, head, lambda: stream)
    found.is_once = True
    if kind != "text":
        _keep(found, _kept(stream))
    return found


def _unpacked(path: Path, codec: str, opener: Callable[[], Any], *, is_once: bool) -> Bytes:
    def unpack() -> Reader:
        file = opener()
        if codec == "xz":
            return _Xz(file)
        source = arrow.PythonFile(file, "r")
        found: Reader = arrow.CompressedInputStream(source, codec)
        return found

    return _inner(path, unpack, is_once=is_once, how=codec)


def _inner(path: Path, unpack: Callable[[], Reader], *, is_once: bool, how: str) -> Bytes:
    """What is in a file that was compressed, which may be of any kind again."""
    stream = unpack()
    head = _whole(stream, _HEAD)
    kind, codec = _kind(path, head)
    if codec is not None or kind == "zip":
        raise SourceError(f"`{path}` is compressed twice; unpack it once")
    opener = unpack
    if kind == "text" and is_once:
        replayed = _Replayed(head, stream)
        opener = lambda: replayed  # noqa: E731 - one line for one pass
    found = Bytes(path, kind, head, opener)
    found.is_once = is_once
    if kind != "text":
        _keep(found, _kept(_Replayed(head, stream)))
    elif not is_once:
        stream.close()
    found.notes.append(f"it is unpacked: {how}")
    return found


def _of_zip(path: Path, file: Any) -> Bytes:
    with zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if "xl/workbook.xml" in names or "xl/workbook.bin" in names:
            found = Bytes(path, "excel", b"PK", _never)
            found.file = file
            return found
        names = [
            name
            for name in names
            if not any(part.startswith((*_HIDDEN, "__MACOSX")) for part in Path(name).parts)
        ]
        if len(names) > 1:  # a table, and what is said about it
            tables = [name for name in names if Path(name).suffix.lower() in _TABLES]
            names = tables if len(tables) == 1 else names
        if len(names) != 1:
            has = ", ".join(f"`{name}`" for name in names[:3]) or "none"
            raise SourceError(
                f"`{path}` is an archive of {len(names)} files ({has}{', …' * (len(names) > 3)}); "  # noqa: PLR2004
                "unpack it into a folder, and put that"
            )
        info = archive.getinfo(names[0])
        if info.flag_bits & 1:
            raise SourceError(f"`{path}` is encrypted; unpack it first")

    def unpack() -> Reader:
        if not isinstance(file, Path):
            file.seek(0)
        archive = zipfile.ZipFile(file)
        return archive.open(names[0])

    return _inner(path, unpack, is_once=False, how=f"zip, `{names[0]}`")


def _never() -> Reader:
    raise AssertionError("a workbook is read by the library for it")


def _keep(found: Bytes, file: IO[bytes]) -> None:
    """Has a file read, and closed when nobody can read it any more."""
    found.file = file
    weakref.finalize(found, file.close)


def _kept(stream: Reader) -> IO[bytes]:
    """A file without a name that holds a stream, for readers that jump to and fro."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as it is read
    while fresh := stream.read(_PIECE):
        file.write(fresh)
    file.seek(0, io.SEEK_SET)
    return file


def _kind(path: Path, head: bytes) -> tuple[str, str | None]:
    """What a file is that begins so: its kind, and how it is compressed.

    Raises:
        SourceError: It is of a kind that holds no table.
    """
    for magic, codec in _CODECS.items():
        if head.startswith(magic):
            return "compressed", codec
    if _BZIP2.match(head):
        return "compressed", "bz2"
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return kind, None
    what = _other(head)
    if what is not None:
        raise SourceError(f"`{path}` is {what}")
    return "text", None


def _other(head: bytes) -> str | None:
    """What a file is that is known by name only."""
    if head.translate(None, _BINARY) != head:  # a text may begin with the letters of a mark, too
        found = next((text for magic, text in _OTHERS.items() if head.startswith(magic)), None)
        if found is not None:
            return found
    if head[_TAR] == b"ustar":
        return "a tar archive; unpack it into a folder, and put that"
    first = b"" if b"\0" in head[:64] else head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if first.startswith((b"<?xml", b"<html", b"<!doctype")):
        return "a document of tags (HTML or XML), maybe an answer that says what went wrong"
    if first.startswith(b"{") or re.match(rb"\[\s*\{", first):
        return "JSON; write it as CSV or Parquet"
    return None


def same_file(one: Path, other: Path) -> bool:
    """Whether two names stand for one file."""
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
