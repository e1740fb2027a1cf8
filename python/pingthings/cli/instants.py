"""Parses times and lengths of command-line options, exactly to the nanosecond."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

import typer

from pingthings.timeseries.exceptions import BTRDBValueError, InvalidTimeRange
from pingthings.timeseries.utils.timez import ns_to_datetime, to_nanoseconds

__all__ = ["End", "Start", "as_text", "length", "parse", "step"]

_INSTANT_HELP = (
    "ISO 8601, as in 2024-01-01T12:30:00.5+01:00 (UTC without a zone), nanoseconds since 1970, "
    "`now`, or an offset from now, as in -1h or +90s"
)

Start = Annotated[
    str | None,
    typer.Option(metavar="TIME", help=f"First instant: {_INSTANT_HELP}. Default: first point."),
]
End = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The instant after the last one. Default: last point."),
]

_SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3_600 * _SECOND,
    "d": 86_400 * _SECOND,
    "w": 604_800 * _SECOND,
}
_RATES = {"hz": 1, "khz": 1_000, "mhz": 1_000_000}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KkM]?[Hh]z)")
_DECIMAL_LENGTH = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,12}})?)({'|'.join(_UNITS)})")
_LENGTH = re.compile(rf"(\d+)({'|'.join(_UNITS)})")


def length(text: str) -> int:
    """Returns a length such as `1m` or `500ms` in nanoseconds."""
    match = _LENGTH.fullmatch(text)
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"{text!r} is not a length; give one like {_like()}")
    return int(match[1]) * _UNITS[match[2]]


def parse(text: str, now: int, option: str) -> int:
    """Returns a time in nanoseconds."""
    if text == "now":
        return now
    if text[:1] in {"-", "+"} and (match := _LENGTH.fullmatch(text[1:])):
        span = int(match[1]) * _UNITS[match[2]]
        return now - span if text[0] == "-" else now + span
    try:
        return to_nanoseconds(text)
    except (BTRDBValueError, InvalidTimeRange) as error:
        raise typer.BadParameter(f"{error}, or like -1h", param_hint=f"'{option}'") from error


def as_text(time: int) -> str:
    """Returns a time as ISO 8601 with nine digits of fraction, in UTC."""
    return f"{ns_to_datetime(time):%Y-%m-%dT%H:%M:%S}.{time % _SECOND:09}Z"


def _like() -> str:
    return "30s, 1m, 500ms or 1d; units are " + ", ".join(_UNITS)


def step(text: str) -> Fraction:
    """Returns the period of samples in nanoseconds, from a length or a rate such as `50Hz`."""
    match = _RATE.fullmatch(text)
    if match is not None:
        rate = Fraction(match[1]) * _RATES[match[2].lower()]
        found = _SECOND / rate if rate else Fraction(0)
    else:
        match = _DECIMAL_LENGTH.fullmatch(text)
        found = Fraction(match[1]) * _UNITS[match[2]] if match else Fraction(0)
    if found < 1:
        raise typer.BadParameter(
            f"{text!r} is not a step of at least 1 ns; give one like 20ms, 0.5s, 50Hz or 4.8kHz",
            param_hint="'--time-step'",
        )
    return found
