"""Windows of both kinds equal those that are computed exactly from a list of points."""

from __future__ import annotations

from collections.abc import Callable

import pingthings.timeseries as pt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from pingthings.timeseries.constants import _PW
from properties import model
from properties.strategies import Step, aligned_questions, histories, precise_questions

pytestmark = pytest.mark.timeout(900)  # for the long ones; the others take seconds

Replay = Callable[[list[Step]], tuple[pt.Stream, model.Stream]]

EPSILON = 2.0**-52


def assert_equal(table: pa.Table, expected: list[model.Window]) -> None:
    times = table["time"].cast(pa.int64()).to_pylist()
    assert times == [window.time for window in expected]
    assert table["count"].to_pylist() == [window.number for window in expected]
    assert table["min"].to_pylist() == [window.min for window in expected]
    assert table["max"].to_pylist() == [window.max for window in expected]
    means, deviations = table["mean"].to_pylist(), table["stddev"].to_pylist()
    for window, mean, deviation in zip(expected, means, deviations, strict=True):
        assert mean is not None
        assert deviation is not None
        # Adding n numbers rounds n times, each time by no more than epsilon of what is added; the
        # running mean and the running deviations of a stable algorithm do so, too, and merging two
        # parts is one more step. An unstable one would be off by the root of epsilon instead.
        tolerance = 4 * window.number * EPSILON * max(abs(window.min), abs(window.max))
        assert abs(mean - float(window.mean)) <= tolerance
        assert abs(deviation - model.root(window.variance)) <= tolerance
        if window.number == 1:
            assert (mean, deviation) == (window.min, 0.0)


def check_aligned(replay: Replay, history: list[Step], question: tuple[int, int, int]) -> None:
    stream, expected = replay(history)
    start, end, exponent = question
    for version in (None, *expected.versions):
        table = stream.windowed_values(start, end, _PW(exponent), version, None)
        points = expected.at(version)
        assert_equal(table, model.aligned_windows(points, start, end, exponent))


def check_precise(replay: Replay, history: list[Step], question: tuple[int, int, int]) -> None:
    stream, expected = replay(history)
    start, end, width = question
    for version in (None, *expected.versions):
        table = stream.windowed_values(start, end, width, version, None)
        assert_equal(table, model.precise_windows(expected.at(version), start, end, width))


aligned = given(history=histories, question=aligned_questions())
precise = given(history=histories, question=precise_questions())
few = settings(max_examples=150, deadline=None)
many = settings(max_examples=5_000, deadline=None)

test_aligned = few(aligned(check_aligned))
test_precise = few(precise(check_precise))
test_aligned_long = pytest.mark.long(many(aligned(check_aligned)))
test_precise_long = pytest.mark.long(many(precise(check_precise)))
