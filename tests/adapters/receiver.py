"""A feed in a thread, and what it has stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pingthings.timeseries as pt
from ingest.simulated_sender import IDCODE, START
from pingthings.ingest.feed import Feed
from pingthings.ingest.writer import Writer

__all__ = ["receiving", "stored"]


@contextmanager
def receiving(
    client: pt.Client, collection: str, port: int, idcode: int = IDCODE, **more: Any
) -> Iterator[Feed]:
    """A feed in a thread, that has ended after the block."""
    stop = threading.Event()
    with Writer(client, insert_seconds=0.02) as writer:
        feed = Feed(client, writer, "127.0.0.1", port, idcode, collection, **more)
        thread = threading.Thread(target=feed.run, args=(stop,))
        thread.start()
        try:
            yield feed
        finally:
            stop.set()
            thread.join(30)
        writer.flush()
    assert not thread.is_alive()


def stored(client: pt.Client, collection: str) -> dict[str, list[tuple[int, float]]]:
    found = {}
    for stream in client.streams_in_collection(collection):
        table = stream.raw_values(START * 10**9, (START + 1_000) * 10**9)
        arrays = pt.frames.to_numpy(table)
        times: list[int] = arrays["time"].view(np.int64).tolist()
        found[str(stream.name)] = list(zip(times, arrays["value"].tolist(), strict=True))
    return found
