"""`pingthings plot`: plots streams into a picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pingthings.cli import instants
from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Profile, connected, find_stream
from pingthings.timeseries.client import StreamSet
from pingthings.timeseries.exceptions import BTrDBError

__all__ = ["EXAMPLES", "plot"]

EXAMPLES = """
Examples:
  pingthings plot lab/L1MAG --output l1.png
  pingthings plot lab/L1MAG lab/L2MAG --start -1h --output both.svg --width 2000
"""


def plot(
    streams: Annotated[
        list[str], typer.Argument(metavar="STREAM", help="A uuid, or collection/name.")
    ],
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The picture: .png, .svg, .pdf or another format.")
    ],
    start: instants.Start = None,
    end: instants.End = None,
    width: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Width of the picture. Default: 1000.")
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(
            metavar="LENGTH",
            parser=instants.length,
            help="The longest time between points that is not a gap. Default: four times the usual "
            "distance.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Plot streams, with a panel for each unit, at the resolution of the picture.

    Needs matplotlib: pip install 'pingthings[plot]'.
    """
    if not output.suffix:
        raise typer.BadParameter(
            f"the name `{output}` has no suffix, which determines the format; add .png or .svg",
            param_hint="'--output'",
        )
    now = time.time_ns()
    first = None if start is None else instants.parse(start, now, "--start")
    after = None if end is None else instants.parse(end, now, "--end")
    with connected(endpoint, profile, apikey, apikey_file) as client:
        found = StreamSet([find_stream(client, text) for text in streams])
        figure = found.plot(first, after, width=width, gap=gap)
    try:
        figure.savefig(output)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise BTrDBError(f"cannot write `{output}`: {text}") from error
