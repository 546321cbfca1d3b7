"""JSON schemas as GBNF, llama.cpp's own grammar language, for vocabularies of sentencepiece.

llguidance, which takes schemas as they are, misreads these: llama.cpp gives it their tokens
without the leading space (common/llguidance.cpp), so what it holds isn't what comes out.
Drop this module when that is mended.

Rules of this file:
- A grammar may allow less than the schema, never more. What can't be written so is refused
  with its reason.
- Alternatives that begin alike multiply the engine's work at every level, so their number
  along a path is bounded, and recursion through them is refused.

Source: llama.cpp, grammars/README.md; JSON Schema 2020-12.
"""

import json
from collections.abc import Mapping, Sequence

from .grammar import NotHeld

#: Not read: they say nothing of what is valid, or hold parts that are read by reference.
_NOTES = frozenset({"title", "description", "default", "examples", "$comment", "$schema", "$id",
                    "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "format",
                    "$anchor", "strict", "nullable", "discriminator"})  # fmt: skip
_OF_TYPE = {
    "object": {"properties", "required", "additionalProperties", "patternProperties",
               "minProperties", "maxProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum"},
    "boolean": set(),
    "null": set(),
}  # fmt: skip
_MOST_ALIKE = 64
_MOST_REPEATS = 2_000
_MOST_RULES = 20_000
_DIGITS = 15

_BASE = r"""
ws ::= | " " | "\n" [ \t]{0,20}
char ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
string ::= "\"" char* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,14})
natural ::= ("0" | [1-9] [0-9]{0,14})
number ::= integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
positive ::= natural ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
member ::= string ws ":" ws value
object ::= "{" ws (member (ws "," ws member)* ws)? "}"
array ::= "[" ws (value (ws "," ws value)* ws)? "]"
value ::= object | array | string | number | boolean | null
"""


def any_object() -> str:
    """The grammar of any JSON object."""
    return f"root ::= object{_BASE}"


def document(schema: Mapping[str, object]) -> str:
    """The grammar of one JSON document.

    Raises:
        NotHeld: the schema can't be written as a grammar.
    """
    rules: dict[str, str] = {}
    return _text(_Schema(schema, rules).rule(), rules)


def one_of(documents: Mapping[str, Mapping[str, object]]) -> str:
    """The grammar of ``{"name": ..., "arguments": ...}``; each schema has its own root.

    Raises:
        NotHeld: a schema can't be written as a grammar.
    """
    rules: dict[str, str] = {}
    calls = " | ".join(
        _literal(f'{{"name": "{name}", "arguments": ')
        + f" {_Schema(schema, rules).rule()} "
        + _literal("}")
        for name, schema in documents.items()
    )
    return _text(calls, rules)


def or_text(grammar: str, text: str) -> str:
    """The grammar that also allows ``text`` instead."""
    return grammar.replace("root ::= ", f"root ::= {_literal(text)} | ", 1)


def _text(root: str, rules: Mapping[str, str]) -> str:
    return f"root ::= {root}{_BASE}" + "".join(
        f"{name} ::= {body}\n" for name, body in rules.items()
    )


class _Schema:
    """Writes the rules of one schema, whose references it resolves."""

    def __init__(self, root: Mapping[str, object], rules: dict[str, str]) -> None:
        self._root = root
        self._rules = rules
        #: Rule of each reference, and how many alternatives lay on the way to it.
        self._references: dict[str, tuple[str, int]] = {}
        #: References under way with no character written since: coming back is endless.
        self._silent: list[str] = []
        self._alike = 1

    def rule(self) -> str:
        return self._of(self._root)

    def _of(self, schema: object) -> str:
        """The expression of a schema: the name of a rule."""
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            raise NotHeld("a part of it allows nothing, or isn't a schema")
        if "$ref" in schema:
            _only(schema, {"$ref"})
            return self._reference(str(schema["$ref"]))
        if "const" in schema:
            _only(schema, {"const", "type"})
            return self._add(_json_literal(schema["const"]))
        if "enum" in schema:
            return self._enum(schema)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                _only(schema, {key})
                return self._combined(key, schema[key])
        return self._typed(schema)

    def _add(self, body: str) -> str:
        if len(self._rules) >= _MOST_RULES:
            raise NotHeld("it is too large")
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def _reference(self, pointer: str) -> str:
        if pointer in self._silent:
            raise NotHeld("it refers to itself without end")
        if pointer in self._references:
            name, alike = self._references[pointer]
            if self._alike > alike:
                raise NotHeld("it refers to itself through alternatives that begin alike")
            return name
        name = self._add("")
        self._references[pointer] = (name, self._alike)
        self._silent.append(pointer)
        self._rules[name] = self._of(_resolve(self._root, pointer))
        self._silent.pop()
        return name

    def _within(self, schema: object) -> str:
        """A schema after a character was written."""
        silent, self._silent = self._silent, []
        try:
            return self._of(schema)
        finally:
            self._silent = silent

    def _enum(self, schema: Mapping[str, object]) -> str:
        _only(schema, {"enum", "type"})
        values = schema["enum"]
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise NotHeld("an 'enum' of it is empty")
        return self._add(" | ".join(map(_json_literal, values)))

    def _combined(self, key: str, parts: object) -> str:
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise NotHeld(f"an '{key}' of it is empty")
        if len(parts) == 1:
            return self._of(parts[0])
        if key == "allOf":
            raise NotHeld("it joins several schemas by 'allOf'")
        kinds = [self._kind(part) for part in parts]
        alike = max(kinds.count(kind) for kind in kinds)
        if key == "oneOf" and alike > 1:
            raise NotHeld("the alternatives of a 'oneOf' begin alike; 'anyOf' is supported")
        before, self._alike = self._alike, self._alike * alike
        if self._alike > _MOST_ALIKE:
            raise NotHeld("it has too many alternatives that begin alike")
        try:
            return self._add(" | ".join([self._of(part) for part in parts]))
        finally:
            self._alike = before

    def _kind(self, schema: object, depth: int = 0) -> str:
        """How the texts of a schema begin; schemas of one kind can't be told apart at once."""
        if not isinstance(schema, Mapping) or depth > 32:
            return "any"
        if "$ref" in schema:
            return self._kind(_resolve(self._root, str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return json.dumps(schema["const"])
        kind = schema.get("type")
        if not isinstance(kind, str):
            return "object" if "properties" in schema else "any"
        return "number" if kind == "integer" else kind

    def _typed(self, schema: Mapping[str, object]) -> str:
        kind = schema.get("type")
        if isinstance(kind, Sequence) and not isinstance(kind, str):
            shared = {key: value for key, value in schema.items() if key != "type"}
            each = [_for_type(shared, name) for name in kind]
            return self._combined("anyOf", each)
        if kind is None:
            kind = next((name for name, keys in _OF_TYPE.items() if keys & schema.keys()), None)
        if kind is None:
            _only(schema, set())
            return "value"
        if not isinstance(kind, str) or kind not in _OF_TYPE:
            raise NotHeld(f"it names a type that isn't one of {', '.join(_OF_TYPE)}")
        _only(schema, {"type", *_OF_TYPE[kind]})
        writers = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": _number,
        }
        return writers[kind](schema) if kind in writers else kind

    def _object(self, schema: Mapping[str, object]) -> str:
        listed = schema.get("properties") or {}
        required = schema.get("required") or ()
        if not isinstance(listed, Mapping) or not isinstance(required, Sequence):
            raise NotHeld("the properties of an object in it make no sense")
        if any(name not in listed for name in required):
            raise NotHeld("it requires a property that it doesn't describe")
        if not listed:
            return self._map(schema)
        # Others than the listed properties may be allowed; leaving them out is, too.
        if _count(schema, "minProperties", 0) > len(required):
            raise NotHeld("'minProperties' asks for more than the required ones")
        if _count(schema, "maxProperties", len(listed)) < len(listed):
            raise NotHeld("'maxProperties' allows fewer than the listed ones")
        members = [
            (f'{_json_literal(str(name))} ws ":" ws {self._within(part)}', name in required)
            for name, part in listed.items()
        ]
        # From the last member back: what may follow, at the start and after another member.
        first, later = '"}"', 'ws "}"'
        for member, needed in reversed(members):
            rest = self._add(later)
            begin, follow = f"{member} {rest}", f'ws "," ws {member} {rest}'
            first, later = (
                (begin, follow) if needed else (f"{begin} | {first}", f"{follow} | {later}")
            )
        return self._add(f'"{{" ws ({first})')

    def _map(self, schema: Mapping[str, object]) -> str:
        values = schema.get("additionalProperties", True)
        low, high = _count(schema, "minProperties", 0), _count(schema, "maxProperties", -1)
        if values is False:
            if low > 0:
                raise NotHeld("an object in it may have no properties but needs some")
            return self._add('"{" ws "}"')
        member = self._add(f'string ws ":" ws {self._within(values)}')
        return self._add(_series("{", member, "}", low, high))

    def _array(self, schema: Mapping[str, object]) -> str:
        item = self._within(schema.get("items", True))
        low, high = _count(schema, "minItems", 0), _count(schema, "maxItems", -1)
        return self._add(_series("[", item, "]", low, high))

    def _string(self, schema: Mapping[str, object]) -> str:
        low, high = _count(schema, "minLength", 0), _count(schema, "maxLength", -1)
        if low == 0 and high < 0:
            return "string"
        return self._add(f'"\\"" char{_times(low, high)} "\\""')

    def _integer(self, schema: Mapping[str, object]) -> str:
        low = _bound(schema, "minimum", "exclusiveMinimum", 1)
        high = _bound(schema, "maximum", "exclusiveMaximum", -1)
        if low is None and high is None:
            return "integer"
        if low == 0 and high is None:
            return "natural"
        most = 10**_DIGITS - 1
        return self._add(_between(-most if low is None else low, most if high is None else high))


def _only(schema: Mapping[str, object], known: set[str]) -> None:
    """Refuse what isn't written into the grammar."""
    for key in schema:
        if key not in known and key not in _NOTES and not key.startswith("x-"):
            raise NotHeld(f"'{str(key)[:64]}' isn't supported there for this model")


def _for_type(schema: Mapping[str, object], kind: object) -> dict[str, object]:
    """The schema for one of its types: keywords of the others say nothing then."""
    others = set().union(*(keys for name, keys in _OF_TYPE.items() if name != kind))
    others -= _OF_TYPE.get(str(kind), set())
    return {"type": kind, **{key: value for key, value in schema.items() if key not in others}}


def _resolve(root: Mapping[str, object], pointer: str) -> object:
    if not pointer.startswith("#"):
        raise NotHeld("'$ref' may only refer to the schema itself")
    found: object = root
    for step in pointer[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise NotHeld("a '$ref' in it refers to nothing")
        found = found[name]
    return found


def _number(schema: Mapping[str, object]) -> str:
    minimum = schema.get("minimum")
    if minimum is None:
        return "number"
    if minimum == 0:
        return "positive"
    raise NotHeld("a 'minimum' of numbers other than 0 isn't supported for this model")


def _count(schema: Mapping[str, object], key: str, default: int) -> int:
    value = schema.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise NotHeld(f"'{key}' isn't a whole number")
    if value > _MOST_REPEATS:
        raise NotHeld(f"'{key}' is over {_MOST_REPEATS}")
    return int(value)


def _bound(schema: Mapping[str, object], key: str, exclusive: str, step: int) -> int | None:
    found: list[int] = []
    for name, shift in ((key, 0), (exclusive, step)):
        value = schema.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 10**_DIGITS:
            raise NotHeld(f"'{name}' of an integer isn't a whole number below 10^{_DIGITS}")
        found.append(value + shift)
    if not found:
        return None
    return max(found) if step > 0 else min(found)


def _series(opening: str, item: str, closing: str, low: int, high: int) -> str:
    """Items with commas between brackets; ``high`` below 0: any number."""
    if 0 <= high < low:
        raise NotHeld("a maximum in it is below its minimum")
    empty = f"{_literal(opening)} ws {_literal(closing)}"
    if high == 0:
        return empty
    more = f'(ws "," ws {item}){_times(max(low - 1, 0), high - 1 if high > 0 else -1)}'
    full = f"{_literal(opening)} ws {item} {more} ws {_literal(closing)}"
    return full if low else f"{full} | {empty}"


def _times(low: int, high: int) -> str:
    if 0 <= high < low:
        raise NotHeld("a maximum in it is below its minimum")
    return f"{{{low},{high if high >= 0 else ''}}}"


def _between(low: int, high: int) -> str:
    """Whole numbers from ``low`` to ``high``."""
    if low > high:
        raise NotHeld("a maximum in it is below its minimum")
    parts: list[str] = []
    if low < 0:
        parts.append(f'"-" ({_digits(max(1, -high), -low)})')
    if high >= 0:
        parts.append(_digits(max(0, low), high))
    return " | ".join(parts)


def _digits(low: int, high: int) -> str:
    parts: list[str] = []
    start = low
    while start <= high:
        end = min(high, 10 ** len(str(start)) - 1)
        parts.append(_same_length(str(start), str(end)))
        start = end + 1
    return " | ".join(parts)


def _same_length(low: str, high: str) -> str:
    """Numbers between two of as many digits."""
    if not low or (set(low) == {"0"} and set(high) == {"9"}):
        return f"[0-9]{{{len(low)}}}" if low else '""'
    rest = len(low) - 1
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    parts = [f'"{low[0]}" ({_same_length(low[1:], "9" * rest)})']
    if int(high[0]) - int(low[0]) > 1:
        middle = f"[{int(low[0]) + 1}-{int(high[0]) - 1}]"
        parts.append(f"{middle} [0-9]{{{rest}}}" if rest else middle)
    parts.append(f'"{high[0]}" ({_same_length("0" * rest, high[1:])})')
    return " | ".join(parts)


def _json_literal(value: object) -> str:
    return _literal(json.dumps(value, ensure_ascii=False))


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
