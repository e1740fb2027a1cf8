"""Where results are not those of the older client, and which lines of a program that concerns."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pingthings.timeseries.exceptions import BTRDBValueError

__all__ = ["Difference", "differences", "report"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which calls answer something else than in `btrdb` 5.34.2."""

    names: tuple[str, ...]
    """What it concerns, as in `Stream.count`."""
    before: str
    """What the older client did."""
    here: str
    """What happens here."""


_STREAM_READS = ("Stream.values", "Stream.aligned_windows", "Stream.windows")
_JOINS = (
    *("StreamSet.rows", "StreamSet.to_dict", "StreamSet.to_dataframe", "StreamSet.to_polars"),
    *("StreamSet.to_csv", "StreamSet.to_table"),
)
_SNAPPED = (
    *("StreamSet.arrow_values", "StreamSet.arrow_to_dataframe", "StreamSet.arrow_to_polars"),
    *("StreamSet.arrow_to_numpy", "StreamSet.arrow_to_dict", "StreamSet.arrow_to_series"),
    "StreamSet.arrow_to_arrow_table",
)

_DIFFERENCES = (
    Difference(
        ("Stream.count", "StreamSet.count"),
        "summed aligned windows, and so counted points beside the bounds, and none after 2043",
        "exact; `pointwidth` and `precise` have no effect",
    ),
    Difference(
        ("StreamSet.count", "StreamSet.earliest", "StreamSet.latest", "StreamSet.current"),
        "asked for all versions first, and did not see points that no version had yet",
        "see them unless versions are pinned, as every other read does",
    ),
    Difference(
        ("StreamSet.values", "StreamSet.rows", "StreamSet.to_dataframe", "StreamSet.to_series"),
        "ignored pinned versions where no windows were asked for",
        "pinned versions hold for every read",
    ),
    Difference(
        _JOINS,
        "of several points of a stream at one time all but one could be lost, a time of 0 was "
        "waited for without end, and times before 1970 came in pieces",
        "every point has its row, in the order of time",
    ),
    Difference(
        _SNAPPED,
        "`sampling_frequency` was cut off to whole nanoseconds: 60 Hz drifted by 3.5 ms a day; "
        "windows of a stream without points had columns of no type",
        "instants are the nearest nanosecond to a multiple of the exact period; columns have types",
    ),
    Difference(
        ("StreamSet.arrow_to_dataframe", "StreamSet.arrow_to_series", "StreamSet.arrow_to_polars"),
        "a statistic was chosen where its name was anywhere in a column's, as in `admin/L1/max`",
        "it is chosen by the last part of the column's name",
    ),
    Difference(
        ("StreamSet.to_polars", "StreamSet.to_csv", "StreamSet.to_dataframe"),
        "`to_polars(agg='all')`, `to_csv(name_callable=...)` and two streams of one name raised",
        "they work",
    ),
    Difference(
        ("StreamSet.filter", "StreamFilter"),
        "`start=0` and `end=0` meant no bound",
        "0 is an instant",
    ),
    Difference(
        ("StreamSet.__contains__",),
        "`str(uuid) in streams` raised `TypeError`, `uuid in streams` was False",
        "True if the stream is in the set",
    ),
    Difference(
        ("Stream.update", "BTrDB.create"),
        "texts with letters beyond ASCII, quotes or backslashes were changed by `update`; "
        "`create` took texts only",
        "texts are kept as they are; `create` takes what `update` takes",
    ),
    Difference(
        _STREAM_READS,
        "the version beside a point came with the answer",
        "it is that of the last commit before the question",
    ),
    Difference(
        ("to_nanoseconds", "datetime_to_ns", "ns_to_datetime", "ns_delta", "currently_as_ns"),
        "went through floats: 97 of 100 datetimes changed, and `datetime64[ns]` was refused",
        "exact; a bool is refused",
    ),
    Difference(
        ("connect", "Connection"),
        "warned and set up the root logger; TLS if, and only if, the port was 4411",
        "silent; `https://` before the host encrypts any port",
    ),
    Difference(
        ("BTrDB.streams_in_collection",),
        "warned that it will return a `StreamSet`",
        "silent; it still returns a list",
    ),
    Difference(
        ("retry", "auto_retry"),
        "waited and tried again after every error, also where that could not help, and raised "
        "`AttributeError` in the end",
        "tries again after errors that may pass, and raises the last of them",
    ),
    Difference(
        ("RpcError", "handle_grpc_error", "error_handler", "consume_generator"),
        "errors of gRPC came through raw",
        "every error is a `BTrDBError`; the functions that translated them are gone",
    ),
    Difference(
        ("Endpoint", "ep", "channel", "to_proto", "to_proto_list", "stub", "_executor"),
        "gave objects and calls of gRPC",
        "there is no gRPC; `Endpoint` has `client` and `info`, and no call of the protocol",
    ),
    Difference(
        ("register_serializer", "pickle"),
        "connections were not pickled, and ray needed a serializer",
        "connections, streams and sets are pickled; the key stays behind unless `shareable=True`",
    ),
)


def differences() -> tuple[Difference, ...]:
    """Returns every known way in which calls answer something else than in `btrdb` 5.34.2.

    Examples:
        >>> any("StreamSet.count" in difference.names for difference in differences())
        True
    """
    return _DIFFERENCES


def report(path: str) -> Iterator[str]:
    """Yields a line for each place of a script or notebook that a difference concerns.

    Names are looked at and not types, so a line can be about something else of the same name.

    Args:
        path: A file of Python, or a notebook.

    Raises:
        BTRDBValueError: The file holds no Python.
    """
    by_name: dict[str, list[Difference]] = {}
    for difference in _DIFFERENCES:
        for name in difference.names:
            by_name.setdefault(name.rpartition(".")[2], []).append(difference)
    for where, source in _sources(path):
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise BTRDBValueError(f"`{where}` is no Python: {error}") from None
        for line, name in sorted(_uses(tree)):
            for difference in by_name.get(name, ()):
                yield f"{where}:{line}: {name}: before: {difference.before}; now: {difference.here}"


def _sources(path: str) -> Iterator[tuple[str, str]]:
    text = Path(path).read_text(encoding="utf-8")
    if not path.endswith(".ipynb"):
        yield path, text
        return
    try:
        notebook: Any = json.loads(text)
        cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise BTRDBValueError(f"`{path}` is no notebook: {error}") from None
    for number, cell in enumerate(cells, 1):
        lines = "".join(cell["source"]).splitlines()
        # Commands of the notebook are no Python, and stay as empty lines.
        kept = ["" if line.lstrip()[:1] in ("%", "!") else line for line in lines]
        yield f"{path} cell {number}", "\n".join(kept)


def _uses(tree: ast.AST) -> set[tuple[int, str]]:
    found: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add((node.lineno, node.attr))
        elif isinstance(node, ast.Name):
            found.add((node.lineno, node.id))
        elif isinstance(node, ast.keyword) and node.arg is not None:
            found.add((node.value.lineno, node.arg))
    return found
