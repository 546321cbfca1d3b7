"""A whole chat completion: :class:`ChatCompletion` ↔ JSON, and what streams share with it."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua.errors import UpstreamError
from interlingua.types.chat import ChatChoice, ChatCompletion, FinishReason, ToolCall

from .base import Reply
from .error_wire import read_stated
from .messages_wire import ToolCallWire, write_tool_call
from .reply_wire import (
    Envelope,
    LogprobsIn,
    LogprobsOut,
    UsageOut,
    UsageWire,
    decode_reply,
    encoded,
    envelope,
    read_finish,
    read_logprobs,
    read_usage,
    write_logprobs,
    write_usage,
)

#: How a model's reasoning stands inside ``content`` (Azure: api-version before 2025-04-01).
THINK = ("<think>", "\n", "\n", "</think>", "\n\n")


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: tuple[ToolCallWire, ...] | None
    reasoning_content: Annotated[
        str | UnsetType,
        Meta(description="From api-version 2025-04-01 on; before, as <think> within content."),
    ] = UNSET
    refusal: str | UnsetType = UNSET


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    message: _Message
    logprobs: LogprobsOut | None
    finish_reason: FinishReason | None


class ChatReply(Envelope, frozen=True, kw_only=True):
    """A whole answer."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: Sequence[_Choice] = ()
    usage: UsageOut = UsageOut()


class _PartIn(msgspec.Struct, frozen=True):
    """A part of a message's content. Mistral: ThinkChunk has a list of parts, others text."""

    text: str | None = None
    thinking: object = None

    @property
    def thought(self) -> str:
        return _texts(self.thinking, "text")


class _FunctionIn(msgspec.Struct, frozen=True):
    name: str | None = None
    #: Text; some providers send the object itself.
    arguments: str | dict[str, object] | None = None


def _texts(value: object, *members: str) -> str:
    """The text, or the texts of a list's objects, by the first member that is there."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    found = []
    for item in value:
        if isinstance(item, dict):
            texts = (item.get(member) for member in members)
            found.append(next((text for text in texts if isinstance(text, str)), ""))
    return "".join(found)


class CallIn(msgspec.Struct, frozen=True):
    """A tool call or a piece of one, as providers send it."""

    index: int | None = None
    id: str | None = None
    function: _FunctionIn | None = None

    @property
    def name(self) -> str | None:
        return self.function.name if self.function else None

    @property
    def arguments(self) -> str:
        arguments = self.function.arguments if self.function else None
        if isinstance(arguments, dict):
            return msgspec.json.encode(arguments).decode()
        return arguments or ""


class SaidIn(msgspec.Struct, frozen=True):
    """A message or a delta, as providers send it."""

    content: str | tuple[_PartIn, ...] | None = None
    reasoning_content: str | None = None
    #: The other names of it (vLLM, Groq, Cerebras, OpenRouter; Ollama; OpenRouter).
    reasoning: object = None
    thinking: object = None
    reasoning_details: object = None
    refusal: str | None = None
    tool_calls: tuple[CallIn, ...] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, tuple):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""

    @property
    def thoughts(self) -> str:
        """What was thought, by the first of its names: some providers send several."""
        if self.reasoning_content:
            return self.reasoning_content
        for named in (self.reasoning, self.thinking):
            if named and isinstance(named, str):
                return named
        if isinstance(self.content, tuple):
            return "".join(part.thought for part in self.content)
        return _texts(self.reasoning_details, "text", "summary")


class ChoiceIn(msgspec.Struct, frozen=True):
    """A choice of a reply or of a chunk, as providers send it."""

    index: int | None = 0
    message: SaidIn | None = None
    delta: SaidIn | None = None
    finish_reason: str | None = None
    logprobs: LogprobsIn | None = None


class ChatIn(msgspec.Struct, frozen=True):
    """A reply or a chunk, as providers send it: what isn't needed isn't looked at."""

    choices: tuple[ChoiceIn, ...] | None = None
    usage: UsageWire | None = None
    error: object = None


_DECODER = msgspec.json.Decoder(ChatIn)


def write_chat_reply(
    completion: ChatCompletion, reply: Reply, prefix: str, *, thinks_inline: bool
) -> bytes:
    """The reply's body; ``prefix`` is put before its id."""
    head = envelope(ChatReply, reply, prefix)
    choices = tuple(
        _write_choice(choice, thinks_inline=thinks_inline) for choice in completion.choices
    )
    return encoded(
        msgspec.structs.replace(head, choices=choices, usage=write_usage(completion.usage))
    )


def read_chat_reply(body: bytes) -> ChatCompletion:
    """A provider's whole answer.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    reply = decode_reply(_DECODER, body)
    if reply.error is not None:
        raise read_stated(reply.error)
    if not reply.choices:
        raise UpstreamError("The reply has no choices.")
    choices = tuple(_read_choice(choice, place) for place, choice in enumerate(reply.choices))
    usage = {"usage": read_usage(reply.usage)} if reply.usage else {}
    return ChatCompletion(choices=choices, **usage)


def _write_choice(choice: ChatChoice, *, thinks_inline: bool) -> _Choice:
    text = choice.text
    reasoning: str | UnsetType = choice.reasoning or UNSET
    if thinks_inline and choice.reasoning:
        begin, after, before, end, gap = THINK
        text = begin + after + choice.reasoning + before + end + gap + (text or "")
        reasoning = UNSET
    return _Choice(
        index=choice.index,
        message=_Message(
            content=text,
            tool_calls=tuple(write_tool_call(call) for call in choice.tool_calls) or None,
            reasoning_content=reasoning,
            refusal=choice.refusal or UNSET,
        ),
        logprobs=write_logprobs(choice.logprobs),
        finish_reason=choice.finish_reason,
    )


def _read_choice(wire: ChoiceIn, place: int) -> ChatChoice:
    said = wire.message or SaidIn()
    calls = tuple(
        ToolCall(id=call.id or "", name=call.name or "", arguments=call.arguments)
        for call in said.tool_calls or ()
    )
    text = said.text
    return ChatChoice(
        index=place if wire.index is None else wire.index,
        text=None if calls and not text else text,
        reasoning=said.thoughts or None,
        refusal=said.refusal or None,
        tool_calls=calls,
        finish_reason=read_finish(wire.finish_reason),
        logprobs=read_logprobs(wire.logprobs),
    )
