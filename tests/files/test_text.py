"""Text of any dialect and encoding is read as it was written, or refused."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import string
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pingthings.files import text as module
from pingthings.files.folder import every_file
from pingthings.files.open import open_source
from pingthings.files.quotes import find_rows
from pingthings.files.source import Layout, Source, SourceError

FIXTURE = HealthCheck.function_scoped_fixture


def write(folder: Path, content: str | bytes, name: str = "file.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def rows_of(source: Source) -> Iterator[tuple[int, list[str | None]]]:
    """The number of each row, and its cells."""
    for block in source.blocks(source.columns, source.start):
        cells = zip(*(column.to_pylist() for column in block.table.columns), strict=True)
        yield from zip(block.lines.tolist(), map(list, cells), strict=True)


def cells_of(source: Source) -> list[list[str | None]]:
    return [cells for _, cells in rows_of(source)]


# Dialects and encodings.

NAMES = st.text(string.ascii_letters + " äß°,;|$[]\"'/-", min_size=1, max_size=12).filter(
    lambda name: name.strip(" \"'") == name and not name.startswith("#")
)
NUMBERS = st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}")
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    assume(all(" ".join(name.split()) == name for name in names))
    count = draw(st.integers(2, 8))
    rows = [
        [f"2024-01-01 00:00:{second:02}", *(draw(NUMBERS) for _ in names)]
        for second in range(count)
    ]
    return ["time", *names], rows


@settings(suppress_health_check=[FIXTURE], max_examples=200)
@given(
    tables(),
    st.sampled_from(",;\t|"),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["", "\n", "Station: Oak\n", "# a comment\n", "a\nb\n\n"]),
    st.booleans(),
)
def test_any_dialect_is_found_out(
    tmp_path: Path,
    table: tuple[list[str], list[list[str]]],
    delimiter: str,
    encoding: str,
    end: str,
    quoting: Any,
    preamble: str,
    has_units: bool,
):
    names, rows = table
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow(names)
    if has_units:
        writer.writerow(["", *(["[kV]"] * (len(names) - 1))])
    writer.writerows(rows)
    content = (preamble + text.getvalue()).replace("\n", end)
    source = open_source(write(tmp_path, content.encode(encoding)))
    assert source.columns == names
    assert cells_of(source) == rows
    assert source.units == (dict.fromkeys(names[1:], "kV") if has_units else {})


@pytest.mark.parametrize(
    "name",
    [
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-32-be",
        "latin-1",
        "cp1250",
        "koi8-r",
        "cp037",
        "gb18030",
    ],
)
def test_an_encoding_that_is_told_is_taken(tmp_path: Path, name: str):
    content = 'time;"a;b"\n2024-01-01;1\n'.encode(name)
    asked = codecs.lookup(name).name
    layout = Layout(encoding="utf-8" if asked == "utf-8-sig" else asked)
    source = open_source(write(tmp_path, content), layout)
    assert source.columns == ["time", "a;b"]
    assert cells_of(source) == [["2024-01-01", "1"]]


def test_a_byte_that_is_no_text_spoils_its_cell_only(tmp_path: Path):
    lines = [b"time,a"] + [b"2024-01-01,1"] * 200_000 + [b"2024-01-02,\xb0C", b"2024-01-03,2"]
    source = open_source(write(tmp_path, b"\n".join(lines)))
    rows = list(rows_of(source))
    assert rows[-1] == (200_003, ["2024-01-03", "2"])


# Compression.


def packed(text: bytes, how: Any) -> bytes:
    if how == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._a.csv", b"nothing")
            archive.writestr("a.csv", text)
        return file.getvalue()
    if how in {"zstd", "lz4"}:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, how) as stream:
            stream.write(text)
        return sink.getvalue().to_pybytes()
    packs: dict[str, Any] = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    found: bytes = packs[how](text)
    return found


@pytest.mark.parametrize("how", ["gzip", "bz2", "xz", "zip", "zstd", "lz4"])
@pytest.mark.parametrize("name", ["file.csv", "file", "file.csv.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_packed_is_told_by_its_bytes(tmp_path: Path, how: str, name: str, encoding: str):
    text = "time,a\n" + "".join(f"2024-01-01 00:{k // 60:02}:{k % 60:02},{k}\n" for k in range(99))
    source = open_source(write(tmp_path, packed(text.encode(encoding), how), name))
    assert [cells[1] for cells in cells_of(source)] == [str(k) for k in range(99)]


@pytest.mark.parametrize("how", ["gzip", "bz2", "xz", "zip", "zstd"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_packed_file_that_is_cut_is_named(tmp_path: Path, how: str, part: float):
    noise = [f"2024-01-01 00:00:00.{k:06},{k * 7_919 % 10_007}" for k in range(200_000)]
    content = packed("\n".join(["time,a", *noise]).encode(), how)
    file = write(tmp_path, content[: int(len(content) * part)])
    with pytest.raises(SourceError, match=r"file\.csv"):
        cells_of(open_source(file))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "no rows, and no names"),
        (bytes(range(256)) * 9, "is no text, and no kind of file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "old spreadsheet"),
        (b"SQLite format 3\0" + bytes(99), "SQLite"),
        (b"<!DOCTYPE html><html>404</html>", "a document of tags"),
        (b'{"time": 1}', "JSON"),
        (packed(packed(b"time,a\n", "gzip"), "gzip"), "compressed twice"),
    ],
)
def test_what_is_no_table_is_called_by_its_name(tmp_path: Path, content: bytes, reason: str):
    with pytest.raises(SourceError, match=reason) as raised:
        open_source(write(tmp_path, content))
    assert "file.csv" in str(raised.value)
    assert "latin-1" not in str(raised.value)


def test_an_archive_of_several_files_is_no_table(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "time,a\n")
        archive.writestr("b.csv", "time,a\n")
    with pytest.raises(SourceError, match="2 files"):
        open_source(tmp_path / "a.zip")


@pytest.mark.parametrize("word", ["PARENT", "ORC1", "CDF", "BZh9x", "Rar!", "FEA1"])
def test_a_name_may_begin_like_another_kind_of_file(tmp_path: Path, word: str):
    source = open_source(write(tmp_path, f"{word},time\n1,2024-01-01\n"))
    assert source.columns == [word, "time"]


# Rows.

CELLS = st.text('ab1,"\n ', max_size=6)


def plain_rows(data: bytes) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=8), st.integers(0, 60))
def test_rows_end_where_a_csv_reader_ends_them(table: list[list[str]], cut: int):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    data = text.getvalue().encode()
    found = find_rows(data, b",", is_last=True)
    rows = [data[a:b] for a, b in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]
    assert [plain_rows(row)[0] for row in rows] == table
    assert not found.stray
    assert (found.end, found.count) == (len(data), data.count(b"\n"))
    first = find_rows(data[:cut], b",", is_last=False)
    rest = find_rows(data[first.end :], b",", is_last=True)
    again = [*first.starts.tolist(), *(rest.starts + first.end).tolist()]
    assert again == found.starts.tolist()
    assert [*first.lines.tolist(), *(rest.lines + first.count).tolist()] == found.lines.tolist()


@given(st.lists(st.sampled_from(['1,"open', '1,12" pipe', '1,"a""b"', '1,"x" y', "1,2"])))
def test_a_stray_mark_spoils_its_own_line_only(lines: list[str]):
    data = ("\n".join(lines) + "\n").encode() if lines else b""
    found = find_rows(data, b",", is_last=True)
    assert found.lines.tolist() == list(range(len(lines)))
    assert [lines[row] for row in found.stray] == [line for line in lines if line == '1,"open']


@pytest.mark.parametrize("bad", ['"open', '12" pipe', '"12" pipe', '"a"b"c'])
def test_the_other_rows_of_a_block_are_there(tmp_path: Path, bad: str):
    lines = [f"2024-01-01 00:{k // 60:02}:{k % 60:02},{k},ok" for k in range(3_000)]
    lines[5] = f"2024-01-01 00:00:05,5,{bad}"
    source = open_source(write(tmp_path, "\n".join(["time,a,note", *lines])))
    numbers = [number for number, _ in rows_of(source)]
    assert set(range(2, 3_002)) - set(numbers) <= {7}


def test_marks_cost_time_by_their_number_only():
    line = b'2024-01-01,1,"\n'
    few, many = (find_rows(line * count, b",", is_last=False) for count in (1_000, 100_000))
    assert len(few.starts) < len(many.starts)


def test_lines_are_counted_through_all_that_is_no_row(tmp_path: Path):
    lines = [
        *("# made by hand", "", "time,a,note", "2024-01-01,1,x", "   ", "# pause"),
        *('2024-01-02,2,"two', 'lines"', ",,", "2024-01-03,3", "2024-01-04,4,y", ""),
    ]
    source = open_source(write(tmp_path, "\n".join(lines)))
    (block,) = source.blocks(source.columns, source.start)
    assert block.lines.tolist() == [4, 7, 11]
    assert block.rows.tolist() == [0, 1, 4]  # `,,` has nothing to store, but is a row
    assert block.refused == [(10, "2 cells, not 3")]
    assert block.text(7) == '2024-01-02,2,"two\nlines"'
    assert block.comments == 1


def test_blocks_go_on_where_the_one_before_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [f'2024-01-01 00:00:00.{k:04},{k},"a\n{k}"' for k in range(2_000)]
    file = write(tmp_path, "\n".join(["time,a,b", *rows]))
    whole = list(rows_of(open_source(file)))
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1_000)
    source = open_source(file)
    assert list(rows_of(source)) == whole
    blocks = list(source.blocks(source.columns, source.start))
    middle = blocks[len(blocks) // 2].after
    rest = [number for block in source.blocks(["a"], middle) for number in block.lines.tolist()]
    assert rest == [number for number, _ in whole][-len(rest) :]
    assert middle.row + len(rest) == 2_000


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LONGEST_LINE", 1 << 16)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1 << 14)
    file = write(tmp_path, "time,a\n2024-01-01,1\n2024-01-02," + "9" * (1 << 18))
    with pytest.raises(SourceError, match=r"line 3 of .* never ends"):
        cells_of(open_source(file))


# Names.


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("time,a,,\n2024-01-01,1,,\n", ["time", "a", "column 3", "column 4"]),
        ("time,a,\n2024-01-01,1\n", ["time", "a"]),
        ("time,a\n2024-01-01,1,\n", ["time", "a", "column 3"]),
        ("time,a,a\n2024-01-01,1,2\n", ["time", "a", "a (column 3)"]),
        ('time,"a\n b"\n2024-01-01,1\n', ["time", "a b"]),
        ("time,1,2\n2024-01-01,1,5\n", ["time", "1", "2"]),
        ("# x\n# time a\n# time,a\n2024-01-01,1\n", ["time", "a"]),
        ("Station,Oak\nRate,50\ntime,a\n2024-01-01,1\n2024-01-02,1\n", ["time", "a"]),
        ("\ufefftime,a\n2024-01-01,1\n", ["time", "a"]),
        ("a\n1\n2\n", ["a"]),
        ("time,a\nx,0\n2024-01-01,1\n2024-01-02,2\n", ["time", "a"]),
    ],
)
def test_names_are_found(tmp_path: Path, text: str, columns: list[str]):
    assert open_source(write(tmp_path, text)).columns == columns


def test_names_and_lines_that_are_told(tmp_path: Path):
    file = write(tmp_path, "x,y\nkV,A\nfoo,bar\n1,2\n")
    for layout, columns, units, count in [
        (Layout(skip_lines=2), ["foo", "bar"], {}, 1),
        (Layout(header_line=1, unit_line=2), ["x", "y"], {"x": "kV", "y": "A"}, 2),
        (Layout(has_header=False), ["column 1", "column 2"], {}, 4),
        (Layout(has_header=False, skip_lines=3, names=("p", "q")), ["p", "q"], {}, 1),
        (Layout(header_line=3, names=("p", "q")), ["p", "q"], {}, 1),
    ]:
        source = open_source(file, layout)
        assert (source.columns, source.units) == (columns, units)
        assert len(cells_of(source)) == count


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (Layout(names=("a",)), "has 1 names"),
        (Layout(header_line=99), "line 99"),
        (Layout(unit_line=99), "line 99"),
        (Layout(skip_lines=99), "no rows"),
        (Layout(sheet="x"), None),
    ],
)
def test_what_is_told_and_not_there_is_refused(tmp_path: Path, layout: Layout, reason: str | None):
    file = write(tmp_path, "time,a\n2024-01-01,1\n")
    if reason is None:
        assert open_source(file, layout).columns == ["time", "a"]
        return
    with pytest.raises(SourceError, match=reason):
        open_source(file, layout)


def test_rows_that_do_not_fit_their_names_are_said_to(tmp_path: Path):
    with pytest.raises(SourceError, match="3 cells, but line 1 has 2 names"):
        open_source(write(tmp_path, "time,a\n2024-01-01,1,5\n2024-01-02,1,5\n"))


def test_a_folder_is_named_by_itself(tmp_path: Path):
    with pytest.raises(SourceError, match="is a folder"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="no file that ends with"):
        every_file([tmp_path])
