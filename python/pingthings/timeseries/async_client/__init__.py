"""The asynchronous client, its streams and its sets of streams, with a file for each class.

This is the implementation. The synchronous classes of `pingthings.timeseries.client` run the same
coroutines over the blocking interface of the core, so code here may await only the core and
coroutines that await nothing else (docs/design/twins.md).

Time arguments may have any type that `utils.to_nanoseconds` accepts; times are nanoseconds since
the Unix epoch, UTC. Every range is half-open: it includes `start` and excludes `end`.
"""

from pingthings.timeseries.async_client.client import AsyncClient
from pingthings.timeseries.async_client.stream import AsyncStream
from pingthings.timeseries.async_client.streamset import AsyncStreamSet

__all__ = ["AsyncClient", "AsyncStream", "AsyncStreamSet"]
