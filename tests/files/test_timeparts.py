"""Times whose parts stand in several columns are the times that were meant, or are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.files import times as read
from pingthings.files.open import open_source
from pingthings.files.source import Source, SourceError
from pingthings.files.timecolumns import choose_times
from pingthings.files.times import Clock

FIXTURE = HealthCheck.function_scoped_fixture
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = [timedelta(hours=1), timedelta(minutes=15), timedelta(minutes=20, seconds=30)]

PARTS = ["Year", "Month", "Day", "Hour", "Minute"]
WAYS = ["hours", "ends of hours", "minutes", "seconds", "clock", "padded clock", "calendar"]


def ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def cells(moment: datetime, way: str) -> dict[str, str]:
    """A time as the columns of a way to write it."""
    day, clock = f"{moment:%Y-%m-%d}", moment.hour * 100 + moment.minute
    before = moment - timedelta(hours=1)
    hour, minute = str(moment.hour), str(moment.minute)
    year, month, number = str(moment.year), str(moment.month), str(moment.day)
    ways = {
        "hours": {"date": day, "hour": hour},
        "ends of hours": {"Date": f"{before:%Y-%m-%d}", "HE": str(before.hour + 1)},
        "minutes": {"date": day, "Hour": hour, "Minute": minute},
        "seconds": {"date": day, "hh": f"{moment:%H}", "Min": minute, "Sec": f"{moment:%S}"},
        "clock": {"date": day, "time": str(clock)},
        "padded clock": {"date": day, "time": f"{clock:04}"},
        "calendar": dict(zip(PARTS, (year, month, number, hour, minute), strict=True)),
    }
    return ways[way]


def times_of(source: Source, asked: list[str] | None = None) -> list[int | str]:
    sample = source.sample()
    columns, _ = choose_times(source, sample, asked or [], Clock())
    found, bad = read.times(columns.joined(sample), Clock())
    return [bad.get(place, time) for place, time in enumerate(found.tolist())]


@settings(deadline=None, suppress_health_check=[FIXTURE])
@given(
    first=st.datetimes(datetime(1990, 1, 1), datetime(2070, 1, 1)),  # noqa: DTZ001 - made UTC below
    count=st.integers(49, 120),
    way=st.sampled_from(WAYS),
    told=st.booleans(),
)
def test_times_in_several_columns_are_put_together(
    tmp_path: Path, first: datetime, count: int, way: str, told: bool
) -> None:
    step = STEPS[{"seconds": 2, "minutes": 1, "clock": 1}.get(way, 0)]
    start = first.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    moments = [start + k * step for k in range(count)]
    rows = [cells(moment, way) for moment in moments]
    text = "".join(",".join(row.values()) + f",{k * 7 % 5}.5\n" for k, row in enumerate(rows))
    file = tmp_path / "file.csv"
    file.write_text(",".join(rows[0]) + ",load\n" + text, encoding="utf-8")
    asked = list(rows[0]) if told else None
    assert times_of(open_source(file), asked) == [ns(moment) for moment in moments]


def test_parts_may_be_numbers(tmp_path: Path) -> None:
    moments = [datetime(2024, 1, 1, tzinfo=UTC) + k * STEPS[0] for k in range(60)]
    columns: dict[str, Any] = {
        "year": pa.array([m.year for m in moments], pa.int16()),
        "month": pa.array([float(m.month) for m in moments]),
        "day": pa.array([m.day for m in moments], pa.uint8()),
        "hour": pa.array([m.hour for m in moments], pa.int64()),
        "load": pa.array([1.5] * 60),
    }
    table = pa.table(columns)
    with pa.ipc.new_file(str(tmp_path / "file.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert times_of(open_source(tmp_path / "file.arrow")) == [ns(m) for m in moments]


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("date,operating hours", "2024-01-{k:02},{odd}", ("date",)),  # hours of a day, not in it
        ("date,hours,site", "2024-01-01,{odd},{k}", ("date",)),  # in no order
        ("time,hour", "2024-01-01 00:{k:02}:00,{k}", ("time",)),  # there are whole times
        ("date,hour", "2024-01-01,{k}", ("date", "hour")),
    ],
)
def test_other_numbers_are_no_hours(
    tmp_path: Path, header: str, row: str, columns: tuple[str, ...]
) -> None:
    rows = (row.format(k=k, odd=(k * 7) % 20) for k in range(1, 20))
    file = tmp_path / "file.csv"
    file.write_text(f"{header}\n" + "\n".join(rows) + "\n", encoding="utf-8")
    source = open_source(file)
    found, _ = choose_times(source, source.sample(), [], Clock())
    assert found.names == columns


def test_the_advice_for_days_in_another_form_has_the_hours(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    rows = "".join(f"01/{13 + k // 24}/2024,{k % 24 + 1},1\n" for k in range(72))
    file.write_text("Date,HE,load\n" + rows, encoding="utf-8")
    source = open_source(file)
    with pytest.raises(SourceError, match="--time 'Date' --time 'HE'` with `--time-format '%m/%d"):
        choose_times(source, source.sample(), [], Clock())
    clock = Clock(form="%m/%d/%Y %H")
    columns, _ = choose_times(source, source.sample(), ["Date", "HE"], clock)
    found, bad = read.times(columns.joined(source.sample()), clock)
    assert not bad
    first = ns(datetime(2024, 1, 13, 1, tzinfo=UTC))
    assert found.tolist() == [first + k * 3_600 * 10**9 for k in range(72)]
