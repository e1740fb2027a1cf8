"""What was given up and arrives late does not win over what is newer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import DeadlineExceededError
from resilience.proxy import Proxy

DELAY_S = 3.0
GIVEN_UP_S = 0.2
CONNECTIONS = 4
TIMES = range(10)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[pt.Client]:
    with pt.connect(endpoint=proxy.endpoint, retry_for=0) as client:
        yield client


@pytest.fixture
def own(client: pt.Client, stream: pt.Stream) -> pt.Stream:
    """The stream through the proxy, with all connections for inserts open."""
    own = client.stream_from_uuid(stream.uuid)
    for write in (lambda: own.insert(points(0.0), "replace"), lambda: own.delete(-2, -1)):
        for _ in range(8):
            write()
    return own


def points(value: float) -> list[tuple[int, float]]:
    return [(at, value) for at in TIMES]


def give_up(client: pt.Client, proxy: Proxy, write: Callable[[], object]) -> float:
    """Writes over connections on which bytes arrive late, and does not wait; says when they do."""
    before = proxy.connections
    for connection in proxy.open_connections:
        proxy.delay(DELAY_S, connection)
    client.timeout = GIVEN_UP_S
    with pytest.raises(DeadlineExceededError):
        write()
    late = time.monotonic() + DELAY_S
    # Each of the other connections is given up by the first call that takes it.
    while proxy.connections < before + CONNECTIONS:
        with suppress(DeadlineExceededError):
            client.info()
    client.timeout = None
    return late


def test_a_late_insert_does_not_replace_newer_points(
    client: pt.Client, proxy: Proxy, own: pt.Stream, stream: pt.Stream
) -> None:
    late = give_up(client, proxy, lambda: own.insert(points(1.0), "replace"))
    own.insert(points(2.0), "replace")
    assert time.monotonic() < late, "the newer insert took the slow road too"
    while time.monotonic() < late + DELAY_S:
        assert set(stream.raw_values(0, len(TIMES))["value"].to_pylist()) == {2.0}


def test_a_late_delete_does_not_remove_newer_points(
    client: pt.Client, proxy: Proxy, own: pt.Stream, stream: pt.Stream
) -> None:
    late = give_up(client, proxy, lambda: own.delete(0, len(TIMES)))
    own.insert(points(2.0), "replace")
    assert time.monotonic() < late, "the newer insert took the slow road too"
    while time.monotonic() < late + DELAY_S:
        assert stream.count() == 1000 + len(TIMES) - 1


def test_a_write_that_was_given_up_may_still_be_done_before_newer_ones(
    client: pt.Client, proxy: Proxy, own: pt.Stream, stream: pt.Stream
) -> None:
    late = give_up(client, proxy, lambda: own.insert(points(1.0), "replace"))
    deadline = late + 10 * DELAY_S
    while set(stream.raw_values(0, len(TIMES))["value"].to_pylist()) != {1.0}:
        assert time.monotonic() < deadline, "it never came, so the tests above show nothing"
    own.insert(points(2.0), "replace")
    assert set(stream.raw_values(0, len(TIMES))["value"].to_pylist()) == {2.0}
