"""COMTRADE recordings (IEEE C37.111, 1991 to 2013) into streams.

    python -m ingest.recording localhost:4410 fault.cfg --collection recordings/bay7

The library `comtrade` reads the description of the channels and their values. The times are
computed here, in integers: the library keeps them as floating-point seconds after a start that it
cuts to microseconds, and leaves the time zone of the file alone. It also fills what a truncated
file lacks with zeros; here a recording has as many samples as the file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import comtrade
import numpy as np
import numpy.typing as npt
from pingthings.timeseries import Client, connect

from ingest.streams import Wanted, ensure
from ingest.writer import Writer

__all__ = ["Channel", "Recording", "RecordingError", "Scaling", "read", "store"]

Scaling = Literal["primary", "secondary", "recorded"]
Instants = npt.NDArray[np.int64]

_SECOND = 1_000_000_000
_MISSING_STAMP = 0xFFFFFFFF
_MISSING_FLOAT32 = float(np.finfo(np.float32).min)
_WIDTHS = {"BINARY": 2, "BINARY32": 4, "FLOAT32": 4}
_SECTION = re.compile(
    rb"^--- *file type: *(\w+)(?: +(\w+))?(?: *: *(\d+))? *---[ \t]*\r?\n",
    re.IGNORECASE | re.MULTILINE,
)
_STAMP = re.compile(
    r"\s*(\d{1,2})/(\d{1,2})/(\d{2,4})\s*,\s*(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,9}))?\s*"
)
_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?:h(\d{2}))?", re.IGNORECASE)


class RecordingError(ValueError):
    """The files are no recording that can be read; the message says why."""


@dataclass(frozen=True)
class Channel:
    """A channel: when it was sampled, and what it showed."""

    name: str
    unit: str
    times: Instants
    """Nanoseconds in UTC, the skew of the channel included."""
    values: npt.NDArray[np.float64]
    """Without samples that are missing. The states of a digital channel are 0 and 1."""
    annotations: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Recording:
    """What a recording holds."""

    station: str
    device: str
    start: int
    """When the first sample was taken, in nanoseconds."""
    trigger: int
    channels: list[Channel]
    samples: int
    declared: int
    """How many samples the description promises; more than `samples` in a truncated file."""


def read(path: Path, *, zone: str = "UTC", scaling: Scaling = "primary") -> Recording:
    """Returns a recording.

    Args:
        path: A `.cfg` file with a `.dat` file beside it, or a `.cff` file.
        zone: Where the clock of the recorder is from. A file of 2013 says so itself.
        scaling: Whether values are those of the primary or the secondary side of the instrument
            transformers; `recorded` leaves them as the file has them.

    Raises:
        RecordingError: A file is missing, or is not as the standard says.
    """
    text, data = _parts(path)
    lines = text.splitlines()
    reader = comtrade.Comtrade(
        ignore_warnings=True, use_numpy_arrays=True, use_double_precision=True
    )
    try:
        reader.cfg.read(text)
        form = reader.cfg.ft.upper()
        numbers, stamps = _stamps(data, form, reader.cfg)
        reader.read(text, _readable(data, reader.cfg) if form == "ASCII" else data)
    except (comtrade.ComtradeError, ValueError, TypeError, IndexError) as error:
        raise RecordingError(f"`{path}` is no recording: {error}") from error
    # After the line of the station come that of the counts, the channels, the frequency, the count
    # of the rates and the rates.
    place = 4 + reader.analog_count + reader.status_count + reader.cfg.nrates
    offset = _offset(lines, place, reader.rev_year)
    start, digits = _instant(lines, place, reader.rev_year, offset, zone)
    trigger, more = _instant(lines, place + 1, reader.rev_year, offset, zone)
    unit = 1 if max(digits, more) > 6 else 1_000  # noqa: PLR2004 - digits of microseconds
    if reader.cfg.timestamp_critical:
        times = start + _by_stamps(stamps, Fraction(str(reader.cfg.timemult)) * unit)
    else:
        times = start + _by_rates(numbers, reader.cfg.sample_rates)
    return Recording(
        reader.station_name,
        reader.rec_dev_id,
        start,
        trigger,
        list(_unique([*_analog(reader, times, scaling), *_digital(reader, times)])),
        len(times),
        reader.total_samples,
    )


def store(client: Client, collection: str, recording: Recording) -> int:
    """Stores a recording, each channel as a stream of its name; returns the number of points.

    Stored twice, it is there once: a time that has a value gets the same one again.
    """
    wanted = [Wanted(one.name, one.unit, one.annotations) for one in recording.channels]
    uuids = ensure(client, collection, wanted)
    with Writer(client) as writer:
        for one in recording.channels:
            writer.add(uuids[one.name], one.times, one.values)
    return writer.counts.stored


def _parts(path: Path) -> tuple[str, bytes]:
    """The text of the description, and the data."""
    try:
        if path.suffix.lower() == ".cff":
            return _sections(path.read_bytes())
        beside = [file for file in path.parent.glob(f"{path.stem}.*") if _is_data(file)]
        if not beside:
            raise RecordingError(f"`{path}` has no `.dat` file beside it")
        return _decoded(path.read_bytes()), beside[0].read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read `{path}`: {error.strerror}") from error


def _is_data(file: Path) -> bool:
    return file.suffix.lower() == ".dat"


def _sections(content: bytes) -> tuple[str, bytes]:
    """The same of a file that has both in it."""
    text = None
    place = 0
    while (match := _SECTION.search(content, place)) is not None:
        place = match.end()
        kind = match[1].upper()
        if kind == b"DAT":
            end = place + int(match[3]) if match[3] else len(content)
            if text is not None:
                return text, content[place:end]
        following = _SECTION.search(content, place)
        if kind == b"CFG":
            text = _decoded(content[place : following.start() if following else len(content)])
    raise RecordingError("a section of type CFG or DAT is missing")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rows(data: bytes) -> list[list[str]]:
    lines = data.decode("ascii", "replace").replace("\x1a", "").splitlines()
    return [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]


def _readable(data: bytes, cfg: Any) -> str:
    """Rows of text as the library reads them: a missing value as it was written in 1999."""
    missing = "" if cfg.rev_year == "1991" else "99999"
    values = slice(2, 2 + cfg.analog_count)
    rows = _rows(data)
    for row in rows:
        row[values] = [cell or missing for cell in row[values]]
    return "\n".join(",".join(row) for row in rows)


def _stamps(data: bytes, form: str, cfg: Any) -> tuple[list[int], list[Any]]:
    """The number of each sample, and the stamp that stands with it, if any."""
    if form == "ASCII":
        rows = _rows(data)
        numbers = [int(row[0]) for row in rows]
        stamps: list[Any] = [Fraction(row[1]) if row[1] else None for row in rows]
    elif form in _WIDTHS:
        size = 8 + cfg.analog_count * _WIDTHS[form] + 2 * -(-cfg.status_count // 16)
        count = len(data) // size
        cells = np.frombuffer(data, np.uint8, count * size).reshape(count, size)
        heads = np.ascontiguousarray(cells[:, :8]).view("<u4")
        numbers = heads[:, 0].tolist()
        stamps = [None if one == _MISSING_STAMP else one for one in heads[:, 1].tolist()]
    else:
        raise RecordingError(f"data of type `{form}` are not known")
    if cfg.timestamp_critical and None in stamps:
        place = stamps.index(None) + 1
        raise RecordingError(f"there is neither a sampling rate nor a time at sample {place}")
    return numbers, stamps


def _rounded(numbers: Iterable[Any]) -> Instants:
    """Whole and rational numbers, each to the nearest whole one."""
    return np.fromiter(((2 * n + 1) // 2 for n in numbers), np.int64)


def _by_stamps(stamps: list[Any], unit: Fraction) -> Instants:
    """Nanoseconds after the start by what stands at each sample."""
    factor: int | Fraction = unit.numerator if unit.denominator == 1 else unit
    return _rounded(stamp * factor for stamp in stamps)


def _by_rates(numbers: list[int], rates: list[tuple[float, int]]) -> Instants:
    """Nanoseconds after the start by the sampling rates: each sample a period after the last."""
    times: list[Instants] = []
    begun, first = Fraction(0), 1
    places = np.array(numbers, np.int64)
    for number, (rate, last) in enumerate(rates):
        period = _SECOND / Fraction(str(rate))
        is_last = number == len(rates) - 1
        lower = 0 if number == 0 else first
        own = places[(places > lower) & (is_last | (places <= last))]
        # In whole numbers: (a + k * b) / c, to the nearest.
        c = begun.denominator * period.denominator
        a, b = begun.numerator * period.denominator, period.numerator * begun.denominator
        times.append(
            np.fromiter(
                ((2 * (a + (k - first) * b) + c) // (2 * c) for k in own.tolist()), np.int64
            )
        )
        begun, first = begun + (last - first) * period, last
    return np.concatenate(times)


def _offset(lines: list[str], place: int, revision: str) -> int | None:
    """Seconds of the file's clock ahead of UTC; None if the file does not say."""
    if revision != "2013" or len(lines) <= place + 4:
        return None
    match = _OFFSET.fullmatch(lines[place + 4].split(",")[0].strip())
    if match is None:
        return None
    seconds = int(match[2]) * 3_600 + int(match[3] or 0) * 60
    return -seconds if match[1] == "-" else seconds


def _instant(
    lines: list[str], place: int, revision: str, offset: int | None, zone: str
) -> tuple[int, int]:
    """A time of the description in nanoseconds, and how many digits its fraction has."""
    line = lines[place] if place < len(lines) else ""
    match = _STAMP.fullmatch(line)
    if match is None:
        raise RecordingError(f"line {place + 1} is no time: `{line}`")
    first, second, year, hour, minute, rest = (int(part) for part in match.groups()[:6])
    day, month = (second, first) if revision == "1991" else (first, second)
    if year < 100:  # noqa: PLR2004 - before 1999 years had two digits
        year += 1900 if year >= 70 else 2000  # noqa: PLR2004
    fraction = match[7] or ""
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
        if offset is None:
            offset = _ahead(datetime(year, month, day, hour, minute), zone)  # noqa: DTZ001
    except ValueError as error:
        raise RecordingError(f"line {place + 1} is no time: `{line}`: {error}") from error
    # A leap second is the first one of the next minute, as everywhere in this database.
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + rest - offset
    return seconds * _SECOND + int(fraction.ljust(9, "0")), len(fraction)


def _ahead(time: datetime, zone: str) -> int:
    """Seconds that a clock on the wall was ahead of UTC."""
    found = {time.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1)}
    if len(found) > 1:
        raise ValueError(f"it came twice or never in {zone}")
    (offset,) = found
    return 0 if offset is None else round(offset.total_seconds())


def _analog(reader: Any, times: Instants, scaling: Scaling) -> Iterable[Channel]:
    for one, samples in zip(reader.cfg.analog_channels, reader.analog, strict=True):
        values = samples[: len(times)]
        lost = np.isnan(values)
        if reader.ft.upper() == "FLOAT32":
            lost |= values == one.a * _MISSING_FLOAT32 + one.b
        side = {"P": "primary", "S": "secondary"}.get(one.pors.upper(), "recorded")
        if scaling != "recorded" and one.primary and one.secondary:
            if (side, scaling) == ("secondary", "primary"):
                values, side = values * one.primary / one.secondary, scaling
            elif (side, scaling) == ("primary", "secondary"):
                values, side = values * one.secondary / one.primary, scaling
        skew = _rounded([Fraction(str(one.skew)) * 1_000])[0]
        about = {"phase": one.ph, "component": one.ccbm, "side": side}
        ratio = {"primary": one.primary, "secondary": one.secondary}
        yield Channel(
            one.name or f"A{one.n}",
            one.uu,
            times[~lost] + skew,
            values[~lost],
            {"station": reader.station_name, **about, **ratio},
        )


def _digital(reader: Any, times: Instants) -> Iterable[Channel]:
    for one, samples in zip(reader.cfg.status_channels, reader.status, strict=True):
        about = {"phase": one.ph, "component": one.ccbm, "normal": one.y}
        yield Channel(
            one.name or f"D{one.n}",
            "state",
            times,
            samples[: len(times)].astype(np.float64),
            {"station": reader.station_name, **about},
        )


def _unique(channels: list[Channel]) -> Iterable[Channel]:
    """The channels, of which those of one name are told apart by their place."""
    names = [one.name for one in channels]
    for place, one in enumerate(channels, 1):
        name = one.name if names.count(one.name) == 1 else f"{one.name} {place}"
        yield Channel(name, one.unit, one.times, one.values, one.annotations)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint")
    parser.add_argument("files", type=Path, nargs="+", help=".cfg or .cff")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--zone", default="UTC", help="of recorders that do not say")
    parser.add_argument(
        "--scaling", choices=["primary", "secondary", "recorded"], default="primary"
    )
    given = parser.parse_args()
    with connect(endpoint=given.endpoint) as client:
        for file in given.files:
            recording = read(file, zone=given.zone, scaling=given.scaling)
            points = store(client, given.collection, recording)
            print(f"{file}: {len(recording.channels)} channels, {points:,} points")
            if recording.samples < recording.declared:
                print(f"  it ends after {recording.samples} of {recording.declared} samples")


if __name__ == "__main__":
    _main()
