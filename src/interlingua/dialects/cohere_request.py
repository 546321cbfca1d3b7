"""The bodies of calls to Cohere's API v2.

Source: Cohere API reference: Chat (v2), Embed (v2).
"""

from typing import Any, assert_never

from msgspec.structs import replace

from interlingua.errors import ParameterNotSupported
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
    ResponseFormat,
    SystemMessage,
    TextFormat,
    TextPart,
    Tool,
    ToolMessage,
    UserMessage,
)
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput

from .sampling_wire import write_sampling
from .vectors_wire import texts_of

#: It wants to know what a text is for, and has no neutral answer: a document is what most are.
_INPUT_TYPES = {None: "search_document", "text": "search_document"} | {
    "query": "search_query",
    "document": "search_document",
}


def write_chat(request: ChatRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    fields = write_sampling(replace(request, extra={}), model)
    for name in ("limit_name", "tool_choice", "tools", "response_format"):
        fields.pop(name, None)
    for ours, theirs in (("stop", "stop_sequences"), ("top_p", "p")):
        if ours in fields:
            fields[theirs] = fields.pop(ours)
    if fields.get("max_tokens", 0) is None:
        # No limit but the context's end is its own default.
        del fields["max_tokens"]
    fields["messages"] = [_write_message(message) for message in request.messages]
    fields |= _write_tools(request)
    if request.response_format is not None:
        fields["response_format"] = _write_format(request.response_format)
    return fields


def _write_tools(request: ChatRequest) -> dict[str, Any]:
    """Forcing one tool is forcing some tool where there is no other."""
    tools, choice = request.tools, request.tool_choice
    fields: dict[str, Any] = {}
    if isinstance(choice, NamedTool):
        tools = tuple(tool for tool in tools if tool.name == choice.name)
        choice = "required"
    if tools:
        fields["tools"] = [_write_tool(tool) for tool in tools]
        if any(tool.strict for tool in tools):
            fields["strict_tools"] = True
    if choice in {"required", "none"} and tools:
        fields["tool_choice"] = choice.upper()
    return fields


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": tool.name,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _write_format(wanted: ResponseFormat) -> dict[str, Any]:
    match wanted:
        case TextFormat():
            return {"type": "text"}
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat():
            return {"type": "json_object", "json_schema": wanted.schema or {"type": "object"}}
        case _:
            assert_never(wanted)


def _write_message(message: Message) -> dict[str, Any]:
    match message:
        case SystemMessage() | DeveloperMessage():
            return {"role": "system", "content": _write_content(message.content)}
        case UserMessage():
            return {"role": "user", "content": _write_content(message.content)}
        case AssistantMessage():
            return _write_assistant(message)
        case ToolMessage():
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id or "",
                "content": _write_content(message.content or ""),
            }
        case _:
            assert_never(message)


def _write_assistant(message: AssistantMessage) -> dict[str, Any]:
    """What it thought goes back where it came from: a plan beside tool calls, else before the
    text.
    """
    fields: dict[str, Any] = {"role": "assistant"}
    if message.content:
        fields["content"] = _write_content(message.content)
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        if message.reasoning:
            fields["tool_plan"] = message.reasoning
    elif message.reasoning:
        said = fields.get("content", [])
        said = [{"type": "text", "text": said}] if isinstance(said, str) else said
        fields["content"] = [{"type": "thinking", "thinking": message.reasoning}, *said]
    return fields


def _write_content(content: Content) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    items: list[dict[str, Any]] = []
    for part in content:
        match part:
            case TextPart():
                items.append({"type": "text", "text": part.text})
            case ImagePart():
                image = {"url": part.url} | ({"detail": part.detail} if part.detail else {})
                items.append({"type": "image_url", "image_url": image})
            case AudioPart():
                # Negotiation lets none come so far, unless the config says otherwise.
                raise ParameterNotSupported(
                    "This provider takes no audio.", location=("body", "messages")
                )
            case _:
                assert_never(part)
    return items


def write_texts(request: EmbeddingsRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    return {
        **_write_options(request, model),
        "texts": texts_of(request),
        "input_type": _INPUT_TYPES[request.input_type],
    }


def write_images(request: ImageEmbeddingsRequest, model: str | None) -> dict[str, Any]:
    """The body's fields. A single image without more is what all its models know; the rest is
    for those that mix texts and images.
    """
    fields = _write_options(request, model)
    item = request.inputs[0]
    plain = request.input_type in {None, "text"}
    if len(request.inputs) == 1 and item.text is None and plain:
        return {**fields, "images": [item.image], "input_type": "image"}
    inputs = [{"content": _write_item(item)} for item in request.inputs]
    return {**fields, "inputs": inputs, "input_type": _INPUT_TYPES[request.input_type]}


def _write_item(item: ImageInput) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if item.text is not None:
        content.append({"type": "text", "text": item.text})
    if item.image is not None:
        content.append({"type": "image_url", "image_url": {"url": item.image}})
    return content


def _write_options(
    request: EmbeddingsRequest | ImageEmbeddingsRequest, model: str | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        fields["model"] = name
    if request.dimensions is not None:
        fields["output_dimension"] = request.dimensions
    fields["embedding_types"] = [request.encoding_format or "float"]
    return fields
