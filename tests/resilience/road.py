"""Two network namespaces and the road between them: as long and as bad as wanted.

The road is a thread here that carries packets between two TUN devices, so that it needs no kernel
module beyond those of containers (`tc netem` is missing from many of them).
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_TUN = "/dev/net/tun"
_LONGEST_PACKET = 1 << 16
_PACKETS_AT_ONCE = 64

CLIENT, SERVER = "10.87.0.1", "10.87.0.2"
"""The addresses of the two ends."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_not() -> str | None:
    """Why there can be no roads on this machine, or None if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "`ip` is missing (package iproute2)"
    try:
        with Road() as road:
            subprocess.run(road.program("c", "true"), check=True, capture_output=True, text=True)
            return None
    except subprocess.CalledProcessError as error:
        return f"`{' '.join(error.cmd)}` failed: {error.stderr.strip()}"
    except OSError as error:
        return f"no TUN device: {error}"


class Road:
    """A context manager; each direction delays by `delay_s` and loses a share of the packets."""

    def __init__(self, delay_s: float = 0.0, loss: float = 0.0, seed: int = 1) -> None:
        self.delay_s = delay_s
        self.loss = loss
        self.is_up = True
        """Whether anything passes: a cable that can be pulled."""
        self._chance = random.Random(seed)  # noqa: S311 - not for cryptography
        self._names = {end: f"pt{os.getpid()}{end}" for end in "cs"}
        self._ends: list[int] = []
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._undo = ExitStack()
        self.packets = self.lost = 0

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for (_, name), address in zip(self._names.items(), (CLIENT, SERVER), strict=True):
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)
                end = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
                undo.callback(os.close, end)
                request = struct.pack("16sH", name.encode(), _IFF_TUN_WITHOUT_HEADER)
                fcntl.ioctl(end, _TUNSETIFF, request)
                ip("link", "set", name, "netns", name)
                ip("-n", name, "addr", "add", f"{address}/30", "dev", name)
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "link", "set", name, "up")
                self._ends.append(end)
            self._undo = undo.pop_all()
        self._wanted.set()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wanted.clear()
        self._thread.join()
        self._undo.close()

    def program(self, end: str, *words: str) -> list[str]:
        """The command that runs a program at an end, `c` or `s`."""
        return ["ip", "netns", "exec", self._names[end], *words]

    def interface(self, end: str, state: str) -> None:
        """Takes the network card of an end `down` or `up`."""
        ip("-n", self._names[end], "link", "set", self._names[end], state)

    def _carry(self) -> None:
        due: deque[tuple[float, int, bytes]] = deque()
        with selectors.DefaultSelector() as selector:
            for end, other in zip(self._ends, reversed(self._ends), strict=True):
                selector.register(end, selectors.EVENT_READ, other)
            while self._wanted.is_set():
                pause = due[0][0] - time.monotonic() if due else 0.05
                for key, _ in selector.select(max(0.0, min(pause, 0.05))):
                    self._take(key.fd, key.data, due)
                while due and due[0][0] <= time.monotonic():
                    _, end, packet = due.popleft()
                    with suppress(OSError):  # a card that is down takes nothing
                        os.write(end, packet)

    def _take(self, end: int, other: int, due: deque[tuple[float, int, bytes]]) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                packet = os.read(end, _LONGEST_PACKET)
            except OSError:
                return
            self.packets += 1
            if not self.is_up or self._chance.random() < self.loss:
                self.lost += 1
            else:
                due.append((time.monotonic() + self.delay_s, other, packet))
