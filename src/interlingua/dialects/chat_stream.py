"""A streamed chat completion: :class:`ChatDelta` ↔ the data of server-sent events.

Rules of this file:
- The role comes in a choice's first event, alone with empty content; every later event that
  is no tool call has string content (Azure: recorded streams).
- A tool call's id and name come once, with its first piece, and every piece has an index.
- The common delta, plain text, costs one encoded string between two prepared halves.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from interlingua.sse import DONE
from interlingua.types.chat import ChatDelta, FinishReason, ToolCallDelta

from .chat_reply import THINK, CallIn, ChatIn, ChoiceIn
from .error_wire import read_stated
from .reply_wire import (
    Ends,
    Envelope,
    LogprobsOut,
    Tail,
    decode_reply,
    event,
    read_finish,
    read_logprobs,
    write_logprobs,
)

#: ``[DONE]``, and some white space.
_LONGEST_DONE = 16

_encode_text = msgspec.json.Encoder().encode
_DECODER = msgspec.json.Decoder(ChatIn | None)


class _Function(msgspec.Struct, frozen=True):
    name: str | UnsetType
    arguments: str


class _Call(msgspec.Struct, frozen=True):
    """A piece of a call: those of one index belong together, and their arguments are joined."""

    index: int
    id: str | UnsetType
    type: Literal["function"] | UnsetType
    function: _Function


class _Delta(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    tool_calls: tuple[_Call, ...] | UnsetType = UNSET


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    delta: _Delta
    logprobs: LogprobsOut | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(Envelope, frozen=True, kw_only=True):
    """The data of one event. On the Azure AI inference paths the last one with a choice has
    the usage; on the others a chunk without choices has it, where `include_usage` asked.
    """

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: Sequence[_Choice] = ()


class ChatStreamWriter:
    """Writes one reply. Not safe to share."""

    def __init__(self, head: Envelope, tail: Tail, *, thinks_inline: bool) -> None:
        self._head = head
        self._tail = tail
        self._thinks_inline = thinks_inline
        #: What stands around the text, for each choice that a text can go on at once.
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._spoke: set[int] = set()
        self._thinking: set[int] = set()
        self._reasoned: set[int] = set()

    def write(self, delta: ChatDelta) -> bytes:
        around = self._around.get(delta.index)
        if (
            around is None
            or not delta.text
            or delta.finish_reason
            or delta.tool_calls
            or delta.reasoning
            or delta.logprobs
            or delta.usage
            or delta.refusal
        ):
            return self._write(delta)
        return around[0] + _encode_text(delta.text) + around[1]

    def finish(self) -> bytes:
        return self._tail.release() + DONE

    def _write(self, delta: ChatDelta) -> bytes:
        parts: list[bytes] = []
        if delta.speaks or delta.logprobs:
            parts.append(self._tail.release())
            if delta.index not in self._spoke:
                self._spoke.add(delta.index)
                parts.append(self._event(delta.index, _Delta(role="assistant", content="")))
            if delta.reasoning:
                parts.append(self._reasoning(delta))
            if delta.text or delta.refusal or delta.tool_calls or delta.logprobs:
                parts.append(self._said(delta))
            if delta.finish_reason:
                parts.append(self._finished(delta))
        if delta.usage is not None:
            parts.append(self._tail.settle(delta.usage))
        return b"".join(parts)

    def _reasoning(self, delta: ChatDelta) -> bytes:
        index = delta.index
        self._reasoned.add(index)
        if not self._thinks_inline:
            return self._event(index, _Delta(reasoning_content=delta.reasoning, content=""))
        begin, after = "", ""
        if index not in self._thinking:
            self._thinking.add(index)
            self._around.pop(index, None)
            begin, after = THINK[:2]
        opening = self._event(index, _Delta(content=begin)) if begin else b""
        return opening + self._event(index, _Delta(content=after + delta.reasoning))

    def _thought(self, index: int) -> bytes:
        """The end of the thinking in ``content``, as the service's own tokens cut it."""
        if index not in self._thinking:
            return b""
        self._thinking.discard(index)
        return b"".join(self._event(index, _Delta(content=text)) for text in THINK[2:])

    def _said(self, delta: ChatDelta) -> bytes:
        index = delta.index
        calls = tuple(_write_call(piece) for piece in delta.tool_calls)
        logprobs = write_logprobs(delta.logprobs)
        said = _Delta(
            content=None if calls and not delta.text else delta.text,
            refusal=delta.refusal or UNSET,
            tool_calls=calls or UNSET,
        )
        if delta.text or delta.refusal or calls:
            ending = self._thought(index)
            if index not in self._around:
                self._around[index] = self._halves(index)
        else:
            # Only logprobs, those of the reasoning or of a part of a character.
            ending = b""
        return ending + self._event(index, said, logprobs)

    def _finished(self, delta: ChatDelta) -> bytes:
        index = delta.index
        said = _Delta(
            content="",
            reasoning_content="" if index in self._reasoned and not self._thinks_inline else UNSET,
        )
        ending = self._thought(index)
        # What follows must first release the chunk that is held back.
        self._around.clear()
        choice = _Choice(index=index, delta=said, finish_reason=delta.finish_reason)
        return ending + self._tail.hold(msgspec.structs.replace(self._head, choices=(choice,)))

    def _event(self, index: int, delta: _Delta, logprobs: LogprobsOut | None = None) -> bytes:
        choice = _Choice(index=index, delta=delta, logprobs=logprobs)
        return event(msgspec.structs.replace(self._head, choices=(choice,)))

    def _halves(self, index: int) -> tuple[bytes, bytes]:
        before, mark, after = self._event(index, _Delta(content="")).partition(b'"content":""')
        return before + mark[:-2], after


class ChatStreamReader:
    """Reads one reply. Not safe to share."""

    def __init__(self) -> None:
        self._calls: dict[int, _Slots] = {}
        self._ends = Ends()

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        if len(data) < _LONGEST_DONE and data.strip() in {b"[DONE]", b""}:
            return ()
        chunk = decode_reply(_DECODER, data)
        if chunk is None:
            return ()
        if chunk.error is not None:
            raise read_stated(chunk.error)
        text = self._plain_text(chunk)
        if text:
            return (ChatDelta(text=text),)
        deltas = [delta for choice in chunk.choices or () if (delta := self._read(choice))]
        usage = self._ends.usage(chunk.usage, alone=not chunk.choices)
        if usage is not None and deltas:
            deltas[-1] = msgspec.structs.replace(deltas[-1], usage=usage)
        elif usage is not None:
            deltas.append(ChatDelta(usage=usage))
        return tuple(deltas)

    def finish(self) -> None:
        self._ends.check()

    def _plain_text(self, chunk: ChatIn) -> str:
        """The text of a chunk that brings nothing else, as nearly every one does."""
        choices = chunk.choices
        if not choices or len(choices) > 1 or chunk.usage is not None:
            return ""
        choice = choices[0]
        said = choice.delta
        if (
            said is None
            or type(said.content) is not str
            or choice.index
            or choice.finish_reason
            or choice.logprobs is not None
            or said.tool_calls
            or said.refusal
            or said.reasoning_content
            or said.reasoning
            or said.thinking
            or said.reasoning_details
        ):
            return ""
        self._ends.see(0, None)
        return said.content

    def _read(self, choice: ChoiceIn) -> ChatDelta | None:
        """The delta of a choice; ``None`` where it says nothing, as with the role alone."""
        index = choice.index or 0
        said = choice.delta or choice.message
        reason = read_finish(choice.finish_reason)
        self._ends.see(index, reason)
        logprobs = read_logprobs(choice.logprobs)
        if said is None:
            if not reason and not logprobs:
                return None
            return ChatDelta(index=index, finish_reason=reason, logprobs=logprobs)
        pieces: tuple[ToolCallDelta, ...] = ()
        if said.tool_calls:
            slots = self._calls.setdefault(index, _Slots())
            pieces = tuple(slots.read(call) for call in said.tool_calls)
        delta = ChatDelta(
            index=index,
            text=said.text,
            reasoning=said.thoughts,
            refusal=said.refusal or "",
            tool_calls=pieces,
            finish_reason=reason,
            logprobs=logprobs,
        )
        return delta if delta.speaks or logprobs else None


class _Slots:
    """Tells the tool calls of one choice apart, by index, by id, or by order alone."""

    def __init__(self) -> None:
        #: Our index by the provider's.
        self._by_index: dict[int, int] = {}
        self._ids: list[str | None] = []
        self._named: list[bool] = []
        self._arguments: list[list[str]] = []

    def read(self, call: CallIn) -> ToolCallDelta:
        place = self._place(call)
        if place is None:
            place = len(self._ids)
            self._ids.append(None)
            self._named.append(False)
            self._arguments.append([])
            if call.index is not None:
                self._by_index[call.index] = place
        # Some providers repeat both with every piece.
        new_id = call.id if call.id and self._ids[place] is None else None
        new_name = call.name if call.name and not self._named[place] else None
        self._ids[place] = self._ids[place] or new_id
        self._named[place] = self._named[place] or new_name is not None
        self._arguments[place].append(call.arguments)
        return ToolCallDelta(index=place, id=new_id, name=new_name, arguments=call.arguments)

    def _place(self, call: CallIn) -> int | None:
        """The call that this piece goes on, or ``None`` for a new one."""
        if call.index is None:
            if call.id:
                return self._ids.index(call.id) if call.id in self._ids else None
            last = len(self._ids) - 1
            return last if self._ids and not self._is_next(last, call) else None
        place = self._by_index.get(call.index)
        if place is not None and (self._has_another_id(place, call) or self._is_next(place, call)):
            return None
        return place

    def _has_another_id(self, place: int, call: CallIn) -> bool:
        return bool(call.id) and self._ids[place] not in {None, call.id}

    def _is_next(self, place: int, call: CallIn) -> bool:
        """Whether a piece without an id that is named again follows a whole call (Gemini)."""
        if call.id or not call.name or not call.arguments or not self._named[place]:
            return False
        return _is_whole("".join(self._arguments[place]))


def _is_whole(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _write_call(piece: ToolCallDelta) -> _Call:
    return _Call(
        piece.index,
        piece.id or UNSET,
        "function" if piece.id else UNSET,
        _Function(piece.name or UNSET, piece.arguments),
    )
