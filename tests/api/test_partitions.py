"""Large reads in parts: what a plan covers, and that dask and ray read what one process does."""

from __future__ import annotations

import os
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import methodcaller
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.tokenize
import numpy as np
import pingthings.dask
import pingthings.ray
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingthings.server import Server
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MINIMUM_TIME
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    InvalidTimeRange,
    MissingExtraError,
    StreamNotFoundError,
)
from pingthings.timeseries.partitions import plan, schema

KEY = "a-key-that-must-not-travel"
T = 1_500_000_000_000_000_000
SECOND = 1_000_000_000
MANY = 1_000


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server(api_keys=[KEY]) as server:
        yield server


@pytest.fixture(scope="module")
def client(guarded: Server) -> Iterator[pt.Client]:
    with pt.connect(endpoint=guarded.endpoint, apikey=KEY) as client:
        yield client


def filled(client: pt.Client, times: dict[str, Any]) -> pt.StreamSet:
    """A set of streams of these names and times; values are their rows."""
    collection = f"partitions/{uuid4()}"
    streams = [client.create(uuid4(), collection, {"name": name}) for name in times]
    found = pt.StreamSet(streams)
    found.insert(
        {
            stream.uuid: (np.array(own, np.int64), np.arange(float(len(own))))
            for stream, own in zip(streams, times.values(), strict=True)
        }
    )
    return found


@pytest.fixture(scope="module")
def thousand(client: pt.Client) -> pt.StreamSet:
    """A thousand streams: most of them small, one large, and some empty."""
    small = [T + np.arange(number % 60) * SECOND // 30 + number for number in range(MANY - 1)]
    times: dict[str, Any] = {f"s{number}": own for number, own in enumerate(small)}
    times["large"] = T + np.arange(50_000) * SECOND // 30
    return filled(client, times)


def in_one_process(streams: pt.StreamSet, start: int, end: int) -> set[tuple[str, int, float]]:
    found: set[tuple[str, int, float]] = set()
    for stream, table in zip(streams, streams.raw_values(start, end), strict=True):
        if table is not None:
            arrays = pt.frames.to_numpy(table)
            times, values = arrays["time"].view(np.int64).tolist(), arrays["value"].tolist()
            found |= set(zip([str(stream.uuid)] * len(times), times, values, strict=True))
    return found


def rows(table: pa.Table) -> list[tuple[str, int, float]]:
    columns: list[Any] = [
        table["stream"].cast(pa.string()).to_pylist(),
        table["time"].cast(pa.int64()).to_pylist(),
        table["value"].to_pylist(),
    ]
    return list(zip(*columns, strict=True))


def rows_of_pandas(frame: Any) -> list[tuple[str, int, float]]:
    assert frame["time"].dtype == "datetime64[ns, UTC]"
    columns = (frame["stream"].astype(str), frame["time"].astype(np.int64), frame["value"])
    return list(zip(*columns, strict=True))


def test_a_plan_covers_everything_once(thousand: pt.StreamSet):
    parts = plan(thousand, rows=5_000)
    found = [row for part in parts for row in rows(part.read())]
    assert len(found) == sum(thousand.count().values()) == sum(part.points for part in parts)
    assert set(found) == in_one_process(thousand, T, T + 10_000 * SECOND)
    assert 15 <= len(parts) <= 40
    assert max(part.points for part in parts) <= 5_000


def test_a_plan_of_a_range(thousand: pt.StreamSet):
    start, end = T + SECOND // 2 + 1, T + 700 * SECOND + 1
    parts = plan(thousand, start, end, rows=3_000)
    found = [row for part in parts for row in rows(part.read())]
    assert len(found) == len(set(found))
    assert set(found) == in_one_process(thousand, start, end)
    assert {part.end for part in parts} > {end}


def test_every_worker_gets_something(client: pt.Client):
    streams = filled(client, {str(number): range(10) for number in range(64)})
    assert len(plan(streams)) == 1
    assert len(plan(streams, partitions=16)) == 16
    assert len(plan(streams, partitions=10_000)) == 640


def test_what_stands_close_together_is_cut_too(client: pt.Client):
    """All points but two in one microsecond of a century."""
    close = [T + k for k in range(1_000)]
    streams = filled(client, {"a": [MINIMUM_TIME, *close, MAXIMUM_INSERT_TIME], "b": [T] * 500})
    parts = plan(streams, rows=100)
    found = Counter(row for part in parts for row in rows(part.read()))
    assert found.total() == 1_502
    of_a = [part.read().num_rows for part in parts if part.places == (0,)]
    assert len(of_a) >= 10
    assert max(of_a) <= 200
    # One instant cannot be cut.
    assert max(part.read().num_rows for part in parts if part.places == (1,)) == 500


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 1 << 40), max_size=60), min_size=1, max_size=4),
    st.integers(1, 50),
    st.integers(-5, 1 << 40),
    st.integers(1, 1 << 41),
)
def test_any_plan_is_the_read(
    client: pt.Client, many: list[list[int]], most: int, start: int, length: int
):
    streams = filled(client, {str(number): times for number, times in enumerate(many)})
    parts = plan(streams, start, start + length, rows=most)
    found = Counter(row for part in parts for row in rows(part.read()))
    assert found.total() == sum(streams.count(start, start + length).values())
    assert set(found) == in_one_process(streams, start, start + length)


def test_a_pinned_set_is_read_as_it_was(client: pt.Client):
    streams = filled(client, {"a": range(100), "b": range(5)})
    streams.flush()
    streams.pin_versions()
    parts = plan(streams, rows=30)
    streams[0].insert([(1_000, 1.0)])
    streams[0].delete(0, 50)
    assert sum(part.read().num_rows for part in parts) == 105
    streams.pin_versions({})
    assert sum(part.read().num_rows for part in plan(streams)) == 56


def test_nothing_to_plan(client: pt.Client):
    assert plan(pt.StreamSet([])) == []
    empty = filled(client, {"a": []})
    assert plan(empty) == []
    assert plan(empty, 0, 10) == []
    assert plan(filled(client, {"a": [5]}), start=6) == []


def test_what_cannot_be_planned(client: pt.Client):
    streams = filled(client, {"a": [5], "b": [6]})
    with pytest.raises(BTRDBValueError, match="`rows` is 0"):
        plan(streams, rows=0)
    with pytest.raises(BTRDBValueError, match="`partitions` -1"):
        plan(streams, partitions=-1)
    with pytest.raises(InvalidTimeRange):
        plan(streams, 5, 5)
    with pytest.raises(BTRDBValueError, match="several streams"):
        plan(pt.StreamSet([*streams, streams[0]]))
    with pytest.raises(BTRDBTypeError, match="`AsyncStreamSet`"):
        plan(pt.AsyncStreamSet([]))  # type: ignore[arg-type]
    streams[1].obliterate()
    with pytest.raises(StreamNotFoundError, match=str(streams[1].uuid)):
        plan(streams)


def test_a_part_travels_without_the_key(client: pt.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    streams = filled(client, {"a": range(1_000), "b": range(10)})
    parts = plan(streams, rows=100, names="name")
    assert KEY.encode() not in pickle.dumps(parts)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tables = list(pool.map(methodcaller("read"), parts))
    assert tables == [part.read() for part in parts]
    assert tables[0].schema == schema()
    assert pa.concat_tables(tables).to_pandas()["stream"].cat.categories.to_list() == ["a", "b"]


def meeting(folder: Path) -> Callable[[Any], Any]:
    """What a worker does with what it read: waits until another process has read something."""

    def meet(read: Any) -> Any:
        import os  # noqa: PLC0415 - it travels without this module
        import time  # noqa: PLC0415

        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2:
            assert time.monotonic() < deadline, "one process reads everything"
            time.sleep(0.01)
        return read

    return meet


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask(scheduler: str, thousand: pt.StreamSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    frame = pingthings.dask.read(thousand, rows=10_000)
    assert frame.npartitions >= 7
    assert frame.dtypes.to_dict() == frame.get_partition(0).compute().dtypes.to_dict()
    found = rows_of_pandas(frame.compute(scheduler=scheduler, num_workers=2))
    assert len(found) == sum(thousand.count().values())
    assert set(found) == in_one_process(thousand, T, T + 10_000 * SECOND)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # distributed's own
def test_a_cluster_of_dask(thousand: pt.StreamSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import distributed  # noqa: PLC0415 - a second, which other tests need not wait for

    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    frame = pingthings.dask.read(thousand, rows=5_000)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        met = frame.map_partitions(meeting(tmp_path), meta=frame._meta)
        found = rows_of_pandas(met.compute())
    assert str(os.getpid()) not in [path.name for path in tmp_path.iterdir()]
    assert len(found) == sum(thousand.count().values())
    assert set(found) == in_one_process(thousand, T, T + 10_000 * SECOND)


def test_dask_groups_by_stream(client: pt.Client):
    streams = filled(client, {"a": range(1_000), "b": range(10), "none": []})
    frame = pingthings.dask.read(streams, rows=100, names="name")
    means = frame.groupby("stream", observed=True)["value"].mean().compute(scheduler="threads")
    assert means.to_dict() == {"a": 499.5, "b": 4.5}
    assert list(frame["stream"].cat.categories) == ["a", "b", "none"]


def test_dask_knows_what_is_equal(client: pt.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BTRDB_API_KEY", raising=False)  # a token needs no key
    streams = filled(client, {"a": range(100)})
    streams.flush()

    def token() -> str:
        token: str = dask.tokenize.tokenize(plan(streams), ensure_deterministic=True)
        return token

    assert token() != token()
    streams.pin_versions()
    assert token() == token()


def test_dask_of_nothing(client: pt.Client):
    frame = pingthings.dask.read(filled(client, {"a": []}), names="name")
    assert len(frame.compute(scheduler="threads")) == 0
    assert list(frame.columns) == ["stream", "time", "value"]


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # ray's own
def test_ray(
    thousand: pt.StreamSet, client: pt.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import ray  # noqa: PLC0415 - seconds, which other tests need not wait for

    monkeypatch.setenv("BTRDB_API_KEY", KEY)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        data = pingthings.ray.read(thousand, rows=5_000)
        met = data.map_batches(meeting(tmp_path), batch_size=None, batch_format="pyarrow")
        table = pa.concat_tables(ray.get(met.to_arrow_refs()))
        assert str(os.getpid()) not in [path.name for path in tmp_path.iterdir()]
        assert table.schema.names == ["stream", "time", "value"]
        assert table.schema.field("time").type == schema().field("time").type
        found = rows(table)
        assert len(found) == sum(thousand.count().values())
        assert set(found) == in_one_process(thousand, T, T + 10_000 * SECOND)
        assert pingthings.ray.read(filled(client, {"a": []})).count() == 0
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("module", "engine", "name"),
    [("dask.dataframe", pingthings.dask, "dask"), ("ray.data", pingthings.ray, "ray")],
)
def test_a_missing_package_names_its_extra(
    module: str, engine: Any, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "pingthings\[{name}\]"'):
        engine.read(pt.StreamSet([]))
