"""Measure, print, and write the tables of docs/benchmarks.md.

``make bench``, or ``python -m bench chat --rounds 9`` for a part of it.
"""

import argparse
import os
import platform
import time

from . import gateway, measure, report
from .cancel import cancel
from .chat import chat, prepared
from .embeddings import embeddings, images
from .sdk import sdk

PARTS = {
    "chat": chat,
    "prepared": prepared,
    "embeddings": embeddings,
    "images": images,
    "start": measure.start,
    "wheels": measure.wheels,
    "sdk": sdk,
    "cancel": cancel,
    "gateway": gateway.gateway,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side, alternating")
    parser.add_argument("--dry", action="store_true", help="print alone; write nothing")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print("\n| what | here | floor | ratio or range | goal | met |\n|---|--:|--:|---|---|---|")
    for part in given.parts or PARTS:
        rows = []
        for row in PARTS[part](given.rounds):
            print("| " + " | ".join((*row, report.met(row))) + " |", flush=True)
            rows.append(row)
        if not given.dry:
            report.keep(part, rows, gateway.RAW if part == "gateway" else {}, given.rounds)


if __name__ == "__main__":
    main()
