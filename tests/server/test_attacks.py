"""Attacks with honest clients beside them: none of these fails, and memory keeps to its budget.

The long versions print what `docs/design/reliability.md` has in its table.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from server import attacks, frames
from server.attacks import MEBIBYTE, Attack, Honest
from server.statements import STATEMENTS

KEY = "key-of-the-honest"
SECONDS = float(os.environ.get("PINGTHINGS_ATTACK_SECONDS", "15"))
# What a server may take beside the budget for what it holds for callers.
BESIDE = 200 * MEBIBYTE
Serve = Callable[..., Any]


class Attacked:
    """A server with a key, a stream in it, and how much memory it had at first."""

    def __init__(self, serve: Serve, *arguments: str, keys: str | None = KEY) -> None:
        self.served = serve(*arguments, keys=keys)
        self.endpoint: str = self.served.endpoint
        self.key = keys and KEY
        with pt.connect(endpoint=self.endpoint, apikey=self.key) as client:
            self.stream = client.create(uuid4(), "honest", {"name": "x"})
        self.honest = Honest(self.endpoint, self.stream, self.key)
        self.honest.insert(20)
        self.before = attacks.most_memory(self.served.process)

    def grown(self) -> int:
        return attacks.most_memory(self.served.process) - self.before

    def stop(self) -> None:
        self.honest.close()
        assert not self.honest.failed, self.honest.failed[:3]
        assert self.served.stop() == 0


@pytest.fixture
def attacked(serve: Serve) -> Iterator[Callable[..., Attacked]]:
    started: list[Attacked] = []

    def start(*arguments: str, keys: str | None = KEY) -> Attacked:
        started.append(Attacked(serve, *arguments, keys=keys))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def report(name: str, attacked: Attacked, attack: Attack, seconds: float) -> None:
    print(  # noqa: T201 - what a long run is for
        f"\n{name}: {attack.sent / seconds:,.0f} a second over {attack.connections} connections; "
        f"memory {attacked.before / 1e6:.0f} MB and {attacked.grown() / 1e6:.0f} MB more at most; "
        f"beside it {attacked.honest}"
    )


AUTHORIZATION = ("authorization", f"Bearer {KEY}")


@pytest.mark.parametrize("headers", [[], [AUTHORIZATION]], ids=["stranger", "caller"])
def test_rapid_reset(attacked: Callable[..., Attacked], headers: list[tuple[str, str]]):
    victim = attacked("--memory-limit", "64")
    with Attack(attacks.rapid_reset(victim.endpoint, *headers), 4):
        victim.honest.insert(30)
    assert victim.grown() < 64 * MEBIBYTE + BESIDE


def test_too_many_resets_are_told_to_calm_down(attacked: Callable[..., Attacked]):
    victim = attacked()
    connection = frames.opened(victim.endpoint)
    with connection:
        for stream in range(1, 2_000, 2):
            call = frames.call(stream, "/v5api.BTrDB/Info")
            try:
                connection.sendall(call + frames.reset(stream))
            except OSError:
                break
        last = frames.kinds(frames.drained(connection, 30))[-1]
    assert last[0] == frames.GOAWAY
    assert last[1][4:8] == frames.ENHANCE_YOUR_CALM.to_bytes(4, "big")


def test_uploads_without_an_end(attacked: Callable[..., Attacked]):
    victim = attacked("--memory-limit", "64", keys=None)
    # Five requests of 40 MiB, which are more than all that may be held, again and again.
    with Attack(attacks.unfinished_uploads(victim.endpoint, 40), 5) as attack:
        while attack.sent < 300 * MEBIBYTE:
            victim.honest.insert(5)
    assert victim.grown() < 64 * MEBIBYTE + BESIDE


def test_uploads_of_one_key_leave_room_for_another(attacked: Callable[..., Attacked]):
    victim = attacked("--memory-limit", "16", keys=f"{KEY},greedy")
    headers = ("authorization", "Bearer greedy")
    with Attack(attacks.unfinished_uploads(victim.endpoint, 10, 4, headers), 3) as attack:
        while attack.sent < 100 * MEBIBYTE:
            victim.honest.insert(5)
        with pt.connect(endpoint=victim.endpoint, apikey=KEY) as client:
            # 1.6 MB, which always fits in the quarter that one key does not get.
            rows = np.arange(100_000)
            client.stream_from_uuid(victim.stream.uuid).insert((rows, rows.astype(float)))
    assert victim.grown() < 16 * MEBIBYTE + BESIDE


def insert(megabytes: int) -> bytes:
    """An insert of which only the last thing that is looked at is wrong: its points."""
    length = megabytes * MEBIBYTE
    varint = bytes((length >> shift & 0x7F) | 0x80 for shift in range(0, 28, 7))
    return b"\x22" + varint + b"\0" + bytes(length)


def waiting(endpoint: str, kind: str) -> Callable[[Attack], None]:
    """Calls of somebody with a key, 500 on each connection, or of strangers, who have fewer."""
    if kind == "watch":
        path = "/grpc.health.v1.Health/Watch"
        return attacks.waiting_calls(endpoint, path, 32, message=b"")
    call, message = {"half a request": ("Insert", None), "no window": ("Info", b"")}[kind]
    path = f"/v5api.BTrDB/{call}"
    return attacks.waiting_calls(endpoint, path, 500, AUTHORIZATION, message=message)


WAITING = pytest.mark.parametrize("kind", ["half a request", "no window", "watch"])


@WAITING
def test_calls_that_wait(attacked: Callable[..., Attacked], kind: str):
    victim = attacked("--memory-limit", "64")
    with Attack(waiting(victim.endpoint, kind), 6) as attack:
        while attack.connections < 60:
            victim.honest.insert(5)
        victim.honest.insert(20)
    assert victim.grown() < 64 * MEBIBYTE + BESIDE


@pytest.mark.parametrize("kind", attacks.FLOODS)
def test_floods_of_frames(attacked: Callable[..., Attacked], kind: str):
    victim = attacked("--memory-limit", "64")
    frames_sent, before = attacks.FLOODS[kind]
    with Attack(attacks.flood(victim.endpoint, frames_sent, before=before), 4) as attack:
        while attack.connections < 4:
            victim.honest.insert(5)
        victim.honest.insert(100)
    assert victim.grown() < 64 * MEBIBYTE + BESIDE


# What four statements may take, the budget of none of the others included.
OF_STATEMENTS = 4 * 64 * MEBIBYTE


def test_statements_that_want_much(attacked: Callable[..., Attacked]):
    victim = attacked(keys=f"{KEY},greedy")
    with (
        Attack(attacks.statements(victim.endpoint, "greedy"), 6) as attack,
        pt.connect(endpoint=victim.endpoint, apikey=KEY) as client,
    ):
        while attack.sent < 2 * len(STATEMENTS):
            victim.honest.insert(5)
            assert client.sql_query("select name from streams") == [{"name": "x"}]
    assert victim.grown() < OF_STATEMENTS + BESIDE


@pytest.mark.long
def test_statements_that_want_much_for_long(attacked: Callable[..., Attacked]):
    victim = attacked(keys=f"{KEY},greedy")
    with Attack(attacks.statements(victim.endpoint, "greedy"), 16) as attack:
        victim.honest.insert_for(SECONDS)
    report("statements", victim, attack, SECONDS)
    assert victim.grown() < OF_STATEMENTS + BESIDE


@pytest.mark.long
@pytest.mark.parametrize("kind", attacks.FLOODS)
def test_floods_of_frames_for_long(attacked: Callable[..., Attacked], kind: str):
    victim = attacked()
    frames_sent, before = attacks.FLOODS[kind]
    with Attack(attacks.flood(victim.endpoint, frames_sent, before=before), 4) as attack:
        victim.honest.insert_for(SECONDS)
    report(f"bytes of {kind}", victim, attack, SECONDS)
    assert victim.grown() < 512 * MEBIBYTE + BESIDE


@pytest.mark.long
@WAITING
def test_calls_that_wait_for_long(attacked: Callable[..., Attacked], kind: str):
    victim = attacked()
    with Attack(waiting(victim.endpoint, kind), 8) as attack:
        victim.honest.insert_for(SECONDS)
    report(f"calls that wait ({kind})", victim, attack, SECONDS)
    assert victim.grown() < 512 * MEBIBYTE + BESIDE


def test_uploads_that_are_small_only_while_packed(attacked: Callable[..., Attacked]):
    victim = attacked("--memory-limit", "64", keys=None)
    packed = gzip.compress(insert(100), 1)
    with Attack(attacks.packed_uploads(victim.endpoint, packed, "gzip"), 3) as attack:
        while attack.sent < 10 * len(packed):
            victim.honest.insert(5)
    assert victim.grown() < 64 * MEBIBYTE + BESIDE


@pytest.mark.long
@pytest.mark.parametrize("headers", [[], [AUTHORIZATION]], ids=["stranger", "caller"])
def test_rapid_reset_for_long(attacked: Callable[..., Attacked], headers: list[tuple[str, str]]):
    victim = attacked()
    with Attack(attacks.rapid_reset(victim.endpoint, *headers), 4) as attack:
        victim.honest.insert_for(SECONDS)
    report("resets", victim, attack, SECONDS)
    assert victim.grown() < 512 * MEBIBYTE + BESIDE


@pytest.mark.long
def test_uploads_without_an_end_for_long(attacked: Callable[..., Attacked]):
    victim = attacked(keys=None)
    with Attack(attacks.unfinished_uploads(victim.endpoint, 200), 5) as attack:
        victim.honest.insert_for(SECONDS)
    report("bytes of unfinished requests", victim, attack, SECONDS)
    assert victim.grown() < 512 * MEBIBYTE + BESIDE


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_uploads_for_long(attacked: Callable[..., Attacked], encoding: str):
    victim = attacked(keys=None)
    codec = pytest.importorskip("pyarrow").Codec(encoding)
    packed = codec.compress(insert(200), asbytes=True)
    with Attack(attacks.packed_uploads(victim.endpoint, packed, encoding), 4) as attack:
        victim.honest.insert_for(SECONDS)
    report(f"bytes of packed requests ({encoding})", victim, attack, SECONDS)
    assert victim.grown() < 512 * MEBIBYTE + BESIDE
