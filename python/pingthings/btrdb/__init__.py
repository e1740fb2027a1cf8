"""The names of `btrdb` 5.34.2, the older client, over this one.

Programs written for it run with `import pingthings.btrdb as btrdb`, or unchanged after
`install_as_btrdb`. `differences` lists where results are not the same, and why.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any
from warnings import warn

from pingthings.btrdb.conn import BTrDB, Connection
from pingthings.btrdb.difference import Difference, differences
from pingthings.btrdb.endpoint import Endpoint
from pingthings.btrdb.exceptions import ConnectionError  # noqa: A004 - documented name
from pingthings.btrdb.stream import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.btrdb.utils import buffer as _buffer
from pingthings.btrdb.utils import general as _general
from pingthings.btrdb.utils.credentials import credentials, credentials_by_profile
from pingthings.btrdb.utils.ray import register_serializer
from pingthings.btrdb.version import get_version
from pingthings.timeseries.exceptions import BTRDBValueError, InvalidOperation

__all__ = [
    "BTRDB_API_KEY",
    "BTRDB_ENDPOINTS",
    "BTRDB_PROFILE",
    "MAXIMUM_TIME",
    "MINIMUM_TIME",
    "BTrDB",
    "Connection",
    "ConnectionError",
    "Difference",
    "Endpoint",
    "connect",
    "credentials",
    "credentials_by_profile",
    "differences",
    "get_version",
    "install_as_btrdb",
    "register_serializer",
]

__version__ = get_version()

_REACHED_BY_NAME = (_buffer, _general)  # as `btrdb.utils.general.pointwidth`, after one import

BTRDB_ENDPOINTS = "BTRDB_ENDPOINTS"
BTRDB_API_KEY = "BTRDB_API_KEY"
BTRDB_PROFILE = "BTRDB_PROFILE"

_MODULES = (
    *("conn", "endpoint", "exceptions", "point", "stream", "transformers", "utils", "version"),
    *("utils.buffer", "utils.conversion", "utils.credentials", "utils.general", "utils.ray"),
    "utils.timez",
)


def connect(
    conn_str: str | None = None,
    apikey: str | None = None,
    profile: str | None = None,
    shareable: bool = False,
) -> BTrDB:
    """Returns a connection to a server.

    Args:
        conn_str: Host and port, as in `grid.example.com:4411`; `BTRDB_ENDPOINTS` of the
            environment, or else the default profile, if left out.
        apikey: The key; `BTRDB_API_KEY` of the environment if left out.
        profile: A profile of `~/.predictivegrid/credentials.yaml`, not together with `conn_str`.
        shareable: Whether the key travels with what is pickled, where others may read it.

    Raises:
        AuthenticationError: The server does not accept the key; this is a `ConnectionError`.
        ConnectionError: The server cannot be reached, or nothing says where it is.
        BTRDBValueError: Both an address and a profile are given.
    """
    if conn_str and profile:
        raise BTRDBValueError("Received both conn_str and profile arguments; give one of them")
    if shareable:
        warn(
            "a shareable connection is potentially insecure: its key is in whatever is pickled",
            stacklevel=2,
        )
    found = credentials_by_profile(profile) if profile else credentials(conn_str, apikey)
    if "endpoints" not in found:
        raise ConnectionError(
            "Could not determine credentials to use. Give `conn_str` or `profile`, or set "
            f"{BTRDB_ENDPOINTS}"
        )
    if shareable:
        found["shareable"] = True
    return _connect(**found)


def _connect(endpoints: str, apikey: str | None = None, **options: Any) -> BTrDB:
    return BTrDB(Endpoint(Connection(endpoints, apikey=apikey, **options).channel))


def install_as_btrdb() -> None:
    """Makes `import btrdb` mean this package, for programs that shall stay as they are.

    Call it before anything imports `btrdb`.

    Raises:
        InvalidOperation: The older client was imported before.
    """
    ours = sys.modules[__name__]
    if sys.modules.setdefault("btrdb", ours) is not ours:
        raise InvalidOperation(
            "`btrdb` is imported already; call `install_as_btrdb` before anything imports it"
        )
    for name in _MODULES:
        sys.modules[f"btrdb.{name}"] = import_module(f"{__name__}.{name}")
