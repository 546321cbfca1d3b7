"""Examples of answers, as the dialects themselves write them."""

import json

from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import Reply, ServerDialect
from interlingua.dialects.openai import OpenAIDialect
from interlingua.types.chat import ChatChoice, ChatCompletion
from interlingua.types.completions import Completion, CompletionChoice
from interlingua.types.embeddings import Embeddings
from interlingua.types.models import ModelInfo, Operation
from interlingua.types.usage import Usage

from .schemas import Schema

_DIALECTS: dict[str, ServerDialect] = {"azure": AzureDialect(), "openai": OpenAIDialect()}
_REPLY = Reply(
    id="7a4b2d9c0f5e4b7c9d1e2f3a4b5c6d7e",
    created=1_795_388_400,
    model="smollm2-135m-instruct",
    api_version="2025-04-01",
)
_CHAT = ChatCompletion(
    choices=(ChatChoice(text="Air scatters blue light the most.", finish_reason="stop"),),
    usage=Usage(24, 8),
)
_TEXT = Completion(
    choices=(CompletionChoice(text=", there was a fox.", finish_reason="length"),),
    usage=Usage(4, 6),
)
#: Little-endian float32: 0.5, -0.25, 0.75.
_VECTORS = Embeddings(
    vectors=(b"\0\0\0\x3f\0\0\x80\xbe\0\0\x40\x3f", b"\0\0\x80\xbe\0\0\0\x3f\0\0\x40\x3f"),
    usage=Usage(9, 0),
)
_INFO = ModelInfo(
    model_name=_REPLY.model, model_type="chat-completion", model_provider_name="HuggingFaceTB"
)


def answer(operation: Operation, dialect: str) -> Schema:
    """What the operation answers, whole."""
    writer = _DIALECTS[dialect]
    match operation:
        case "chat_completions":
            body = writer.write_chat(_CHAT, _REPLY)
        case "completions":
            body = writer.write_completion(_TEXT, _REPLY)
        case "info":
            body = writer.write_info(_INFO, "service")
        case "embeddings" | "image_embeddings":
            body = writer.write_embeddings(_VECTORS, None, _REPLY)
    written: Schema = json.loads(body)
    return written
