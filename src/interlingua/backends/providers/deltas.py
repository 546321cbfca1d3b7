"""What providers leave undone in their deltas, so that callers see one shape."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from interlingua.backends.engines.thinking import Thinking
from interlingua.types.chat import ChatDelta, ToolCallDelta


async def thoughts_apart(deltas: AsyncGenerator[ChatDelta]) -> AsyncGenerator[ChatDelta]:
    """The deltas with such thoughts as ``reasoning``; where there are none, as they are."""
    choices: dict[int, Thinking] = {}
    async with aclosing(deltas):
        async for delta in deltas:
            thinking = choices.setdefault(delta.index, Thinking(opened=False))
            thought, answer = thinking.feed(delta.text) if delta.text else ("", "")
            if delta.finish_reason or delta.tool_calls:
                held_thought, held_answer = thinking.finish()
                thought, answer = thought + held_thought, answer + held_answer
            said = replace(delta, text=answer, reasoning=delta.reasoning + thought)
            if said.speaks or said.usage or said.logprobs:
                yield said


class ToolCalls:
    """Gives each tool call of one reply an id, and a reply of calls its reason."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._choices: set[int] = set()

    def settle(self, delta: ChatDelta) -> ChatDelta:
        """The delta with what was missing."""
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
        return piece if piece.id else replace(piece, id=f"call_{secrets.token_hex(12)}")
