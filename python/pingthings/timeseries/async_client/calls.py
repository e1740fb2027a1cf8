"""Calls that streams and sets of streams have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pingthings.timeseries import pyo3_client, tracing
from pingthings.timeseries.arguments import as_time
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.progress import Progress, of_insert

if TYPE_CHECKING:
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["counts", "insert"]


async def insert(
    core: pyo3_client.Client,
    tables: list[tuple[UUID, Any]],
    merge: str,
    progress: Progress | None,
) -> list[int]:
    """Stores the points of each stream and returns the version of its last commit."""
    tracing.note("pingthings.inserted_rows", lambda: sum(len(table) for _, table in tables))
    if progress is None or progress is False:
        return await core.insert(tables, merge)
    total = sum(len(table) for _, table in tables)
    return await of_insert(core.insert_steps(tables, merge), total, progress)


async def counts(
    core: pyo3_client.Client,
    at: list[tuple[UUID, int]],
    start: Instant | None,
    end: Instant | None,
) -> list[int]:
    """Returns the number of points of each stream.

    One window over the complete range counts exactly and is as cheap as a lookup.
    """
    first = MINIMUM_TIME if start is None else as_time(start, "start")
    last = MAXIMUM_TIME if end is None else as_time(end, "end")
    width = max(last - first, 1)
    tables = await core.precise_windows(at, first, last, width, None)
    return [0 if not table.num_rows else int(table["count"][0].as_py()) for table in tables]
