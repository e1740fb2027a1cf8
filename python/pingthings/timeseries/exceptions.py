"""Everything this package raises.

There is one tree, rooted at `BTrDBError`. A class that answers a status code of the server names
the code in its class statement, so code, class and explanation stand in one place; `from_code`
turns a code into an instance. A code without a class becomes a plain `BTrDBError` that carries it.

Where the standard library has a class for the same thing (`ValueError`, `TypeError`, `LookupError`,
`TimeoutError`, `ConnectionError`, `FileNotFoundError`), ours derives from that one too, so that an
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
    """The root of the tree, and what a code without a class of its own becomes.

    Attributes:
        code: The status code of the server, or None where the server did not refuse.
        uuid: The stream that failed, where one stream can be named.
        in_doubt: Whether a write may have been stored although it failed. Repeating it is safe only
            under a merge policy that drops equal points.
        time_range: First and last time, in nanoseconds, of the points of a failed insert.
        last_version: The newest version known of the stream of a failed insert.
    """

    codes: ClassVar[tuple[int, ...]] = ()
    """The status codes this class answers, not counting those of its subclasses."""

    code: int | None = None
    uuid: UUID | None = None
    in_doubt: bool = False
    time_range: tuple[int, int] | None = None
    last_version: int | None = None

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    def __init_subclass__(cls, *, codes: tuple[int, ...] = ()) -> None:
        """Enters the class under the codes that its class statement names."""
        super().__init_subclass__()
        cls.codes = codes
        for code in codes:
            if code in _CLASS_OF_CODE:
                msg = f"code {code} belongs to `{_CLASS_OF_CODE[code].__name__}` already"
                raise TypeError(msg)
            _CLASS_OF_CODE[code] = cls

    def __str__(self) -> str:
        """The message, also in the classes whose second base would print something else."""
        return str(self.args[0]) if self.args else ""


_CLASS_OF_CODE: dict[int, type[BTrDBError]] = {}


def from_code(code: int, message: str) -> BTrDBError:
    """Returns the error for a status code, ready to be raised.

    Args:
        code: The number the server sent. A number that no class names gives a `BTrDBError`.
        message: What the server said.

    Examples:
        >>> from_code(404, "stream `…` does not exist")
        StreamNotFoundError('stream `…` does not exist')
    """
    return _CLASS_OF_CODE.get(code, BTrDBError)(message, code)


class ConnectionError(BTrDBError, builtins.ConnectionError):  # noqa: A001 - documented name
    """The server cannot be reached, or nothing says where it is."""


class AuthenticationError(ConnectionError):
    """The server does not accept the API key."""


class DeadlineExceededError(BTrDBError, TimeoutError):
    """The time allowed for a call ran out before the answer was complete."""


class CredentialsFileNotFound(BTrDBError, FileNotFoundError):
    """A profile was asked for and there is no credentials file."""


class ProfileNotFound(BTrDBError):
    """The credentials file holds no profile of this name."""


class StreamNotFoundError(BTrDBError, codes=(404,)):
    """The server knows no stream of this uuid; it never existed or was obliterated."""


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
    """The server failed, refused for a reason of its own, or answered what cannot be understood."""


class ServerBusyError(BTRDBServerError, codes=(426,)):
    """The server is overloaded, also after the call was tried again; later it may succeed."""


class ConcurrentModification(BTRDBServerError, codes=(423, 430)):
    """Somebody else changed the object since it was read; read it again and repeat the change."""


class NotSupportedError(BTRDBServerError, codes=(501,)):
    """This server does not offer what was called."""


class BTRDBTypeError(BTrDBError, TypeError):
    """An argument has a type that the call does not take."""


class InvalidOperation(BTrDBError, codes=(446, 447)):
    """The call is not allowed in the present state of the object."""


class ClientClosedError(InvalidOperation):
    """The client was closed before the call, or while it ran."""


class ObjectExists(InvalidOperation, codes=(436, 442)):
    """A device, a unit or another object of this name exists already."""


class StreamExists(InvalidOperation, codes=(406, 417)):
    """A stream of this uuid exists already."""


class AmbiguousStream(InvalidOperation, codes=(418,)):
    """Another stream has this collection and these tags."""


class PermissionDenied(InvalidOperation, codes=(437,)):
    """The API key is valid and its role does not allow the call."""


class BTRDBValueError(BTrDBError, ValueError, codes=(411, 412, 422, 443, 444, 449)):
    """An argument has a value that the call does not take."""


class CredentialsFileInvalid(BTRDBValueError):
    """The credentials file cannot be read, is not YAML, or does not hold what it should."""


class StreamNotInSetError(BTRDBValueError, KeyError):
    """The stream set has no stream of this uuid."""


class InvalidUUIDError(BTRDBTypeError, BTRDBValueError):
    """The value is no uuid; a `TypeError` and a `ValueError` at once."""


class InvalidCollection(BTRDBValueError, codes=(407,)):
    """The collection is unknown or its name is not valid."""


class InvalidTagKey(BTRDBValueError, codes=(408,)):
    """A tag has a key other than `name`, `unit`, `ingress` and `distiller`."""


class InvalidTagValue(BTRDBValueError, codes=(409,)):
    """A tag has a value that is not valid."""


class InvalidTimeRange(BTRDBValueError, codes=(413,)):
    """A time lies outside the instants a stream can hold, or a start is not before its end."""


class InvalidPointWidth(BTRDBValueError, codes=(415,)):
    """A point width, resolution or window width is out of bounds."""


class BadValue(BTRDBValueError, codes=(425,)):
    """A value to insert is null, NaN or infinite."""


class RecycledUUID(BTRDBValueError, codes=(429,)):
    """The uuid belonged to a stream that was obliterated, and is not given out again."""


class BadSQLValue(BTRDBValueError, codes=(441,)):
    """The statement, or the value of one of its parameters, does not suit the database."""


class VersionNotAvailable(BTRDBValueError, codes=(450,)):
    """The version lies in the future or was pruned."""


class NoSuchPoint(BTRDBValueError, codes=(401,)):
    """No point lies in the direction asked for; the client answers None instead of raising this."""


class MissingExtraError(BTrDBError, ImportError):
    """The call needs a package that is not installed; the message names the extra to install."""


class MemoryLimitExceeded(BTrDBError):
    """One answer would take more than the client's `memory_limit`: raise it, or read in parts."""


class InsecureTransportWarning(UserWarning):
    """An API key is being sent to another machine without encryption."""
