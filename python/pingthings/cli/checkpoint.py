"""How far a file has been stored, kept beside it, so that an interrupted `put` goes on there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pingthings.cli.source import Position

__all__ = ["Checkpoint"]

_VERSION = 1


@dataclass
class Checkpoint:
    """Everything before `position` is stored, or written to the file of rejected rows.

    It is written after the server has answered. What was stored last before a crash may therefore
    be stored again, which changes nothing under the policies that replace or drop equal points.
    """

    path: Path
    fingerprint: str
    position: Position
    accepted: int = 0
    rejected: int = 0
    missing: int = 0
    points: int = 0
    rejected_bytes: int = 0
    last: dict[str, int] = field(default_factory=dict[str, int])
    """A time of each stream that must be there if its server is still the same."""
    is_resumed: bool = False

    @classmethod
    def find(cls, source: Path, start: Position, options: object) -> Checkpoint:
        """Returns where to go on: at the start unless file and options are those of before."""
        path = source.with_name(f".{source.name}.put")
        status = source.stat()
        text = json.dumps([_VERSION, status.st_size, status.st_mtime_ns, options], default=str)
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

    def save(self) -> None:
        """Writes it at once: it is never half there. A folder of others' stays as it is."""
        kept = asdict(self)
        del kept["path"], kept["is_resumed"]
        fresh = self.path.with_name(f"{self.path.name}.new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(kept), encoding="utf-8")
            fresh.replace(self.path)

    def forget(self) -> None:
        """Removes it: the file is stored."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
