"""Determines the memory available to this process, and parses sizes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError

__all__ = ["as_bytes", "available"]

_UNITS = {"": 1, "k": 1_000, "m": 1_000**2, "g": 1_000**3, "t": 1_000**4}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_LEAST = 16 << 20
_MOST = (1 << 63) - 1
_WITHOUT_AN_ANSWER = 4 << 30
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def as_bytes(value: object, name: str) -> int:
    """Returns a number of bytes, given as a number or as text: `512 MiB`, `2GB`, `1.5 GiB`.

    Raises:
        BTRDBTypeError: The value is neither a number nor text.
        BTRDBValueError: It is not a size, or less than 16 MiB.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BTRDBTypeError(
            f"`{name}` is a number of bytes or text like `2 GiB`, not a `{type(value).__name__}`"
        )
    count = value if isinstance(value, int) else _parsed(value)
    if count is None or not _LEAST <= count <= _MOST:
        raise BTRDBValueError(
            f"`{name}` is `{value}`; give at least 16 MiB, as bytes or as text like `2 GiB`"
        )
    return count


def _parsed(text: str) -> int | None:
    match = re.fullmatch(r"\s*(\d{1,19})(?:\.(\d{1,6}))?\s*([kmgt]i?)?b?\s*", text.lower())
    if match is None:
        return None
    whole, fraction, unit = match[1], match[2] or "", match[3] or ""
    scale = (_UNITS | _BINARY_UNITS)[unit]
    parts: int = 10 ** len(fraction)
    return int(whole + fraction) * scale // parts


def available() -> int:
    """Returns the bytes of memory of this machine, or of the container of this process."""
    limits = [_installed()]
    for path in _CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return min(limits)


def _installed() -> int:
    if sys.platform == "win32":
        return _installed_on_windows()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return _WITHOUT_AN_ANSWER


def _installed_on_windows() -> int:
    import ctypes  # noqa: PLC0415 - only Windows needs it, and the import takes time

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((f"size_{number}", ctypes.c_uint64) for number in range(7)),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - exists on Windows only
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return _WITHOUT_AN_ANSWER
    return int(status.size_0)
