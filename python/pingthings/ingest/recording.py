"""COMTRADE recordings (IEEE C37.111 and IEC 60255-24, 1991 to 2013) into streams.

Times are computed in whole numbers: from the sampling rates, where there are any, and else from the
stamps of the samples. What cannot be meant is refused, with the line or the sample that it is in:
rows with too few cells, stamps that stand still, channels without a factor.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pingthings.ingest.comtrade_description import Description, RecordingError, describe
from pingthings.ingest.comtrade_samples import Samples, read_samples
from pingthings.ingest.streams import Wanted, decoded, ensure, told_apart
from pingthings.ingest.writer import Writer
from pingthings.timeseries.client import Client

__all__ = ["Channel", "Recording", "RecordingError", "Scaling", "read", "store"]

Scaling = Literal["primary", "secondary", "recorded"]
Instants = npt.NDArray[np.int64]

_SECOND = 1_000_000_000
_UTF_16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
_SECTION = re.compile(
    rb"^--- *file type: *(\w+)(?: +(\w+))?(?: *: *(\d{1,15}))? *---[ \t]*\r?\n",
    re.IGNORECASE | re.MULTILINE,
)


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


def read(
    path: Path,
    *,
    zone: str = "UTC",
    scaling: Scaling = "primary",
    encoding: str | None = None,
) -> Recording:
    """Returns a recording.

    Args:
        path: A `.cfg` file with a `.dat` file beside it, either of the two, or a `.cff` file.
        zone: Where the clock of the recorder is from. A file of 2013 says so itself.
        scaling: Whether values are those of the primary or the secondary side of the instrument
            transformers; `recorded` leaves them as the file has them.
        encoding: Of the names, such as `cp1251`; None is UTF-8, or else that of Windows in western
            Europe.

    Raises:
        RecordingError: A file is missing, or is not as the standard says.

    Examples:
        >>> from pingthings.ingest import recording
        >>> fault = recording.read(folder / "fault.cfg")
        >>> [channel.name for channel in fault.channels]
        ['VA', 'VB', 'VC', '52A']
    """
    try:
        text, data = _parts(path, encoding)
        about = describe(text, zone)
        samples = read_samples(data, about)
        times = _times(samples, about)
        channels = [*_analog(about, samples, times, scaling), *_digital(about, samples, times)]
    except RecordingError as error:
        raise RecordingError(f"`{path}` is no recording: {error}") from error
    return Recording(
        about.station,
        about.device,
        about.start,
        about.trigger,
        list(_unique(channels)),
        len(times),
        about.declared,
    )


def store(
    client: Client,
    collection: str,
    recording: Recording,
    *,
    merge: Literal["replace", "retain", "equal", "never"] = "replace",
) -> int:
    """Stores a recording, each channel as a stream of its name; returns the number of points.

    Stored twice, it is there once: a time that has a value gets the same one again.

    Args:
        client: Connected.
        collection: Where the streams go; those that are not there are made.
        recording: What `read` returned.
        merge: What happens to a time that has a value; see `Stream.insert`.

    Raises:
        BTRDBValueError: A stream has another unit, or several have the name of a channel.
        WriterFailed: The points cannot be stored.
    """
    wanted = [Wanted(one.name, one.unit, one.annotations) for one in recording.channels]
    uuids = ensure(client, collection, wanted)
    with Writer(client, merge=merge) as writer:
        for one in recording.channels:
            writer.add(uuids[one.name], one.times, one.values)
    return writer.counts.stored


def _parts(path: Path, encoding: str | None) -> tuple[str, bytes]:
    """The text of the description, and the data."""
    try:
        if path.suffix.lower() == ".cff":
            return _sections(path.read_bytes(), encoding)
        is_data = path.suffix.lower() == ".dat"
        description = _beside(path, ".cfg") if is_data else path
        data = path if is_data else _beside(path, ".dat")
        return _decoded(description.read_bytes(), encoding), data.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read `{error.filename}`: {error.strerror}") from error


def _beside(path: Path, suffix: str) -> Path:
    """The other file of a recording, whose name may be in other letters."""
    found = [
        file
        for file in sorted(path.parent.iterdir())
        if file.suffix.lower() == suffix and file.stem.casefold() == path.stem.casefold()
    ]
    exact = [file for file in found if file.stem == path.stem]
    if not found:
        raise RecordingError(f"it has no `{suffix}` file beside it")
    return (exact or found)[0]


def _sections(content: bytes, encoding: str | None) -> tuple[str, bytes]:
    """The same of a file that has both in it."""
    if content.startswith(_UTF_16):
        content, encoding = content.decode("utf-16", "replace").encode(), "utf-8"
    content = content.removeprefix(codecs.BOM_UTF8)
    text = None
    place = 0
    while (match := _SECTION.search(content, place)) is not None:
        place = match.end()
        kind = match[1].upper()
        if kind == b"DAT":
            is_text = (match[2] or b"ASCII").upper() == b"ASCII"
            after = _SECTION.search(content, place) if is_text else None
            end = after.start() if after is not None else len(content)
            if match[3] and not is_text:
                end = place + int(match[3])
                _check_end(content, place, end)
            if text is not None:
                return text, content[place:end]
        following = _SECTION.search(content, place)
        if kind == b"CFG":
            end = following.start() if following else len(content)
            text = _decoded(content[place:end], encoding)
    raise RecordingError("a section of type CFG or DAT is missing")


def _check_end(content: bytes, begin: int, end: int) -> None:
    """Looks whether the section that says how many bytes it has ends there."""
    rest = content[end:].lstrip(b"\r\n\x1a\0 \t")
    if rest and not _SECTION.match(rest):
        raise RecordingError(
            f"the section of data says that it has {end - begin} bytes, and no section begins there"
        )


def _decoded(content: bytes, encoding: str | None) -> str:
    if content.startswith(_UTF_16):
        return content.decode("utf-16", "replace")
    if encoding is None:
        return decoded(content)
    try:
        return content.decode(encoding)
    except LookupError:
        raise RecordingError(f"there is no encoding `{encoding}`") from None
    except UnicodeDecodeError as error:
        raise RecordingError(f"the description is no text in `{encoding}`: {error}") from None


def _times(samples: Samples, about: Description) -> Instants:
    """When each sample was taken; they ascend."""
    try:
        if about.rates:
            numbers = samples.numbers - _before(samples, about)
            after = _by_rates(numbers.tolist(), about.rates)
        else:
            after = _by_stamps(samples.stamps, about.multiplier)
        times = _moved(after, about.start)
    except OverflowError:
        raise RecordingError(
            "a sample has a time that does not fit in nanoseconds (1677 to 2262), by its sampling "
            "rate or stamp"
        ) from None
    still = np.flatnonzero(np.diff(times) <= 0)
    if len(still):
        place = int(still[0])
        why = (
            "the sampling rate is beyond one in a nanosecond"
            if about.rates
            else f"the multiplier of the stamps is {float(about.multiplier)} ns"
        )
        raise RecordingError(
            f"samples {place + 1} and {place + 2} have the times {times[place]} and "
            f"{times[place + 1]} ns, which do not ascend; {why}"
        )
    return times


def _before(samples: Samples, about: Description) -> int:
    """How many samples are counted that were taken before the recording begins."""
    number, stamp = int(samples.numbers[0]), samples.stamps[0]
    if number == 1 or stamp == 0:
        return number - 1
    (after,) = _by_rates([number], about.rates)
    period = _SECOND / min(rate for rate, _ in about.rates)
    if stamp is not None and abs(stamp * about.multiplier - int(after)) < period:
        return 0
    raise RecordingError(
        f"the first sample has the number {number}, and its time does not say whether the "
        "recording begins with it or with sample 1"
    )


def _moved(times: Instants, by: int) -> Instants:
    """The times so many nanoseconds later; numpy itself lets an overflow pass."""
    if len(times) and not all(abs(int(end) + by) < 1 << 63 for end in (times.min(), times.max())):
        raise OverflowError
    return times + by


def _rounded(numbers: Iterable[Any]) -> Instants:
    """Whole and rational numbers, each to the nearest whole one."""
    return np.fromiter(((2 * n + 1) // 2 for n in numbers), np.int64)


def _by_stamps(stamps: list[int | Fraction | None], unit: Fraction) -> Instants:
    """Nanoseconds after the start by what stands at each sample."""
    if None in stamps:
        place = stamps.index(None) + 1
        raise RecordingError(f"there is neither a sampling rate nor a time at sample {place}")
    if not unit:
        raise RecordingError("the multiplier of the stamps is zero, and there is no sampling rate")
    factor: int | Fraction = unit.numerator if unit.denominator == 1 else unit
    return _rounded(stamp * factor for stamp in stamps if stamp is not None)


def _by_rates(numbers: list[int], rates: Iterable[tuple[Fraction, int]]) -> Instants:
    """Nanoseconds after the start by the sampling rates: each sample a period after the last."""
    times: list[Instants] = []
    begun, first = Fraction(0), 1
    places = np.array(numbers, np.int64)
    every = list(rates)
    for number, (rate, last) in enumerate(every):
        period = _SECOND / rate
        is_last = number == len(every) - 1
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


def _analog(
    about: Description, samples: Samples, times: Instants, scaling: Scaling
) -> Iterable[Channel]:
    for one, recorded in zip(about.analog, samples.analog, strict=True):
        is_there = np.isfinite(recorded)
        if not one.factor and len(np.unique(recorded[is_there])) > 1:
            raise RecordingError(
                f"channel `{one.name}` has a factor of zero, which makes one value of all samples"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes of it is looked at below
            values = one.factor * recorded[is_there] + one.offset
        side = {"P": "primary", "S": "secondary"}.get(one.side, "recorded")
        if scaling != "recorded" and one.primary and one.secondary:
            with np.errstate(over="ignore", invalid="ignore"):
                if (side, scaling) == ("secondary", "primary"):
                    values, side = values * one.primary / one.secondary, scaling
                elif (side, scaling) == ("primary", "secondary"):
                    values, side = values * one.secondary / one.primary, scaling
        large = np.flatnonzero(~np.isfinite(values))
        if len(large):
            raise RecordingError(
                f"channel `{one.name}` has values that are no finite number, the first at sample "
                f"{np.flatnonzero(is_there)[large[0]] + 1}: its factor is {one.factor!r}, its "
                f"offset {one.offset!r}, its ratio {one.primary!r} to {one.secondary!r}"
            )
        try:
            late = _moved(times[is_there], math.floor(one.skew + Fraction(1, 2)))
        except OverflowError:
            raise RecordingError(
                f"channel `{one.name}` has a skew that moves its times out of 1677 to 2262"
            ) from None
        notes = {"phase": one.phase, "component": one.component, "side": side}
        ratio = {"primary": one.primary, "secondary": one.secondary}
        yield Channel(
            one.name or f"A{one.number}",
            one.unit,
            late,
            values,
            {"station": about.station, **notes, **ratio},
        )


def _digital(about: Description, samples: Samples, times: Instants) -> Iterable[Channel]:
    for one, states in zip(about.digital, samples.digital, strict=True):
        notes = {"phase": one.phase, "component": one.component, "normal": one.normal}
        name = one.name or f"D{one.number}"
        yield Channel(name, "state", times, states, {"station": about.station, **notes})


def _unique(channels: list[Channel]) -> Iterable[Channel]:
    """The channels, of which those of one name are told apart by their place."""
    names = told_apart([one.name for one in channels])
    for one, name in zip(channels, names, strict=True):
        yield replace(one, name=name)
