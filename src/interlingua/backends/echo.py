"""A backend that repeats what it is told: for tests, for CI, and as the shortest example.

The same request always gets the same answer, at once, without a model. A word, with the
white space before it, is a token. A text that begins with ``!fail`` makes it fail
(:mod:`.echo_failures`).
"""

import hashlib
import re
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import chain

from msgspec import UNSET

from interlingua.catalog.card import Card
from interlingua.types.chat import (
    ChatDelta,
    ChatRequest,
    Content,
    FinishReason,
    TextPart,
    UserMessage,
)
from interlingua.types.completions import CompletionDelta, CompletionRequest, Prompt
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, ModelInfo, merge
from interlingua.types.usage import Usage

from .base import CallContext
from .echo_failures import NONE, Command, command_of
from .engines.model import EngineModel

#: A model without files: a deployment may say ``model = "echo"``.
CARD = Card(
    name="echo",
    title="Echo",
    publisher="Interlingua",
    type="chat-completion",
    license="Apache-2.0",
    summary="Repeats the last user message. For tests: the same request, the same answer.",
)

_LENGTH = 64
_CAPABILITIES = Capabilities(
    operations=frozenset({"chat_completions", "completions", "embeddings", "image_embeddings"}),
    # Sampling has nothing to choose from here, so every setting of it holds.
    parameters=frozenset(
        {
            "dimensions",
            "encoding_format",
            "frequency_penalty",
            "input_type",
            "max_tokens",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "top_p",
        }
    ),
    extensions=frozenset(),
    passes_through=False,
    modalities=frozenset({"text"}),
    response_formats=frozenset({"text"}),
    encoding_formats=frozenset({"float", "base64", "binary", "ubinary", "int8", "uint8"}),
    input_types=frozenset({"text", "query", "document"}),
    dimensions=frozenset({8, 16, 32, 64, 128, 256}),
    embedding_length=_LENGTH,
    image_text=True,
)
_WORD = re.compile(r"\s*\S+|\s+$")


class EchoBackend:
    """Answers all operations with what it was asked."""

    def __init__(self, *, name: str = "echo", capabilities: Capabilities = _CAPABILITIES) -> None:
        self.info = ModelInfo(
            model_name=name, model_type=CARD.type, model_provider_name=CARD.publisher
        )
        self.capabilities = merge(_CAPABILITIES, capabilities)
        self.concurrency = 64

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        del call
        asked = [_text(m.content) for m in request.messages if m.content is not None]
        command, text = _last(request)
        words, reason = _continue(text, request)
        async with aclosing(command.spoken(words)) as spoken:
            async for word in spoken:
                yield ChatDelta(text=word)
        usage = Usage(sum(_count(text) for text in asked), len(words))
        yield ChatDelta(finish_reason=reason, usage=usage)

    async def complete(
        self, request: CompletionRequest, call: CallContext
    ) -> AsyncGenerator[CompletionDelta]:
        del call
        prompts = [_prompt(prompt) for prompt in request.prompts]
        written = 0
        for index, prompt in enumerate(prompts):
            command, text = command_of(prompt, ("body", "prompt"))
            words, reason = _continue(text, request)
            written += len(words)
            async with aclosing(command.spoken(words)) as spoken:
                async for word in spoken:
                    yield CompletionDelta(index=index, text=word)
            last = index == len(prompts) - 1
            usage = Usage(sum(map(_count, prompts)), written) if last else None
            yield CompletionDelta(index=index, finish_reason=reason, usage=usage)

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        texts = [_prompt(text) for text in request.inputs]
        await _obey(texts)
        return _embeddings(texts, request.dimensions)

    async def embed_images(self, request: ImageEmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        joined = [f"{item.image}\n{item.text}" for item in request.inputs]
        await _obey([item.text or "" for item in request.inputs])
        return _embeddings(joined, request.dimensions)


def create(model: EngineModel) -> EchoBackend:
    """The entry point ``echo``."""
    return EchoBackend(name=model.name, capabilities=model.capabilities)


def _last(request: ChatRequest) -> tuple[Command, str]:
    """What the last user, or else the last message, says."""
    said = [(place, m) for place, m in enumerate(request.messages) if m.content is not None]
    users = [(place, m) for place, m in said if isinstance(m, UserMessage)]
    if not said:
        return NONE, ""
    place, message = (users or said)[-1]
    return command_of(_text(message.content), ("body", "messages", place, "content"))


async def _obey(texts: Iterable[str]) -> None:
    """Fail if a text to be embedded says so."""
    for place, text in enumerate(texts):
        command, _ = command_of(text, ("body", "input", place))
        await command.begin()
        await command.fail()


def _continue(
    text: str, request: ChatRequest | CompletionRequest
) -> tuple[list[str], FinishReason]:
    """The words of the answer and why it ends, ``stop`` and ``max_tokens`` honoured."""
    ends = [place for place in map(text.find, request.stop) if place >= 0]
    words = _WORD.findall(text[: min(ends)] if ends else text)
    limit = request.max_tokens
    if limit is not UNSET and limit is not None and len(words) > limit:
        return words[:limit], "length"
    return words, "stop"


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def _prompt(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def _count(text: str) -> int:
    return len(_WORD.findall(text))


def _embeddings(texts: Iterable[str], length: int | None) -> Embeddings:
    texts = list(texts)
    vectors = tuple(_vector(text, length or _LENGTH) for text in texts)
    return Embeddings(vectors=vectors, usage=Usage(sum(map(_count, texts))))


def _vector(text: str, length: int) -> bytes:
    """A unit vector that follows from the text alone."""
    data = text.encode("utf-8", "surrogatepass")
    blocks = (hashlib.sha256(b"%d:" % n + data).digest() for n in range(length // 16 + 1))
    numbers = list(chain.from_iterable(struct.unpack("<16h", block) for block in blocks))
    numbers = numbers[:length]
    norm = sum(number * number for number in numbers) ** 0.5 or 1.0
    return struct.pack(f"<{length}f", *(number / norm for number in numbers))
