"""What is wrong with a value, where, and what would be right: msgspec's errors, translated.

The expected type itself is asked what it takes, so a message can't fall behind a range.
"""

import re

import msgspec
from msgspec import inspect

from interlingua.errors import InvalidValue, Location

#: Where a value can't be found, as a key in an object whose names the path doesn't tell.
_NOT_FOUND = object()

#: What holds the caller's own words: only numbers, flags and tags of it are repeated.
_PRIVATE = frozenset({"messages", "prompt", "input", "suffix", "user", "user_security_context"})
_TAGS = frozenset({"role", "type", "detail", "format"})
_SHOWN_CHARS = 100

_PATH = re.compile(r"`(\$[^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
_MISSING = re.compile(r"^Object missing required field `(\w+)`")


def explain(
    error: msgspec.ValidationError, expected: object, value: object, root: Location
) -> InvalidValue:
    """``error`` as the API states it. ``value`` is what did not fit ``expected``, ``root``
    where it stands.
    """
    text = str(error)
    path = _path(text)
    node, found = _walk(inspect.type_info(expected), value, path)
    # A key of an object ends the location: msgspec doesn't tell which one it was.
    known = path[: path.index(None)] if None in path else path
    location = (*root, *(step for step in known if step is not None))
    missing = _MISSING.match(text)
    if missing:
        location = (*location, missing[1])
        node, _ = _walk(node, _NOT_FOUND, [missing[1]])
        return InvalidValue(
            f"{name(location)} is required: {describe(node)}.", location=location, value=None
        )
    right = describe(node)
    if None in path:
        return InvalidValue(f"Each value in {name(location)} must be {right}.", location=location)
    return wrong(location, right, found)


def wrong(location: Location, right: str, value: object = _NOT_FOUND) -> InvalidValue:
    """The error of a value that should have been ``right``, as in ``"a list of strings"``."""
    got = f", not {_shown(location, value)}" if value is not _NOT_FOUND else ""
    return InvalidValue(
        f"{name(location)} must be {right}{got}.",
        location=location,
        value=harmless(location, value),
    )


def name(location: Location) -> str:
    """What a message calls this place: ``messages[0].content``, or ``The body``."""
    return InvalidValue("", location=location).param or "The body"


def harmless(location: Location, value: object) -> object:
    """``value`` where it is short and may be repeated, else ``None``."""
    if value is None or value is _NOT_FOUND:
        return None
    if isinstance(value, bool | float):
        return value
    private = len(location) > 1 and location[1] in _PRIVATE and location[-1] not in _TAGS
    if private and not isinstance(value, int):
        return None
    try:
        shown = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if len(shown) <= _SHOWN_CHARS else None


def first_step(error: msgspec.ValidationError) -> str | None:
    """The top-level field that the error is about, if the error's path begins with one."""
    path = _path(str(error))
    return path[0] if path and isinstance(path[0], str) else None


def _path(text: str) -> list[str | int | None]:
    """The steps of the path at the message's end; ``None`` is some key of an object."""
    match = _PATH.search(text)
    if match is None:
        return []
    return [
        field or (int(place) if place else None) for field, place in _STEP.findall(match[1][1:])
    ]


def _walk(
    node: inspect.Type, value: object, path: list[str | int | None]
) -> tuple[inspect.Type, object]:
    """The type and the value at the path's end, as far as they are known."""
    for step in path:
        node = _inner_type(node, value, step)
        value = _inner_value(value, step)
    return node, value


def _inner_value(value: object, step: str | int | None) -> object:
    if isinstance(step, str) and isinstance(value, dict):
        return value.get(step, _NOT_FOUND)
    if isinstance(step, int) and isinstance(value, list) and step < len(value):
        return value[step]
    return _NOT_FOUND


def _inner_type(node: inspect.Type, value: object, step: str | int | None) -> inspect.Type:
    options = _options(node)
    if isinstance(step, str):
        return _field_type([o for o in options if isinstance(o, inspect.StructType)], value, step)
    for option in options:
        if isinstance(step, int) and isinstance(option, inspect.ListType | inspect.VarTupleType):
            return option.item_type
        if step is None and isinstance(option, inspect.DictType):
            return option.value_type
    return inspect.AnyType()


def _field_type(options: list[inspect.StructType], value: object, field: str) -> inspect.Type:
    if options and options[0].tag_field == field:
        return inspect.LiteralType(tuple(str(option.tag) for option in options))
    if len(options) > 1 and isinstance(value, dict):
        tag = value.get(options[0].tag_field)
        options = [option for option in options if option.tag == tag]
    for option in options:
        for known in option.fields:
            if known.encode_name == field:
                return known.type
    return inspect.AnyType()


def _options(node: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(node, inspect.Metadata):
        return _options(node.type)
    return node.types if isinstance(node, inspect.UnionType) else (node,)


def describe(node: inspect.Type) -> str:
    """What fits this type, in words: ``a number from 0 to 2``."""
    words = [_words(option) for option in _options(node)]
    return " or ".join(dict.fromkeys(word for word in words if word)) or "valid"


def _words(node: inspect.Type) -> str:
    # Null stands for a parameter that wasn't given: nobody needs to be told.
    words = ""
    match node:
        case inspect.BoolType():
            words = "true or false"
        case inspect.IntType():
            words = f"an integer{_range(node)}"
        case inspect.FloatType():
            words = f"a number{_range(node)}"
        case inspect.StrType():
            words = "a non-empty string" if node.min_length else "a string"
            words += f" that matches {node.pattern}" if node.pattern else ""
        case inspect.ListType() | inspect.VarTupleType():
            words = f"a list{_lengths(node)}"
        case inspect.LiteralType():
            words = "one of " if len(node.values) > 1 else ""
            words += ", ".join(repr(choice) for choice in node.values)
        case inspect.StructType() | inspect.DictType() | inspect.RawType():
            words = "an object"
        case _:
            pass
    return words


def _range(node: inspect.IntType | inspect.FloatType) -> str:
    if node.gt is not None:
        return f" above {node.gt:g}" + ("" if node.le is None else f" and at most {node.le:g}")
    if node.ge is None:
        return ""
    low, high = (
        str(end) if isinstance(end, int) else f"{end:g}" for end in (node.ge, node.le or 0)
    )
    return f" from {low} to {high}" if node.le is not None else f" of at least {low}"


def _lengths(node: inspect.ListType | inspect.VarTupleType) -> str:
    if node.max_length is None:
        return " of at least one item" if node.min_length else ""
    low = f"{node.min_length} to " if node.min_length else "at most "
    return f" of {low}{node.max_length} items"


def _shown(location: Location, value: object) -> str:
    if value is None:
        return "null"
    safe = harmless(location, value)
    if safe is not None and not isinstance(value, list | dict):
        return msgspec.json.encode(safe).decode()
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    kinds = {str: "a string", dict: "an object", int: "this integer"}
    return kinds.get(type(value), "this value")
