# mypy: disable-error-code="explicit-override"
# ruff: noqa: UP042 - `str()` of a `StrEnum` differs, and ported code may print these
# (typing has `override` from Python 3.12)
"""The names that the API gives to roles, formats and reasons, as Microsoft's enumerations."""

from enum import Enum, EnumMeta
from typing import Any


class _AnyCase(EnumMeta):
    """Members are found in any case, by attribute and by item, as azure-core's are."""

    def __getitem__(cls, name: str) -> Any:
        return super().__getitem__(name.upper())

    def __getattr__(cls, name: str) -> Any:
        try:
            return cls._member_map_[name.upper()]
        except KeyError as error:
            raise AttributeError(name) from error


class AudioContentFormat(str, Enum, metaclass=_AnyCase):
    """How audio is encoded."""

    WAV = "wav"
    MP3 = "mp3"


class ChatCompletionsToolChoicePreset(str, Enum, metaclass=_AnyCase):
    """Whether the model may, must not or must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class ChatRole(str, Enum, metaclass=_AnyCase):
    """Who a message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    DEVELOPER = "developer"


class CompletionsFinishReason(str, Enum, metaclass=_AnyCase):
    """Why an answer ended."""

    STOPPED = "stop"
    TOKEN_LIMIT_REACHED = "length"  # noqa: S105 - a reason
    CONTENT_FILTERED = "content_filter"
    TOOL_CALLS = "tool_calls"


class EmbeddingEncodingFormat(str, Enum, metaclass=_AnyCase):
    """How vectors are written."""

    BASE64 = "base64"
    BINARY = "binary"
    FLOAT = "float"
    INT8 = "int8"
    UBINARY = "ubinary"
    UINT8 = "uint8"


class EmbeddingInputType(str, Enum, metaclass=_AnyCase):
    """What a text to embed is for."""

    TEXT = "text"
    QUERY = "query"
    DOCUMENT = "document"


class ImageDetailLevel(str, Enum, metaclass=_AnyCase):
    """How closely a model looks at an image."""

    AUTO = "auto"
    LOW = "low"
    HIGH = "high"


class ModelType(str, Enum, metaclass=_AnyCase):
    """What a model does."""

    EMBEDDINGS = "embeddings"
    IMAGE_GENERATION = "image_generation"
    TEXT_GENERATION = "text_generation"
    IMAGE_EMBEDDINGS = "image_embeddings"
    AUDIO_GENERATION = "audio_generation"
    CHAT_COMPLETION = "chat_completion"
