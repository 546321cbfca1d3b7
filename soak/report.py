"""What a part of the long runs found."""

import sys
from typing import NamedTuple


class Finding(NamedTuple):
    """A line of the table: what was counted or measured, and what must hold."""

    part: str
    what: str
    figure: str
    holds: str
    kept: bool


def tell(text: str) -> None:
    """Say how far it is, where somebody looks."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"\x1b[2K# {text}" if end == "\r" else f"# {text}", end=end, file=sys.stderr, flush=True)
