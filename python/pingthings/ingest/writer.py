"""A writer of many streams: points in as they come, inserts of many points out.

What is handed over waits here until there is enough for an insert, or until it has waited long
enough. A thread makes the inserts. Only so many points wait at a time: whoever adds more waits, too
(back-pressure), or has them dropped and counted. Nothing is written to disk on the way.

An insert is all or nothing, so one value that no stream can hold would refuse the points of
everybody. Such points are rejected before: counted, kept in `rejected`, and said in the log.
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
from typing import Any, Literal, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pingthings.timeseries.client import Client
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BadValue,
    BTrDBError,
    BTRDBServerError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - the library's own
    DeadlineExceededError,
    InvalidTimeRange,
    NotSupportedError,
)
from pingthings.timeseries.insert_data import to_arrow

__all__ = ["Counts", "Points", "Rejected", "Writer", "WriterFailed"]

Points = tuple[Any, Any]
"""Times in nanoseconds and values, each a number or as many as the other has."""

_Piece = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
_Pieces = list[_Piece]
_PASSING = ConnectionError, DeadlineExceededError, BTRDBServerError
_LASTING = AuthenticationError, NotSupportedError
_LONGEST_PAUSE = 10.0
_LARGE = 2.0**53
"""Beyond it not every whole number is a float64."""
_MOST_REJECTED = 1_000

log = logging.getLogger(__name__)


class WriterFailed(BTrDBError):  # noqa: N818 - it is what happened
    """An insert failed for good; `unstored` of the writer holds what is not known to be stored."""


@dataclass(frozen=True)
class Counts:
    """What became of the points so far."""

    added: int = 0
    stored: int = 0
    """Answered by the server, so on its disk."""
    dropped: int = 0
    rejected: int = 0
    """NaN, infinite, or of a time that no stream can hold."""
    inserts: int = 0
    retries: int = 0

    @property
    def waiting(self) -> int:
        """How many are neither stored nor dropped."""
        return self.added - self.stored


@dataclass(frozen=True)
class Rejected:
    """A point that no stream can hold."""

    uuid: UUID
    time: int
    """In nanoseconds."""
    value: float

    def __str__(self) -> str:
        if math.isfinite(self.value):
            return f"time {self.time} is beyond those of streams (1933 to 2079)"
        return f"the value at time {self.time} is {self.value}"


class Writer:
    """Takes points of any streams from any thread, and stores them.

    As a context it stores all that was added before it ends. Where the block fails, nothing more is
    begun, and `unstored` holds the rest.

    Args:
        client: Connected; the writer does not close it.
        insert_points: With so many points waiting an insert begins.
        insert_seconds: So long a point waits for others at most.
        most_points: So many points are here at most, those of the insert under way included.
        when_full: Whether one who adds more waits, or what is added then is dropped and counted.
        merge: What happens to a time that has a value. An insert that failed on the way is made
            again, which `replace`, `retain` and `equal` make harmless. Under `never` it is an error
            if the points may be stored already.
        give_up_after: For how many seconds an insert is tried while the server is away; None for
            ever.

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
        """What became of the points so far."""
        with self._changed:
            return self._counts

    @property
    def rejected(self) -> list[Rejected]:
        """The last thousand points that were rejected."""
        with self._changed:
            return list(self._rejected)

    @property
    def unstored(self) -> dict[UUID, Points]:
        """What was added and is not known to be stored; whole once the writer has stopped."""
        with self._changed:
            return {uuid: _joined(pieces) for uuid, pieces in self._pending.items()}

    def add(self, uuid: UUID, times: Any, values: Any) -> bool:
        """Adds points of one stream; see `add_all`."""
        return self.add_all({uuid: (times, values)})

    def add_all(self, data: Mapping[UUID, Points]) -> bool:
        """Adds points of several streams, all or none; returns whether they were taken.

        Points that no stream can hold are rejected, and the others taken: those whose value is NaN
        or infinite, or whose time is beyond the instants of streams.

        Args:
            data: Times in whole nanoseconds and values of each stream. They are copied.

        Raises:
            BTRDBTypeError: Times are no integers, or values no numbers.
            BTRDBValueError: There are not as many values as times.
            BadValue: A value is null, or a whole number that is no float64.
            InvalidTimeRange: A time does not fit in nanoseconds.
            WriterFailed: An earlier insert failed for good, or the writer was stopped.
        """
        every = {uuid: _piece(*points) for uuid, points in data.items()}
        bad = {uuid: _unfit(*piece) for uuid, piece in every.items()}
        for uuid, places in bad.items():
            if len(places):
                every[uuid] = self._reject(uuid, every[uuid], places)
        pieces = {uuid: piece for uuid, piece in every.items() if len(piece[0])}
        count = sum(len(times) for times, _ in pieces.values())
        with self._changed:
            self._check()
            # What is too much on its own comes in when nothing else is here.
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
        """Waits until the server has answered for everything that was added before.

        Raises:
            WriterFailed: It cannot be stored, or the writer was stopped.
        """
        with self._changed:
            self._wanted = wanted = self._counts.added
            self._changed.notify_all()
            while self._counts.stored < wanted:
                self._check()
                self._changed.wait()

    def close(self) -> None:
        """Stores what is left, and ends.

        Raises:
            WriterFailed: It cannot be stored.
        """
        try:
            self.flush()
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends as soon as the insert under way has ended; `unstored` holds the rest."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def _reject(self, uuid: UUID, piece: _Piece, places: npt.NDArray[np.intp]) -> _Piece:
        """Notes the points at these places, and returns the others."""
        times, values = piece
        last = places[-_MOST_REJECTED:]
        noted = [
            Rejected(uuid, time, value)
            for time, value in zip(times[last].tolist(), values[last].tolist(), strict=True)
        ]
        counts = len(places), len(times)
        log.warning("%d of %d points of stream %s are rejected: %s", *counts, uuid, noted[-1])
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
        """What the next insert consists of, when it is time; None if there will be none."""
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
        """Stores a batch, again and again while what hinders it may pass."""
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
                log.warning("an insert is made again after %.1f s: %s", pause, error)
                with self._changed:
                    self._count(retries=1)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return


def _piece(times: Any, values: Any) -> _Piece:
    instants, numbers = (_atleast_1d(one) for one in (times, values))
    is_plain = instants.dtype == np.int64 and numbers.dtype == np.float64
    if is_plain and not np.ma.isMaskedArray(numbers):
        # `array` copies: the caller may go on with its own.
        found = np.array(instants), np.array(numbers)
    elif not len(instants) and not len(numbers):
        found = np.zeros(0, np.int64), np.zeros(0)
    else:
        found = _converted(instants, numbers)
    if found[0].ndim != 1 or found[0].shape != found[1].shape:
        raise BTRDBValueError(f"{found[0].shape} times for {found[1].shape} values")
    return found


def _unfit(times: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The places of points that no stream can hold."""
    fits = np.isfinite(values) & (times >= MINIMUM_TIME) & (times <= MAXIMUM_INSERT_TIME)
    return np.flatnonzero(~fits)


def _atleast_1d(given: Any) -> npt.NDArray[Any]:
    return np.atleast_1d(np.asanyarray(given))


def _converted(times: npt.NDArray[Any], values: npt.NDArray[Any]) -> _Piece:
    """Columns of other types, as an insert takes them: each value as it is, or not at all."""
    if times.shape != values.shape:
        raise BTRDBValueError(f"{times.shape} times for {values.shape} values")
    table: Any = to_arrow((times, values))
    held = table.column(1)
    if held.null_count:
        row = held.is_null().combine_chunks().index(True).as_py()
        raise BadValue(f"row {row} holds a null: leave points without a value out")
    try:
        instants = np.array(table.column(0).cast("int64").to_numpy())
    except pa.ArrowInvalid as error:
        raise InvalidTimeRange(f"a time does not fit in nanoseconds: {error}") from error
    given = held.to_numpy()
    numbers = given.astype(np.float64)
    if given.dtype.kind in "iu":
        for row in np.flatnonzero(np.abs(numbers) >= _LARGE).tolist():
            if int(numbers[row]) != int(given[row]):
                raise BadValue(
                    f"row {row}: the whole number {given[row]} is no float64, which is what "
                    "streams hold: round it first"
                )
    return instants, numbers


def _joined(pieces: _Pieces) -> _Piece:
    times, values = zip(*pieces, strict=True)
    return np.concatenate(times), np.concatenate(values)
