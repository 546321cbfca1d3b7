"""The choices of one call: made by one engine call each, their usage added up."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from msgspec.structs import replace

from interlingua.types.chat import ChatDelta
from interlingua.types.completions import CompletionDelta
from interlingua.types.usage import Usage

from .fanout import merged

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)


async def together(
    sources: Sequence[Callable[[], AsyncGenerator[Delta]]], *, at_once: int, a_prompt: int = 0
) -> AsyncGenerator[Delta]:
    """The deltas of all choices, with one usage at the end.

    The sources stand prompt by prompt, ``a_prompt`` each (0: all are of one prompt), and each
    ends with its own usage. A prompt's tokens count once, however many choices it has.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]()) as deltas:
            async for delta in deltas:
                yield delta
        return
    used: dict[int, Usage] = {}
    last: Delta | None = None
    async with aclosing(merged(sources, at_once=at_once)) as deltas:
        async for delta in deltas:
            last = delta
            if delta.usage is None:
                yield delta
            else:
                used[delta.index] = delta.usage
                yield replace(delta, usage=None)
    if last is not None:
        yield type(last)(index=last.index, usage=_added(used, a_prompt or len(sources)))


def _added(used: dict[int, Usage], a_prompt: int) -> Usage:
    first = [usage for index, usage in used.items() if index % a_prompt == 0]
    thought = [usage.reasoning_tokens for usage in used.values() if usage.reasoning_tokens]
    cached = [usage.cached_tokens for usage in first if usage.cached_tokens is not None]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in first),
        completion_tokens=sum(usage.completion_tokens for usage in used.values()),
        cached_tokens=sum(cached) if cached else None,
        reasoning_tokens=sum(thought) if thought else None,
    )
