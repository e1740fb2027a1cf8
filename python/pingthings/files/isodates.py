"""What ISO 8601 allows and few write: days by week or by their number in a year, and 24:00."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pingthings.files.arrays import Bad, flags, places

__all__ = ["with_plain_dates"]

arrow: Any = pa  # its stubs lag behind it
compute: Any = pc

_COUNTED = r"^(?P<day>\d{4}-(?:\d{3}|W\d{2}-\d))(?P<rest>(?:[ T].*)?)$"
_DAY = re.compile(r"(\d{4})-(?:(\d{3})|W(\d{2})-(\d))")
_LAST = (
    r"^(\d{4}-\d{1,2}-\d{1,2}[ T])24((?::00(?::00(?:[.,]0+)?)?)?\s*"
    r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)?)$"
)


def with_plain_dates(texts: Any, bad: Bad) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Returns times with days of months, and where 00:00 stands for 24:00: that is a day later.

    Args:
        texts: Times of ISO 8601.
        bad: Takes the places of days that do not exist.
    """
    counted = compute.extract_regex(texts, _COUNTED)
    if counted.null_count < len(texts):
        texts = _with_months(texts, counted, bad)
    is_last = compute.match_substring_regex(texts, _LAST)
    if compute.any(is_last).as_py():
        texts = compute.replace_substring_regex(texts, _LAST, r"\100\2")
    return texts, flags(is_last)


def _with_months(texts: Any, counted: Any, bad: Bad) -> Any:
    days = compute.struct_field(counted, "day").dictionary_encode()
    known = days.dictionary.to_pylist()
    found = [_day(text) for text in known]
    written = arrow.array(found, arrow.string()).take(days.indices)
    whole = compute.binary_join_element_wise(written, compute.struct_field(counted, "rest"), "")
    for place in places(compute.and_(compute.is_valid(counted), compute.is_null(whole))):
        bad[place] = f"time `{texts[place]}` does not exist"
    return compute.if_else(compute.is_valid(whole), whole, texts)


def _day(text: str) -> str | None:
    match = _DAY.fullmatch(text)
    try:
        if match is None:
            return None
        year = int(match[1])
        if match[2] is None:
            return date.fromisocalendar(year, int(match[3]), int(match[4])).isoformat()
        found = date(year, 1, 1) + timedelta(int(match[2]) - 1)
    except (ValueError, OverflowError):
        return None
    return found.isoformat() if found.year == year else None
