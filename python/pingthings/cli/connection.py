"""Options and functions with which commands connect to a server and look up streams."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from pingthings.timeseries.client import Client, Stream
from pingthings.timeseries.connect import connect
from pingthings.timeseries.exceptions import (
    BTrDBError,
    ConnectionError,  # noqa: A004 - documented name
    StreamNotFoundError,
)

__all__ = [
    "ApiKey",
    "ApiKeyFile",
    "Endpoint",
    "Json",
    "Profile",
    "connected",
    "find_stream",
    "key_of",
    "pairs",
]

_PANEL = "Connection"

Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the server. Default: BTRDB_ENDPOINTS.",
        rich_help_panel=_PANEL,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Profile in ~/.predictivegrid/credentials.yaml. Default: BTRDB_PROFILE.",
        rich_help_panel=_PANEL,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The API key. Other users of this machine can see arguments: prefer --apikey-file or "
        "BTRDB_API_KEY.",
        rich_help_panel=_PANEL,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File whose only line is the API key; - is standard input.",
        rich_help_panel=_PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def key_of(apikey: str | None, file: Path | None) -> str | None:
    """Returns the key of the options `--apikey` and `--apikey-file`; None if neither is given.

    Raises:
        BTrDBError: The file cannot be read, or contains no key.
    """
    if file is None:
        return apikey
    if apikey is not None:
        raise typer.BadParameter(
            "--apikey and --apikey-file are both given; give one of them",
            param_hint="'--apikey-file'",
        )
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BTrDBError(f"the API key cannot be read from `{file}`: {why}") from error
    found = text.strip()
    if not found or len(found.split()) > 1:
        raise BTrDBError(f"`{file}` contains no API key; the key must be its only line")
    return found


@contextmanager
def connected(
    endpoint: str | None, profile: str | None, apikey: str | None, apikey_file: Path | None
) -> Generator[Client]:
    """Yields a client, and closes it."""
    key = key_of(apikey, apikey_file)
    try:
        client = connect(profile, endpoint, key)
    except ConnectionError as error:
        # The message of the library names the Python argument; name the option instead.
        text = str(error).replace("pass `endpoint=`", "give `--endpoint`")
        raise type(error)(text) from error
    with client:
        yield client


def find_stream(client: Client, text: str) -> Stream:
    """Returns the stream of a uuid, or of `collection/name`.

    Raises:
        BTrDBError: Several streams of the collection have this name.
        StreamNotFoundError: There is none.
    """
    try:
        uuid = UUID(text)
    except ValueError:
        found = _by_name(client, text)
    else:
        return client.streamset_from_uuids([uuid])[0]
    if not found:
        raise StreamNotFoundError(
            f"there is no stream `{text}`; name a stream by its uuid or as collection/name, and "
            "list them with `pingthings streams`"
        )
    if len(found) > 1:
        uuids = " ".join(str(stream.uuid) for stream in found)
        raise BTrDBError(
            f"{len(found)} streams have the name `{text}`; give the uuid of one of them: {uuids}"
        )
    return found[0]


def _by_name(client: Client, text: str) -> list[Stream]:
    """Returns the streams of `collection/name`; collection and name may both contain slashes."""
    slash = len(text)
    while (slash := text.rfind("/", 0, slash)) > 0:
        collection, name = text[:slash], text[slash + 1 :]
        found = client.streams_in_collection(collection, False, {"name": name})  # noqa: FBT003
        if len(found):
            return list(found)
    return []


def pairs(option: str, texts: Sequence[str]) -> dict[str, str | None]:
    """Returns the conditions `key=value` of an option; a key alone stands for any value."""
    found: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key:
            raise typer.BadParameter(
                f"{text!r}; give key=value, or a key", param_hint=f"'{option}'"
            )
        found[key] = value if equals else None
    return found
