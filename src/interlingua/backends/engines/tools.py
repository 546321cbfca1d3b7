"""Tool calls on any template: how they are asked for, written into the history, and read.

Rules of this file:
- A call is written as ``<tool_call>`` and a JSON object with name and arguments, the form
  that Hermes introduced and most templates with tools know. A template that knows it gets
  tools and history as they are; every other one gets them as text.
- After the marker the engine is held to the grammar of the declared functions, so a call
  that ends by itself is a valid one.
"""

import json
import secrets
from collections.abc import Sequence

import msgspec

from interlingua.errors import InvalidValue, Location, ParameterNotSupported
from interlingua.types.chat import ChatRequest, NamedTool, Tool, ToolCall

from . import grammar

MARKER = "<tool_call>"
_END = "</tool_call>"
#: Functions without parameters take an empty object.
_NO_PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}

_INSTRUCTION = """\
You may call functions to help with the user's request. These are the functions:
<tools>
{tools}
</tools>
To call one, answer with nothing but its name and its arguments as JSON, like this:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>
Otherwise answer in plain text."""


class ToolUse(msgspec.Struct, frozen=True):
    """What a call may do with its tools. ``grammar`` is that of one tool call."""

    tools: tuple[Tool, ...]
    forced: bool
    grammar: str


class _Written(msgspec.Struct, frozen=True):
    """A call as the grammar makes the model write it."""

    name: str
    arguments: msgspec.Raw


def tool_use(request: ChatRequest, language: grammar.Language) -> ToolUse | None:
    """What the request lets the model do with tools; ``None``: nothing.

    Raises:
        ParameterNotSupported: a function's parameters can't be a grammar.
        InvalidValue: the choice names a function that isn't declared.
    """
    choice = request.tool_choice or "auto"
    if not request.tools or choice == "none":
        return None
    callable_: dict[str, dict[str, object]] = {}
    for index, tool in enumerate(request.tools):
        callable_[tool.name] = arguments(tool, index)
        try:
            language.document(callable_[tool.name])
        except grammar.NotHeld as error:
            raise grammar.refusal(place(index), str(error)) from error
    if isinstance(choice, NamedTool):
        if choice.name not in callable_:
            raise InvalidValue(
                f"tool_choice names the function '{choice.name}', which tools doesn't declare.",
                location=("body", "tool_choice"),
            )
        callable_ = {choice.name: callable_[choice.name]}
    return ToolUse(request.tools, choice != "auto", language.one_of(callable_))


def place(index: int) -> Location:
    """Where a function's parameters are in the request."""
    return ("body", "tools", index, "function", "parameters")


def arguments(tool: Tool, index: int) -> dict[str, object]:
    """The schema of a function's arguments, checked; always one of an object."""
    if not tool.parameters:
        return dict(_NO_PARAMETERS)
    if tool.parameters.get("type", "object") != "object":
        raise ParameterNotSupported(
            "This schema can't be honoured: a function's parameters are an object.",
            location=place(index),
        )
    grammar.check(tool.parameters, place(index))
    return {"type": "object", **grammar.closed(tool.parameters)}


def instruction(tools: Sequence[Tool]) -> str:
    """What the system message says of the tools where the template can't."""
    listed = "\n".join(json.dumps(_described(tool), ensure_ascii=False) for tool in tools)
    return _INSTRUCTION.format(tools=listed)


def declared(tools: Sequence[Tool]) -> list[dict[str, object]]:
    """The tools as a template takes them."""
    return [{"type": "function", "function": _described(tool)} for tool in tools]


def written(calls: Sequence[ToolCall]) -> str:
    """The calls as the model would have written them."""
    return "\n".join(
        f'{MARKER}\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n{_END}'
        for call in calls
    )


def answered(content: str) -> str:
    """A tool's result as a user's message."""
    return f"<tool_response>\n{content}\n</tool_response>"


def read_call(text: str) -> ToolCall | None:
    """The call in the text that the grammar held; ``None``: it was cut."""
    try:
        call = msgspec.json.decode(text.strip(), type=_Written)
    except msgspec.DecodeError:
        return None
    return ToolCall(
        id=f"call_{secrets.token_hex(12)}",
        name=call.name,
        arguments=bytes(call.arguments).decode(),
    )


def _described(tool: Tool) -> dict[str, object]:
    found: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        found["description"] = tool.description
    found["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return found
