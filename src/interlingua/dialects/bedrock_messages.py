"""Messages as Amazon Bedrock's Converse takes them.

Source: Amazon Bedrock Runtime 2023-09-30: SystemContentBlock, Message, ContentBlock.

- What system and developer say stands apart, in order.
- Turns alternate, so neighbours of one role are one message; a tool's result is the user's turn.
- Empty texts are refused by it, and left out. So is a turn's reasoning, which it takes back only
  with a signature that this API has no place for.
"""

from collections.abc import Sequence
from typing import Any, Literal, assert_never

import msgspec

from interlingua.errors import InvalidValue, Location
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

from .data_url import Data, read_data_url

Block = dict[str, Any]
_IMAGES = frozenset({"png", "jpeg", "gif", "webp"})


def write(messages: Sequence[Message]) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system's blocks, and the turns.

    Raises:
        InvalidValue: names an image, audio or arguments that can't be sent.
    """
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        location: Location = ("body", "messages", place)
        match message:
            case SystemMessage() | DeveloperMessage():
                system += _write_content(message.content, location)
                continue
            case UserMessage():
                role, blocks = "user", _write_content(message.content, location)
            case AssistantMessage():
                role, blocks = "assistant", _write_assistant(message, location)
            case ToolMessage():
                role, blocks = "user", [_write_result(message, location)]
            case _:
                assert_never(message)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return system, turns


def have_tools(messages: Sequence[Message]) -> bool:
    """Whether tools were called or answered in them."""
    return any(
        isinstance(message, ToolMessage)
        or (isinstance(message, AssistantMessage) and bool(message.tool_calls))
        for message in messages
    )


def _write_assistant(message: AssistantMessage, location: Location) -> list[Block]:
    said = _write_content(message.content, location) if message.content else []
    return said + [
        _write_call(call, (*location, "tool_calls", number))
        for number, call in enumerate(message.tool_calls)
    ]


def _write_call(call: ToolCall, location: Location) -> Block:
    place = (*location, "function", "arguments")
    try:
        arguments: object = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue("This provider takes arguments as JSON only.", location=place) from error
    if not isinstance(arguments, dict):
        raise InvalidValue("This provider takes arguments as an object only.", location=place)
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": arguments}}


def _write_result(message: ToolMessage, location: Location) -> Block:
    content = _write_content(message.content, location) if message.content else []
    return {"toolResult": {"toolUseId": message.tool_call_id or "", "content": content}}


def _write_content(content: Content, location: Location) -> list[Block]:
    if isinstance(content, str):
        return [{"text": content}] if content.strip() else []
    blocks = (
        _write_part(part, (*location, "content", number)) for number, part in enumerate(content)
    )
    return [block for block in blocks if block]


def _write_part(part: Part, location: Location) -> Block | None:
    match part:
        case TextPart():
            return {"text": part.text} if part.text.strip() else None
        case ImagePart():
            place = (*location, "image_url", "url")
            image = read_data_url(part.url, place)
            kind = image.media_type.removeprefix("image/")
            if kind not in _IMAGES:
                raise InvalidValue(
                    f"This provider takes images as {', '.join(sorted(_IMAGES))}.",
                    location=place,
                    value=image.media_type[:100],
                )
            return _media("image", kind, image.data)
        case AudioPart():
            audio = _audio(part, location)
            return _media("audio", audio.media_type.removeprefix("audio/"), audio.data)
        case _:
            assert_never(part)


def _media(kind: Literal["image", "audio"], form: str, data: str) -> Block:
    return {kind: {"format": form, "source": {"bytes": data}}}


def _audio(part: AudioPart, location: Location) -> Data:
    if part.url is not None:
        return read_data_url(part.url, (*location, "audio_url", "url"))
    return Data(part.format or "wav", part.data or "")
