"""Schemas of types, and answers read back as values of them."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from interlingua.models import JsonSchemaFormat
from interlingua.schemas import AnswerError, format_of, json_schema_of, parse


class Place(msgspec.Struct):
    """Somewhere on Earth."""

    name: str
    degrees: Annotated[float, msgspec.Meta(ge=-90, le=90)] = 0.0


class Trip(msgspec.Struct):
    start: Place
    stops: list[Place] = []
    kind: Literal["car", "train"] = "train"
    note: str | None = None
    prices: dict[str, float] = {}


@dataclass
class Step:
    explanation: str
    results: list[float] = field(default_factory=list)


class Pet(TypedDict):
    name: str
    age: NotRequired[int]


class Tree(msgspec.Struct):
    value: int
    children: list["Tree"] = []


class Default(pydantic.BaseModel):
    """What pydantic makes."""

    default: int = 3


class Event(pydantic.BaseModel):
    name: str
    inner: Default = Default()
    people: list[Default] = []


def objects(schema: object) -> list[dict[str, object]]:
    """Every schema of an object with named members, at any depth."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if isinstance(schema.get("properties"), dict) and "type" in schema else []
    return own + [found for item in schema.values() for found in objects(item)]


@pytest.mark.parametrize("kind", [Trip, Place, Step, Pet, Tree, Event, Default])
def test_a_strict_schema_names_and_requires_every_member(kind: type) -> None:
    schema = json_schema_of(kind)
    assert schema["type"] == "object"
    found = objects(schema)
    assert found
    for each in found:
        properties = each["properties"]
        assert isinstance(properties, dict)
        assert each["additionalProperties"] is False
        assert each["required"] == list(properties)
        assert all("default" not in part for part in properties.values())


def test_a_struct_becomes_a_schema_that_is_complete_in_itself() -> None:
    assert json_schema_of(Trip) == {
        "title": "Trip",
        "type": "object",
        "properties": {
            "start": {"$ref": "#/$defs/Place"},
            "stops": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
            "kind": {"enum": ["car", "train"]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "prices": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["start", "stops", "kind", "note", "prices"],
        "additionalProperties": False,
        "$defs": {
            "Place": {
                "title": "Place",
                "description": "Somewhere on Earth.",
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "degrees": {"type": "number", "minimum": -90, "maximum": 90},
                },
                "required": ["name", "degrees"],
                "additionalProperties": False,
            }
        },
    }


def test_a_schema_that_is_not_strict_keeps_what_may_be_left_out() -> None:
    schema = json_schema_of(Pet, strict=False)
    assert schema["required"] == ["name"]
    assert "additionalProperties" not in schema
    assert "$defs" not in schema


def test_a_type_that_holds_itself_keeps_its_definition() -> None:
    schema = json_schema_of(Tree)
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    assert definitions["Tree"]["additionalProperties"] is False


@pytest.mark.parametrize("kind", [int, list[int], Trip | None, object, set])
def test_what_is_no_object_is_refused(kind: type) -> None:
    with pytest.raises(TypeError):
        json_schema_of(kind)


def test_a_type_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        json_schema_of(complex)


def test_the_format_is_named_and_described_as_the_type() -> None:
    schema = json_schema_of(Place)
    assert format_of(Place) == {
        "name": "Place",
        "schema": schema,
        "strict": True,
        "description": "Somewhere on Earth.",
    }
    assert format_of(Trip, name="t", description="d", strict=False) == {
        "name": "t",
        "schema": json_schema_of(Trip, strict=False),
        "strict": False,
        "description": "d",
    }
    assert "description" not in format_of(Trip)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Place, '{"name": "x", "degrees": 1}', Place("x", 1.0)),
        (Step, b'{"explanation": "e", "results": [1]}', Step("e", [1.0])),
        (Pet, '{"name": "x"}', {"name": "x"}),
        (Default, '{"default": 4}', Default(default=4)),
        (list[int], "[1]", [1]),
    ],
    ids=str,
)
def test_an_answer_is_read_back(kind: type, text: str | bytes, value: object) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize("kind", [Place, Step, Pet, Event])
@pytest.mark.parametrize("text", ["", "{", '{"name": 1}', '{"x": 1}', "[]", '{"name": "\\ud8'])
def test_an_answer_of_another_type_is_refused(kind: type, text: str) -> None:
    with pytest.raises(AnswerError, match=f"the answer is no {kind.__name__}: "):
        parse(kind, text)


T = TypeVar("T")


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


@pytest.mark.parametrize("kind", [Trip, Step, Pet, Event, Page[Place]])
def test_a_type_can_stand_for_the_format_of_an_answer(kind: Any) -> None:
    made = JsonSchemaFormat(kind)
    assert made.as_dict() == format_of(kind)
    assert made == JsonSchemaFormat(**format_of(kind))
    assert made.strict is True
    assert JsonSchemaFormat(kind, name="n", description="d", strict=False).as_dict() == format_of(
        kind, name="n", description="d", strict=False
    )
    assert JsonSchemaFormat(kind, name=None, strict=None) == made


def test_a_format_takes_what_microsofts_takes_and_types_that_have_a_schema() -> None:
    written = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert JsonSchemaFormat(written) == JsonSchemaFormat(**written) == written
    for wrong in (int, list[int], type(iter(()))):
        with pytest.raises(TypeError):
            JsonSchemaFormat(wrong)
    with pytest.raises(TypeError, match="schema"):
        JsonSchemaFormat(Place, schema={})  # type: ignore[call-overload]  # a type has its own
    with pytest.raises(TypeError):
        JsonSchemaFormat(Place, Trip)  # type: ignore[call-overload]  # one is enough
