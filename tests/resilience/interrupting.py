"""A program: sends itself Ctrl-C in every blocking call while the server does not answer.

It prints how long each took to end, by name, as JSON. The client must work on after each.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from uuid import UUID

import pingthings.timeseries as pt
from resilience.calls import Call, Subject, begun, blocking_calls
from resilience.proxy import HEADERS, RST_STREAM, Proxy


def interrupted(proxy: Proxy, call: Call, subject: Subject) -> float:
    """Seconds from Ctrl-C to the end of a call that has no answer."""
    sent = 0.0
    asked = proxy.frames[HEADERS]

    def interrupt() -> None:
        nonlocal sent
        if proxy.wait_for_frames(HEADERS, asked + 1):
            # The core looks for signals at fixed intervals; every moment in them shall be met.
            time.sleep(random.random() / 20)  # noqa: S311 - not for cryptography
            sent = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        result = begun(call, subject)
    except KeyboardInterrupt:
        wait = time.monotonic() - sent
        thread.join()
        return wait
    raise AssertionError(f"answered by nobody: {result!r}")


def main(endpoint: str, uuid: str, rounds: int) -> None:
    waits: defaultdict[str, list[float]] = defaultdict(list)
    with Proxy(endpoint) as proxy, pt.connect(endpoint=proxy.endpoint) as client:
        for _ in range(rounds):
            for name, call in blocking_calls().items():
                resets = proxy.frames[RST_STREAM]
                proxy.hold()
                try:
                    subject = Subject.of(client, UUID(uuid), proxy.endpoint)
                    waits[name].append(interrupted(proxy, call, subject))
                except Exception as error:
                    raise AssertionError(f"{name} was not interrupted") from error
                if name != "Client.connect":  # which ends its whole connection
                    assert proxy.wait_for_frames(RST_STREAM, resets + 1), f"{name} goes on"
                proxy.release()
                assert client.info()["major_version"] == 5, name
    print(json.dumps(waits))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
