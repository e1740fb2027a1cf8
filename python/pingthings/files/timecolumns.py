"""Which columns of a file hold its times, or parts of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import is_number, is_text, looks_like, one_chunk, shown
from pingthings.files.columns import are_numbers, listed
from pingthings.files.dialect import TIME_NAME
from pingthings.files.numbers import numbers
from pingthings.files.source import Source, SourceError
from pingthings.files.timeformat import COMMON, TimeFormat
from pingthings.files.timeparts import TimeColumns, calendar_columns, hour_columns, told_columns
from pingthings.files.times import FINER, Clock, likely_kind, times
from pingthings.files.zones import zone_exists

__all__ = ["choose_times"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_EXCEL_DAYS = 25_569, 73_050
"""What spreadsheets have for 1970 to 2099."""
_EARLIEST_S = 100_000_000
_IN_1904 = 2_900_000_000, 4_200_000_000
"""Seconds of 1995 to 2036 since 1904, as LabVIEW counts them."""
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
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)$"
_MANY = 20
_JUDGED = 1_000
_WRITTEN_AS_TIMES = "outside", "does not exist", "is not `", FINER


def choose_times(
    source: Source, sample: Any, asked: Sequence[str], clock: Clock
) -> tuple[TimeColumns, list[str]]:
    """Returns the column of times, or those that are times together, and what to say of them.

    Raises:
        SourceError: There is no such column, or it holds no times.
    """
    for name in asked:
        if name not in source.columns:
            raise SourceError(f"`{source.path}` has no column `{name}`; it has {listed(source)}")
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
    if len(source.columns) == 1 and _are_quoted_rows(source.columns[0], sample):
        return SourceError(
            f"each row of `{source.path}` stands between quotation marks as a whole, so that it is "
            "one cell; write it without these"
        )
    if len(source.columns) == 1:
        return SourceError(
            f"`{source.path}` has but one column, `{source.columns[0]}`, and it holds no times. If "
            "something parts its cells, say what with `--delimiter`; if times are counted, say "
            "`--time-start` and `--time-step`"
        )
    return SourceError(
        f"no column of `{source.path}` holds times; name one with `--time`, and how it is "
        f"written with `--time-format`. {advice}It has {listed(source)}"
    )


def _are_quoted_rows(name: str, sample: Any) -> bool:
    """Whether the only cells are rows by themselves."""
    cells = one_chunk(sample[name])
    if not arrow.types.is_string(cells.type):
        return False
    some = cells.drop_null().slice(0, _JUDGED).to_pylist()
    return any(
        name.count(part) > 0 and all(text.count(part) == name.count(part) for text in some)
        for part in ",;\t|"
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
    if clock.form is None and clock.unit is None and is_text(held.type):
        count = compute.sum(compute.match_substring_regex(held, _NUMBER)).as_py()
        if 2 * count >= len(held):  # which are no times without a unit
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
    is_wall = kind is not None and arrow.types.is_timestamp(kind) and kind.tz is None
    if clock.zone is not None or not is_wall:
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
    every = one_chunk(sample[time]).slice(0, 10_000)
    array, is_time = every.drop_null(), every.is_valid()
    count = len(array)
    if compute.count_distinct(array).as_py() == count:
        return []
    for name in source.columns:
        column = one_chunk(sample[name]).slice(0, len(every))
        if name == time or not arrow.types.is_string(column.type):
            continue
        column = column.filter(is_time)
        if column.null_count == count:
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
        told = f"column `{name}` of `{source.path}` holds numbers such as {first}; say what they"
        if likely == "s" and (origin := _likely_origin(float(str(first)))):
            raise SourceError(f"{told} count with `--time-unit`, and since when {origin}")
        raise SourceError(f"{told} count since 1970 with `--time-unit`, which may be {likely}")
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


def _likely_origin(first: float) -> str | None:
    """How to say since when numbers count that would be seconds of 1970 to 1973, or of 2062 on."""
    if first < _EARLIEST_S:
        return "with `--time-start`, if they count from the beginning of the recording"
    if _IN_1904[0] < first < _IN_1904[1]:
        return "with `--time-start 1904-01-01`, which may be what `s` counts from here"
    return None


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
