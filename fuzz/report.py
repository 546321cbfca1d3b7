"""What fuzzing found, kept beside what was found before, here and on the page."""

import datetime as dt
import json
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[1] / "docs" / "dev" / "steadiness.md"
_BEGIN, _END = "<!-- fuzz: begin -->\n", "<!-- fuzz: end -->\n"


class Fuzzed(NamedTuple):
    """What one target took. ``failures``: crashes, hangs, wrong replies and tracebacks."""

    target: str
    cases: int
    seconds: float
    failures: int


def keep(fuzzed: Fuzzed) -> None:
    """Put it down as the target's newest run."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    kept[fuzzed.target] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "cases": fuzzed.cases,
        "seconds": round(fuzzed.seconds),
        "failures": fuzzed.failures,
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    lines = ["| fed | cases | in | failures | run |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {target} | {run['cases']:,} | {run['seconds']} s | {run['failures']} "
        f"| {run['date']}, `{run['commit']}` |"
        for target, run in kept.items()
    ]
    table = "\n".join(lines) + "\n"
    PAGE.write_text(before + _BEGIN + table + _END + rest.partition(_END)[2])
