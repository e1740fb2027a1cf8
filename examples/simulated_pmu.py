"""Ten minutes of simulated synchrophasors, with a fault and a loss of generation in them.

Nothing here was measured. Four stations of an invented 500 kV, 60 Hz network report three-phase
voltages and currents, frequency and its rate of change 30 times a second. What happens:

* at 180 s, phase A of the line at station `alder` flashes over to ground. Its breaker pole opens
  after 150 ms, stays open for 600 ms, and closes again for good. Phase A sags at every station,
  less so with distance, and the rotors swing against each other for some ten seconds;
* at 360 s, a power station trips. Frequency falls at once, is caught by the governors after some
  five seconds, and is brought back by secondary control within minutes;
* at 480 s, the link to station `dogwood` fails for a second and a half: its values are null.

The recording is the same on every machine, to the last bit: the noise comes from the raw words of a
seeded generator, and every value is rounded to a power of two that is coarser than what the
floating point of two machines may differ by.

Run it to write `docs/data/simulated_pmu.parquet` anew; `tests/unit/test_simulated_pmu.py` compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

RECORDING = Path(__file__).parents[1] / "docs/data/simulated_pmu.parquet"

SEED = 20_240_229
START_NS = 1_709_215_200_000_000_000  # 2024-02-29T14:00:00Z
RATE_HZ = 30
DURATION_S = 600
SAMPLES = RATE_HZ * DURATION_S

FAULT_S = 180.0
FAULT_CLEARED_S = FAULT_S + 0.15
RECLOSED_S = FAULT_CLEARED_S + 0.6
TRIP_S = 360.0
DROPOUT_S = (480.0, 481.5)

NOMINAL_HZ = 60.0
NOMINAL_V = 500e3 / 3**0.5
PHASES = {"a": 0.0, "b": -120.0, "c": 120.0}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Station:
    """A place in the network, and how it takes part in what happens."""

    name: str
    angle_deg: float
    """Angle of its voltage against the average of the network."""
    load_a: float
    """Current of its line before anything happens."""
    lag_deg: float
    """By how much the current lags the voltage."""
    sag: float
    """Share of its phase A voltage that the fault takes away."""
    fault_a: float
    """Current that it feeds into the fault."""
    swing: float
    """Part in the swing after the fault; stations of opposite sign swing against each other."""
    pickup: float
    """Share of its current that it carries in addition after the generation trip."""


STATIONS = (
    Station("alder", 12.0, 820.0, 14.0, 0.78, 6400.0, 1.00, 0.10),
    Station("birch", 7.5, 1140.0, 11.0, 0.42, 2300.0, 0.55, 0.06),
    Station("cedar", -4.0, 960.0, 17.0, 0.19, 900.0, -0.35, 0.04),
    Station("dogwood", -15.5, 640.0, 22.0, 0.08, 310.0, -0.90, 0.17),
)


class Noise:
    """Independent values of mean 0 and deviation 1, the same with every version of numpy.

    Each is the sum of twelve uniform values, which is close to normal out to four deviations.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def values(self, number: int) -> Floats:
        """Returns the next values, as many as asked for."""
        words: npt.NDArray[np.uint64] = self._words.random_raw(3 * number)
        parts = words.view(np.uint16).reshape(number, 12).astype(np.float64)
        sums: Floats = parts.sum(axis=1)
        return sums / 65_536 - 6.0


def sample_times() -> npt.NDArray[np.int64]:
    """The time of each sample; 30 Hz does not divide a second, so each is rounded on its own."""
    index = np.arange(SAMPLES, dtype=np.int64)
    return START_NS + (index * 1_000_000_000 + RATE_HZ // 2) // RATE_HZ


def network_frequency(noise: Noise) -> Floats:
    """The frequency the network has in common: rotors, governors and secondary control.

    All powers are shares of the network's load. A lack of power slows the rotors down. Governors
    answer the deviation, a part of it promptly and the rest as slowly as steam reheats; secondary
    control answers its integral.
    """
    inertia_s, damping, droop, prompt, turbine_s, secondary_s = 7.0, 1.5, 0.09, 0.2, 10.0, 110.0
    steps, lost = 4, 0.028
    step_s = 1.0 / (RATE_HZ * steps)
    wander = noise.values(SAMPLES)
    deviation = reheat = secondary = load = 0.0
    frequency = np.empty(SAMPLES)
    for sample in range(SAMPLES):
        load += (-load / 20.0) / RATE_HZ + 0.00008 * float(wander[sample])
        imbalance = -load - (lost if sample >= TRIP_S * RATE_HZ else 0.0)
        for _ in range(steps):
            wanted = -deviation / droop
            surplus = imbalance + prompt * wanted + reheat + secondary - damping * deviation
            deviation += surplus / (2.0 * inertia_s) * step_s
            reheat += ((1.0 - prompt) * wanted - reheat) / turbine_s * step_s
            secondary += -deviation / (droop * secondary_s) * step_s
        frequency[sample] = NOMINAL_HZ * (1.0 + deviation)
    return frequency


def decaying_swing(seconds: Floats, start: float, hertz: float, decay_s: float) -> Floats:
    """A frequency deviation of amplitude 1 that builds up at `start`, swings and dies away."""
    since = np.maximum(seconds - start, 0.0)
    build_up = np.clip(since / 0.15, 0.0, 1.0)
    return build_up * np.cos(2.0 * np.pi * hertz * since) * np.exp(-since / decay_s)


def during(seconds: Floats, start: float, end: float) -> Floats:
    """1 within [start, end) and 0 outside, with the ramps that a PMU's filter window gives."""
    window_s = 2.0 / NOMINAL_HZ
    rise = np.clip((seconds - start) / window_s + 0.5, 0.0, 1.0)
    fall = np.clip((seconds - end) / window_s + 0.5, 0.0, 1.0)
    return rise - fall


def station_columns(
    station: Station, seconds: Floats, common_hz: Floats, noise: Noise
) -> dict[str, Floats]:
    """What the station's PMU reports, as column name to values."""
    fault = during(seconds, FAULT_S, FAULT_CLEARED_S)
    pole_open = during(seconds, FAULT_CLEARED_S, RECLOSED_S)
    after_trip = np.clip((seconds - TRIP_S) / 3.0, 0.0, 1.0)

    swing_hz = 0.055 * station.swing * decaying_swing(seconds, FAULT_S, 0.62, 4.5)
    swing_hz += 0.030 * station.swing * decaying_swing(seconds, TRIP_S, 0.41, 7.0)
    swing_deg = np.cumsum(swing_hz) * 360.0 / RATE_HZ
    frequency = common_hz + swing_hz
    drift_deg = np.cumsum(common_hz - NOMINAL_HZ) * 360.0 / RATE_HZ
    angle = station.angle_deg + drift_deg + swing_deg

    columns: dict[str, Floats] = {}
    for phase, shift in PHASES.items():
        is_faulted = phase == "a"
        sag = station.sag * fault if is_faulted else -0.11 * station.sag * fault
        volts = NOMINAL_V * (1.018 - sag - 0.012 * after_trip) + swing_deg * 350.0
        amps = station.load_a * (1.0 + station.pickup * after_trip) + swing_deg * 9.0
        lag = station.lag_deg + np.zeros(SAMPLES)
        if is_faulted:
            amps = amps + station.fault_a * fault
            lag = lag + (78.0 - station.lag_deg) * fault
            if station.name == "alder":
                amps = amps * (1.0 - pole_open)
        voltage, current = f"{station.name}/voltage_{phase}", f"{station.name}/current_{phase}"
        columns[f"{voltage}_magnitude"] = rounded(volts + 45.0 * noise.values(SAMPLES), 8.0)
        columns[f"{voltage}_angle"] = wrapped(angle + shift + 0.012 * noise.values(SAMPLES))
        columns[f"{current}_magnitude"] = rounded(np.abs(amps + 0.6 * noise.values(SAMPLES)), 0.125)
        columns[f"{current}_angle"] = wrapped(angle + shift - lag + 0.06 * noise.values(SAMPLES))
    measured = frequency + 0.0007 * noise.values(SAMPLES)
    rate = np.gradient(frequency, 1.0 / RATE_HZ) + 0.009 * noise.values(SAMPLES)
    columns[f"{station.name}/frequency"] = rounded(measured, 2.0**-13)
    columns[f"{station.name}/rocof"] = rounded(rate, 2.0**-9)
    return columns


def rounded(values: Floats, step: float) -> Floats:
    """The values as multiples of a power of two, which two machines agree on."""
    return np.rint(values / step) * step


def wrapped(degrees: Floats) -> Floats:
    """Angles within [-180, 180), as PMUs report them."""
    turns = np.floor((degrees + 180.0) / 360.0)
    return rounded(degrees - 360.0 * turns, 2.0**-7)


def unit_of(column: str) -> str:
    """The unit of a column by what its name ends with."""
    quantity = column.rsplit("/", maxsplit=1)[-1]
    if quantity == "frequency":
        return "Hz"
    if quantity == "rocof":
        return "Hz/s"
    if quantity.endswith("_angle"):
        return "deg"
    return "V" if quantity.startswith("voltage") else "A"


def simulate() -> pa.Table:
    """Returns the recording: a column `time` and one of 32-bit floats for each quantity."""
    noise = Noise(SEED)
    seconds = np.arange(SAMPLES) / RATE_HZ
    common_hz = network_frequency(noise)
    arrays: list[Any] = [pa.array(sample_times(), pa.timestamp("ns", tz="UTC"))]
    fields: list[Any] = [pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False)]
    for station in STATIONS:
        lost = (seconds >= DROPOUT_S[0]) & (seconds < DROPOUT_S[1]) & (station.name == "dogwood")
        for name, values in station_columns(station, seconds, common_hz, noise).items():
            arrays.append(pa.array(values.astype(np.float32), mask=lost))
            fields.append(pa.field(name, pa.float32(), metadata={"unit": unit_of(name)}))
    schema = pa.schema(
        fields,
        metadata={"description": "Simulated synchrophasors; nothing in this file was measured."},
    )
    return pa.table(arrays, schema=schema)


def write(table: pa.Table, file: Path) -> None:
    """Writes the recording in the smallest form that keeps every bit."""
    quantities = [name for name in table.column_names if name != "time"]
    encoding = dict.fromkeys(quantities, "BYTE_STREAM_SPLIT") | {"time": "DELTA_BINARY_PACKED"}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        file,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=encoding,
    )


if __name__ == "__main__":
    write(simulate(), RECORDING)
    print(f"{RECORDING}: {RECORDING.stat().st_size:,} bytes")
