"""`pingthings listen`: stores a feed of synchrophasors in streams."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from pingthings.cli.connection import ApiKey, ApiKeyFile, Endpoint, Json, Profile, connected
from pingthings.cli.output import print_json
from pingthings.ingest.feed import Feed
from pingthings.ingest.transport import Transport
from pingthings.ingest.writer import Writer

__all__ = ["EXAMPLES", "listen"]

EXAMPLES = """
Examples:
  pingthings listen c37118://pmu.example:4712 --idcode 7734 --collection pmu
  pingthings listen c37118://pdc.example:4712 --idcode 1 --configuration 3 --json
  pingthings listen c37118://0.0.0.0:4713 --transport udp-listen
"""

_SCHEMES = {"c37118", "c37.118"}
_STATUS_SECONDS = 1.0


def listen(
    source: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Address of the sender, as c37118://HOST:PORT; for udp-listen, the address to "
            "listen on.",
        ),
    ],
    idcode: Annotated[
        int | None,
        typer.Option(min=1, max=65_534, help="The sender's idcode of the data stream."),
    ] = None,
    collection: Annotated[
        str, typer.Option(metavar="NAME", help="Prefix of the collections of the stations.")
    ] = "pmu",
    transport: Annotated[
        Transport,
        typer.Option(
            help="tcp and udp send commands and receive frames; udp-listen waits for frames that "
            "are sent without commands, also to a multicast group."
        ),
    ] = "tcp",
    configuration: Annotated[
        Literal["2", "3"], typer.Option(help="The configuration frame to request.")
    ] = "2",
    silence: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Connect again after this long without a frame."
        ),
    ] = 5.0,
    most_points: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            min=1,
            help="Maximum number of points that wait in memory while the server is unreachable; "
            "further ones are dropped.",
        ),
    ] = 1_000_000,
    every: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How often --json prints the progress."),
    ] = 10.0,
    json: Json = False,
    endpoint: Endpoint = None,
    profile: Profile = None,
    apikey: ApiKey = None,
    apikey_file: ApiKeyFile = None,
) -> None:
    """Store the measurements of a synchrophasor sender (IEEE C37.118) until interrupted.

    Creates the streams that the sender's configuration describes. Opens a lost connection again;
    data sent in between are lost. Ctrl-C ends it after all received points are stored, and prints
    their number. A second Ctrl-C ends it without waiting.
    """
    host, port, own = _address(source)
    code = idcode if idcode is not None else own
    if code is None and transport != "udp-listen":
        raise typer.BadParameter(
            "the URL has no idcode; give that of the data stream", param_hint="'--idcode'"
        )
    stop = threading.Event()
    with (
        connected(endpoint, profile, apikey, apikey_file) as client,
        Writer(client, most_points=most_points, when_full="drop") as writer,
    ):
        feed = Feed(client, writer, host, port, code or 0, collection, silence, transport)
        feed.configuration = 3 if configuration == "3" else 2
        with _interrupted(stop):
            _run(feed, stop, None if json else _STATUS_SECONDS, every if json else None)
            writer.flush()
    _report(feed, source, as_json=json, is_last=True)


def _address(source: str) -> tuple[str, int, int | None]:
    """Returns host, port, and the idcode if the path contains one."""
    parts = urlsplit(source)
    try:
        port = parts.port
    except ValueError:
        port = None
    code = parts.path.strip("/")
    if parts.scheme not in _SCHEMES or not parts.hostname or port is None:
        raise typer.BadParameter(
            f"`{source}` is not of the form c37118://HOST:PORT", param_hint="'URL'"
        )
    if code and not code.isdecimal():
        raise typer.BadParameter(f"`{code}` is not an idcode; give a number", param_hint="'URL'")
    return parts.hostname, port, int(code) if code else None


@contextmanager
def _interrupted(stop: threading.Event) -> Generator[None]:
    """Lets the first interrupt end the feed; the second one raises `KeyboardInterrupt`."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(feed: Feed, stop: threading.Event, status: float | None, every: float | None) -> None:
    """Runs the feed in a thread and shows its progress."""
    failure: list[BaseException] = []

    def receive() -> None:
        try:
            feed.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised below
            failure.append(error)
            stop.set()

    thread = threading.Thread(target=receive, name="feed")
    thread.start()
    shows = status is not None and sys.stderr.isatty()
    seconds = every or status or _STATUS_SECONDS
    begun = time.monotonic()
    try:
        while not stop.wait(seconds):
            if every is not None:
                _report(feed, "", as_json=True, is_last=False)
            elif shows:
                print(f"\r{_status(feed, time.monotonic() - begun)}\x1b[K", end="", file=sys.stderr)
    finally:
        stop.set()
        thread.join()
        if shows:
            print("\r\x1b[K", end="", file=sys.stderr)
    if failure:
        raise failure[0]


def _status(feed: Feed, seconds: float) -> str:
    counts, written = feed.counts, feed.writer.counts
    state = "connected" if feed.is_connected else "connecting"
    return (
        f"{state}, {counts.frames:,} frames ({counts.frames / max(seconds, 1):.0f}/s), points: "
        f"{written.stored:,} stored, {written.waiting:,} waiting, {written.dropped:,} dropped"
    )


def _report(feed: Feed, source: str, *, as_json: bool, is_last: bool) -> None:
    counts, written = feed.counts, feed.writer.counts
    if as_json:
        found: dict[str, Any] = {
            "connected": feed.is_connected,
            **asdict(counts),
            "points": written.added,
            "stored": written.stored,
            "waiting": written.waiting,
            "dropped": written.dropped,
            "rejected": written.rejected,
            "inserts": written.inserts,
            "retries": written.retries,
            "done": is_last,
        }
        print_json(found)
        sys.stdout.flush()
        return
    print(
        f"{source}: {counts.frames:,} frames over {counts.connections:,} connections, "
        f"{written.stored:,} points stored, {written.dropped:,} dropped"
    )
    for what, count in (
        (
            "measurements marked invalid by the sender; only their STAT and TIMEQ are stored",
            counts.invalid,
        ),
        ("frames refused", counts.refused),
        ("frames of another idcode", counts.foreign),
        ("points rejected, because a stream cannot store them", written.rejected),
        ("bytes outside of frames skipped", counts.skipped),
    ):
        if count:
            print(f"  {count:,} {what}")
