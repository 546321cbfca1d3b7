"""What is known of one call, and who is told of its end."""

import time
from typing import Protocol

from interlingua.types.models import Operation
from interlingua.types.usage import Usage

_NOTHING = Usage()


class CallMeter:
    """One call's facts, put down as each becomes known.

    One object a call, and plain attributes: five meters' methods for each fact were a tenth
    of what a call costs.
    """

    __slots__ = (
        "began_s",
        "came_s",
        "deployment",
        "id",
        "key",
        "operation",
        "status",
        "took_s",
        "usage",
    )

    def __init__(self, operation: Operation, call_id: str) -> None:
        """``call_id`` is the request id of its reply."""
        self.operation = operation
        self.id = call_id
        #: Who calls, by a name that is no secret.
        self.key = ""
        #: Who is to answer.
        self.deployment = ""
        #: What the answer took, once it is whole; nothing if it never was.
        self.usage: Usage = _NOTHING
        #: ``time.perf_counter()`` at its beginning, and at the answer's first token.
        self.came_s = time.perf_counter()
        self.began_s: float | None = None
        #: Of its end.
        self.took_s = 0.0
        self.status = 0

    @property
    def answered(self) -> bool:
        """Whether the answer was whole, so that its usage is known."""
        return self.usage is not _NOTHING

    def begun(self) -> None:
        """The answer has said its first token."""
        self.began_s = time.perf_counter()

    def ended(self, status: int) -> None:
        """The call is over, but for the last byte of its reply."""
        self.took_s = time.perf_counter() - self.came_s
        self.status = status


class Meter(Protocol):
    """Is told of every call, and shows what it knows to who asks."""

    def ended(self, call: CallMeter) -> None:
        """A call is over, but for the last byte of its reply. Told once. Must not fail, and
        must be quick.
        """

    async def page(self) -> tuple[str, bytes]:
        """Content type and body of ``GET /metrics``."""
