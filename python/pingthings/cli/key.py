"""`pingthings key`: manages the file of hashed API keys of a server."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "Role", "key"]

EXAMPLES = """
Examples:
  pingthings key add keys --name me --role admin        prints the key once
  pingthings key list keys
  pingthings key revoke keys me
"""

_HEADER = "# API keys: name, role, SHA-256 of the key. Written by `pingthings key`.\n"


class Role(StrEnum):
    """The permissions of a key."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


File = Annotated[Path, typer.Argument(help="The file of keys.")]

key = typer.Typer(
    help="Create, list and revoke API keys of a server.\n\nManages a file of hashed API keys for "
    "`pingthings serve --keys`. A running server applies changes within a second.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)


@key.command(epilog=EXAMPLES)
def add(
    file: File,
    name: Annotated[str, typer.Option(help="A name for the key.")],
    role: Annotated[Role, typer.Option(help="The permissions of the key.")],
) -> None:
    """Create a key and print it once."""
    lines = _lines(file, may_be_missing=True)
    if any(name == known for known, _role, _digest in lines):
        raise BTrDBError(f"`{file}` already has a key `{name}`; choose another name")
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
        raise BTrDBError(
            f"the name `{name}` is invalid; use at most 64 letters, digits and characters of ._@-"
        )
    made = secrets.token_urlsafe(32)
    digest = hashlib.sha256(made.encode()).hexdigest()
    _write(file, [*lines, (name, role.value, digest)])
    print(made)


@key.command("list", epilog=EXAMPLES)
def list_(file: File) -> None:
    """Print names and roles."""
    for name, role, _digest in _lines(file, may_be_missing=False):
        print(f"{name}\t{role}")


@key.command(epilog=EXAMPLES)
def revoke(file: File, name: Annotated[str, typer.Argument(help="Name of the key.")]) -> None:
    """Make a key invalid."""
    lines = _lines(file, may_be_missing=False)
    kept = [line for line in lines if line[0] != name]
    if len(kept) == len(lines):
        raise BTrDBError(
            f"`{file}` has no key `{name}`; list its keys with `pingthings key list {file}`"
        )
    _write(file, kept)


def _lines(file: Path, *, may_be_missing: bool) -> list[tuple[str, str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        if may_be_missing and isinstance(error, FileNotFoundError):
            return []
        raise BTrDBError(f"cannot read `{file}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BTrDBError(
            f"`{file}` is not a text file; give one written by `pingthings key`"
        ) from error
    lines: list[tuple[str, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[1] not in set(Role):  # noqa: PLR2004 - name, role, digest
            raise BTrDBError(
                f"line {number} of `{file}` is not a key; give a file written by `pingthings key`"
            )
        lines.append((words[0], words[1], words[2]))
    return lines


def _write(file: Path, lines: Sequence[tuple[str, str, str]]) -> None:
    """Replaces the file atomically, so that a server never reads half of it."""
    text = _HEADER + "".join(" ".join(line) + "\n" for line in lines)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as fresh:
            fresh.write(text)
            fresh.flush()
            os.fsync(fresh.fileno())
        Path(fresh.name).replace(file)
    except OSError as error:
        raise BTrDBError(f"cannot write `{file}`: {error.strerror}") from error
