"""docs/reference/clients.md, written from a run."""

from collections.abc import Sequence
from pathlib import Path

from .outcomes import Outcome, cases, matrix

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "clients.md"


def write(outcomes: Sequence[Outcome]) -> None:
    """Put the tables of a whole run into the page."""
    text = PAGE.read_text("utf-8")
    for name, table in (("matrix", matrix(outcomes)), ("cases", cases(outcomes))):
        begin, end = f"<!-- from a run: {name} -->", "<!-- end -->"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        text = f"{head}{begin}\n\n{table}\n\n{end}{tail}"
    PAGE.write_text(text, "utf-8")
