"""A client that was used before a fork works in the child and in the parent."""

from __future__ import annotations

import sys

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from resilience.conftest import Script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

FORK = """
import asyncio, os, sys, threading
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
assert stream.count() == 1000

def use(stream):
    assert stream.raw_values(0, 10_000_000_000).num_rows == 10
    async def main():
        stream = client.get_async_client().stream_from_uuid(sys.argv[2])
        tables = await asyncio.gather(*(stream.raw_values(0, 5_000_000_000) for _ in range(20)))
        assert [table.num_rows for table in tables] == [5] * 20
    asyncio.run(main())

busy = threading.Event()
def calls():
    while not busy.is_set():
        stream.count()
thread = threading.Thread(target=calls)
thread.start()  # so that the fork finds locks held and calls under way
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        use(stream)
        grandchild = os.fork()
        if grandchild == 0:
            use(stream)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 7
        client.close()
        os._exit(7)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
busy.set()
thread.join()
use(stream)
print(codes)
"""
MULTIPROCESSING = """
import multiprocessing, sys
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
stream.count()

def rows(end):
    return stream.raw_values(0, end * 1_000_000_000).num_rows

with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(rows, range(1, 6)))
"""


def test_fork_after_use_works_in_child_grandchild_and_parent(
    script: Script, server: Server, stream: pt.Stream
) -> None:
    done = script(FORK, server.endpoint, str(stream.uuid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[7, 7, 7, 7, 7]\n", "")


def test_a_forked_pool_shares_a_client(script: Script, server: Server, stream: pt.Stream) -> None:
    done = script(MULTIPROCESSING, server.endpoint, str(stream.uuid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2, 3, 4, 5]\n", "")


def test_a_server_stays_with_the_parent(script: Script) -> None:
    text = """
import os
import pingthings.timeseries as pt
from pingthings.server import Server

with Server() as server:
    client = pt.connect(endpoint=server.endpoint)
    child = os.fork()
    if child == 0:
        assert not server.is_running
        assert client.list_collections() == []
        server.stop()
        raise SystemExit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert client.list_collections() == []
print("fine")
"""
    done = script(text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


COUNTED = """
import os, sys
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
tables = stream.raw_values_iter(0, 10**12)
next(tables)
before = client.stats()
child = os.fork()
if child == 0:
    assert client.stats().requests == client.stats().requests_in_flight == 0
    stream.count()
    stats = client.stats()
    assert stats.calls.precise_windows.succeeded == stats.requests == 1
    assert stats.calls.info.started == stats.calls.raw_values.in_flight == 0
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert client.stats().requests == before.requests == 2
"""


def test_a_child_counts_for_itself(script: Script, server: Server, stream: pt.Stream) -> None:
    done = script(COUNTED, server.endpoint, str(stream.uuid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
