"""Reads streams as a Ray data set; the Ray workers read the points.

Install it with `pip install "pingthings[ray]"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pingthings.timeseries.extras import extra
from pingthings.timeseries.frames import Names
from pingthings.timeseries.partitions import Partition, _planned, nothing

if TYPE_CHECKING:
    from pingthings.timeseries.client import StreamSet
    from pingthings.timeseries.utils.timez import Instant

__all__ = ["read"]


def read(
    streams: StreamSet,
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    rows: int = 1_000_000,
    partitions: int = 1,
    names: Names = "uuid",
) -> Any:
    """Returns the points of many streams as a Ray data set.

    This call reads only counts. Ray tasks read the points when they are needed. A worker opens its
    own connection, to the same endpoint or with the same profile, and reads its key from
    `BTRDB_API_KEY` or from that profile; no key is sent to it.

    Args:
        streams: Synchronous streams. If they still grow, flush and pin them first.
        start: First instant; None starts at the first point of all streams.
        end: The instant after the last one; None ends after the last point of all streams.
        rows: Approximate maximum number of points of a block.
        partitions: Approximate minimum number of blocks.
        names: How streams are named; see `frames.join`.

    Returns:
        A `ray.data.Dataset` with the columns `stream` (string), `time` (timestamp[ns, UTC])
        and `value`. A block is ordered by stream and time.

    Raises:
        BTRDBTypeError: `streams` are not synchronous streams.
        BTRDBValueError: `rows` or `partitions` is below one, or two streams have the same name.
        InvalidTimeRange: `start` is not before `end`.
        MissingExtraError: ray is not installed.
        StreamNotFoundError: A stream does not exist.
    """
    data = extra("ray.data", "ray")
    parts, labels = _planned(streams, start, end, rows, partitions, names)
    if not parts:
        return data.from_arrow(_plain(nothing(labels)))
    items = [{"part": part} for part in parts]
    tasks = data.from_items(items, override_num_blocks=len(items))
    return tasks.map_batches(_read, batch_size=1, batch_format="numpy")


def _read(batch: dict[str, Any]) -> pa.Table:
    part: Partition = batch["part"][0]
    return _plain(part.read())


def _plain(table: pa.Table) -> pa.Table:
    """The table with names as strings, because Ray cannot sort by a dictionary column."""
    return table.set_column(0, "stream", table["stream"].cast(pa.string()))
