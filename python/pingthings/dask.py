"""Reads streams as a Dask frame; the Dask workers read the points.

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
    """Returns the points of many streams as a Dask frame.

    This call reads only counts. The workers (threads, processes or machines) read the points when
    something is computed. A worker in another process opens its own connection, to the same
    endpoint or with the same profile, and reads its key from `BTRDB_API_KEY` or from that profile;
    no key is sent to it.

    Args:
        streams: Synchronous streams. If they still grow, flush and pin them first.
        start: First instant; None starts at the first point of all streams.
        end: The instant after the last one; None ends after the last point of all streams.
        rows: Approximate maximum number of points of a partition.
        partitions: Approximate minimum number of partitions.
        names: How streams are named; see `frames.join`.

    Returns:
        A `dask.dataframe.DataFrame` with the columns `stream` (a categorical with known values),
        `time` (`datetime64[ns, UTC]`) and `value`. A partition is ordered by stream and time.

    Raises:
        BTRDBTypeError: `streams` are not synchronous streams.
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
