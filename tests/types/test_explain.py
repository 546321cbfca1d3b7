"""What is said of a wrong value."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from interlingua.errors import InvalidValue
from interlingua.types.explain import explain, harmless

BODY = ("body", "x")


def explained(value: object, kind: object) -> InvalidValue:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, kind)
    return explain(caught.value, kind, value, BODY)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Annotated[int, Meta(ge=1)], 0, "x must be an integer of at least 1, not 0."),
        (Annotated[float, Meta(gt=0)], 0, "x must be a number above 0, not 0."),
        (int, "a", 'x must be an integer, not "a".'),
        (int, "a" * 200, "x must be an integer, not a string."),
        (int, {"a": 1}, "x must be an integer, not an object."),
        (str, 10**200, "x must be a string, not this integer."),
        (str, None, "x must be a string, not null."),
        (bool, 1.5, "x must be true or false, not 1.5."),
        (Annotated[list[int], Meta(max_length=1)], [1, 2], "x must be a list of at most 1 items"),
        (Annotated[list[int], Meta(min_length=1)], [], "x must be a list of at least one item"),
        (list[int], 1, "x must be a list, not 1."),
        (list[int], [1, "a"], "x[1] must be an integer"),
        (tuple[int, str], [1, 2], "x[1] must be valid, not 2."),
        (dict[str, dict[str, int]], {"a": {"b": "c"}}, "Each value in x must be an integer."),
    ],
)
def test_the_message_says_what_would_be_right(kind: object, value: object, message: str) -> None:
    assert explained(value, kind).message.startswith(message)


def test_what_json_cannot_say_is_not_repeated() -> None:
    assert harmless(BODY, "\ud800") is None
    assert harmless(BODY, object) is None


def test_the_callers_own_words_are_not_repeated() -> None:
    for place in ("messages", "prompt", "input", "user"):
        assert harmless(("body", place, 0), "secret") is None
        assert harmless(("body", place, 0), 5) == 5
    assert harmless(("body", "messages", 0, "role"), "king") == "king"
