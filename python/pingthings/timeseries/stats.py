"""What a client has done so far, in numbers.

The core counts; this gives the numbers names, and says which of them belong to this moment.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pingthings.timeseries import display

__all__ = ["CallCounts", "Calls", "Stats"]


@dataclass(frozen=True)
class CallCounts:
    """How calls of one kind ended.

    Attributes:
        started: Calls that have begun.
        succeeded: Those that have answered.
        failed: Those that ended with an error.
        cancelled: Those that were given up by whoever made them: cancelled tasks, interrupted
            blocking calls, iterators that were left early, and the other streams of a set of which
            one failed.
    """

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def in_flight(self) -> int:
        """Calls that have not ended yet."""
        return self.started - self.succeeded - self.failed - self.cancelled


@dataclass(frozen=True)
class Calls:
    """Calls by kind. One over a set counts for each of its streams.

    Methods without a field of their own are counted as what they ask: `count` as precise windows of
    one window, `earliest` and `latest` as `nearest`, `tags`, `refresh_metadata` and
    `get_latest_version` as `stream_info`, devices and units as `records`.

    Attributes:
        info: Who the server is; connecting is one.
        create: Streams made.
        update: Metadata changed; tags and annotations are one each.
        obliterate: Streams removed.
        stream_info: Metadata and versions of streams.
        lookup_streams: Searches for streams.
        list_collections: Lists of collections.
        sql_query: Queries in SQL.
        raw_values: Reads of raw values.
        joined_values: Reads of several streams as one table.
        aligned_windows: Reads of aligned windows.
        precise_windows: Reads of precise windows, and counts.
        nearest: Nearest, earliest and latest points.
        changes: Differences between versions.
        version_at_time: Versions at a time.
        insert: Inserts, each of any number of points.
        flush: Commits.
        delete: Ranges removed.
        retention: Retention asked for or set.
        records: Devices and units.
    """

    info: CallCounts = CallCounts()
    create: CallCounts = CallCounts()
    update: CallCounts = CallCounts()
    obliterate: CallCounts = CallCounts()
    stream_info: CallCounts = CallCounts()
    lookup_streams: CallCounts = CallCounts()
    list_collections: CallCounts = CallCounts()
    sql_query: CallCounts = CallCounts()
    raw_values: CallCounts = CallCounts()
    joined_values: CallCounts = CallCounts()
    aligned_windows: CallCounts = CallCounts()
    precise_windows: CallCounts = CallCounts()
    nearest: CallCounts = CallCounts()
    changes: CallCounts = CallCounts()
    version_at_time: CallCounts = CallCounts()
    insert: CallCounts = CallCounts()
    flush: CallCounts = CallCounts()
    delete: CallCounts = CallCounts()
    retention: CallCounts = CallCounts()
    records: CallCounts = CallCounts()


@dataclass(frozen=True)
class Stats:
    """What a client has done since it connected, with every other over the same connection.

    The child of a fork begins at zero. Numbers are counted without locks, so two of them may differ
    by what happens while they are read.

    Attributes:
        calls: Calls by kind.
        requests: Requests that were sent; a call is several if it is repeated, or an insert of more
            than 50,000 points.
        requests_in_flight: Requests whose answer is not complete, at this moment. An iterator that
            is open is one.
        requests_waiting: Requests that wait for a place under `concurrency_limit`, at this moment.
        wait_ns: Nanoseconds that requests have waited for such a place, all together.
        retries: Requests that were made again after a failure.
        resumed_reads: Times that a read went on after its answer was cut.
        paused_reads: Times that a read gave way to an older one because `memory_limit` was reached.
        bytes_sent: Bytes written to sockets, with all that TLS and HTTP/2 add.
        bytes_received: Bytes read from sockets, likewise; compressed, if the server compresses.
        table_bytes: Bytes of the tables that answers became.
        points_read: Rows of raw values that arrived.
        windows_read: Rows of windows that arrived; a count is one.
        points_inserted: Points that servers have acknowledged.
        decode_ns: Nanoseconds spent making tables of messages, on all threads together.
        connections_opened: Connections that were opened.
        connections_open: Connections that are open at this moment.
        connections_replaced: Connections that were given up for another, after a failure or because
            their server has another address.
        memory_held: Bytes of answers that are here and not handed over, at this moment.
        memory_peak: The most bytes that were.
        reads_waiting: Reads that wait for memory, at this moment.
    """

    calls: Calls = Calls()
    requests: int = 0
    requests_in_flight: int = 0
    requests_waiting: int = 0
    wait_ns: int = 0
    retries: int = 0
    resumed_reads: int = 0
    paused_reads: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    table_bytes: int = 0
    points_read: int = 0
    windows_read: int = 0
    points_inserted: int = 0
    decode_ns: int = 0
    connections_opened: int = 0
    connections_open: int = 0
    connections_replaced: int = 0
    memory_held: int = 0
    memory_peak: int = 0
    reads_waiting: int = 0

    def since(self, earlier: Stats) -> Stats:
        """Returns what was done after an earlier record of the same client.

        Numbers of a moment, and the peak of the memory, are those of the later record.

        Args:
            earlier: What `stats` returned then.

        Examples:
            >>> before = client.stats()
            >>> len(stream.raw_values(start, end))
            10
            >>> client.stats().since(before).points_read
            10
        """
        later: Stats = _since(self, earlier)
        return later

    def __repr__(self) -> str:
        facts = _facts(self)
        width = max(map(len, facts), default=0)
        lines = (f"{name.ljust(width)}  {fact}" for name, fact in facts.items())
        return "\n  ".join(["<Stats>", *lines])

    def _repr_html_(self) -> str:
        return display.client_html(type(self).__name__, _facts(self))


_OF_THE_MOMENT = {
    *("requests_in_flight", "requests_waiting", "connections_open"),
    *("memory_held", "memory_peak", "reads_waiting"),
}
_UNITS = {
    "ns": ((1, "ns"), (1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")),
    "bytes": ((1, "B"), (1_000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB")),
}


def from_core(told: tuple[dict[str, tuple[int, int, int, int]], dict[str, int]]) -> Stats:
    """Returns what the core has told."""
    calls, numbers = told
    return Stats(Calls(**{kind: CallCounts(*counts) for kind, counts in calls.items()}), **numbers)


def _since(later: Any, earlier: Any) -> Any:
    if isinstance(later, int):
        return later - earlier
    names = [field.name for field in fields(later)]
    return type(later)(
        **{
            name: getattr(later, name)
            if name in _OF_THE_MOMENT
            else _since(getattr(later, name), getattr(earlier, name))
            for name in names
        }
    )


def _facts(stats: Stats) -> dict[str, str]:
    """What is not zero, as people read it."""
    kinds = ((field.name, getattr(stats.calls, field.name)) for field in fields(stats.calls))
    facts = {f"calls of {kind}": _ends(counts) for kind, counts in kinds if counts.started}
    for field in fields(stats)[1:]:
        number = getattr(stats, field.name)
        if number:
            facts[_label(field.name)] = _text(field.name, number)
    return facts


def _ends(counts: CallCounts) -> str:
    others = {
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "in flight": counts.in_flight,
    }
    said = ", ".join(f"{number:,} {end}" for end, number in others.items() if number)
    return f"{counts.started:,} ({said})" if said else f"{counts.started:,}"


def _label(name: str) -> str:
    return name.removesuffix("_ns").replace("_", " ")


def _text(name: str, number: int) -> str:
    kind = "ns" if name.endswith("_ns") else "bytes" if "bytes" in name or "memory" in name else ""
    if not kind:
        return f"{number:,}"
    scale, unit = max((step for step in _UNITS[kind] if step[0] <= number), default=(1, "B"))
    return f"{number:,} {unit}" if scale == 1 else f"{number / scale:,.1f} {unit}"
