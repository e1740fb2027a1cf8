"""A writer for many streams, which collects points and inserts many at once.

Added points wait until there are enough for an insert, or until one has waited long enough. A
background thread makes the inserts. The number of waiting points is limited: beyond it `add` blocks
(back pressure), or points are dropped and counted. Nothing is written to disk.

An insert is all or nothing, so one invalid value would make the server refuse the points of all
streams. Invalid points are therefore rejected first: counted, kept in `rejected`, and logged.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt

from pingthings.timeseries.arguments import as_mapping
from pingthings.timeseries.client import Client
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BadValue,
    BTrDBError,
    BTRDBServerError,
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - the library's own
    DeadlineExceededError,
    InvalidTimeRange,
    NotSupportedError,
)
from pingthings.timeseries.insert_data import plain_columns, to_arrow

__all__ = ["Counts", "Points", "Rejected", "Writer", "WriterFailed"]

Points = tuple[Any, Any]
"""Times in nanoseconds and values: two numbers, or two arrays of the same length."""

_Piece = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
_Pieces = list[_Piece]
_PASSING = ConnectionError, DeadlineExceededError, BTRDBServerError
_LASTING = AuthenticationError, NotSupportedError
_LONGEST_PAUSE = 10.0
_LARGE = 2.0**53
"""Beyond it a float64 cannot represent every integer."""
_MOST_REJECTED = 1_000
_PAIR = 2

log = logging.getLogger(__name__)


class WriterFailed(BTrDBError):  # noqa: N818 - documented name
    """An insert failed permanently; `unstored` has the points not known to be stored."""


@dataclass(frozen=True)
class Counts:
    """The numbers of points, inserts and retries so far."""

    added: int = 0
    stored: int = 0
    """Acknowledged by the server, so they are on its disk."""
    dropped: int = 0
    rejected: int = 0
    """NaN, infinite, or with a time outside the range of a stream."""
    inserts: int = 0
    retries: int = 0

    @property
    def waiting(self) -> int:
        """The number of added points that are not stored yet."""
        return self.added - self.stored


@dataclass(frozen=True)
class Rejected:
    """A point that a stream cannot store."""

    uuid: UUID
    time: int
    """In nanoseconds."""
    value: float

    def __str__(self) -> str:
        if math.isfinite(self.value):
            return f"time {self.time} is outside the range of a stream (1933 to 2079)"
        return f"the value at time {self.time} is {self.value}"


class Writer:
    """Stores points of any streams, added from any thread.

    A `with` statement stores everything that was added before it ends. If its body raises, no
    further insert starts, and `unstored` has the remaining points.

    Args:
        client: A connected client; the writer does not close it.
        insert_points: Number of waiting points that starts an insert.
        insert_seconds: The longest time that a point waits for others.
        most_points: Maximum number of points held, including those of the insert in progress.
        when_full: `wait` blocks `add` while there is no space; `drop` drops and counts the points.
        merge: The merge policy. A failed insert is retried, which is harmless under `replace`,
            `retain` and `equal`. Under `never` it is an error if the points may already be stored.
        give_up_after: Seconds for which an insert is retried while the server is unreachable; None
            means without limit.

    Examples:
        >>> with Writer(client) as writer:
        ...     taken = writer.add(stream.uuid, start + 5, 1.0)
        >>> writer.counts.stored
        1
    """

    def __init__(
        self,
        client: Client,
        *,
        insert_points: int = 50_000,
        insert_seconds: float = 1.0,
        most_points: int = 500_000,
        when_full: Literal["wait", "drop"] = "wait",
        merge: Literal["replace", "retain", "equal", "never"] = "replace",
        give_up_after: float | None = None,
    ) -> None:
        self._client = client
        self._insert_points = insert_points
        self._insert_seconds = insert_seconds
        self._most_points = most_points
        self._drops = when_full == "drop"
        self._merge = merge
        self._give_up_after = give_up_after
        self._changed = threading.Condition()
        self._pending: dict[UUID, _Pieces] = {}
        self._pending_points = 0
        self._oldest = 0.0
        self._wanted = 0
        self._counts = Counts()
        self._rejected: deque[Rejected] = deque(maxlen=_MOST_REJECTED)
        self._failure: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.stop()

    @property
    def counts(self) -> Counts:
        """The numbers of points, inserts and retries so far."""
        with self._changed:
            return self._counts

    @property
    def rejected(self) -> list[Rejected]:
        """The last thousand points that were rejected."""
        with self._changed:
            return list(self._rejected)

    @property
    def unstored(self) -> dict[UUID, Points]:
        """The points not known to be stored; complete once the writer has stopped."""
        with self._changed:
            return {uuid: _joined(pieces) for uuid, pieces in self._pending.items()}

    def add(self, uuid: UUID, times: Any, values: Any) -> bool:
        """Adds points of one stream; see `add_all`."""
        return self.add_all({uuid: (times, values)})

    def add_all(self, data: Mapping[UUID, Points]) -> bool:
        """Adds points of several streams, all or none; returns False if they were dropped.

        Points whose value is NaN or infinite, or whose time is outside the range of a stream, are
        rejected; the others are added.

        Args:
            data: Times in integer nanoseconds and values of each stream. They are copied.

        Raises:
            BTRDBTypeError: Times are not instants, values are not numbers, or points are no tuple.
            BTRDBValueError: The numbers of times and values differ, or a stream is there twice.
            BadValue: A value is null, or an integer that a float64 cannot represent.
            InvalidUUIDError: A key is not a uuid.
            InvalidTimeRange: A time is outside the range of nanoseconds.
            WriterFailed: An earlier insert failed permanently, or the writer was stopped.
        """
        # A wrong key would stop the writer later, when others have added points.
        points = as_mapping(data, "data")
        every = {uuid: _piece(*_pair(uuid, one)) for uuid, one in points.items()}
        bad = {uuid: _unfit(*piece) for uuid, piece in every.items()}
        for uuid, places in bad.items():
            if len(places):
                every[uuid] = self._reject(uuid, every[uuid], places)
        pieces = {uuid: piece for uuid, piece in every.items() if len(piece[0])}
        count = sum(len(times) for times, _ in pieces.values())
        with self._changed:
            self._check()
            # Points that exceed the limit alone are accepted when nothing else waits.
            while self._counts.waiting and self._counts.waiting + count > self._most_points:
                if self._drops:
                    self._count(dropped=count)
                    return False
                self._wanted = self._counts.added
                self._changed.notify_all()
                self._changed.wait()
                self._check()
            if not self._pending_points:
                self._oldest = time.monotonic()
            for uuid, piece in pieces.items():
                self._pending.setdefault(uuid, []).append(piece)
            self._pending_points += count
            self._count(added=count)
            self._changed.notify_all()
        return True

    def flush(self) -> None:
        """Waits until the server has acknowledged everything that was added before.

        Raises:
            WriterFailed: The points cannot be stored, or the writer was stopped.
        """
        with self._changed:
            self._wanted = wanted = self._counts.added
            self._changed.notify_all()
            while self._counts.stored < wanted:
                self._check()
                self._changed.wait()

    def close(self) -> None:
        """Stores the waiting points and stops.

        Raises:
            WriterFailed: The points cannot be stored.
        """
        try:
            self.flush()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stops after the insert in progress; `unstored` has the remaining points."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def _reject(self, uuid: UUID, piece: _Piece, places: npt.NDArray[np.intp]) -> _Piece:
        """Records the points at these indices as rejected, and returns the others."""
        times, values = piece
        last = places[-_MOST_REJECTED:]
        noted = [
            Rejected(uuid, time, value)
            for time, value in zip(times[last].tolist(), values[last].tolist(), strict=True)
        ]
        counts = len(places), len(times)
        log.warning("rejected %d of %d points of stream %s: %s", *counts, uuid, noted[-1])
        with self._changed:
            self._rejected.extend(noted)
            self._count(rejected=len(places))
        return np.delete(times, places), np.delete(values, places)

    def _check(self) -> None:
        if self._failure is not None:
            raise WriterFailed(str(self._failure)) from self._failure
        if self._stopped.is_set():
            raise WriterFailed("the writer was stopped")

    def _count(self, **more: int) -> None:
        known = self._counts
        self._counts = replace(
            known, **{name: getattr(known, name) + count for name, count in more.items()}
        )

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            data = {uuid: _joined(pieces) for uuid, pieces in batch.items()}
            count = sum(len(times) for times, _ in data.values())
            try:
                self._insert(data)
            except Exception as error:  # noqa: BLE001 - `flush` would wait for ever
                with self._changed:
                    self._failure = error
                    for uuid, pieces in self._pending.items():
                        batch.setdefault(uuid, []).extend(pieces)
                    self._pending = batch
                    self._changed.notify_all()
                return
            with self._changed:
                self._count(stored=count, inserts=1)
                self._changed.notify_all()

    def _next(self) -> dict[UUID, _Pieces] | None:
        """Waits until an insert is due and returns its points; None after `stop`."""
        with self._changed:
            while not self._stopped.is_set():
                rest = self._oldest + self._insert_seconds - time.monotonic()
                is_wanted = self._counts.stored < self._wanted
                is_enough = self._pending_points >= self._insert_points
                if self._pending_points and (is_enough or is_wanted or rest <= 0):
                    batch, self._pending, self._pending_points = self._pending, {}, 0
                    return batch
                self._changed.wait(rest if self._pending_points else None)
        return None

    def _insert(self, data: dict[UUID, Points]) -> None:
        """Stores a batch, and retries it after transient errors."""
        begun, pause = time.monotonic(), 0.1
        streams = self._client.streamset_from_uuids(data, fetch_metadata=False)
        while True:
            try:
                streams.insert(data, self._merge)
            except _PASSING as error:
                waited = time.monotonic() - begun
                is_over = self._give_up_after is not None and waited >= self._give_up_after
                is_unsafe = self._merge == "never" and error.in_doubt
                if isinstance(error, _LASTING) or is_unsafe or is_over or self._stopped.is_set():
                    raise
                log.warning("an insert failed and is retried after %.1f s: %s", pause, error)
                with self._changed:
                    self._count(retries=1)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return


def _pair(uuid: UUID, points: Any) -> Points:
    # A list of two rows would be taken for a column of times and one of values.
    name = type(points).__name__
    if not isinstance(points, tuple) or len(cast("Points", points)) != _PAIR:
        raise BTRDBTypeError(
            f"stream `{uuid}` is mapped to a `{name}`; give a tuple of its times and values"
        )
    return cast("Points", points)


def _piece(times: Any, values: Any) -> _Piece:
    instants, numbers = map(np.atleast_1d, _arrays(times, values))
    is_plain = instants.dtype == np.int64 and numbers.dtype == np.float64
    if is_plain and not any(map(np.ma.isMaskedArray, (instants, numbers))):
        # `array` copies, because the caller may change its arrays.
        found = np.array(instants), np.array(numbers)
    elif not len(instants) and not len(numbers):
        found = np.zeros(0, np.int64), np.zeros(0)
    else:
        found = _converted(instants, numbers)
    if found[0].ndim != 1 or found[0].shape != found[1].shape:
        raise BTRDBValueError(
            f"times have the shape {found[0].shape}, values {found[1].shape}; give one-dimensional "
            "arrays of equal length"
        )
    return found


def _unfit(times: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Returns the indices of points that a stream cannot store."""
    fits = np.isfinite(values) & (times >= MINIMUM_TIME) & (times <= MAXIMUM_INSERT_TIME)
    return np.flatnonzero(~fits)


def _arrays(times: Any, values: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if all(hasattr(one, "__len__") and not isinstance(one, str | bytes) for one in (times, values)):
        return plain_columns(times, values)
    return np.asanyarray(times), np.asanyarray(values)


def _converted(times: npt.NDArray[Any], values: npt.NDArray[Any]) -> _Piece:
    """Converts columns of other types exactly, with the rules of an insert."""
    if times.shape != values.shape:
        raise BTRDBValueError(
            f"times have the shape {times.shape}, values {values.shape}; give one-dimensional "
            "arrays of equal length"
        )
    table: Any = to_arrow((times, values))
    if table.column(0).null_count:
        row = table.column(0).is_null().combine_chunks().index(True).as_py()
        raise InvalidTimeRange(f"row {row} has no time; leave such rows out")
    held = table.column(1)
    if held.null_count:
        row = held.is_null().combine_chunks().index(True).as_py()
        raise BadValue(f"row {row} has a null; leave out points without a value")
    instants = np.array(table.column(0).cast("int64").to_numpy())
    given = held.to_numpy()
    numbers = given.astype(np.float64)
    if given.dtype.kind in "iu":
        for row in np.flatnonzero(np.abs(numbers) >= _LARGE).tolist():
            if int(numbers[row]) != int(given[row]):
                raise BadValue(
                    f"row {row}: the integer {given[row]} cannot be represented as a float64, the "
                    "type of values in streams; round it first"
                )
    return instants, numbers


def _joined(pieces: _Pieces) -> _Piece:
    times, values = zip(*pieces, strict=True)
    return np.concatenate(times), np.concatenate(values)
