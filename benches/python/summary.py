"""Prints the newest results as the tables of docs/design/performance.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"


def figure(number: float) -> str:
    """Three digits that count."""
    if number >= 1_000:
        return f"{round(number, -len(str(int(number))) + 3):,.0f}"
    return f"{number:.3g}"


def goals(row: dict[str, Any]) -> list[str]:
    """A line for each goal."""
    lines = []
    for goal in row["goals"]:
        low, high = figure(min(goal["values"])), figure(max(goal["values"]))
        unit = "" if goal["unit"] == "x" else f" {goal['unit']}"
        cpu = figure(goal["cpu"]) if goal.get("cpu") else "-"
        reached = f"{figure(goal['reached'])} ({low} .. {high})"
        met = "yes" if goal["met"] else "**no**"
        lines.append(
            f"| {row['name']}: {goal['text']} | {figure(goal['target'])}{unit} | {reached} "
            f"| {cpu} | {met} |"
        )
    return lines


def contenders(row: dict[str, Any]) -> list[str]:
    """A line for each contender."""
    return [
        f"| {row['name']} | {who} | {figure(c['first_s'])} | {figure(c['repeated_s'])} "
        f"| {figure(c['cpu_s'])} | {c['peak_mb']:,.0f} |"
        for who, c in row["contenders"].items()
    ]


def main() -> None:
    """Prints both tables of a file, or of the newest."""
    given = [Path(text) for text in sys.argv[1:]]
    path = given[0] if given else max(RESULTS.glob("*.json"))
    rows = json.loads(path.read_text())["rows"]
    print("| what | to reach | reached | in CPU time | met |\n|---|---|---|---|---|")
    print("\n".join(line for row in rows for line in goals(row)))
    print("\n| what | who | first, s | repeated, s | CPU, s | memory, MB |")
    print("|---|---|---|---|---|---|")
    print("\n".join(line for row in rows for line in contenders(row)))


if __name__ == "__main__":
    main()
