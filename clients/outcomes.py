"""What came of a case, and the tables of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

State = Literal["ok", "failed", "not run here"]
Answerer = Literal["packaged models", "scripted upstream", "echo"]

#: The columns of the page's table: what a case is about.
OPERATIONS = {
    "info": "info",
    "chat": "chat",
    "stream": "stream",
    "tools": "tools",
    "structured": "structured output",
    "extras": "extra parameters",
    "media": "images and sound in chat",
    "completions": "text completions",
    "embeddings": "text embeddings",
    "images": "image embeddings",
    "models": "model list",
    "errors": "errors",
    "tracing": "tracing",
    "entra": "Entra ID",
    "types": "types",
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One case of one client."""

    client: str
    version: str
    operation: str
    case: str
    state: State
    #: Why it failed, or isn't run here.
    why: str = ""
    #: What stood behind the server.
    answered_by: Answerer = "packaged models"
    seconds: float = 0.0


def line(outcome: Outcome) -> str:
    """One row of the run's table, for a terminal."""
    name = f"{outcome.client} {outcome.version}"
    scripted = f" ({outcome.answered_by})" if outcome.answered_by != "packaged models" else ""
    why = f": {outcome.why}" if outcome.why else ""
    took = f"{outcome.seconds:6.1f} s" if outcome.state != "not run here" else " " * 8
    return f"{name:<42} {outcome.case:<58} {took}  {outcome.state}{scripted}{why}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line a client, and a last one with the sums."""
    lines = []
    for client, version in dict.fromkeys((o.client, o.version) for o in outcomes):
        counted = Counter(o.state for o in outcomes if o.client == client)
        lines.append(f"{client} {version}: {_counts(counted)}")
    lines.append(f"all: {_counts(Counter(o.state for o in outcomes))}")
    return "\n".join(lines)


def _counts(counted: Counter[State]) -> str:
    return ", ".join(f"{counted[state]} {state}" for state in counted)


def matrix(outcomes: Sequence[Outcome]) -> str:
    """The page's table: operations by client, each cell its state and number of cases."""
    clients = list(dict.fromkeys((o.client, o.version) for o in outcomes))
    used = [name for name in OPERATIONS if any(o.operation == name for o in outcomes)]
    rows = ["| client | version | " + " | ".join(OPERATIONS[n] for n in used) + " |"]
    rows.append("| --- | --- |" + " --- |" * len(used))
    for client, version in clients:
        cells = (
            _cell(o for o in outcomes if o.client == client and o.operation == name)
            for name in used
        )
        rows.append(f"| {client} | {version} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(outcomes: Iterable[Outcome]) -> str:
    counted = Counter(outcome.state for outcome in outcomes)
    if not counted:
        return ""
    return ", ".join(f"{counted[state]} {state}" for state in counted)


def cases(outcomes: Sequence[Outcome]) -> str:
    """Every case as a row of the page."""
    rows = ["| client | case | answered by | state |", "| --- | --- | --- | --- |"]
    for outcome in outcomes:
        state = outcome.state + (f": {outcome.why}" if outcome.state == "not run here" else "")
        rows.append(f"| {outcome.client} | {outcome.case} | {outcome.answered_by} | {state} |")
    return "\n".join(rows)
