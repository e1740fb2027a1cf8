"""The asynchronous client, its streams and its sets of streams, a file for each class.

This is the implementation. The synchronous classes of `pingthings.timeseries.client` run the same
coroutines over the core's blocking face, which is why nothing here may await anything but the core
and coroutines that await nothing else (docs/design/twins.md).

Times are given as anything that `utils.to_nanoseconds` takes and are nanoseconds since the Unix
epoch, UTC. Every range is half-open: `start` is included, `end` is not.
"""

from pingthings.timeseries.async_client.client import AsyncClient
from pingthings.timeseries.async_client.stream import AsyncStream
from pingthings.timeseries.async_client.streamset import AsyncStreamSet

__all__ = ["AsyncClient", "AsyncStream", "AsyncStreamSet"]
