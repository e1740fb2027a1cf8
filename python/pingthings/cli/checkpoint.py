"""How far a file has been stored, kept beside it, so that an interrupted `put` goes on there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pingthings.files.source import Position
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["Checkpoint"]

_VERSION = 2
_HEAD_BYTES = 1 << 16
_NOT_KEPT = ("path", "is_resumed", "is_saved")


@dataclass
class Checkpoint:
    """Everything before `position` is stored, or written to the file of rejected rows.

    It is written before a block is sent, with where that ends, and after the server has answered.
    So it is known which points may have been stored before a crash. That it is one block and no
    more, whatever happens, is why a checkpoint that could be written once and then no longer ends
    the command.
    """

    path: Path | None
    fingerprint: str
    position: Position
    accepted: int = 0
    rejected: int = 0
    rejected_cells: int = 0
    missing: int = 0
    points: int = 0
    replaced: int = 0
    ignored: int = 0
    rejected_bytes: int = 0
    last: dict[str, int] = field(default_factory=dict[str, int])
    """A time of each stream that must be there if its server is still the same."""
    last_time: int | None = None
    """The time of the last row, by which a clock that shows an hour twice goes on."""
    begun: int = 0
    """How far the block reaches that was about to be stored: up to there points may come again."""
    is_resumed: bool = False
    is_saved: bool = False

    @classmethod
    def find(
        cls, source: Path, start: Position, options: object, *, can_resume: bool
    ) -> Checkpoint:
        """Returns where to go on: at the start unless file and options are those of before."""
        if not can_resume:
            return cls(None, "", start)
        path = source.with_name(f".{source.name}.put")
        status = source.stat()
        identity = [
            *(_VERSION, status.st_size, status.st_mtime_ns, status.st_ino),
            *(_beginning(source), options),
        ]
        text = json.dumps(identity, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        fresh = cls(path, fingerprint, start)
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if kept["fingerprint"] != fingerprint:
                return fresh
            kept["position"] = Position(**kept["position"])
            return cls(path=path, is_resumed=True, **kept)
        except (OSError, ValueError, TypeError, KeyError):
            return fresh

    def anew(self) -> Checkpoint:
        """Returns one that knows of nothing stored; where the file begins, its caller knows."""
        return Checkpoint(self.path, self.fingerprint, self.position)

    def save(self, *, durably: bool = False) -> None:
        """Writes it at once: it is never half there. A folder of others' stays as it is.

        Args:
            durably: Whether it has to be on the disk before points are sent.

        Raises:
            BTrDBError: It could be written before, and now cannot be.
        """
        if self.path is None:
            return
        kept = asdict(self)
        for name in _NOT_KEPT:
            del kept[name]
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(json.dumps(kept))
                file.flush()
                if durably:
                    os.fsync(file.fileno())
            fresh.replace(self.path)
            self.is_saved = True
        except OSError as error:
            if not (self.is_saved or self.is_resumed):
                self.path = None
                return
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise BTrDBError(
                f"cannot write `{self.path}`, which says how far the file is stored: "
                f"{error.strerror}; mend that, and the same command goes on"
            ) from error

    def forget(self) -> None:
        """Removes it: the file is stored."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def _beginning(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
