"""Python functions as tools of a model: their definitions, and the calls that it asks for.

Nothing here runs by itself: the caller gives the calls of an answer to :func:`run_tools`, and
only the functions that it gives beside them can be called.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_type_hints

import msgspec

from .schemas import json_schema_of

Function = Callable[..., Any]
Functions = Iterable[Function] | Mapping[str, Function]
Message = dict[str, object]

#: ``city: …`` under ``Args:``, and ``:param city: …``.
_ARGUMENTS = re.compile(r"^\s*(?:Args|Arguments|Parameters):\s*$", re.MULTILINE)
_ARGUMENT = re.compile(r"^(\s+)\*{0,2}(\w+)(?: ?\([^)]*\))?:[^\S\n]+(.+)$")
_PARAM = re.compile(r"^\s*:param (?:[^:]* )?(\w+):[^\S\n]*(.*)$", re.MULTILINE)
_SECTION = re.compile(r"^\s*(?:[A-Z]\w+:\s*$|:\w+)", re.MULTILINE)


class ToolCallError(ValueError):
    """A call that can't be made: no such function, or arguments that it doesn't take."""


def tool(function: Function, *, strict: bool = False) -> Message:
    """The definition of a function (Azure: ChatCompletionsToolDefinition).

    Its parameters are described by ``Annotated[str, msgspec.Meta(description="…")]``, or in
    its docstring as ``:param name:`` or under ``Args:``. ``strict`` makes all of them
    required, as strict mode wants.

    Raises:
        TypeError: a parameter has no type that JSON could hold.
    """
    text = inspect.getdoc(function) or ""
    schema = json_schema_of(_arguments_of(function, _described(text)), strict=strict)
    schema.pop("title", None)
    schema.pop("description", None)
    definition: Message = {"name": _name(function), "parameters": schema}
    if said := text[: first.start() if (first := _SECTION.search(text)) else None].strip():
        definition["description"] = said
    if strict:
        definition["strict"] = True
    return {"type": "function", "function": definition}


def run_tools(
    answer: object, functions: Functions, *, errors_as_text: tuple[type[Exception], ...] = ()
) -> list[Message]:
    """Make the calls that an answer asks for, in order; what came of each, as tool messages.

    ``answer`` is a message with ``tool_calls``, or the calls themselves. What raises one of
    ``errors_as_text`` is told to the model as text, for it to try again; whatever else is
    raised goes on to the caller.

    Raises:
        ToolCallError: a call can't be made, unless the errors to be told include it.
        TypeError: a function is asynchronous.
    """
    messages = []
    for call in _calls(answer):
        try:
            result = _bound(call, functions)()
        except errors_as_text as error:
            result = f"Error: {error}"
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("the function is asynchronous: await run_tools_async() instead")
        messages.append(_message(call, result))
    return messages


async def run_tools_async(
    answer: object, functions: Functions, *, errors_as_text: tuple[type[Exception], ...] = ()
) -> list[Message]:
    """As :func:`run_tools`, one call after the other; functions may be asynchronous.

    Raises:
        ToolCallError: a call can't be made, unless the errors to be told include it.
    """
    messages = []
    for call in _calls(answer):
        try:
            result = _bound(call, functions)()
            if inspect.isawaitable(result):
                result = await result
        except errors_as_text as error:
            result = f"Error: {error}"
        messages.append(_message(call, result))
    return messages


# -- Functions ------------------------------------------------------------------------------


def _name(function: Function) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _arguments_of(function: Function, described: Mapping[str, str]) -> type[msgspec.Struct]:
    """The parameters of a function as a type of their own."""
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise TypeError(f"{_name(function)} takes any number of arguments ({parameter})")
        if parameter.kind is parameter.POSITIONAL_ONLY or name not in hints:
            raise TypeError(f"{_name(function)}: {name} must have a type, and be taken by name")
        hint = hints[name]
        if name in described:
            hint = Annotated[hint, msgspec.Meta(description=described[name])]
        default = parameter.default
        fields.append((name, hint) if default is parameter.empty else (name, hint, default))
    return msgspec.defstruct(_name(function), fields, kw_only=True, forbid_unknown_fields=True)


def _described(text: str) -> dict[str, str]:
    """What a docstring says of each parameter."""
    described = {name: said.strip() for name, said in _PARAM.findall(text) if said.strip()}
    if section := _ARGUMENTS.search(text):
        indent = ""
        for line in text[section.end() :].strip("\n").splitlines():
            if not line.startswith(" "):
                break
            found = _ARGUMENT.match(line)
            if found and found[1] == (indent or found[1]):
                indent, name = found[1], found[2]
                described[name] = found[3].strip()
            elif indent and line.strip():
                described[name] += f" {line.strip()}"
    return described


# -- Calls ----------------------------------------------------------------------------------


class _Call(msgspec.Struct, frozen=True):
    id: str | None
    name: str
    arguments: str


def _calls(answer: object) -> Iterator[_Call]:
    """Of a message or a list of calls, whether they are mappings or have attributes."""
    calls = answer if isinstance(answer, Sequence) else _get(answer, "tool_calls")
    for call in calls if isinstance(calls, Sequence) else ():
        function = _get(call, "function")
        identity = _get(call, "id")
        yield _Call(
            None if identity is None else str(identity),
            str(_get(function, "name")),
            str(_get(function, "arguments") or "{}"),
        )


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _bound(call: _Call, functions: Functions) -> Callable[[], Any]:
    """The call, ready to be made.

    Raises:
        ToolCallError: there is no such function, or it doesn't take these arguments.
    """
    by_name = functions if isinstance(functions, Mapping) else {_name(f): f for f in functions}
    function = by_name.get(call.name)
    if function is None:
        raise ToolCallError(f"there is no tool {call.name!r}, only {sorted(by_name)}")
    try:
        kind = _arguments_of(function, {})
        arguments = msgspec.json.decode(call.arguments, type=kind)
    except msgspec.DecodeError as error:
        raise ToolCallError(f"the arguments of {call.name!r} are wrong: {error}") from error
    values = {name: getattr(arguments, name) for name in kind.__struct_fields__}
    return lambda: function(**values)


def _message(call: _Call, result: object) -> Message:
    """What a tool answered (Azure: ToolMessage)."""
    content = result if isinstance(result, str) else msgspec.json.encode(result).decode("utf-8")
    return {"role": "tool", "content": content, "tool_call_id": call.id}
