"""Calls that objects make while the interpreter takes them away."""

from __future__ import annotations

import pytest
from pingthings.server import Server
from resilience.conftest import Script

TEXT = """
import sys
import pingthings.timeseries as pt
from pingthings.timeseries.exceptions import BTrDBError, ClientClosedError

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid("00000000-0000-0000-0000-000000000001")
asynchronous = client.get_async_client()

class Last:
    call = {call}
    expected = ClientClosedError
    root = BTrDBError
    write = sys.stdout.write

    def __init__(self):
        self.client, self.stream, self.core = client, stream, asynchronous._core.blocking()

    def __del__(self):
        try:
            self.call()
        except self.expected as error:
            self.write("ours\\n" if isinstance(error, self.root) else "theirs\\n")
        except BaseException as error:
            self.write(repr(error) + "\\n")

{keep} = Last()
"""

CALLS = {
    "core": "lambda self: self.core.info()",
    "client": "lambda self: self.client.info()",
    "stream": "lambda self: self.stream.count()",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("keep", ["kept", "sys.kept"])
def test_calls_at_the_end_fail_with_an_error_of_ours(
    script: Script, server: Server, call: str, keep: str
):
    # Of the main module, which goes early, or of one that goes last.
    text = TEXT.replace("{call}", CALLS[call]).replace("{keep}", keep)
    done = script(text, server.endpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ours\n", "")
