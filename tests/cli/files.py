"""Files for the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pingthings.timeseries as pt

__all__ = ["ns", "write"]


def write(folder: Path, content: str | bytes, name: str = "file.csv") -> Path:
    """Writes a file as it stands, whatever its line breaks."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def ns(text: str) -> int:
    return pt.utils.to_nanoseconds(text)
