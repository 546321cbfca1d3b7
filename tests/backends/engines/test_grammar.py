"""Schemas that are to hold the engine: what is refused, what is closed, what is written."""

import json
import re

import pytest

from interlingua.backends.engines import gbnf, grammar, lark
from interlingua.errors import InvalidValue, ParameterNotSupported

PLACE = ("body", "response_format")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://example.com/schema"},
        {"type": "array", "items": {"$ref": "other.json"}},
        {"minItems": 10**12},
        {"anyOf": [{"maxLength": 10_001}]},
        {"pattern": "a{1,99999}"},
        {"pattern": "a{5000}"},
        {"pattern": "a{99999999999}"},
        {"pattern": "((a{1000}){1000}){2}"},
        {"pattern": "a" * 5000},
        {"properties": {"a": {"patternProperties": {"b{5000}": {}}}}},
    ],
)
def test_what_would_take_the_engine_down_is_refused_by_name(schema):
    with pytest.raises(ParameterNotSupported) as raised:
        grammar.check(schema, PLACE)
    assert raised.value.location == PLACE


@pytest.mark.parametrize("schema", [{"minItems": "3"}, {"minItems": True}, {"pattern": 3}])
def test_keywords_of_the_wrong_type_are_invalid(schema):
    with pytest.raises(InvalidValue):
        grammar.check(schema, PLACE)


def test_ordinary_schemas_pass():
    grammar.check({"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "^(a+)+$"}}}, PLACE)
    grammar.check({"items": [{"type": "string"}], "minItems": 2.0}, PLACE)


def test_objects_are_closed_where_they_do_not_speak_of_other_properties():
    schema = {
        "type": "object",
        "properties": {
            "properties": {"type": "object", "properties": {"x": {}}},
            "open": {"type": "object", "additionalProperties": True, "properties": {}},
            "list": {"type": "array", "items": {"properties": {}}},
            "either": {"anyOf": [{"properties": {"y": True}}, {"type": "null"}]},
            "needy": {"properties": {}, "required": ["unknown"]},
        },
        "required": ["open"],
    }
    closed = grammar.closed(schema)
    parts = closed["properties"]
    assert closed["additionalProperties"] is False
    assert parts["properties"]["additionalProperties"] is False
    assert parts["open"]["additionalProperties"] is True
    assert parts["list"]["items"]["additionalProperties"] is False
    assert parts["either"]["anyOf"][0]["additionalProperties"] is False
    assert "additionalProperties" not in parts["needy"]


def test_parts_of_all_of_are_left_alone():
    schema = {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}
    assert grammar.closed(schema) == schema


def test_a_lark_call_keeps_each_schema_as_a_root_of_its_own():
    made = lark.one_of({"f": {"$ref": "#/$defs/a", "$defs": {"a": {}}}, "g": {}})
    assert made.startswith("%llguidance {}\nstart: ")
    assert made.count("%json") == 2
    assert r'"{\"name\": \"f\", \"arguments\": "' in made
    assert lark.or_text(made, "<x>").endswith(' | "<x>"')


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#"}, "without end"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "without end"),
        ({"$ref": "#/$defs/none"}, "refers to nothing"),
        ({"$ref": "other"}, "the schema itself"),
        ({"type": "string", "pattern": "a"}, "'pattern'"),
        ({"not": {}}, "'not'"),
        ({"enum": []}, "'enum'"),
        ({"anyOf": []}, "'anyOf'"),
        ({"type": "banana"}, "type"),
        ({"allOf": [{"type": "string"}, {"maxLength": 2}]}, "'allOf'"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 2}]}, "'oneOf'"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "below its minimum"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "below its minimum"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "below its minimum"),
        ({"type": "integer", "minimum": 0.5}, "whole number"),
        ({"type": "number", "minimum": 3}, "minimum"),
        ({"type": "array", "maxItems": 5000}, "'maxItems'"),
        ({"type": "array", "maxItems": "x"}, "'maxItems'"),
        ({"properties": {"a": False}}, "allows nothing"),
        ({"properties": {}, "required": ["x"]}, "doesn't describe"),
        ({"properties": [1]}, "make no sense"),
        ({"properties": {"a": {}}, "minProperties": 1}, "minProperties"),
        ({"properties": {"a": {}}, "maxProperties": 0}, "maxProperties"),
        ({"type": "object", "additionalProperties": False, "minProperties": 1}, "needs some"),
        (
            {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "array"}]}},
            "begin alike",
        ),
    ],
)
def test_what_gbnf_can_not_hold_is_refused_with_its_reason(schema, reason):
    with pytest.raises(grammar.NotHeld, match=re.escape(reason)):
        gbnf.document(schema)


def test_many_alternatives_that_begin_alike_are_refused():
    schema: dict[str, object] = {"type": "array"}
    for _ in range(4):
        schema = {"type": "array", "items": {"anyOf": [schema] * 4}}
    with pytest.raises(grammar.NotHeld, match="too many alternatives"):
        gbnf.document(schema)


def numbers(expression: str) -> re.Pattern[str]:
    """A number's grammar as a regular expression: they share what is used here."""
    return re.compile(expression.replace('"', "").replace(" ", ""))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (0, 9), (7, 23), (17, 17), (-5, 123), (-120, -7), (99, 1001)]
)
def test_a_range_of_whole_numbers_is_exactly_that(low, high):
    rule = numbers(gbnf._between(low, high))
    for number in range(-1200, 1201):
        assert bool(rule.fullmatch(str(number))) == (low <= number <= high), number
    assert not rule.fullmatch("007")


def test_every_kind_of_schema_has_a_grammar():
    schema = {
        "title": "all",
        "type": "object",
        "properties": {
            "s": {"type": "string", "minLength": 1, "maxLength": 5, "format": "date"},
            "plain": {"type": "string"},
            "i": {"type": "integer", "exclusiveMinimum": 0, "maximum": 12},
            "any_int": {"type": "integer"},
            "nat": {"type": "integer", "minimum": 0},
            "n": {"type": "number"},
            "p": {"type": "number", "minimum": 0},
            "b": {"type": ["boolean", "null"]},
            "e": {"enum": ['a\n"', 1, None]},
            "c": {"const": {"x": [1]}},
            "l": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "minItems": 1},
            "none": {"type": "array", "maxItems": 0},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
            "no": {"type": "object", "additionalProperties": False},
            "w": {"allOf": [{"$ref": "#/$defs/leaf"}]},
            "u": True,
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["s", "next"],
        "$defs": {"leaf": {"type": "string"}},
    }
    made = gbnf.document(schema)
    assert made.startswith("root ::= r")
    assert json.dumps('"next"') in made
    either = gbnf.or_text(gbnf.any_object(), "<x>")
    assert either.startswith('root ::= "<x>" | object')


def test_a_refusal_names_the_place_and_the_reason():
    error = grammar.refusal(PLACE, "it is odd")
    assert error.location == PLACE
    assert error.message == "This schema can't be honoured: it is odd."
    assert "contradict" in grammar.refusal(PLACE).message
