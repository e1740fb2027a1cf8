"""The buffered writer: everything once, never too much here, and what happens without a server."""

from __future__ import annotations

import itertools
import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import numpy as np
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Counts, Writer, WriterFailed
from pingthings.server import Fault, Server
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    BadValue,
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    InvalidUUIDError,
    StreamNotFoundError,
)

T = 1_700_000_000_000_000_000

Until = Callable[[Callable[[], object]], None]


def points(client: pt.Client, uuid: UUID) -> list[tuple[int, float]]:
    arrays = pt.frames.to_numpy(client.stream_from_uuid(uuid).raw_values(T, T + (1 << 40)))
    times: list[int] = arrays["time"].view(np.int64).tolist()
    return list(zip(times, arrays["value"].tolist(), strict=True))


@pytest.fixture
def stream(client: pt.Client, collection: str) -> pt.Stream:
    return client.create(uuid4(), collection, {"name": "L1MAG", "unit": "volts"})


def refused_port() -> int:
    """A port where no server listens any more."""
    with Server() as server:
        return int(server.endpoint.rpartition(":")[2])


def test_threads_add_and_every_point_is_stored_once(client: pt.Client, collection: str):
    names = [f"s{number}" for number in range(8)]
    uuids = ensure(client, collection, [Wanted(name, "volts") for name in names])
    each, pieces = 1_000, 50

    def add(writer: Writer, name: str) -> None:
        for first in range(0, each * pieces, each):
            numbers = np.arange(first, first + each)
            assert writer.add(uuids[name], T + numbers, numbers / 8)

    with Writer(client, insert_points=20_000, most_points=50_000, merge="never") as writer:
        threads = [threading.Thread(target=add, args=(writer, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = writer.counts
    total = each * pieces * len(names)
    assert (counts.added, counts.stored, counts.waiting, counts.dropped) == (total, total, 0, 0)
    assert total // 50_000 <= counts.inserts <= total // 20_000
    wanted = [(T + k, k / 8) for k in range(each * pieces)]
    for uuid in uuids.values():
        assert points(client, uuid) == wanted


def test_a_single_point_need_not_wait_for_others(
    client: pt.Client, stream: pt.Stream, until: Until
):
    with Writer(client, insert_seconds=0.01) as writer:
        writer.add(stream.uuid, T, 1.5)
        until(lambda: writer.counts.stored)
        assert points(client, stream.uuid) == [(T, 1.5)]


def test_flush_waits_for_what_was_added(client: pt.Client, stream: pt.Stream):
    with Writer(client, insert_seconds=3_600) as writer:
        writer.flush()
        for second in range(3):
            writer.add(stream.uuid, np.datetime64(T + second, "ns"), second)
            writer.flush()
            assert len(points(client, stream.uuid)) == second + 1
        assert writer.counts == Counts(added=3, stored=3, inserts=3)


def test_who_adds_waits_while_the_server_is_away_and_memory_stays_bounded(
    tmp_path: Path, until: Until
):
    with Server(tmp_path) as server:
        port = int(server.endpoint.rpartition(":")[2])
        client = pt.connect(endpoint=server.endpoint, retry_for=0.05, connect_timeout=1)
        stream = client.create(uuid4(), "away", {"name": "L1MAG", "unit": "volts"})
    most, each, pieces = 5_000, 100, 200
    waiting: list[int] = []

    def add(writer: Writer) -> None:
        for first in range(0, each * pieces, each):
            numbers = np.arange(first, first + each)
            writer.add(stream.uuid, T + numbers, numbers)
            waiting.append(writer.counts.waiting)

    with client, Writer(client, insert_points=1_000, most_points=most) as writer:
        thread = threading.Thread(target=add, args=(writer,))
        thread.start()
        until(lambda: writer.counts.waiting == most and writer.counts.retries)
        assert thread.is_alive()
        with Server(tmp_path, port=port):
            thread.join(60)
            writer.flush()
            assert points(client, stream.uuid) == [(T + k, k) for k in range(each * pieces)]
        assert max(waiting) == most


def test_what_does_not_fit_can_be_dropped_and_is_counted(tmp_path: Path):
    with Server(tmp_path) as server:
        port = int(server.endpoint.rpartition(":")[2])
        client = pt.connect(endpoint=server.endpoint, retry_for=0.05, connect_timeout=1)
        stream = client.create(uuid4(), "away", {"name": "L1MAG", "unit": "volts"})
    with client, Writer(client, most_points=10, when_full="drop") as writer:
        taken = [writer.add(stream.uuid, T + k, k) for k in range(15)]
        assert taken == [True] * 10 + [False] * 5
        with Server(tmp_path, port=port):
            writer.flush()
            assert writer.counts.dropped == 5
            assert points(client, stream.uuid) == [(T + k, k) for k in range(10)]


def test_it_gives_up_when_told_to_and_hands_back_what_is_not_stored(tmp_path: Path):
    with Server(tmp_path) as server:
        client = pt.connect(endpoint=server.endpoint, retry_for=0.05, connect_timeout=1)
        stream = client.create(uuid4(), "away", {"name": "L1MAG", "unit": "volts"})
    with client:
        writer = Writer(client, insert_points=2, give_up_after=0.5)
        writer.add(stream.uuid, [T, T + 1], [0, 1])
        with pytest.raises(WriterFailed, match="cannot reach"):
            writer.flush()
        with pytest.raises(WriterFailed):
            writer.add(stream.uuid, T + 2, 2)
        with pytest.raises(WriterFailed):
            writer.close()
        ((times, values),) = writer.unstored.values()
        assert (times.tolist(), values.tolist()) == ([T, T + 1], [0.0, 1.0])


def test_a_killed_server_that_comes_back_has_everything_once(
    tmp_path: Path, serve: Any, until: Until
):
    first = serve(str(tmp_path))
    port = first.endpoint.rpartition(":")[2]
    count = 300_000
    with pt.connect(endpoint=first.endpoint, retry_for=0.2, connect_timeout=1) as client:
        stream = client.create(uuid4(), "killed", {"name": "L1MAG", "unit": "volts"})

        def add(writer: Writer) -> None:
            for k in range(0, count, 500):
                numbers = np.arange(k, k + 500)
                writer.add(stream.uuid, T + numbers, numbers)

        with Writer(client, insert_points=1_000, most_points=20_000) as writer:
            thread = threading.Thread(target=add, args=(writer,))
            thread.start()
            until(lambda: writer.counts.inserts >= 3)
            first.stop(signal.SIGKILL)
            until(lambda: writer.counts.retries)
            serve(str(tmp_path), "--port", port)
            thread.join(60)
            writer.flush()
            assert points(client, stream.uuid) == [(T + k, k) for k in range(count)]


def test_under_never_what_may_be_stored_is_not_stored_again():
    with Server() as server, pt.connect(endpoint=server.endpoint, retry_for=0) as client:
        stream = client.create(uuid4(), "never", {"name": "L1MAG", "unit": "volts"})
        server.fault = Fault.busy(calls=["ArrowInsert"], times=2)
        with Writer(client, merge="never") as writer:
            writer.add(stream.uuid, T, 1)
        assert (writer.counts.stored, writer.counts.retries) == (1, 2)
        server.fault = Fault.cut(calls=["ArrowInsert"], times=1)
        writer = Writer(client, merge="never")
        writer.add(stream.uuid, T + 1, 1)
        with pytest.raises(WriterFailed) as caught:
            writer.close()
        assert isinstance(caught.value.__cause__, BTrDBError)
        assert caught.value.__cause__.in_doubt
        assert len(points(client, stream.uuid)) in {1, 2}


def test_a_block_that_fails_stores_nothing_more(client: pt.Client, stream: pt.Stream):
    with pytest.raises(RuntimeError), Writer(client, insert_seconds=3_600) as writer:  # noqa: PT012
        writer.add(stream.uuid, T, 1)
        raise RuntimeError
    ((times, _),) = writer.unstored.values()
    assert times.tolist() == [T]
    assert points(client, stream.uuid) == []
    with pytest.raises(WriterFailed, match="stopped"):
        writer.add(stream.uuid, T, 1)


def test_what_will_not_pass_is_not_tried_again(client: pt.Client):
    writer = Writer(client)
    writer.add(uuid4(), T, 1)
    with pytest.raises(WriterFailed) as caught:
        writer.close()
    assert isinstance(caught.value.__cause__, StreamNotFoundError)
    assert writer.counts.retries == 0


def test_points_that_cannot_be_meant(client: pt.Client, stream: pt.Stream):
    with Writer(client) as writer:
        with pytest.raises(TypeError, match="float64"):
            writer.add(stream.uuid, T / 1, 1)
        with pytest.raises(ValueError, match="arrays of equal length"):
            writer.add(stream.uuid, [T, T + 1], [1])
        writer.add(stream.uuid, [], [])
    assert writer.counts == Counts()


NUMBER = st.sampled_from([0.0, 1.5, -0.0, 1e308, math.nan, math.inf, -math.inf])
INSTANT = st.integers(T, T + 1_000) | st.sampled_from(
    [MINIMUM_TIME, MINIMUM_TIME - 1, MAXIMUM_INSERT_TIME, MAXIMUM_INSERT_TIME + 1, -(2**63)]
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(st.tuples(INSTANT, NUMBER), max_size=8), min_size=1, max_size=3))
def test_what_no_stream_can_hold_is_rejected_and_all_else_stored(
    client: pt.Client, added: list[list[tuple[int, float]]]
):
    stream = client.create(uuid4(), f"adapters/{uuid4()}", {"name": "a", "unit": ""})
    with Writer(client) as writer:
        for points in added:
            times, values = [time for time, _ in points], [value for _, value in points]
            assert writer.add(stream.uuid, times, values)
    good: dict[int, float] = {}
    bad: list[tuple[int, str]] = []
    for time, value in itertools.chain(*added):
        if math.isfinite(value) and MINIMUM_TIME <= time <= MAXIMUM_INSERT_TIME:
            good[time] = value
        else:
            bad.append((time, str(value)))
    arrays = pt.frames.to_numpy(stream.raw_values(MINIMUM_TIME, MAXIMUM_INSERT_TIME + 1))
    times = arrays["time"].view(np.int64).tolist()
    assert list(zip(times, arrays["value"].tolist(), strict=True)) == sorted(good.items())
    assert [(one.time, str(one.value)) for one in writer.rejected] == bad
    assert all(one.uuid == stream.uuid for one in writer.rejected)
    assert (writer.counts.rejected, writer.counts.waiting) == (len(bad), 0)
    assert writer.counts.added == sum(map(len, added)) - len(bad)


def test_what_is_rejected_is_said_by_name(
    client: pt.Client, stream: pt.Stream, caplog: pytest.LogCaptureFixture
):
    with Writer(client) as writer:
        writer.add(stream.uuid, [T, T + 1, T + 2], [1.0, math.nan, 3.0])
        writer.add(stream.uuid, MAXIMUM_INSERT_TIME + 1, 1.0)
    assert points(client, stream.uuid) == [(T, 1.0), (T + 2, 3.0)]
    assert [record.getMessage() for record in caplog.records] == [
        f"rejected 1 of 3 points of stream {stream.uuid}: the value at time {T + 1} is nan",
        (
            f"rejected 1 of 1 points of stream {stream.uuid}: time {MAXIMUM_INSERT_TIME + 1} "
            "is outside the range of a stream (1933 to 2079)"
        ),
    ]


def test_of_many_that_are_rejected_the_last_are_kept(client: pt.Client, stream: pt.Stream):
    with Writer(client) as writer:
        for _ in range(3):
            writer.add(stream.uuid, np.arange(700), np.full(700, math.nan))
    assert writer.counts.rejected == 2_100
    assert [one.time for one in writer.rejected] == [*range(400, 700), *range(700)]


def test_a_client_that_is_closed_ends_the_writer(server: Server, collection: str):
    with pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), collection, {"name": "a", "unit": ""})
        writer = Writer(client)
        writer.add(stream.uuid, T, 1.0)
        writer.flush()
    writer.add(stream.uuid, T + 1, 2.0)
    with pytest.raises(WriterFailed, match="closed"):
        writer.close()
    ((times, values),) = writer.unstored.values()
    assert (times.tolist(), values.tolist()) == ([T + 1], [2.0])


def test_streams_are_found_again_or_made(client: pt.Client, collection: str):
    first = ensure(client, collection, [Wanted("a", "volts", {"phase": "A"})])
    second = ensure(client, collection, [Wanted("a", "volts"), Wanted("b", "amperes")])
    assert first["a"] == second["a"]
    assert client.stream_from_uuid(first["a"]).annotations() == {"phase": "A"}
    with pytest.raises(ValueError, match="has the unit `volts`, not `hertz`"):
        ensure(client, collection, [Wanted("a", "hertz")])
    with pytest.raises(ValueError, match="two streams"):
        ensure(client, collection, [Wanted("c", "volts"), Wanted("c", "volts")])


REFUSED: dict[str, tuple[Any, Any, type[BTrDBError], str]] = {
    "a far time": (np.array(["3000"], "M8[s]"), 1.0, InvalidTimeRange, "row 0: the time `3000"),
    "a missing time": (np.array(["NaT"], "M8[s]"), 1.0, InvalidTimeRange, "NaT"),
    "no unit": (np.array([5]).astype("M8"), 1.0, BTRDBTypeError, "without a unit"),
    "a large uint64": (np.array([2**63], np.uint64), 1.0, InvalidTimeRange, "outside the range"),
    "a large whole number": (1, 2**53 + 1, BadValue, "9007199254740993 cannot be represented"),
    "a large one of numpy": ([1, 2], np.array([0, 2**60 + 1]), BadValue, "row 1: the integer"),
    "text": (1, "x", BTRDBTypeError, "give numbers"),
    "a complex number": (1, 1j, BTRDBTypeError, "give numbers"),
    "a duration": (1, np.timedelta64(1, "s"), BTRDBTypeError, "give numbers"),
    "None": (1, None, BadValue, "row 0 has a null"),
    "a masked value": ([1], np.ma.array([1.0], mask=[True]), BadValue, "row 0 has a null"),
    "a truth value": (1, True, BTRDBTypeError, "cast them if 0 and 1"),
    "a truth value of numpy": ([1], np.array([True]), BTRDBTypeError, "cast them if 0 and 1"),
    "truth among objects": ([1, 2], np.array([1.5, True], object), BadValue, "row 1: .* `True`"),
    "truth in a list": ([1, 2], [1.5, True], BadValue, "row 1: .* `True`"),
    "a large one in a list": ([1, 2], [1.5, 2**53 + 1], BadValue, "row 1: the integer"),
    "a large one beside a null": (
        pa.array([1, 2]),
        pa.array([2**53 + 1, None]),
        BadValue,
        "row 1 of a .* holds a null",
    ),
    "a masked time": (
        np.ma.array([1, 2], mask=[False, True]),
        np.array([1.0, 2.0]),
        InvalidTimeRange,
        "row 1 has no time",
    ),
    "two dimensions": (np.array([[1]]), np.array([[1.0]]), BTRDBValueError, "one-dimensional"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_as_it_is_is_refused_and_the_rest_goes_on(
    client: pt.Client, collection: str, name: str
):
    times, values, error, why = REFUSED[name]
    stream = client.create(uuid4(), collection, {"name": "a", "unit": ""})
    with Writer(client) as writer:
        with pytest.raises(error, match=why):
            writer.add(stream.uuid, times, values)
        assert writer.add(stream.uuid, 5, 2**60)  # a float64, though large
    assert writer.counts.stored == 1
    assert stream.raw_values(0, 10).column(1).to_pylist() == [2.0**60]


@pytest.mark.parametrize(
    ("wrong", "error", "why"),
    [
        (lambda _: {"x": (1, 1.0)}, InvalidUUIDError, "`x` is not a uuid"),
        (lambda uuid: {uuid: (1, 1.0), str(uuid): (2, 2.0)}, BTRDBValueError, "twice"),
        (lambda uuid: {uuid: [(1, 1), (2, 2)]}, BTRDBTypeError, "give a tuple of its times"),
        (lambda uuid: {uuid: (1, 1.0, 2.0)}, BTRDBTypeError, "give a tuple of its times"),
        (lambda uuid: [(uuid, (1, 1.0))], BTRDBTypeError, "must map uuids"),
    ],
)
def test_wrong_keys_and_rows_do_not_stop_the_writer(
    client: pt.Client,
    collection: str,
    wrong: Callable[[UUID], Any],
    error: type[BTrDBError],
    why: str,
):
    stream = client.create(uuid4(), collection, {"name": "a", "unit": ""})
    with Writer(client) as writer:
        with pytest.raises(error, match=why):
            writer.add_all(wrong(stream.uuid))
        writer.add(cast("UUID", str(stream.uuid)), 5, 1.0)
        writer.add(stream.uuid, 6, 2.0)
    assert stream.raw_values(0, 10).column(1).to_pylist() == [1.0, 2.0]
