# ruff: noqa: ARG005 - calls of one signature
"""The same calls through the older client and through `pingthings.btrdb`, compared bit by bit.

Run by `tests/server/conformance.py` in the environment of the older client. What is known to differ
is asked in another way here, and listed in `pingthings.btrdb.differences`.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import struct
import warnings
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any, TypeAlias, cast
from uuid import UUID, uuid4

import btrdb as theirs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from btrdb.stream import StreamSet as TheirSet
from pingthings import btrdb as ours
from pingthings.btrdb.stream import StreamSet as OurSet

Call: TypeAlias = Callable[..., Any]

PROFILE = os.environ["BTRDB_INTEGRATION_TEST_PROFILE"]
T = 1_500_000_000_000_000_000
SECOND = 1_000_000_000
END = T + 60 * SECOND
TEMPLATE = pa.schema([pa.field("t", pa.int64()), pa.field("v", cast("Any", pa.float32()))])
warnings.simplefilter("ignore")


@pytest.fixture(scope="module")
def connections() -> tuple[Any, Any]:
    return theirs.connect(profile=PROFILE), ours.connect(profile=PROFILE)


@pytest.fixture(scope="module")
def collection() -> str:
    return f"side_by_side/{uuid4()}"


@pytest.fixture(scope="module")
def uuids(connections: tuple[Any, Any], collection: str) -> list[UUID]:
    """Streams: dense, with a hole, with one time twice, at other times, without points there."""
    db = connections[0]
    random = np.random.default_rng(5)
    times = {
        "dense": T + np.arange(0, 60 * SECOND, SECOND // 30),
        "hole": T + np.concatenate([np.arange(0, 20), np.arange(45, 70)]) * SECOND,
        "sparse": T + np.array([1, 7, 31, 59]) * SECOND + 1,
        "later": T + np.arange(100, 110) * SECOND,
        "empty": np.array([], np.int64),
    }
    made = []
    for name, at in times.items():
        stream = db.create(
            uuid4(),
            collection,
            {"name": name, "unit": "volts" if len(name) > 4 else "amps"},
            {"phase": name[0], "rate": "30", "nested": '{"a": [1, null]}'},
        )
        if len(at):
            values = random.normal(size=len(at))
            stream.insert(list(zip(at.tolist(), values.tolist(), strict=True)))
            stream.flush()
        made.append(stream.uuid)
    # What no version has yet.
    db.stream_from_uuid(made[1]).insert([(T + 500_000_001, -0.0), (END - 1, 5e-324)])
    return made


def same(left: Any, right: Any) -> None:  # noqa: C901, PLR0912 - a case for each type
    """Fails if two answers are not the same, to the type and the last bit."""
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(right, left, check_exact=True, check_column_type=True)
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(right, left, check_exact=True)
    elif isinstance(left, pl.DataFrame):
        assert left.schema == right.schema
        assert left.equals(right, null_equal=True)
    elif isinstance(left, pa.Table):
        assert right.schema == left.schema
        assert [bits(c) for c in right.columns] == [bits(c) for c in left.columns]
    elif isinstance(left, np.ndarray):
        assert (right.shape, right.dtype) == (left.shape, left.dtype)
        for one, other in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True):
            same(one, other)
    elif isinstance(left, dict):
        assert list(map(str, left)) == list(map(str, right))
        for one, other in zip(left.values(), right.values(), strict=True):
            same(one, other)
    elif isinstance(left, list | tuple):
        assert type(left) is type(right)
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            same(one, other)
    elif left is pd.NA:
        assert right is pd.NA
    elif isinstance(left, float):
        assert type(right) is float
        assert (math.isnan(left) and math.isnan(right)) or pack(left) == pack(right)
    elif type(left).__name__ in {"RawPoint", "StatPoint"}:
        assert type(left).__name__ == type(right).__name__
        assert repr(left) == repr(right)
        assert left == right
        same(tuple(left), tuple(right))
    else:
        assert type(left).__name__ == type(right).__name__
        assert left == right


def pack(value: float) -> bytes:
    return struct.pack("d", value)


def bits(column: pa.ChunkedArray[Any]) -> list[Any]:
    return (
        [repr(value) for value in column.to_pylist()]
        if not pa.types.is_timestamp(column.type)
        else column.cast(pa.int64()).to_pylist()
    )


STREAM_CALLS: dict[str, Call] = {
    "values": lambda s: s.values(T, END),
    "values_of_nothing": lambda s: s.values(T + 5, T + 6),
    "values_by_name": lambda s: s.values(start=T, end="2017-07-14 02:40:03.000000", version=0),
    "values_at_a_version": lambda s: s.values(T, END, 10),
    "arrow_values": lambda s: s.arrow_values(T, END),
    "arrow_values_schema": lambda s: s.arrow_values(T, END, schema=TEMPLATE),
    "aligned_windows": lambda s: s.aligned_windows(T, END, 32),
    "arrow_aligned_windows": lambda s: s.arrow_aligned_windows(T, END, 32),
    "windows": lambda s: s.windows(T, END, 3 * SECOND),
    "windows_odd": lambda s: s.windows(T + 1, END + 7, 1_234_567_890),
    "windows_at_a_version": lambda s: s.windows(T, END, 3 * SECOND, 0, 11),
    "arrow_windows": lambda s: s.arrow_windows(T, END, 3 * SECOND),
    # The last window: half of it, of one nanosecond, in a hole, before later points, beyond them.
    "windows_last_is_cut": lambda s: s.windows(T, T + 10 * SECOND, 3 * SECOND),
    "windows_last_is_a_nanosecond": lambda s: s.windows(T, T + 9 * SECOND + 1, 3 * SECOND),
    "windows_last_is_in_a_hole": lambda s: s.windows(T, T + 40 * SECOND, 5 * SECOND, 0, 10),
    "windows_last_is_empty": lambda s: s.windows(T, T + 30 * SECOND, 5 * SECOND, 0, 10),
    "windows_of_nothing": lambda s: s.windows(T + 5, T + 6, 1),
    "windows_beyond_all": lambda s: s.windows(END, END + 60 * SECOND, 7 * SECOND, 0, 10),
    "arrow_windows_last_is_cut": lambda s: s.arrow_windows(T, T + 10 * SECOND, 3 * SECOND),
    "arrow_windows_last_is_empty": lambda s: s.arrow_windows(T, T + 30 * SECOND, 5 * SECOND, 0, 10),
    "aligned_windows_last_is_cut": lambda s: s.aligned_windows(T, T + 10 * SECOND + 1, 31),
    "aligned_windows_last_is_empty": lambda s: s.aligned_windows(T, T + 40 * SECOND, 32, 10),
    "aligned_windows_beyond_all": lambda s: s.aligned_windows(END, END + 60 * SECOND, 33, 10),
    "aligned_windows_of_a_nanosecond": lambda s: s.aligned_windows(T, T + 1, 0),
    "nearest_at_a_version": lambda s: s.nearest(T + 5, 10),
    "latest_at_a_version": lambda s: s.latest(version=10),
    "nearest": lambda s: s.nearest(T + 5, 0),
    "nearest_backward": lambda s: s.nearest(T + 5, 0, backward=True),
    "nearest_nothing": lambda s: s.nearest(T, 0, backward=True),
    "earliest": lambda s: s.earliest(),
    "latest": lambda s: s.latest(),
    "current": lambda s: s.current(),
    "version": lambda s: s.version(),
    "count": lambda s: s.count(),
    "count_precise": lambda s: s.count(T, END, precise=True),
    "name": lambda s: (s.name, s.unit, s.collection, s.uuid),
    "tags": lambda s: s.tags(),
    "tags_refreshed": lambda s: s.tags(refresh=True),
    "annotations": lambda s: s.annotations(),
    "repr": lambda s: (repr(s), str(s)),
    "exists": lambda s: s.exists(),
}


@pytest.mark.parametrize("call", STREAM_CALLS)
def test_stream(connections: tuple[Any, Any], uuids: list[UUID], call: str) -> None:
    # An empty last window is there or not by the version of the server.
    for uuid in uuids[: 3 if "windows" in call else None]:
        theirs_of, ours_of = (db.stream_from_uuid(uuid) for db in connections)
        same(STREAM_CALLS[call](theirs_of), STREAM_CALLS[call](ours_of))


def written(streams: Any) -> str:
    file = StringIO()
    streams.to_csv(file)
    return file.getvalue()


ALL = ["min", "mean", "max", "count", "stddev"]
FRAMES: dict[str, Call] = {
    "values": lambda s: s.values(),
    "rows": lambda s: s.rows(),
    "to_dict": lambda s: s.to_dict(),
    "to_dict_named": lambda s: s.to_dict(name_callable=lambda stream: stream.name),
    "to_dataframe": lambda s: s.to_dataframe(),
    "to_dataframe_named": lambda s: s.to_dataframe(name_callable=lambda stream: stream.name),
    "to_dataframe_all": lambda s: s.to_dataframe(agg="all"),
    "to_series": lambda s: s.to_series(),
    "to_series_of_integers": lambda s: s.to_series(datetime64_index=False),
    "to_array": lambda s: s.to_array(),
    "to_polars": lambda s: s.to_polars(),
    "to_csv": written,
    "to_table": lambda s: s.to_table(),
    "arrow_values": lambda s: s.arrow_values(),
    "arrow_to_arrow_table": lambda s: s.arrow_to_arrow_table(),
    "arrow_to_dataframe": lambda s: s.arrow_to_dataframe(),
    "arrow_to_dataframe_named": lambda s: s.arrow_to_dataframe(
        name_callable=lambda stream: str(stream.uuid)
    ),
    "arrow_to_dataframe_all": lambda s: s.arrow_to_dataframe(agg=["all"]),
    "arrow_to_dataframe_two": lambda s: s.arrow_to_dataframe(agg=["mean", "count"]),
    "arrow_to_series": lambda s: s.arrow_to_series(),
    "arrow_to_polars": lambda s: s.arrow_to_polars(),
    "arrow_to_numpy": lambda s: s.arrow_to_numpy(),
    "arrow_to_dict": lambda s: s.arrow_to_dict(),
    "earliest": lambda s: s.earliest(),
    "latest": lambda s: s.latest(),
    "versions": lambda s: s.versions(),
    "repr": lambda s: (repr(s), str(s), len(s)),
    "bounds": lambda s: [(f.start, f.end, f.sampling_frequency) for f in s.filters],
    "allow_window": lambda s: (s.allow_window, s.width, s.pointwidth, s.depth),
}
for name in ("to_series", "to_array", "to_dict", "to_dataframe"):
    for aggregate in ALL:
        FRAMES[f"{name}_{aggregate}"] = partial(
            lambda s, method, agg: getattr(s, method)(agg=agg), method=name, agg=aggregate
        )

SETS: dict[str, Call] = {
    "raw": lambda s: s.filter(start=T, end=END),
    "raw_twice_filtered": lambda s: s.filter(start=T).filter(end=T + SECOND).filter(start=T + 9),
    "sampled": lambda s: s.filter(start=T, end=END, sampling_frequency=2),
    "aligned": lambda s: s.filter(start=T, end=END).aligned_windows(33),
    "windows": lambda s: s.filter(start=T, end=END).windows(4 * SECOND),
    "pinned": lambda s: s.pin_versions().filter(start=T, end=END).windows(6 * SECOND),
    "cloned": lambda s: s.filter(start=T, end=END).windows(10 * SECOND).clone(),
}
# The members of a set by their places among `uuids`.
MEMBERS = {"one": [0], "two": [0, 2], "hole": [1, 0, 2]}


@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("call", FRAMES)
def test_set(
    connections: tuple[Any, Any], uuids: list[UUID], call: str, kind: str, members: str
) -> None:
    if call in {"earliest", "latest"} and members == "hole":
        pytest.skip("the older client did not see what no version had yet")
    answers = []
    for db, streamset in zip(connections, (TheirSet, OurSet), strict=True):
        streams = streamset([db.stream_from_uuid(uuids[place]) for place in MEMBERS[members]])
        answers.append(FRAMES[call](SETS[kind](streams)))
    same(*answers)


FILTERS: dict[str, Call] = {
    "name": lambda s: s.filter(name="DENSE"),
    "name_pattern": lambda s: s.filter(name=re.compile("e$|^h")),
    "unit": lambda s: s.filter(unit="Volts"),
    "unit_pattern": lambda s: s.filter(unit=re.compile("a")),
    "collection": lambda s: s.filter(collection=s[0].collection.upper()),
    "tags": lambda s: s.filter(tags={"name": "later", "unit": "volts"}),
    "annotations": lambda s: s.filter(annotations={"phase": "s"}),
    "annotations_read": lambda s: s.filter(annotations={"rate": 30}),
    "several": lambda s: s.filter(unit="volts").filter(name=re.compile("r")).filter(start=T),
    "nothing": lambda s: s.filter(name="nobody"),
    "slice": lambda s: s[1:3],
    "reversed": lambda s: list(reversed(s)),
    "by_uuid": lambda s: [s[s[1].uuid], s[str(s[2].uuid)]],
}


@pytest.mark.parametrize("looked_up", [False, True])
@pytest.mark.parametrize("call", FILTERS)
def test_filter(
    connections: tuple[Any, Any], uuids: list[UUID], collection: str, call: str, looked_up: bool
) -> None:
    found = []
    for db, streamset in zip(connections, (TheirSet, OurSet), strict=True):
        streams = [db.stream_from_uuid(uuid) for uuid in uuids]
        if looked_up:
            streams = sorted(db.streams_in_collection(collection), key=lambda s: s.name)
        found.append([stream.uuid for stream in FILTERS[call](streamset(streams))])
    assert found[0] == found[1]


CONNECTION_CALLS: dict[str, Call] = {
    "info": lambda db, c: db.info(),
    "list_collections": lambda db, c: sorted(db.list_collections(c)),
    "streams_in_collection": lambda db, c: [
        (s.uuid, s.tags(), s.annotations(), s.collection) for s in db.streams_in_collection(c)
    ],
    "streams_of_two": lambda db, c: [
        s.uuid for s in db.streams_in_collection(c, "nowhere", tags={"unit": "volts"})
    ],
    "streams_by_annotation": lambda db, c: [
        s.uuid for s in db.streams_in_collection(c, annotations={"phase": "d"})
    ],
    "streams": lambda db, c: [s.uuid for s in db.streams(f"{c}/dense", f"{c}/later")],
    "list_unique_names": lambda db, c: sorted(db.list_unique_names(c)),
    "list_unique_units": lambda db, c: sorted(db.list_unique_units(c)),
    "list_unique_annotations": lambda db, c: sorted(db.list_unique_annotations(c)),
    "collection_metadata": lambda db, c: [
        sorted(found.items()) for found in db.collection_metadata(c)
    ],
    "query": lambda db, c: db.query(
        "SELECT name, unit FROM streams WHERE collection = $1 ORDER BY name", [c]
    ),
}


@pytest.mark.parametrize("call", CONNECTION_CALLS)
def test_connection(
    connections: tuple[Any, Any], uuids: list[UUID], collection: str, call: str
) -> None:
    assert uuids
    left, right = (CONNECTION_CALLS[call](db, collection) for db in connections)
    same(left, right)


REFUSED: dict[str, Call] = {
    "uuid": lambda db, u: db.streams("no uuid"),
    "unknown": lambda db, u: db.stream_from_uuid(uuid4()).values(0, 9),
    "unknown_metadata": lambda db, u: db.stream_from_uuid(uuid4()).tags(),
    "reversed": lambda db, u: db.stream_from_uuid(u).values(9, 0),
    "exists": lambda db, u: db.create(u, "elsewhere", {"name": "x"}),
    "tag": lambda db, u: db.create(uuid4(), "elsewhere", {"colour": "x"}),
    "collection": lambda db, u: db.create(uuid4(), "", {"name": "x"}),
    "version": lambda db, u: db.stream_from_uuid(u).values(0, 9, version=10**6),
    "sql": lambda db, u: db.query("SELECT count(*) FROM streams WHERE uuid = $1", ["x"]),
    "nothing": lambda db, u: db.stream_from_uuid(u).update(),
    "nan": lambda db, u: db.stream_from_uuid(u).insert([(0, float("nan"))]),
    "width": lambda db, u: db.stream_from_uuid(u).windows(0, 9, 0),
    "window_longer_than_the_range": lambda db, u: db.stream_from_uuid(u).windows(T, T + 1, 2),
    "point_width": lambda db, u: db.stream_from_uuid(u).aligned_windows(0, 9, 64),
}


@pytest.mark.parametrize("call", REFUSED)
def test_refusal(connections: tuple[Any, Any], uuids: list[UUID], call: str) -> None:
    raised = []
    for db in connections:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which, is compared
            REFUSED[call](db, uuids[0])
        raised.append(caught.value)
    for theirs_of in type(raised[0]).__mro__:
        ours_of = getattr(ours.exceptions, theirs_of.__name__, theirs_of)
        assert isinstance(raised[1], ours_of), (raised, theirs_of)


def test_writing(connections: tuple[Any, Any], collection: str) -> None:
    seen = []
    for number, db in enumerate(connections):
        stream = db.create(uuid4(), f"{collection}/{number}", {"name": "w"}, {"a": "1"})
        table = pa.table({"t": [T, T + 1], "v": [1.0, 2.0]})
        frame = pd.DataFrame({"time": [T + 2, T + 3], "value": [3, 4]})
        streams = (TheirSet, OurSet)[number]([stream])
        versions = [stream.insert([]), stream.insert([(T - 1, 0.5), [T - 2, 1]])]
        versions += [stream.arrow_insert(table), *streams.insert({stream.uuid: frame}).values()]
        versions += [*streams.arrow_insert({stream.uuid: table}, merge="replace").values()]
        stream.flush()
        versions += [stream.version(), stream.delete(T, T + 2), stream.version()]
        updated = [
            stream.update(annotations={"b": [1, None], "c": "text", "d": 2.5, "e": True}),
            stream.annotations(),
            stream.update(annotations={"b": "only"}, replace=True),
            stream.annotations(refresh=True),
            stream.update(tags={"unit": "V"}),
            stream.tags(),
            stream.update(collection=f"{collection}/moved{number}"),
            stream.collection[-7:-1],
        ]
        seen.append([versions, updated, stream.values(0, END)])
        stream.obliterate()
        seen[-1].append(db.stream_from_uuid(stream.uuid).exists())
    same(*seen)


SAME_SIGNATURES = {
    "BTrDB": ("btrdb.conn", ()),
    "Stream": ("btrdb.stream", ()),
    "StreamSetBase": ("btrdb.stream", ()),
    "StreamFilter": ("btrdb.stream", ()),
    "StreamSetTransformer": ("btrdb.transformers", ()),
    "RawPoint": ("btrdb.point", ("to_proto", "to_proto_list")),
    "StatPoint": ("btrdb.point", ()),
    "pointwidth": ("btrdb.utils.general", ()),
    "PointBuffer": ("btrdb.utils.buffer", ()),
}


@pytest.mark.parametrize("name", SAME_SIGNATURES)
def test_methods_take_what_they_took(name: str) -> None:
    module, absent = SAME_SIGNATURES[name]
    theirs_of, ours_of = (
        getattr(importlib.import_module(of), name) for of in (module, f"pingthings.{module}")
    )
    compared = 0
    for member, function in inspect.getmembers(theirs_of, inspect.isroutine):
        if member.startswith("_") or member in absent or not is_python(function):
            continue
        compared += 1
        assert parameters(function) == parameters(getattr(ours_of, member)), member
    assert compared or name == "StreamFilter"


def is_python(function: Any) -> bool:
    return hasattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__")


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Names and defaults; that of `nearest` has a default here."""
    found = inspect.signature(function).parameters.values()
    return [
        (p.name, p.kind, getattr(p.default, "__name__", p.default))
        for p in found
        if (function.__name__, p.name) != ("nearest", "version")
    ]
