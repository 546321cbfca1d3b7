"""docs/reference/clients.md, written from a run.

Rules of this file:
- A run of some clients replaces the rows of those clients and leaves the others as they are.
"""

from collections.abc import Sequence
from pathlib import Path

from .outcomes import OPERATIONS, Outcome, cases, matrix

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "clients.md"
_COLUMNS = ("client", "version", *OPERATIONS.values(), "case", "answered by", "state")
Row = dict[str, str]


def write(outcomes: Sequence[Outcome], page: Path = PAGE) -> None:
    """Put the tables of a run into the page."""
    text = page.read_text("utf-8")
    for name, table in (("matrix", matrix(outcomes)), ("cases", cases(outcomes))):
        begin, end = f"<!-- from a run: {name} -->", "<!-- end -->"
        head, _, rest = text.partition(begin)
        old, _, tail = rest.partition(end)
        text = f"{head}{begin}\n\n{merged(old, table)}\n\n{end}{tail}"
    page.write_text(text, "utf-8")


def merged(old: str, new: str) -> str:
    """The old table, its clients' rows replaced by those that the new one has.

    A new table with all clients is in its own order.
    """
    before, after = _by_client(old), _by_client(new)
    rows = after if before.keys() <= after.keys() else before | after
    every = [row for each in rows.values() for row in each]
    names = [name for name in _COLUMNS if any(name in row for row in every)]
    lines = [names, ["---"] * len(names)]
    lines += [[row.get(name, "") for name in names] for row in every]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_client(table: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in _rows(table):
        found.setdefault(row["client"], []).append(row)
    return found


def _rows(table: str) -> list[Row]:
    """Each row's cells that hold something, by their column."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [
        {name: cell for name, cell in zip(cells[0], row, strict=True) if cell} for row in cells[2:]
    ]
