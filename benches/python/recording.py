"""Points to insert, and to query elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from stopwatch import START, STEP


def arrays(count: int, first: int = 0) -> tuple[Any, Any]:
    """Times and values of a voltage magnitude: single precision widened, drift and noise."""
    places = np.arange(first, first + count, dtype=np.int64)
    noise = np.random.default_rng(first).normal(0, 0.1, count)
    values = (7_200 + 40 * np.sin(places / 36_000) + noise).astype(np.float32)
    return START + places * STEP, values.astype(np.float64)


def table(count: int, first: int = 0) -> Any:
    """The same as an Arrow table in one piece."""
    times, values = arrays(count, first)
    return pa.table({"time": pa.array(times, pa.timestamp("ns", tz="UTC")), "value": values})


def points(count: int) -> list[tuple[int, float]]:
    """The same as Python tuples."""
    times, values = arrays(count)
    return list(zip(times.tolist(), values.tolist(), strict=True))
