"""The body of a call to Amazon Bedrock's Converse.

Source: Amazon Bedrock Runtime 2023-09-30: Converse, InferenceConfiguration, ToolConfiguration,
OutputConfig.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from interlingua.errors import InvalidValue, ParameterNotSupported
from interlingua.types.chat import ChatRequest, JsonSchemaFormat, NamedTool, Tool

from . import bedrock_messages

#: Source: Converse, request body: what has no equal in this API.
_OWN = frozenset(
    {
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
        "serviceTier",
    }
)
_REST = "additionalModelRequestFields"


def write(request: ChatRequest) -> dict[str, Any]:
    """The body's fields.

    Raises:
        InvalidValue: names what can't be sent.
        ParameterNotSupported: tools are in the messages, and may not be called.
    """
    system, messages = bedrock_messages.write(request.messages)
    fields: dict[str, Any] = {
        **_write_extra(request.extra),
        "messages": messages,
        "system": system,
        "inferenceConfig": _write_inference(request),
        "toolConfig": _write_tools(request),
        "outputConfig": _write_output(request),
    }
    return {name: value for name, value in fields.items() if value}


def _write_extra(extra: Mapping[str, object]) -> dict[str, object]:
    own = {name: value for name, value in extra.items() if name in _OWN}
    others = {name: value for name, value in extra.items() if name not in {*_OWN, _REST}}
    given = extra.get(_REST, {})
    if not isinstance(given, dict):
        raise InvalidValue(f"{_REST} must be an object.", location=("body", _REST))
    return {**own, _REST: {**given, **others}}


def _write_inference(request: ChatRequest) -> dict[str, object]:
    given = {
        "maxTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": request.stop or None,
    }
    return {
        name: value
        for name, value in given.items()
        if value is not None and value is not msgspec.UNSET
    }


def _write_tools(request: ChatRequest) -> dict[str, object] | None:
    choice = request.tool_choice
    if choice == "none":
        if bedrock_messages.have_tools(request.messages):
            # Converse refuses messages with tool calls where no tools are stated.
            raise ParameterNotSupported(
                "This provider can't be kept from calling tools once it has called some: leave "
                "tool_choice out, or begin anew.",
                location=("body", "tool_choice"),
                value=choice,
            )
        return None
    if not request.tools:
        return None
    fields: dict[str, object] = {"tools": [_write_tool(tool) for tool in request.tools]}
    if choice == "required":
        fields["toolChoice"] = {"any": {}}
    elif choice == "auto":
        fields["toolChoice"] = {"auto": {}}
    elif isinstance(choice, NamedTool):
        fields["toolChoice"] = {"tool": {"name": choice.name}}
    return fields


def _write_tool(tool: Tool) -> dict[str, object]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    spec: dict[str, object] = {"name": tool.name, "inputSchema": {"json": schema}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return {"toolSpec": spec}


def _write_output(request: ChatRequest) -> dict[str, object]:
    fields: dict[str, object] = {}
    wanted = request.response_format
    if isinstance(wanted, JsonSchemaFormat):
        schema: dict[str, object] = {
            "name": wanted.name,
            "schema": msgspec.json.encode(wanted.schema or {}).decode(),
        }
        if wanted.description:
            schema["description"] = wanted.description
        fields["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    if request.reasoning_effort is not None:
        fields["effort"] = request.reasoning_effort
    return fields
