"""Reads COMTRADE recordings (IEEE C37.111 and IEC 60255-24, 1991 to 2013) and stores them.

Times are computed with integers: from the sampling rates if there are any, otherwise from the time
stamps of the samples. Invalid content is refused with its line or sample: rows with too few cells,
time stamps that do not advance, channels without a factor.
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
from pingthings.ingest.streams import Wanted, decoded, ensure, unique_names
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
    """A channel with the times and values of its samples."""

    name: str
    unit: str
    times: Instants
    """Nanoseconds in UTC, including the skew of the channel."""
    values: npt.NDArray[np.float64]
    """Values without missing samples. The states of a digital channel are 0 and 1."""
    annotations: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Recording:
    """The content of a recording."""

    station: str
    device: str
    start: int
    """The time of the first sample, in nanoseconds."""
    trigger: int
    channels: list[Channel]
    samples: int
    declared: int
    """The number of samples in the description; more than `samples` if the file is truncated."""


def read(
    path: Path,
    *,
    zone: str = "UTC",
    scaling: Scaling = "primary",
    encoding: str | None = None,
    ambiguous: Literal["earlier", "later", "reject"] = "reject",
) -> Recording:
    """Reads a recording.

    Args:
        path: A `.cff` file, or a `.cfg` or `.dat` file with the other one in the same folder.
        zone: The time zone of the recorder. A file of 2013 contains it.
        scaling: Whether to return values of the primary or the secondary side of the instrument
            transformers; `recorded` leaves them unchanged.
        encoding: Encoding of the names, such as `cp1251`; None is UTF-8, or Windows-1252 if they
            are not valid UTF-8.
        ambiguous: Which of two instants a local time is that occurs twice because clocks went
            back.

    Raises:
        RecordingError: A file is missing, or does not follow the standard.

    Examples:
        >>> from pingthings.ingest import recording
        >>> fault = recording.read(folder / "fault.cfg")
        >>> [channel.name for channel in fault.channels]
        ['VA', 'VB', 'VC', '52A']
    """
    try:
        text, data = _parts(path, encoding)
        about = describe(text, zone, ambiguous)
        samples = read_samples(data, about)
        times = _times(samples, about)
        channels = [*_analog(about, samples, times, scaling), *_digital(about, samples, times)]
    except RecordingError as error:
        raise RecordingError(f"`{path}` is not a valid recording: {error}") from error
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
    """Stores each channel in a stream of its name, and returns the number of points.

    With the default `merge` a recording that is stored twice exists once.

    Args:
        client: A connected client.
        collection: Collection of the streams; missing streams are created.
        recording: The result of `read`.
        merge: The merge policy; see `Stream.insert`.

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
    """Returns the text of the description, and the data."""
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
    """Returns the other file of a recording, whose name may have another case."""
    found = [
        file
        for file in sorted(path.parent.iterdir())
        if file.suffix.lower() == suffix and file.stem.casefold() == path.stem.casefold()
    ]
    exact = [file for file in found if file.stem == path.stem]
    if not found:
        raise RecordingError(f"there is no `{suffix}` file in the same folder")
    return (exact or found)[0]


def _sections(content: bytes, encoding: str | None) -> tuple[str, bytes]:
    """Returns description and data of a `.cff` file, which contains both."""
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
    """Checks that a section with a declared length ends at the next section or the file's end."""
    rest = content[end:].lstrip(b"\r\n\x1a\0 \t")
    if rest and not _SECTION.match(rest):
        raise RecordingError(
            f"the data section declares {end - begin} bytes, but no section begins after them"
        )


def _decoded(content: bytes, encoding: str | None) -> str:
    if content.startswith(_UTF_16):
        return content.decode("utf-16", "replace")
    if encoding is None:
        return decoded(content)
    try:
        return content.decode(encoding)
    except LookupError:
        raise RecordingError(f"the encoding `{encoding}` does not exist") from None
    except UnicodeDecodeError as error:
        raise RecordingError(f"the description is not text in `{encoding}`: {error}") from None


def _times(samples: Samples, about: Description) -> Instants:
    """Returns the time of each sample; the times ascend."""
    try:
        if about.rates:
            numbers = samples.numbers - _before(samples, about)
            after = _by_rates(numbers.tolist(), about.rates)
        else:
            after = _by_stamps(samples.stamps, about.multiplier)
        times = _moved(after, about.start)
    except OverflowError:
        raise RecordingError(
            "the time of a sample, by its sampling rate or time stamp, is outside the range of "
            "nanoseconds (1677 to 2262)"
        ) from None
    still = np.flatnonzero(np.diff(times) <= 0)
    if len(still):
        place = int(still[0])
        why = (
            "the sampling rate is higher than one per nanosecond"
            if about.rates
            else f"the multiplier of the time stamps is {float(about.multiplier)} ns"
        )
        raise RecordingError(
            f"samples {place + 1} and {place + 2} have the times {times[place]} and "
            f"{times[place + 1]} ns, which do not ascend; {why}"
        )
    return times


def _before(samples: Samples, about: Description) -> int:
    """Returns the number of samples before this part of the recording."""
    number, stamp = int(samples.numbers[0]), samples.stamps[0]
    if number == 1 or stamp == 0:
        return number - 1
    (after,) = _by_rates([number], about.rates)
    period = _SECOND / min(rate for rate, _ in about.rates)
    if stamp is not None and abs(stamp * about.multiplier - int(after)) < period:
        return 0
    raise RecordingError(
        f"the first sample has the number {number}, and its time stamp does not show whether the "
        "recording starts with it or with sample 1"
    )


def _moved(times: Instants, by: int) -> Instants:
    """Returns the times shifted by `by` nanoseconds; numpy would ignore an overflow."""
    if len(times) and not all(abs(int(end) + by) < 1 << 63 for end in (times.min(), times.max())):
        raise OverflowError
    return times + by


def _rounded(numbers: Iterable[Any]) -> Instants:
    """Returns integers and fractions, each rounded to the nearest integer."""
    return np.fromiter(((2 * n + 1) // 2 for n in numbers), np.int64)


def _by_stamps(stamps: list[int | Fraction | None], unit: Fraction) -> Instants:
    """Returns nanoseconds after the start, from the time stamps."""
    if None in stamps:
        sample = stamps.index(None) + 1
        raise RecordingError(f"there is no sampling rate, and sample {sample} has no time stamp")
    if not unit:
        raise RecordingError(
            "there is no sampling rate, and the multiplier of the time stamps is zero"
        )
    factor: int | Fraction = unit.numerator if unit.denominator == 1 else unit
    return _rounded(stamp * factor for stamp in stamps if stamp is not None)


def _by_rates(numbers: list[int], rates: Iterable[tuple[Fraction, int]]) -> Instants:
    """Returns nanoseconds after the start, from the sampling rates."""
    times: list[Instants] = []
    begun, first = Fraction(0), 1
    places = np.array(numbers, np.int64)
    every = list(rates)
    for number, (rate, last) in enumerate(every):
        period = _SECOND / rate
        is_last = number == len(every) - 1
        lower = 0 if number == 0 else first
        own = places[(places > lower) & (is_last | (places <= last))]
        # (a + k * b) / c with integers, rounded to the nearest one.
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
                f"channel `{one.name}` has a factor of zero, which makes all its values equal"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused below
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
                f"channel `{one.name}` has values that are not finite, the first at sample "
                f"{np.flatnonzero(is_there)[large[0]] + 1}: its factor is {one.factor!r}, its "
                f"offset {one.offset!r}, its ratio {one.primary!r} to {one.secondary!r}"
            )
        try:
            late = _moved(times[is_there], math.floor(one.skew + Fraction(1, 2)))
        except OverflowError:
            raise RecordingError(
                f"the skew of channel `{one.name}` moves its times outside 1677 to 2262"
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
    """Yields the channels with unique names."""
    names = unique_names([one.name for one in channels])
    for one, name in zip(channels, names, strict=True):
        yield replace(one, name=name)
