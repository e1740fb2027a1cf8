"""Parses the description of a COMTRADE recording, a `.cfg` file: channels, rates, start time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pingthings.ingest.streams import clean
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Analog", "Description", "Digital", "RecordingError", "describe", "exactly"]

FORMS = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
_SECOND = 1_000_000_000
_ANALOG_CELLS = 13
_FEWEST_CELLS = 6
_MOST_CHANNELS = 1_000_000
_NO_COUNTS = "it must say how many channels there are, up to a million, as in `3,2A,1D`"
_STAMP = re.compile(
    r"\s*(\d{1,2})[/-](\d{1,2})[/-](\d{2,4})\s*,\s*(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?\s*"
)
_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?:[h:](\d{2}))?", re.IGNORECASE)
_FARTHEST = 14 * 3_600
"""The largest offset of a time zone from UTC, in seconds."""
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:e[+-]?\d{1,2})?", re.IGNORECASE)
_COUNT = re.compile(r"\s*(\d{1,7})\s*([AD]?)\s*", re.IGNORECASE)


class RecordingError(BTRDBValueError):
    """The files are not a readable recording; the message contains the reason."""


@dataclass(frozen=True)
class Analog:
    """An analog channel: the value of a sample is `factor * sample + offset`."""

    number: str
    name: str
    phase: str
    component: str
    unit: str
    factor: float
    offset: float
    skew: Fraction
    """In nanoseconds."""
    primary: float
    secondary: float
    side: str
    """`P` or `S`: the side of the instrument transformer to which the values refer."""
    smallest: float
    """The lower end of the recorded range; NaN if the file does not have it."""
    largest: float
    """The upper end of the recorded range."""


@dataclass(frozen=True)
class Digital:
    """A channel of states."""

    number: str
    name: str
    phase: str
    component: str
    normal: int


@dataclass(frozen=True)
class Description:
    """The content of a `.cfg` file."""

    station: str
    device: str
    revision: int
    """1991, 1999 or 2013."""
    analog: tuple[Analog, ...]
    digital: tuple[Digital, ...]
    rates: tuple[tuple[Fraction, int], ...]
    """Samples per second, and the last sample with that rate; empty if time stamps are used."""
    declared: int
    """The declared number of samples, 0 if there is none."""
    start: int
    """The time of the first sample, in nanoseconds."""
    trigger: int
    form: str
    multiplier: Fraction
    """The length of one step of a time stamp, in nanoseconds."""


Ambiguous = Literal["earlier", "later", "reject"]


def describe(text: str, zone: str = "UTC", ambiguous: Ambiguous = "reject") -> Description:
    """Parses the text of a `.cfg` file.

    Args:
        text: The text.
        zone: The time zone of the recorder, if the file does not contain it.
        ambiguous: Which instant a local time is that occurs twice.

    Raises:
        RecordingError: It does not follow the standard; the message names the line.
    """
    lines = _Lines(text)
    station, device, revision = _head(lines)
    analogs, digitals = _counts(lines)
    analog = tuple(_analog(lines) for _ in range(analogs))
    digital = tuple(_digital(lines) for _ in range(digitals))
    hertz = lines.next().strip(" ,\t")  # the line frequency, which may be left out
    if hertz:
        _number(lines, hertz)
    rates, declared = _rates(lines)
    first, last = lines.next(), lines.next()
    form = lines.next().strip().upper()
    if form not in FORMS:
        raise lines.error(f"the data type `{form}` is unknown; the types are {', '.join(FORMS)}")
    factor = _multiplier(lines, revision)
    offset = _offset(lines) if revision == 2013 else None  # noqa: PLR2004 - the revision
    local = zone, ambiguous
    start, digits = _instant(first, revision, offset, local)
    trigger, more = _instant(last if last.strip(" ,") else first, revision, offset, local)
    step = 1 if max(digits, more) > 6 else 1_000  # noqa: PLR2004 - digits of microseconds
    return Description(
        *(station, device, revision, analog, digital, rates, declared, start, trigger),
        form=form,
        multiplier=factor * step,
    )


class _Lines:
    """Reads the lines in order, and adds the line to error messages."""

    def __init__(self, text: str) -> None:
        # `splitlines` would also split at characters within names, such as the Windows ellipsis.
        self._lines = re.split(r"\r\n|\r|\n", text.partition("\x1a")[0].lstrip("\r\n \t"))
        self._place = 0

    def next(self) -> str:
        self._place += 1
        return self._lines[self._place - 1] if self._place <= len(self._lines) else ""

    def peek(self) -> str:
        return self._lines[self._place] if self._place < len(self._lines) else ""

    def cells(self) -> list[str]:
        return [cell.strip() for cell in self.next().split(",")]

    def error(self, why: str) -> RecordingError:
        line = self._lines[self._place - 1] if self._place <= len(self._lines) else ""
        return RecordingError(f"line {self._place} of the description, `{line.strip()}`: {why}")


def _head(lines: _Lines) -> tuple[str, str, int]:
    cells = lines.cells()
    if len(cells) < 2:  # noqa: PLR2004 - station and recorder
        raise lines.error("the first line must have the station and the recorder")
    year = 1991
    if len(cells) > 2 and cells[-1]:  # noqa: PLR2004
        if not re.fullmatch(r"\d{4}", cells[-1]):
            raise lines.error(f"`{cells[-1]}` is not a revision year of the standard")
        year = int(cells[-1])
    rest = cells[:-1] if len(cells) > 2 else cells  # noqa: PLR2004
    revision = max((known for known in (1991, 1999, 2013) if known <= year), default=1991)
    return clean(",".join(rest[:-1])), clean(rest[-1]), revision


def _counts(lines: _Lines) -> tuple[int, int]:
    found = {"A": 0, "D": 0}
    for cell in lines.cells()[1:]:
        match = _COUNT.fullmatch(cell)
        if match is None or not match[2]:
            raise lines.error(_NO_COUNTS)
        found[match[2].upper()] += int(match[1])
    if not 0 < sum(found.values()) <= _MOST_CHANNELS:
        raise lines.error(_NO_COUNTS)
    return found["A"], found["D"]


def _analog(lines: _Lines) -> Analog:
    cells = lines.cells()
    while len(cells) > _ANALOG_CELLS and not cells[-1]:
        cells.pop()
    if len(cells) > _ANALOG_CELLS:  # a name with commas; the cells after it count from the end
        extra = len(cells) - _ANALOG_CELLS
        if _DECIMAL.fullmatch(cells[4 + extra]) and not _DECIMAL.fullmatch(cells[4]):
            raise lines.error(
                f"it has {len(cells)} cells instead of {_ANALOG_CELLS}; numbers must not have a "
                "comma"
            )
        cells[1 : extra + 2] = [",".join(cells[1 : extra + 2])]
    if len(cells) < _FEWEST_CELLS or not cells[5]:
        raise lines.error("an analog channel has no factor")
    cells += [""] * (_ANALOG_CELLS - len(cells))
    return Analog(
        *(cells[0], clean(cells[1]), clean(cells[2]), clean(cells[3]), clean(cells[4])),
        factor=_number(lines, cells[5]),
        offset=_number(lines, cells[6] or "0"),
        skew=_fraction(lines, cells[7] or "0") * 1_000,
        primary=_number(lines, cells[10] or "0"),
        secondary=_number(lines, cells[11] or "0"),
        side=cells[12].upper(),
        smallest=float(cells[8]) if _DECIMAL.fullmatch(cells[8]) else math.nan,
        largest=float(cells[9]) if _DECIMAL.fullmatch(cells[9]) else math.nan,
    )


def _digital(lines: _Lines) -> Digital:
    cells = lines.cells()
    if len(cells) < 2:  # noqa: PLR2004 - number and name
        raise lines.error("a digital channel has no name")
    if len(cells) == 3:  # noqa: PLR2004 - of 1991
        cells = [*cells[:2], "", "", cells[2]]
    cells += [""] * (5 - len(cells))
    normal = cells[4]
    if normal not in {"", "0", "1"}:
        raise lines.error(f"`{normal}` is no state; there are 0 and 1")
    return Digital(
        cells[0], clean(cells[1]), clean(cells[2]), clean(cells[3]), normal=int(normal or 0)
    )


def _rates(lines: _Lines) -> tuple[tuple[tuple[Fraction, int], ...], int]:
    count = _whole(lines, lines.next())
    if count == 0 and _STAMP.fullmatch(lines.peek()):
        return (), 0
    rates: list[tuple[Fraction, int]] = []
    last = 0
    for _ in range(max(count, 1)):
        cells = lines.cells()
        if len(cells) < 2:  # noqa: PLR2004 - rate and sample
            raise lines.error("it must have a sampling rate and the last sample with that rate")
        rate, before, last = _fraction(lines, cells[0] or "0"), last, _whole(lines, cells[1])
        if rate < 0 or last < before:
            raise lines.error("the rate is negative, or the last samples do not ascend")
        if count and last > before:
            rates.append((rate, last))
    if any(rate == 0 for rate, _ in rates):
        return (), last  # then the time stamps are used
    return tuple(rates), last


def _multiplier(lines: _Lines, revision: int) -> Fraction:
    if revision == 1991:  # noqa: PLR2004 - the revision
        return Fraction(1)
    text = lines.next().strip()
    return _fraction(lines, text) if text else Fraction(1)


def _number(lines: _Lines, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise lines.error(f"`{text}` is not a number") from None
    if not math.isfinite(number) or "_" in text:  # Python accepts underscores
        raise lines.error(f"`{text}` is not a number")
    return number


def exactly(text: str) -> Fraction:
    """Parses a decimal number without rounding.

    Raises:
        ValueError: It is not a decimal number, or has absurdly many digits.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Fraction(text)


def _fraction(lines: _Lines, text: str) -> Fraction:
    try:
        number = exactly(text)
    except ValueError:
        raise lines.error(f"`{text}` is not a number, or too large") from None
    if abs(number) > 10**30:  # far beyond any real value
        raise lines.error(f"`{text}` is too large")
    return number


def _whole(lines: _Lines, text: str) -> int:
    if not re.fullmatch(r"\s*\+?\d{1,12}(\.0*)?\s*", text):
        raise lines.error(f"`{text.strip()}` is not an integer")
    return int(text.partition(".")[0])


def _offset(lines: _Lines) -> int | None:
    """Returns the offset of the file's times from UTC in seconds; None if it has none."""
    text = lines.next().split(",", maxsplit=1)[0].strip()
    if text.casefold() in {"", "x"}:
        return None
    match = _OFFSET.fullmatch(text)
    seconds = 0 if match is None else int(match[2]) * 3_600 + int(match[3] or 0) * 60
    if match is None or seconds > _FARTHEST or int(match[3] or 0) > 59:  # noqa: PLR2004 - minutes
        raise lines.error(
            f"`{text}` is not an offset from UTC; it must be like `-4` or `+5h30`, or `x` for none"
        )
    return -seconds if match[1] == "-" else seconds


def _instant(
    line: str, revision: int, offset: int | None, local: tuple[str, Ambiguous]
) -> tuple[int, int]:
    """Returns a time in nanoseconds, and the number of digits of its fraction."""
    match = _STAMP.fullmatch(line)
    if match is None:
        raise RecordingError(f"a line of the description is not a time: `{line.strip()}`")
    first, second, year, hour, minute, rest = (int(part) for part in match.groups()[:6])
    order = "month comes first" if revision == 1991 else "day comes first"  # noqa: PLR2004
    day, month = (second, first) if revision == 1991 else (first, second)  # noqa: PLR2004
    if year < 100:  # noqa: PLR2004 - before 1999 years had two digits
        year += 1900 if year >= 70 else 2000  # noqa: PLR2004
    fraction = match[7] or ""
    try:
        if rest > 60:  # noqa: PLR2004 - a leap second
            raise ValueError("a minute has 60 seconds")  # noqa: TRY301
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
        clock = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - zone comes later
    except ValueError as error:
        raise RecordingError(
            f"a line of the description is not a time: `{line.strip()}`: {error}; in revision "
            f"{revision}, given by the first line, the {order}"
        ) from error
    try:
        ahead = _ahead(clock, *local) if offset is None else offset
    except ValueError as error:
        raise RecordingError(f"a time of the description, `{line.strip()}`, {error}") from error
    # A leap second becomes the first second of the next minute, as everywhere in this package.
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + rest - ahead
    time = seconds * _SECOND + int(fraction.ljust(9, "0"))
    if not MINIMUM_TIME <= time < MAXIMUM_TIME:
        raise RecordingError(
            f"a time of the description, `{line.strip()}`, is outside the range of nanoseconds"
        )
    return time, len(fraction)


def _ahead(time: datetime, zone: str, ambiguous: Ambiguous) -> int:
    """Returns the offset of a local time from UTC, in seconds."""
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecordingError(f"the time zone `{zone}` does not exist") from None
    earlier, later = (
        round((time.replace(tzinfo=known, fold=fold).utcoffset() or timedelta()).total_seconds())
        for fold in (0, 1)
    )
    if earlier < later:
        raise ValueError(f"does not exist in {zone}: clocks went forward")
    if earlier > later and ambiguous == "reject":
        raise ValueError(
            f"occurred twice in {zone}: clocks went back; `ambiguous`, or `--ambiguous`, selects "
            "`earlier` or `later`"
        )
    return later if ambiguous == "later" else earlier
