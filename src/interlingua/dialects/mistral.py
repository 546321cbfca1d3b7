"""Mistral's API: OpenAI's wire, with what differs on it.

Source: Mistral API: Chat completion, Embeddings; its validation errors.

- Unknown names are refused at any depth (422, extra_forbidden), so messages hold no others.
- A tool call's id is nine letters and digits; others come from other providers' turns.
- The last message is an assistant's only where its text is to be continued (``prefix``).
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from interlingua.http import HttpCall
from interlingua.types.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.models import Capabilities

from .base import Target
from .openai import OpenAIDialect

_ID_LENGTH = 9


class MistralDialect(OpenAIDialect):
    """The client's side of the wire; the server's is OpenAI's."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions", "embeddings"}),
        parameters=frozenset(
            {
                "dimensions",
                "encoding_format",
                "frequency_penalty",
                "max_tokens",
                "n",
                "parallel_tool_calls",
                "presence_penalty",
                "reasoning_effort",
                "response_format",
                "seed",
                "stop",
                "temperature",
                "tool_choice",
                "tools",
                "top_p",
            }
        ),
        modalities=frozenset({"text", "image", "audio"}),
        renames={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
    )

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall:
        messages = request.messages
        call = super().write_chat_call(replace(request, messages=_plain(messages)), target)
        if not isinstance(messages[-1], AssistantMessage):
            return call
        body = msgspec.json.decode(call.body)
        body["messages"][-1]["prefix"] = True
        return replace(call, body=msgspec.json.encode(body))

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        if request.dimensions is not None:
            extra = {**request.extra, "output_dimension": request.dimensions}
            request = replace(request, dimensions=None, extra=extra)
        return super().write_embeddings_call(request, target)


def _plain(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with nothing in them that it doesn't know."""
    plain: list[Message] = []
    for message in messages:
        match message:
            case DeveloperMessage():
                plain.append(SystemMessage(message.content))
            case UserMessage():
                plain.append(replace(message, name=None))
            case AssistantMessage():
                calls = tuple(replace(call, id=_id(call.id)) for call in message.tool_calls)
                plain.append(replace(message, name=None, reasoning=None, tool_calls=calls))
            case ToolMessage(tool_call_id=str(called)):
                plain.append(replace(message, tool_call_id=_id(called)))
            case _:
                plain.append(message)
    return tuple(plain)


def _id(theirs: str) -> str:
    """The same nine letters and digits for the same id, and its own as they are."""
    if len(theirs) == _ID_LENGTH and theirs.isascii() and theirs.isalnum():
        return theirs
    return sha256(theirs.encode("utf-8", "replace")).hexdigest()[:_ID_LENGTH]
