"""A chat as a request to Anthropic's Messages API.

Sources: Claude API reference, *Create a Message*; *Parallel tool use* (all results of one
turn in one message); *Structured outputs*; *Effort*.
"""

import re
from collections.abc import Sequence
from typing import Any, assert_never

from interlingua.errors import InvalidValue
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    Content,
    DeveloperMessage,
    ImagePart,
    JsonSchemaFormat,
    Message,
    NamedTool,
    Part,
    SystemMessage,
    TextPart,
    Tool,
    ToolMessage,
    UserMessage,
)
from interlingua.types.explain import wrong

from .native_wire import arguments_of, inline, is_data, only_text, part_of

#: The wire knows no call without a limit. Every model since Claude 3.5 takes this one.
DEFAULT_MAX_TOKENS = 8192

#: What an id of a tool call may not hold; other providers' ids do.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def write_chat(request: ChatRequest, model: str | None) -> dict[str, Any]:
    """The body's fields.

    Raises:
        InvalidValue: a message can't be said on this wire.
    """
    system, turns = _turns(request.messages)
    limit = request.max_tokens
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": limit if isinstance(limit, int) else DEFAULT_MAX_TOKENS,
        "messages": turns,
        "stream": request.stream or None,
        "system": [{"type": "text", "text": text} for text in system] or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request),
        "output_config": _output_config(request) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _turns(messages: Sequence[Message]) -> tuple[list[str], list[dict[str, Any]]]:
    """The instructions, and the turns: messages of one role in a row are one turn."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        match message:
            case SystemMessage() | DeveloperMessage():
                system += only_text(message.content, place)
                continue
            case AssistantMessage():
                role, blocks = "assistant", _said(message, place)
            case UserMessage():
                role, blocks = "user", _blocks(message.content, place)
            case ToolMessage():
                role, blocks = "user", [_result(message, place)]
            case _:
                assert_never(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return system, turns


def _said(message: AssistantMessage, place: int) -> list[dict[str, Any]]:
    """Reasoning isn't told again: only what carries the model's signature may be."""
    blocks = _blocks(message.content or "", place)
    for number, call in enumerate(message.tool_calls):
        location = ("body", "messages", place, "tool_calls", number)
        blocks.append(
            {
                "type": "tool_use",
                "id": _id(call.id),
                "name": call.name,
                "input": arguments_of(call, location),
            }
        )
    return blocks


def _result(message: ToolMessage, place: int) -> dict[str, Any]:
    if not message.tool_call_id:
        raise InvalidValue(
            "This model needs to know which tool call a result is of: give tool_call_id.",
            location=("body", "messages", place, "tool_call_id"),
        )
    result = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    blocks = _blocks(message.content or "", place)
    return result | ({"content": blocks} if blocks else {})


def _blocks(content: Content, place: int) -> list[dict[str, Any]]:
    """Content blocks; texts that say nothing are left out, since the API refuses them."""
    if isinstance(content, str):
        content = (TextPart(content),)
    return [
        _block(part, place, number)
        for number, part in enumerate(content)
        if not isinstance(part, TextPart) or part.text
    ]


def _block(part: Part, place: int, number: int) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart() if is_data(part.url):
            location = (*part_of(place, number), "image_url", "url")
            media_type, data = inline(part.url, location)
            source = {"type": "base64", "media_type": media_type, "data": data}
        case ImagePart():
            source = {"type": "url", "url": part.url}
        case AudioPart():
            raise wrong(part_of(place, number), "text or an image: this API takes no audio")
        case _:
            assert_never(part)
    return {"type": "image", "source": source}


def _id(call: str) -> str:
    return _NOT_IN_IDS.sub("_", call)


def _tool(tool: Tool) -> dict[str, Any]:
    fields = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters or {"type": "object", "properties": {}},
        "strict": tool.strict,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tool_choice(request: ChatRequest) -> dict[str, Any] | None:
    """How tools are chosen; nothing where there are none to choose from."""
    if not request.tools:
        return None
    one_at_a_time = request.parallel_tool_calls is False
    choice: dict[str, Any]
    match request.tool_choice:
        case NamedTool(name=name):
            choice = {"type": "tool", "name": name}
        case "required":
            choice = {"type": "any"}
        case "none":
            return {"type": "none"}
        case "auto":
            choice = {"type": "auto"}
        case None if one_at_a_time:
            choice = {"type": "auto"}
        case None:
            return None
        case _:
            assert_never(request.tool_choice)
    return choice | ({"disable_parallel_tool_use": True} if one_at_a_time else {})


def _output_config(request: ChatRequest) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if isinstance(request.response_format, JsonSchemaFormat):
        schema = request.response_format.schema
        if schema is None:
            raise wrong(("body", "response_format", "json_schema", "schema"), "a JSON schema")
        config["format"] = {"type": "json_schema", "schema": schema}
    if request.reasoning_effort is not None:
        config["effort"] = request.reasoning_effort
    return config
