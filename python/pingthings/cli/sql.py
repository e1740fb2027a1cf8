"""`pingthings sql`: queries the metadata."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any, Literal

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.output import cell, is_terminal, print_json, print_table, shown

__all__ = ["EXAMPLES", "sql"]

EXAMPLES = """
Examples:
  pingthings sql "SELECT name, unit FROM streams ORDER BY name"
  pingthings sql "SELECT count(*) FROM streams WHERE collection = $1" --param lab
  pingthings sql "SELECT * FROM devices" --format csv > devices.csv
"""


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement in PostgreSQL's dialect.")],
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="Value of $1; repeat the option for $2 and so on."),
    ] = None,
    format_: Annotated[
        Literal["table", "csv", "json"] | None,
        typer.Option("--format", help="Format. Default: table on a terminal, csv in a pipe."),
    ] = None,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Query metadata with SQL, in the tables streams, collections, devices and units.

    Points are not available in SQL; `pingthings get` reads them.
    """
    with connected(endpoint, profile, apikey, apikey_file) as client:
        rows: list[dict[str, Any]] = client.sql_query(query, param or [])
    columns = list(rows[0]) if rows else []
    chosen = "json" if json else format_ or ("table" if is_terminal() else "csv")
    if chosen == "json":
        for row in rows:
            print_json(row)
    elif chosen == "table":
        print_table(rows, columns)
    elif rows:
        # Programs get text without escapes.
        as_text = shown if is_terminal() else str
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow([as_text(name) for name in columns])
        lines.writerows([as_text(cell(row.get(name))) for name in columns] for row in rows)
