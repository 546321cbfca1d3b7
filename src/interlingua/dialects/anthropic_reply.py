"""Replies of Anthropic's Messages API, whole and streamed, and its errors.

Sources: Claude API reference, *Create a Message*, *Streaming messages*, *Handling stop
reasons*, *Errors*.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from interlingua import errors
from interlingua.errors import ApiError, CallerError, Location, UpstreamError
from interlingua.types.chat import ChatCompletion, ChatDelta, FinishReason, ToolCallDelta
from interlingua.types.chat_fold import ChatFold
from interlingua.types.usage import Usage

from . import error_wire
from .native_wire import failure
from .reply_wire import decode_reply

#: Anything else that ends a turn is a stop.
_FINISH_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_KINDS: dict[str, type[ApiError]] = {
    "authentication_error": errors.Unauthorized,
    "permission_error": errors.Unauthorized,
    "billing_error": errors.Unauthorized,
    "not_found_error": errors.NotFound,
    "request_too_large": errors.BodyTooLarge,
    "rate_limit_error": errors.RateLimited,
    "timeout_error": errors.DeadlineExceeded,
    "api_error": errors.InternalError,
    "overloaded_error": errors.Unavailable,
}
_OVERLOADED = 529

#: How a message names the field at fault: ``temperature: …``, ``messages.0.content: …``.
_PLACE = re.compile(r"([a-z][a-z_]{1,63})((?:\.\w{1,64}){0,16}): ")
#: Our names of the fields that we write under others.
_NAMES = {
    "stop_sequences": "stop",
    "system": "messages",
    "output_config.format": "response_format",
    "output_config.effort": "reasoning_effort",
}


class _ThinkingTokens(msgspec.Struct, frozen=True):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _ThinkingTokens | None = None


class _StopDetails(msgspec.Struct, frozen=True):
    explanation: str | None = None


class _Block(msgspec.Struct, frozen=True):
    """A content block; those of other types than text, thinking and tool_use say nothing."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class _Delta(msgspec.Struct, frozen=True):
    """A piece of a block, or the end of the message. Signatures say nothing to our caller."""

    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class _Message(msgspec.Struct, frozen=True):
    content: tuple[_Block, ...] | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None
    error: object = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta = _Delta()
    usage: _Usage | None = None
    error: object = None


_MESSAGE = msgspec.json.Decoder(_Message)
_EVENT = msgspec.json.Decoder(_Event)


class MessageReader:
    """Reads the events of one streamed reply. Not safe to share."""

    def __init__(self) -> None:
        self._end = _End()
        #: The tool calls' places among each other, by the index of their content block.
        self._calls: dict[int, int] = {}
        #: The arguments that a tool call began with, until a piece of them comes.
        self._begun: dict[int, str] = {}
        self._stopped = False

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        if data == b"[DONE]":
            return ()
        event = decode_reply(_EVENT, data)
        match event.type:
            case "content_block_delta":
                delta = self._piece(event.index, event.delta)
            case "content_block_start" if event.content_block is not None:
                delta = self._start(event.index, event.content_block)
            case "content_block_stop" if event.index in self._begun:
                delta = self._call(event.index, self._begun.pop(event.index))
            case "message_start" if event.message is not None:
                self._end.see(event.message)
                return ()
            case "message_delta":
                self._end.see(event.delta, event.usage)
                return ()
            case "message_stop":
                self._stopped = True
                return (self._end.delta(),)
            case "error":
                raise read_stated(event.error)
            case _:
                # ping, and what the API's versioning policy lets come later.
                return ()
        return (delta,) if delta.speaks else ()

    def finish(self) -> None:
        if not self._stopped:
            raise UpstreamError("The stream ended before its message_stop.")

    def _start(self, index: int, block: _Block) -> ChatDelta:
        if block.type == "tool_use":
            place = self._calls.setdefault(index, len(self._calls))
            self._begun[index] = bytes(block.input).decode(errors="replace")
            return _called(ToolCallDelta(index=place, id=block.id, name=block.name))
        return _told(block)

    def _piece(self, index: int, delta: _Delta) -> ChatDelta:
        if delta.partial_json:
            self._begun.pop(index, None)
            return self._call(index, delta.partial_json)
        return ChatDelta(text=delta.text, reasoning=delta.thinking)

    def _call(self, index: int, arguments: str) -> ChatDelta:
        place = self._calls.get(index)
        if place is None:  # a tool that the provider runs itself
            return ChatDelta()
        return _called(ToolCallDelta(index=place, arguments=arguments))


class _End:
    """Gathers how a message ended and what it used; counts are cumulative."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._refusal = ""
        self._counts: dict[str, int] = {}

    def see(self, end: "_Delta | _Message", usage: _Usage | None = None) -> None:
        self._reason = end.stop_reason or self._reason
        if end.stop_details is not None:
            self._refusal = end.stop_details.explanation or ""
        usage = usage or (end.usage if isinstance(end, _Message) else None)
        if usage is None:
            return
        for name in usage.__struct_fields__:
            count = getattr(usage, name)
            if isinstance(count, _ThinkingTokens):
                count = count.thinking_tokens
            if count is not None:
                self._counts[name] = count

    def delta(self) -> ChatDelta:
        if self._reason is None:
            raise UpstreamError("The reply ended without a stop_reason.")
        return ChatDelta(
            refusal=self._refusal if self._reason == "refusal" else "",
            finish_reason=_FINISH_REASONS.get(self._reason, "stop"),
            usage=self._usage(),
        )

    def _usage(self) -> Usage:
        # What the cache took and gave is not among the input tokens.
        count = self._counts.get
        cached = count("cache_read_input_tokens")
        prompt = count("input_tokens", 0) + count("cache_creation_input_tokens", 0) + (cached or 0)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=count("output_tokens", 0),
            cached_tokens=cached,
            reasoning_tokens=count("output_tokens_details"),
        )


def read_message(body: bytes) -> ChatCompletion:
    """A whole answer.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    message = decode_reply(_MESSAGE, body)
    if message.error is not None:
        raise read_stated(message.error)
    if message.content is None:
        raise UpstreamError("The reply has no content.")
    fold, calls = ChatFold(), 0
    for block in message.content:
        if block.type == "tool_use":
            arguments = bytes(block.input).decode(errors="replace")
            call = ToolCallDelta(index=calls, id=block.id, name=block.name, arguments=arguments)
            fold.add(_called(call))
            calls += 1
        else:
            fold.add(_told(block))
    end = _End()
    end.see(message)
    fold.add(end.delta())
    return fold.done()


def _told(block: _Block) -> ChatDelta:
    match block.type:
        case "text":
            return ChatDelta(text=block.text)
        case "thinking":
            return ChatDelta(reasoning=block.thinking)
        case _:
            return ChatDelta()


def _called(piece: ToolCallDelta) -> ChatDelta:
    return ChatDelta(tool_calls=(piece,))


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that a reply states. Never raises."""
    try:
        payload: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = None
    error = payload.get("error") if isinstance(payload, dict) else None
    stated = _typed(error)
    if stated is not None:
        return stated
    told = error_wire.read_error(status, headers, body)
    if status == _OVERLOADED:
        return failure(errors.Unavailable, told.message)
    told.location = told.location or _place(told.message)
    return told


def read_stated(error: object) -> ApiError:
    """The error inside a stream, or in a reply with status 200."""
    stated = _typed(error)
    if stated is not None:
        return stated
    told = error_wire.read_stated(error)
    if isinstance(error, dict) and error.get("type") == "invalid_request_error":
        return CallerError(told.message, location=_place(told.message))
    return told


def _typed(error: object) -> ApiError | None:
    """The error by its type; ``None`` where the status tells more."""
    if not isinstance(error, dict):
        return None
    kind = _KINDS.get(str(error.get("type")))
    if kind is None:
        return None
    message = str(error.get("message") or "The provider gave no reason.")
    place = _place(message)
    if kind is errors.NotFound and place == ("body", "model"):
        kind = errors.UnknownModel
    return failure(kind, message, place)


def _place(message: str) -> Location:
    """The parameter that a message begins with, by our name of it."""
    found = _PLACE.match(message)
    if found is None:
        return ()
    whole, name = found[1] + found[2], found[1]
    ours = next((ours for theirs, ours in _NAMES.items() if whole.startswith(theirs)), name)
    return ("body", ours)
