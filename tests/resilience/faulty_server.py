"""A server in a process of its own that can be killed, and comes back on its port and its data.

Run as a program, it is that process: it waits for a line, serves, and does what further lines say.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from pingthings.server import Fault, Server


class FaultyServer:
    """The handle of such a process; a context manager. Its calls return when it has obeyed."""

    def __init__(self, directory: Path, *, arrow: bool = True) -> None:
        self._directory = directory
        self._arrow = "arrow" if arrow else "points"
        self._port = 0
        self._process = self._standby()
        self._next = self._standby()
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._start("synced")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in (self._process, self._next):
            process.kill()
            process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self, durability: str = "synced") -> None:
        """Ends it as `kill -9` does, and starts another one in its place."""
        self._process.kill()
        self._process.communicate()
        self._process, self._next = self._next, self._standby()
        self._start(durability)

    def go_away(self) -> None:
        self._say("go_away")

    def interrupt(self, down_s: float) -> None:
        self._say(f"interrupt {down_s}")

    def misbehave(self, kind: str, amount: float, times: int) -> None:
        """The next calls go wrong, as `Fault` says; what was set before is forgotten."""
        self._say(f"fault {kind} {amount} {times}")

    def _standby(self) -> subprocess.Popen[str]:
        """A process that has only to start its server: importing takes longer than restarting."""
        return subprocess.Popen(
            [sys.executable, __file__, str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _start(self, durability: str) -> None:
        self.endpoint = self._say(f"start {self._port} {durability} {self._arrow}")
        self._port = int(self.endpoint.rpartition(":")[2])

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the server did not survive {line!r}"
        return answer.strip()


def serve(directory: str) -> None:
    """Does what the lines of standard input say, one answer for each."""
    server = None
    for line in sys.stdin:
        command, *words = line.split()
        answer = "done"
        if command == "start":
            port, durability, form = words
            is_arrow = form == "arrow"
            server = Server(directory, port=int(port), durability=durability, arrow=is_arrow)
            server.start()
            answer = server.endpoint
        assert server is not None
        if command == "go_away":
            server.go_away()
        elif command == "interrupt":
            server.interrupt(float(words[0]))
        elif command == "fault":
            server.fault = Fault(words[0], float(words[1]), (), int(words[2]))
        print(answer, flush=True)  # noqa: T201 - that is how it answers


if __name__ == "__main__":
    serve(sys.argv[1])
