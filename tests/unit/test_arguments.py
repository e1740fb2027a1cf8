"""Arguments in all the forms that people have them in."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.timeseries.arguments import as_width_ns
from pingthings.timeseries.exceptions import BTRDBTypeError, BTRDBValueError
from pingthings.timeseries.retention import as_keep_ns

CYCLE = 16_666_667


@given(st.integers(1, 1 << 62))
def test_a_duration_keeps_its_nanoseconds(nanoseconds: int):
    widths: tuple[Any, ...] = (
        pd.Timedelta(nanoseconds, "ns"),
        np.timedelta64(nanoseconds, "ns"),
        pa.scalar(nanoseconds, pa.duration("ns")),
    )
    for width in widths:
        assert as_width_ns(width) == as_keep_ns(width) == nanoseconds
        assert (
            as_width_ns(-width if not isinstance(width, pa.Scalar) else -nanoseconds)
            == -nanoseconds
        )


@pytest.mark.parametrize("unit", ["W", "D", "h", "m", "s", "ms", "us", "ns"])
def test_every_unit_of_a_duration_counts(unit: Any):
    width = np.timedelta64(3, unit)
    assert as_width_ns(width) == pd.Timedelta(width).as_unit("ns").value
    seconds = pd.Timedelta(width)
    assert as_width_ns(seconds) == as_width_ns(width)
    assert as_width_ns(timedelta(microseconds=7)) == 7_000


@pytest.mark.parametrize(
    ("width", "error"),
    [
        (np.timedelta64(1, "M"), BTRDBValueError),
        (np.timedelta64("NaT"), BTRDBValueError),
        (np.timedelta64(1, "ps"), BTRDBValueError),
        (pa.scalar(None, pa.duration("s")), BTRDBValueError),
        *((value, BTRDBTypeError) for value in (True, np.True_, 0.5, "1s", pd.NaT, None)),
    ],
    ids=repr,
)
def test_what_is_no_width_is_refused(width: Any, error: type[Exception]):
    with pytest.raises(error):
        as_width_ns(width)
