"""COMTRADE: what stands for a missing sample, how samples are laid out, and names encoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pingthings.timeseries as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pingthings.ingest.recording import Recording, RecordingError, read

BEGAN = pt.utils.to_nanoseconds("2021-07-17T18:06:06.826009Z")
MS = 1_000_000


@dataclass(frozen=True)
class Written:
    """A recording of one analog channel, and of digital ones."""

    samples: tuple[Any, ...]
    form: str = "ASCII"
    year: str = "1999"
    reach: str = "-99999,99999"
    name: str = "VA"
    first: int = 1
    stamps: tuple[int, ...] = ()
    digital: int = 0
    words: int = 0
    rates: str = "1\n1000,{count}"
    end: bytes = b""

    @property
    def description(self) -> str:
        channels = [f"1,{self.name},A,,kV,1,0,0,{self.reach},1,1,P"]
        channels += [f"{k + 1},D{k},,,0" for k in range(self.digital)]
        head = f"ST,DEV,{self.year}\n{1 + self.digital},1A,{self.digital}D\n" + "\n".join(channels)
        day = "07/17/2021" if self.year == "1991" else "17/07/2021"
        start = f"{day},18:06:06.826009"
        rates = self.rates.format(count=len(self.samples))
        return f"{head}\n50\n{rates}\n{start}\n{start}\n{self.form}\n1\n"

    @property
    def data(self) -> bytes:
        rows = []
        for place, sample in enumerate(self.samples):
            number = place + self.first
            stamp = self.stamps[place] if self.stamps else place * 1_000
            if self.form == "ASCII":
                rows.append(f"{number},{stamp},{sample}{',0' * self.digital}\n".encode())
            else:
                kind = {"BINARY": "H", "BINARY32": "I", "FLOAT32": "f"}[self.form]
                mask = {"H": 0xFFFF, "I": 0xFFFFFFFF}.get(kind)
                held = sample if mask is None else sample & mask
                rows.append(struct.pack(f"<II{kind}", number, stamp, held) + bytes(2 * self.words))
        return b"".join(rows) + self.end

    def read(self, folder: Path, **more: Any) -> Recording:
        path = folder / "r.cfg"
        codec = more.pop("written_in", "utf-8")
        path.write_bytes(self.description.encode(codec))
        path.with_suffix(".dat").write_bytes(self.data)
        return read(path, **more)

    def points(self, folder: Path, **more: Any) -> list[tuple[float, float]]:
        """Milliseconds after the start, and values, of the analog channel."""
        channel = self.read(folder, **more).channels[0]
        assert all((time - BEGAN) % 1_000 == 0 for time in channel.times.tolist())
        times = [(time - BEGAN) / MS for time in channel.times.tolist()]
        return list(zip(times, channel.values.tolist(), strict=True))


MISSING: dict[str, tuple[Written, list[float]]] = {
    "text, five nines": (Written((1, 99999, 3)), [1, 3]),
    "text, nothing": (Written((1, "", 3), year="2013"), [1, 3]),
    "text of 2013, whose range has five nines": (
        Written((1, 99999, 3), year="2013", reach="0,200000"),
        [1, 99999, 3],
    ),
    "text of 2013, whose range ends before": (
        Written((1, 99999, 3), year="2013", reach="-5000,5000"),
        [1, 3],
    ),
    "the lowest of 16 bits": (Written((1, -0x8000, 3), "BINARY"), [1, 3]),
    "minus one is a value": (Written((1, -1, 3), "BINARY"), [1, -1, 3]),
    "minus one of 1991 within the range": (
        Written((1, -1, 3), "BINARY", "1991", reach="-2048,2047"),
        [1, -1, 3],
    ),
    "minus one of 1991 beyond the range": (
        Written((1, -1, 3), "BINARY", "1991", reach="0,4095"),
        [1, 3],
    ),
    "minus one of 1991 without a range": (
        Written((1, -1, 3), "BINARY", "1991", reach=","),
        [1, 3],
    ),
    "above 32,767, as the range says": (
        Written((1, 40_000, 65_535), "BINARY", reach="0,65535"),
        [1, 40_000, 65_535],
    ),
    "all bits of 1991, above 32,767": (
        Written((1, 40_000, 65_535), "BINARY", "1991", reach="0,65534"),
        [1, 40_000],
    ),
    "the lowest of 32 bits": (Written((1, -(2**31), -0x8000), "BINARY32", "2013"), [1, -0x8000]),
    "no number": (Written((1.0, float("nan"), float("inf")), "FLOAT32", "2013"), [1]),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_stands_for_a_missing_sample(tmp_path: Path, name: str):
    written, values = MISSING[name]
    assert [value for _, value in written.points(tmp_path)] == values


THREE = Written((1, 2, 3))


@pytest.mark.parametrize("form", ["ASCII", "BINARY", "BINARY32", "FLOAT32"])
@pytest.mark.parametrize("end", [b"", b"\x1a", b"\x1a" * 200])
def test_what_ends_a_file_is_no_sample(tmp_path: Path, form: str, end: bytes):
    (tmp_path / "r.cfg").write_bytes(replace(THREE, form=form).description.encode() + end)
    data = replace(THREE, form=form).data
    # Of binary samples it ends in the middle of the next one.
    (tmp_path / "r.dat").write_bytes(data + (end if form == "ASCII" else end[:9]))
    assert read(tmp_path / "r.cfg").channels[0].values.tolist() == [1, 2, 3]


def test_what_follows_the_end_of_a_text_is_no_part_of_it(tmp_path: Path):
    assert replace(THREE, end=b"\x1a7,old,garbage\n").points(tmp_path) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("first", "stamps", "times"),
    [
        (0, (0, 1_000, 2_000), [0, 1, 2]),
        (1, (500, 1_500, 2_500), [0, 1, 2]),  # the number counts
        (1_001, (0, 1_000, 2_000), [0, 1, 2]),  # a part, which begins at the start
        (11, (10_000, 11_000, 12_000), [10, 11, 12]),  # a part of what begins at the start
        (11, (5, 1_005, 2_005), "first sample has the number 11"),
        (11, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "first sample has the number 11"),
    ],
)
def test_samples_that_are_not_counted_from_one(
    tmp_path: Path, first: int, stamps: tuple[int, ...], times: Any
):
    written = replace(THREE, form="BINARY", first=first, stamps=stamps)
    if isinstance(times, str):
        with pytest.raises(RecordingError, match=times):
            written.read(tmp_path)
    else:
        assert [time for time, _ in written.points(tmp_path)] == times


def test_a_word_of_states_without_names(tmp_path: Path):
    ten = Written(tuple(range(10)), "BINARY")
    assert replace(ten, words=1).points(tmp_path) == ten.points(tmp_path)
    with pytest.raises(
        RecordingError, match=r"14 bytes for each of the 10 declared samples, .* need 10"
    ):
        replace(ten, words=2).read(tmp_path)
    # With states that have names, two more bytes may be of a channel that lacks its line.
    with pytest.raises(
        RecordingError, match=r"14 bytes for each of the 10 declared samples, .* need 12"
    ):
        replace(ten, words=2, digital=1).read(tmp_path)


@pytest.mark.parametrize(
    ("codec", "name", "said"),
    [
        ("utf-8", "Störung 5 €", None),
        ("cp1252", "Störung 5 €", None),
        ("cp1252", "Leitung…", None),
        ("utf-16", "Störung", None),
        ("cp1251", "Напряжение", "cp1251"),
        ("gbk", "电压", "gbk"),
    ],
)
def test_names_of_any_encoding(tmp_path: Path, codec: str, name: str, said: str | None):
    recording = replace(THREE, name=name).read(tmp_path, written_in=codec, encoding=said)
    assert recording.channels[0].name == name


def test_an_encoding_that_is_none_or_another(tmp_path: Path):
    with pytest.raises(RecordingError, match="encoding `klingon` does not exist"):
        THREE.read(tmp_path, encoding="klingon")
    with pytest.raises(RecordingError, match="not text in `ascii`"):
        replace(THREE, name="Süd").read(tmp_path, encoding="ascii")


@pytest.mark.parametrize("suffix", [".cff", ".CFF"])
@pytest.mark.parametrize("codec", ["utf-8", "cp1252"])
def test_one_file_of_bytes(tmp_path: Path, codec: str, suffix: str):
    path = tmp_path / f"r{suffix}"
    held = replace(THREE, form="BINARY", name="Süd")
    text = f"--- file type: CFG ---\n{held.description}--- FILE TYPE: DAT BINARY: {{}} ---\r\n"

    def written(count: int, end: bytes = b"") -> Recording:
        path.write_bytes(text.format(count).encode(codec) + held.data + end)
        return read(path)

    size = len(held.data)
    for end in b"", b"\r\n", b"\x1a", b"\r\n--- file type: HDR ---\r\nnothing":
        found = written(size, end).channels[0]
        assert (found.name, found.values.tolist()) == ("Süd", [1, 2, 3])
    assert written(size + 100).channels[0].values.tolist() == [1, 2, 3]
    with pytest.raises(RecordingError, match=f"declares {size - 10} bytes"):
        written(size - 10)


def test_a_start_with_a_decimal_comma(tmp_path: Path):
    (tmp_path / "r.cfg").write_text(THREE.description.replace("06.826009", "06,826009"))
    (tmp_path / "r.dat").write_bytes(THREE.data)
    assert read(tmp_path / "r.cfg").start == BEGAN


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(-0x8000, 0x7FFF), min_size=1, max_size=8),
    st.sampled_from(["ASCII", "BINARY", "BINARY32"]),
    st.sampled_from(["1991", "1999", "2013"]),
    st.tuples(st.integers(-0x8000, 0), st.integers(1, 0x7FFF)),
    st.integers(0, 3),
)
def test_samples_are_stored_as_they_are_or_are_missing(
    tmp_path: Path,
    samples: list[int],
    form: str,
    year: str,
    reach: tuple[int, int],
    first: int,
):
    lowest, highest = reach
    held = tuple(min(max(sample, lowest), highest) for sample in samples)
    written = Written(held, form, year, f"{lowest},{highest}", first=first)
    missing = -0x8000 if form == "BINARY" and year != "1991" else None
    wanted = [(float(k), float(v)) for k, v in enumerate(held) if v != missing]
    assert written.points(tmp_path) == wanted
