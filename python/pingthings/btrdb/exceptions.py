"""The errors of the older client, which are those of `pingthings.timeseries.exceptions`.

So an `except` clause of either catches both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pingthings.timeseries.exceptions import (
    AmbiguousStream,
    AuthenticationError,
    BadSQLValue,
    BadValue,
    BTrDBError,
    BTRDBServerError,
    BTRDBTypeError,
    BTRDBValueError,
    ConcurrentModification,
    ConnectionError,  # noqa: A004 - documented name
    CredentialsFileNotFound,
    DeadlineExceededError,
    InvalidCollection,
    InvalidOperation,
    InvalidPointWidth,
    InvalidTagKey,
    InvalidTagValue,
    InvalidTimeRange,
    NoSuchPoint,
    NotSupportedError,
    PermissionDenied,
    ProfileNotFound,
    RecycledUUID,
    StreamExists,
    StreamNotFoundError,
    VersionNotAvailable,
    from_code,
)

__all__ = [
    "BTRDB_ERRORS",
    "BTRDB_SERVER_ERRORS",
    "INITIAL_RETRY_DELAY",
    "MAX_RETRIES",
    "RETRY_BACKOFF_FACTOR",
    "AmbiguousStream",
    "BTRDBServerError",
    "BTRDBTypeError",
    "BTRDBValueError",
    "BTrDBError",
    "BadSQLValue",
    "BadValue",
    "ConnectionError",
    "CredentialsFileNotFound",
    "InvalidCollection",
    "InvalidOperation",
    "InvalidPointWidth",
    "InvalidTagKey",
    "InvalidTagValue",
    "InvalidTimeRange",
    "NoSuchPoint",
    "PermissionDenied",
    "ProfileNotFound",
    "RecycledUUID",
    "StreamExists",
    "StreamNotFoundError",
    "VersionNotAvailable",
    "check_proto_stat",
    "retry",
]

MAX_RETRIES = 5
"""How often a call with `auto_retry=True` is made at most, unless `retries` says otherwise."""
INITIAL_RETRY_DELAY = 3
"""Seconds before the second time, unless `retry_delay` says otherwise."""
RETRY_BACKOFF_FACTOR = 4
"""By how much each wait is longer than the one before, unless `retry_backoff` says otherwise."""

_NAMED: tuple[type[BTrDBError], ...] = (
    *(NoSuchPoint, StreamNotFoundError, InvalidCollection, InvalidTagKey, InvalidTagValue),
    *(InvalidTimeRange, InvalidPointWidth, StreamExists, AmbiguousStream, BadValue),
    *(RecycledUUID, BadSQLValue, VersionNotAvailable),
)
_SERVERS: list[type[BTrDBError]] = [BTRDBServerError, *BTRDBServerError.__subclasses__()]
BTRDB_ERRORS: dict[int, type[BTrDBError]] = {
    code: error for error in _NAMED for code in error.codes
}
"""The classes of the status codes that have one of their own."""
BTRDB_SERVER_ERRORS: list[int] = sorted(code for error in _SERVERS for code in error.codes)
"""The status codes that are a `BTRDBServerError`."""

_logger = logging.getLogger("pingthings")

P = ParamSpec("P")
T = TypeVar("T")


def retry(fn: Callable[P, T]) -> Callable[P, T]:
    """Makes a function that is called with `auto_retry=True` try again after some errors.

    Those are the errors that may pass: the server cannot be reached, is overloaded, or failed.
    Every call is tried again for some seconds without this, where that does no harm.
    """

    @wraps(fn)
    def retrying(*args: P.args, **kwargs: P.kwargs) -> T:
        if not kwargs.get("auto_retry"):
            return fn(*args, **kwargs)
        options: dict[str, Any] = dict(kwargs)
        left = int(options.get("retries") or MAX_RETRIES)
        delay = float(options.get("retry_delay") or INITIAL_RETRY_DELAY)
        backoff = float(options.get("retry_backoff") or RETRY_BACKOFF_FACTOR)
        while True:
            left -= 1
            try:
                return fn(*args, **kwargs)
            except BTrDBError as error:
                if left <= 0 or not _may_pass(error):
                    raise
                _logger.info("%s; trying again in %s s, %s times more", error, delay, left)
            time.sleep(delay)
            delay *= backoff

    return retrying


def _may_pass(error: BTrDBError) -> bool:
    lasting = (AuthenticationError, NotSupportedError, ConcurrentModification)
    passing = (ConnectionError, DeadlineExceededError, BTRDBServerError)
    return isinstance(error, passing) and not isinstance(error, lasting)


def check_proto_stat(stat: Any) -> None:
    """Raises the error of a status, which is anything with a `code` and a `msg`.

    Raises:
        BTrDBError: The code is not 0.
    """
    if stat.code != 0:
        raise from_code(stat.code, stat.msg)
