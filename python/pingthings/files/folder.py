"""Folders of files of measurements, and the keys in their paths."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pingthings.files.content import COMPRESSED
from pingthings.files.source import SourceError

__all__ = ["File", "every_file"]

_ENDINGS = {
    *(".csv", ".tsv", ".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", ".xlsx"),
}
_HIDDEN = (".", "_")
_KEY = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class File:
    """A file that was named, or one that lies in a folder that was."""

    path: Path
    folder: Path | None = None

    def collection(self, asked: str | None) -> str:
        """Returns where its streams go.

        Args:
            asked: What `--collection` says, in which `{station}` stands for what follows `station=`
                in the path; None takes the name of the folder, or else of the file.

        Raises:
            SourceError: The path has no such key.
        """
        if asked is None:
            return _stem(self.path) if self.folder is None else self.folder.resolve().name
        keys = dict(_keys(self.path))

        def filled(match: re.Match[str]) -> str:
            if match[1] not in keys:
                has = ", ".join(f"`{key}`" for key in keys) or "none"
                raise SourceError(
                    f"the path `{self.path}` has no key `{match[1]}=` for the collection "
                    f"`{asked}`; it has {has}"
                )
            return keys[match[1]]

        return _KEY.sub(filled, asked)


def every_file(named: list[Path]) -> list[File]:
    """Returns the files, and in place of each folder all that lie in it, by their paths.

    Raises:
        SourceError: There is none in a folder.
    """
    found: list[File] = []
    for path in named:
        if not path.is_dir():
            found.append(File(path))
            continue
        inside = [File(file, path) for file in sorted(path.rglob("*")) if _is_one(file, path)]
        if not inside:
            raise SourceError(
                f"the folder `{path}` has no file that ends with {', '.join(sorted(_ENDINGS))}"
            )
        found.extend(inside)
    return found


def _is_one(file: Path, folder: Path) -> bool:
    if any(part.startswith(_HIDDEN) for part in file.relative_to(folder).parts):
        return False
    inner = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    if not file.is_file():
        return False
    return inner.suffix.lower() in _ENDINGS or (
        file.suffix.lower() == ".zip" and _holds_table(file)
    )


def _holds_table(archive: Path) -> bool:
    """Whether a file is in an archive that would be one by itself."""
    try:
        with zipfile.ZipFile(archive) as found:
            return any(Path(name).suffix.lower() in _ENDINGS for name in found.namelist())
    except (OSError, zipfile.BadZipFile):
        return True  # what is wrong with it is said where it is opened


def _keys(path: Path) -> Iterator[tuple[str, str]]:
    """What the folders of a path say as `key=value`, the way of Hive."""
    for part in path.absolute().parent.parts:
        key, equals, value = part.partition("=")
        if key and equals:
            yield unquote(key), unquote(value)


def _stem(path: Path) -> str:
    """The name without what says how it is written, such as `.csv.gz`."""
    stem = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return stem.stem
