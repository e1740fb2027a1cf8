"""What the tests of operating a server share."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
CERTIFICATES = Path(__file__).parent / "certificates"


@pytest.fixture
def run() -> Run:
    """Runs `pingthings` to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pingthings", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def certificates() -> Path:
    return CERTIFICATES


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds."""

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline, "it never came to hold"
            time.sleep(0.01)

    return until
