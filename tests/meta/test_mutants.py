"""The program that counts mutants: what it counts, and when it is not content."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools/mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutants", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def outcome(summary: str, mutant: str) -> dict[str, object]:
    name = f"rust/sql/src/value/number.rs:7:9: {mutant}"
    return {"scenario": {"Mutant": {"name": name}}, "summary": summary}


def shard(path: Path, outcomes: list[dict[str, object]]) -> None:
    baseline = {"scenario": "Baseline", "summary": "Success"}
    out = path / "mutants.out"
    out.mkdir(parents=True)
    (out / "outcomes.json").write_text(json.dumps({"outcomes": [baseline, *outcomes]}))


def test_shards_are_counted_together_and_too_few_is_a_failure(
    mutants: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = [outcome("CaughtMutant", "replace < with <=")] * 16
    shard(tmp_path / "sql/0-of-2", [*killed, outcome("Timeout", "replace + with *")])
    missed = [outcome("MissedMutant", "replace a -> b with c: d")] * 3
    others = [outcome("Unviable", "x"), outcome("MissedMutant", "changes nothing")]
    shard(tmp_path / "sql/1-of-2", [*missed, *others])
    known = {"rust/sql/src/value/number.rs: changes nothing"}
    assert mutants.report(["sql"], mutants.parts(), known) == 0
    told = capsys.readouterr().out
    assert "missed rust/sql/src/value/number.rs:7:9: replace a -> b with c: d" in told
    assert "sql: 85.0% of 20 noticed in 2 shards: 16 killed, 1 never ended, 3 missed; 1" in told
    assert mutants.report(["sql"], mutants.parts(), set()) == 1


def test_what_was_not_run_is_no_success(mutants: ModuleType) -> None:
    assert mutants.report(["storage"], mutants.parts(), set()) == 1


def test_every_part_and_every_equivalent_mutant_is_of_a_file_that_exists(
    mutants: ModuleType,
) -> None:
    assert set(mutants.parts()) == {"storage", "client", "server", "sql", "timeseries", "cli"}
    for kind, part in mutants.parts().values():
        patterns = part["files"] if kind == "rust" else [f"{part['files']}/*.py"]
        for pattern in patterns:
            assert list(ROOT.glob(pattern)), pattern
        for path in part["test"] if kind == "python" else []:
            assert (ROOT / path).exists(), path
    for mutant in mutants.equivalents():
        assert (ROOT / mutant.split(": ", 1)[0]).exists(), mutant
