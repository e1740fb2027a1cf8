"""What a web server serves with several processes, all of them using one client made before."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import pingthings.timeseries as pt

client = pt.connect(endpoint=os.environ["TEST_ENDPOINT"])
stream = client.stream_from_uuid(os.environ["TEST_STREAM"])
# Used before the fork, so that there are connections and threads to be left behind.
expected = stream.raw_values(0, 10**12)


def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Says which process read the stream, and whether it was right."""
    is_right = stream.raw_values(0, 10**12) == expected and stream.count() == expected.num_rows
    start_response("200 OK", [("Content-Type", "application/json")])
    yield json.dumps({"pid": os.getpid(), "is_right": is_right}).encode()
