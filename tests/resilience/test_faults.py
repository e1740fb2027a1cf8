"""Hundreds of random faults: what is read is right, and what was stored is there, once.

`PINGTHINGS_FAULTS` and `PINGTHINGS_FAULT_SEED` say how many in the long run, and which.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from resilience.fault_run import FaultRun
from resilience.ledger import Ledger

FAULTS = 150
FAULTS_LONG = int(os.environ.get("PINGTHINGS_FAULTS", "10000"))
SEED = int(os.environ.get("PINGTHINGS_FAULT_SEED", "1"))


async def disturbed(
    directory: Path, seed: int, faults: int, say: Callable[[str], None], *, arrow: bool = True
) -> None:
    run = FaultRun(directory, seed, say, arrow=arrow)
    await run.run(lambda count: count >= faults)
    say(run.report())
    assert run.faults.total() == faults
    assert run.figures["reads"] > run.figures["reads_failed"]
    assert run.figures["points_checked"] > 0
    assert run.figures["streams_checked_again"] > 0


@pytest.mark.timeout(900)
async def test_nothing_lies_or_is_lost(tmp_path: Path, say: Callable[[str], None]) -> None:
    await disturbed(tmp_path, SEED, FAULTS, say)


@pytest.mark.timeout(900)
async def test_an_older_server_is_no_different(tmp_path: Path, say: Callable[[str], None]) -> None:
    await disturbed(tmp_path, SEED, FAULTS // 3, say, arrow=False)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_nothing_lies_or_is_lost_for_long(tmp_path: Path, say: Callable[[str], None]) -> None:
    await disturbed(tmp_path, SEED, FAULTS_LONG, say)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_an_older_server_is_no_different_for_long(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    await disturbed(tmp_path, SEED, FAULTS_LONG // 5, say, arrow=False)


@pytest.mark.parametrize(
    ("merge", "found", "wrong"),
    [
        ("never", [(1, 1.0), (2, 2.0), (1, 5.0)], []),
        ("never", [(1, 1.0), (1, 5.0)], ["lost: 2.0 at 2"]),
        ("never", [(1, 1.0), (2, 2.0), (1, 5.0), (2, 2.0)], ["1 too many: 2.0 at 2"]),
        ("equal", [(1, 1.0), (2, 2.0), (1, 5.0)], []),
        ("retain", [(1, 1.0), (2, 2.0)], []),
        ("retain", [(1, 5.0), (2, 2.0)], ["lost: 1.0 at 1", "1 too many: 5.0 at 1"]),
        ("replace", [(1, 5.0), (2, 2.0)], []),
        ("replace", [(1, 1.0), (1, 5.0), (2, 2.0)], ["1 too many: 1.0 at 1"]),
    ],
)
def test_the_ledger_sees_what_is_wrong(
    merge: str, found: list[tuple[int, float]], wrong: list[str]
) -> None:
    ledger = Ledger(merge)
    ledger.acknowledged([(1, 1.0), (2, 2.0)])
    ledger.acknowledged([(1, 5.0)])
    assert ledger.faults(found) == wrong


def test_the_ledger_takes_all_or_nothing_of_what_is_in_doubt() -> None:
    ledger = Ledger("never")
    ledger.in_doubt([(1, 1.0), (2, 2.0)], is_atomic=True)
    assert ledger.faults([]) == []
    assert ledger.faults([(1, 1.0), (2, 2.0)]) == []
    assert ledger.faults([(1, 1.0)]) == ["torn: 1 of the 2 points at 1"]
    assert ledger.faults([(1, 1.0), (2, 2.0), (2, 2.0)]) == ["1 too many: 2.0 at 2"]
