"""A sender of the library pyc37 in a process of its own.

It says on standard error on which port it listens, since the library logs to standard output.
Whoever connects first gets all frames, however long that takes.
"""

from __future__ import annotations

import collections.abc  # noqa: F401 - pyc37 wants it, and does not import it
import sys
import time

from pyc37.frame import ConfigFrame2, DataFrame
from pyc37.pmu import Pmu

START = 1_710_505_800
TIME_BASE = 16_777_215


def configuration() -> ConfigFrame2:
    names = ["VA", "IA", "ANALOG", *(f"BREAKER {bit}" for bit in range(16))]
    integers = (False, False, False, False)
    return ConfigFrame2(
        *(7734, TIME_BASE, 1, "OAK", 7734, integers, 2, 1, 1, names),
        *([(915_527, "v"), (45_776, "i")], [(1, "rms")], [(0x0000, 0x0003)], 60, 1, 100),
        *(START, (0,)),
    )


def data(number: int, known: ConfigFrame2) -> DataFrame:
    fraction = (number % 30) * TIME_BASE // 30
    return DataFrame(
        7734,
        0,
        [(14_635 + number, -number), (1_092, number)],
        *(-20 + number, number, [number], [number % 4], known),
        *(START + number // 30, (fraction, "+", False, False, 0)),
    )


def main(count: int) -> None:
    known = configuration()
    sender = Pmu(port=0, set_timestamp=False)
    sender.set_configuration(known)
    sender.run()
    port = sender.socket.getsockname()[1]
    print(port, file=sys.stderr, flush=True)  # noqa: T201 - the test reads it
    while not sender.client_buffers:
        time.sleep(0.01)
    for number in range(count):
        sender.send(data(number, known))
    sys.stdin.read()
    sender.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
