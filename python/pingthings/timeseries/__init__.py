"""Clients, streams and sets of streams."""

from pingthings.timeseries import constants, exceptions, frames, utils
from pingthings.timeseries.async_client import AsyncClient, AsyncStream, AsyncStreamSet
from pingthings.timeseries.client import Client, Stream, StreamSet
from pingthings.timeseries.connect import connect
from pingthings.timeseries.event_loop import ClientEventLoop
from pingthings.timeseries.points import RawPoint, StatPoint
from pingthings.timeseries.pyo3_client import __version__

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "AsyncStreamSet",
    "Client",
    "ClientEventLoop",
    "RawPoint",
    "StatPoint",
    "Stream",
    "StreamSet",
    "__version__",
    "connect",
    "constants",
    "exceptions",
    "frames",
    "utils",
]
