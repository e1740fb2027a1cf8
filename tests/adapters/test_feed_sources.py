"""Several senders at one feed, and senders that change or whose clock is wrong."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pingthings.timeseries as pt
import pytest
from adapters.receiver import receiving, stored
from adapters.sent_frames import measured, unit
from ingest.simulated_sender import IDCODE, START, sending
from pingthings.ingest import c37118_frames
from pingthings.ingest.c37118_frames import Kind
from pingthings.ingest.feed import Counts, Feed
from pingthings.ingest.writer import Writer
from pingthings.timeseries.exceptions import BTRDBValueError

Until = Callable[[Callable[[], object]], None]
Send = Callable[[bytes], None]


@contextmanager
def listening(
    client: pt.Client, collection: str, until: Until, **more: Any
) -> Iterator[tuple[Feed, Send]]:
    """A feed that waits for frames over UDP, and what sends them to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"transport": "udp-listen", "silence": 60.0, **more}
        with receiving(client, collection, port, **options) as feed:
            until(lambda: feed.counts.connections)
            yield feed, lambda frame: (sender.sendto(frame, ("127.0.0.1", port)), None)[1]


def values(client: pt.Client, collection: str, name: str) -> list[float]:
    return [value for _, value in stored(client, collection)[name]]


def test_frames_of_several_senders_go_where_their_own_configuration_says(
    client: pt.Client, collection: str, until: Until
):
    codes = {11: "OAK", 12: "ELM", 13: "ASH"}
    with listening(client, collection, until, idcode=0) as (feed, send):
        for number in range(30):
            for code in codes:
                send(measured(number, [float(code)], idcode=code))
            for code, station in codes.items():
                if number == 5 + code - 11:  # what comes before waits
                    send(unit(station, idcode=code))
        until(lambda: feed.counts.frames == 90)
    assert feed.counts == Counts(connections=1, frames=90)
    for code, station in codes.items():
        assert values(client, f"{collection}/{station}", "VA MAG") == [float(code)] * 30


def test_who_listens_for_one_idcode_gets_that_only(
    client: pt.Client, collection: str, until: Until
):
    with listening(client, collection, until) as (feed, send):
        send(unit("ELM", idcode=12))
        send(unit("OAK"))
        for number in range(10):
            send(measured(number, [5.0], idcode=12))
            send(measured(number, [7.0]))
        until(lambda: feed.counts.frames == 10 and feed.counts.foreign == 11)
    assert {one.collection for one in client.streams_in_collection(collection)} == {
        f"{collection}/OAK"
    }


def test_two_senders_of_one_station_are_refused_by_name(client: pt.Client, collection: str):
    def frames() -> Iterator[bytes]:
        yield unit("OAK", idcode=12)

    with sending(frames, lambda: unit("OAK")) as port, Writer(client) as writer:
        feed = Feed(client, writer, "127.0.0.1", port, IDCODE, collection)
        with pytest.raises(BTRDBValueError, match=f"12 and {IDCODE} both have a .*`OAK`"):
            feed.run(threading.Event())


def test_units_of_one_name_and_idcode_have_streams_of_their_own(
    client: pt.Client, collection: str, until: Until
):
    twice = unit("OAK", units=2).replace((IDCODE + 1).to_bytes(2, "big"), IDCODE.to_bytes(2, "big"))
    whole = c37118_frames.frame(Kind.CONFIGURATION_2, IDCODE, START, 0, twice[14:-2])
    both = measured(0, [1.0])[14:-2] + measured(0, [2.0])[14:-2]

    def frames() -> Iterator[bytes]:
        yield c37118_frames.frame(Kind.DATA, IDCODE, START, 0, both)
        while True:
            yield b""

    with sending(frames, lambda: whole) as port, receiving(client, collection, port) as feed:
        until(lambda: feed.counts.frames)
    found = [values(client, f"{collection}/OAK {IDCODE} {place}", "VA MAG") for place in (1, 2)]
    assert found == [[1.0], [2.0]]


CHANGES: dict[str, dict[str, Any]] = {
    "more channels": {"names": ("VA", "VB", "VC")},
    "fewer channels": {"names": ("VB",)},
    "other names": {"names": ("VX", "VY")},
    "another rate": {"names": ("VA", "VB"), "rate": 60},
    "another station": {"station": "ELM", "names": ("VA", "VB")},
}


@pytest.mark.parametrize("transport", ["tcp", "udp-listen"])
@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_configuration_that_changes_while_data_come(
    client: pt.Client,
    collection: str,
    until: Until,
    change: str,
    is_announced: bool,
    transport: str,
):
    """A new configuration comes of its own accord; the status says so before, or does not."""
    after = {"station": "OAK", **CHANGES[change]}
    names = after["names"]
    each = [measured(k, [1.0, 2.0], stat=is_announced << 10) for k in range(5)]
    each += [unit(**after)]
    each += [measured(k, [float(3 + n) for n, _ in enumerate(names)]) for k in range(5, 10)]
    first = unit("OAK", ("VA", "VB"))

    def frames() -> Iterator[bytes]:
        yield from each
        while True:
            yield b""

    if transport == "tcp":
        # Asked again, it says what is so now.
        answers = iter([first])
        with (
            sending(frames, lambda: next(answers, unit(**after))) as port,
            receiving(client, collection, port) as feed,
        ):
            until(lambda: feed.counts.frames == 10)
    else:
        with listening(client, collection, until) as (feed, send):
            for one in [first, *each, unit(**after)]:
                send(one)
            until(lambda: feed.counts.frames == 10)
    assert feed.counts == Counts(connections=1, frames=10)
    found = stored(client, f"{collection}/{after['station']}")
    for place, name in enumerate(names):
        later = [value for at, value in found[f"{name} MAG"] if at >= (START + 5) * 10**9]
        assert later == [float(3 + place)] * 5
    before = stored(client, f"{collection}/OAK")
    early = [value for at, value in before["VB MAG"] if at < (START + 5) * 10**9]
    assert early == [2.0] * 5


def test_data_that_never_fit_are_refused_and_cost_no_more_than_an_answer_each(
    client: pt.Client, collection: str, until: Until
):
    with listening(client, collection, until) as (feed, send):
        for number in range(20):
            send(unit("OAK"))
            send(measured(number, [1.0, 2.0]))
        until(lambda: feed.counts.refused == 20)
    assert feed.counts.frames == 0


def test_a_time_that_the_sender_itself_calls_unreliable(
    client: pt.Client, collection: str, until: Until
):
    now = int(time.time())
    with listening(client, collection, until) as (feed, send):
        send(unit("OAK"))
        send(measured(0, [1.0], second=5, quality=0x0F))  # 1970
        send(measured(0, [2.0], second=now, quality=0x0F))  # it may be a little off
        send(measured(0, [3.0], second=5, quality=0x0B))  # a recording of old, perhaps
        until(lambda: feed.counts.frames == 2)
    assert feed.counts.refused == 1
    (stream,) = (one for one in client.streams_in_collection(collection) if one.name == "VA MAG")
    table = stream.raw_values(0, (now + 9) * 10**9)
    assert table.column(1).to_pylist() == [3.0, 2.0]


def test_what_is_infinite_is_rejected_and_the_rest_of_the_frame_kept(
    client: pt.Client, collection: str, until: Until
):
    with listening(client, collection, until) as (feed, send):
        send(unit("OAK", ("VA", "VB")))
        send(measured(0, [math.inf, 2.0]))
        send(measured(1, [math.nan, 3.0]))
        until(lambda: feed.counts.frames == 2)
    found = stored(client, f"{collection}/OAK")
    assert "VA MAG" in found
    assert found["VA MAG"] == []
    assert [value for _, value in found["VB MAG"]] == [2.0, 3.0]
    counts = feed.writer.counts
    assert (counts.rejected, counts.waiting) == (1, 0)
    assert [one.value for one in feed.writer.rejected] == [math.inf]
