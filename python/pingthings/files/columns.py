"""Which columns of a file become streams."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import is_number, is_text, one_chunk, places, shown
from pingthings.files.numbers import NO_NUMBER, TOO_LARGE, Notation, numbers
from pingthings.files.source import Source, SourceError
from pingthings.timeseries.arguments import unfit

__all__ = ["Value", "are_numbers", "choose_values", "folded", "listed", "unfit", "unfit_names"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_MANY = 20
_JUDGED = 1_000
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
    return found, [*notes, *_alike([value.name for value in found])]


def folded(name: str) -> str:
    """Returns what names have in common that people take for one."""
    return unicodedata.normalize("NFKC", name).casefold()


def _alike(names: Sequence[str]) -> list[str]:
    """What to say of names that differ less than they seem to."""
    first: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        other = first.setdefault(folded(name), name)
        if other != name:
            told = f"columns `{other}` and `{name}` differ only in case, or in how letters are"
            notes.append(f"{told} composed: they go into two streams")
    return notes


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
    raise SourceError(f"`{source.path}` has no column `{column}`; it has {listed(source)}")


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


def listed(source: Source) -> str:
    """Returns the columns of a file in words."""
    shown_names = source.columns[:_MANY]
    more = f" and {len(source.columns) - _MANY} more" if len(source.columns) > _MANY else ""
    return ", ".join(f"`{name}`" for name in shown_names) + more


def unfit_names(names: Any, column: str, suffix: str = "") -> dict[int, str]:
    """Returns the rows of a dictionary-encoded column whose name no stream can have, with why.

    `suffix` is what the name of a stream adds to the cell.
    """
    reasons: dict[int, str] = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        why = unfit((name or "") + suffix)
        if why is not None:
            cell = shown(names.dictionary, code)
            reason = f"`{cell}` in column `{column}` cannot name a stream: it {why}"
            reasons |= dict.fromkeys(places(compute.equal(names.indices, code)), reason)
    return reasons
