"""What one call used, as it is kept."""

from typing import Literal

import msgspec

Outcome = Literal["completed", "error", "cancelled"]

#: nginx's number for a client that left before its reply; it is never sent.
CLIENT_LEFT = 499


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call that ended. ``id`` is the request id of the reply; ``at`` its end, in Unix
    seconds; ``key`` the caller's name and never a key.
    """

    id: str
    at: float
    key: str = ""
    operation: str
    deployment: str = ""
    status: int
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def outcome(self) -> Outcome:
        if self.status == CLIENT_LEFT:
            return "cancelled"
        return "completed" if self.status < 400 else "error"
