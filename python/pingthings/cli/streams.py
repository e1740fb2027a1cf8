"""`pingthings streams`: lists streams with their metadata."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pingthings.cli import instants
from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected, pairs
from pingthings.cli.output import print_rows
from pingthings.timeseries.client import Client, Stream, StreamSet
from pingthings.timeseries.points import RawPoint

__all__ = ["EXAMPLES", "streams"]

EXAMPLES = """
Examples:
  pingthings streams
  pingthings streams substation/pmu7 --tag unit=volts --count --range
  pingthings streams --annotation phase=A --json
"""

_COLUMNS = ["name", "unit", "collection", "uuid"]


def streams(
    collection: Annotated[
        str, typer.Argument(help="List only this collection and the ones below it.")
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="List only streams with this tag; may be repeated."),
    ] = None,
    annotation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[=VALUE]", help="List only streams with this annotation; may be repeated."
        ),
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Count the points of each.")] = False,
    range_: Annotated[
        bool, typer.Option("--range", help="Show the times of the first and last point of each.")
    ] = False,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """List streams: name, unit, collection, uuid.

    In a pipe columns are separated by tabs, without headings. JSON also has tags and annotations.
    """
    tags = pairs("--tag", tag or ())
    annotations = pairs("--annotation", annotation or ())
    with connected(endpoint, profile, apikey, apikey_file) as client:
        found = _found(client, collection, tags, annotations)
        rows = {stream.uuid: _row(stream) for stream in found}
        if count and found:
            for uuid, number in StreamSet(found).count().items():
                rows[uuid]["count"] = number
        if range_ and found:
            firsts, lasts = StreamSet(found).earliest(), StreamSet(found).latest()
            for uuid, row in rows.items():
                row["earliest"] = _time(firsts[uuid])
                row["latest"] = _time(lasts[uuid])
    columns = [*_COLUMNS, *(["count"] if count else []), *(["earliest", "latest"] * range_)]
    print_rows(rows.values(), columns, as_json=json)


def _found(
    client: Client,
    collection: str,
    tags: dict[str, str | None],
    annotations: dict[str, str | None],
) -> list[Stream]:
    below = collection.rstrip("/") + "/"
    # The server compares text prefixes, and `lab` is also a prefix of `labour`.
    found = [
        stream
        for stream in client.streams_in_collection(collection, tags=tags, annotations=annotations)
        if not collection or f"{stream.collection}/".startswith(below)
    ]
    return sorted(found, key=lambda one: (one.collection or "", one.name or "", str(one.uuid)))


def _row(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "unit": stream.unit,
        "collection": stream.collection,
        "uuid": str(stream.uuid),
        "tags": stream.tags(),
        "annotations": stream.annotations(),
    }


def _time(point: RawPoint | None) -> str | None:
    return None if point is None else instants.as_text(point.time)
