"""What a chat request may say, and what is said of one that may not."""

import json

import pytest
from msgspec import UNSET

from interlingua.dialects.base import Target
from interlingua.errors import (
    InvalidPolicy,
    InvalidValue,
    TooManyUnknownParameters,
    UnknownParameters,
)
from interlingua.types.chat import (
    AssistantMessage,
    JsonSchemaFormat,
    NamedTool,
    TextPart,
    ToolMessage,
)

from .wires import AZURE, BOTH, OPENAI, call

HI = {"messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_an_unknown_name_is_refused_before_a_wrong_value() -> None:
    with pytest.raises(UnknownParameters) as caught:
        AZURE.read_chat(call({"n": 0, "messages": [], "x\r\n": 1}))
    assert caught.value.names == ("n", "x\r\n")


@pytest.mark.parametrize("policy", ["drop", "pass-through"])
def test_unknown_names_are_kept_as_they_are_under_other_policies(policy: str) -> None:
    request = AZURE.read_chat(call({**HI, "n": "x", "foo": [1]}, extra_parameters=policy))
    assert request.extra == {"n": "x", "foo": [1]}
    assert request.n is None


def test_a_wrong_policy_is_refused_on_every_route() -> None:
    wrong = call(HI, extra_parameters="ignore")
    for dialect in BOTH:
        with pytest.raises(InvalidPolicy, match="option ignore, expected"):
            dialect.read_policy(wrong)
        with pytest.raises(InvalidPolicy):
            dialect.read_chat(wrong)


def test_the_policy_is_the_calls_or_the_dialects_own() -> None:
    assert AZURE.read_policy(call(HI)) == "error"
    assert OPENAI.read_policy(call(HI)) is None
    assert AZURE.read_policy(call(HI, extra_parameters=" drop ")) == "drop"
    assert OPENAI.read_chat(call({**HI, "foo": 1})).extra == {"foo": 1}
    with pytest.raises(UnknownParameters):
        OPENAI.read_chat(call({**HI, "foo": 1}, extra_parameters="error"))


@pytest.mark.parametrize("policy", ["error", "drop", "pass-through"])
def test_more_than_64_unknown_names_are_refused_under_any_policy(policy: str) -> None:
    names = {f"x{i}": 1 for i in range(65)}
    for dialect in BOTH:
        with pytest.raises(TooManyUnknownParameters, match="65 fields"):
            dialect.read_chat(call({**HI, **names}, extra_parameters=policy))


def test_null_is_as_good_as_nothing_except_for_max_tokens() -> None:
    names = [name for name in OPENAI._style.chat.known if name not in {"messages", "model"}]
    request = OPENAI.read_chat(call({**HI, **dict.fromkeys(names)}))
    assert request.max_tokens is None
    assert OPENAI.read_chat(call(HI)).max_tokens is UNSET
    for name in request.__struct_fields__:
        if name != "max_tokens":
            assert getattr(request, name) == getattr(OPENAI.read_chat(call(HI)), name)


WRONG = [
    ({"temperature": 2.1}, ("temperature",), "temperature must be a number from 0 to 2, not 2.1."),
    ({"top_p": -1}, ("top_p",), "from 0 to 1"),
    ({"frequency_penalty": 3}, ("frequency_penalty",), "from -2 to 2"),
    ({"max_tokens": -1}, ("max_tokens",), "from 0 to 2147483647, not -1"),
    ({"max_tokens": 1.5}, ("max_tokens",), "an integer"),
    ({"seed": 2**63}, ("seed",), "an integer from -9223372036854775808"),
    ({"stop": ["a"] * 17}, ("stop",), "at most 16 items, not a list of 17"),
    ({"stop": ""}, ("stop",), "a non-empty string"),
    ({"stop": ["a", 1]}, ("stop", 1), "a non-empty string, not 1"),
    ({"stream": "yes"}, ("stream",), 'true or false, not "yes"'),
    ({"tools": []}, ("tools",), "a list of 1 to 128 items, not an empty list"),
    ({"tools": TOOLS * 129}, ("tools",), "not a list of 129"),
    ({"tools": [{"type": "x"}]}, ("tools", 0, "type"), "must be 'function', not \"x\""),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        ("tools", 0, "function", "name"),
        "matches",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]},
        ("tools", 0, "function", "parameters"),
        "an object, not 1",
    ),
    ({"tool_choice": "any"}, ("tool_choice",), "one of 'auto', 'none', 'required'"),
    ({"tool_choice": "required"}, ("tool_choice",), "without tools"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": TOOLS},
        ("tool_choice", "function", "name"),
        "a function in tools",
    ),
    (
        {"tool_choice": {"type": "function", "function": {"name": "g"}}},
        ("tool_choice", "function", "name"),
        "a function in tools",
    ),
    ({"response_format": {"type": "xml"}}, ("response_format", "type"), "'json_schema'"),
    (
        {"response_format": {"type": "json_schema"}},
        ("response_format", "json_schema"),
        "is required",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}},
        ("response_format", "json_schema", "schema"),
        "an object",
    ),
    ({"modalities": ["smell"]}, ("modalities", 0), "'audio', 'text'"),
    ({"user_security_context": 1}, ("user_security_context",), "an object"),
    ({"messages": []}, ("messages",), "a list of 1 to 10000 items"),
    ({"messages": [{"role": "king"}]}, ("messages", 0, "role"), "'developer'"),
    ({"messages": [{"content": "x"}]}, ("messages", 0, "role"), "is required"),
    ({"messages": [{"role": "user"}]}, ("messages", 0, "content"), "is required: a string"),
    ({"messages": [{"role": "system", "content": None}]}, ("messages", 0, "content"), "not null"),
    ({"messages": [{"role": "user", "content": []}]}, ("messages", 0, "content"), "at least one"),
    (
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        ("messages", 0, "content", 0, "type"),
        "one of 'text', 'image_url'",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "x"}}],
                }
            ]
        },
        ("messages", 0, "content", 0, "image_url", "detail"),
        "'auto', 'high', 'low'",
    ),
]


@pytest.mark.parametrize(("change", "place", "message"), WRONG)
def test_a_wrong_value_is_named_with_what_would_be_right(
    change: dict[str, object], place: tuple[str | int, ...], message: str
) -> None:
    for dialect in BOTH:
        with pytest.raises(InvalidValue) as caught:
            dialect.read_chat(call({**HI, **change}))
        assert caught.value.location == ("body", *place)
        assert message in caught.value.message


WRONG_ON_OPENAI = [
    ({"n": 10**6}, "n must be an integer from 1 to 128, not 1000000."),
    ({"logprobs": 10**6}, "logprobs must be true or false, not 1000000."),
    ({"logprobs": True, "top_logprobs": 21}, "from 0 to 20"),
    ({"top_logprobs": 2}, "needs logprobs"),
    ({"logit_bias": {"1": 101}}, "Each value in logit_bias must be a number from -100 to 100."),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias must be"),
    ({"max_tokens": 1, "max_completion_tokens": 2}, "are the same parameter"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage must be true or"),
    ({"parallel_tool_calls": "x"}, "true or false"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_ON_OPENAI)
def test_openais_own_parameters_are_judged_on_its_routes(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        OPENAI.read_chat(call({**HI, **change}))
    assert message in caught.value.message


def test_openais_own_parameters_are_read() -> None:
    request = OPENAI.read_chat(
        call(
            {
                **HI,
                "max_completion_tokens": 7,
                "stream": True,
                "stream_options": {"include_usage": True},
                "logprobs": True,
                "top_logprobs": 2,
                "logit_bias": {"50256": -100},
            }
        )
    )
    assert (request.max_tokens, request.include_usage, request.top_logprobs) == (7, True, 2)
    assert request.logit_bias == {"50256": -100}


def test_prompts_are_never_repeated_in_an_error() -> None:
    secret = {"role": "user", "content": [{"type": "text", "text": {"my": "secret"}}]}
    with pytest.raises(InvalidValue) as caught:
        AZURE.read_chat(call({"messages": [secret]}))
    assert "secret" not in caught.value.message
    assert caught.value.value is None


def test_unknown_members_inside_messages_are_accepted() -> None:
    messages = [
        {"role": "system", "content": "s", "name": "n", "x": 1},
        {"role": "developer", "content": [{"type": "text", "text": "d", "cache": {}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}], "audio": {"id": "1"}},
        {"role": "assistant", "content": "b", "reasoning_content": "r"},
        {"role": "tool", "name": "f", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant"},
        {"content": "role last", "role": "user"},
    ]
    read = AZURE.read_chat(call({"messages": messages})).messages
    assert read[2] == AssistantMessage((TextPart("a"),))
    assert read[3] == AssistantMessage("b", reasoning="r")
    assert read[4] == ToolMessage((TextPart("t"),))


def test_a_schema_and_a_named_tool_are_read() -> None:
    request = AZURE.read_chat(
        call(
            {
                **HI,
                "tools": TOOLS,
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
                },
            }
        )
    )
    assert request.tool_choice == NamedTool("f")
    assert request.response_format == JsonSchemaFormat(
        name="x", schema={"type": "object"}, strict=True
    )


def test_a_schema_too_large_or_too_deep_is_refused() -> None:
    deep: object = {}
    for _ in range(33):
        deep = {"a": deep}
    for schema in ({"description": "x" * 70_000}, deep):
        with pytest.raises(InvalidValue) as caught:
            AZURE.read_chat(
                call({**HI, "tools": [{"function": {"name": "f", "parameters": schema}}]})
            )
        assert caught.value.param == "tools[0].function.parameters"


def test_a_client_writes_the_limit_as_the_caller_spelled_it_or_the_provider_calls_it() -> None:
    request = OPENAI.read_chat(call({**HI, "max_completion_tokens": 5}))
    assert request.max_tokens == 5
    target = Target(model="m")
    body = json.loads(OPENAI.write_chat_call(request, target).body)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body
    renaming = Target(model="m", renames={"max_completion_tokens": "max_tokens"})
    assert json.loads(OPENAI.write_chat_call(request, renaming).body)["max_tokens"] == 5


def test_a_limit_that_is_null_keeps_its_name() -> None:
    request = OPENAI.read_chat(call({**HI, "max_completion_tokens": None}))
    assert json.loads(OPENAI.write_chat_call(request, Target()).body) == {
        **HI,
        "max_completion_tokens": None,
    }
