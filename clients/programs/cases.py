"""Runs cases one after the other and prints a line of JSON for each; for any environment."""

import inspect
import json
import os
import time
from collections.abc import Callable

URL = os.environ["URL"]
KEY = os.environ["KEY"]

_waiting: list[tuple[str, str, Callable[[], object]]] = []


def case(operation: str, name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a case: the operation it is about, and what it shows."""

    def add(run: Callable[[], object]) -> Callable[[], object]:
        _waiting.append((operation, name, run))
        return run

    return add


async def run_all() -> None:
    """Run those whose name has the wanted text in it."""
    for operation, name, run in _waiting:
        if os.environ.get("ONLY", "") not in name:
            continue
        began, ok, why = time.monotonic(), True, ""
        try:
            running = run()
            if inspect.isawaitable(running):
                await running
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the case's outcome
            ok, why = False, f"{type(error).__name__}: {error}"[:1500]
        said = {"operation": operation, "case": name, "ok": ok, "why": why}
        print(json.dumps({**said, "seconds": time.monotonic() - began}), flush=True)
