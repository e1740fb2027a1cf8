"""`pingthings info`: describes the server and the amount of its data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.output import print_json, print_rows
from pingthings.timeseries.client import Client
from pingthings.timeseries.exceptions import NotSupportedError

__all__ = ["EXAMPLES", "info"]

EXAMPLES = """
Examples:
  pingthings info --endpoint 127.0.0.1:4410
  pingthings info --count --json
"""


def info(
    count: Annotated[bool, typer.Option("--count", help="Also count the points.")] = False,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Print protocol and build of the server, and how many collections and streams it has."""
    with connected(endpoint, profile, apikey, apikey_file) as client:
        found = _about(client, count=count)
    if json:
        print_json(found)
    else:
        rows = [{"what": key, "value": str(value)} for key, value in found.items()]
        print_rows(rows, ["what", "value"], as_json=False)


def _about(client: Client, *, count: bool) -> dict[str, Any]:
    answer = client.info()
    found: dict[str, Any] = {
        "endpoint": client.endpoint,
        "protocol": f"{answer['major_version']}.{answer['minor_version']}",
        "build": answer["build"],
        "collections": len(client.list_collections()),
        "streams": _number_of_streams(client),
    }
    if count:
        found["points"] = sum(client.streams_in_collection().count().values())
    return found


def _number_of_streams(client: Client) -> int:
    try:
        rows = client.sql_query("SELECT count(*) AS number FROM streams")
    except NotSupportedError:  # a server without SQL
        rows = []
    number = rows[0].get("number") if rows else None
    return number if isinstance(number, int) else len(client.streams_in_collection())
