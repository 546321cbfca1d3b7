"""A line of a table, made of what was measured."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table: what was measured, both sides, their ratio, and the figure to hold."""

    what: str
    ours: str
    floor: str
    ratio: str
    holds: str


def paired(
    what: str, ours: Sequence[float], floor: Sequence[float], holds: str, *, digits: int = 1
) -> Row:
    """Both sides' medians, and the median of the rounds' ratios with its range."""
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
    return Row(
        what,
        f"{statistics.median(ours):.{digits}f}",
        f"{statistics.median(floor):.{digits}f}",
        f"{middle:.3f} ({least:.{digits + 1}f} to {most:.{digits + 1}f})",
        holds,
    )
