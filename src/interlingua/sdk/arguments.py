"""The keywords of clients and calls, as types; the names are Microsoft's."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from .enums import ChatCompletionsToolChoicePreset, EmbeddingEncodingFormat, EmbeddingInputType
from .messages import (
    ChatCompletionsNamedToolChoice,
    ChatCompletionsToolDefinition,
    ChatRequestMessage,
    ImageEmbeddingInput,
    JsonSchemaFormat,
)
from .settings import CallSettings, ClientSettings

Messages = Sequence[ChatRequestMessage | Mapping[str, Any]]
Images = Sequence[ImageEmbeddingInput | Mapping[str, Any]]
ResponseFormat = Literal["text", "json_object"] | JsonSchemaFormat | Mapping[str, Any]
ToolChoice = str | ChatCompletionsToolChoicePreset | ChatCompletionsNamedToolChoice


class SamplingParameters(TypedDict, total=False):
    """What chats and texts share."""

    frequency_penalty: float | None
    presence_penalty: float | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: list[str] | None
    seed: int | None
    model: str | None
    model_extras: Mapping[str, Any] | None


class ChatParameters(SamplingParameters, total=False):
    """What a chat can be told, by its call or for all calls by its client."""

    response_format: ResponseFormat | None
    tools: Sequence[ChatCompletionsToolDefinition | Mapping[str, Any]] | None
    tool_choice: ToolChoice | Mapping[str, Any] | None


class CompletionsParameters(SamplingParameters, total=False):
    """What a text completion can be told."""

    n: int | None
    echo: bool | None
    suffix: str | None
    best_of: int | None
    logprobs: int | None


class EmbeddingsParameters(TypedDict, total=False):
    """What embeddings can be told."""

    dimensions: int | None
    encoding_format: str | EmbeddingEncodingFormat | None
    input_type: str | EmbeddingInputType | None
    model: str | None
    model_extras: Mapping[str, Any] | None


class ChatClientOptions(ChatParameters, ClientSettings, total=False):
    """The keywords of ``ChatCompletionsClient``."""


class ChatCall(ChatParameters, CallSettings, total=False):
    """The keywords of its ``complete``."""


class CompletionsClientOptions(CompletionsParameters, ClientSettings, total=False):
    """The keywords of ``CompletionsClient``."""


class CompletionsCall(CompletionsParameters, CallSettings, total=False):
    """The keywords of its ``complete``."""


class EmbeddingsClientOptions(EmbeddingsParameters, ClientSettings, total=False):
    """The keywords of ``EmbeddingsClient`` and ``ImageEmbeddingsClient``."""


class EmbeddingsCall(EmbeddingsParameters, CallSettings, total=False):
    """The keywords of their ``embed``."""
