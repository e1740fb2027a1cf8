"""Checks arguments and converts them to the form of the core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from pingthings.timeseries.constants import _PW
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidUUIDError,
)
from pingthings.timeseries.utils.timez import Duration, duration_ns, to_nanoseconds

if TYPE_CHECKING:
    import pyarrow as pa

    from pingthings.timeseries.utils.timez import Instant

__all__ = [
    "TAG_KEYS",
    "OtherUuidKey",
    "UuidKey",
    "aligned_exponent",
    "as_exponent",
    "as_filter_map",
    "as_list",
    "as_mapping",
    "as_merge",
    "as_ranges",
    "as_schema",
    "as_seconds",
    "as_text",
    "as_text_map",
    "as_time",
    "as_uuid",
    "as_version",
    "as_versions",
    "as_width_ns",
    "check_writable",
    "unfit",
]

TAG_KEYS = ("name", "unit", "ingress", "distiller")
"""The tags that every stream has."""

_LONGEST_TAG = 255
_MOST_SECONDS = 366 * 86_400
_MERGE_POLICIES = ("never", "equal", "retain", "replace")

T = TypeVar("T")
UuidKey = TypeVar("UuidKey", UUID, str, UUID | str)
"""Key of a mapping by stream: all UUIDs, all strings, or both."""
OtherUuidKey = TypeVar("OtherUuidKey", UUID, str, UUID | str)
"""The same for a second mapping in one call."""


def as_uuid(value: UUID | str) -> UUID:
    """Converts a UUID or its text to a UUID.

    Raises:
        InvalidUUIDError: The value is not a uuid; also a `TypeError` and a `ValueError`.
    """
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise InvalidUUIDError(f"`{value}` is not a uuid") from None
    raise InvalidUUIDError(f"a `{type(value).__name__}` is not a uuid; give a UUID or its text")


def as_time(value: Instant, name: str) -> int:
    """Converts a time to nanoseconds; refuses None."""
    nanoseconds = to_nanoseconds(value)
    if nanoseconds is None:
        raise BTRDBTypeError(f"`{name}` is None; give a time")
    return nanoseconds


def as_version(value: int | None) -> int:
    """Returns the number of a version; None becomes 0, the latest data."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise BTRDBTypeError(f"a version is an integer, not a `{type(value).__name__}`")
    if not 0 <= value < 1 << 64:
        raise BTRDBValueError(f"version {value} does not exist; versions are positive numbers")
    return value


def as_width_ns(value: int | Duration | _PW) -> int:
    """Converts the length of a window to nanoseconds, including those of a `pandas.Timedelta`."""
    if isinstance(value, _PW):
        return value.nanoseconds
    if isinstance(value, Duration):
        return duration_ns(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BTRDBTypeError(
            f"a width is nanoseconds, a timedelta or a PW, not a `{type(value).__name__}`"
        )
    return int(value)


def as_exponent(value: int | _PW) -> int:
    """Returns the exponent of a point width."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BTRDBTypeError(
            f"a point width is an exponent from 0 to 63 or a PW, not a `{type(value).__name__}`"
        )
    return int(value)


def aligned_exponent(start: int, end: int, width: int | Duration | _PW) -> int | None:
    """Returns the exponent if aligned windows give the answer, otherwise None.

    They do for a `PW`, and for any other width if the precise windows happen to be aligned ones,
    which are cheaper.
    """
    if isinstance(width, _PW):
        return int(width)
    width_ns = as_width_ns(width)
    is_power_of_two = width_ns > 0 and width_ns & (width_ns - 1) == 0
    if is_power_of_two and start % width_ns == 0 and end % width_ns == 0:
        return width_ns.bit_length() - 1
    return None


def as_text(value: str, name: str) -> str:
    """Returns the text after checking that it is a string that UTF-8 can encode."""
    if not isinstance(value, str):
        raise BTRDBTypeError(f"`{name}` is text, not a `{type(value).__name__}`")
    return check_writable(value, name)


def unfit(text: str) -> str | None:
    """Returns why no tag, such as a name, can have this text; None if one can."""
    if len(text) > _LONGEST_TAG:
        return f"is longer than {_LONGEST_TAG} characters"
    if not _is_writable(text):
        return "has half a surrogate pair"
    return "contains a NUL" if "\0" in text else None


def check_writable(text: str, name: str) -> str:
    """Returns the text after checking that UTF-8 can encode it."""
    if not _is_writable(text):
        raise BTRDBValueError(f"`{name}` is {text!a}, which has half a surrogate pair; remove it")
    return text


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_list(values: Iterable[T], name: str) -> list[T]:
    """Converts an iterable to a list; refuses text, which would become a list of characters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise BTRDBTypeError(f"`{name}` is a list, not a `{type(values).__name__}`")
    return list(values)


def as_merge(value: str) -> str:
    """Returns the name of a merge policy."""
    if as_text(value, "merge") not in _MERGE_POLICIES:
        names = ", ".join(f"`{name}`" for name in _MERGE_POLICIES)
        raise BTRDBValueError(f"`{value}` is not a merge policy; give one of {names}")
    return value


def as_ranges(ranges: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    """Returns time ranges in the documented form of `changes`."""
    return [{"start": start, "end": end} for start, end in ranges]


def as_mapping(values: Mapping[Any, T], name: str) -> dict[UUID, T]:
    """Converts the keys of a mapping to UUIDs; refuses a stream that occurs twice."""
    if not isinstance(values, Mapping):
        raise BTRDBTypeError(
            f"`{name}` must map uuids to values, but is a `{type(values).__name__}`"
        )
    found = {as_uuid(uuid): value for uuid, value in values.items()}
    if len(found) != len(values):
        raise BTRDBValueError(f"`{name}` has a stream twice, as a UUID and as its text")
    return found


def as_schema(schema: pa.Schema | None) -> pa.Schema | None:
    """Returns the schema, which may come from any Arrow library."""
    if schema is not None and not hasattr(schema, "__arrow_c_schema__"):
        raise BTRDBTypeError(f"a schema is a `pyarrow.Schema`, not a `{type(schema).__name__}`")
    return schema


def as_seconds(value: object, name: str) -> float | None:
    """Returns a positive number of seconds; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BTRDBTypeError(f"`{name}` is seconds or None, not a `{type(value).__name__}`")
    if not 0 < value <= _MOST_SECONDS:
        raise BTRDBValueError(
            f"`{name}` is {value} seconds; it must be above zero and at most a year"
        )
    return float(value)


def as_text_map(values: Mapping[str, Any] | None, name: str) -> dict[str, str]:
    """Returns tags or annotations to store, which map text to text."""
    found = as_filter_map(values, name)
    for key, value in found.items():
        if value is None:
            raise BTRDBTypeError(f"`{name}` has no value for `{key}`; leave the key out instead")
    return {key: value for key, value in found.items() if value is not None}


def as_filter_map(values: Mapping[str, Any] | None, name: str) -> dict[str, str | None]:
    """Returns tags or annotations to search for: text to text, or to None for any value."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise BTRDBTypeError(f"`{name}` must map text to text, but is a `{type(values).__name__}`")
    pairs: Mapping[Any, Any] = values
    for key, value in pairs.items():
        if not isinstance(key, str) or not (value is None or isinstance(value, str)):
            raise BTRDBTypeError(f"`{name}` must map text to text, not `{key!r}` to `{value!r}`")
        if not _is_writable(key + (value or "")):
            raise BTRDBValueError(
                f"`{name}` maps {key!a} to {value!a}, which has half a surrogate pair; remove it"
            )
    return dict(pairs)


def as_versions(values: Iterable[int | None] | None, count: int) -> list[int] | None:
    """Returns one version for each of `count` streams, or None if none is given."""
    if values is None:
        return None
    versions = [as_version(value) for value in as_list(values, "versions")]
    if len(versions) != count:
        raise BTRDBValueError(
            f"{len(versions)} versions for {count} streams; give one for each, in their order"
        )
    return versions
