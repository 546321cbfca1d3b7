"""The protocols of whatever answers a call.

Rules of this file:
- A backend never checks capabilities: what reaches it was negotiated.
- ``chat`` and ``complete`` always yield; a whole answer is the fold of what they yield, unless
  the backend gets it whole itself (:class:`WholeBackend`).
- Closing the generator cancels the work upstream; it may be closed at any moment.
"""

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

import msgspec

from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, ModelInfo


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it is and how long it may take. ``deadline`` is in ``loop.time()`` seconds;
    whoever began the call cancels it then.
    """

    id: str
    deadline: float | None = None


class Backend(Protocol):
    """Something that answers, with what it can honour as data."""

    info: ModelInfo
    capabilities: Capabilities
    #: How many calls it works on at once; more wait in the gateway's queue.
    concurrency: int

    async def open(self) -> None:
        """Make ready to answer. May take minutes; idempotent; safe to call concurrently.

        Raises:
            ModelNotReady: it can't, with the reason.
        """
        ...

    async def close(self) -> None:
        """Stop answering and free what ``open`` took. Idempotent."""
        ...


class ChatBackend(Backend, Protocol):
    def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]: ...


class CompletionBackend(Backend, Protocol):
    def complete(
        self, request: CompletionRequest, call: CallContext
    ) -> AsyncGenerator[CompletionDelta]: ...


@runtime_checkable
class WholeBackend(Protocol):
    """Somebody whose whole answers cost less than their deltas. Cancelling cancels the work."""

    async def chat_whole(self, request: ChatRequest, call: CallContext) -> ChatCompletion: ...

    async def complete_whole(self, request: CompletionRequest, call: CallContext) -> Completion: ...


class EmbeddingsBackend(Backend, Protocol):
    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings: ...


class ImageEmbeddingsBackend(Backend, Protocol):
    async def embed_images(
        self, request: ImageEmbeddingsRequest, call: CallContext
    ) -> Embeddings: ...
