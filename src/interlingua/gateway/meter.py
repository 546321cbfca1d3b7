"""Who is told what calls did. What it makes of that is its own affair."""

from typing import Protocol

from interlingua.types.models import Operation
from interlingua.types.usage import Usage


class CallMeter(Protocol):
    """Is told of one call, as each fact becomes known. Must not fail, and must be quick."""

    def called_by(self, name: str) -> None:
        """Who calls, by a name that is no secret."""

    def routed(self, deployment: str) -> None:
        """``deployment`` is to answer."""

    def begun(self) -> None:
        """The answer has said its first token."""

    def used(self, usage: Usage) -> None:
        """The answer is whole, and took this much."""

    def ended(self, status: int) -> None:
        """The call is over, but for the last byte of its reply. Told once, and last."""


class Meter(Protocol):
    """Is told of all calls, and shows what it knows to who asks."""

    def call(self, operation: Operation, call_id: str) -> CallMeter:
        """A call of this operation has come; ``call_id`` is the request id of its reply."""

    async def page(self) -> tuple[str, bytes]:
        """Content type and body of ``GET /metrics``."""
