"""One call's way through the limits: it reserves what it may take, and gives back the rest.

Rules of this file:
- The caller's limit comes first, once a deployment has been found that can honour the request;
  then that of each deployment that is asked.
- A deployment that is asked in vain gets its tokens back at once; a request that was made of
  it stays counted.
- It is settled once: when the answer is whole, else at the call's end.
- A call that no limit concerns costs a look into a dictionary.
"""

import math
from collections.abc import Sequence

from interlingua.backends.base import CallContext
from interlingua.errors import RateLimited
from interlingua.headers import RATE_LIMITS
from interlingua.types.chat import ChatRequest, Content, Sampling, TextPart
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest

from .limits import Shares
from .meter import CallMeter

Request = ChatRequest | CompletionRequest | EmbeddingsRequest | ImageEmbeddingsRequest

#: Bytes of text that make a token, as far as is reckoned before a model has counted.
BYTES_A_TOKEN = 4
#: What an answer is reckoned to take where the call doesn't limit it (``max_tokens``).
ANSWER_TOKENS = 1024
_NAMES = tuple(tuple(header.name.encode() for header in headers) for headers in RATE_LIMITS)


class CallerLimited(RateLimited):
    """The caller's own limit is reached: no other deployment can help."""

    retryable = False


def of_key(name: str) -> str:
    """The name of a key among the limits."""
    return f'key "{name}"'


def of_deployment(name: str) -> str:
    return f'deployment "{name}"'


class Allowance:
    """What one call has reserved, until it is settled."""

    __slots__ = ("_asked", "_call", "_settled", "_shares", "_taken", "_tokens")

    def __init__(self, shares: Shares, call: CallMeter) -> None:
        self._shares = shares
        self._call = call
        self._tokens = 0
        #: What is reserved, by name.
        self._taken: dict[str, int] = {}
        self._asked = False
        self._settled = False

    def expect(self, request: Request) -> None:
        """What the call is about to ask for."""
        self._tokens = estimate(request)

    async def enter(self, deployment: str) -> None:
        """Let the call in at ``deployment``.

        Raises:
            CallerLimited: the caller has no room for it, anywhere.
            RateLimited: the deployment hasn't.
            Unavailable: nobody can say.
        """
        caller, target = of_key(self._call.key), of_deployment(deployment)
        taken = self._taken
        if caller not in taken and self._shares.limit(caller) is not None:
            await self._take(caller, CallerLimited)
        for name in [name for name in taken if name != caller]:
            self._shares.settle(name, reserved=taken.pop(name), used=0)
        if self._shares.limit(target) is not None:
            await self._take(target, RateLimited)
        self._asked = True

    async def _take(self, name: str, refusal: type[RateLimited]) -> None:
        exact_s = await self._shares.take(name, self._tokens)
        if exact_s > 0:
            wait_s = math.ceil(exact_s)
            raise refusal(
                f"The limit of the {name} is reached ({self._shares.limit(name)}). "
                f"Try again in {wait_s} s.",
                retry_after_s=wait_s,
            )
        self._taken[name] = self._tokens

    def settle(self, used: int) -> None:
        """The call took so many tokens; whatever else is reserved goes back. Idempotent."""
        if self._settled:
            return
        self._settled = True
        for name, reserved in self._taken.items():
            # Who was let in and asked nobody, since the deployments' limits were reached.
            back = 0 if self._asked else 1
            self._shares.settle(name, reserved=reserved, used=used, requests=back)


class LimitedCall(CallContext, frozen=True, kw_only=True):
    """A call that limits may concern."""

    allowance: Allowance


def headers(shares: Shares, caller: str) -> Sequence[tuple[bytes, bytes]]:
    """What a reply tells the caller of its limits, as OpenAI spells it; nothing without any."""
    left = shares.left(of_key(caller))
    if left is None:
        return ()
    stated: list[tuple[bytes, bytes]] = []
    for room, (limit, remaining, reset) in zip((left.requests, left.tokens), _NAMES, strict=True):
        if room is not None:
            stated += (
                (limit, b"%d" % room.limit),
                (remaining, b"%d" % room.left),
                (reset, duration(room.reset_s).encode()),
            )
    return stated


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``1s``, ``6m0s``, ``17ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def estimate(request: Request) -> int:
    """The tokens that a call may take: its texts, and the answer at its longest. Images,
    sounds and tools are not reckoned; the end of the call counts them.
    """
    match request:
        case ChatRequest():
            size = 0
            for message in request.messages:
                size += _bytes(message.content)
            return -(-size // BYTES_A_TOKEN) + _answer(request)
        case CompletionRequest():
            prompts = [_tokens(prompt) for prompt in request.prompts]
            return sum(prompts) + len(prompts) * _answer(request)
        case EmbeddingsRequest():
            return sum(map(_tokens, request.inputs))
        case _:
            return sum(_tokens(each.text or "") for each in request.inputs)


def _answer(request: Sampling) -> int:
    limit = request.max_tokens
    return (limit if isinstance(limit, int) else ANSWER_TOKENS) * (request.n or 1)


def _tokens(text: str | tuple[int, ...]) -> int:
    return math.ceil(_bytes(text) / BYTES_A_TOKEN) if isinstance(text, str) else len(text)


def _bytes(content: Content | None) -> int:
    match content:
        case None:
            return 0
        case str():
            return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        case _:
            return sum(_bytes(part.text) for part in content if isinstance(part, TextPart))
