"""Plants small bugs, one at a time, and counts which of them the tests notice.

    tools/mutants.py [--shard K/N] [PART ...]      parts are those of tests/mutants/parts.toml
    tools/mutants.py --report [PART ...]           what the shards so far say, without running

Each shard leaves its result in target/mutants; those of all shards are counted together. Exits
with 1 if of any part fewer than 85 % were noticed. Rust is changed by cargo-mutants in a copy of
its own, Python by cosmic-ray in a worktree of its own, so the checkout stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "target" / "mutants"
LEAST = 0.85
_SECONDS = 300


@dataclass
class Tally:
    """What became of the mutants of one part."""

    killed: int = 0
    timeouts: int = 0
    missed: list[str] = field(default_factory=list)
    equivalent: int = 0

    @property
    def counted(self) -> int:
        """All but those that change nothing and those that do not compile."""
        return self.killed + self.timeouts + len(self.missed)

    @property
    def share(self) -> float:
        """Of the counted ones, how many were noticed; a test that never ends notices too."""
        return 0.0 if self.counted == 0 else 1 - len(self.missed) / self.counted

    def add(self, outcome: str, file: str, mutant: str, place: str, known: set[str]) -> None:
        """Counts one mutant."""
        if outcome == "killed":
            self.killed += 1
        elif outcome == "timeout":
            self.timeouts += 1
        elif outcome == "missed" and f"{file}: {mutant}" in known:
            self.equivalent += 1
        elif outcome == "missed":
            self.missed.append(f"{file}:{place}: {mutant}")


def parts() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns each part by its name, with its language."""
    listed = tomllib.loads((ROOT / "tests/mutants/parts.toml").read_text())
    return {name: (kind, part) for kind in listed for name, part in listed[kind].items()}


def equivalents() -> set[str]:
    """Returns the mutants that change nothing."""
    listed = tomllib.loads((ROOT / "tests/mutants/equivalent.toml").read_text())
    for entry in listed.get("equivalent", []):
        if not entry["why"].strip():
            raise SystemExit(f"{entry['file']}: {entry['mutant']}: say why it changes nothing")
    return {f"{entry['file']}: {entry['mutant']}" for entry in listed.get("equivalent", [])}


def run_rust(name: str, part: dict[str, Any], shard: tuple[int, int], out: Path) -> None:
    """Lets cargo-mutants do one shard."""
    tool = ROOT / "target/tools/bin/cargo-mutants"
    command = [str(tool), "mutants", "--no-shuffle", "--colors", "never"]
    for pattern in part["files"]:
        command += ["--file", pattern]
    command += ["--shard", f"{shard[0]}/{shard[1]}", "--output", str(out)]
    command += ["--timeout", str(_SECONDS), "--test-package", f"pingthings-{name}"]
    # It asks for the package by itself.
    options = part["test"][2:]
    done = subprocess.run([*command, "--", *options], cwd=ROOT, check=False)
    # 2 and 3: some were missed, some took too long.
    if done.returncode not in {0, 2, 3}:
        raise SystemExit(f"cargo-mutants failed on {name} with {done.returncode}")


def of_rust(out: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yields outcome, file, mutant and place of what cargo-mutants did."""
    names = {"CaughtMutant": "killed", "MissedMutant": "missed", "Timeout": "timeout"}
    for outcome in json.loads((out / "mutants.out/outcomes.json").read_text())["outcomes"]:
        if not isinstance(outcome["scenario"], dict):
            continue
        mutant = outcome["scenario"]["Mutant"]
        file, line, column, text = mutant["name"].split(":", 3)
        yield names.get(outcome["summary"], "unviable"), file, text.strip(), f"{line}:{column}"


def run_python(_name: str, part: dict[str, Any], shard: tuple[int, int], out: Path) -> None:
    """Lets cosmic-ray do one shard, in a worktree whose sources come before the installed ones."""
    tree = RESULTS / "tree"
    if not tree.exists():
        git = ["git", "worktree", "add", "--detach", "--force", str(tree), "HEAD"]
        subprocess.run(git, cwd=ROOT, check=True)
    for extension in (ROOT / "python/pingthings/timeseries").glob("*.so"):
        shutil.copy2(extension, tree / "python/pingthings/timeseries")
    program = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not long", *part["test"]]
    config, session = out / "config.toml", out / "session.sqlite"
    excluded = [f"{part['files']}/{file}" for file in part["without"]]
    config.write_text(
        "[cosmic-ray]\n"
        f'module-path = "{part["files"]}"\n'
        f"timeout = {_SECONDS}.0\n"
        f"excluded-modules = {json.dumps(excluded)}\n"
        f"test-command = {json.dumps(' '.join(program).replace('not long', repr('not long')))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    environment = os.environ | {"PYTHONPATH": f"{tree / 'python'}:{tree / 'tests'}"}
    ray = [str(Path(sys.executable).parent / "cosmic-ray")]
    subprocess.run([*ray, "init", str(config), str(session), "--force"], cwd=tree, check=True)
    _keep_shard(session, shard)
    subprocess.run([*ray, "exec", str(config), str(session)], cwd=tree, env=environment, check=True)


def _keep_shard(session: Path, shard: tuple[int, int]) -> None:
    """Marks what belongs to other shards as done."""
    from cosmic_ray.work_db import use_db  # noqa: PLC0415 - only where it is installed
    from cosmic_ray.work_item import WorkerOutcome, WorkResult  # noqa: PLC0415

    with use_db(str(session)) as database:
        for index, item in enumerate(list(database.work_items)):
            if index % shard[1] != shard[0]:
                skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED)
                database.set_result(item.job_id, skipped)


def of_python(out: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yields outcome, file, mutant and place of what cosmic-ray did."""
    from cosmic_ray.work_db import use_db  # noqa: PLC0415 - only where it is installed

    names = {"killed": "killed", "survived": "missed", "incompetent": "killed"}
    with use_db(str(out / "session.sqlite")) as database:
        results = dict(database.results)
        for item in database.work_items:
            result = results.get(item.job_id)
            if result is None or result.test_outcome is None:
                continue
            for mutation in item.mutations:
                row, column = mutation.start_pos
                text = f"{mutation.operator_name} {mutation.occurrence}"
                outcome = names[result.test_outcome.value]
                yield outcome, str(mutation.module_path), text, f"{row}:{column}"


def main() -> int:
    """Runs the shard, or reports; returns the exit code."""
    known = parts()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shard", default="0/1", metavar="K/N", help="Kth of N, from 0")
    parser.add_argument("--report", action="store_true", help="only count what was run before")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(known))
    arguments = parser.parse_args()
    own, count = (int(number) for number in arguments.shard.split("/"))
    if not 0 <= own < count:
        parser.error(f"there is no shard {arguments.shard}; give 0/{count} to {count - 1}/{count}")
    for name in arguments.parts:
        if name not in known:
            parser.error(f"there is no part `{name}`; give one of {', '.join(known)}")
    chosen = arguments.parts or list(known)
    if not arguments.report:
        for name in chosen:
            out = RESULTS / name / f"{own}-of-{count}"
            for other in (RESULTS / name).glob("*-of-*"):
                # Shards of another size would be counted twice.
                if other == out or not other.name.endswith(f"-of-{count}"):
                    shutil.rmtree(other)
            out.mkdir(parents=True)
            run = run_rust if known[name][0] == "rust" else run_python
            run(name, known[name][1], (own, count), out)
    return report(chosen, known, equivalents())


def report(
    chosen: list[str], known: dict[str, tuple[str, dict[str, Any]]], equivalent: set[str]
) -> int:
    """Prints what became of the mutants; returns 1 if too few were noticed."""
    is_enough = True
    for name in chosen:
        tally = Tally()
        shards = sorted((RESULTS / name).glob("*-of-*"))
        for out in shards:
            read = of_rust if known[name][0] == "rust" else of_python
            for outcome, file, mutant, place in read(out):
                tally.add(outcome, file, mutant, place, equivalent)
        for missed in tally.missed:
            print(f"missed {missed}")
        print(
            f"{name}: {tally.share:.1%} of {tally.counted} noticed in {len(shards)} shards: "
            f"{tally.killed} killed, {tally.timeouts} never ended, {len(tally.missed)} missed; "
            f"{tally.equivalent} change nothing"
        )
        is_enough &= tally.share >= LEAST
    if not is_enough:
        print(f"fewer than {LEAST:.0%} were noticed: look at the missed ones and add tests")
    return 0 if is_enough else 1


if __name__ == "__main__":
    sys.exit(main())
