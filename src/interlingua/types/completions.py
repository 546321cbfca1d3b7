"""Text completions: the request and the deltas of the answer."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .chat import FinishReason, Sampling, TokenLogprob
from .usage import Usage

#: A prompt as text, or as ids of the model's own tokens.
Prompt = str | tuple[int, ...]


class CompletionRequest(Sampling, frozen=True, kw_only=True):
    """Texts to be continued. ``prompts`` is never empty; choices are numbered prompt by
    prompt, ``n`` each.
    """

    prompts: tuple[Prompt, ...]
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=128)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None


class CompletionDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the text, of one choice. ``usage`` comes once, at the end."""

    index: int = 0
    text: str = ""
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    usage: Usage | None = None

    @property
    def speaks(self) -> bool:
        """Whether this delta says something: only then may status 200 be sent."""
        return bool(self.text or self.finish_reason)


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    text: str = ""
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether it says something; a reply where nothing does is no answer."""
        return bool(self.text or self.finish_reason)


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, folded from its deltas."""

    choices: tuple[CompletionChoice, ...]
    usage: Usage = Usage()
