"""What a case is, and what came of it."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

State = Literal["pass", "fail", "skipped"]
#: What a case is about: a heading of the table.
Area = Literal[
    "info",
    "chat",
    "completions",
    "embeddings",
    "image embeddings",
    "parameters",
    "extra parameters",
    "errors",
    "protocol",
    "OpenAI routes",
]


class Deviation(Exception):
    """The server doesn't do what this API asks; the message says what it did."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold. ``run`` raises :class:`Deviation` where it doesn't."""

    area: Area
    name: str
    run: Callable[[], Awaitable[None]]
    #: Why it doesn't apply here; empty: it does.
    skipped: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a case."""

    deployment: str
    area: Area
    case: str
    state: State
    why: str = ""
    seconds: float = 0.0


def expect(holds: object, otherwise: str) -> None:
    """Go on where it holds.

    Raises:
        Deviation: it doesn't.
    """
    if not holds:
        raise Deviation(otherwise)
