"""What a call used, in tokens."""

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Token counts. ``cached_tokens`` are part of the prompt's, ``reasoning_tokens`` of the
    completion's; ``None`` where the backend doesn't tell.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens
