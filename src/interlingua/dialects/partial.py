"""What a client dialect says of the operations that its wire doesn't have.

Negotiation never lets such a call come so far: a wire states its operations in
``CAPABILITIES``. Whoever writes one of a few operations inherits the refusal of the others.
"""

from interlingua.errors import NotFound
from interlingua.http import HttpCall
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import ModelInfo

from .base import StreamReader, Target


class PartialWire:
    """Refuses every operation."""

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall:
        raise _absent("chat completions")

    def write_completion_call(self, request: CompletionRequest, target: Target) -> HttpCall:
        raise _absent("text completions")

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        raise _absent("text embeddings")

    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall:
        raise _absent("image embeddings")

    def write_info_call(self, target: Target) -> HttpCall:
        raise _absent("model info")

    def chat_reader(self) -> StreamReader[ChatDelta]:
        raise _absent("chat completions")

    def completion_reader(self) -> StreamReader[CompletionDelta]:
        raise _absent("text completions")

    def read_chat(self, body: bytes) -> ChatCompletion:
        raise _absent("chat completions")

    def read_completion(self, body: bytes) -> Completion:
        raise _absent("text completions")

    def read_embeddings(self, body: bytes) -> Embeddings:
        raise _absent("embeddings")

    def read_info(self, body: bytes) -> ModelInfo:
        raise _absent("model info")


def _absent(operation: str) -> NotFound:
    return NotFound(f"This provider's API has no {operation}.")
