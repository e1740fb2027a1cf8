"""The shipped recording is what its generator makes, and holds what its description says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GENERATOR = Path(__file__).parents[2] / "examples" / "simulated_pmu.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulated_pmu", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recording(generator: ModuleType) -> pa.Table:
    return pq.read_table(generator.RECORDING)


def test_generator_reproduces_the_recording(generator: ModuleType, recording: pa.Table):
    made = generator.simulate()
    assert made.schema.equals(recording.schema, check_metadata=True)
    for name in made.column_names:
        assert made[name].combine_chunks().equals(recording[name].combine_chunks()), name


def test_writing_gives_the_recording_back(generator: ModuleType, tmp_path: Path):
    file = tmp_path / "new" / "recording.parquet"
    made = generator.simulate()
    generator.write(made, file)
    assert pq.read_table(file).equals(made)
    assert file.stat().st_size < 3_000_000


def test_recording_is_small_and_says_it_is_simulated(generator: ModuleType, recording: pa.Table):
    assert generator.RECORDING.stat().st_size < 3_000_000
    assert b"imulated" in recording.schema.metadata[b"description"]
    assert recording.num_rows == generator.SAMPLES == 18_000
    assert recording.num_columns == 1 + 14 * len(generator.STATIONS)
    units = {(field.metadata or {})[b"unit"] for field in recording.schema if field.name != "time"}
    assert units == {b"V", b"A", b"deg", b"Hz", b"Hz/s"}


def test_times_do_not_drift(generator: ModuleType, recording: pa.Table):
    times = recording["time"].cast(pa.int64()).to_numpy()
    exact = [generator.START_NS + round(i * 10**9 / 30) for i in range(0, 18_000, 30)]
    assert times[::30].tolist() == exact
    assert set(np.diff(times)) == {33_333_333, 33_333_334}


def test_fault_shows_on_phase_a_and_most_near_it(recording: pa.Table):
    during = slice(5_401, 5_404)
    sags = []
    for station in ("alder", "birch", "cedar", "dogwood"):
        a = recording[f"{station}/voltage_a_magnitude"].to_numpy()
        b = recording[f"{station}/voltage_b_magnitude"].to_numpy()
        sags.append(1 - a[during].min() / a[:5_000].mean())
        assert b[during].min() > b[:5_000].mean()
    assert sags == sorted(sags, reverse=True)
    assert sags[0] > 0.7
    current = recording["alder/current_a_magnitude"].to_numpy()
    assert current[during].max() > 7_000
    assert current[5_408:5_420].max() < 5


def test_trip_takes_frequency_down_and_control_brings_it_back(recording: pa.Table):
    frequency = recording["cedar/frequency"].to_numpy()
    assert 59.7 < frequency.min() < 59.8
    assert 10_800 < frequency.argmin() < 10_800 + 10 * 30
    assert abs(frequency[:5_400] - 60).max() < 0.03
    assert frequency[-600:].mean() > 59.95


def test_dropout_is_null_at_one_station_only(recording: pa.Table):
    for field in recording.schema:
        expected = 45 if field.name.startswith("dogwood/") else 0
        assert recording[field.name].null_count == expected
