"""`pingthings doctor`: diagnoses the connection to a server."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Annotated

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, key_of
from pingthings.cli.diagnosis import Diagnosis, Finding, Verdict
from pingthings.cli.output import is_terminal, print_json, shown
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = """
Examples:
  pingthings doctor --endpoint grid.example.com:4411
  pingthings doctor --endpoint a.example.com:4411,b.example.com:4411
  pingthings doctor --json > ticket.json
  pingthings doctor --stream lab/L1MAG             measure throughput with this stream
"""

_STYLES: dict[Verdict, str] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "skipped": "dim",
}


def doctor(
    stream: Annotated[
        str | None,
        typer.Option(
            metavar="STREAM", help="Stream for measuring throughput. Default: the largest."
        ),
    ] = None,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Check the connection to the server step by step, and say what to do about problems.

    The steps are endpoint, proxy, addresses, TCP, client certificate, TLS, HTTP/2, key, server,
    clock, round trip, throughput and settings, for each of several endpoints. Steps that depend on
    a failed one are skipped. The exit code is 0 if no step failed.
    """
    verdicts = Counter[str]()
    key = key_of(apikey, apikey_file)
    is_argument = apikey is not None
    for diagnosis in Diagnosis.of_each(endpoint, profile, key, stream, key_is_argument=is_argument):
        for finding in diagnosis.run():
            verdicts[finding.verdict] += 1
            if json:
                print_json(dataclasses.asdict(finding))
            else:
                _print(finding)
    if verdicts["failed"]:
        raise BTrDBError(f"{verdicts['failed']} of {verdicts.total()} steps failed")


def _print(finding: Finding) -> None:
    label, why, advice = f"{finding.step:<11}", shown(finding.why), shown(finding.advice)
    if is_terminal():
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.text import Text  # noqa: PLC0415

        console = Console(highlight=False)
        verdict = (f"{finding.verdict:<8}", _STYLES[finding.verdict])
        console.print(Text.assemble(verdict, label, why), soft_wrap=True)
        if advice:
            console.print(Text.assemble(" " * 19, ("to do: ", "bold"), advice), soft_wrap=True)
    else:
        parts = (finding.verdict, finding.step, why, advice, finding.endpoint)
        print("\t".join(parts), flush=True)
