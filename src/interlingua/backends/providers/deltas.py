"""What providers leave undone in their answers, so that callers see one shape."""

import secrets

from msgspec.structs import replace

from interlingua.backends.engines.thinking import Thinking
from interlingua.dialects.base import StreamReader
from interlingua.types.chat import ChatChoice, ChatCompletion, ChatDelta, ToolCallDelta


class Settling:
    """Reads one streamed chat as ``reader`` does, and settles its deltas: each tool call has
    an id, a reply of calls its reason, and thoughts stand apart if the model ``thinks``.
    """

    def __init__(self, reader: StreamReader[ChatDelta], *, thinks: bool) -> None:
        self._reader = reader
        #: By choice; ``None``: no thoughts are looked for.
        self._thinking: dict[int, Thinking] | None = {} if thinks else None
        self._seen: set[tuple[int, int]] = set()
        self._choices: set[int] = set()

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        return self.settle(self._reader.read(data))

    def finish(self) -> None:
        self._reader.finish()

    def settle(self, deltas: tuple[ChatDelta, ...]) -> tuple[ChatDelta, ...]:
        """The deltas with what was missing."""
        if self._thinking is not None:
            apart = [self._apart(delta, self._thinking) for delta in deltas]
            deltas = tuple(said for said in apart if said.speaks or said.usage or said.logprobs)
        for delta in deltas:
            if delta.tool_calls or delta.finish_reason:
                return tuple(map(self._settle, deltas))
        return deltas

    def _apart(self, delta: ChatDelta, choices: dict[int, Thinking]) -> ChatDelta:
        thinking = choices.get(delta.index)
        if thinking is None:
            thinking = choices[delta.index] = Thinking(opened=False)
        thought, answer = thinking.feed(delta.text) if delta.text else ("", "")
        if delta.finish_reason or delta.tool_calls:
            held_thought, held_answer = thinking.finish()
            thought, answer = thought + held_thought, answer + held_answer
        return replace(delta, text=answer, reasoning=delta.reasoning + thought)

    def _settle(self, delta: ChatDelta) -> ChatDelta:
        if delta.tool_calls:
            self._choices.add(delta.index)
            pieces = tuple(self._identified(delta.index, piece) for piece in delta.tool_calls)
            delta = replace(delta, tool_calls=pieces)
        if delta.finish_reason == "stop" and delta.index in self._choices:
            # Gemini's compatible API; OpenAI itself where tool_choice names the function.
            return replace(delta, finish_reason="tool_calls")
        return delta

    def _identified(self, choice: int, piece: ToolCallDelta) -> ToolCallDelta:
        call = (choice, piece.index)
        if call in self._seen:
            return replace(piece, id=None) if piece.id else piece
        self._seen.add(call)
        return piece if piece.id else replace(piece, id=_new_id())


def settled(completion: ChatCompletion, *, thinks: bool) -> ChatCompletion:
    """The whole answer as its deltas would have been told; ``thinks``: the model reasons, and
    may do so in its text.
    """
    if not any(choice.tool_calls or (thinks and choice.text) for choice in completion.choices):
        return completion
    choices = tuple(_settled(choice, thinks=thinks) for choice in completion.choices)
    return replace(completion, choices=choices)


def _settled(choice: ChatChoice, *, thinks: bool) -> ChatChoice:
    if choice.tool_calls:
        calls = tuple(
            call if call.id else replace(call, id=_new_id()) for call in choice.tool_calls
        )
        # Gemini's compatible API; OpenAI itself where tool_choice names the function.
        reason = "tool_calls" if choice.finish_reason == "stop" else choice.finish_reason
        choice = replace(choice, tool_calls=calls, finish_reason=reason)
    if not thinks or not choice.text:
        return choice
    thinking = Thinking(opened=False)
    thought, answer = map("".join, zip(thinking.feed(choice.text), thinking.finish(), strict=True))
    return replace(choice, text=answer, reasoning=(choice.reasoning or "") + thought or None)


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
