"""Anthropic's wire against golden files whose source is named in golden/README.md."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.dialects.anthropic import AnthropicDialect
from interlingua.dialects.anthropic_request import DEFAULT_MAX_TOKENS
from interlingua.dialects.base import Target
from interlingua.errors import (
    ApiError,
    BodyTooLarge,
    CallerError,
    DeadlineExceeded,
    InternalError,
    InvalidValue,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
    UnknownModel,
    UpstreamError,
)
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    DeveloperMessage,
    ImagePart,
    JsonSchemaFormat,
    NamedTool,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from interlingua.types.usage import Usage

from .wires import folded, golden, heard

WIRE = AnthropicDialect()
TARGET = Target(model="claude-haiku-4-5", headers={"anthropic-version": "2023-06-01"})
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="get_weather", description="Weather of a city", parameters=SCHEMA, strict=True)
HELLO = UserMessage("Hello")
STREAMS = ("anthropic_stream.sse", "anthropic_tool_stream.sse", "anthropic_thinking_stream.sse")


def written(*messages: Any, **fields: Any) -> dict[str, Any]:
    request = ChatRequest(messages=messages or (HELLO,), **fields)
    body = json.loads(WIRE.write_chat_call(request, TARGET).body)
    assert isinstance(body, dict)
    return body


def test_a_request_is_what_the_official_client_sends() -> None:
    call = WIRE.write_chat_call(
        ChatRequest(
            messages=(
                SystemMessage("You answer briefly."),
                UserMessage(
                    (
                        TextPart("What is this, and what is the weather there?"),
                        ImagePart("data:image/png;base64,iVBORw0KGgo="),
                        ImagePart("https://example.com/a.jpg"),
                    )
                ),
                AssistantMessage(
                    "Let me look.",
                    (
                        ToolCall(id="toolu_1", name="get_weather", arguments='{"city": "Rome"}'),
                        ToolCall(id="toolu_2", name="get_weather", arguments='{"city": "Oslo"}'),
                    ),
                    reasoning="Not told again",
                ),
                ToolMessage("sunny", "toolu_1"),
                ToolMessage((TextPart("rain"),), "toolu_2"),
                UserMessage("Go on.", name="left out"),
            ),
            max_tokens=256,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            stop=("END",),
            tools=(WEATHER,),
            tool_choice=NamedTool("get_weather"),
            parallel_tool_calls=False,
            response_format=JsonSchemaFormat(name="city", schema=SCHEMA),
            reasoning_effort="low",
        ),
        TARGET,
    )
    assert json.loads(call.body) == json.loads(golden("anthropic_sdk_request.json"))
    assert (call.method, call.path, call.query) == ("POST", "/messages", {})
    assert call.headers["anthropic-version"] == "2023-06-01"


def test_the_least_request_has_the_limit_that_the_wire_wants() -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    least = {"model": "claude-haiku-4-5", "max_tokens": DEFAULT_MAX_TOKENS, "messages": said}
    assert written() == written(max_tokens=None) == least
    assert written(stream=True, include_usage=True) == least | {"stream": True}
    assert written(max_tokens=0)["max_tokens"] == 0
    request = ChatRequest(messages=(HELLO,), model="theirs")
    assert json.loads(WIRE.write_chat_call(request, Target()).body)["model"] == "theirs"


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (NamedTool("f"), None, {"type": "tool", "name": "f"}),
    ],
)
def test_every_choice_of_tools_has_its_word(choice: Any, parallel: Any, told: Any) -> None:
    body = written(tools=(Tool(name="f"),), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == told
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert "tool_choice" not in written(tool_choice="none", parallel_tool_calls=parallel)


def test_instructions_go_to_the_top_and_turns_of_one_role_are_one() -> None:
    body = written(
        SystemMessage("a"),
        UserMessage("b"),
        DeveloperMessage((TextPart("c"), TextPart(""))),
        UserMessage("d"),
        AssistantMessage("", (ToolCall(id="functions.f:0", name="f", arguments=""),)),
        ToolMessage(None, "functions.f:0"),
        AssistantMessage(None),
    )
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]
    call = {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {}}
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "d"}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions_f_0"}]},
    ]


def test_an_image_that_does_not_say_what_it_is_is_looked_at() -> None:
    body = written(
        UserMessage((ImagePart("data:application/octet-stream;base64,/9j/4AAQSkZJRg=="),))
    )
    assert body["messages"][0]["content"][0]["source"]["media_type"] == "image/jpeg"


CALL = ToolCall(id="a", name="f", arguments="[1]")
IMAGE = ("body", "messages", 0, "content", 0, "image_url", "url")


@pytest.mark.parametrize(
    ("message", "location"),
    [
        (UserMessage((ImagePart("data:image/png,raw"),)), IMAGE),
        (UserMessage((ImagePart("data:image/png;base64"),)), IMAGE),
        (UserMessage((ImagePart("data:;base64,AAAA"),)), IMAGE),
        (UserMessage((ImagePart("data:application/octet-stream;base64,é"),)), IMAGE),
        (UserMessage((AudioPart(data="AA", format="wav"),)), IMAGE[:5]),
        (SystemMessage((ImagePart("data:image/png;base64,AA"),)), IMAGE[:5]),
        (ToolMessage("x"), ("body", "messages", 0, "tool_call_id")),
        (
            AssistantMessage("", (CALL,)),
            ("body", "messages", 0, "tool_calls", 0, "function", "arguments"),
        ),
    ],
)
def test_what_the_wire_has_no_place_for_is_refused_by_its_place(
    message: Any, location: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidValue) as caught:
        written(message)
    assert caught.value.location == location


def test_what_was_passed_through_stands_beside_and_never_replaces() -> None:
    body = written(extra={"thinking": {"type": "adaptive"}, "metadata": {"user_id": "x"}})
    assert body["thinking"] == {"type": "adaptive"}
    body = written(reasoning_effort="low", extra={"output_config": {"task_budget": 5}})
    assert body["output_config"] == {"effort": "low", "task_budget": 5}
    body = written(extra={"top_k": 3, "max_completion_tokens": 9, "reasoning_effort": "high"})
    assert (body["top_k"], body["max_tokens"]) == (3, 9)
    assert body["output_config"] == {"effort": "high"}
    assert {"max_completion_tokens", "reasoning_effort"} & set(body) == set()
    for extra, place in (
        ({"system": "x"}, ("system",)),
        ({"stop_sequences": ["y"]}, ("stop_sequences",)),
        ({"output_config": {"effort": "high"}}, ("output_config", "effort")),
        ({"top_k": "many"}, ("top_k",)),
        ({"max_completion_tokens": 8}, ("max_completion_tokens",)),
    ):
        with pytest.raises(InvalidValue) as caught:
            written(
                SystemMessage("a"), HELLO, stop=("x",), reasoning_effort="low", max_tokens=9,
                extra=extra,
            )  # fmt: skip
        assert caught.value.location == ("body", *place)
    with pytest.raises(InvalidValue):
        written(response_format=JsonSchemaFormat(name="x"))


def test_a_reply_is_read() -> None:
    whole = WIRE.read_chat(golden("anthropic_reply.json"))
    (choice,) = whole.choices
    assert (choice.text, choice.reasoning) == (
        "I'll check the weather.",
        "The user wants the weather.",
    )
    assert [(call.id, call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
        ("toolu_01A09q90qw90lq917835lq9", "get_weather", {"location": "San Francisco, CA"}),
        ("toolu_02", "get_time", {}),
    ]
    assert choice.finish_reason == "tool_calls"
    assert whole.usage == Usage(400, 54, 16, 20)


def test_a_refusal_is_a_content_filter_with_its_reason() -> None:
    (choice,) = WIRE.read_chat(golden("anthropic_refusal_reply.json")).choices
    assert choice.finish_reason == "content_filter"
    assert choice.refusal == "The request could enable cyber harm."


def test_a_stream_is_read_piece_by_piece() -> None:
    texts = heard(WIRE, golden("anthropic_stream.sse"))
    assert [delta.text for delta in texts if delta.text] == ["Hello", "!"]
    whole = folded(texts)
    assert (whole.choices[0].finish_reason, whole.usage) == ("stop", Usage(25, 15))


def test_streamed_tool_calls_have_their_own_places_and_ids() -> None:
    deltas = heard(WIRE, golden("anthropic_tool_stream.sse"))
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert {piece.index for piece in pieces} == {0, 1}
    assert [piece.id for piece in pieces if piece.id] == [
        "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
        "toolu_02",
    ]
    (choice,) = folded(deltas).choices
    assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
        ("get_weather", {"location": "San Francisco, CA", "unit": "fahrenheit"}),
        ("get_time", {}),
    ]
    assert (choice.text, choice.finish_reason) == ("Okay, let's check", "tool_calls")


def test_thinking_is_reasoning_and_neither_signature_nor_redacted_thinking_is_told() -> None:
    whole = folded(heard(WIRE, golden("anthropic_thinking_stream.sse")))
    (choice,) = whole.choices
    assert choice.reasoning == "I need to find the GCD of 1071 and 462."
    assert choice.text == "The greatest common divisor is **21**."
    assert whole.usage == Usage(1128, 90, 1000, 60)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_finish_reasons_are_four(theirs: str, ours: str) -> None:
    stream = golden("anthropic_stream.sse").replace(b'"end_turn"', f'"{theirs}"'.encode())
    assert folded(heard(WIRE, stream)).choices[0].finish_reason == ours


@given(st.sampled_from(STREAMS), st.data())
def test_the_cut_of_the_bytes_makes_no_difference(name: str, data: st.DataObject) -> None:
    stream = golden(name)
    cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=30))
    assert heard(WIRE, stream, cuts) == heard(WIRE, stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_ends_anywhere_before_its_message_stop_is_no_answer(name: str) -> None:
    events = golden(name).split(b"\n\n")[:-1]
    for length in range(len(events)):
        with pytest.raises(UpstreamError):
            heard(WIRE, b"".join(event + b"\n\n" for event in events[:length]))


@pytest.mark.parametrize(
    "event",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"type": "content_block_delta", "delta": 7}',
        b'{"type": "message_stop"}',
        b'{"type": "error"}',
    ],
)
def test_an_event_that_makes_no_sense_is_an_error(event: bytes) -> None:
    with pytest.raises(UpstreamError):
        WIRE.chat_reader().read(event)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"content": []}', b'{"content": [7]}'])
def test_a_reply_that_makes_no_sense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        WIRE.read_chat(body)


def test_events_and_blocks_that_came_later_say_nothing() -> None:
    reader = WIRE.chat_reader()
    for event in (
        {"type": "new_event", "anything": [1]},
        {"type": "content_block_start", "index": 4, "content_block": {"type": "new_block"}},
        {"type": "content_block_start", "index": 5, "content_block": {"type": "server_tool_use"}},
        {"type": "content_block_delta", "index": 5,
         "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_delta", "index": 4, "delta": {"type": "citations_delta"}},
        {"type": "content_block_stop", "index": 5},
    ):  # fmt: skip
        assert reader.read(json.dumps(event).encode()) == ()


def error(kind: str, message: str = "No") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


BAD = "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "body", "expected", "param"),
    [
        (400, error(BAD), CallerError, None),
        (400, error(BAD, "temperature: range: 0..1"), CallerError, "temperature"),
        (400, error(BAD, "stop_sequences: too many"), CallerError, "stop"),
        (400, error(BAD, "output_config.effort: no"), CallerError, "reasoning_effort"),
        (400, error(BAD, "messages.0.content: x"), CallerError, "messages"),
        (400, error(BAD, "Your credit balance: low"), CallerError, None),
        (401, error("authentication_error"), Unauthorized, None),
        (404, error("not_found_error", "model: claude-9"), UnknownModel, "model"),
        (404, golden("anthropic_error.json"), NotFound, None),
        (413, error("request_too_large"), BodyTooLarge, None),
        (422, error(BAD), InvalidValue, None),
        (429, error("rate_limit_error"), RateLimited, None),
        (500, error("api_error"), InternalError, None),
        (504, error("timeout_error"), DeadlineExceeded, None),
        (529, error("overloaded_error"), Unavailable, None),
        (529, b"<html>", Unavailable, None),
        (500, b"<html>", InternalError, None),
        (418, b"[]", CallerError, None),
    ],
)  # fmt: skip
def test_errors_have_their_type_and_their_place(
    status: int, body: bytes, expected: type[ApiError], param: str | None
) -> None:
    found = WIRE.read_error(status, {}, body)
    assert (type(found), found.param) == (expected, param)


def test_an_error_with_status_200_or_in_a_stream_is_one() -> None:
    with pytest.raises(Unavailable, match="Overloaded"):
        heard(WIRE, golden("anthropic_error_stream.sse"))
    with pytest.raises(CallerError, match="No"):
        WIRE.read_chat(error(BAD))
    with pytest.raises(NotFound):
        WIRE.read_chat(golden("anthropic_error.json"))
