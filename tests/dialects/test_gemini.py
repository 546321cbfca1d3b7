"""Gemini's own wire against golden files whose source is named in golden/README.md."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.dialects.base import Target
from interlingua.dialects.gemini import GeminiDialect
from interlingua.dialects.gemini_request import NO_SIGNATURE
from interlingua.errors import (
    ApiError,
    CallerError,
    DeadlineExceeded,
    InternalError,
    InvalidValue,
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
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    SystemMessage,
    TextFormat,
    TextPart,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.usage import Usage

from .wires import folded, golden, heard

WIRE = GeminiDialect()
TARGET = Target(base_path="/models/gemini-2.5-flash", model="gemini-2.5-flash")
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="get_weather", description="Weather of a city", parameters=SCHEMA)
HELLO = UserMessage("Hello")
STREAMS = ("gemini_stream.sse", "gemini_thinking_stream.sse", "gemini_tool_stream.sse")


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
                        AudioPart(data="AAAA", format="wav"),
                    )
                ),
                AssistantMessage(
                    "Let me look.",
                    (
                        ToolCall(id="call_1", name="get_weather", arguments='{"city": "Rome"}'),
                        ToolCall(id="call_2", name="get_weather", arguments='{"city": "Oslo"}'),
                    ),
                    reasoning="Not told again",
                ),
                ToolMessage("sunny", "call_1"),
                ToolMessage((TextPart("rain"),), "call_2"),
                UserMessage("Go on.", name="left out"),
            ),
            model="left out: the path names it",
            max_tokens=256,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            n=2,
            seed=7,
            presence_penalty=0.5,
            frequency_penalty=0.25,
            logprobs=True,
            top_logprobs=2,
            stop=("END",),
            tools=(WEATHER,),
            tool_choice=NamedTool("get_weather"),
            response_format=JsonSchemaFormat(name="city", schema=SCHEMA, strict=True),
            reasoning_effort="low",
        ),
        TARGET,
    )
    assert json.loads(call.body) == json.loads(golden("gemini_sdk_request.json"))
    assert call.path == "/models/gemini-2.5-flash:generateContent"
    assert (call.method, call.query) == ("POST", {})


def test_the_least_request_says_nothing_that_was_not_asked() -> None:
    least = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    assert written() == written(max_tokens=None, response_format=TextFormat()) == least
    request = ChatRequest(messages=(HELLO,), stream=True, include_usage=True)
    call = WIRE.write_chat_call(request, TARGET)
    assert json.loads(call.body) == least
    assert call.path == "/models/gemini-2.5-flash:streamGenerateContent"
    assert call.query == {"alt": "sse"}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NamedTool("f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_every_choice_of_tools_has_its_word(choice: Any, told: Any) -> None:
    body = written(tools=(Tool(name="f"),), tool_choice=choice)
    assert body.get("toolConfig") == (told and {"functionCallingConfig": told})
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert "toolConfig" not in written(tool_choice="none")


def test_instructions_go_to_the_top_and_results_of_one_turn_are_one() -> None:
    calls = tuple(ToolCall(id=each, name=each * 2, arguments="") for each in "fg")
    body = written(
        SystemMessage("a"),
        UserMessage("b"),
        DeveloperMessage((TextPart("c"), TextPart(""))),
        AssistantMessage(None, calls),
        ToolMessage("1", "f"),
        ToolMessage((TextPart("2"), ImagePart("data:image/png;base64,AA")), "g"),
        AssistantMessage(""),
        UserMessage("d"),
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "c"}]}
    asked, called, answered, last = body["contents"]
    assert (asked["role"], called["role"], answered["role"]) == ("user", "model", "user")
    assert last == {"role": "user", "parts": [{"text": "d"}]}
    assert called["parts"] == [
        {"functionCall": {"id": "f", "name": "ff", "args": {}}, "thoughtSignature": NO_SIGNATURE},
        {"functionCall": {"id": "g", "name": "gg", "args": {}}},
    ]
    assert answered["parts"] == [
        {"functionResponse": {"id": "f", "name": "ff", "response": {"output": "1"}}},
        {
            "functionResponse": {
                "id": "g",
                "name": "gg",
                "response": {"output": "2"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}],
            }
        },
    ]


def test_media_come_by_what_they_are() -> None:
    body = written(
        UserMessage(
            (
                ImagePart("https://example.com/a/b?x=.png"),
                AudioPart(url="data:audio/mp3;base64,AAAA"),
            )
        )
    )
    assert body["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://example.com/a/b?x=.png"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
    ]


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high"])
def test_effort_is_a_level_of_thinking_and_its_thoughts_are_asked_for(effort: str) -> None:
    config = written(reasoning_effort=effort)["generationConfig"]
    assert config == {"thinkingConfig": {"thinkingLevel": effort.upper(), "includeThoughts": True}}


def test_json_without_a_schema_has_its_word() -> None:
    config = written(response_format=JsonObjectFormat())["generationConfig"]
    assert config == {"responseMimeType": "application/json"}


PART = ("body", "messages", 0, "content", 0)


@pytest.mark.parametrize(
    ("message", "location"),
    [
        (UserMessage((ImagePart("data:image/png,raw"),)), (*PART, "image_url", "url")),
        (UserMessage((AudioPart(url="data:audio/mp3,raw"),)), (*PART, "audio_url", "url")),
        (UserMessage((AudioPart(data="AA"),)), PART),
        (DeveloperMessage((ImagePart("data:image/png;base64,AA"),)), PART),
        (ToolMessage("x", "nobody's"), ("body", "messages", 0, "tool_call_id")),
        (
            AssistantMessage("", (ToolCall(id="a", name="f", arguments="{"),)),
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
    config = {"mediaResolution": "MEDIA_RESOLUTION_LOW", "thinkingConfig": {"thinkingBudget": 0}}
    extra = {"safetySettings": [], "generationConfig": config, "top_k": 3, "n": 2}
    body = written(temperature=1, extra=extra)
    assert body["safetySettings"] == []
    assert body["generationConfig"] == config | {"temperature": 1, "topK": 3, "candidateCount": 2}
    for extra, place in (
        ({"contents": []}, ("contents",)),
        ({"generationConfig": {"temperature": 2}}, ("generationConfig", "temperature")),
        ({"generationConfig": 7}, ("generationConfig",)),
        ({"reasoning_effort": "none"}, ("reasoning_effort",)),
        ({"top_logprobs": 2}, ("top_logprobs",)),
    ):
        with pytest.raises(InvalidValue) as caught:
            written(temperature=1, extra=extra)
        assert caught.value.location == ("body", *place)


def test_a_reply_is_read() -> None:
    whole = WIRE.read_chat(golden("gemini_reply.json"))
    first, second = whole.choices
    assert (first.reasoning, first.text, first.finish_reason) == ("Two colours.", "Red", "length")
    assert first.logprobs == (
        TokenLogprob("Red", -0.25, None, (TokenLogprob("Red", -0.25), TokenLogprob("Blue", -1.5))),
    )
    assert (second.index, second.text, second.finish_reason) == (1, "Blue", "stop")
    assert whole.usage == Usage(10, 7, None, 5)


def test_a_blocked_prompt_is_a_content_filter() -> None:
    whole = WIRE.read_chat(golden("gemini_blocked_reply.json"))
    assert [(choice.text, choice.finish_reason) for choice in whole.choices] == [
        ("", "content_filter")
    ]
    assert whole.usage == Usage(9)


def test_a_stream_is_read_piece_by_piece() -> None:
    deltas = heard(WIRE, golden("gemini_stream.sse"))
    assert [delta.text for delta in deltas if delta.text] == ["AI learns ", "from data."]
    whole = folded(deltas)
    assert (whole.choices[0].finish_reason, whole.usage) == ("stop", Usage(4, 8))


def test_thoughts_are_reasoning_and_no_signature_is_told() -> None:
    whole = folded(heard(WIRE, golden("gemini_thinking_stream.sse")))
    (choice,) = whole.choices
    assert choice.reasoning == "**Counting**\n\nLet me see."
    assert choice.text == "There are three."
    assert whole.usage == Usage(12, 35, 8, 31)


def test_calls_without_ids_get_ones_that_the_reply_decides() -> None:
    stream = golden("gemini_tool_stream.sse")
    deltas = heard(WIRE, stream)
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert [piece.index for piece in pieces] == [0, 1, 2]
    (choice,) = folded(deltas).choices
    assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
        ("get_weather", {"city": "Rome"}),
        ("get_weather", {"city": "Oslo"}),
        ("get_time", {}),
    ]
    ids = [call.id for call in choice.tool_calls]
    assert len({*ids}) == 3
    assert ids[2] == "a1b2c3d4"
    assert all(len(each) <= 40 for each in ids)
    assert choice.finish_reason == "tool_calls"
    assert heard(WIRE, stream) == deltas
    other = folded(heard(WIRE, stream.replace(b"mAitaLmkHPPlz7IPvtfUqQ4", b"another-reply")))
    assert other.choices[0].tool_calls[0].id != ids[0]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("OTHER", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons_are_four(theirs: str, ours: str) -> None:
    stream = golden("gemini_stream.sse").replace(b'"STOP"', f'"{theirs}"'.encode())
    assert folded(heard(WIRE, stream)).choices[0].finish_reason == ours


def test_an_end_that_is_no_answer_is_an_error() -> None:
    stream = golden("gemini_tool_stream.sse").replace(b'"STOP"', b'"MALFORMED_FUNCTION_CALL"')
    with pytest.raises(UpstreamError, match="MALFORMED_FUNCTION_CALL"):
        heard(WIRE, stream)


@given(st.sampled_from(STREAMS), st.data())
def test_the_cut_of_the_bytes_makes_no_difference(name: str, data: st.DataObject) -> None:
    stream = golden(name)
    cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=30))
    assert heard(WIRE, stream, cuts) == heard(WIRE, stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_ends_anywhere_before_its_finish_reason_is_no_answer(name: str) -> None:
    events = golden(name).split(b"\r\n\r\n")[:-1]
    for length in range(len(events)):
        with pytest.raises(UpstreamError):
            heard(WIRE, b"".join(event + b"\r\n\r\n" for event in events[:length]))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"candidates": []}', b'{"candidates": [7]}'])
def test_a_reply_that_makes_no_sense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        WIRE.read_chat(body)


def error(status: str, *details: Any) -> bytes:
    stated = {"code": 400, "status": status, "message": "No", "details": list(details)}
    return json.dumps({"error": stated}).encode()


def violation(field: object) -> dict[str, object]:
    return {"@type": "x/google.rpc.BadRequest", "fieldViolations": [{"field": field}, 7]}


BAD = "INVALID_ARGUMENT"
LIMIT = "generation_config.max_output_tokens"


@pytest.mark.parametrize(
    ("status", "body", "expected", "param"),
    [
        (400, golden("gemini_error_argument.json"), CallerError, "temperature"),
        (400, golden("gemini_error_key.json"), Unauthorized, None),
        (400, error(BAD, violation("contents[0].parts[1].text")), CallerError, "messages"),
        (400, error(BAD, violation(LIMIT)), CallerError, "max_tokens"),
        (400, error(BAD, violation("other"), violation(7), 7), CallerError, None),
        (400, error("FAILED_PRECONDITION"), Unauthorized, None),
        (404, error("NOT_FOUND"), UnknownModel, None),
        (429, golden("gemini_error_quota.json"), RateLimited, None),
        (500, error("INTERNAL"), InternalError, None),
        (503, error("UNAVAILABLE"), Unavailable, None),
        (504, error("DEADLINE_EXCEEDED"), DeadlineExceeded, None),
        (499, error("CANCELLED"), CallerError, None),
        (503, b"<html>", Unavailable, None),
        (400, b"[]", CallerError, None),
    ],
)  # fmt: skip
def test_errors_have_their_type_and_their_place(
    status: int, body: bytes, expected: type[ApiError], param: str | None
) -> None:
    found = WIRE.read_error(status, {}, body)
    assert (type(found), found.param) == (expected, param)


def test_a_quota_tells_in_its_body_how_long_to_wait() -> None:
    assert WIRE.read_error(429, {}, golden("gemini_error_quota.json")).retry_after_s == 35
    for delay, wait in (("0s", 1), ("1.5s", 2), ("999999s", 3600), ("soon", 1), (7, 1)):
        body = error("RESOURCE_EXHAUSTED", {"retryDelay": delay})
        assert WIRE.read_error(429, {}, body).retry_after_s == wait


def test_an_error_with_status_200_or_in_a_stream_is_one() -> None:
    with pytest.raises(Unavailable):
        WIRE.chat_reader().read(error("UNAVAILABLE"))
    with pytest.raises(UpstreamError):
        WIRE.read_chat(b'{"error": {"message": "No"}}')


def test_texts_are_embedded_one_request_each() -> None:
    request = EmbeddingsRequest(
        inputs=("What is the meaning of life?", "How do I bake a cake?"),
        input_type="query",
        dimensions=768,
        encoding_format="int8",
    )
    target = Target(base_path="/models/gemini-embedding-001", model="gemini-embedding-001")
    call = WIRE.write_embeddings_call(request, target)
    assert json.loads(call.body) == json.loads(golden("gemini_embeddings_request.json"))
    assert call.path == "/models/gemini-embedding-001:batchEmbedContents"
    least = WIRE.write_embeddings_call(EmbeddingsRequest(inputs=("a",)), target)
    assert set(json.loads(least.body)["requests"][0]) == {"model", "content"}
    with pytest.raises(InvalidValue) as caught:
        WIRE.write_embeddings_call(EmbeddingsRequest(inputs=((1, 2),)), target)
    assert caught.value.location == ("body", "input", 0)


def test_vectors_are_read_in_order() -> None:
    made = WIRE.read_embeddings(golden("gemini_embeddings_reply.json"))
    assert made.vectors == (
        struct.pack("<3f", 0.25, -1.5, 0),
        struct.pack("<3f", 1, 0.5, -0.125),
    )
    assert made.usage == Usage(13)
    for body in (b"{}", b"[]", b'{"embeddings": [7]}'):
        with pytest.raises(UpstreamError):
            WIRE.read_embeddings(body)
    with pytest.raises(Unavailable):
        WIRE.read_embeddings(error("UNAVAILABLE"))
