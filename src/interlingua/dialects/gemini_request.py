"""A chat as a request to the Gemini API's ``generateContent``.

Sources: Gemini API reference, *generateContent* and *GenerationConfig*; *Function calling*;
*Thought signatures*; *Structured output*; *File input methods*; *OpenAI compatibility*, for
what ``reasoning_effort`` means.
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
    JsonObjectFormat,
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

#: What stands for the signature of a call whose own isn't there: chats hold no signatures,
#: and models since Gemini 3 refuse a turn whose first call has none (*Thought signatures*).
NO_SIGNATURE = "skip_thought_signature_validator"

_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}

#: What an address ends in, before its query.
_ENDING = re.compile(r"[^?#]*\.(\w+)(?:[?#]|$)")
_IMAGES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
}


def write_chat(request: ChatRequest) -> dict[str, Any]:
    """The body's fields.

    Raises:
        InvalidValue: a message or a value can't be said on this wire.
    """
    system, contents = _contents(request.messages)
    fields: dict[str, Any] = {
        "contents": contents,
        "systemInstruction": {"parts": [{"text": text} for text in system]} if system else None,
        "tools": [{"functionDeclarations": [_function(tool) for tool in request.tools]}]
        if request.tools
        else None,
        "toolConfig": _tool_config(request),
        "generationConfig": _generation_config(request) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _contents(messages: Sequence[Message]) -> tuple[list[str], list[dict[str, Any]]]:
    """The instructions, and the turns: the results of one turn's calls are one turn."""
    system: list[str] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    results: list[dict[str, Any]] | None = None
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if results is None:
                results = []
                contents.append({"role": "user", "parts": results})
            results.append(_result(message, names, place))
            continue
        match message:
            case SystemMessage() | DeveloperMessage():
                system += only_text(message.content, place)
                continue
            case UserMessage():
                role, parts = "user", _parts(message.content, place)
            case AssistantMessage():
                role, parts = "model", _said(message, place)
                names |= {call.id: call.name for call in message.tool_calls}
            case _:
                assert_never(message)
        results = None
        if parts:
            contents.append({"role": role, "parts": parts})
    return system, contents


def _said(message: AssistantMessage, place: int) -> list[dict[str, Any]]:
    parts = _parts(message.content or "", place)
    for number, call in enumerate(message.tool_calls):
        location = ("body", "messages", place, "tool_calls", number)
        made = {"id": call.id, "name": call.name, "args": arguments_of(call, location)}
        signed = {} if number else {"thoughtSignature": NO_SIGNATURE}
        parts.append({"functionCall": made, **signed})
    return parts


def _result(message: ToolMessage, names: dict[str, str], place: int) -> dict[str, Any]:
    """A function's response; the wire wants the function's name, which the call has."""
    call = message.tool_call_id or ""
    if call not in names:
        raise InvalidValue(
            "This model needs to know which function a result is of: tool_call_id must be the "
            "id of a tool call in an earlier message.",
            location=("body", "messages", place, "tool_call_id"),
            value=call or None,
        )
    content = message.content or ""
    parts = _parts(content, place)
    text = "".join(part["text"] for part in parts if "text" in part)
    media = [part for part in parts if "text" not in part]
    response = {"id": call, "name": names[call], "response": {"output": text}}
    return {"functionResponse": response | ({"parts": media} if media else {})}


def _parts(content: Content, place: int) -> list[dict[str, Any]]:
    """The parts; texts that say nothing are left out."""
    if isinstance(content, str):
        content = (TextPart(content),)
    return [
        _part(part, place, number)
        for number, part in enumerate(content)
        if not isinstance(part, TextPart) or part.text
    ]


def _part(part: Part, place: int, number: int) -> dict[str, Any]:
    location = part_of(place, number)
    match part:
        case TextPart():
            return {"text": part.text}
        case ImagePart() if is_data(part.url):
            return _inline(*inline(part.url, (*location, "image_url", "url")))
        case ImagePart():
            ending = _ENDING.match(part.url)
            kind = _IMAGES.get(ending[1].lower()) if ending else None
            typed = {} if kind is None else {"mimeType": kind}
            return {"fileData": {"fileUri": part.url, **typed}}
        case AudioPart(url=str(url)) if is_data(url):
            return _inline(*inline(url, (*location, "audio_url", "url")))
        case AudioPart(data=str(data), format=str(kind)):
            return _inline(f"audio/{kind.lower()}", data)
        case AudioPart():
            raise wrong(location, "audio with its data and its format")
        case _:
            assert_never(part)


def _inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _function(tool: Tool) -> dict[str, Any]:
    fields = {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": tool.parameters,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tool_config(request: ChatRequest) -> dict[str, Any] | None:
    """How functions are chosen; nothing where there are none to choose from."""
    if not request.tools or request.tool_choice is None:
        return None
    config: dict[str, Any]
    match request.tool_choice:
        case NamedTool(name=name):
            config = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "required":
            config = {"mode": "ANY"}
        case "none":
            config = {"mode": "NONE"}
        case "auto":
            config = {"mode": "AUTO"}
        case _:
            assert_never(request.tool_choice)
    return {"functionCallingConfig": config}


def _generation_config(request: ChatRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "candidateCount": request.n,
        "maxOutputTokens": request.max_tokens if isinstance(request.max_tokens, int) else None,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "responseLogprobs": request.logprobs or None,
        "logprobs": request.top_logprobs if request.logprobs else None,
        "thinkingConfig": _thinking_config(request.reasoning_effort),
    }
    match request.response_format:
        case JsonObjectFormat():
            fields["responseMimeType"] = "application/json"
        case JsonSchemaFormat(schema=schema):
            fields["responseMimeType"] = "application/json"
            fields["responseJsonSchema"] = schema
    return {name: value for name, value in fields.items() if value is not None}


def _thinking_config(effort: str | None) -> dict[str, Any] | None:
    """Whoever says how much to think gets to read the thoughts, too."""
    if effort is None:
        return None
    if effort not in _LEVELS:
        raise wrong(("body", "reasoning_effort"), f"one of {', '.join(_LEVELS)}", effort)
    return {"thinkingLevel": _LEVELS[effort], "includeThoughts": True}
