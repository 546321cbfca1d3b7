"""Cohere's API v2, as a client speaks it: chat, and embeddings of texts and images.

Source: Cohere API reference: Chat (v2), Chat with streaming (v2), Embed (v2).
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec

from interlingua import sse
from interlingua.errors import ApiError, DeadlineExceeded, UpstreamError
from interlingua.http import HttpCall
from interlingua.types.chat import (
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    FinishReason,
    ToolCall,
    ToolCallDelta,
)
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities
from interlingua.types.usage import Usage

from . import cohere_request
from .base import StreamReader, Target
from .encodings import decode_vector
from .error_wire import read_error
from .json_call import post
from .partial import PartialWire
from .passed_through import lifted
from .reply_wire import decode_reply

_CHAT = frozenset(
    {
        "frequency_penalty",
        "max_tokens",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)
_RENAMES = {"max_completion_tokens": "max_tokens", "stop": "stop_sequences", "top_p": "p"}

#: Source: ChatFinishReason. ERROR and TIMEOUT are failures.
_FINISH_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    id: str | None = None
    function: _Function = _Function()


class _Content(msgspec.Struct, frozen=True):
    text: str | None = None
    thinking: str | None = None


class _Said(msgspec.Struct, frozen=True):
    """A message, or a piece of one: lists in a whole reply, single items in events."""

    content: str | _Content | tuple[_Content, ...] | None = None
    tool_calls: _Call | tuple[_Call, ...] | None = None
    tool_plan: str | None = None

    @property
    def contents(self) -> tuple[_Content, ...]:
        if isinstance(self.content, str):
            return (_Content(self.content),)
        return (self.content,) if isinstance(self.content, _Content) else self.content or ()

    @property
    def text(self) -> str:
        return "".join(item.text or "" for item in self.contents)

    @property
    def thoughts(self) -> str:
        """What it thought, and what it plans to do with tools."""
        return "".join(item.thinking or "" for item in self.contents) + (self.tool_plan or "")

    @property
    def calls(self) -> tuple[_Call, ...]:
        return (self.tool_calls,) if isinstance(self.tool_calls, _Call) else self.tool_calls or ()


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: float | None = None
    output_tokens: float | None = None
    image_tokens: float | None = None


class _Usage(msgspec.Struct, frozen=True):
    """Also the ``meta`` of embeddings."""

    tokens: _Tokens | None = None
    billed_units: _Tokens | None = None
    cached_tokens: float | None = None

    def read(self) -> Usage:
        """What the model saw; what is billed where that isn't told."""
        told = self.tokens or self.billed_units or _Tokens()
        cached = None if self.cached_tokens is None else int(self.cached_tokens)
        prompt = (told.input_tokens or 0) + (told.image_tokens or 0)
        return Usage(int(prompt), int(told.output_tokens or 0), cached)


class _Reply(msgspec.Struct, frozen=True):
    message: _Said | str | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct, frozen=True):
    message: _Said | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None
    error: str | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    message: str | None = None


class _Vectors(msgspec.Struct, frozen=True):
    """One of them is there: what was asked for."""

    full: tuple[list[float], ...] | None = msgspec.field(default=None, name="float")
    int8: tuple[list[float], ...] | None = None
    uint8: tuple[list[float], ...] | None = None
    binary: tuple[list[float], ...] | None = None
    ubinary: tuple[list[float], ...] | None = None
    base64: tuple[str, ...] | None = None


class _EmbedReply(msgspec.Struct, frozen=True):
    embeddings: _Vectors | None = None
    meta: _Usage | None = None
    message: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)
_EVENT = msgspec.json.Decoder(_Event)
_EMBED = msgspec.json.Decoder(_EmbedReply)


class CohereDialect(PartialWire):
    """The client's side of the wire."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions", "embeddings", "image_embeddings"}),
        parameters=_CHAT | {"dimensions", "encoding_format", "input_type"},
        ranges={
            "frequency_penalty": (0, 1),
            "presence_penalty": (0, 1),
            "top_p": (0.01, 0.99),
        },
        input_types=frozenset({"text", "query", "document"}),
        encoding_formats=frozenset({"float", "base64", "int8", "uint8", "binary", "ubinary"}),
        modalities=frozenset({"text", "image"}),
        image_text=True,
        fetches_images=False,
        renames=_RENAMES,
    )

    def event_decoder(self) -> sse.Decoder:
        return sse.Decoder()

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall:
        request = lifted(request, _CHAT)
        fields = cohere_request.write_chat(request, target.model)
        return post("/chat", fields, request.extra, target)

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        fields = cohere_request.write_texts(request, target.model)
        return post("/embed", fields, request.extra, target)

    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall:
        fields = cohere_request.write_images(request, target.model)
        return post("/embed", fields, request.extra, target)

    def chat_reader(self) -> StreamReader[ChatDelta]:
        return _StreamReader()

    def read_chat(self, body: bytes) -> ChatCompletion:
        reply = decode_reply(_REPLY, body)
        said = reply.message
        if not isinstance(said, _Said):
            raise UpstreamError(said or "The reply has no message.")
        calls = tuple(
            ToolCall(
                id=call.id or "",
                name=call.function.name or "",
                arguments=call.function.arguments or "{}",
            )
            for call in said.calls
        )
        choice = ChatChoice(
            text=None if calls and not said.text else said.text,
            reasoning=said.thoughts or None,
            tool_calls=calls,
            finish_reason=_read_finish(reply.finish_reason),
        )
        return ChatCompletion(choices=(choice,), usage=(reply.usage or _Usage()).read())

    def read_embeddings(self, body: bytes) -> Embeddings:
        reply = decode_reply(_EMBED, body)
        if reply.embeddings is None:
            raise UpstreamError(reply.message or "The reply has no embeddings.")
        kinds: Iterable[tuple[str | list[float], ...] | None] = (
            getattr(reply.embeddings, name) for name in reply.embeddings.__struct_fields__
        )
        vectors = next((found for found in kinds if found), ())
        return Embeddings(
            vectors=tuple(map(decode_vector, vectors)), usage=(reply.meta or _Usage()).read()
        )

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        # {"id": …, "message": …}, told apart by status; 498 is a blocked input or output.
        return read_error(status, headers, body)


class _StreamReader:
    """Reads one reply. Not safe to share."""

    def __init__(self) -> None:
        #: Our index of a tool call by theirs, and which of them have arguments.
        self._calls: dict[int, int] = {}
        self._argued: set[int] = set()
        self._ended = False

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        event = decode_reply(_EVENT, data)
        delta = event.delta or _Delta()
        match event.type:
            case "content-delta" | "content-start" | "tool-plan-delta":
                said = delta.message or _Said()
                made = ChatDelta(text=said.text, reasoning=said.thoughts)
                return (made,) if made.speaks else ()
            case "tool-call-start" | "tool-call-delta":
                return self._called(event.index or 0, delta.message or _Said())
            case "tool-call-end":
                return self._closed(event.index or 0)
            case "message-end":
                self._ended = True
                reason = _read_finish(delta.finish_reason, delta.error)
                return (ChatDelta(finish_reason=reason, usage=(delta.usage or _Usage()).read()),)
            case "":
                raise UpstreamError(event.message or "An event of the stream has no type.")
            case _:
                return ()

    def finish(self) -> None:
        if not self._ended:
            raise UpstreamError("The stream ended before its finish reason.")

    def _called(self, index: int, said: _Said) -> tuple[ChatDelta, ...]:
        pieces: list[ToolCallDelta] = []
        for call in said.calls:
            is_new = call.id is not None or index not in self._calls
            place = self._calls[index] = len(self._calls) if is_new else self._calls[index]
            arguments = call.function.arguments or ""
            if arguments:
                self._argued.add(place)
            if is_new or arguments:
                pieces.append(
                    ToolCallDelta(
                        index=place, id=call.id, name=call.function.name, arguments=arguments
                    )
                )
        return (ChatDelta(tool_calls=tuple(pieces)),) if pieces else ()

    def _closed(self, index: int) -> tuple[ChatDelta, ...]:
        """A call without arguments has the empty object, as in a whole reply."""
        place = self._calls.get(index)
        if place is None or place in self._argued:
            return ()
        return (ChatDelta(tool_calls=(ToolCallDelta(index=place, arguments="{}"),)),)


def _read_finish(reason: str | None, error: str | None = None) -> FinishReason:
    if reason == "TIMEOUT":
        raise DeadlineExceeded(error or "The provider gave up its reply: it took too long.")
    if reason is None or reason == "ERROR":
        raise UpstreamError(error or f"The provider ended its reply with the reason {reason!r}.")
    return _FINISH_REASONS.get(reason, "stop")
