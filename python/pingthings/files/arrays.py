"""What columns have in common: one array each, masks, cells as shown, casts cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "Bad",
    "are_finite",
    "cast_each",
    "flags",
    "is_number",
    "is_text",
    "looks_like",
    "one_chunk",
    "places",
    "shown",
]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

Bad = dict[int, str]
"""Why cells are no good, by their place in the block."""

_SHOWN = 60
_SAMPLE_ROWS = 1_000


def is_text(kind: Any) -> bool:
    """Whether a type is one of texts, or of bytes, which may be texts."""
    types = arrow.types
    return any(
        is_one(kind)
        for is_one in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
            types.is_binary_view,
            types.is_fixed_size_binary,
        )
    )


def is_number(kind: Any) -> bool:
    """Whether a type is one of numbers."""
    types = arrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def one_chunk(column: Any) -> Any:
    """Returns a column as one array, without the ways that types have to be stored."""
    array = column
    if isinstance(column, arrow.ChunkedArray):
        # Combining one chunk would copy it.
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, arrow.ChunkedArray):  # without rows it stays one
        array = arrow.array([], column.type)
    if isinstance(array.type, arrow.BaseExtensionType):
        array = array.storage
    if arrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if arrow.types.is_run_end_encoded(array.type):
        array = compute.run_end_decode(array)
    if is_text(array.type) and not arrow.types.is_string(array.type):
        array = _as_strings(array)
    return array


def _as_strings(array: Any) -> Any:
    if arrow.types.is_fixed_size_binary(array.type):
        array = array.cast(arrow.binary())
    try:
        return array.cast(arrow.string())
    except arrow.ArrowInvalid:  # bytes that are no text
        texts = [None if v is None else bytes(v).decode("latin-1") for v in array.to_pylist()]
        return arrow.array(texts, arrow.string())


def flags(mask: Any) -> npt.NDArray[np.bool_]:
    """Returns a mask of Arrow as one of numpy; null is false."""
    filled = compute.fill_null(mask, fill_value=False)
    found: npt.NDArray[np.bool_] = filled.to_numpy(zero_copy_only=False)
    return found


def are_finite(array: Any) -> bool:
    """Whether floats hold no NaN and no infinity, for which one pass is enough; nulls may be."""
    total = compute.sum(array).as_py()
    return total is None or math.isfinite(total)


def places(mask: Any) -> list[int]:
    """Returns where a mask is true."""
    if not compute.any(mask).as_py():
        return []
    found: list[int] = np.flatnonzero(flags(mask)).tolist()
    return found


def shown(array: Any, place: int) -> str:
    """Returns a cell as text that fits a message."""
    try:
        text = str(array[place].as_py())
    except (UnicodeDecodeError, ValueError, OverflowError):
        text = _beyond_python(array, place)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _beyond_python(array: Any, place: int) -> str:
    try:
        return str(array.slice(place, 1).cast(arrow.string())[0].as_py())
    except (arrow.ArrowException, UnicodeDecodeError):
        return "unreadable text"


def cast_each(array: Any, kind: Any) -> tuple[Any, list[int]]:
    """Returns the cells that can be cast, null for the others, and the places of these.

    Arrow converts a column in one go or refuses it without saying where. Where it refuses, the
    column is halved until the cells that are wrong stand alone.
    """
    wrong: list[int] = []
    parts: list[Any] = []

    def cast(first: int, count: int) -> None:
        try:
            parts.append(array.slice(first, count).cast(kind))
        except (arrow.ArrowInvalid, ValueError):
            if count == 1:
                parts.append(arrow.nulls(1, kind))
                wrong.append(first)
            else:
                cast(first, count // 2)
                cast(first + count // 2, count - count // 2)

    cast(0, len(array))
    return arrow.concat_arrays(parts), wrong


def looks_like(convert: Callable[[Any], tuple[Any, Bad]], array: Any) -> bool:
    """Whether more than half of the cells that hold something can be converted."""
    held = array.drop_null().slice(0, _SAMPLE_ROWS)
    return len(held) > 0 and len(convert(held)[1]) * 2 < len(held)
