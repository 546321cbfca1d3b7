"""A conversation in memory, and one answer as it is heard. Nothing is printed here."""

from collections.abc import Callable, Generator
from contextlib import closing

import msgspec

from interlingua.types.chat import (
    AssistantMessage,
    ChatDelta,
    ChatRequest,
    FinishReason,
    Message,
    SystemMessage,
    UserMessage,
)
from interlingua.types.usage import Usage


class Conversation:
    """The turns so far. ``template`` holds the parameters of every call."""

    def __init__(self, template: ChatRequest, system: str | None) -> None:
        self._template = template
        self.system = system
        self._turns: tuple[Message, ...] = ()

    def request(self, prompt: str) -> ChatRequest:
        """The call that asks this next; the conversation stays as it is until it's answered."""
        opening = (SystemMessage(self.system),) if self.system else ()
        messages = (*opening, *self._turns, UserMessage(prompt))
        return msgspec.structs.replace(self._template, messages=messages)

    def heard(self, prompt: str, text: str) -> None:
        """Keep one turn: what was asked and what was answered, without the reasoning."""
        self._turns = (*self._turns, UserMessage(prompt), AssistantMessage(text))

    def reset(self) -> None:
        """Forget every turn; the system message stays."""
        self._turns = ()


class Answer:
    """One answer, complete or as far as it came when hearing it was broken off."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None

    def hear(
        self, deltas: Generator[ChatDelta], show: Callable[[ChatDelta], None] | None = None
    ) -> None:
        """Collect the answer while it comes; however this ends, the call is closed.

        Raises:
            ApiError: the call failed.
        """
        with closing(deltas):
            for delta in deltas:
                self._text.append(delta.text or delta.refusal)
                self._reasoning.append(delta.reasoning)
                self.finish_reason = delta.finish_reason or self.finish_reason
                self.usage = delta.usage or self.usage
                if show is not None:
                    show(delta)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def json(self) -> str:
        """One line for a script. ``usage`` is null where the endpoint doesn't tell."""
        line: dict[str, object] = {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": self._counts(),
        }
        if self.reasoning:
            line["reasoning"] = self.reasoning
        return msgspec.json.encode(line).decode()

    def _counts(self) -> dict[str, int] | None:
        if self.usage is None:
            return None
        return {
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "total_tokens": self.usage.total_tokens,
        }
