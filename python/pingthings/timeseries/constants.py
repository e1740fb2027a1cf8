"""Point widths, the schemas of results, and the limits of the platform."""

from __future__ import annotations

from numbers import Integral
from typing import Final, NoReturn, final

import pyarrow as pa

from pingthings.timeseries.exceptions import BTRDBTypeError, InvalidPointWidth

__all__ = [
    "DEFAULT_CONCURRENCY_LIMIT",
    "INSERT_BATCH_SIZE",
    "MAXIMUM_INSERT_TIME",
    "MAXIMUM_TIME",
    "MINIMUM_TIME",
    "PW",
    "RAW_F32_SCHEMA",
    "RAW_F64_SCHEMA",
    "STAT_F32_SCHEMA",
    "STAT_F64_SCHEMA",
]

DEFAULT_CONCURRENCY_LIMIT: Final = 64
"""Requests in flight, unless an argument or `PINGTHINGS_CONCURRENCY_LIMIT` sets another number."""

INSERT_BATCH_SIZE: Final = 50_000
"""Points in one request of an insert; a larger insert is split, and is then not atomic."""

MINIMUM_TIME: Final = -(16 << 56)
"""The earliest time of a point, in nanoseconds: 1933-06-20."""

MAXIMUM_TIME: Final = (48 << 56) - 1
"""The latest end of a range, in nanoseconds: 2079-08-08. Ends are exclusive."""

MAXIMUM_INSERT_TIME: Final = MAXIMUM_TIME - 1
"""The latest time of a point: one at `MAXIMUM_TIME` could never be read."""

_MAXIMUM_EXPONENT = 63
_UNITS = (
    ("year", "years", 365 * 86_400_000_000_000),
    ("day", "days", 86_400_000_000_000),
    ("hour", "hours", 3_600_000_000_000),
    ("min", "mins", 60_000_000_000),
    ("sec", "sec", 1_000_000_000),
    ("ms", "ms", 1_000_000),
    ("μs", "μs", 1_000),
    ("ns", "ns", 1),
)
_UNITS_SHOWN = 3


@final
class _PW:
    """A window length of 2**exponent nanoseconds, which is a node size of the server's tree.

    `int()` and use as an index return the exponent, and comparison with an int compares the
    exponent. Arithmetic is refused, because it is ambiguous: use `.nanoseconds` to compute with the
    duration. Instances are immutable and hashable.

    Args:
        exponent: 0 to 63. `PW` has those up to 60.

    Raises:
        InvalidPointWidth: The exponent is out of bounds.
        BTRDBTypeError: The exponent is not an int.

    Examples:
        >>> PW[30].nanoseconds
        1073741824
        >>> str(PW[30])
        '1 sec 73 ms 741 μs'
    """

    __slots__ = ("_exponent",)
    _exponent: int

    def __init__(self, exponent: int) -> None:
        number = _exponent_of(exponent)
        if number is None:
            raise BTRDBTypeError(
                f"the exponent of a point width is an int, not a `{type(exponent).__name__}`"
            )
        if not 0 <= number <= _MAXIMUM_EXPONENT:
            raise InvalidPointWidth(
                f"exponent `{number}` of a point width is not within 0 to {_MAXIMUM_EXPONENT}"
            )
        object.__setattr__(self, "_exponent", number)

    @classmethod
    def from_nanoseconds(cls, nanoseconds: int) -> _PW:
        """Returns the largest point width that is not longer than a duration.

        Args:
            nanoseconds: The duration, at least 1.

        Raises:
            InvalidPointWidth: The duration is shorter than 1 ns.
        """
        if nanoseconds < 1:
            raise InvalidPointWidth(
                f"`{nanoseconds}` ns is too short for a point width; the shortest is 1 ns"
            )
        return cls(min(int(nanoseconds).bit_length() - 1, _MAXIMUM_EXPONENT))

    @property
    def nanoseconds(self) -> int:
        """The duration in nanoseconds, exact."""
        return 1 << self._exponent

    @property
    def microseconds(self) -> float:
        """The duration in microseconds."""
        return self.nanoseconds / 1_000

    @property
    def milliseconds(self) -> float:
        """The duration in milliseconds."""
        return self.nanoseconds / 1_000_000

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.nanoseconds / 1_000_000_000

    @property
    def minutes(self) -> float:
        """The duration in minutes."""
        return self.nanoseconds / 60_000_000_000

    @property
    def hours(self) -> float:
        """The duration in hours."""
        return self.nanoseconds / 3_600_000_000_000

    @property
    def days(self) -> float:
        """The duration in days of 24 hours."""
        return self.nanoseconds / 86_400_000_000_000

    @property
    def weeks(self) -> float:
        """The duration in weeks."""
        return self.nanoseconds / 604_800_000_000_000

    @property
    def months(self) -> float:
        """The duration in twelfths of a year of 365 days."""
        return self.nanoseconds / 2_628_000_000_000_000

    @property
    def years(self) -> float:
        """The duration in years of 365 days."""
        return self.nanoseconds / 31_536_000_000_000_000

    def incr(self) -> _PW:
        """Returns the next longer point width, which lasts twice as long."""
        return _PW(self._exponent + 1)

    def decr(self) -> _PW:
        """Returns the next shorter point width, which lasts half as long."""
        return _PW(self._exponent - 1)

    def __int__(self) -> int:
        return self._exponent

    def __index__(self) -> int:
        return self._exponent

    def __hash__(self) -> int:
        return hash(self._exponent)

    def __eq__(self, other: object) -> bool:
        exponent = _exponent_of(other)
        return NotImplemented if exponent is None else self._exponent == exponent

    def __lt__(self, other: _PW | int) -> bool:
        exponent = _exponent_of(other)
        return NotImplemented if exponent is None else self._exponent < exponent

    def __le__(self, other: _PW | int) -> bool:
        exponent = _exponent_of(other)
        return NotImplemented if exponent is None else self._exponent <= exponent

    def __gt__(self, other: _PW | int) -> bool:
        exponent = _exponent_of(other)
        return NotImplemented if exponent is None else self._exponent > exponent

    def __ge__(self, other: _PW | int) -> bool:
        exponent = _exponent_of(other)
        return NotImplemented if exponent is None else self._exponent >= exponent

    def _refuse_arithmetic(self, _other: object = None) -> NoReturn:
        raise BTRDBTypeError(
            f"arithmetic with {self!r} is ambiguous; use its `.nanoseconds`, or `int()` for the "
            "exponent"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse_arithmetic
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _refuse_arithmetic
    __mod__ = __rmod__ = __pow__ = __rpow__ = __lshift__ = __rlshift__ = _refuse_arithmetic
    __rshift__ = __rrshift__ = __neg__ = __pos__ = __abs__ = _refuse_arithmetic

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set `{name}`: point widths are immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete `{name}`: point widths are immutable")

    def __reduce__(self) -> tuple[type[_PW], tuple[int]]:
        return (_PW, (self._exponent,))

    def __repr__(self) -> str:
        return f"PW[{self._exponent}]"

    def __str__(self) -> str:
        """The duration in its three largest units, truncated."""
        rest = self.nanoseconds
        parts: list[str] = []
        first = next(i for i, (_, _, length) in enumerate(_UNITS) if length <= rest)
        for singular, plural, length in _UNITS[first : first + _UNITS_SHOWN]:
            number, rest = divmod(rest, length)
            if number:
                parts.append(f"{number} {singular if number == 1 else plural}")
        return " ".join(parts)


def _exponent_of(value: object) -> int | None:
    """The exponent of a point width or an int; None for anything else, including bool."""
    if isinstance(value, _PW):
        return value._exponent
    if isinstance(value, (int, Integral)) and not isinstance(value, bool):
        return int(value)
    return None


PW: Final[tuple[_PW, ...]] = tuple(_PW(exponent) for exponent in range(61))
"""The point widths by exponent: `PW[30]` is 2**30 ns long, about a second."""

_TIME = pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False)


def _raw_schema(value: pa.DataType) -> pa.Schema:
    return pa.schema([_TIME, pa.field("value", value, nullable=False)])


def _stat_schema(value: pa.DataType) -> pa.Schema:
    return pa.schema(
        [
            _TIME,
            pa.field("min", value, nullable=False),
            pa.field("mean", value, nullable=False),
            pa.field("max", value, nullable=False),
            pa.field("count", pa.uint64(), nullable=False),
            pa.field("stddev", value, nullable=False),
        ]
    )


RAW_F64_SCHEMA: Final = _raw_schema(pa.float64())
"""Columns `time` and `value`, with 64-bit values as stored; the default of raw queries."""

RAW_F32_SCHEMA: Final = _raw_schema(pa.float32())
"""Columns `time` and `value`, values rounded to 32 bits."""

STAT_F64_SCHEMA: Final = _stat_schema(pa.float64())
"""Columns `time`, `min`, `mean`, `max`, `count` and `stddev`, with 64-bit statistics."""

STAT_F32_SCHEMA: Final = _stat_schema(pa.float32())
"""The same columns with the statistics rounded to 32 bits; the default of window queries."""
