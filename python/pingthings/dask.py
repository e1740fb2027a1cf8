"""Streams as a frame of dask, whose workers read them.

Install it with `pip install "pingthings[dask]"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pingthings.timeseries.extras import extra
from pingthings.timeseries.frames import Names
from pingthings.timeseries.partitions import Partition, _planned, nothing

if TYPE_CHECKING:
    from pandas import DataFrame

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
    """Returns the points of many streams as a frame of dask.

    The counts are read here, the points by whoever computes: threads, processes or machines. A
    worker in another process connects for itself, to the same endpoint or with the same profile,
    and finds its key in `BTRDB_API_KEY` or in that profile; no key travels.

    Args:
        streams: Synchronous streams. Pin them, after a `flush`, if they still grow.
        start: First instant; None begins at the first point of any stream.
        end: The instant after the last one; None ends after the last point of any.
        rows: How many points a partition has at most, about.
        partitions: How many partitions to make at least, about.
        names: What the streams are called; see `frames.join`.

    Returns:
        A `dask.dataframe.DataFrame` of the columns `stream` (a category whose values are known),
        `time` (`datetime64[ns, UTC]`) and `value`. In a partition it is ordered by stream and time.

    Raises:
        BTRDBTypeError: They are no synchronous streams.
        BTRDBValueError: `rows` or `partitions` is below one, or two streams have the same name.
        InvalidTimeRange: `start` is not before `end`.
        MissingExtraError: dask or pandas is not installed.
        StreamNotFoundError: A stream does not exist.

    Examples:
        >>> frame = read(streams, names="name")
        >>> frame.groupby("stream", observed=True)["value"].mean().compute().to_dict()
        {'L1MAG': 5.5, 'L2MAG': 5.5}
    """
    frames = extra("dask.dataframe", "dask")
    extra("pandas", "dask")
    parts, labels = _planned(streams, start, end, rows, partitions, names)
    meta = _frame(nothing(labels))
    if not parts:
        return frames.from_pandas(meta, npartitions=1)
    return frames.from_map(_read, parts, meta=meta)


def _read(part: Partition) -> DataFrame:
    return _frame(part.read())


def _frame(table: Any) -> DataFrame:
    frame: DataFrame = table.to_pandas()
    return frame
