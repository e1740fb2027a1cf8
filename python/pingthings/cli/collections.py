"""`pingthings collections`: lists the names of collections."""

from __future__ import annotations

from typing import Annotated

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.output import print_rows

__all__ = ["EXAMPLES", "collections"]

EXAMPLES = """
Examples:
  pingthings collections
  pingthings collections substation/ | wc -l
"""


def collections(
    prefix: Annotated[str, typer.Argument(help="List only names that begin with this text.")] = "",
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """List collections."""
    with connected(endpoint, profile, apikey, apikey_file) as client:
        names = sorted(client.list_collections(prefix or None))
    rows = [{"collection": name} for name in names]
    print_rows(rows, ["collection"], as_json=json)
