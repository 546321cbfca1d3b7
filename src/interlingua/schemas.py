"""JSON schemas of Python types, for answers that have to follow one; and the answers read back.

A type is a msgspec Struct, a dataclass, a TypedDict, or a model of pydantic 2, which is asked
for its schema and never imported.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

Schema = dict[str, object]
T = TypeVar("T")


class AnswerError(ValueError):
    """A text that is not a value of the type it was to be."""


@runtime_checkable
class _PydanticModel(Protocol):
    """What is used of a pydantic 2 model's class."""

    def model_json_schema(self) -> Schema: ...

    def model_validate_json(self, text: str | bytes) -> Any: ...


def json_schema_of(kind: type, *, strict: bool = True) -> Schema:
    """The schema of a type, an object at its top, complete in itself.

    ``strict`` makes it what strict mode wants (OpenAI: structured outputs): no members but
    the named ones, every named one required, no defaults.

    Raises:
        TypeError: the type has no schema, or it isn't that of an object.
    """
    if isinstance(kind, type) and isinstance(kind, _PydanticModel):
        schema = kind.model_json_schema()
    else:
        try:
            schema = msgspec.json.schema(kind)
        except (TypeError, RuntimeError) as error:
            raise TypeError(f"{_name(kind)} has no JSON schema: {error}") from error
    schema = _opened(schema)
    if schema.get("type") != "object":
        raise TypeError(
            f"the schema of {_name(kind)} is not an object's: put it into a field of a dataclass"
        )
    return _strict(schema) if strict else schema


def format_of(
    kind: type, *, name: str | None = None, description: str | None = None, strict: bool = True
) -> Schema:
    """What ``JsonSchemaFormat(**…)`` takes, named and described as the type is.

    Raises:
        TypeError: as :func:`json_schema_of`.
    """
    schema = json_schema_of(kind, strict=strict)
    said = description or schema.get("description")
    found: Schema = {"name": name or _name(kind), "schema": schema, "strict": strict}
    return {**found, "description": said} if said else found


def parse(kind: type[T], text: str | bytes) -> T:
    """The value that an answer states.

    Raises:
        AnswerError: it isn't JSON, or not of this type.
    """
    try:
        if isinstance(kind, _PydanticModel):
            read: Callable[[str | bytes], T] = kind.model_validate_json
            return read(text)
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise AnswerError(f"the answer is no {_name(kind)}: {error}") from error


def _name(kind: object) -> str:
    """A name that the API allows: letters, digits, ``_`` and ``-``, at most 64."""
    name = getattr(kind, "__name__", str(kind))
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:64]


def _opened(schema: Schema) -> Schema:
    """With the object itself at the top, where that was a reference."""
    schema = deepcopy(schema)
    reference = schema.pop("$ref", None)
    definitions = schema.get("$defs")
    if not isinstance(reference, str) or not isinstance(definitions, dict):
        return schema
    name = reference.removeprefix("#/$defs/")
    opened = {**definitions[name], **schema}
    # What refers to itself keeps its definition.
    others = {key: value for key, value in definitions.items() if key != name}
    if not _refers(definitions, reference):
        opened["$defs"] = others
    if not opened["$defs"]:
        del opened["$defs"]
    return opened


def _refers(value: object, reference: str) -> bool:
    if isinstance(value, Mapping):
        return value.get("$ref") == reference or any(_refers(v, reference) for v in value.values())
    return isinstance(value, list) and any(_refers(item, reference) for item in value)


def _strict(schema: Schema) -> Schema:
    return {name: _strict_part(name, value) for name, value in _closed(schema).items()}


def _strict_part(name: str, value: object) -> object:
    """Schemas below this one: in keywords that hold one, a list of them, or some by name."""
    if isinstance(value, dict):
        if name in {"properties", "$defs"}:
            return {key: _strict(part) for key, part in value.items()}
        return value if name in {"const", "discriminator"} else _strict(value)
    if isinstance(value, list) and name in {"anyOf", "allOf", "oneOf", "prefixItems"}:
        return [_strict(part) for part in value]
    return value


def _closed(schema: Schema) -> Schema:
    closed = {name: value for name, value in schema.items() if name != "default"}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        closed["additionalProperties"] = False
        closed["required"] = list(properties)
    return closed
