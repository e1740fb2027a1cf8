"""Raw values, counts, nearest points and versions equal those of a list of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from properties import model
from properties.strategies import Step, histories, ranges, times

pytestmark = pytest.mark.timeout(900)  # for the long ones; the others take seconds

Replay = Callable[[list[Step]], tuple[pt.Stream, model.Stream]]


def points_of(table: pa.Table) -> list[model.Point]:
    times: list[Any] = table["time"].cast(pa.int64()).to_pylist()
    values: list[Any] = table["value"].to_pylist()
    return list(zip(times, values, strict=True))


def check_reads(
    replay: Replay,
    history: list[Step],
    questions: list[tuple[int, int]],
    instants: list[int],
) -> None:
    stream, expected = replay(history)
    assert stream.get_latest_version() == max(expected.versions)
    for version in (None, *expected.versions):
        points = expected.at(version)
        everything = stream.raw_values(MINIMUM_TIME, MAXIMUM_TIME, version)
        assert points_of(everything) == points
        assert stream.count(version=version) == len(points)
        assert stream.earliest(version) == (points[0] if points else None)
        assert stream.latest(version) == (points[-1] if points else None)
        for start, end in questions:
            wanted = model.raw(points, start, end)
            assert points_of(stream.raw_values(start, end, version)) == wanted
            assert stream.count(start, end, version) == len(wanted)
        for time in instants + [point[0] for point in points[:3]]:
            for backward in (False, True):
                found = stream.nearest(time, version, backward)
                assert found == model.nearest(points, time, backward=backward)


asked = given(
    history=histories,
    questions=st.lists(ranges(), max_size=4),
    instants=st.lists(times(), max_size=4),
)

test_reads = settings(max_examples=100, deadline=None)(asked(check_reads))
test_reads_long = pytest.mark.long(settings(max_examples=3_000, deadline=None)(asked(check_reads)))
