"""Amazon Bedrock's Converse, as a client speaks it.

Source: Amazon Bedrock Runtime 2023-09-30: Converse, ConverseStream.

Rules of this file:
- An event is told to the reader as the union that the service's model calls
  ConverseStreamOutput: ``{"contentBlockDelta": {…}}``.
- What the caller passes through goes into ``additionalModelRequestFields``, unless Converse has
  a place of that name.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from interlingua import errors, eventstream
from interlingua.errors import ApiError, UpstreamError
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
from interlingua.types.models import Capabilities
from interlingua.types.usage import Usage

from . import bedrock_request
from .base import StreamReader, Target
from .error_wire import read_error
from .partial import PartialWire
from .passed_through import lifted
from .reply_wire import decode_reply

_PARAMETERS = frozenset(
    {
        "max_tokens",
        "reasoning_effort",
        "response_format",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)
_RENAMES = {
    "max_completion_tokens": "maxTokens",
    "max_tokens": "maxTokens",
    "stop": "stopSequences",
    "top_p": "topP",
}
#: Source: StopReason. What isn't here ended the reply in a failure.
_STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_FAILED = frozenset({"malformed_model_output", "malformed_tool_use"})
#: Source: Converse, errors.
_EXCEPTIONS: dict[str, type[ApiError]] = {
    "AccessDeniedException": errors.Unauthorized,
    "InternalServerException": errors.InternalError,
    "ModelErrorException": UpstreamError,
    "ModelNotReadyException": errors.ModelNotReady,
    "ModelStreamErrorException": UpstreamError,
    "ModelTimeoutException": errors.DeadlineExceeded,
    "ResourceNotFoundException": errors.NotFound,
    "ServiceUnavailableException": errors.Unavailable,
    "ThrottlingException": errors.RateLimited,
    "ValidationException": errors.CallerError,
}


class _Tool(msgspec.Struct, frozen=True):
    toolUseId: str = ""  # noqa: N815 - the wire's name
    name: str = ""
    input: object = None


class _ReasoningText(msgspec.Struct, frozen=True):
    text: str = ""


class _Reasoning(msgspec.Struct, frozen=True):
    """Of a whole reply or of a stream."""

    reasoningText: _ReasoningText | None = None  # noqa: N815 - the wire's name
    text: str = ""


class _Block(msgspec.Struct, frozen=True):
    """A ContentBlock, ContentBlockStart or ContentBlockDelta: one of the three is there."""

    text: str = ""
    toolUse: _Tool | None = None  # noqa: N815 - the wire's name
    reasoningContent: _Reasoning | None = None  # noqa: N815 - the wire's name


class _Message(msgspec.Struct, frozen=True):
    content: tuple[_Block, ...] = ()


class _Output(msgspec.Struct, frozen=True):
    message: _Message | None = None


class _TokenUsage(msgspec.Struct, frozen=True, rename="camel"):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None

    def read(self) -> Usage:
        """Bedrock counts what the cache held beside the input, this API as a part of it."""
        cached = (self.cache_read_input_tokens or 0) + (self.cache_write_input_tokens or 0)
        return Usage(self.input_tokens + cached, self.output_tokens, self.cache_read_input_tokens)


class _Reply(msgspec.Struct, frozen=True, rename="camel"):
    output: _Output | None = None
    stop_reason: str | None = None
    usage: _TokenUsage | None = None
    message: str | None = None


class _AtBlock(msgspec.Struct, frozen=True, rename="camel"):
    content_block_index: int = 0
    start: _Block | None = None
    delta: _Block | None = None


class _Stop(msgspec.Struct, frozen=True, rename="camel"):
    stop_reason: str | None = None


class _Metadata(msgspec.Struct, frozen=True):
    usage: _TokenUsage | None = None


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """Source: ConverseStreamOutput; exceptions are its other members."""

    content_block_start: _AtBlock | None = None
    content_block_delta: _AtBlock | None = None
    content_block_stop: _AtBlock | None = None
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None
    exception: str | None = None
    message: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)
_EVENT = msgspec.json.Decoder(_Event)


class BedrockDialect(PartialWire):
    """The client's side of the wire."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions"}),
        parameters=_PARAMETERS,
        ranges={"temperature": (0, 1)},
        response_formats=frozenset({"text", "json_schema"}),
        modalities=frozenset({"text", "image", "audio"}),
        fetches_images=False,
        renames=_RENAMES,
    )

    def event_decoder(self) -> "_Events":
        return _Events()

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall:
        request = lifted(request, _PARAMETERS)
        operation = "converse-stream" if request.stream else "converse"
        return HttpCall(
            path=f"{target.base_path}/{operation}",
            headers={
                "accept": "application/vnd.amazon.eventstream"
                if request.stream
                else "application/json",
                "content-type": "application/json",
                **target.headers,
            },
            body=msgspec.json.encode(bedrock_request.write(request)),
        )

    def chat_reader(self) -> StreamReader[ChatDelta]:
        return _StreamReader()

    def read_chat(self, body: bytes) -> ChatCompletion:
        reply = decode_reply(_REPLY, body)
        if reply.output is None or reply.output.message is None:
            raise UpstreamError(f"The reply has no message. {reply.message or ''}".rstrip())
        blocks = reply.output.message.content
        calls = tuple(_read_call(block.toolUse) for block in blocks if block.toolUse)
        text = "".join(block.text for block in blocks)
        thoughts = (block.reasoningContent for block in blocks if block.reasoningContent)
        choice = ChatChoice(
            text=None if calls and not text else text,
            reasoning="".join(map(_thought, thoughts)) or None,
            tool_calls=calls,
            finish_reason=_read_stop(reply.stop_reason),
        )
        return ChatCompletion(choices=(choice,), usage=(reply.usage or _TokenUsage()).read())

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        # Source: AWS restJson1: the name may be followed by a colon and a URL, or stand in the
        # body after a namespace.
        stated = read_error(status, headers, body)
        name = headers.get("x-amzn-errortype", "").partition(":")[0] or _type_in(body)
        kind = _EXCEPTIONS.get(name.rpartition("#")[2])
        return stated if kind is None else kind(stated.message)


class _Events:
    """The stream's messages, each told as a member of the union."""

    def __init__(self) -> None:
        self._decoder = eventstream.Decoder()

    def feed(self, chunk: bytes) -> list[bytes]:
        return [_told(message) for message in self._decoder.feed(chunk)]

    def finish(self) -> list[bytes]:
        self._decoder.finish()
        return []


def _told(message: eventstream.Message) -> bytes:
    headers = message.headers
    match headers.get(":message-type"):
        case "event":
            event = msgspec.json.encode(headers.get(":event-type", ""))
            return b"{%b:%b}" % (event, message.payload or b"null")
        case "exception":
            name, said = headers.get(":exception-type"), _said_in(message.payload)
        case _:
            name, said = headers.get(":error-code"), headers.get(":error-message")
    return msgspec.json.encode({"exception": name or "unnamed", "message": said})


def _said_in(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Reply).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _TypeIn(msgspec.Struct, frozen=True):
    type: str = msgspec.field(default="", name="__type")


def _type_in(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_TypeIn).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _StreamReader:
    """Reads one reply. Not safe to share."""

    def __init__(self) -> None:
        #: Our index of a tool call by its block's, and which of them have arguments.
        self._calls: dict[int, int] = {}
        self._argued: set[int] = set()
        self._stopped = False

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        event = decode_reply(_EVENT, data)
        if event.exception is not None:
            raise _raised(event.exception, event.message)
        delta = self._read(event)
        return () if delta is None else (delta,)

    def finish(self) -> None:
        if not self._stopped:
            raise UpstreamError("The stream ended before its stop reason.")

    def _read(self, event: _Event) -> ChatDelta | None:
        if event.content_block_delta is not None:
            return self._said(event.content_block_delta)
        if event.content_block_start is not None:
            return self._started(event.content_block_start)
        if event.content_block_stop is not None:
            return self._ended(event.content_block_stop.content_block_index)
        if event.message_stop is not None:
            self._stopped = True
            return ChatDelta(finish_reason=_read_stop(event.message_stop.stop_reason))
        if event.metadata is not None and event.metadata.usage is not None:
            return ChatDelta(usage=event.metadata.usage.read())
        return None

    def _started(self, at: _AtBlock) -> ChatDelta | None:
        call = at.start.toolUse if at.start else None
        if call is None:
            return None
        place = self._calls[at.content_block_index] = len(self._calls)
        return ChatDelta(
            tool_calls=(ToolCallDelta(index=place, id=call.toolUseId, name=call.name),)
        )

    def _said(self, at: _AtBlock) -> ChatDelta | None:
        said = at.delta or _Block()
        if said.toolUse is not None:
            return self._argument(at.content_block_index, said.toolUse.input)
        thought = said.reasoningContent.text if said.reasoningContent else ""
        return ChatDelta(text=said.text, reasoning=thought) if said.text or thought else None

    def _argument(self, block: int, piece: object) -> ChatDelta | None:
        if block not in self._calls or not isinstance(piece, str):
            raise UpstreamError("The reply makes no sense: arguments of no tool call.")
        if not piece:
            return None
        self._argued.add(block)
        return ChatDelta(tool_calls=(ToolCallDelta(index=self._calls[block], arguments=piece),))

    def _ended(self, block: int) -> ChatDelta | None:
        """A call without arguments has the empty object, as in a whole reply."""
        if block not in self._calls or block in self._argued:
            return None
        return ChatDelta(tool_calls=(ToolCallDelta(index=self._calls[block], arguments="{}"),))


def _raised(name: str, message: str | None) -> ApiError:
    """The error that the stream states in the middle: its names begin with a small letter."""
    kind = _EXCEPTIONS.get(name[:1].upper() + name[1:], UpstreamError)
    return kind(message or "The stream ended in an error without a message.")


def _read_stop(reason: str | None) -> FinishReason:
    if reason is None or reason in _FAILED:
        raise UpstreamError(f"The provider ended its reply with the stop reason {reason!r}.")
    return _STOP_REASONS.get(reason, "stop")


def _read_call(call: _Tool) -> ToolCall:
    arguments = msgspec.json.encode({} if call.input is None else call.input).decode()
    return ToolCall(id=call.toolUseId, name=call.name, arguments=arguments)


def _thought(reasoning: _Reasoning) -> str:
    return reasoning.reasoningText.text if reasoning.reasoningText else ""
