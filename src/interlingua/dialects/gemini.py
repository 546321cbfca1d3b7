"""The Gemini API's own wire, from the client's side.

Source: Gemini API reference, v1beta: *generateContent*, *streamGenerateContent*,
*batchEmbedContents*.
"""

from collections.abc import Mapping
from typing import ClassVar

from interlingua import sse
from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest
from interlingua.types.models import Capabilities

from . import gemini_embeddings, gemini_reply, gemini_request
from .base import StreamReader, Target
from .native_wire import lifted, merged, posted
from .partial import PartialWire


class GeminiDialect(PartialWire):
    """Chats and text embeddings; the target's path names the model. Stateless; safe to share."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions", "embeddings"}),
        parameters=frozenset(
            {
                "max_tokens",
                "temperature",
                "top_p",
                "top_k",
                "frequency_penalty",
                "presence_penalty",
                "seed",
                "stop",
                "n",
                "response_format",
                "tools",
                "tool_choice",
                "logprobs",
                "top_logprobs",
                "reasoning_effort",
                "dimensions",
                "encoding_format",
                "input_type",
            }
        ),
        input_types=frozenset({"text", "query", "document"}),
        modalities=frozenset({"text", "image", "audio"}),
        response_formats=frozenset({"text", "json_object", "json_schema"}),
    )

    def event_decoder(self) -> sse.Decoder:
        return sse.Decoder()

    def write_chat_call(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, target: Target
    ) -> HttpCall:
        request = lifted(request, self.CAPABILITIES.parameters)
        body = merged(gemini_request.write_chat(request), request.extra)
        if request.stream:
            return posted(":streamGenerateContent", body, target, alt="sse")
        return posted(":generateContent", body, target)

    def write_embeddings_call(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: EmbeddingsRequest, target: Target
    ) -> HttpCall:
        fields = gemini_embeddings.write_embeddings(request, target.model or request.model)
        return posted(":batchEmbedContents", merged(fields, request.extra), target)

    def chat_reader(self) -> StreamReader[ChatDelta]:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return gemini_reply.ContentReader()

    def read_chat(self, body: bytes) -> ChatCompletion:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return gemini_reply.read_content(body)

    def read_embeddings(self, body: bytes) -> Embeddings:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return gemini_embeddings.read_embeddings(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        return gemini_reply.read_error(status, headers, body)
