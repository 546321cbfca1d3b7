"""Deltas ↔ a whole answer: a unary reply is the fold of a stream, so the two can't differ."""

from collections.abc import AsyncIterable, Iterable
from typing import Protocol, TypeVar

from .chat import (
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    FinishReason,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from .completions import Completion, CompletionChoice, CompletionDelta
from .usage import Usage

Delta_contra = TypeVar("Delta_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class Fold(Protocol[Delta_contra, Made_co]):
    """Gathers deltas into what they make."""

    def add(self, delta: Delta_contra) -> None: ...
    def done(self) -> Made_co: ...


class ChatFold:
    """Gathers the deltas of one chat completion, in order."""

    def __init__(self) -> None:
        self._choices: dict[int, _ChatChoice] = {}
        self._usage = Usage()

    def add(self, delta: ChatDelta) -> None:
        if delta.usage is not None:
            self._usage = delta.usage
            if not (delta.speaks or delta.logprobs):
                return
        choice = self._choices.get(delta.index)
        if choice is None:
            choice = self._choices[delta.index] = _ChatChoice()
        choice.add(delta)

    def done(self) -> ChatCompletion:
        """What the deltas so far make; the choices in the order of their index."""
        choices = tuple(self._choices[index].done(index) for index in sorted(self._choices))
        return ChatCompletion(choices=choices, usage=self._usage)


class CompletionFold:
    """Gathers the deltas of one text completion, in order."""

    def __init__(self) -> None:
        self._choices: dict[int, _TextChoice] = {}
        self._usage = Usage()

    def add(self, delta: CompletionDelta) -> None:
        if delta.usage is not None:
            self._usage = delta.usage
            if not (delta.speaks or delta.logprobs):
                return
        choice = self._choices.get(delta.index)
        if choice is None:
            choice = self._choices[delta.index] = _TextChoice()
        choice.add(delta)

    def done(self) -> Completion:
        """What the deltas so far make; the choices in the order of their index."""
        choices = tuple(self._choices[index].done(index) for index in sorted(self._choices))
        return Completion(choices=choices, usage=self._usage)


async def fold_chat(deltas: AsyncIterable[ChatDelta]) -> ChatCompletion:
    """The whole answer. Whoever made the generator closes it."""
    fold = ChatFold()
    async for delta in deltas:
        fold.add(delta)
    return fold.done()


async def fold_completion(deltas: AsyncIterable[CompletionDelta]) -> Completion:
    """The whole answer. Whoever made the generator closes it."""
    fold = CompletionFold()
    async for delta in deltas:
        fold.add(delta)
    return fold.done()


def folded(fold: Fold[Delta_contra, Made_co], deltas: Iterable[Delta_contra]) -> Made_co:
    """What the deltas make."""
    for delta in deltas:
        fold.add(delta)
    return fold.done()


class _ChatChoice:
    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._tool_calls: dict[int, _Call] = {}
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None

    def add(self, delta: ChatDelta) -> None:
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for piece in delta.tool_calls:
            call = self._tool_calls.get(piece.index)
            if call is None:
                call = self._tool_calls[piece.index] = _Call()
            call.add(piece)
        self._logprobs.extend(delta.logprobs)
        if delta.finish_reason is not None:
            self._finish_reason = delta.finish_reason

    def done(self, index: int) -> ChatChoice:
        text = "".join(self._text)
        return ChatChoice(
            index=index,
            text=None if self._tool_calls and not text else text,
            reasoning="".join(self._reasoning) or None,
            refusal="".join(self._refusal) or None,
            tool_calls=tuple(self._tool_calls[place].done() for place in sorted(self._tool_calls)),
            finish_reason=self._finish_reason,
            logprobs=tuple(self._logprobs),
        )


class _Call:
    def __init__(self) -> None:
        self._id = ""
        self._name = ""
        self._arguments: list[str] = []

    def add(self, piece: ToolCallDelta) -> None:
        self._id = self._id or piece.id or ""
        self._name = self._name or piece.name or ""
        self._arguments.append(piece.arguments)

    def done(self) -> ToolCall:
        return ToolCall(id=self._id, name=self._name, arguments="".join(self._arguments))


class _TextChoice:
    def __init__(self) -> None:
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None

    def add(self, delta: CompletionDelta) -> None:
        self._text.append(delta.text)
        self._logprobs.extend(delta.logprobs)
        if delta.finish_reason is not None:
            self._finish_reason = delta.finish_reason

    def done(self, index: int) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text="".join(self._text),
            finish_reason=self._finish_reason,
            logprobs=tuple(self._logprobs),
        )


def unfold_chat(completion: ChatCompletion) -> tuple[ChatDelta, ...]:
    """The deltas that make this answer: one a choice, then the usage."""
    deltas = [
        ChatDelta(
            index=choice.index,
            text=choice.text or "",
            reasoning=choice.reasoning or "",
            refusal=choice.refusal or "",
            tool_calls=tuple(
                ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments)
                for place, call in enumerate(choice.tool_calls)
            ),
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]
    return (*deltas, ChatDelta(usage=completion.usage))


def unfold_completion(completion: Completion) -> tuple[CompletionDelta, ...]:
    """The deltas that make this text: one a choice, then the usage."""
    deltas = [
        CompletionDelta(
            index=choice.index,
            text=choice.text,
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]
    return (*deltas, CompletionDelta(usage=completion.usage))
