"""What a caller says: messages, their content, tools and formats, as Microsoft names them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_origin, overload

from .enums import AudioContentFormat, ImageDetailLevel
from .mapped import Mapped, known, many, member, one


def _encoded(file: str) -> str:
    from pathlib import Path  # noqa: PLC0415 - takes longer to import than all of this

    return base64.b64encode(Path(file).read_bytes()).decode("ascii")


class ImageUrl(Mapped):
    """Where an image is: an address, or the image itself as a ``data:`` URL."""

    __slots__ = ()
    url: str = member()
    detail: str | ImageDetailLevel | None = known(ImageDetailLevel, default=None)

    @classmethod
    def load(
        cls, *, image_file: str, image_format: str, detail: str | ImageDetailLevel | None = None
    ) -> Self:
        """An image of this machine; ``image_format`` as in its MIME type: ``png``, ``jpeg``.

        Raises:
            FileNotFoundError: there is no such file.
        """
        url = f"data:image/{image_format};base64,{_encoded(image_file)}"
        return cls(url=url, detail=detail)


class InputAudio(Mapped):
    """Audio, in base64."""

    __slots__ = ()
    data: str = member()
    format: str | AudioContentFormat = known(AudioContentFormat)

    @classmethod
    def load(cls, *, audio_file: str, audio_format: str) -> Self:
        """Audio of this machine.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return cls(data=_encoded(audio_file), format=audio_format)


class ImageEmbeddingInput(Mapped):
    """An image to embed, and a text that belongs to it."""

    __slots__ = ()
    image: str = member()
    text: str | None = member(default=None)

    @classmethod
    def load(cls, *, image_file: str, image_format: str, text: str | None = None) -> Self:
        """An image of this machine; ``image_format`` as in its MIME type: ``png``, ``jpeg``.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return cls(image=f"data:image/{image_format};base64,{_encoded(image_file)}", text=text)


class ContentItem(Mapped):
    """A part of a message's content; its ``type`` says which."""

    __slots__ = ()
    _told_by = "type"
    type: str = member(init=False)


class TextContentItem(ContentItem):
    """A part that is text."""

    __slots__ = ()
    type: Literal["text"] = member(default="text", init=False)
    text: str = member()


class ImageContentItem(ContentItem):
    """A part that is an image."""

    __slots__ = ()
    type: Literal["image_url"] = member(default="image_url", init=False)
    image_url: ImageUrl = one(ImageUrl)


class AudioContentItem(ContentItem):
    """A part that is audio."""

    __slots__ = ()
    type: Literal["input_audio"] = member(default="input_audio", init=False)
    input_audio: InputAudio = one(InputAudio)


class FunctionCall(Mapped):
    """A function that the model calls; ``arguments`` are JSON that the model wrote."""

    __slots__ = ()
    name: str = member()
    arguments: str = member()


class FunctionDefinition(Mapped):
    """A function that the model may call; ``parameters`` are a JSON schema."""

    __slots__ = ()
    name: str = member()
    description: str | None = member(default=None)
    parameters: Any = member(default=None)


class ChatCompletionsToolCall(Mapped):
    """A call of a tool that the model asks for."""

    __slots__ = ()
    id: str = member()
    type: Literal["function"] = member(default="function", init=False)
    function: FunctionCall = one(FunctionCall)


class ChatCompletionsToolDefinition(Mapped):
    """A tool that the model may call."""

    __slots__ = ()
    type: Literal["function"] = member(default="function", init=False)
    function: FunctionDefinition = one(FunctionDefinition)


class ChatCompletionsNamedToolChoiceFunction(Mapped):
    """The name of the function that the model must call."""

    __slots__ = ()
    name: str = member()


class ChatCompletionsNamedToolChoice(Mapped):
    """A tool that the model must call."""

    __slots__ = ()
    type: Literal["function"] = member(default="function", init=False)
    function: ChatCompletionsNamedToolChoiceFunction = one(ChatCompletionsNamedToolChoiceFunction)


class JsonSchemaFormat(Mapped):
    """The JSON schema that an answer is to follow: written out, or that of a type.

    A type is a msgspec Struct, a dataclass, a TypedDict or a model of pydantic 2. Its schema is
    a strict one unless ``strict=False``, named and described as the type is unless that is said;
    ``interlingua.schemas.parse`` reads the answer back.
    """

    __slots__ = ()
    name: str = member()
    schema: dict[str, Any] = member()
    description: str | None = member(default=None)
    strict: bool | None = member(default=None)

    @overload
    def __init__(
        self,
        *,
        name: str,
        schema: dict[str, Any],
        description: str | None = None,
        strict: bool | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        kind: type,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool | None = None,
    ) -> None: ...
    @overload
    def __init__(self, mapping: Mapping[str, Any], /) -> None: ...
    def __init__(self, *args: Any, **members: Any) -> None:
        """Keep the members, or make those of a type.

        Raises:
            TypeError: the type has no schema, or it isn't that of an object.
        """
        if len(args) == 1 and (isinstance(args[0], type) or get_origin(args[0])):
            from interlingua.schemas import format_of  # noqa: PLC0415 - it needs msgspec

            said = {name: value for name, value in members.items() if value is not None}
            super().__init__(**format_of(args[0], **said))
        else:
            super().__init__(*args, **members)


Content = str | Sequence[ContentItem | Mapping[str, Any]]


class ChatRequestMessage(Mapped):
    """A message of a conversation; its ``role`` says whose."""

    __slots__ = ()
    _told_by = "role"
    #: As a plain text, as Microsoft's read.
    role: str = member()

    def _say(self, content: Any, members: dict[str, Any]) -> None:
        """``Kind("text")``, ``Kind(content=…)`` and ``Kind({…})``."""
        if isinstance(content, Mapping):
            Mapped.__init__(self, content, **members)
        else:
            Mapped.__init__(self, content=content, **members)


class SystemMessage(ChatRequestMessage):
    """What the model is told before the conversation."""

    __slots__ = ()
    role: str = member(default="system", init=False)
    content: str = member()

    @overload
    def __init__(self, content: str) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any]) -> None: ...
    def __init__(self, content: str | Mapping[str, Any]) -> None:
        self._say(content, {})


class DeveloperMessage(ChatRequestMessage):
    """A system message, as reasoning models name it."""

    __slots__ = ()
    role: str = member(default="developer", init=False)
    content: str = member()

    @overload
    def __init__(self, content: str) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any]) -> None: ...
    def __init__(self, content: str | Mapping[str, Any]) -> None:
        self._say(content, {})


class UserMessage(ChatRequestMessage):
    """What the user says: a text, or parts."""

    __slots__ = ()
    role: str = member(default="user", init=False)
    content: str | list[ContentItem] = many(ContentItem)

    @overload
    def __init__(self, content: Content) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any]) -> None: ...
    def __init__(self, content: Content | Mapping[str, Any]) -> None:
        self._say(content, {})


class AssistantMessage(ChatRequestMessage):
    """What the model said, or the calls of tools that it asked for."""

    __slots__ = ()
    role: str = member(default="assistant", init=False)
    content: str | None = member(default=None)
    tool_calls: list[ChatCompletionsToolCall] | None = many(ChatCompletionsToolCall, default=None)

    @overload
    def __init__(
        self,
        content: str | None = None,
        *,
        tool_calls: Sequence[ChatCompletionsToolCall] | None = None,
    ) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any]) -> None: ...
    def __init__(
        self,
        content: str | Mapping[str, Any] | None = None,
        *,
        tool_calls: Sequence[ChatCompletionsToolCall] | None = None,
    ) -> None:
        self._say(content, {} if tool_calls is None else {"tool_calls": tool_calls})


class ToolMessage(ChatRequestMessage):
    """What a tool answered."""

    __slots__ = ()
    role: str = member(default="tool", init=False)
    content: str | None = member(default=None)
    tool_call_id: str = member()

    @overload
    def __init__(self, content: str | None = None, *, tool_call_id: str) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any]) -> None: ...
    def __init__(
        self, content: str | Mapping[str, Any] | None = None, *, tool_call_id: str | None = None
    ) -> None:
        self._say(content, {} if tool_call_id is None else {"tool_call_id": tool_call_id})
