"""Counts the instructions of the client under valgrind, and compares them with those recorded.

Times on shared cores say little; the number of instructions is nearly the same each time. Each
case runs twice with different amounts, so that starting up drops out. Run with `make bench-count`,
and with `--record` after a change that is meant to cost more or less.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RECORDED = HERE.parent / "counts.json"
TOLERANCE = 0.05
RUNS = 3
# Long copies are then one instruction a byte on every machine, so that a copy more is seen.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=2048:glibc.cpu.x86_rep_stosb_threshold=2048"


@dataclass(frozen=True)
class Case:
    """What is counted: a case of `count`, the face of the server, two amounts, and the unit."""

    name: str
    case: str
    face: str
    less: int
    more: int
    unit: str


CASES = (
    Case("raw read, messages of 5,000 rows", "read", "small", 100_000, 600_000, "point"),
    Case("raw read, messages of 65,536 rows", "read", "large", 65_536, 655_360, "point"),
    Case("raw read, server without Arrow", "read", "points", 50_000, 250_000, "point"),
    Case("raw read, gzip", "read", "gzip", 50_000, 250_000, "point"),
    Case("windows", "windows", "small", 50_000, 250_000, "window"),
    Case("1,000 points each of many streams", "set", "small", 100, 300, "stream"),
    Case("insert", "insert", "small", 100_000, 600_000, "point"),
    Case("small call", "call", "small", 100, 600, "call"),
    Case("metadata call", "look-up", "small", 100, 600, "call"),
)


def programs() -> tuple[Path, Path]:
    """The client to count and its server, built."""
    build = "cargo build --release --locked --quiet -p pingthings-benches --bin count --bin replay"
    subprocess.run(build.split(), cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return target / "count", target / "replay"


def instructions(program: Path, port: int, case: str, amount: int, profile: Path | None) -> int:
    """Of a whole process."""
    to = "/dev/null" if profile is None else f"{profile}/{case}-{port}-{amount}.out"
    callgrind = f"valgrind --tool=callgrind --callgrind-out-file={to}"
    done = subprocess.run(
        [*callgrind.split(), program, str(port), case, str(amount)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "GLIBC_TUNABLES": TUNABLES},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"`count {case} {amount}` failed:\n{done.stderr}")
    return int(found[1])


def count(profile: Path | None) -> dict[str, float]:
    """Instructions of each case, for one unit of it."""
    program, server = programs()
    counts = {}
    with subprocess.Popen(
        [server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        ports = json.loads(child.stdout.readline())
        for case in CASES:
            # What comes in pieces costs more: the least is what the client needs.
            less, more = (
                min(
                    instructions(program, ports[case.face], case.case, amount, profile)
                    for _ in range(RUNS)
                )
                for amount in (case.less, case.more)
            )
            counts[case.name] = round((more - less) / (case.more - case.less), 3)
        child.terminate()
    return counts


def compare(counts: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """Prints every count beside the recorded one; gives the names of those that grew."""
    grown = []
    for case in CASES:
        now, before = counts[case.name], recorded.get(case.name)
        change = "new" if before is None else f"{100 * (now / before - 1):+6.2f} %"
        print(f"{case.name:36} {now:14,.2f} a {case.unit:7} {change}")
        if before is None or now > before * (1 + TOLERANCE):
            grown.append(case.name)
        elif now < before * (1 - TOLERANCE):
            print(f"{'':36} fell: record it, so that it cannot come back unseen")
    return grown


def main() -> None:
    """Counts and compares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--record", action="store_true", help="keep these counts")
    parser.add_argument("--profile", type=Path, help="keep what callgrind_annotate reads there")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: install it with `apt-get install valgrind`")
    counts = count(options.profile)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    grown = compare(counts, recorded)
    if options.record:
        RECORDED.write_text(json.dumps(counts, indent=2) + "\n")
    elif grown:
        sys.exit(f"more instructions than recorded in {RECORDED.name}: {', '.join(grown)}")


if __name__ == "__main__":
    main()
