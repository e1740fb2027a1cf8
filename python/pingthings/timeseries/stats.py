"""Statistics of a client.

The core counts; this module names the counters and knows which of them are gauges.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pingthings.timeseries import display

__all__ = ["CallCounts", "Calls", "Stats"]


@dataclass(frozen=True)
class CallCounts:
    """Numbers of calls of one kind, by result.

    Attributes:
        started: Calls that were started.
        succeeded: Calls that succeeded.
        failed: Calls that ended with an error.
        cancelled: Calls that were abandoned: cancelled tasks, interrupted blocking calls, iterators
            that were left early, and the other streams of a set in which one failed.
    """

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def in_flight(self) -> int:
        """Calls that have not finished yet."""
        return self.started - self.succeeded - self.failed - self.cancelled


@dataclass(frozen=True)
class Calls:
    """Calls by kind. A call on a set counts once for each of its streams.

    Methods without a field are counted by the request they make: `count` as precise windows,
    `earliest` and `latest` as `nearest`; `tags`, `refresh_metadata` and `get_latest_version` as
    `stream_info`; methods for devices and units as `records`.

    Attributes:
        info: Requests for server information; connecting is one.
        create: Created streams.
        update: Metadata changes; tags and annotations count as one each.
        obliterate: Removed streams.
        stream_info: Reads of metadata and versions of streams.
        lookup_streams: Searches for streams.
        list_collections: Lists of collections.
        sql_query: SQL queries.
        raw_values: Reads of raw values.
        joined_values: Reads of several streams as one table.
        aligned_windows: Reads of aligned windows.
        precise_windows: Reads of precise windows, and counts.
        nearest: Reads of nearest, earliest and latest points.
        changes: Reads of differences between versions.
        version_at_time: Lookups of the version at a time.
        insert: Inserts, each of any number of points.
        flush: Flushes.
        delete: Deleted ranges.
        retention: Reads and changes of retention.
        records: Calls for devices and units.
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
    """Statistics of a client since it connected, including other clients on the same connection.

    The child of a fork starts at zero. Numbers are counted without locks, so two of them may be
    inconsistent by what happens while they are read.

    Attributes:
        calls: Calls by kind.
        requests: Requests sent; a call makes several if it is retried, or if it is an insert of
            more than 50,000 points.
        requests_in_flight: Requests whose answer is not complete now. An open iterator is one.
        requests_waiting: Requests that now wait for a permit of `concurrency_limit`.
        wait_ns: Total nanoseconds that requests have waited for permits.
        retries: Requests repeated after a failure.
        resumed_reads: How often a read continued after its answer was interrupted.
        paused_reads: How often a read gave way to an older one because of `memory_limit`.
        bytes_sent: Bytes written to sockets, including TLS and HTTP/2.
        bytes_received: Bytes read from sockets, likewise; compressed, if the server compresses.
        table_bytes: Bytes of the tables decoded from answers.
        points_read: Rows of raw values received.
        windows_read: Rows of windows received; a count is one.
        points_inserted: Points acknowledged by servers.
        decode_ns: Nanoseconds spent on decoding messages, on all threads.
        connections_opened: Connections opened so far.
        connections_open: Connections open now.
        connections_replaced: Connections replaced after a failure, or because the address of their
            server changed.
        memory_held: Bytes of answers received and not yet returned, now.
        memory_peak: The maximum of `memory_held`.
        reads_waiting: Reads that now wait for memory.
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
        """Returns the difference to an earlier record of the same client.

        Current values, and the peak of the memory, are those of the later record.

        Args:
            earlier: An earlier result of `stats`.

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


_GAUGES = {
    *("requests_in_flight", "requests_waiting", "connections_open"),
    *("memory_held", "memory_peak", "reads_waiting"),
}
_UNITS = {
    "ns": ((1, "ns"), (1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")),
    "bytes": ((1, "B"), (1_000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB")),
}


def from_core(counted: tuple[dict[str, tuple[int, int, int, int]], dict[str, int]]) -> Stats:
    """Converts the counters of the core."""
    calls, numbers = counted
    return Stats(Calls(**{kind: CallCounts(*counts) for kind, counts in calls.items()}), **numbers)


def _since(later: Any, earlier: Any) -> Any:
    if isinstance(later, int):
        return later - earlier
    names = [field.name for field in fields(later)]
    return type(later)(
        **{
            name: getattr(later, name)
            if name in _GAUGES
            else _since(getattr(later, name), getattr(earlier, name))
            for name in names
        }
    )


def _facts(stats: Stats) -> dict[str, str]:
    """Returns the numbers that are not zero, formatted for people."""
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
