"""Cohere's API v2: golden requests, replies, streams and failures."""

import json
import struct

import pytest
from msgspec.structs import replace

from interlingua.dialects.base import Target
from interlingua.dialects.cohere import CohereDialect
from interlingua.errors import (
    ApiError,
    CallerError,
    DeadlineExceeded,
    InvalidValue,
    ParameterNotSupported,
    RateLimited,
    UpstreamError,
)
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    DeveloperMessage,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    SystemMessage,
    TextFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolMessage,
    UserMessage,
)
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

from .wires import golden

COHERE = CohereDialect()
TARGET = Target(model="command-a-03-2025")
EMBED = Target(model="embed-v4.0")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = (
    Tool(name="get_weather", description="Weather of a city", parameters=CITY, strict=True),
    Tool(name="now"),
)
ASK = ChatRequest(messages=(UserMessage("Hi"),))
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def body(request: ChatRequest) -> dict[str, object]:
    return json.loads(COHERE.write_chat_call(request, TARGET).body)


def read(stream: bytes) -> list[ChatDelta]:
    decoder, reader = COHERE.event_decoder(), COHERE.chat_reader()
    deltas = [
        delta
        for data in (*decoder.feed(stream), *decoder.finish())
        if data != b"[DONE]"
        for delta in reader.read(data)
    ]
    reader.finish()
    return deltas


def events(*said: object) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in said)


def test_a_request_with_everything_is_written() -> None:
    request = ChatRequest(
        messages=(
            SystemMessage("You are brief."),
            DeveloperMessage("Speak French."),
            UserMessage((TextPart("What is on this picture?"), ImagePart(PICTURE, "low"))),
            AssistantMessage(
                tool_calls=(
                    ToolCall(id="get_weather_1", name="get_weather", arguments='{"city":"Rome"}'),
                ),
                reasoning="I will look it up.",
            ),
            ToolMessage("24 degrees", "get_weather_1"),
            AssistantMessage("Warm.", reasoning="It is warm."),
            UserMessage("Really?"),
        ),
        tools=TOOLS,
        tool_choice=NamedTool("get_weather"),
        response_format=JsonSchemaFormat(name="answer", schema={"type": "object"}),
        max_tokens=256,
        limit_name="max_completion_tokens",
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        stream=True,
        extra={"safety_mode": "STRICT"},
    )
    call = COHERE.write_chat_call(request, TARGET)
    assert json.loads(call.body) == json.loads(golden("cohere_chat_request.json"))
    assert call.path == "/chat"


def test_a_plain_request_says_nothing_else() -> None:
    plain = {"model": "command-a-03-2025", "messages": [{"role": "user", "content": "Hi"}]}
    assert body(ASK) == plain
    assert body(replace(ASK, max_tokens=None, tool_choice="auto")) == plain
    assert body(replace(ASK, tool_choice="none")) == plain
    assert body(replace(ASK, extra={"seed": 7})) == {**plain, "seed": 7}
    assert body(replace(ASK, response_format=TextFormat()))["response_format"] == {"type": "text"}
    assert body(replace(ASK, response_format=JsonObjectFormat()))["response_format"] == {
        "type": "json_object"
    }


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("auto", None), ("none", "NONE"), ("required", "REQUIRED")],
)
def test_a_tool_choice_is_written(choice: str | None, written: str | None) -> None:
    made = body(replace(ASK, tools=TOOLS, tool_choice=choice))
    assert made.get("tool_choice") == written
    assert len(made["tools"]) == 2  # type: ignore[arg-type]  # JSON


def test_thoughts_without_words_go_back_alone() -> None:
    (message,) = body(replace(ASK, messages=(AssistantMessage(reasoning="Hm"),)))["messages"]  # type: ignore[misc]  # JSON
    assert message["content"] == [{"type": "thinking", "thinking": "Hm"}]


def test_audio_is_refused() -> None:
    with pytest.raises(ParameterNotSupported):
        body(replace(ASK, messages=(UserMessage((AudioPart(data="AA", format="wav"),)),)))


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InvalidValue):
        body(replace(ASK, max_tokens=1, extra={"max_completion_tokens": 2}))


def test_a_whole_reply_is_read() -> None:
    assert COHERE.read_chat(golden("cohere_chat_reply.json")) == ChatCompletion(
        choices=(
            ChatChoice(
                text="LLMs stand for Large Language Models.",
                reasoning="Two concepts.",
                finish_reason="stop",
            ),
        ),
        usage=Usage(71, 418, 64),
    )


def test_a_whole_reply_with_calls_is_read() -> None:
    said = {
        "tool_plan": "I look.",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}, {"id": "b"}],
    }
    reply = {"message": said, "finish_reason": "TOOL_CALL"}
    (choice,) = COHERE.read_chat(json.dumps(reply).encode()).choices
    assert (choice.text, choice.reasoning) == (None, "I look.")
    assert choice.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="", arguments="{}"),
    )
    reply = {"message": {"content": "Hi"}, "finish_reason": "COMPLETE"}
    assert COHERE.read_chat(json.dumps(reply).encode()).choices[0].text == "Hi"


@pytest.mark.parametrize("wrong", [{}, {"message": "internal"}, {"message": {}}, []])
def test_a_whole_reply_that_is_none_is_an_error(wrong: object) -> None:
    with pytest.raises(UpstreamError):
        COHERE.read_chat(json.dumps(wrong).encode())


def test_a_stream_with_thoughts_is_read() -> None:
    assert read(golden("cohere_chat_stream.sse")) == [
        ChatDelta(reasoning="Hm"),
        ChatDelta(text="Hé"),
        ChatDelta(text="llo"),
        ChatDelta(finish_reason="length", usage=Usage(5, 3)),
    ]


def test_a_stream_with_two_calls_is_read() -> None:
    deltas = read(golden("cohere_tool_stream.sse"))
    assert "".join(delta.reasoning for delta in deltas) == "I will look."
    assert [call for delta in deltas for call in delta.tool_calls] == [
        ToolCallDelta(index=0, id="get_weather_nsz5zm3w56q3", name="get_weather"),
        ToolCallDelta(index=0, arguments='{\n    "'),
        ToolCallDelta(index=0, arguments='city": "Rome"\n}'),
        ToolCallDelta(index=1, id="now_1", name="now"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    assert deltas[-1] == ChatDelta(finish_reason="tool_calls", usage=Usage(913, 83))


def test_calls_that_all_have_the_index_0_are_told_apart() -> None:
    start = {"type": "tool-call-start", "index": 0}
    made = [
        {**start, "delta": {"message": {"tool_calls": [{"id": each, "function": {"name": "f"}}]}}}
        for each in "ab"
    ]
    deltas = read(events(*made, {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}))
    assert [call.index for delta in deltas for call in delta.tool_calls] == [0, 1]


@pytest.mark.parametrize(
    ("theirs", "ours"), [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("NEW", "stop")]
)
def test_finish_reasons_are_four(theirs: str, ours: str) -> None:
    end = {"type": "message-end", "delta": {"finish_reason": theirs}}
    assert read(events(end))[0].finish_reason == ours


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "no"}},
            UpstreamError,
        ),
        ({"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}}, DeadlineExceeded),
        ({"type": "message-end", "delta": {}}, UpstreamError),
        ({"message": "internal server error"}, UpstreamError),
        (
            {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}},
            UpstreamError,
        ),
        ({"type": "content-delta", "delta": 3}, UpstreamError),
    ],
)
def test_a_stream_that_fails_or_is_cut_is_an_error(said: object, kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        read(events(said))


def test_texts_are_embedded_as_asked() -> None:
    request = EmbeddingsRequest(
        inputs=("hello", "goodbye"), input_type="query", dimensions=256, encoding_format="int8"
    )
    call = COHERE.write_embeddings_call(request, EMBED)
    assert json.loads(call.body) == json.loads(golden("cohere_embed_request.json"))
    assert call.path == "/embed"
    made = COHERE.read_embeddings(golden("cohere_embed_reply.json"))
    assert made.vectors == (struct.pack("<3f", 12, -127, 3), struct.pack("<3f", -128, 0, 127))
    assert made.usage == Usage(2)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (None, "search_document"),
        ("text", "search_document"),
        ("document", "search_document"),
        ("query", "search_query"),
    ],
)
def test_it_is_always_told_what_a_text_is_for(ours: str | None, theirs: str) -> None:
    request = EmbeddingsRequest(inputs=("a",), input_type=ours)  # type: ignore[arg-type]  # one of them
    assert json.loads(COHERE.write_embeddings_call(request, EMBED).body)["input_type"] == theirs


def test_token_ids_are_refused() -> None:
    with pytest.raises(ParameterNotSupported):
        COHERE.write_embeddings_call(EmbeddingsRequest(inputs=((1, 2),)), EMBED)


def test_images_are_embedded_alone_or_with_a_text() -> None:
    picture = ImageInput(image=PICTURE)
    call = COHERE.write_image_embeddings_call(ImageEmbeddingsRequest(inputs=(picture,)), EMBED)
    assert json.loads(call.body) == json.loads(golden("cohere_image_request.json"))
    made = COHERE.read_embeddings(golden("cohere_image_reply.json"))
    assert (made.vectors, made.usage) == ((struct.pack("<2f", 0.5, -0.25),), Usage(9))
    request = ImageEmbeddingsRequest(
        inputs=(ImageInput(image=PICTURE, text="a cat"),), encoding_format="ubinary"
    )
    call = COHERE.write_image_embeddings_call(request, EMBED)
    assert json.loads(call.body) == json.loads(golden("cohere_mixed_request.json"))


def test_a_text_may_stand_where_an_image_would() -> None:
    request = ImageEmbeddingsRequest(inputs=(ImageInput(text="a cat"),), model="m", dimensions=256)
    assert json.loads(COHERE.write_image_embeddings_call(request, Target()).body) == {
        "model": "m",
        "inputs": [{"content": [{"type": "text", "text": "a cat"}]}],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }


def test_vectors_in_base64_are_read_and_none_are_an_error() -> None:
    reply = b'{"embeddings": {"base64": ["AAAAPwAAgL4="]}}'
    assert COHERE.read_embeddings(reply).vectors == (struct.pack("<2f", 0.5, -0.25),)
    for wrong in (b"{}", b'{"message": "no"}'):
        with pytest.raises(UpstreamError):
            COHERE.read_embeddings(wrong)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, CallerError), (422, InvalidValue), (429, RateLimited)]
)
def test_failures_are_told_by_their_status(status: int, kind: type[ApiError]) -> None:
    error = COHERE.read_error(status, {}, b'{"id": "x", "message": "invalid request: too bad"}')
    assert (type(error), error.message) == (kind, "invalid request: too bad")
