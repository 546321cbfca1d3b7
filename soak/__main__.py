"""Run what takes long, and count: ``make soak``, or ``python -m soak kills --share 0.1``."""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .changes import reloads, restarts
from .ledger import disk, kills, ledger
from .load import cancel, idle, memory, overload, slow
from .report import Finding, tell

PARTS = {
    "ledger": ledger,
    "disk": disk,
    "kills": kills,
    "restarts": restarts,
    "reloads": reloads,
    "cancel": cancel,
    "idle": idle,
    "slow": slow,
    "overload": overload,
    "memory": memory,
}
RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[1] / "docs" / "dev" / "steadiness.md"
_BEGIN, _END = "<!-- soak: begin -->\n", "<!-- soak: end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the counts and times; 1 is what is published"
    )
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    print("| part | what | figure | holds | |\n|---|---|---|---|---|")
    held = True
    for name in given.parts or PARTS:
        tell(f"{name}: starting")
        findings = []
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            for finding in PARTS[name](Path(folder), given.share):
                findings.append(finding)
                mark = "yes" if finding.kept else "**no**"
                print("| " + " | ".join((*finding[:4], mark)) + " |", flush=True)
        held = held and all(finding.kept for finding in findings)
        if given.share >= 1:
            _keep(name, findings)
    return 0 if held else 1


def _keep(part: str, findings: list[Finding]) -> None:
    """Put the part's findings beside what was found of the others, here and on the page."""
    kept = {}
    with contextlib.suppress(FileNotFoundError):
        kept = json.loads(RESULTS.read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    kept[part] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "findings": [finding._asdict() for finding in findings],
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + _BEGIN + _table(kept) + _END + rest.partition(_END)[2])


def _table(kept: dict[str, Any]) -> str:
    """The findings of all parts, as the page has them."""
    lines = [
        "| part | what | figure | holds | held | run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in kept.values():
        run = f"{part['date']}, `{part['commit']}`"
        for each in part["findings"]:
            row = (each["part"], each["what"], each["figure"], each["holds"])
            lines.append(f"| {' | '.join(row)} | {'yes' if each['kept'] else '**no**'} | {run} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
