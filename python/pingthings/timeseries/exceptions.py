"""All exceptions of this package.

They form one tree with the root `BTrDBError`. A class for status codes of the server names them in
its class statement, and `from_code` converts a code to an instance. A code without a class becomes
a plain `BTrDBError` with that code.

If the standard library has a class for the same error (`ValueError`, `TypeError`, `LookupError`,
`TimeoutError`, `ConnectionError`, `FileNotFoundError`), ours also derives from it, so that an
ordinary `except` clause works.
"""

# ruff: noqa: N818 - the names without `Error` are documented ones

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from uuid import UUID

__all__ = [
    "AmbiguousStream",
    "AuthenticationError",
    "BTRDBServerError",
    "BTRDBTypeError",
    "BTRDBValueError",
    "BTrDBError",
    "BadSQLValue",
    "BadValue",
    "ClientClosedError",
    "ConcurrentModification",
    "ConnectionError",
    "CredentialsFileInvalid",
    "CredentialsFileNotFound",
    "DeadlineExceededError",
    "InsecureTransportWarning",
    "InvalidCollection",
    "InvalidOperation",
    "InvalidPointWidth",
    "InvalidTagKey",
    "InvalidTagValue",
    "InvalidTimeRange",
    "InvalidUUIDError",
    "MemoryLimitExceeded",
    "MissingExtraError",
    "NoSuchPoint",
    "NotSupportedError",
    "ObjectExists",
    "ObjectNotFound",
    "PermissionDenied",
    "ProfileNotFound",
    "RecycledUUID",
    "ServerBusyError",
    "StreamExists",
    "StreamNotFoundError",
    "StreamNotInSetError",
    "VersionNotAvailable",
    "from_code",
]


class BTrDBError(Exception):
    """The root of the tree, and the class of status codes without their own class.

    Attributes:
        code: The status code of the server, or None if the server did not refuse the call.
        uuid: The stream that failed, if it is a single one.
        in_doubt: Whether a write may have been stored although it failed. Repeating it is safe only
            under a merge policy that drops equal points.
        time_range: First and last time, in nanoseconds, of the points of a failed insert.
        last_version: The newest known version of the stream of a failed insert.
    """

    codes: ClassVar[tuple[int, ...]] = ()
    """The status codes of this class, without those of its subclasses."""

    code: int | None = None
    uuid: UUID | None = None
    in_doubt: bool = False
    time_range: tuple[int, int] | None = None
    last_version: int | None = None

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    def __init_subclass__(cls, *, codes: tuple[int, ...] = ()) -> None:
        """Registers the class for the codes in its class statement."""
        super().__init_subclass__()
        cls.codes = codes
        for code in codes:
            if code in _CLASS_OF_CODE:
                msg = f"code {code} belongs to `{_CLASS_OF_CODE[code].__name__}` already"
                raise TypeError(msg)
            _CLASS_OF_CODE[code] = cls

    def __str__(self) -> str:
        """The message, also in classes whose second base class would print something else."""
        return str(self.args[0]) if self.args else ""


_CLASS_OF_CODE: dict[int, type[BTrDBError]] = {}


def from_code(code: int, message: str) -> BTrDBError:
    """Returns the exception for a status code.

    Args:
        code: The status code. A code without a class gives a `BTrDBError`.
        message: The message of the server.

    Examples:
        >>> from_code(404, "stream `…` does not exist")
        StreamNotFoundError('stream `…` does not exist')
    """
    return _CLASS_OF_CODE.get(code, BTrDBError)(message, code)


class ConnectionError(BTrDBError, builtins.ConnectionError):  # noqa: A001 - documented name
    """The server cannot be reached, or no endpoint is configured."""


class AuthenticationError(ConnectionError):
    """The server does not accept the API key."""


class DeadlineExceededError(BTrDBError, TimeoutError):
    """A call exceeded its time limit before the answer was complete."""


class CredentialsFileNotFound(BTrDBError, FileNotFoundError):
    """A profile was requested and there is no credentials file."""


class ProfileNotFound(BTrDBError):
    """The credentials file has no profile with this name."""


class StreamNotFoundError(BTrDBError, codes=(404,)):
    """The server has no stream with this uuid; it never existed or was obliterated."""


class ObjectNotFound(BTrDBError, LookupError, codes=(439, 445)):
    """A device, a unit or another object of the catalog does not exist."""


class BTRDBServerError(
    BTrDBError,
    codes=(
        *(402, 403, 405, 414, 419, 421, 424, 427, 428),
        *(431, 432, 433, 434, 435, 438, 440, 448),
        *(452, 453, 454, 455, 456, 457, 458, 459, 500, 502),
    ),
):
    """The server failed, refused the call, or sent an invalid answer."""


class ServerBusyError(BTRDBServerError, codes=(426,)):
    """The server is still overloaded after retries; the call may succeed later."""


class ConcurrentModification(BTRDBServerError, codes=(423, 430)):
    """The object was changed since it was read; read it again and repeat the change."""


class NotSupportedError(BTRDBServerError, codes=(501,)):
    """The server does not support the call."""


class BTRDBTypeError(BTrDBError, TypeError):
    """An argument has a type that the call does not accept."""


class InvalidOperation(BTrDBError, codes=(446, 447)):
    """The call is not allowed in the current state of the object."""


class ClientClosedError(InvalidOperation):
    """The client was closed before the call, or while it ran."""


class ObjectExists(InvalidOperation, codes=(436, 442)):
    """A device, a unit or another object with this name already exists."""


class StreamExists(InvalidOperation, codes=(406, 417)):
    """A stream with this uuid already exists."""


class AmbiguousStream(InvalidOperation, codes=(418,)):
    """Another stream has the same collection and tags."""


class PermissionDenied(InvalidOperation, codes=(437,)):
    """The API key is valid, but its role does not allow the call."""


class BTRDBValueError(BTrDBError, ValueError, codes=(411, 412, 422, 443, 444, 449)):
    """An argument has a value that the call does not accept."""


class CredentialsFileInvalid(BTRDBValueError):
    """The credentials file cannot be read, is not YAML, or has invalid content."""


class StreamNotInSetError(BTRDBValueError, KeyError):
    """The stream set has no stream with this uuid."""


class InvalidUUIDError(BTRDBTypeError, BTRDBValueError):
    """The value is not a uuid; also a `TypeError` and a `ValueError`."""


class InvalidCollection(BTRDBValueError, codes=(407,)):
    """The collection is unknown or its name is invalid."""


class InvalidTagKey(BTRDBValueError, codes=(408,)):
    """A tag has a key other than `name`, `unit`, `ingress` and `distiller`."""


class InvalidTagValue(BTRDBValueError, codes=(409,)):
    """A tag has an invalid value."""


class InvalidTimeRange(BTRDBValueError, codes=(413,)):
    """A time is outside the range of a stream, or a start is not before its end."""


class InvalidPointWidth(BTRDBValueError, codes=(415,)):
    """A point width, resolution or window width is out of bounds."""


class BadValue(BTRDBValueError, codes=(425,)):
    """A value to insert is null, NaN or infinite."""


class RecycledUUID(BTRDBValueError, codes=(429,)):
    """The uuid belonged to a stream that was obliterated, and cannot be used again."""


class BadSQLValue(BTRDBValueError, codes=(441,)):
    """The SQL statement or the value of a parameter is invalid, or exceeds a limit."""


class VersionNotAvailable(BTRDBValueError, codes=(450,)):
    """The version is in the future or was removed."""


class NoSuchPoint(BTRDBValueError, codes=(401,)):
    """There is no point in the requested direction; the client returns None instead."""


class MissingExtraError(BTrDBError, ImportError):
    """The call needs a package that is not installed; the message names the extra to install."""


class MemoryLimitExceeded(BTrDBError):
    """A single answer exceeds the client's `memory_limit`; raise the limit, or read in parts."""


class InsecureTransportWarning(UserWarning):
    """An API key is being sent to another machine without encryption."""
