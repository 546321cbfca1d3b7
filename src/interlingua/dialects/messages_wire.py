"""Messages and their content parts: JSON as both wires spell it ↔ the neutral types.

Unknown members are ignored, unknown roles and kinds of parts are errors; a ``name`` is
accepted on every message (langchain sends it with tool results).
"""

from typing import Annotated, Literal, assert_never

import msgspec
from msgspec import Meta

from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    Content,
    DeveloperMessage,
    ImagePart,
    Message,
    Part,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

Detail = Literal["auto", "low", "high"]


class _ImageUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: Annotated[
        str,
        Meta(
            description="A data: URL; a remote one where the server's setting remote_images lists "
            "its host."
        ),
    ]
    detail: Detail | None = None


class _ImageData(msgspec.Struct, frozen=True, omit_defaults=True):
    data: str
    detail: Detail | None = None


class _AudioData(msgspec.Struct, frozen=True, omit_defaults=True):
    data: Annotated[str, Meta(description="Base64, without a prefix.")]
    format: str | None = None


class _AudioUrl(msgspec.Struct, frozen=True):
    url: str


class _Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class _Image(msgspec.Struct, frozen=True, tag="image_url"):
    image_url: _ImageUrl | str


class _RawImage(msgspec.Struct, frozen=True, tag="image"):
    """The container server's own kind of part (Azure: MaaP, ``image``)."""

    image: _ImageData | str


class _Audio(msgspec.Struct, frozen=True, tag="input_audio"):
    input_audio: _AudioData


class _RemoteAudio(msgspec.Struct, frozen=True, tag="audio_url"):
    audio_url: _AudioUrl | str


_Item = _Text | _Image | _RawImage | _Audio | _RemoteAudio
_Items = Annotated[tuple[_Item, ...], Meta(min_length=1)]


class _Function(msgspec.Struct, frozen=True):
    name: str
    arguments: Annotated[str, Meta(description="JSON, as text.")]


class ToolCallWire(msgspec.Struct, frozen=True, tag="function"):
    """A whole tool call, in a message or in a reply."""

    id: str
    function: _Function


class _System(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    """What the model is to be."""

    content: str | _Items


class _Developer(msgspec.Struct, frozen=True, tag_field="role", tag="developer"):
    """The same, as newer models of OpenAI name it."""

    content: str | _Items


class _User(msgspec.Struct, frozen=True, tag_field="role", tag="user", omit_defaults=True):
    """What was asked."""

    content: str | _Items
    name: str | None = None


class _Assistant(
    msgspec.Struct, frozen=True, tag_field="role", tag="assistant", omit_defaults=True
):
    """What the model answered."""

    content: str | tuple[_Item, ...] | None = None
    tool_calls: tuple[ToolCallWire, ...] | None = None
    reasoning_content: str | None = None
    name: str | None = None


class _Tool(msgspec.Struct, frozen=True, tag_field="role", tag="tool", omit_defaults=True):
    """What a tool returned."""

    content: str | tuple[_Item, ...] | None = None
    tool_call_id: Annotated[str | None, Meta(description="The call that this answers.")] = None


MessageWire = _System | _Developer | _User | _Assistant | _Tool


def read_message(wire: MessageWire) -> Message:
    match wire:
        case _User():
            return UserMessage(_read_content(wire.content), wire.name)
        case _Assistant():
            content = wire.content
            calls = wire.tool_calls
            return AssistantMessage(
                content if content is None else _read_content(content),
                tuple([read_tool_call(call) for call in calls]) if calls else (),
                wire.reasoning_content,
                wire.name,
            )
        case _System():
            return SystemMessage(_read_content(wire.content))
        case _Developer():
            return DeveloperMessage(_read_content(wire.content))
        case _Tool():
            content = wire.content
            return ToolMessage(
                content if content is None else _read_content(content), wire.tool_call_id
            )
        case _:
            assert_never(wire)


def write_message(message: Message) -> MessageWire:
    match message:
        case UserMessage():
            return _User(_write_content(message.content), message.name)
        case AssistantMessage():
            return _Assistant(
                content=None if message.content is None else _write_content(message.content),
                tool_calls=tuple(write_tool_call(call) for call in message.tool_calls) or None,
                reasoning_content=message.reasoning,
                name=message.name,
            )
        case SystemMessage():
            return _System(_write_content(message.content))
        case DeveloperMessage():
            return _Developer(_write_content(message.content))
        case ToolMessage():
            content = None if message.content is None else _write_content(message.content)
            return _Tool(content, message.tool_call_id)
        case _:
            assert_never(message)


def read_tool_call(wire: ToolCallWire) -> ToolCall:
    return ToolCall(id=wire.id, name=wire.function.name, arguments=wire.function.arguments)


def write_tool_call(call: ToolCall) -> ToolCallWire:
    return ToolCallWire(call.id, _Function(call.name, call.arguments))


def _read_content(wire: str | tuple[_Item, ...]) -> Content:
    return wire if isinstance(wire, str) else tuple(_read_part(item) for item in wire)


def _write_content(content: Content) -> str | tuple[_Item, ...]:
    return content if isinstance(content, str) else tuple(_write_part(part) for part in content)


def _read_part(item: _Item) -> Part:
    match item:
        case _Text():
            return TextPart(item.text)
        case _Image():
            image = item.image_url
            return (
                ImagePart(image) if isinstance(image, str) else ImagePart(image.url, image.detail)
            )
        case _RawImage():
            raw = item.image if isinstance(item.image, _ImageData) else _ImageData(item.image)
            return ImagePart(_as_url(raw.data), raw.detail)
        case _Audio():
            return AudioPart(item.input_audio.data, item.input_audio.format)
        case _RemoteAudio():
            url = item.audio_url
            return AudioPart(url=url if isinstance(url, str) else url.url)
        case _:
            assert_never(item)


def _write_part(part: Part) -> _Item:
    match part:
        case TextPart():
            return _Text(part.text)
        case ImagePart():
            return _Image(_ImageUrl(part.url, part.detail))
        case AudioPart(url=str(url)):
            return _RemoteAudio(_AudioUrl(url))
        case AudioPart():
            return _Audio(_AudioData(part.data or "", part.format))
        case _:
            assert_never(part)


def _as_url(data: str) -> str:
    """Bare base64 says nothing of its kind; whoever decodes it looks at the bytes."""
    if data.startswith(("data:", "https:", "http:")):
        return data
    return f"data:application/octet-stream;base64,{data}"
