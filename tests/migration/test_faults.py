"""What was wrong in the older client, `btrdb` 5.34, and does not happen here.

The table in `docs/migrating-from-btrdb.md` names each of these tests.
"""

from __future__ import annotations

import pickle
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import polars as pl
import pyarrow as pa
import pytest
from conftest import Connect
from pingthings.server import Fault, Server
from pingthings.timeseries.constants import PW
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BTrDBError,
    BTRDBValueError,
    ClientClosedError,
    ConnectionError,  # noqa: A004 - documented name
    DeadlineExceededError,
    StreamNotFoundError,
)
from resilience.conftest import Script, calling
from resilience.proxy import HEADERS, Proxy

ROOT = Path(__file__).resolve().parents[2]
T = 1_500_000_000_000_000_000
SECOND = 1_000_000_000
MIB = 1 << 20
NOTHING_INSTALLED = (
    *("btrdb", "certifi", "dask", "grpc", "matplotlib", "pandas", "polars", "pytz", "ray"),
    *("rich", "typer"),
)


async def many(client: pt.AsyncClient, collection: str, count: int) -> pt.AsyncStreamSet:
    """Streams of two points each, one and two seconds after `T`."""
    uuids = [uuid4() for _ in range(count)]
    for number, uuid in enumerate(uuids):
        await client.create(uuid, collection, {"name": f"{number}"})
    streams = await client.streamset_from_uuids(uuids)
    await streams.insert({uuid: [(T + SECOND, 1.0), (T + 2 * SECOND, 2.0)] for uuid in uuids})
    return streams


def lengths(tables: list[pa.Table | None]) -> list[int]:
    return [0 if table is None else table.num_rows for table in tables]


async def test_first_and_last_points_looked_up_versions_again_and_again(
    connect: Connect, apikey: str, collection: str, proxy: Proxy
) -> None:
    async with await connect(endpoint=proxy.endpoint, apikey=apikey) as client:
        streams = await many(client, collection, 20)
        for call in (streams.earliest, streams.latest, streams.count):
            before = proxy.frames[HEADERS]
            assert len(await call()) == 20
            assert proxy.frames[HEADERS] - before == 20  # one request for each stream, no more


async def test_no_point_on_that_side_was_an_error(stream: pt.AsyncStream) -> None:
    await stream.insert([(T, 1.0)])
    assert await stream.nearest(T + 1) is None
    assert await stream.nearest(T, backward=True) is None
    assert await stream.nearest(T) == (T, 1.0)


async def test_empty_streams_and_frames_crashed(
    client: pt.AsyncClient, stream: pt.AsyncStream
) -> None:
    assert (await stream.earliest(), await stream.latest(), await stream.count()) == (None, None, 0)
    table = await stream.raw_values(T, T + 1)
    assert table.to_pandas().shape == (0, 2)
    assert pl.DataFrame(pl.from_arrow(table)).shape == (0, 2)
    assert (await stream.aligned_windows(T, T + SECOND, 20)).num_rows == 0

    streams = await client.streamset_from_uuids([stream.uuid])
    assert await streams.earliest() == await streams.latest() == {stream.uuid: None}
    assert await streams.raw_values(T, T + 1) == [None]
    empty = pd.DataFrame({"time": pd.to_datetime([], utc=True), "value": np.array([], float)})
    await stream.insert(empty)
    assert await stream.count() == 0

    nothing = await client.streamset_from_uuids([])
    assert (await nothing.raw_values(T, T + 1), await nothing.latest()) == ([], {})


async def test_answers_above_four_megabytes_failed(
    client: pt.AsyncClient, collection: str, stream: pt.AsyncStream
) -> None:
    count = 300_000
    times = T + np.arange(count, dtype=np.int64)
    values = np.arange(count, dtype=np.float64)
    other = await client.create(uuid4(), collection, {"name": "other"})
    for each in (stream, other):
        await each.insert((times, values))
    streams = await client.streamset_from_uuids([stream.uuid, other.uuid])
    for table in await streams.raw_values(T, T + count):
        assert table is not None
        assert table.nbytes > 4 * MIB
        assert np.array_equal(table["value"].to_numpy(), values)


async def test_an_index_for_pandas_made_arrow_slow(stream: pt.AsyncStream) -> None:
    await stream.insert([(T + k, float(k)) for k in range(1000)])
    table = await stream.raw_values(T, T + 1000)
    for column in (table["time"].cast(pa.int64()), table["value"]):
        for chunk in column.chunks:
            # Raises if the numbers have to be copied to become those of numpy.
            assert len(chunk.to_numpy(zero_copy_only=True)) == len(chunk)
    assert isinstance(table.to_pandas().index, pd.RangeIndex)


async def test_compressing_requests_made_inserts_slow(
    connect: Connect, apikey: str, collection: str, endpoint: str
) -> None:
    async with await connect(endpoint=endpoint, apikey=apikey) as client:
        stream = await client.create(uuid4(), collection, {"name": "L1MAG"})
        before = client.stats().bytes_sent
        points = 50_000
        await stream.insert((T + np.arange(points, dtype=np.int64), np.zeros(points)))
        # All of them, though they would be a few bytes if they were compressed.
        assert client.stats().bytes_sent - before > points * 16


async def test_connections_broke_when_a_root_certificate_expired(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    secure_endpoint: str,
    certificate: Path,
    apikey: str,
) -> None:
    # Roots are those of the system and not of a bundle in the package, and others can be named.
    with pytest.raises(ConnectionError):
        await connect(endpoint=secure_endpoint, apikey=apikey)
    monkeypatch.setenv("BTRDB_CA_BUNDLE", str(certificate))
    async with await connect(endpoint=secure_endpoint, apikey=apikey) as client:
        assert (await client.info())["major_version"] == 5


async def test_errors_of_the_transport_came_through_raw(
    connect: Connect, apikey: str, unknown: pt.AsyncStream, proxy: Proxy
) -> None:
    with pytest.raises(StreamNotFoundError) as not_found:
        await unknown.count()
    with pytest.raises(AuthenticationError) as refused:
        await connect(endpoint=proxy.endpoint, apikey="mistaken")
    client = await connect(endpoint=proxy.endpoint, apikey=apikey)
    await client.close()
    with pytest.raises(ClientClosedError) as closed:
        await client.info()
    with Server() as server:
        gone = server.endpoint
    with pytest.raises(ConnectionError) as unreachable:
        await connect(endpoint=gone)
    for raised in (not_found, refused, closed, unreachable):
        assert isinstance(raised.value, BTrDBError)
        assert str(raised.value)
    assert not_found.value.uuid == unknown.uuid


def test_pickling_was_refused_and_ray_needed_a_release_of_its_own(
    endpoint: str, apikey: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pt.connect(endpoint=endpoint, apikey=apikey) as client:
        stream = client.create(uuid4(), f"tests/{uuid4()}", {"name": "L1MAG"})
        stream.insert([(T, 1.0)])
        sent = pickle.dumps((client, stream, pt.StreamSet([stream])))
    assert apikey.encode() not in sent  # it is looked for where the streams arrive
    monkeypatch.setenv("BTRDB_API_KEY", apikey)
    done = script(UNPICKLED, sent.hex())
    assert (done.returncode, done.stdout, done.stderr) == (0, "5 L1MAG 1 [1]\n", "")


UNPICKLED = """
import pickle, sys
client, stream, streams = pickle.loads(bytes.fromhex(sys.argv[1]))
counts = list(streams.count().values())
print(client.info()["major_version"], stream.name, stream.count(), counts)
"""


def test_a_bare_installation_could_not_be_imported(script: Script) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {name.partition(">")[0] for name in project["dependencies"]}
    blocked = f"import sys; sys.modules.update(dict.fromkeys({NOTHING_INSTALLED!r})); "
    done = script(
        blocked + "import pingthings.timeseries as pt; from pingthings.server import Server\n"
        "with Server() as server, pt.connect(server.endpoint) as client:\n"
        "    print(client.list_collections())"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    # The last two are for the command line; importing and connecting needs neither.
    assert needed == {"numpy", "pyarrow", "pyyaml", "rich", "typer"}


async def test_times_went_through_floats(stream: pt.AsyncStream) -> None:
    generator = np.random.default_rng(7)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for microseconds in generator.integers(0, 4 * 10**15, 10_000):
        instant = epoch + timedelta(microseconds=int(microseconds))
        nanoseconds = pt.utils.datetime_to_ns(instant)
        assert nanoseconds == int(microseconds) * 1000
        assert pt.utils.ns_to_datetime(nanoseconds) == instant

    exact = 1_672_531_200_123_456_789
    for written in (
        np.datetime64(exact, "ns"),
        pd.Timestamp(exact, tz="Europe/Berlin"),
        "2023-01-01T00:00:00.123456789Z",
        "2023-01-01T01:00:00.123456789+01:00",
        "2023-01-01 00:00:00.123456789",
    ):
        assert pt.utils.to_nanoseconds(written) == exact
        await stream.insert([(written, 1.0)], merge="replace")
    assert (await stream.earliest(), await stream.count()) == ((exact, 1.0), 1)

    whole = pt.utils.to_nanoseconds("2023-01-01")
    for written in ("2023-01-01T00:00:00+00:00", "2023-01-01T00:00:00", "2023-01-01 00:00"):
        assert pt.utils.to_nanoseconds(written) == whole
    berlin = datetime(2023, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert pt.utils.to_nanoseconds(berlin) == whole
    assert pt.utils.ns_delta(seconds=0.3) == 300_000_000


async def test_sixty_hertz_was_cut_off_to_whole_nanoseconds(stream: pt.AsyncStream) -> None:
    times = [T + k * SECOND // 60 for k in range(60 * 600 + 1)]
    await stream.insert((np.array(times), np.zeros(len(times))))
    table = await stream.raw_values(times[0], times[-1] + 1)
    # Nothing snaps them to a grid: after ten minutes they are where they were measured.
    assert table["time"].cast(pa.int64()).to_pylist() == times
    assert times[-1] - times[0] == 600 * SECOND
    assert pt.utils.nearest_point_width(hertz=Fraction(60_000, 1001)) == PW[24]


async def test_pinned_versions_were_ignored_by_raw_values(
    client: pt.AsyncClient, collection: str
) -> None:
    streams = await many(client, collection, 3)
    await streams.flush()
    await streams.pin_versions()
    pinned = {stream.uuid: stream.pinned_version for stream in streams}
    await streams.insert({stream.uuid: [(T + 3 * SECOND, 3.0)] for stream in streams})
    await streams.flush()

    assert lengths(await streams.raw_values(T, T + 9 * SECOND)) == [2] * 3
    assert set((await streams.count()).values()) == {2}
    assert (await streams[0].raw_values(T, T + 9 * SECOND)).num_rows == 2
    latest = await streams.get_latest_version()
    assert all(latest[uuid] > version for uuid, version in pinned.items() if version is not None)
    tables = await streams.raw_values(T, T + 9 * SECOND, list(latest.values()))
    assert lengths(tables) == [3] * 3


async def test_a_uuid_as_text_was_an_error_in_a_set(
    client: pt.AsyncClient, stream: pt.AsyncStream
) -> None:
    streams = await client.streamset_from_uuids([stream.uuid])
    assert str(stream.uuid) in streams
    assert stream.uuid in streams
    assert stream in streams
    assert str(uuid4()) not in streams
    assert "no uuid" not in streams
    assert streams[str(stream.uuid)] == stream


async def test_a_start_of_zero_meant_no_start(
    client: pt.AsyncClient, stream: pt.AsyncStream
) -> None:
    await stream.insert([(-5, 1.0), (0, 2.0), (5, 3.0)])
    streams = await client.streamset_from_uuids([stream.uuid])
    (table,) = await streams.raw_values(0, 10)
    assert table is not None
    assert table["value"].to_pylist() == [2.0, 3.0]
    assert await streams.count(0, 10) == {stream.uuid: 2}
    assert await stream.count(-5, 0) == 1


INTERRUPTED = """
import os, signal, sys, threading
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1], apikey=sys.argv[2])
streams = client.streamset_from_uuids(sys.argv[3:], fetch_metadata=False)
print("connected", flush=True)
sys.stdin.readline()
try:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    streams.raw_values(0, 1_000_000)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


async def test_ctrl_c_waited_for_the_answers_of_a_set(
    client: pt.AsyncClient, collection: str, apikey: str, proxy: Proxy
) -> None:
    streams = await many(client, collection, 3)
    uuids = [str(stream.uuid) for stream in streams]
    with calling(INTERRUPTED, proxy, apikey, *uuids) as child:
        # The proxy holds the answers back for as long as the child lives.
        out, errors = child.communicate(timeout=60)
    assert (out, errors, child.returncode) == ("interrupted\n", "", 0)


async def test_encryption_was_decided_by_the_number_of_the_port(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    secure_endpoint: str,
    certificate: Path,
    apikey: str,
) -> None:
    monkeypatch.setenv("BTRDB_CA_BUNDLE", str(certificate))
    assert not secure_endpoint.endswith(":4411")
    async with await connect(endpoint=secure_endpoint, apikey=apikey) as client:
        assert (await client.info())["major_version"] == 5
    monkeypatch.setenv("PINGTHINGS_REQUIRE_TLS", "1")
    with pytest.raises(BTRDBValueError, match="clear text"):
        await connect(endpoint="grid.invalid:4410", apikey=apikey)


class Renumbering(Proxy):
    """Makes the server say that it is of version 6.0, and keeps what it answers."""

    answers = b""

    def answered(self, data: bytes) -> bytes:
        data = data.replace(b"\x18\x05\x20\x22", b"\x18\x06\x20\x00")
        self.answers += data
        return data


async def test_a_server_of_version_six_was_taken_for_one_without_arrow(
    connect: Connect, endpoint: str, apikey: str, collection: str
) -> None:
    with Renumbering(endpoint) as proxy:
        async with await connect(endpoint=proxy.endpoint, apikey=apikey) as client:
            info = await client.info()
            assert (info["major_version"], info["minor_version"]) == (6, 0)
            stream = await client.create(uuid4(), collection, {"name": "L1MAG"})
            await stream.insert([(T, 1.0)])
            before = len(proxy.answers)
            assert (await stream.raw_values(T, T + 1)).num_rows == 1
            # The names of columns are in an answer in Arrow, and in no other.
            assert b"value" in proxy.answers[before:]


def test_a_connection_was_for_one_thread_and_one_process(
    endpoint: str, apikey: str, script: Script
) -> None:
    with pt.connect(endpoint=endpoint, apikey=apikey) as client:
        stream = client.create(uuid4(), f"tests/{uuid4()}", {"name": "L1MAG"})
        stream.insert([(T + k, float(k)) for k in range(100)])
        with ThreadPoolExecutor(8) as threads:
            counts = threads.map(lambda k: stream.count(T, T + k + 1), range(100))
            assert list(counts) == list(range(1, 101))
        done = script(FORKED, endpoint, apikey, str(stream.uuid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "100 100\n", "")


FORKED = """
import os, sys
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1], apikey=sys.argv[2])
stream = client.stream_from_uuid(sys.argv[3])
before = stream.count()
child = os.fork()
if child == 0:
    os._exit(stream.count())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), stream.count())
"""


def test_connecting_warned_and_importing_configured_logging(
    endpoint: str, apikey: str, script: Script
) -> None:
    # Every warning is an error in a script.
    done = script(LOGGING, endpoint, apikey)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] True\n", "")


LOGGING = """
import logging, sys
before = logging.getLogger().level
import pingthings.timeseries as pt

pt.connect(endpoint=sys.argv[1], apikey=sys.argv[2]).close()
print(logging.getLogger().handlers, logging.getLogger().level == before)
"""


async def test_a_silent_server_was_waited_for_for_ever(connect: Connect) -> None:
    with Server(fault=Fault.hang(calls=["ListCollections"])) as server:
        async with await connect(endpoint=server.endpoint) as client:
            client.timeout = 0.1
            with pytest.raises(DeadlineExceededError, match="ListCollections"):
                await client.list_collections()
            assert (await client.info())["major_version"] == 5
