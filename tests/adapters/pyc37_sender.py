"""A sender of the library pyc37 in a process of its own: sends frames while anybody listens."""

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


def main(port: int, count: int) -> None:
    known = configuration()
    sender = Pmu(port=port, set_timestamp=False)
    sender.set_configuration(known)
    sender.run()
    while not sender.client_buffers:
        time.sleep(0.01)
    for number in range(count):
        sender.send(data(number, known))
    print("sent", flush=True)  # noqa: T201 - the test waits for it
    sys.stdin.read()
    sender.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
