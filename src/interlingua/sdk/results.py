# mypy: disable-error-code="explicit-override"
# (typing has `override` from Python 3.12)
"""What a model answers: completions, vectors and their usage, as Microsoft names them."""

import json
from datetime import datetime

from .changes import Changes
from .enums import ChatRole, CompletionsFinishReason, ModelType
from .mapped import Mapped, known, many, member, moment, one
from .messages import ChatCompletionsToolCall, FunctionCall


class Result(Mapped):
    """A whole reply. ``changes`` says what the server changed in the request, if anything."""

    __slots__ = ("_changes",)

    @property
    def changes(self) -> Changes:
        """From the header ``x-interlingua-changes``; empty where another server answered."""
        return getattr(self, "_changes", None) or Changes()

    def note(self, changes: Changes | None) -> None:
        self._changes = changes

    def __str__(self) -> str:
        return json.dumps(self.as_dict(), indent=2)


class CompletionsUsage(Mapped):
    """What an answer cost, in tokens."""

    __slots__ = ()
    completion_tokens: int = member()
    prompt_tokens: int = member()
    total_tokens: int = member()


class ChatResponseMessage(Mapped):
    """What the model says. ``reasoning_content`` is what it thought before, where it tells."""

    __slots__ = ()
    role: str | ChatRole = known(ChatRole)
    content: str = member()
    tool_calls: list[ChatCompletionsToolCall] | None = many(ChatCompletionsToolCall, default=None)
    reasoning_content: str | None = member(default=None)


class ChatChoice(Mapped):
    """One of the answers that were asked for."""

    __slots__ = ()
    index: int = member()
    finish_reason: str | CompletionsFinishReason = known(CompletionsFinishReason)
    message: ChatResponseMessage = one(ChatResponseMessage)


class ChatCompletions(Result):
    """The whole answer to a chat."""

    __slots__ = ()
    id: str = member()
    created: datetime = moment()
    model: str = member()
    choices: list[ChatChoice] = many(ChatChoice)
    usage: CompletionsUsage = one(CompletionsUsage)


class StreamingChatResponseToolCallUpdate(Mapped):
    """A piece of a call of a tool; ``index`` says of which."""

    __slots__ = ()
    id: str = member()
    function: FunctionCall = one(FunctionCall)
    index: int | None = member(default=None)


class StreamingChatResponseMessageUpdate(Mapped):
    """A piece of what the model says."""

    __slots__ = ()
    role: str | ChatRole | None = known(ChatRole, default=None)
    content: str | None = member(default=None)
    tool_calls: list[StreamingChatResponseToolCallUpdate] | None = many(
        StreamingChatResponseToolCallUpdate, default=None
    )
    reasoning_content: str | None = member(default=None)


class StreamingChatChoiceUpdate(Mapped):
    """A piece of one of the answers."""

    __slots__ = ()
    index: int = member()
    finish_reason: str | CompletionsFinishReason | None = known(CompletionsFinishReason)
    delta: StreamingChatResponseMessageUpdate = one(StreamingChatResponseMessageUpdate)


class StreamingChatCompletionsUpdate(Mapped):
    """A chunk of a streamed chat."""

    __slots__ = ()
    id: str = member()
    created: datetime = moment()
    model: str = member()
    choices: list[StreamingChatChoiceUpdate] = many(StreamingChatChoiceUpdate)
    usage: CompletionsUsage | None = one(CompletionsUsage, default=None)


class CompletionChoice(Mapped):
    """One of the texts that were asked for; in a stream, a piece of it."""

    __slots__ = ()
    index: int = member()
    text: str = member()
    finish_reason: str | CompletionsFinishReason | None = known(CompletionsFinishReason)


class Completions(Result):
    """The whole answer to a prompt."""

    __slots__ = ()
    id: str = member()
    created: datetime = moment()
    model: str = member()
    choices: list[CompletionChoice] = many(CompletionChoice)
    usage: CompletionsUsage = one(CompletionsUsage)


class StreamingCompletionsUpdate(Mapped):
    """A chunk of a streamed text."""

    __slots__ = ()
    id: str = member()
    created: datetime = moment()
    model: str = member()
    choices: list[CompletionChoice] = many(CompletionChoice)
    usage: CompletionsUsage | None = one(CompletionsUsage, default=None)


class EmbeddingsUsage(Mapped):
    """What vectors cost, in tokens."""

    __slots__ = ()
    prompt_tokens: int = member()
    total_tokens: int = member()


class EmbeddingItem(Mapped):
    """One vector: numbers, or base64 of them where that was asked for."""

    __slots__ = ()
    embedding: str | list[float] = member()
    index: int = member()


class EmbeddingsResult(Result):
    """The vectors of what was embedded, in its order."""

    __slots__ = ()
    id: str = member()
    data: list[EmbeddingItem] = many(EmbeddingItem)
    usage: EmbeddingsUsage = one(EmbeddingsUsage)
    model: str = member()


class ModelInfo(Result):
    """What an endpoint's model is."""

    __slots__ = ()
    model_name: str = member()
    model_type: str | ModelType = known(ModelType)
    model_provider_name: str = member()

    def __str__(self) -> str:
        return repr(self)


class ServedModel(Mapped):
    """A name that calls may route by."""

    __slots__ = ()
    id: str = member()
    owned_by: str | None = member(default=None)


class ModelList(Result):
    """The models that a server has."""

    __slots__ = ()
    data: list[ServedModel] = many(ServedModel)
