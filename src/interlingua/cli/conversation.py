"""A conversation in memory, and one answer as it is heard. Nothing is printed here."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from interlingua.models import (
    AssistantMessage,
    ChatRequestMessage,
    CompletionsUsage,
    StreamingChatCompletions,
    StreamingChatCompletionsUpdate,
    SystemMessage,
    UserMessage,
)


class Conversation:
    """The turns so far."""

    def __init__(self, system: str | None) -> None:
        self.system = system
        self._turns: tuple[ChatRequestMessage, ...] = ()

    def messages(self, prompt: str) -> list[ChatRequestMessage]:
        """What asks this next; the conversation stays as it is until it's answered."""
        opening = (SystemMessage(self.system),) if self.system else ()
        return [*opening, *self._turns, UserMessage(prompt)]

    def heard(self, prompt: str, text: str) -> None:
        """Keep one turn: what was asked and what was answered, without the reasoning."""
        self._turns = (*self._turns, UserMessage(prompt), AssistantMessage(text))

    def reset(self) -> None:
        """Forget every turn; the system message stays."""
        self._turns = ()


class Piece(NamedTuple):
    """What one chunk of an answer adds."""

    text: str = ""
    reasoning: str = ""


class Answer:
    """One answer, complete or as far as it came when hearing it was broken off."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.finish_reason: str | None = None
        self.usage: CompletionsUsage | None = None

    def hear(
        self, updates: StreamingChatCompletions, show: Callable[[Piece], None] | None = None
    ) -> None:
        """Collect the answer while it comes; however this ends, the call is closed.

        Raises:
            AzureError: the call failed.
        """
        with updates:
            for update in updates:
                self.usage = update.usage or self.usage
                piece = self._take(update)
                if show is not None:
                    show(piece)

    def _take(self, update: StreamingChatCompletionsUpdate) -> Piece:
        if not update.choices:
            return Piece()
        choice = update.choices[0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta") or {}
        text = delta.get("content") or delta.get("refusal") or ""
        piece = Piece(text, delta.get("reasoning_content") or "")
        self._text.append(piece.text)
        self._reasoning.append(piece.reasoning)
        return piece

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
