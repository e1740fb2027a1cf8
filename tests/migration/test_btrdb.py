"""`pingthings.btrdb`: what is not seen by running the older client's suites over it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import logging
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from pingthings import btrdb
from pingthings.btrdb import exceptions
from pingthings.btrdb.stream import Stream, StreamFilter, StreamSet
from pingthings.btrdb.utils.conversion import AnnotationDecoder, AnnotationEncoder
from pingthings.btrdb.utils.timez import to_nanoseconds

NAMES = json.loads((Path(__file__).parent / "btrdb_names.json").read_text(encoding="utf-8"))
T = 1_500_000_000_000_000_000
SECOND = 1_000_000_000

# Names of the older client that are not here, and why.
ABSENT = {
    "calls of the protocol are made in Rust": {
        *("alignedWindows", "arrowAlignedWindows", "arrowInsertValues", "arrowMultiValues"),
        *("arrowRawValues", "arrowWindows", "changes", "create", "deleteRange", "faultInject"),
        *("flush", "generateCSV", "getMetadataUsage", "insert", "listCollections"),
        *("lookupStreams", "nearest", "obliterate", "rawValues", "setStreamAnnotations"),
        *("setStreamTags", "sql_query", "streamInfo", "stub", "subscribe", "windows"),
    },
    "no error or message of gRPC comes out of the core": {
        *("consume_generator", "error_handler", "handle_grpc_error", "to_proto", "to_proto_list"),
    },
    "the logger is `pingthings`": {"IS_DEBUG", "logger"},
}


@pytest.fixture
def db(endpoint: str, apikey: str) -> btrdb.BTrDB:
    return btrdb.connect(endpoint, apikey)


@pytest.fixture
def streams(db: btrdb.BTrDB, collection: str) -> list[Stream]:
    """Two streams of the same name but for case, the second with one time twice."""
    made = [db.create(uuid4(), collection, {"name": name, "unit": "V"}) for name in ("a", "b")]
    made[0].insert([(T + k * SECOND, float(k)) for k in range(5)])
    made[1].insert([(T + k * SECOND, -float(k)) for k in (1, 3, 3)])
    return made


def instance_attributes(owner: type) -> Iterator[str]:
    for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(owner) or owner))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def is_here(name: str) -> bool:
    parts = f"pingthings.{name}".split(".")
    depth = next(depth for depth in range(len(parts), 0, -1) if importable(".".join(parts[:depth])))
    owner: Any = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        if not hasattr(owner, part):
            return inspect.isclass(owner) and part in instance_attributes(owner)
        owner = getattr(owner, part)
    return True


def importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_every_name_of_the_older_client_is_here_or_listed_as_absent() -> None:
    missing = {name for name in NAMES["names"] if not is_here(name)}
    assert len(NAMES["names"]) - len(missing) > 170
    assert {name.rpartition(".")[2] for name in missing} == set().union(*ABSENT.values())


def test_unit_tests_that_are_left_out_have_a_reason() -> None:
    listed = json.loads(
        (Path(__file__).parent / "btrdb_unit_tests.json").read_text(encoding="utf-8")
    )
    names = [name for tests in listed.values() for name in tests]
    assert len(names) == len(set(names)) < 50
    assert all(len(reason) > 20 for reason in listed)


def test_errors_are_those_of_our_tree(db: btrdb.BTrDB) -> None:
    for name in exceptions.__all__:
        ours = getattr(exceptions, name)
        if inspect.isclass(ours):
            assert ours is getattr(pt.exceptions, name)
    with pytest.raises(btrdb.exceptions.StreamNotFoundError) as caught:
        db.stream_from_uuid(uuid4()).values(0, 9)
    assert isinstance(caught.value, pt.exceptions.BTrDBError)
    assert exceptions.BTRDB_ERRORS[404] is pt.exceptions.StreamNotFoundError
    assert {423, 426, 501} < set(exceptions.BTRDB_SERVER_ERRORS)


def test_counts_are_exact(streams: list[Stream]) -> None:
    assert streams[0].count(T + SECOND, T + 3 * SECOND, pointwidth=62) == 2
    assert StreamSet(streams).filter(start=T + SECOND, end=T + 3 * SECOND).count() == 3
    streams[0].insert([((1 << 61) + 5, 1.0)])  # 2043
    assert streams[0].count() == 6


def test_points_come_with_the_version_that_was_read(streams: list[Stream]) -> None:
    stream, end = streams[0], T + 9 * SECOND
    before = stream.version()
    stream.flush()
    after = stream.version()
    assert after > before
    reads: tuple[Callable[[int], Any], ...] = (
        lambda version: stream.values(T, end, version),
        lambda version: stream.aligned_windows(T, end, 30, version),
        lambda version: stream.windows(T, T + 4 * SECOND, 2 * SECOND, 0, version),
        lambda version: [stream.nearest(T, version), stream.latest(version)],
    )
    for read in reads:
        assert {version for _, version in read(0)} == {after}
        assert read(after) == read(0)
    assert stream.values(T, end, before) == []
    assert stream.nearest(T, before) is None


def test_pinned_versions_hold_for_values(streams: list[Stream]) -> None:
    for stream in streams:
        stream.flush()
    pinned = StreamSet(streams).pin_versions().filter(start=T, end=T + 9 * SECOND)
    streams[0].insert([(T + 7 * SECOND, 7.0)])
    assert [len(points) for points in pinned.values()] == [5, 3]
    assert pinned.count() == 8
    assert pinned.latest()[0] == btrdb.point.RawPoint(T + 4 * SECOND, 4.0)
    assert len(pinned.arrow_values()) == len(pinned.to_dataframe()) - 1


def test_every_point_of_one_time_has_a_row(streams: list[Stream]) -> None:
    lagging = StreamSet(streams[::-1]).filter(start=T, end=T + 9 * SECOND)
    frame = lagging.to_dataframe()
    assert len(frame) == 6
    assert frame.iloc[:, 0].dropna().tolist() == [-1.0, -3.0, -3.0]
    assert len(lagging.rows()) == len(lagging.to_dict()) == 6


def test_times_around_zero(db: btrdb.BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), collection, {"name": "zero"})
    stream.insert([(-5, 1.0), (0, 2.0), (5, 3.0)])
    rows = StreamSet([stream]).filter(start=-9, end=9).rows()
    assert [row[0].time for row in rows] == [-5, 0, 5]
    assert StreamFilter(start=0).start == 0
    assert [len(v) for v in StreamSet([stream]).filter(start=0, end=9).values()] == [2]


def test_a_set_knows_its_uuids(streams: list[Stream]) -> None:
    found: Any = StreamSet(streams[:1])
    assert streams[0].uuid in found
    assert str(streams[0].uuid) in found
    assert streams[0] in found
    assert str(streams[1].uuid) not in found
    assert "no uuid" not in found


@pytest.mark.parametrize("hertz", [60, 30, 59.94, 7])
def test_instants_of_a_rate_do_not_drift(db: btrdb.BTrDB, collection: str, hertz: float) -> None:
    stream = db.create(uuid4(), collection, {"name": "rate"})
    other = db.create(uuid4(), collection, {"name": "other"})
    start, count = T + 17, 4000
    times = pt.frames.Grid(hertz, start).times(0, count)
    shift = np.random.default_rng(3).integers(-1_000_000, 1_000_000, count)
    stream.insert(list(zip((times + shift).tolist(), map(float, range(count)), strict=True)))
    other.insert(list(zip(times[::2].tolist(), map(float, range(0, count, 2)), strict=True)))
    end = int(times[-2]) + 1
    found = (
        StreamSet([stream, other])
        .filter(start=start, end=end, sampling_frequency=hertz)
        .arrow_values()
    )
    assert found["time"].cast(pa.int64()).to_pylist() == times[:-1].tolist()
    assert found[str(stream.uuid)].to_pylist() == list(map(float, range(count - 1)))
    values = found[str(other.uuid)].to_numpy()
    assert np.array_equal(values[::2], np.arange(0, count - 1, 2))
    assert np.isnan(values[1::2]).all()


def test_statistics_are_chosen_by_the_end_of_a_name(db: btrdb.BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), f"{collection}/admin", {"name": "max"})
    stream.insert([(T, 1.0)])
    windows = StreamSet([stream]).filter(start=T, end=T + SECOND).windows(SECOND)
    assert list(windows.arrow_to_dataframe(agg=["min"]).columns) == [f"{collection}/admin/max/min"]


def test_streams_of_one_name_and_names_of_ones_own(db: btrdb.BTrDB, collection: str) -> None:
    streams = [
        db.create(uuid4(), collection, {"name": "same", "ingress": text}) for text in ("1", "2")
    ]
    for stream in streams:
        stream.insert([(T, 1.0), (T + 1, 2.0)])
    found = StreamSet(streams).filter(start=T, end=T + 2)
    assert found.to_dataframe().shape == (2, 2)
    file = StringIO()
    found.to_csv(file, name_callable=lambda stream: stream.tags()["ingress"])
    assert file.getvalue().splitlines() == ["time,1,2", f"{T},1.0,1.0", f"{T + 1},2.0,2.0"]
    aligned = StreamSet(streams[:1]).filter(start=T, end=T + SECOND).windows(SECOND)
    assert aligned.to_polars(agg="all").columns[1] == f"{collection}/same/min"


def test_nothing_in_the_range(streams: list[Stream]) -> None:
    nothing = StreamSet(streams).filter(start=0, end=SECOND)
    assert (nothing.values(), nothing.rows(), nothing.to_dict()) == ([[], []], [], [])
    assert nothing.to_dataframe().empty
    assert nothing.arrow_values().schema.types[1:] == [pa.float64()] * 2
    aligned = nothing.clone().aligned_windows(20)
    assert aligned.arrow_values().num_columns == 11
    assert aligned.arrow_to_dataframe(agg=["all"]).shape == (0, 10)
    assert nothing.clone().windows(SECOND).arrow_values().num_rows <= 1


@pytest.mark.parametrize(
    "value", ["Zürich", 'say "hi"', '"', "a\\b", "", "日本\n", "12", "true", "null", "[1"]
)
def test_texts_of_annotations_are_kept(db: btrdb.BTrDB, collection: str, value: str) -> None:
    stream = db.create(uuid4(), collection, {"name": value[:5] or "empty"}, {"made": value})
    stream.update(annotations={"changed": value})
    read = AnnotationDecoder().decode(value)
    assert stream.annotations(refresh=True)[0] == {"made": read, "changed": read}
    assert json.dumps(value, cls=AnnotationEncoder) == value


def test_a_set_of_others_is_asked_one_by_one(
    db: btrdb.BTrDB, endpoint: str, apikey: str, streams: list[Stream]
) -> None:
    class Doubled(Stream):
        def values(self, *args: Any, **kwargs: Any) -> Any:
            found = super().values(*args, **kwargs)
            return [(btrdb.point.RawPoint(p.time, 2 * p.value), v) for p, v in found]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elsewhere = btrdb.connect(endpoint, apikey)
    for stream in streams:
        stream.flush()
    doubled = Doubled(db, streams[0].uuid)
    mixed = StreamSet([doubled, elsewhere.stream_from_uuid(streams[1].uuid)])
    mixed = mixed.filter(start=T, end=T + 9 * SECOND)
    assert [p.value for p in mixed.values()[0]] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert mixed.to_dataframe().iloc[:, 0].dropna().tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert len(mixed.rows()) == 6
    assert mixed.count() == 8
    assert mixed.earliest()[1] == btrdb.point.RawPoint(T + SECOND, -1.0)
    assert mixed.arrow_values().num_rows == 6
    assert set(mixed.versions()) == {stream.uuid for stream in streams}


def test_reading_without_bounds_says_what_to_do(streams: list[Stream]) -> None:
    with pytest.raises(TypeError, match=r"filter\(start="):
        StreamSet(streams).values()
    with pytest.raises(TypeError, match=r"filter\(start="):
        StreamSet(streams).filter(start=T).to_dataframe()


def test_too_many_empty_windows_are_refused(streams: list[Stream]) -> None:
    with pytest.raises(ValueError, match="windows"):
        streams[0].windows(T, T + 3600 * SECOND, 1)


def test_connections_are_pickled_without_the_key(
    db: btrdb.BTrDB, streams: list[Stream], apikey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = StreamSet(streams).filter(start=T, end=T + 9 * SECOND)
    sent = pickle.dumps((db, streams[0], found))
    assert apikey.encode() not in sent
    monkeypatch.setenv("BTRDB_API_KEY", apikey)
    arrived = pickle.loads(sent)  # noqa: S301 - our own
    assert arrived[0].info() == db.info()
    assert arrived[1].count() == 5
    assert arrived[2].values() == found.values()


def test_a_shareable_connection_takes_its_key_along(
    endpoint: str, apikey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="insecure"):
        db = btrdb.connect(endpoint, apikey, shareable=True)
    monkeypatch.delenv("BTRDB_API_KEY", raising=False)
    arrived = pickle.loads(pickle.dumps(db))  # noqa: S301 - our own
    assert arrived.info()["majorVersion"] == 5


def test_connecting_is_silent_and_refusals_say_what_they_are(endpoint: str) -> None:
    level = logging.getLogger().level
    with pytest.raises(btrdb.exceptions.ConnectionError, match="UNAUTHENTICATED"):
        btrdb.connect(endpoint, "mistaken")
    with pytest.raises(ValueError, match="address:port"):
        btrdb.connect("127.0.0.1")
    assert logging.getLogger().level == level
    assert not logging.getLogger().handlers or level == logging.getLogger().level


def test_auto_retry_goes_on_after_what_may_pass(db: btrdb.BTrDB) -> None:
    calls: list[int] = []

    @btrdb.exceptions.retry
    def failing(times: int, **_options: Any) -> int:
        calls.append(1)
        if len(calls) <= times:
            raise exceptions.BTRDBServerError("later")
        return len(calls)

    assert failing(2, auto_retry=True, retry_delay=0.001) == 3
    calls.clear()
    with pytest.raises(exceptions.BTRDBServerError):
        failing(2, auto_retry=True, retries=2, retry_delay=0.001)
    assert len(calls) == 2
    calls.clear()
    with pytest.raises(exceptions.BTRDBServerError):
        failing(2)
    assert len(calls) == 1
    # What does not pass is not waited for.
    with pytest.raises(exceptions.StreamNotFoundError):
        db.stream_from_uuid(uuid4()).values(0, 9, auto_retry=True)


def test_times_are_exact() -> None:
    for microsecond in (1, 7, 333_333, 999_999):
        text = f"2023-01-01 00:00:00.{microsecond:06}"
        assert to_nanoseconds(text) == 1_672_531_200_000_000_000 + microsecond * 1000
        stamp = pd.Timestamp(text, tz="UTC")
        assert to_nanoseconds(stamp) == stamp.value


INSTALLED = """
from pingthings.btrdb import install_as_btrdb
install_as_btrdb()
install_as_btrdb()
import btrdb
from btrdb.stream import StreamSet
from btrdb.utils.timez import ns_delta
import btrdb.utils.general as general
import pingthings.btrdb.stream
print(btrdb.__version__, ns_delta(seconds=1), general.pointwidth(3), end=" ")
print(StreamSet is pingthings.btrdb.stream.StreamSet)
"""
MODULES = "conn endpoint exceptions point stream transformers version"
UTILS = "buffer conversion credentials general ray timez"
REACHED = """
import pingthings.btrdb as btrdb
print(btrdb.utils.timez.ns_delta(seconds=1), btrdb.utils.general.pointwidth(3), end=" ")
print(*(sorted(name for name in vars(btrdb) if name in
    {"conn", "endpoint", "exceptions", "point", "stream", "transformers", "version"})), end=" ")
print(*sorted(name for name in vars(btrdb.utils) if not name.startswith("_")))
"""
TOO_LATE = """
import sys, types
sys.modules["btrdb"] = types.ModuleType("btrdb")
from pingthings.btrdb import install_as_btrdb
try:
    install_as_btrdb()
except RuntimeError:
    pass
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (INSTALLED, "5.34.2 1000000000 8 nanoseconds True\n"),
        (TOO_LATE, "InvalidOperation\n"),
        (REACHED, f"1000000000 8 nanoseconds {MODULES} {UTILS}\n"),
    ],
)
def test_what_an_import_brings(program: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (printed, "")


def test_uuids_of_any_form(db: btrdb.BTrDB, streams: list[Stream]) -> None:
    uuid: UUID = streams[0].uuid
    for form in (uuid, str(uuid), str(uuid).encode()):
        assert db.stream_from_uuid(form).uuid == uuid
    assert [stream.uuid for stream in db.streams(uuid, str(uuid), versions=[1, 0])] == [uuid] * 2


PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/btrdb.md"
NOT_OLD_NAMES = {"RpcError", "__contains__", "_executor", "auto_retry", "pickle"}


def test_differences_are_on_the_page_and_name_what_was_there() -> None:
    rows = "".join(
        f"| {', '.join(f'`{name}`' for name in each.names)} | {each.before} | {each.here} |\n"
        for each in btrdb.differences()
    )
    assert rows in PAGE.read_text(encoding="utf-8")
    known = {name.rpartition(".")[2] for name in NAMES["names"]} | NOT_OLD_NAMES
    named = {n.rpartition(".")[2] for each in btrdb.differences() for n in each.names}
    assert named <= known
    assert all(each.before and each.here for each in btrdb.differences())


SCRIPT = """import btrdb

conn = btrdb.connect()
streams = btrdb.stream.StreamSet(conn.streams_in_collection("a")).filter(start=0)
print(streams.count())
print(streams.to_table(agg="mean"))
"""


def report(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pingthings.btrdb", "report", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_report_names_the_lines_that_are_concerned(tmp_path: Path) -> None:
    script, notebook, bad = (tmp_path / name for name in ("old.py", "old.ipynb", "bad.py"))
    script.write_text(SCRIPT)
    cell = ["%matplotlib inline\n", *SCRIPT.splitlines(keepends=True)]
    cells = [{"cell_type": "markdown", "source": "count"}, {"cell_type": "code", "source": cell}]
    notebook.write_text(json.dumps({"cells": cells}))
    bad.write_text("def (:")

    done = report(script, notebook)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    places = [line.split(": before")[0] for line in lines]
    assert f"{script}:5: count" in places
    assert f"{script}:4: filter" in places
    assert f"{script}:6: to_table" in places
    assert f"{notebook} cell 1:6: count" in places
    assert not any(":1:" in place and str(script) in place for place in places)

    refused = report(bad, tmp_path / "missing.py")
    assert refused.returncode == 1
    assert "bad.py` is no Python" in refused.stderr
    assert "missing.py" in refused.stderr

    every = report()
    assert every.returncode == 0
    assert all(each.here in every.stdout for each in btrdb.differences())
