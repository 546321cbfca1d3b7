"""Functions as tools, and the calls that a model asks for."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Literal

import msgspec
import pytest

from interlingua.tools import ToolCallError, run_tools, run_tools_async, tool


def weather(city: str, unit: Literal["C", "F"] = "C", days: int | None = None) -> dict[str, object]:
    """The weather to come.

    As the office says.

    Args:
        city: its name,
            as people say it
        unit (str): of the temperature
        unknown: not a parameter

    Returns:
        a forecast
    """
    return {"city": city, "unit": unit, "days": days}


async def later(text: str) -> str:
    return text.upper()


def call(name: str, arguments: str, number: str = "call_1") -> dict[str, object]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_function_is_defined_by_its_signature_and_docstring() -> None:
    assert tool(weather) == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather to come.\n\nAs the office says.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "its name, as people say it"},
                    "unit": {
                        "enum": ["C", "F"],
                        "default": "C",
                        "description": "of the temperature",
                    },
                    "days": {
                        "anyOf": [{"type": "integer"}, {"type": "null"}],
                        "default": None,
                    },
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }


def test_a_strict_tool_requires_everything() -> None:
    function = tool(weather, strict=True)["function"]
    assert isinstance(function, dict)
    assert function["strict"] is True
    assert function["parameters"]["required"] == ["city", "unit", "days"]


def test_parameters_are_described_by_fields_and_annotations_too() -> None:
    def first(x: int) -> None:
        """First.

        :param x: a number
        """

    def second(x: Annotated[int, msgspec.Meta(description="a number", ge=0)]) -> None:
        pass

    for function in (first, second):
        definition = tool(function)["function"]
        assert isinstance(definition, dict)
        assert definition["parameters"]["properties"]["x"]["description"] == "a number"
    assert "description" not in tool(second)["function"]  # type: ignore[operator]  # a dict


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    def now() -> str:
        return "noon"

    definition = tool(now)["function"]
    assert isinstance(definition, dict)
    assert definition["parameters"] == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert run_tools([call("now", "")], [now])[0]["content"] == "noon"


def test_what_a_model_cannot_give_is_refused() -> None:
    def untyped(x) -> None: ...  # type: ignore[no-untyped-def]  # that is the point
    def many(*x: int) -> None: ...
    def by_place(x: int, /) -> None: ...
    def foreign(x: complex) -> None: ...

    for function in (untyped, many, by_place, foreign):
        with pytest.raises(TypeError, match=r"untyped|any number|by_place|complex"):
            tool(function)


def test_calls_are_made_in_order_and_become_tool_messages() -> None:
    calls = [call("weather", '{"city": "Oslo"}'), call("shout", '{"text": "é"}', "call_2")]

    def shout(text: str) -> str:
        return text.upper()

    assert run_tools(calls, [weather, shout]) == [
        {
            "role": "tool",
            "content": '{"city":"Oslo","unit":"C","days":null}',
            "tool_call_id": "call_1",
        },
        {"role": "tool", "content": "É", "tool_call_id": "call_2"},
    ]


def test_messages_and_objects_are_taken_as_well_as_dictionaries() -> None:
    as_object = SimpleNamespace(
        id="a", function=SimpleNamespace(name="w", arguments='{"city": "Oslo"}')
    )
    for answer in (
        {"tool_calls": [call("w", '{"city": "Oslo"}', "a")]},
        SimpleNamespace(tool_calls=[as_object]),
        [as_object],
    ):
        [message] = run_tools(answer, {"w": weather})
        assert message["tool_call_id"] == "a"
    assert run_tools({"tool_calls": None}, [weather]) == []


def test_arguments_arrive_as_the_types_that_the_function_names() -> None:
    @dataclass
    class Place:
        name: str

    def where(place: Place) -> str:
        return place.name

    where.__annotations__["place"] = Place
    assert (
        run_tools([call("where", '{"place": {"name": "here"}}')], [where])[0]["content"] == "here"
    )


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("rm", "{}", r"there is no tool 'rm', only \['weather'\]"),
        ("weather", "{", "the arguments of 'weather' are wrong"),
        ("weather", "{}", "missing required field `city`"),
        ("weather", '{"city": 3}', "Expected `str`, got `int`"),
        ("weather", '{"city": "x", "unit": "K"}', "Invalid enum value 'K'"),
        ("weather", '{"city": "x", "sudo": 1}', "unknown field `sudo`"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused_or_told(
    name: str, arguments: str, said: str
) -> None:
    with pytest.raises(ToolCallError, match=said):
        run_tools([call(name, arguments)], [weather])
    [message] = run_tools([call(name, arguments)], [weather], errors_as_text=(ToolCallError,))
    assert str(message["content"]).startswith("Error: ")


def test_what_a_function_raises_goes_on_unless_it_is_to_be_told() -> None:
    def fails() -> str:
        raise KeyError("nowhere")

    with pytest.raises(KeyError):
        run_tools([call("fails", "{}")], [fails], errors_as_text=(ToolCallError,))
    [message] = run_tools([call("fails", "{}")], [fails], errors_as_text=(LookupError,))
    assert message["content"] == "Error: 'nowhere'"


@pytest.mark.anyio
async def test_asynchronous_functions_are_awaited() -> None:
    calls = [call("later", '{"text": "a"}'), call("weather", '{"city": "x"}'), call("no", "{}")]
    messages = await run_tools_async(calls, [later, weather], errors_as_text=(ToolCallError,))
    assert [str(m["content"])[:6] for m in messages] == ["A", '{"city', "Error:"]


def test_asynchronous_functions_are_not_taken_without_awaiting() -> None:
    with pytest.raises(TypeError, match="run_tools_async"):
        run_tools([call("later", '{"text": "a"}')], [later])
