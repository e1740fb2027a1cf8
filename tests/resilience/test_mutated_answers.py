"""Damaged answers: every call ends by itself, with what is right or an error of the package.

`PINGTHINGS_MUTATIONS` says how many calls the long run makes, `PINGTHINGS_MUTATION_SEED` with which
it begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pingthings.server import Server

TESTS = Path(__file__).parents[1]
COUNT = int(os.environ.get("PINGTHINGS_MUTATIONS", "10000"))
SEED = int(os.environ.get("PINGTHINGS_MUTATION_SEED", "1"))
MEMORY_LIMIT_KB = 64 << 10
SLACK_KB = 200 << 10
# A frame that is lost as a whole can be all that there was of an answer.
LOSING = {"bit", "header", "drop", "insert", "cut"}

Say = Callable[[str], None]


@pytest.fixture(scope="module", params=[True, False], ids=["arrow", "points"])
def served(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(arrow=request.param) as server:
        yield server


def run(server: Server, first: int, count: int, silence_s: float) -> dict[str, Any]:
    """What became of so many calls, which wait so long for a server that says nothing."""
    path = os.pathsep.join([str(TESTS), *sys.path])
    words = [server.endpoint, str(first), str(count), str(silence_s)]
    done = subprocess.run(
        [sys.executable, "-m", "resilience.mutated_run", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def check(found: dict[str, Any], count: int, silent: float) -> None:
    assert not found["wrong"], found["wrong"][:10]
    assert sum(found["outcomes"].values()) == count
    assert found["damaged"] > count / 2
    assert found["outcomes"]["refused"] > count / 10
    assert set(found["silent"]) <= LOSING
    assert found["outcomes"].get("silent", 0) < silent
    assert found["more_kb"] < MEMORY_LIMIT_KB + SLACK_KB


def test_damaged_answers_are_right_or_errors(served: Server):
    # Pings and gaps end more of them, but take longer.
    check(run(served, 1, 120, 12.0), 120, silent=20)


@pytest.mark.long
@pytest.mark.timeout(10_800)
def test_ten_thousand_damaged_answers_are_right_or_errors(served: Server, say: Say):
    found = run(served, SEED, COUNT, 90.0)
    say(json.dumps(found))
    check(found, COUNT, silent=COUNT / 50)
