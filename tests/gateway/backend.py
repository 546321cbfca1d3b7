"""A backend whose every step the test decides: real protocol, no model."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from interlingua.backends.base import CallContext
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest
from interlingua.types.models import Capabilities, ModelInfo

CHAT = Capabilities(operations=frozenset({"chat_completions"}))


class Script:
    """Answers with the given deltas; an exception among them is raised in its turn.

    ``hold`` keeps each answer back until it is set, and ``closed`` counts the answers whose
    generator ended, however it ended.
    """

    def __init__(
        self,
        deltas: Sequence[ChatDelta | Exception] = (),
        *,
        capabilities: Capabilities = CHAT,
        concurrency: int = 2,
    ) -> None:
        self.info = ModelInfo(
            model_name="script", model_type="chat-completion", model_provider_name="Test"
        )
        self.capabilities = capabilities
        self.concurrency = concurrency
        self.deltas = deltas
        self.hold: asyncio.Event | None = None
        self.opening: asyncio.Event | None = None
        self.open_error: Exception | None = None
        self.opens = 0
        self.closes = 0
        self.started = 0
        self.closed = 0

    async def open(self) -> None:
        self.opens += 1
        if self.opening is not None:
            await self.opening.wait()
        if self.open_error is not None:
            raise self.open_error

    async def close(self) -> None:
        self.closes += 1

    async def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        self.started += 1
        try:
            if self.hold is not None:
                await self.hold.wait()
            for delta in self.deltas:
                if isinstance(delta, Exception):
                    raise delta
                yield delta
        finally:
            self.closed += 1

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        self.started += 1
        if self.hold is not None:
            await self.hold.wait()
        return Embeddings(vectors=(b"\0\0\x80?",) * len(request.inputs))
