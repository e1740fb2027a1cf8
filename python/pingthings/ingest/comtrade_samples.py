"""Parses the samples of a COMTRADE recording, a `.dat` file in any of its forms.

A missing sample is recorded as a reserved number, which depends on the revision of the standard.
In some revisions a sample may also have that value; then the range of the channel decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pingthings.ingest.comtrade_description import (
    Analog,
    Description,
    RecordingError,
    exactly,
)

__all__ = ["Samples", "read_samples"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_TYPES = {"BINARY": "<i2", "BINARY32": "<i4", "FLOAT32": "<f4"}
_MISSING_STAMP = 0xFFFFFFFF
_ENDS = "\r", "\n"
_MISSING_TEXT = "99999"
_MISSING_INTEGERS = {"BINARY": -0x8000, "BINARY32": -0x80000000}
_LARGEST_SIGNED = 32_767
_LONGEST_NUMBER = 20
_MISSING_FLOAT32 = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Samples:
    """The samples of all channels."""

    numbers: Integers
    """The number of each sample; the first is 1."""
    stamps: list[int | Fraction | None]
    """The time stamp of each sample, or None."""
    analog: list[Floats]
    """The recorded values of each analog channel; NaN where a sample is missing."""
    digital: list[Floats]
    """States, 0 or 1."""


def read_samples(data: bytes, about: Description) -> Samples:
    """Returns the samples of a recording, without a truncated last row.

    Raises:
        RecordingError: A row has too few or too many cells, or a cell that is not a number; there
            is no sample, or their numbers do not ascend.
    """
    found = _of_text(data, about) if about.form == "ASCII" else _of_bytes(data, about)
    if not len(found.numbers):
        raise RecordingError("the data contain no sample")
    if found.numbers[0] == 0:  # some recorders count from zero
        found = Samples(found.numbers + 1, found.stamps, found.analog, found.digital)
    wrong = np.flatnonzero(np.diff(found.numbers) <= 0)
    if len(wrong):
        place = int(wrong[0])
        raise RecordingError(
            f"sample {place + 2} has the number {found.numbers[place + 1]} after "
            f"{found.numbers[place]}; sample numbers must ascend"
        )
    return found


def _of_text(data: bytes, about: Description) -> Samples:
    width = 2 + len(about.analog) + len(about.digital)
    rows: list[list[str]] = []
    text = data.partition(b"\x1a")[0].decode("ascii", "replace")
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) < width and rows and number == len(lines) and not line.endswith(_ENDS):
            break  # the file is truncated
        if len(cells) != width:
            raise RecordingError(
                f"line {number} of the data has {len(cells)} cells, but the description requires "
                f"{width}: a number, a time, {len(about.analog)} analog and {len(about.digital)} "
                "digital channels"
            )
        rows.append(cells)
    columns: list[tuple[str, ...]] = list(zip(*rows, strict=True)) or [()] * width
    middle = 2 + len(about.analog)
    return Samples(
        np.array([_whole(cell, row) for row, cell in enumerate(columns[0], 1)], np.int64),
        [_stamp(cell, row) for row, cell in enumerate(columns[1], 1)],
        [
            _analog(column, _missing_texts(one, about))
            for one, column in zip(about.analog, columns[2:middle], strict=True)
        ],
        [_states(column) for column in columns[middle:]],
    )


def _whole(cell: str, row: int) -> int:
    number = int(cell) if cell.isdecimal() and len(cell) <= _LONGEST_NUMBER else -1
    if not 0 <= number < 1 << 32:
        raise RecordingError(
            f"sample {row} of the data has the number `{cell}`, which is not from 0 to 4294967295"
        )
    return number


def _stamp(cell: str, row: int) -> Fraction | None:
    if not cell:
        return None
    try:
        return exactly(cell)
    except ValueError:
        raise RecordingError(
            f"sample {row} of the data has the time `{cell}`, which is not a number"
        ) from None


def _missing_texts(channel: Analog, about: Description) -> set[str]:
    """Returns the texts that stand for a missing sample; from 2013 on 99999 may be a value."""
    is_value = about.revision >= 2013 and channel.largest >= int(_MISSING_TEXT)  # noqa: PLR2004
    return {""} if is_value else {"", _MISSING_TEXT}


def _analog(cells: tuple[str, ...], missing: set[str]) -> Floats:
    kept = ["nan" if cell in missing else cell for cell in cells]
    try:
        if any("_" in cell for cell in kept):  # Python accepts underscores in numbers
            raise ValueError("_")  # noqa: TRY301
        return np.array(kept, np.float64)
    except ValueError:
        for row, cell in enumerate(kept, 1):
            try:
                float(cell.replace("_", "?"))
            except ValueError:
                raise RecordingError(
                    f"sample {row} of the data contains `{cell}`, which is not a number"
                ) from None
        raise


def _states(cells: tuple[str, ...]) -> Floats:
    for row, cell in enumerate(cells, 1):
        if cell not in {"0", "1"}:
            raise RecordingError(
                f"sample {row} of the data contains the state `{cell}`; states are 0 and 1"
            )
    return np.array(cells, np.float64)


def _of_bytes(data: bytes, about: Description) -> Samples:
    rows = _rows(data, about)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a missing sample, too
        analog = [_numbers(rows["analog"][:, k], one, about) for k, one in enumerate(about.analog)]
    stamps = [None if stamp == _MISSING_STAMP else stamp for stamp in rows["stamp"].tolist()]
    states = [
        ((rows["words"][:, place // 16] >> (place % 16)) & 1).astype(np.float64)
        for place in range(len(about.digital))
    ]
    return Samples(rows["number"].astype(np.int64), stamps, analog, states)


def _rows(data: bytes, about: Description) -> npt.NDArray[Any]:
    """Returns the samples as an array of records."""
    rows = np.frombuffer(data, row := _layout(about), len(data) // row.itemsize)
    if np.all(np.diff(rows["number"].astype(np.int64)) > 0) or not about.declared:
        return rows
    each, rest = divmod(len(data), about.declared)
    if rest or each == row.itemsize:
        return rows
    if not about.digital and each == row.itemsize + 2:  # a word of states without names
        spare = np.frombuffer(data, _layout(about, words=1), about.declared)
        if np.all(np.diff(spare["number"].astype(np.int64)) == 1):
            return spare
    raise RecordingError(
        f"the data have {each} bytes for each of the {about.declared} declared samples, but the "
        f"channels of the description need {row.itemsize}"
    )


def _layout(about: Description, words: int | None = None) -> np.dtype[Any]:
    fields: list[Any] = [
        ("number", "<u4"),
        ("stamp", "<u4"),
        ("analog", _TYPES[about.form], (len(about.analog),)),
        ("words", "<u2", (-(-len(about.digital) // 16) if words is None else words,)),
    ]
    return np.dtype(fields)


def _numbers(recorded: npt.NDArray[Any], channel: Analog, about: Description) -> Floats:
    """Returns the samples of a channel; NaN where one is missing."""
    if about.form == "FLOAT32":
        missing = recorded == _MISSING_FLOAT32
    elif about.form == "BINARY" and about.revision == 1991:  # noqa: PLR2004 - the revision
        # All bits are set, which is also -1; it is a value if the range of the channel has it.
        missing = recorded == -1 if not channel.smallest <= -1 else np.zeros(len(recorded), bool)
    else:
        missing = recorded == _MISSING_INTEGERS[about.form]
    is_unsigned = channel.smallest >= 0 and channel.largest > _LARGEST_SIGNED
    if about.form == "BINARY" and is_unsigned:
        recorded = recorded.view("<u2")
    values = recorded.astype(np.float64)
    values[missing | ~np.isfinite(values)] = np.nan
    return values
