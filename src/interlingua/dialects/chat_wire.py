"""The body of a chat completions request: JSON ↔ :class:`ChatRequest`.

What a value may be is said by the wire structs; what values say together is checked here.
Source: Azure ChatCompletionsOptions; OpenAI "Create chat completion".
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, assert_never

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from interlingua.errors import InvalidValue, Location
from interlingua.types.chat import (
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    Name64,
    NamedTool,
    ResponseFormat,
    TextFormat,
    TokenCount,
    Tool,
    ToolChoice,
    TopLogprobs,
)
from interlingua.types.explain import wrong
from interlingua.types.lift import check_lifted

from .messages_wire import MessageWire, read_message, write_message
from .request_body import check_depth, decode
from .sampling_wire import (
    Choices,
    SamplingBody,
    StreamOptionsChoice,
    TokenBias,
    read_sampling,
    write_sampling,
)

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
_NULL = Raw(b"null")


#: Read as it stands, and judged by :func:`_read_schema`.
_RawSchema = Annotated[
    Raw,
    Meta(
        description=f"A JSON schema of at most {MAX_SCHEMA_BYTES} bytes and {MAX_SCHEMA_DEPTH} "
        "levels.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]


class _Function(msgspec.Struct, frozen=True, omit_defaults=True):
    name: Name64
    description: str | None = None
    parameters: _RawSchema = _NULL
    strict: bool | None = None


class _Tool(msgspec.Struct, frozen=True, tag="function"):
    function: _Function


class _FunctionName(msgspec.Struct, frozen=True):
    name: str


class _NamedTool(msgspec.Struct, frozen=True, tag="function"):
    function: _FunctionName


class _Text(msgspec.Struct, frozen=True, tag="text"):
    pass


class _JsonObject(msgspec.Struct, frozen=True, tag="json_object"):
    pass


class _Schema(msgspec.Struct, frozen=True, omit_defaults=True):
    name: Name64
    schema: _RawSchema = _NULL
    description: str | None = None
    strict: bool | None = None


class _JsonSchema(msgspec.Struct, frozen=True, tag="json_schema"):
    json_schema: _Schema


_ResponseFormat = _Text | _JsonObject | _JsonSchema


class ChatBody(SamplingBody, frozen=True, kw_only=True):
    """What the Azure AI Model Inference API knows; any other name is an extra parameter."""

    messages: Annotated[
        tuple[MessageWire, ...],
        Meta(min_length=1, max_length=10_000, description="The conversation so far."),
    ]
    response_format: Annotated[
        _ResponseFormat | None, Meta(description="What the answer's text is to be.")
    ] = None
    tools: Annotated[
        Annotated[tuple[_Tool, ...], Meta(min_length=1, max_length=128)] | None,
        Meta(description="Functions that the model may call."),
    ] = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | _NamedTool | None,
        Meta(description="Whether it may, must not or must call one, or which one it must."),
    ] = None
    modalities: Annotated[
        tuple[Literal["text", "audio"], ...] | None,
        Meta(description="What the answer is made of, where the model can do more than text."),
    ] = None
    user_security_context: Annotated[
        dict[str, object] | None, Meta(description="Passed to providers that know it.")
    ] = None


class OpenAIChatBody(ChatBody, frozen=True, kw_only=True):
    """What the OpenAI API knows; any other name is an extra parameter."""

    n: Choices = None
    logprobs: Annotated[
        bool | None, Meta(description="Whether the answer's tokens come with their probabilities.")
    ] = None
    top_logprobs: Annotated[
        TopLogprobs | None, Meta(description="Of how many likelier tokens besides.")
    ] = None
    logit_bias: TokenBias = None
    max_completion_tokens: Annotated[
        TokenCount | None | UnsetType, Meta(description="Another name of max_tokens.")
    ] = UNSET
    stream_options: StreamOptionsChoice = None
    parallel_tool_calls: Annotated[
        bool | None, Meta(description="Whether one answer may call several functions.")
    ] = None
    reasoning_effort: Annotated[
        str | None, Meta(description="How long a model that reasons does so.")
    ] = None
    audio: Annotated[
        dict[str, object] | None, Meta(description="Voice and format of a spoken answer.")
    ] = None


def read_chat(body: ChatBody, extra: Mapping[str, object]) -> ChatRequest:
    """The request, with every parameter judged.

    Raises:
        InvalidValue: values that are right by themselves don't go together.
    """
    fields = read_sampling(body)
    fields["messages"] = tuple([read_message(message) for message in body.messages])
    fields["extra"] = extra
    if body.tools:
        fields["tools"] = tuple(_read_tool(tool, place) for place, tool in enumerate(body.tools))
    else:
        fields["tools"] = ()
    if body.tool_choice is not None:
        fields["tool_choice"] = _read_choice(body.tool_choice, fields["tools"])
    if body.response_format is not None:
        fields["response_format"] = _read_format(body.response_format)
    for name in ("user_security_context", "audio"):
        if fields.get(name):
            check_depth(fields[name], ("body", name))
    request = ChatRequest(**fields)
    check_lifted(request)
    return request


def write_chat(request: ChatRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    fields = write_sampling(request, model)
    spelled = fields.pop("limit_name")
    if "max_tokens" in fields:
        fields[spelled] = fields.pop("max_tokens")
    fields["messages"] = [write_message(message) for message in request.messages]
    if request.tools:
        fields["tools"] = [_write_tool(tool) for tool in request.tools]
    if isinstance(request.tool_choice, NamedTool):
        fields["tool_choice"] = _NamedTool(_FunctionName(request.tool_choice.name))
    if request.response_format is not None:
        fields["response_format"] = _write_format(request.response_format)
    return fields


def _read_tool(wire: _Tool, place: int) -> Tool:
    function = wire.function
    return Tool(
        name=function.name,
        description=function.description,
        parameters=_read_schema(
            function.parameters, ("body", "tools", place, "function", "parameters")
        ),
        strict=function.strict,
    )


def _write_tool(tool: Tool) -> _Tool:
    return _Tool(_Function(tool.name, tool.description, _raw(tool.parameters), tool.strict))


def _read_choice(
    wire: Literal["auto", "none", "required"] | _NamedTool, tools: tuple[Tool, ...]
) -> ToolChoice:
    if isinstance(wire, str):
        if wire == "required" and not tools:
            raise InvalidValue(
                "tool_choice can't be required without tools.",
                location=("body", "tool_choice"),
                value=wire,
            )
        return wire
    name = wire.function.name
    if not any(tool.name == name for tool in tools):
        raise wrong(
            ("body", "tool_choice", "function", "name"), "the name of a function in tools", name
        )
    return NamedTool(name)


def _read_format(wire: _ResponseFormat) -> ResponseFormat:
    match wire:
        case _Text():
            return TextFormat()
        case _JsonObject():
            return JsonObjectFormat()
        case _JsonSchema():
            schema = wire.json_schema
            return JsonSchemaFormat(
                name=schema.name,
                schema=_read_schema(
                    schema.schema, ("body", "response_format", "json_schema", "schema")
                ),
                description=schema.description,
                strict=schema.strict,
            )
        case _:
            assert_never(wire)


def _write_format(wanted: ResponseFormat) -> _ResponseFormat:
    match wanted:
        case TextFormat():
            return _Text()
        case JsonObjectFormat():
            return _JsonObject()
        case JsonSchemaFormat():
            return _JsonSchema(
                _Schema(wanted.name, _raw(wanted.schema), wanted.description, wanted.strict)
            )
        case _:
            assert_never(wanted)


def _read_schema(raw: Raw, location: Location) -> Mapping[str, object] | None:
    """A JSON schema, small enough to be made a grammar."""
    size = len(bytes(raw))
    if size > MAX_SCHEMA_BYTES:
        raise wrong(location, f"a JSON schema of at most {MAX_SCHEMA_BYTES} bytes")
    schema = decode(raw, location, MAX_SCHEMA_DEPTH)
    if schema is not None and not isinstance(schema, dict):
        raise wrong(location, "an object", schema)
    return schema


def _raw(schema: Mapping[str, object] | None) -> Raw:
    return _NULL if schema is None else Raw(msgspec.json.encode(schema))
