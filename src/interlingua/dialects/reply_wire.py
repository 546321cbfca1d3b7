"""What replies to chat and text completions share: the envelope, usage, finish reasons, logprobs.

Source: Azure ChatCompletions, StreamingChatCompletionsUpdate, CompletionsUsage; OpenAI
"The chat completion object" and "The chat completion chunk object".
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua.errors import UpstreamError
from interlingua.sse import encode
from interlingua.types.chat import FinishReason, TokenLogprob
from interlingua.types.usage import Usage

from .base import Reply

_Read = TypeVar("_Read")
_Kind = TypeVar("_Kind", bound="Envelope")
_ENCODER = msgspec.json.Encoder()

#: JSON has no infinity; OpenAI's own stand-in for "impossible".
_LEAST_LOGPROB = -9999.0

#: What providers say beside the four; anything else that ends a choice is a stop.
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "model_length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "MAX_TOKENS": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "SAFETY": "content_filter",
    "refusal": "content_filter",
    "recitation": "content_filter",
}
#: What ends a reply that is none (Mistral, OpenRouter; DeepSeek).
_FAILURES = frozenset({"error", "insufficient_system_resource"})


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int | None = None


class UsageWire(msgspec.Struct, frozen=True, kw_only=True):
    """Usage, tolerantly read."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    #: Other places of the same (DeepSeek; Perplexity).
    prompt_cache_hit_tokens: int | None = None
    reasoning_tokens: int | None = None


class UsageOut(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that the call used."""

    prompt_tokens: int = 0
    completion_tokens: int | UnsetType = UNSET
    total_tokens: int = 0
    prompt_tokens_details: _PromptDetails | UnsetType = UNSET
    completion_tokens_details: _CompletionDetails | UnsetType = UNSET


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A reply, or one chunk of it. Each kind says what its object and choices are."""

    id: str
    object: str
    created: Annotated[int, Meta(description="Seconds since 1970.")]
    model: Annotated[str, Meta(description="The deployment that answered.")]
    choices: Sequence[msgspec.Struct] = ()
    usage: UsageOut | None | UnsetType = UNSET


class TokenWire(msgspec.Struct, frozen=True):
    """A token of chat's logprobs."""

    token: str
    logprob: float | None = None
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple["TokenWire", ...] | None = ()


class _TopWire(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class _TokenOut(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None
    top_logprobs: tuple[_TopWire, ...]


class LogprobsOut(msgspec.Struct, frozen=True):
    content: tuple[_TokenOut, ...]


class LogprobsIn(msgspec.Struct, frozen=True):
    content: tuple[TokenWire, ...] | None = None


def envelope(kind: type[_Kind], reply: Reply, prefix: str) -> _Kind:
    """The envelope of a reply without its choices. OpenAI's ids have 29 characters after
    their prefix; Azure's are the plain 32 hex digits.
    """
    dressed = prefix + reply.id[:29] if prefix else reply.id
    return kind(id=dressed, created=reply.created, model=reply.model)  # type: ignore[call-arg]  # a kind knows its object


def encoded(wire: msgspec.Struct) -> bytes:
    return _ENCODER.encode(wire)


def event(wire: msgspec.Struct) -> bytes:
    return encode(_ENCODER.encode(wire))


def write_usage(usage: Usage) -> UsageOut:
    return UsageOut(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=UNSET
        if usage.cached_tokens is None
        else _PromptDetails(usage.cached_tokens),
        completion_tokens_details=UNSET
        if usage.reasoning_tokens is None
        else _CompletionDetails(usage.reasoning_tokens),
    )


def read_usage(wire: UsageWire) -> Usage:
    cached = wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else None
    thought = (
        wire.completion_tokens_details.reasoning_tokens if wire.completion_tokens_details else None
    )
    if cached is None:
        cached = wire.prompt_cache_hit_tokens
    if thought is None:
        thought = wire.reasoning_tokens
    return Usage(wire.prompt_tokens or 0, wire.completion_tokens or 0, cached, thought)


def read_finish(reason: str | None) -> FinishReason | None:
    """The neutral reason, whatever a provider calls it.

    Raises:
        UpstreamError: the provider says that the choice ended in an error.
    """
    if not reason:
        return None
    if reason in _FAILURES:
        raise UpstreamError(f"The provider ended its reply with the finish reason {reason!r}.")
    return _FINISH_REASONS.get(reason, "stop")


def write_logprobs(tokens: tuple[TokenLogprob, ...]) -> LogprobsOut | None:
    if not tokens:
        return None
    return LogprobsOut(
        tuple(
            _TokenOut(
                token.token,
                finite(token.logprob),
                token.bytes,
                tuple(
                    _TopWire(top.token, finite(top.logprob), top.bytes)
                    for top in token.top_logprobs
                ),
            )
            for token in tokens
        )
    )


class Ends:
    """Which choices of a streamed reply were seen, and which of them have ended."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._done: set[int] = set()
        self._told_usage = False

    def see(self, index: int, reason: FinishReason | None) -> None:
        self._seen.add(index)
        if reason is not None:
            self._done.add(index)

    def usage(self, wire: UsageWire | None, *, alone: bool) -> Usage | None:
        """The call's usage, once: some providers count on in every chunk, and only the
        count beside or after the last end is the call's.
        """
        over = alone or (self._done and self._seen == self._done)
        if wire is None or self._told_usage or not over:
            return None
        self._told_usage = True
        return read_usage(wire)

    def check(self) -> None:
        """The stream is over.

        Raises:
            UpstreamError: a choice has no end.
        """
        if not self._done or self._seen != self._done:
            raise UpstreamError("The stream ended before its finish reason.")


def read_logprobs(wire: LogprobsIn | None) -> tuple[TokenLogprob, ...]:
    return tuple(_read_token(token) for token in wire.content or ()) if wire else ()


def _read_token(wire: TokenWire) -> TokenLogprob:
    return TokenLogprob(
        wire.token,
        _LEAST_LOGPROB if wire.logprob is None else wire.logprob,
        wire.bytes,
        tuple(_read_token(top) for top in wire.top_logprobs or ()),
    )


def finite(logprob: float) -> float:
    """``logprob`` as JSON can say it; not-a-number becomes impossible."""
    return max(_LEAST_LOGPROB, logprob)


class Tail:
    """Where the usage of a streamed reply goes.

    Azure: on the last choice's chunk, unasked, so that chunk is held back until the usage
    comes. OpenAI: in a chunk of its own without choices, where ``include_usage`` asked.
    """

    def __init__(self, head: Envelope, *, rides: bool, wanted: bool) -> None:
        self._head = head
        self._rides = rides
        self._wanted = wanted
        self._held: Envelope | None = None
        self._usage: UsageOut | UnsetType = UNSET

    def hold(self, chunk: Envelope) -> bytes:
        """Take a chunk that finishes a choice; what can be sent now."""
        if not self._rides:
            return event(chunk)
        ready = self.release()
        if self._usage is UNSET:
            self._held = chunk
            return ready
        return ready + event(msgspec.structs.replace(chunk, usage=self._usage))

    def settle(self, usage: Usage) -> bytes:
        """Take the usage; what can be sent now."""
        wire = write_usage(usage)
        if not self._rides:
            if not self._wanted:
                return b""
            return event(msgspec.structs.replace(self._head, choices=(), usage=wire))
        if self._held is None:
            self._usage = wire
            return b""
        chunk = msgspec.structs.replace(self._held, usage=wire)
        self._held = None
        return event(chunk)

    def release(self) -> bytes:
        """The chunk held back, since another follows it or none does."""
        held, self._held = self._held, None
        return b"" if held is None else event(held)


def decode_reply(decoder: "msgspec.json.Decoder[_Read]", body: bytes) -> _Read:
    """What a provider sent, as the wire struct that the decoder makes.

    Raises:
        UpstreamError: it doesn't have the shape of a reply.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError(f"The reply makes no sense: {shape_of(error)}.") from error


def shape_of(error: Exception) -> str:
    """What is wrong with a reply's shape, without any of its values."""
    if isinstance(error, msgspec.ValidationError):
        place = str(error).rpartition(" - at `")[2].rstrip("`")
        return f"a value of the wrong kind at {place}" if place.startswith("$") else "wrong shape"
    return "it is nested too deep" if isinstance(error, RecursionError) else "it is not JSON"
