"""A line of a table, made of what was measured."""

import statistics
from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table: what was measured, both sides, their ratio, and the figure to hold."""

    what: str
    ours: str
    floor: str
    ratio: str
    holds: str


def paired(what: str, ours: list[float], floor: list[float], holds: str) -> Row:
    """Both sides' medians, and the median of the rounds' ratios with its range."""
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return Row(
        what, f"{statistics.median(ours):.1f}", f"{statistics.median(floor):.1f}", spread, holds
    )
