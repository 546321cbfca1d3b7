"""JSON schemas that are to hold the engine's output: what is refused before it gets there.

Rules of this file:
- What would take the engine down or far too long is refused here, before it gets there:
  numbers of repetitions, and references to elsewhere. Whether the rest compiles, only the
  engine knows: ask :meth:`LlamaServer.holds`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from interlingua.errors import InvalidValue, Location, ParameterNotSupported

#: A grammar with more repetitions takes seconds and gigabytes to compile.
MAX_REPEATS = 10_000
MAX_PATTERN_REPEATS = 1_000
MAX_PATTERN_CHARACTERS = 4_096

_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
_BOUND = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
#: Where a schema holds schemas: by name, as a list, as they are.
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "additionalItems", "contains", "not", "if", "then",
           "else", "propertyNames", "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
#: With these beside them, properties not listed may come from elsewhere.
_OPEN = frozenset({"patternProperties", "additionalProperties", "unevaluatedProperties",
                   "minProperties", "required", *_LISTS, *_REFERENCES})  # fmt: skip


class NotHeld(ValueError):
    """Why a schema can't be a grammar; a clause for the message."""


class Language(Protocol):
    """A grammar language of the engine's: :mod:`.lark` or :mod:`.gbnf`.

    The functions raise :class:`NotHeld` where a schema can't be written in it.
    """

    def any_object(self) -> str:
        """The grammar of any JSON object."""
        ...

    def document(self, schema: Mapping[str, object]) -> str:
        """The grammar of one JSON document."""
        ...

    def one_of(self, documents: Mapping[str, Mapping[str, object]]) -> str:
        """The grammar of a call: ``{"name": ..., "arguments": ...}`` with a name given here
        and arguments by its schema. Each schema keeps its own root for its references.
        """
        ...

    def or_text(self, grammar: str, text: str) -> str:
        """The grammar that also allows ``text`` instead."""
        ...


def closed(schema: Mapping[str, object]) -> dict[str, object]:
    """The schema, allowing no properties but the listed ones where it doesn't speak of
    others: a small model would go on inventing them. What it allows stays a subset.
    """
    if any("allOf" in part for part in _parts(schema)):
        return dict(schema)  # parts that are closed for themselves may exclude each other
    return _closed(schema)


def check(schema: Mapping[str, object], location: Location) -> None:
    """Refuse what must not reach the engine.

    Raises:
        ParameterNotSupported: a reference to elsewhere, too many repetitions, or a pattern
            that is too long.
        InvalidValue: a count or a pattern of the wrong type.
    """
    for part in _parts(schema):
        for name in _REFERENCES:
            if name in part and not str(part[name]).startswith("#"):
                raise _refused(f"'{name}' may only refer to the schema itself", location)
        for name in _COUNTS:
            _check_count(name, part.get(name), location)
        patterns = [part.get("pattern"), *_names(part.get("patternProperties"))]
        for pattern in patterns:
            _check_pattern(pattern, location)


def refusal(location: Location, reason: str = "") -> ParameterNotSupported:
    """What is raised for a schema that the engine can't be held to."""
    return _refused(
        reason
        or "the engine can't hold the model to it: it may contradict itself, refer to itself "
        "without end, or use keywords such as 'not', 'if', 'uniqueItems' or look-around patterns",
        location,
    )


def _closed(schema: Mapping[str, object]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, Mapping):
            result[key] = {name: _closed_if_schema(part) for name, part in value.items()}
        elif key in _LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            result[key] = [_closed_if_schema(part) for part in value]
        elif key in _SINGLE:
            result[key] = _closed_if_schema(value)
        else:
            result[key] = value
    listed = result.get("properties")
    required = result.get("required", ())
    if isinstance(listed, dict) and not (_OPEN - {"required"}) & result.keys():
        names = required if isinstance(required, Sequence) else ()
        if all(name in listed for name in names):
            result["additionalProperties"] = False
    return result


def _closed_if_schema(part: object) -> object:
    return _closed(part) if isinstance(part, Mapping) else part


def _parts(schema: object) -> Iterator[Mapping[str, object]]:
    """The schema and every schema in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        yield part
        for key in _BY_NAME:
            named = part.get(key)
            if isinstance(named, Mapping):
                waiting.extend(named.values())
        for key in (*_LISTS, *_SINGLE):
            value = part.get(key)
            waiting.extend(value if isinstance(value, (list, tuple)) else (value,))


def _names(value: object) -> list[object]:
    return list(value) if isinstance(value, Mapping) else []


def _check_count(name: str, count: object, location: Location) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int | float):
        raise InvalidValue(f"'{name}' of the schema is not a number.", location=location)
    if count > MAX_REPEATS:
        raise _refused(f"'{name}' is over {MAX_REPEATS}", location)


def _check_pattern(pattern: object, location: Location) -> None:
    if pattern is None:
        return
    if not isinstance(pattern, str):
        raise InvalidValue("'pattern' of the schema is not a string.", location=location)
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise _refused(f"a pattern is over {MAX_PATTERN_CHARACTERS} characters", location)
    product = 1
    for low, high in _BOUND.findall(pattern):
        if max(len(low), len(high)) > 9:
            raise _refused("a pattern repeats too often", location)
        most = max(int(low), int(high or 0), 1)
        product *= most
        if most > MAX_PATTERN_REPEATS or product > MAX_REPEATS * 100:
            raise _refused(f"a pattern repeats more than {MAX_PATTERN_REPEATS} times", location)


def _refused(reason: str, location: Location) -> ParameterNotSupported:
    return ParameterNotSupported(f"This schema can't be honoured: {reason}.", location=location)
