"""GGUF models by llama.cpp: chat, text completions and embeddings.

One process a model runs llama.cpp's own server (:mod:`.llamacpp_process`); this side makes
prompts, asks for one choice at a time and reads the events.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, TypeVar

import msgspec

from interlingua.backends.base import Backend, CallContext
from interlingua.catalog.card import TextEmbedding
from interlingua.catalog.gguf import GgufHeader, read_gguf
from interlingua.errors import (
    InvalidValue,
    Location,
    ModelFileError,
    ModelNotReady,
    UpstreamError,
)
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest
from interlingua.types.models import Capabilities, ModelInfo, Operation, merge

from .llamacpp_chat import ChatEngine
from .llamacpp_client import LlamaServer, Refused
from .llamacpp_completions import CompletionEngine
from .llamacpp_embeddings import EmbeddingEngine
from .memory import available_bytes, cores, slots_that_fit
from .model import EngineModel
from .process import Engine
from .prompting import Prompter, control_pattern

_ENVIRONMENT = {
    # Its threads wait for one another some thousand times a token. By themselves they spin for
    # many milliseconds first, on cores that others need: beside one busy process two threads
    # then take four times as long. A fraction of a millisecond is as fast alone.
    "GOMP_SPINCOUNT": "4000",
    # Weights that are copied into memory get huge pages where the kernel has them on request.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
#: The context of one call where neither card nor config states one.
_DEFAULT_CONTEXT = 4096
#: Token ids that an embedding model reads at once, where its card doesn't say.
_DEFAULT_EMBEDDING_CONTEXT = 512
_LONGEST_EMBEDDING = 2048

_TEXT = frozenset({
    "model", "temperature", "top_p", "max_tokens", "stop", "seed", "frequency_penalty",
    "presence_penalty", "stream", "stream_options", "n", "logprobs", "logit_bias",
})  # fmt: skip
_CHAT = frozenset({
    "messages", "response_format", "tools", "tool_choice", "parallel_tool_calls",
    "top_logprobs", "max_completion_tokens",
})  # fmt: skip
_EMBEDDING = frozenset({"model", "input", "dimensions", "encoding_format", "input_type"})
_EXTENSIONS = frozenset({
    "n", "logprobs", "top_logprobs", "logit_bias", "top_k", "min_p", "repetition_penalty",
})  # fmt: skip

_POOLINGS: dict[str, Literal["mean", "cls", "last"]] = {
    "mean": "mean",
    "cls": "cls",
    "last": "last",
}

_D = TypeVar("_D", ChatDelta, CompletionDelta)


def create(model: EngineModel) -> Backend:
    """The backend of a GGUF model; ``open`` starts its process.

    Raises:
        ModelFileError: the file isn't a GGUF model; names it, what is wrong and the remedy.
    """
    path = model.stored.files.get("model")
    if path is None:
        raise ModelFileError(
            f"The card '{model.stored.card.name}' names no GGUF file. Give a file the role 'model'"
        )
    return LlamaCpp(model, read_gguf(path))


class LlamaCpp:
    """One GGUF model. What it answers depends on its type: chat models chat and complete,
    base models complete, embedding models embed.
    """

    def __init__(self, model: EngineModel, header: GgufHeader) -> None:
        card = model.stored.card
        self.info = ModelInfo(
            model_name=model.name, model_type=card.type, model_provider_name=card.publisher
        )
        embedding = card.type == "embedding"
        how = _embedding(model, header) if embedding else None
        context = how.max_tokens if how else _context(model, header)
        self.concurrency = model.slots or slots_that_fit(header, context, available_bytes())
        self.capabilities = merge(
            _capabilities(model, header, context), card.capabilities, model.capabilities
        )
        self._process = model.launch(
            model.name,
            program="interlingua.backends.engines.llamacpp_process",
            settings={
                "path": str(model.stored.files["model"]),
                "name": model.name,
                "context": context,
                "slots": self.concurrency,
                "threads": model.threads or cores(),
                "embedding": embedding,
                "pooling": how.pooling if how else None,
                "normalize": how.normalize if how else True,
            },
            # Its server closes after each streamed reply while advertising keep-alive.
            fresh_connections=True,
            environment={**_ENVIRONMENT, **model.environment},
        )
        server = LlamaServer(self._process.transport)
        prompter = Prompter(
            server, template=header.chat_template, control_tokens=header.control_tokens
        )
        self._chat = ChatEngine(
            server,
            prompter,
            reasons=bool(self.capabilities.reasoning),
            at_once=self.concurrency,
        )
        self._completions = CompletionEngine(
            server, vocabulary=header.vocabulary_size, at_once=self.concurrency
        )
        self._embeddings = EmbeddingEngine(
            server,
            how=how or TextEmbedding(),
            control=control_pattern(header.control_tokens),
            vocabulary=header.vocabulary_size,
        )

    @property
    def process(self) -> Engine:
        """The engine's process, for whoever watches its memory."""
        return self._process

    async def open(self) -> None:
        """Load the model; see :class:`~interlingua.backends.base.Backend`."""
        await self._process.open()

    async def close(self) -> None:
        """Unload the model."""
        await self._process.close()

    def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:  # noqa: ARG002 - the gateway keeps the deadline
        """The deltas of a chat completion. Closing the generator cancels it."""
        return _guarded(self._chat.answer(request), self.info.model_name, ("body", "messages"))

    def complete(
        self,
        request: CompletionRequest,
        call: CallContext,  # noqa: ARG002 - the gateway keeps the deadline
    ) -> AsyncGenerator[CompletionDelta]:
        """The deltas of a text completion. Closing the generator cancels it."""
        return _guarded(self._completions.answer(request), self.info.model_name, ("body", "prompt"))

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:  # noqa: ARG002 - the gateway keeps the deadline
        """One vector an input."""
        try:
            return await self._embeddings.answer(request)
        except Refused as error:
            raise _caller_fault(error, ("body", "input")) from error
        except UpstreamError as error:
            raise _not_ready(self.info.model_name) from error


async def _guarded(source: AsyncGenerator[_D], name: str, location: Location) -> AsyncGenerator[_D]:
    """The deltas; what breaks before the first that says something is a 503 instead."""
    spoke = False
    async with aclosing(source):
        try:
            async for delta in source:
                spoke = spoke or delta.speaks
                yield delta
        except Refused as error:
            raise _caller_fault(error, location) from error
        except UpstreamError as error:
            if spoke:
                raise
            raise _not_ready(name) from error


def _caller_fault(error: Refused, location: Location) -> InvalidValue:
    return InvalidValue(f"The engine refuses this request: {error.message}", location=location)


def _not_ready(name: str) -> ModelNotReady:
    return ModelNotReady(f"The engine of '{name}' failed before it answered; try again.")


def _context(model: EngineModel, header: GgufHeader) -> int:
    """The tokens of one call: the config's wish, else the card's, within the model's limit."""
    wish = model.context_length or model.stored.card.call_context
    limit = header.context_length or model.stored.card.context_length
    if limit is None:
        return wish or _DEFAULT_CONTEXT
    return min(wish or _DEFAULT_CONTEXT, limit)


def _embedding(model: EngineModel, header: GgufHeader) -> TextEmbedding:
    """How an embedding model is used: as its card says, else as its file does."""
    limit = header.context_length or _DEFAULT_EMBEDDING_CONTEXT
    stated = model.stored.card.text_embedding
    if stated is None:
        pooling = _POOLINGS.get(header.pooling or "", "mean")
        longest = min(model.context_length or _LONGEST_EMBEDDING, limit)
        return TextEmbedding(pooling=pooling, max_tokens=longest)
    return msgspec.structs.replace(stated, max_tokens=min(stated.max_tokens, limit))


def _capabilities(model: EngineModel, header: GgufHeader, context: int) -> Capabilities:
    """What the engine can do with a model of this type."""
    if model.stored.card.type == "embedding":
        how = _embedding(model, header)
        return Capabilities(
            operations=frozenset({"embeddings"}),
            parameters=_EMBEDDING,
            extensions=frozenset(),
            passes_through=False,
            modalities=frozenset({"text"}),
            encoding_formats=frozenset({"float", "base64", "binary", "ubinary", "int8", "uint8"}),
            input_types=frozenset({"text", *how.prefixes}),
            dimensions=frozenset(),
            embedding_length=header.embedding_length,
            context_length=context,
        )
    chats = model.stored.card.type == "chat-completion"
    operations: set[Operation] = {"completions"}
    if chats:
        operations.add("chat_completions")
    return Capabilities(
        operations=frozenset(operations),
        parameters=_TEXT | _CHAT if chats else _TEXT,
        extensions=_EXTENSIONS,
        passes_through=False,
        roles=frozenset({"system", "developer", "user", "assistant", "tool"}),
        modalities=frozenset({"text"}),
        response_formats=frozenset({"text", "json_object", "json_schema"}),
        context_length=context,
        reasoning=False,
    )
