"""Which columns of a file hold the times, and which become streams."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import is_number, is_text, looks_like, one_chunk, shown
from pingthings.files.dialect import TIME_NAME
from pingthings.files.numbers import NO_NUMBER, TOO_LARGE, Notation, numbers
from pingthings.files.source import Source, SourceError
from pingthings.files.timeformat import COMMON, TimeFormat
from pingthings.files.timeparts import (
    TimeColumns,
    calendar_columns,
    hour_columns,
    told_columns,
)
from pingthings.files.times import Clock, likely_kind, times
from pingthings.files.zones import zone_exists

__all__ = ["Value", "are_numbers", "choose_times", "choose_values"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_EXCEL_DAYS = 25_569, 73_050
"""What spreadsheets have for 1970 to 2099."""
_EPOCH_UNITS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (10**20, "ns"))
_DATE_ONLY = (
    r"^\s*\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\.?\s*$|^\s*\d{8}\s*$|"
    r"^\s*\d{4}-\d{2}-\d{2}[ T]00:00(:00([.,]0+)?)?\s*$"  # as spreadsheets and pandas write days
)
_TIME_OF_DAY = (
    r"^\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[AaPp]\.?[Mm]\.?)?\s*(Z|[+-]\d{2}:?\d{2})?\s*$"
)
_ZONE = re.compile(
    r"(?<![A-Za-z])(?:CES?T|MES?Z|[ECMP][SD]T|BST|IST|JST|A[ECW][SD]T|NZ[SD]T|MSK|local|lokal|"
    r"(?:UTC|GMT) ?[+-] ?\d{1,2}(?::?\d{2})?)(?![A-Za-z])",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"(?:UTC|GMT) ?[+-] ?\d{1,2}(?::?\d{2})?|[+-]\d{2}:\d{2}")
_MANY = 20
_JUDGED = 1_000
_WRITTEN_AS_TIMES = "outside", "does not exist", "is not `"
_NONE = "it holds no numbers"


@dataclass(frozen=True)
class Value:
    """A column, and the stream that its numbers go into."""

    column: str
    name: str
    unit: str
    kind: str
    """The type of the column, in words."""
    was_asked: bool = False
    is_open: bool = False
    """Whether its first rows hold nothing, so that it is not known to hold numbers."""


def choose_times(
    source: Source, sample: Any, asked: Sequence[str], clock: Clock
) -> tuple[TimeColumns, list[str]]:
    """Returns the column of times, or those that are times together, and what to say of them.

    Raises:
        SourceError: There is no such column, or it holds no times.
    """
    for name in asked:
        if name not in source.columns:
            raise SourceError(f"`{source.path}` has no column `{name}`; it has {_listed(source)}")
    if asked:
        told = told_columns(asked, sample, has_form=clock.form is not None)
        _check_times(source, told.joined(sample), " and ".join(asked), clock)
        return told, told.note(sample)
    alone = _alone(source, sample, clock)
    days = [name for name in source.columns if _holds(sample[name], _DATE_ONLY)]
    if days and (alone is None or alone in days):
        pair = _pair(source, sample, alone or days[0], clock)
        if pair is not None:
            return pair, pair.note(sample)
    if alone is not None:
        notes = [*_zone_in(alone, clock), *_zones_beside(source, sample, alone, clock)]
        return TimeColumns((alone,)), [*notes, *_long_table(source, sample, alone)]
    parts = calendar_columns(source.columns, sample) if clock.form is None else None
    if parts is not None and _are_times(parts.joined(sample), clock):
        return parts, parts.note(sample)
    raise _no_times(source, sample, clock)


def _no_times(source: Source, sample: Any, clock: Clock) -> SourceError:
    """Says why no column holds times."""
    for name in source.columns:
        if TIME_NAME.fullmatch(name) and not _is_odd(sample[name].type):
            _check_times(source, sample[name], name, clock)
    advice = next(
        (
            f"`{name}` looks as if written like {form}. "
            for name in source.columns
            if (form := _likely_format(sample[name]))
        ),
        "",
    )
    if len(source.columns) == 1:
        return SourceError(
            f"`{source.path}` has but one column, `{source.columns[0]}`, and it holds no times. If "
            "something parts its cells, say what with `--delimiter`; if times are counted, say "
            "`--time-start` and `--time-step`"
        )
    return SourceError(
        f"no column of `{source.path}` holds times; name one with `--time`, and how it is "
        f"written with `--time-format`. {advice}It has {_listed(source)}"
    )


def _alone(source: Source, sample: Any, clock: Clock) -> str | None:
    held: list[tuple[int, int, str]] = []
    for place, name in enumerate(source.columns):
        looks = TIME_NAME.fullmatch(name) is not None
        if _may_be_time(sample[name], clock, is_named=looks):
            distinct = compute.count_distinct(one_chunk(sample[name])).as_py()
            held.append((distinct * (2 if looks else 1), -place, name))
    return max(held)[2] if held else None


def _may_be_time(column: Any, clock: Clock, *, is_named: bool) -> bool:
    kind = one_chunk(column.slice(0, 1)).type
    if arrow.types.is_timestamp(kind) or arrow.types.is_date(kind):
        return True
    if is_number(kind):
        return is_named and clock.unit is not None
    if not is_text(kind) or (clock.unit is not None and not is_named):
        return False
    return _are_times(column, clock)


def _are_times(column: Any, clock: Clock) -> bool:
    """Whether most cells that hold something are written as times, fit for a stream or not."""
    held = one_chunk(column).drop_null().slice(0, _JUDGED)
    if not len(held):
        return False
    bad = times(held, _plain(clock))[1]
    odd = sum(not any(word in reason for word in _WRITTEN_AS_TIMES) for reason in bad.values())
    return len(bad) < len(held) and 2 * odd < len(held)


def _plain(clock: Clock) -> Clock:
    # What comes twice or never is a time all the same: how the clock shows it is judged later.
    return clock if "%Z" in (clock.form or "") else replace(clock, zone=None, last=None)


def _holds(column: Any, pattern: str) -> bool:
    array = one_chunk(column.slice(0, 1_000)).drop_null()
    if arrow.types.is_date(array.type):
        return pattern == _DATE_ONLY
    if arrow.types.is_time(array.type):
        return pattern == _TIME_OF_DAY
    if arrow.types.is_timestamp(array.type) and array.type.tz is None:
        return pattern == _DATE_ONLY and len(array) > 0 and _are_midnights(array)
    if not arrow.types.is_string(array.type) or not len(array):
        return False
    found = compute.sum(compute.match_substring_regex(array, pattern)).as_py() or 0
    return bool(found * 2 > len(array))


def _are_midnights(array: Any) -> bool:
    return bool(
        compute.all(compute.equal(compute.floor_temporal(array, unit="day"), array)).as_py()
    )


def _pair(source: Source, sample: Any, day: str, clock: Clock) -> TimeColumns | None:
    """A column of dates and one of times of day, or of hours, that are times together."""
    places = {name: place for place, name in enumerate(source.columns)}
    clocks = [name for name in source.columns if _holds(sample[name], _TIME_OF_DAY)]
    clocks.sort(
        key=lambda name: (TIME_NAME.fullmatch(name) is None, abs(places[name] - places[day]))
    )
    days = one_chunk(sample[day])
    is_daily = 1 < len(days) == compute.count_distinct(days).as_py()
    for name in clocks:
        if is_daily and TIME_NAME.fullmatch(name) is None:
            continue  # it may be when something was, on days that come once
        pair = TimeColumns((day, name))
        if name != day and _are_times(pair.joined(sample), clock):
            return pair
    hours = hour_columns(source.columns, sample, day) if clock.form is None else None
    if hours is not None and not clocks and _are_times(hours.joined(sample), clock):
        return hours
    names = (day, clocks[0]) if clocks else hours.names if hours is not None else ()
    form = _likely_format(TimeColumns(names).joined(sample)) if names else None
    if names and (form or clock.form is None or _are_times(sample[day], clock)):
        # The days alone would put all of a day at midnight.
        named = " and ".join(f"`{name}`" for name in names)
        told = " ".join(f"--time '{name}'" for name in names)
        raise SourceError(
            f"columns {named} of `{source.path}` seem to be times together; say `{told}` with "
            f"{form or '`--time-format`'}, or `--time '{day}'` alone if its days are meant"
        )
    return None


def _zone_in(name: str, clock: Clock) -> list[str]:
    """What to say of a name such as `Time (CET)` if no zone was told."""
    found = _ZONE.search(name)
    if found is None or clock.zone is not None or "%z" in (clock.form or "").lower():
        return []
    told = f"column `{name}` names `{found[0]}`, which is not followed"
    return [f"{told}: times without a zone are taken for UTC; `--time-zone` says otherwise"]


def _zones_beside(source: Source, sample: Any, time: str, clock: Clock) -> list[str]:
    """What to say of a column that names the zones of times, if these have none."""
    array = one_chunk(sample[time])
    kind = array.type if arrow.types.is_timestamp(array.type) else likely_kind(array, clock)
    if clock.zone is not None or not arrow.types.is_timestamp(kind) or kind.tz is not None:
        return []
    for name in source.columns:
        cells = one_chunk(sample[name]).drop_null().slice(0, _JUDGED)
        if name == time or not arrow.types.is_string(cells.type) or not len(cells):
            continue
        known = [text.strip() for text in compute.unique(cells).to_pylist()]
        if len(known) <= _MANY and all(map(_is_zone, known)):
            told = f"column `{name}` names `{known[0]}`, which is not followed: times without a"
            return [f"{told} zone are taken for UTC; `--time-zone` says otherwise"]
    return []


def _is_zone(text: str) -> bool:
    return bool(
        _ZONE.fullmatch(text) or _OFFSET.fullmatch(text) or ("/" in text and zone_exists(text))
    )


def _long_table(source: Source, sample: Any, time: str) -> list[str]:
    """What to say of times that come more often, where a column of texts tells them apart."""
    array = one_chunk(sample[time]).slice(0, 10_000)
    count = len(array)
    if compute.count_distinct(array).as_py() == count:
        return []
    for name in source.columns:
        column = one_chunk(sample[name]).slice(0, count)
        if name == time or not arrow.types.is_string(column.type) or column.null_count == count:
            continue
        pairs = arrow.table([array, column], ["a", "b"]).group_by(["a", "b"]).aggregate([])
        if pairs.num_rows == count and looks_like(partial(numbers, name=name), column) is False:
            told = f"times come more than once, and `{name}` tells the rows apart: if it names"
            return [f"{told} what was measured, say `--name-column '{name}'`"]
    if _holds(sample[time], _DATE_ONLY):
        return [
            f"column `{time}` holds days, which are times at midnight, and has some more than once"
        ]
    return []


def _is_odd(kind: Any) -> bool:
    return bool(arrow.types.is_null(kind) or arrow.types.is_nested(kind))


def _check_times(source: Source, column: Any, name: str, clock: Clock) -> None:
    """Says what is wrong with a column that is to hold times."""
    column = one_chunk(column)
    kind = column.type
    types = arrow.types
    if not (is_text(kind) or is_number(kind) or types.is_timestamp(kind) or types.is_date(kind)):
        raise SourceError(
            f"column `{name}` of `{source.path}` is {kind}, which is no type of times"
        )
    held = column.drop_null()
    if clock.unit is None and clock.form is None and (not is_text(kind) or are_numbers(column)):
        if types.is_temporal(kind):
            return
        first = held[0].as_py() if len(held) else None
        likely = _likely_unit(str(first)) or "ns"
        if is_text(kind) and (form := _likely_format(held)):
            raise SourceError(
                f"column `{name}` of `{source.path}` holds numbers such as {first}; it may be "
                f"{form}, or say what they count since 1970 with `--time-unit`"
            )
        if likely == "s" and _EXCEL_DAYS[0] < float(str(first)) < _EXCEL_DAYS[1]:
            likely = "excel"
        raise SourceError(
            f"column `{name}` of `{source.path}` holds numbers such as {first}; say what they "
            f"count since 1970 with `--time-unit`, which may be {likely}"
        )
    if not is_text(kind) or not len(held) or _are_times(held, clock):
        return
    bad = times(held.slice(0, _JUDGED), _plain(clock))[1]
    odd = {
        place: reason
        for place, reason in sorted(bad.items())
        if not any(word in reason for word in _WRITTEN_AS_TIMES)
    }
    place, reason = next(iter((odd or bad).items()))
    if "not understood" not in reason:
        if clock.unit is not None and "outside" in reason:
            first = str(held[place].as_py()).strip()
            other = _likely_unit(first)
            reason += f" if it counts {clock.unit}" + (f"; is it {other}?" if other else "")
        raise SourceError(f"column `{name}` of `{source.path}` holds no times: {reason}")
    form = _likely_format(held)
    advice = f"; it may be {form}" if form else ""
    raise SourceError(
        f"column `{name}` of `{source.path}` holds no times: `{shown(held, place)}` is not "
        f"understood. Times are ISO 8601, or as `--time-format` or `--time-unit` says{advice}"
    )


def _likely_unit(text: str) -> str | None:
    try:
        return next((u for most, u in _EPOCH_UNITS if abs(float(text)) < most), None)
    except ValueError:
        return None


def _likely_format(column: Any) -> str | None:
    """Options for how the texts of a column are written, of which all can be read."""
    array = one_chunk(column.slice(0, 10_000)).drop_null()
    if not arrow.types.is_string(array.type) or not len(array):
        return None
    trimmed = compute.utf8_trim(array, "\"' \t\u00a0")
    found: list[str] = []
    for form in COMMON:
        first = TimeFormat(form).read(trimmed.slice(0, 50))
        if not (first.is_like & first.is_real).all():
            continue
        if "%Z" in form and any("%p" in other for other in found):
            continue  # PM is no zone
        reading = TimeFormat(form).read(trimmed)
        if (reading.is_like & reading.is_real).all():
            found.append(form)
    return " or ".join(f"`--time-format '{form}'`" for form in found[:2]) or None


def are_numbers(column: Any, notation: Notation | None = None) -> bool:
    """Whether most cells that hold something are written as numbers, fit for float64 or not."""
    held = one_chunk(column).drop_null().slice(0, _JUDGED)
    return len(held) > 0 and 2 * len(_no_numbers(held, notation)) < len(held)


def _no_numbers(held: Any, notation: Notation | None) -> list[str]:
    bad = numbers(held, "", notation or Notation())[1]
    return [reason for reason in bad.values() if NO_NUMBER in reason]


def choose_values(
    source: Source,
    sample: Any,
    taken: Sequence[str],
    asked: Sequence[str],
    unit: str,
    notation: Notation,
) -> tuple[list[Value], list[str]]:
    """Returns the columns that become streams, and in words which do not and why.

    Args:
        source: The file.
        sample: Its first rows.
        taken: Columns that hold something else: times, or names.
        asked: What `--value` says; nothing takes all columns of numbers.
        unit: The unit of the streams that are given none.
        notation: How numbers are written.

    Raises:
        SourceError: There is no such column, or none with numbers, or two would be one stream.
    """
    notes: list[str] = []
    if asked:
        found = [_asked(source, sample, text, unit) for text in asked]
    else:
        found = _found(source, sample, taken, unit, notation, notes)
    if not any(not value.is_open for value in found):
        listed = f" ({'; '.join(notes[:_MANY])})" if notes else ""
        if not found:
            beside = " and ".join(f"`{name}`" for name in taken)
            raise SourceError(
                f"`{source.path}` has no column of numbers beside {beside or 'its times'}{listed}; "
                "name one with `--value`"
            )
    for name, count in Counter(value.name for value in found).items():
        if count > 1:
            raise SourceError(f"two columns would go into the stream `{name}`; give them two names")
    return found, notes


def _found(
    source: Source,
    sample: Any,
    taken: Sequence[str],
    unit: str,
    notation: Notation,
    notes: list[str],
) -> list[Value]:
    found: list[Value] = []
    numbered: Value | None = None
    for name in source.columns:
        if name in taken:
            continue
        column = one_chunk(sample[name])
        value = Value(name, name, source.units.get(name, unit), _kind(column))
        reason = _reason_to_skip(column, notation)
        if reason is not None:
            notes.append(f"column `{name}` is left out: {reason}")
        elif column.null_count == len(column):
            found.append(replace(value, is_open=True))
        elif name == source.columns[0] and _numbers_rows(numbers(column, name, notation)[0]):
            numbered = value
        else:
            found.append(value)
    if numbered is not None:
        if any(not value.is_open for value in found):
            notes.append(
                f"column `{numbered.column}` is left out: it numbers the rows; `--value` takes it "
                "all the same"
            )
        else:
            found.insert(0, numbered)
    return found


def _asked(source: Source, sample: Any, text: str, unit: str) -> Value:
    """What `COLUMN`, `COLUMN=NAME` or `COLUMN=NAME:UNIT` says; a column may hold `=`."""
    place = len(text)
    while place > 0:
        column = text[:place]
        if column in source.columns:
            return _value(source, sample, column, text[place + 1 :], unit)
        place = text.rfind("=", 0, place)
    column = text.partition("=")[0]
    raise SourceError(f"`{source.path}` has no column `{column}`; it has {_listed(source)}")


def _value(source: Source, sample: Any, column: str, named: str, unit: str) -> Value:
    name, colon, own = named.rpartition(":")
    if not colon:
        name, own = own, source.units.get(column, unit)
    array = one_chunk(sample[column])
    kind = array.type
    if not (is_number(kind) or is_text(kind) or arrow.types.is_boolean(kind)) and not (
        arrow.types.is_null(kind)
    ):
        raise SourceError(f"column `{column}` of `{source.path}` is {kind}, not numbers")
    return Value(column, name or column, own, _kind(array), was_asked=True)


def _kind(column: Any) -> str:
    return "text" if arrow.types.is_string(column.type) else str(column.type)


def _reason_to_skip(column: Any, notation: Notation) -> str | None:  # noqa: PLR0911 - reasons
    kind = column.type
    if arrow.types.is_null(kind) or column.null_count == len(column):
        return None if arrow.types.is_null(kind) or is_number(kind) or is_text(kind) else _NONE
    if not (is_text(kind) or is_number(kind)):
        return _NONE
    held = column.drop_null().slice(0, _JUDGED)
    bad = numbers(held, "", notation)[1]
    if 2 * sum(TOO_LARGE in reason for reason in bad.values()) > len(held):
        return "its whole numbers are too large for float64; `--value` takes it all the same"
    if is_number(kind) or are_numbers(held, notation):
        return None
    if notation.decimal == "." and are_numbers(column, Notation(",", ".")):
        is_grouped = are_numbers(column, replace(notation, thousands=","))
        also = ", or `--thousands ,` if it parts thousands" if is_grouped else ""
        return f"its numbers have a comma; say `--decimal ,`{also}"
    if notation.thousands is None and are_numbers(column, replace(notation, thousands=",")):
        return "its numbers have commas between thousands; say `--thousands ,`"
    failed = _no_numbers(held, notation)
    if len(failed) == len(held) and ";" not in failed[0]:
        return _NONE
    return f"most of its cells are no numbers; the first: {failed[0].replace(' in column ``', '')}"


def _numbers_rows(found: Any) -> bool:
    if found.null_count or len(found) <= 1:
        return False
    first = found[0].as_py()
    return first in {0.0, 1.0} and found.equals(
        arrow.array([first + k for k in range(len(found))], arrow.float64())
    )


def _listed(source: Source) -> str:
    shown_names = source.columns[:_MANY]
    more = f" and {len(source.columns) - _MANY} more" if len(source.columns) > _MANY else ""
    return ", ".join(f"`{name}`" for name in shown_names) + more
