"""Rows of a block, and the points of each stream in them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pingthings.cli.targets import Target
from pingthings.files.arrays import flags

__all__ = ["Points", "Rows"]

arrow: Any = pa  # its stubs lag behind it

Instants = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Points:
    """What goes into one stream."""

    def __init__(self, target: Target, rows: Rows, values: Any, places: Flags | None) -> None:
        """Takes all rows, or those of some places."""
        self.target = target
        self.values = values
        self.times = rows.times if places is None else rows.times[places]
        self.lines = rows.lines if places is None else rows.lines[places]
        self._rows = rows

    @cached_property
    def is_rising(self) -> bool:
        """Whether each time is later than the one before."""
        return self._rows.is_rising or _is_rising(self.times)

    @property
    def ends(self) -> tuple[int, int]:
        """The earliest and the latest time."""
        if self.is_rising:
            return int(self.times[0]), int(self.times[-1])
        return int(self.times.min()), int(self.times.max())


class Rows:
    """Good rows, which are looked at once for all streams that they go into."""

    def __init__(self, times: Instants, lines: Instants, good: Flags) -> None:
        """Takes the rows of a block that are good."""
        self._good = None if good.all() else good
        self.times = times if self._good is None else times[good]
        self.lines = lines if self._good is None else lines[good]

    @cached_property
    def is_rising(self) -> bool:
        """Whether each time is later than the one before; so are those of some rows, then."""
        return _is_rising(self.times)

    def points(self, target: Target, column: Any) -> Points:
        """Returns the values of a column that goes into a stream, where it has any."""
        if self._good is not None:
            column = column.filter(arrow.array(self._good))
        if not column.null_count:
            return Points(target, self, column, None)
        return Points(target, self, column.drop_null(), flags(column.is_valid()))


def _is_rising(times: Instants) -> bool:
    return bool((times[1:] > times[:-1]).all())
