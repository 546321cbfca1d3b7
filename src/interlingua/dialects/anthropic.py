"""Anthropic's Messages API, from the client's side.

Source: Claude API reference, *Create a Message*, version 2023-06-01.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from interlingua import sse
from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.models import Capabilities

from . import anthropic_reply, anthropic_request
from .base import StreamReader, Target
from .native_wire import lifted, merged, posted
from .partial import PartialWire

_LAST = re.compile(rb'\s*\{\s*"type"\s*:\s*"message_stop"')


class _Events(sse.Decoder):
    """Knows the event that ends a stream, so that one which stays open isn't waited for."""

    def feed(self, chunk: bytes) -> list[bytes]:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        events = super().feed(chunk)
        return [*events, b"[DONE]"] if events and _LAST.match(events[-1]) else events


class AnthropicDialect(PartialWire):
    """Chats. Stateless; safe to share."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions"}),
        parameters=frozenset(
            {
                "max_tokens",
                "temperature",
                "top_p",
                "top_k",
                "stop",
                "response_format",
                "tools",
                "tool_choice",
                "parallel_tool_calls",
                "reasoning_effort",
            }
        ),
        ranges={"temperature": (0, 1)},
        modalities=frozenset({"text", "image"}),
        response_formats=frozenset({"text", "json_schema"}),
    )

    def event_decoder(self) -> sse.Decoder:
        return _Events()

    def write_chat_call(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, target: Target
    ) -> HttpCall:
        request = lifted(request, self.CAPABILITIES.parameters)
        fields = anthropic_request.write_chat(request, target.model or request.model)
        return posted("/messages", merged(fields, request.extra), target)

    def chat_reader(self) -> StreamReader[ChatDelta]:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return anthropic_reply.MessageReader()

    def read_chat(self, body: bytes) -> ChatCompletion:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return anthropic_reply.read_message(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        return anthropic_reply.read_error(status, headers, body)
