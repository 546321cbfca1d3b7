"""Text completions by llama.cpp's server: a prompt as it stands, control tokens and all."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from msgspec.structs import replace

from interlingua.errors import InvalidValue
from interlingua.types.completions import CompletionDelta, CompletionRequest, Prompt
from interlingua.types.usage import Usage

from .choices import together
from .llamacpp_client import LlamaServer
from .llamacpp_wire import EnginePrompt, Generate, logprobs, sampling, seeded

#: Azure: the completions reference gives 256 as the default of max_tokens.
_DEFAULT_MAX_TOKENS = 256


class CompletionEngine:
    """Continues texts with one model. ``vocabulary``: how many token ids it has."""

    def __init__(self, server: LlamaServer, *, vocabulary: int | None, at_once: int) -> None:
        self._server = server
        self._vocabulary = vocabulary
        self._at_once = at_once

    async def answer(self, request: CompletionRequest) -> AsyncGenerator[CompletionDelta]:
        """The deltas of every choice; usage comes with the last of them."""
        each = request.n or 1
        prompts = [self._prompt(prompt) for prompt in request.prompts]
        body = sampling(request, "", default_max=_DEFAULT_MAX_TOKENS)
        if body.n_predict == 0:
            async with aclosing(self._nothing(prompts, each)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        if request.logprobs is not None:
            body = replace(body, n_probs=max(request.logprobs, 1))
        sources = [
            partial(
                self._choice,
                seeded(replace(body, prompt=prompt), request.seed, choice),
                place * each + choice,
                request.logprobs,
            )
            for place, prompt in enumerate(prompts)
            for choice in range(each)
        ]
        merged = together(sources, at_once=self._at_once, a_prompt=each)
        async with aclosing(merged) as deltas:
            async for delta in deltas:
                yield delta

    async def _nothing(
        self, prompts: list[EnginePrompt], each: int
    ) -> AsyncGenerator[CompletionDelta]:
        """The answer to ``max_tokens: 0``: no text, but the prompts are counted."""
        counted = [await self._server.count(prompt) for prompt in prompts]
        for index in range(len(prompts) * each):
            yield CompletionDelta(index=index, finish_reason="length")
        yield CompletionDelta(usage=Usage(prompt_tokens=sum(counted)))

    async def _choice(
        self, body: Generate, index: int, top_logprobs: int | None
    ) -> AsyncGenerator[CompletionDelta]:
        async with aclosing(self._server.generate(body)) as chunks:
            async for chunk in chunks:
                found = () if top_logprobs is None else logprobs(chunk, top_logprobs)
                if chunk.content or found:
                    yield CompletionDelta(index=index, text=chunk.content, logprobs=found)
                if chunk.stop:
                    if chunk.tokens_evaluated == 0:
                        raise InvalidValue(
                            "The prompt is empty: this model needs a text to continue.",
                            location=("body", "prompt"),
                        )
                    yield CompletionDelta(
                        index=index, finish_reason=chunk.finish_reason, usage=chunk.usage
                    )

    def _prompt(self, prompt: Prompt) -> EnginePrompt:
        if isinstance(prompt, str):
            return prompt
        for token in prompt:
            if token < 0 or (self._vocabulary is not None and token >= self._vocabulary):
                raise InvalidValue(
                    f"{token} is not a token id of this model, which has {self._vocabulary}.",
                    location=("body", "prompt"),
                )
        return list(prompt)
