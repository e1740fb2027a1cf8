"""The description of a COMTRADE recording, a `.cfg` file: channels, rates, and when it began."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
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
"""So many seconds clocks on the wall are ahead of UTC, or behind it, at most."""
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:e[+-]?\d{1,2})?", re.IGNORECASE)
_COUNT = re.compile(r"\s*(\d{1,7})\s*([AD]?)\s*", re.IGNORECASE)


class RecordingError(BTRDBValueError):
    """The files are no recording that can be read; the message says why."""


@dataclass(frozen=True)
class Analog:
    """An analog channel: what its samples mean is `factor * sample + offset`."""

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
    """`P` or `S`: of which side of the instrument transformer the values are."""
    smallest: float
    """Of what is recorded; NaN if the file does not say."""
    largest: float


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
    """What a `.cfg` file says."""

    station: str
    device: str
    revision: int
    """1991, 1999 or 2013."""
    analog: tuple[Analog, ...]
    digital: tuple[Digital, ...]
    rates: tuple[tuple[Fraction, int], ...]
    """Samples in a second, and the last sample to which that applies; empty if stamps count."""
    declared: int
    """How many samples it promises, 0 if it does not say."""
    start: int
    """When the first sample was taken, in nanoseconds."""
    trigger: int
    form: str
    multiplier: Fraction
    """Nanoseconds that one step of a stamp is."""


def describe(text: str, zone: str = "UTC") -> Description:
    """Returns what the text of a `.cfg` file says.

    Args:
        text: The text.
        zone: Where the clock of the recorder is from, if the file does not say.

    Raises:
        RecordingError: It is not as the standard says; the message names the line.
    """
    lines = _Lines(text)
    station, device, revision = _head(lines)
    analogs, digitals = _counts(lines)
    analog = tuple(_analog(lines) for _ in range(analogs))
    digital = tuple(_digital(lines) for _ in range(digitals))
    hertz = lines.next().strip(" ,\t")  # of the mains, which may be left out
    if hertz:
        _number(lines, hertz)
    rates, declared = _rates(lines)
    first, last = lines.next(), lines.next()
    form = lines.next().strip().upper()
    if form not in FORMS:
        raise lines.error(f"data of type `{form}` are not known; there are {', '.join(FORMS)}")
    factor = _multiplier(lines, revision)
    offset = _offset(lines) if revision == 2013 else None  # noqa: PLR2004 - the revision
    start, digits = _instant(first, revision, offset, zone)
    trigger, more = _instant(last if last.strip(" ,") else first, revision, offset, zone)
    step = 1 if max(digits, more) > 6 else 1_000  # noqa: PLR2004 - digits of microseconds
    return Description(
        *(station, device, revision, analog, digital, rates, declared, start, trigger),
        form=form,
        multiplier=factor * step,
    )


class _Lines:
    """The lines one after another, and the place for messages."""

    def __init__(self, text: str) -> None:
        # Names hold signs at which `splitlines` would cut them, such as the ellipsis of Windows.
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
        raise lines.error("it begins with the station and the recorder")
    year = 1991
    if len(cells) > 2 and cells[-1]:  # noqa: PLR2004
        if not re.fullmatch(r"\d{4}", cells[-1]):
            raise lines.error(f"`{cells[-1]}` is no year of the standard")
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
    if len(cells) > _ANALOG_CELLS:  # a name with commas; what follows it is counted from the end
        extra = len(cells) - _ANALOG_CELLS
        if _DECIMAL.fullmatch(cells[4 + extra]) and not _DECIMAL.fullmatch(cells[4]):
            raise lines.error(
                f"it has {len(cells)} cells where {_ANALOG_CELLS} are wanted; numbers have no comma"
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
            raise lines.error("it says a sampling rate and the last sample of it")
        rate, before, last = _fraction(lines, cells[0] or "0"), last, _whole(lines, cells[1])
        if rate < 0 or last < before:
            raise lines.error("a rate below zero, or samples that do not ascend")
        if count and last > before:
            rates.append((rate, last))
    if any(rate == 0 for rate, _ in rates):
        return (), last  # then the stamps have to say it
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
        raise lines.error(f"`{text}` is no number") from None
    if not math.isfinite(number) or "_" in text:  # Python's own
        raise lines.error(f"`{text}` is no number")
    return number


def exactly(text: str) -> Fraction:
    """Returns what a text says as a decimal number, without rounding it.

    Raises:
        ValueError: It is none, or one of so many digits that no recorder can mean it.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Fraction(text)


def _fraction(lines: _Lines, text: str) -> Fraction:
    try:
        number = exactly(text)
    except ValueError:
        raise lines.error(f"`{text}` is no number, or too large") from None
    if abs(number) > 10**30:  # far beyond any
        raise lines.error(f"`{text}` is too large")
    return number


def _whole(lines: _Lines, text: str) -> int:
    if not re.fullmatch(r"\s*\+?\d{1,12}(\.0*)?\s*", text):
        raise lines.error(f"`{text.strip()}` is no whole number")
    return int(text.partition(".")[0])


def _offset(lines: _Lines) -> int | None:
    """Seconds of the file's clock ahead of UTC; None if the file does not say."""
    text = lines.next().split(",", maxsplit=1)[0].strip()
    if text.casefold() in {"", "x"}:
        return None
    match = _OFFSET.fullmatch(text)
    seconds = 0 if match is None else int(match[2]) * 3_600 + int(match[3] or 0) * 60
    if match is None or seconds > _FARTHEST or int(match[3] or 0) > 59:  # noqa: PLR2004 - minutes
        raise lines.error(
            f"`{text}` does not say how far the clock is ahead of UTC, as `-4`, `+5h30` or `x` do"
        )
    return -seconds if match[1] == "-" else seconds


def _instant(line: str, revision: int, offset: int | None, zone: str) -> tuple[int, int]:
    """A time in nanoseconds, and how many digits its fraction has."""
    match = _STAMP.fullmatch(line)
    if match is None:
        raise RecordingError(f"a line of the description is no time: `{line.strip()}`")
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
        clock = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - of some clock
        ahead = _ahead(clock, zone) if offset is None else offset
    except ValueError as error:
        raise RecordingError(
            f"a line of the description is no time: `{line.strip()}`: {error}; in revision "
            f"{revision}, by the first line, the {order}"
        ) from error
    # A leap second is the first one of the next minute, as everywhere in this database.
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + rest - ahead
    time = seconds * _SECOND + int(fraction.ljust(9, "0"))
    if not MINIMUM_TIME <= time < MAXIMUM_TIME:
        raise RecordingError(
            f"a time of the description, `{line.strip()}`, does not fit in nanoseconds"
        )
    return time, len(fraction)


def _ahead(time: datetime, zone: str) -> int:
    """Seconds that a clock on the wall was ahead of UTC."""
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecordingError(f"there is no zone `{zone}`") from None
    found = {time.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1)}
    if len(found) > 1:
        raise ValueError(f"it came twice or never in {zone}")
    (offset,) = found
    return 0 if offset is None else round(offset.total_seconds())
