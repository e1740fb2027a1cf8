"""Random histories of a stream, and random questions about it."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from pingthings.timeseries.constants import MAXIMUM_INSERT_TIME, MAXIMUM_TIME, MINIMUM_TIME
from properties.model import Point

MOST_WINDOWS = 5_000

BASES = (0, 1500000000000000000, -(10**17), MINIMUM_TIME, MAXIMUM_INSERT_TIME)
POLICIES = ("never", "equal", "retain", "replace")


class Step(NamedTuple):
    """An insert, and whether a flush follows."""

    points: list[Point]
    merge: str
    flush: bool


# Small distances make duplicates and neighbours in one leaf; large ones make deep trees.
distances = st.one_of(
    st.integers(-20, 20),
    st.integers(-(10**4), 10**4),
    st.integers(-(10**9), 10**9),
    st.integers(-(10**16), 10**16),
)


@st.composite
def times(draw: st.DrawFn, lowest: int = MINIMUM_TIME, highest: int = MAXIMUM_INSERT_TIME) -> int:
    return min(max(draw(st.sampled_from(BASES)) + draw(distances), lowest), highest)


# Zero has two signs, which `equal` may or may not tell apart; no negative zeros, so. The squares of
# larger numbers than 1e150 leave the range of floats; smaller than 1e-150 underflow likewise.
offsets = st.sampled_from([0.0, 60.0, 1e9, -1e15, 1e100])
small = st.one_of(
    st.integers(-5, 5).map(float),
    st.floats(-1.0, 1.0).filter(lambda value: abs(value) > 1e-100),
)
numbers = st.builds(lambda offset, value: offset + value, offsets, small).map(lambda v: v or 0.0)

points = st.lists(st.tuples(times(), numbers), max_size=40)
steps = st.builds(Step, points, st.sampled_from(POLICIES), st.booleans())
histories = st.lists(steps, min_size=1, max_size=5)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int]:
    first = draw(times(highest=MAXIMUM_TIME - 1))
    last = draw(times(highest=MAXIMUM_TIME))
    start, end = sorted((first, last))
    return (start, end) if start < end else (start, start + 1)


@st.composite
def aligned_questions(draw: st.DrawFn) -> tuple[int, int, int]:
    """A range, and an exponent that makes no more windows of it than a test can wait for."""
    start, end = draw(ranges())
    least = ((end - start) // MOST_WINDOWS).bit_length()
    return start, end, draw(st.integers(least, 60))


@st.composite
def precise_questions(draw: st.DrawFn) -> tuple[int, int, int]:
    start, end = draw(ranges())
    least = (end - start) // MOST_WINDOWS + 1
    factor = draw(st.one_of(st.integers(1, 20), st.integers(1, 2 * MOST_WINDOWS)))
    return start, end, least * factor + draw(st.integers(0, least))
