"""What came of the cases, and docs/reference/peers.md, written from a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec

from interlingua.conformance.case import Outcome

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "peers.md"
State = Literal["pass", "fail", "skipped", "deviates"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A case behind a peer. ``deviates``: it fails, and that is the peer's own doing."""

    case: str
    state: State
    why: str = ""

    @classmethod
    def of(cls, outcome: Outcome, deviations: Mapping[str, str]) -> Self:
        if outcome.state == "fail":
            for case, reason in deviations.items():
                if outcome.case.startswith(case):
                    return cls(case=outcome.case, state="deviates", why=reason)
        return cls(case=outcome.case, state=outcome.state, why=outcome.why)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one deployment with a peer behind it."""

    peer: str
    package: str
    version: str
    behind: str
    deployment: str
    results: tuple[Result, ...]

    @property
    def counts(self) -> Counter[State]:
        return Counter(result.state for result in self.results)


def summary(seen: Sequence[Seen]) -> str:
    """A line for each deployment."""
    return "\n".join(
        f"{each.deployment:<20} {each.package} {each.version:<18} "
        + ", ".join(f"{number} {state}" for state, number in sorted(each.counts.items()))
        for each in seen
    )


def write(seen: Sequence[Seen]) -> None:
    """Put the tables of a whole run into the page."""
    text = PAGE.read_text("utf-8")
    for name, table in (("peers", _table(seen)), ("deviations", _deviations(seen))):
        begin, end = f"<!-- from a run: {name} -->", "<!-- end -->"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        text = f"{head}{begin}\n\n{table}\n\n{end}{tail}"
    PAGE.write_text(text, "utf-8")


def _table(seen: Sequence[Seen]) -> str:
    rows = [
        "| peer | version | deployment | behind it | pass | its own deviations | skipped | fail |"
    ]
    rows.append("| --- " * 8 + "|")
    for each in seen:
        count = each.counts
        rows.append(
            f"| {each.peer} (`{each.package}`) | {each.version} | `{each.deployment}` | "
            f"{each.behind} | {count['pass']} | {count['deviates']} | {count['skipped']} | "
            f"{count['fail']} |"
        )
    return "\n".join(rows)


def _deviations(seen: Sequence[Seen]) -> str:
    rows = ["| deployment | case | why |", "| --- | --- | --- |"]
    for each in seen:
        for result in each.results:
            if result.state in {"deviates", "fail"}:
                why = result.why.replace("|", "\\|")
                rows.append(f"| `{each.deployment}` | {result.case} | {why} |")
    return "\n".join(rows) if len(rows) > 2 else "None."
