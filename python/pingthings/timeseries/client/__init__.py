"""The synchronous client, its streams and its sets of streams, with a file for each class.

Each class wraps its asynchronous twin over the blocking interface of the core. `make fix` generates
the text between the marks `<mirrored>` and `</mirrored>` from the file of the same name in
`async_client`; do not edit it.
"""

from pingthings.timeseries.client.client import Client
from pingthings.timeseries.client.stream import Stream
from pingthings.timeseries.client.streamset import StreamSet
from pingthings.timeseries.event_loop import ClientEventLoop

__all__ = ["Client", "ClientEventLoop", "Stream", "StreamSet"]
