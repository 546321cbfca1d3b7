"""Keep what was measured, and write it into docs/benchmarks.md: misses, date and commit too.

A part's rows stand on the page between its markers; its raw figures are ``bench/results.json``.
"""

import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import plot
from .rows import Row

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
_DASHES = "| --- | --: | --: | --- | --- | --- |\n"
_HEAD = "| what | here | beside | ratio or range | goal | met |\n" + _DASHES
_GOAL = re.compile(r"([≤≥]) (\d+(?:\.\d+)?)(?:/(\d+))?")
_BETWEEN = re.compile(r"(\d+\.\d+) to (\d+\.\d+)")


def about(rounds: int) -> dict[str, Any]:
    """When, where and of what."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": told.stdout.strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": rounds,
    }


def met(row: Row) -> str:
    """Whether the goal is, by the ratio where there is one, else by the figure itself."""
    value = re.match(r"\d+(?:\.\d+)?", row.ratio if row.floor else row.ours)
    if value is None or not row.holds:
        return ""
    number = float(value[0])
    if goal := _GOAL.match(row.holds):
        bound = float(goal[2]) / float(goal[3] or 1)
        return "yes" if (number <= bound if goal[1] == "≤" else number >= bound) else "**no**"
    if goal := _BETWEEN.match(row.holds):
        return "yes" if float(goal[1]) <= number <= float(goal[2]) else "**no**"
    return ""


def keep(part: str, rows: Sequence[Row], raw: Mapping[str, Any], rounds: int) -> None:
    """Put a part's figures beside those of the other parts, and onto the page."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[part] = {"about": about(rounds), "rows": rows, "raw": raw}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->\n"
    before, found, rest = PAGE.read_text().partition(begin)
    if found:
        PAGE.write_text(before + begin + _section(kept[part]) + end + rest.partition(end)[2])
    if part == "gateway":
        _draw(raw)


def _section(part: Mapping[str, Any]) -> str:
    told = part["about"]
    lines = [
        "| " + " | ".join((*row, met(Row(*row)))).replace("  ", " ") + " |\n"
        for row in part["rows"]
    ]
    said = (
        f"\n{told['date']}, commit `{told['commit']}`, {told['cores']} cores, Python "
        f"{told['python']}, {told['rounds']} rounds.\n"
    )
    return "\n" + _HEAD + "".join(lines) + said


def _draw(raw: Mapping[str, Any]) -> None:
    """The figures that people would rather see."""
    PLOTS.mkdir(exist_ok=True)

    def middle(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in figures.items()}

    p50 = {name: statistics.median(each["p50"]) for name, each in raw["added_ms"].items()}
    for name, title, unit, figures in (
        ("cpu", "CPU of a whole chat", "µs", middle(raw["cpu_us_a_call"])),
        ("stream", "CPU of a streamed event", "µs", middle(raw["cpu_us_an_event"])),
        ("latency", "Latency that it adds, median", "ms", p50),
        ("memory", "Memory, idle", "MB", raw["memory_idle_mb"]),
    ):
        (PLOTS / f"{name}.svg").write_text(plot.bars(title, unit, figures))
