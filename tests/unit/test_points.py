"""Points: pairs and sextuples that print their time."""

import copy
import pickle

import pytest
from pingthings.timeseries.constants import STAT_F64_SCHEMA
from pingthings.timeseries.points import RawPoint, StatPoint
from pingthings.timeseries.utils.timez import to_nanoseconds

TIME = 1500000000100000001


def test_raw_point_unpacks_and_indexes_like_a_pair():
    point = RawPoint(TIME, 2.5)
    time, value = point
    assert (time, value) == (point.time, point.value) == (point[0], point[1]) == (TIME, 2.5)
    assert len(point) == 2
    assert point == (TIME, 2.5)


def test_points_compare_by_time_first():
    assert RawPoint(1, 9.0) < RawPoint(2, 1.0)
    assert RawPoint(1, 1.0) == RawPoint(1, 1.0)
    assert RawPoint(1, 1.0) != RawPoint(1, 2.0)
    assert len({RawPoint(1, 1.0), RawPoint(1, 1.0)}) == 1


def test_points_are_immutable():
    point = RawPoint(1, 1.0)
    with pytest.raises(AttributeError):
        point.value = 2.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.unit = "V"  # type: ignore[attr-defined]


def test_repr_names_the_instant_without_loss():
    text = repr(RawPoint(TIME, 2.5))
    assert text == "RawPoint(2017-07-14T02:40:00.100000001Z, 2.5)"
    assert to_nanoseconds(text[9:39]) == TIME
    assert repr(RawPoint(-1, 0.0)) == "RawPoint(1969-12-31T23:59:59.999999999Z, 0.0)"


def test_stat_point_follows_the_schema():
    point = StatPoint(TIME, 1.0, 2.0, 3.0, 4, 0.5)
    assert list(point._fields) == STAT_F64_SCHEMA.names
    assert (point.min, point.mean, point.max, point.count, point.stddev) == point[1:]
    assert repr(point) == (
        "StatPoint(2017-07-14T02:40:00.100000001Z, min=1.0, mean=2.0, max=3.0, count=4, stddev=0.5)"
    )


def test_points_survive_pickle_and_copy():
    for point in (RawPoint(TIME, 2.5), StatPoint(TIME, 1.0, 2.0, 3.0, 4, 0.5)):
        pickled = pickle.loads(pickle.dumps(point))  # noqa: S301 - our own bytes
        for clone in (pickled, copy.copy(point), copy.deepcopy(point)):
            assert type(clone) is type(point)
            assert clone == point
