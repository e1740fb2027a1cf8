"""Streams as a data set of ray, whose workers read them.

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
    """Returns the points of many streams as a data set of ray.

    The counts are read here, the points by tasks of ray when they are needed. A worker connects for
    itself, to the same endpoint or with the same profile, and finds its key in `BTRDB_API_KEY` or
    in that profile; no key travels.

    Args:
        streams: Synchronous streams. Pin them, after a `flush`, if they still grow.
        start: First instant; None begins at the first point of any stream.
        end: The instant after the last one; None ends after the last point of any.
        rows: How many points a block has at most, about.
        partitions: How many blocks to make at least, about.
        names: What the streams are called; see `frames.join`.

    Returns:
        A `ray.data.Dataset` of the columns `stream` (string), `time` (timestamp[ns, UTC])
        and `value`. In a block it is ordered by stream and time.

    Raises:
        BTRDBTypeError: They are no synchronous streams.
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
    """The table with names as texts, since ray does not sort by a dictionary."""
    return table.set_column(0, "stream", table["stream"].cast(pa.string()))
