"""How commands reach a server, and how they find the streams that people name."""

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
        help="Where the server is; BTRDB_ENDPOINTS if left out.",
        rich_help_panel=_PANEL,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Profile of ~/.predictivegrid/credentials.yaml; BTRDB_PROFILE if left out.",
        rich_help_panel=_PANEL,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The API key. Others on this machine see arguments: better give --apikey-file, or set "
        "BTRDB_API_KEY.",
        rich_help_panel=_PANEL,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file with the API key as its only line; - for standard input.",
        rich_help_panel=_PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in lines of JSON.")]


def key_of(apikey: str | None, file: Path | None) -> str | None:
    """Returns the key of the options `--apikey` and `--apikey-file`; None if neither is given.

    Raises:
        BTrDBError: The file cannot be read, or holds no key.
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
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BTrDBError(f"the API key cannot be read from `{file}`: {why}") from error
    found = text.strip()
    if not found or len(found.split()) > 1:
        raise BTrDBError(f"`{file}` holds no API key: it must be the only line")
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
        # The message of the library tells how to say it in Python.
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
            f"there is no stream `{text}`; `pingthings streams` lists what there is, and a stream "
            "is named by its uuid or as collection/name"
        )
    if len(found) > 1:
        uuids = " ".join(str(stream.uuid) for stream in found)
        raise BTrDBError(f"`{text}` is the name of {len(found)} streams; give one uuid of {uuids}")
    return found[0]


def _by_name(client: Client, text: str) -> list[Stream]:
    """The streams of a collection and a name; either may hold slashes."""
    place = len(text)
    while (place := text.rfind("/", 0, place)) > 0:
        collection, name = text[:place], text[place + 1 :]
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
