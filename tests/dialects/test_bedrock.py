"""Amazon Bedrock's Converse: golden requests, replies, streams and failures."""

import json

import pytest
from msgspec.structs import replace

from interlingua.dialects.base import Target
from interlingua.dialects.bedrock import BedrockDialect
from interlingua.errors import (
    ApiError,
    CallerError,
    DeadlineExceeded,
    InternalError,
    InvalidValue,
    ModelNotReady,
    NotFound,
    ParameterNotSupported,
    RateLimited,
    Unauthorized,
    Unavailable,
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
    JsonSchemaFormat,
    NamedTool,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolMessage,
    UserMessage,
)
from interlingua.types.chat_fold import ChatFold
from interlingua.types.usage import Usage

from ..support import amazon_events as amazon
from .wires import golden

BEDROCK = BedrockDialect()
TARGET = Target(base_path="/model/m", model="m", headers={"user-agent": "x"})
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
ASK = ChatRequest(messages=(UserMessage("Hi"),))
ROME = ToolCall(id="tooluse_1", name="get_weather", arguments='{"city":"Rome"}')


def body(request: ChatRequest) -> dict[str, object]:
    return json.loads(BEDROCK.write_chat_call(request, TARGET).body)


def read(data: bytes, pieces: int = 1) -> list[ChatDelta]:
    decoder, reader = BEDROCK.event_decoder(), BEDROCK.chat_reader()
    size = -(-len(data) // pieces)
    deltas: list[ChatDelta] = []
    for start in range(0, len(data), size):
        for event in decoder.feed(data[start : start + size]):
            deltas += reader.read(event)
    decoder.finish()
    reader.finish()
    return deltas


def test_a_request_with_everything_is_written() -> None:
    picture = ImagePart("data:image/png;base64,iVBORw0KGgo=", "high")
    request = ChatRequest(
        messages=(
            SystemMessage("You are brief."),
            UserMessage(
                (TextPart("What is on this picture, and how is the weather there?"), picture), "me"
            ),
            DeveloperMessage("Speak French."),
            AssistantMessage(
                "Let me look.",
                tool_calls=(ROME, ToolCall(id="tooluse_2", name="now", arguments="")),
                reasoning="Hm",
            ),
            ToolMessage("24 degrees", "tooluse_1"),
            ToolMessage((TextPart("noon"),), "tooluse_2"),
            AssistantMessage(""),
            UserMessage("Well?"),
        ),
        tools=(
            Tool(name="get_weather", description="Weather of a city", parameters=CITY, strict=True),
            Tool(name="now"),
        ),
        tool_choice=NamedTool("get_weather"),
        response_format=JsonSchemaFormat(
            name="answer", description="An answer", schema={"type": "object"}, strict=True
        ),
        max_tokens=256,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        stream=True,
        extra={
            "top_k": 200,
            "reasoning_effort": "low",
            "guardrailConfig": {"guardrailIdentifier": "gr-1", "guardrailVersion": "1"},
        },
    )
    call = BEDROCK.write_chat_call(request, TARGET)
    assert json.loads(call.body) == json.loads(golden("bedrock_chat_request.json"))
    assert (call.method, call.path) == ("POST", "/model/m/converse-stream")
    assert call.headers["accept"] == "application/vnd.amazon.eventstream"
    assert call.headers["user-agent"] == "x"
    assert BEDROCK.write_chat_call(replace(request, stream=False), TARGET).path.endswith(
        "/converse"
    )


def test_a_plain_request_says_nothing_else() -> None:
    assert body(ASK) == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    assert body(replace(ASK, max_tokens=None, tool_choice="auto")) == body(ASK)


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("auto", {"auto": {}}), ("required", {"any": {}})],
)
def test_a_tool_choice_is_written(choice: str | None, written: object) -> None:
    request = replace(ASK, tools=(Tool(name="f"),), tool_choice=choice)
    assert body(request)["toolConfig"].get("toolChoice") == written  # type: ignore[attr-defined]  # JSON


def test_no_tools_may_be_called_where_none_are_sent() -> None:
    request = replace(ASK, tools=(Tool(name="f"),), tool_choice="none")
    assert "toolConfig" not in body(request)
    called = (*ASK.messages, AssistantMessage(tool_calls=(ROME,)), ToolMessage("24", "tooluse_1"))
    with pytest.raises(ParameterNotSupported) as caught:
        body(replace(request, messages=called))
    assert caught.value.location == ("body", "tool_choice")


def test_audio_and_unnamed_images_are_written() -> None:
    parts = (
        AudioPart(data="AAAA", format="mp3"),
        AudioPart(url="data:audio/wav;base64,BBBB"),
        ImagePart("data:application/octet-stream;base64,UklGRgAAAABXRUJQ"),
        ImagePart("data:;base64,R0lGODlhAQABAA=="),
        TextPart("  "),
    )
    (message,) = body(replace(ASK, messages=(UserMessage(parts),)))["messages"]  # type: ignore[misc]  # JSON
    assert message["content"] == [
        {"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}},
        {"audio": {"format": "wav", "source": {"bytes": "BBBB"}}},
        {"image": {"format": "webp", "source": {"bytes": "UklGRgAAAABXRUJQ"}}},
        {"image": {"format": "gif", "source": {"bytes": "R0lGODlhAQABAA=="}}},
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://x/y.png",
        "data:image/png,notbase64",
        "data:image/tiff;base64,AAAA",
        "data:application/octet-stream;base64,AAAA",
        "data:;base64,A",
    ],
)
def test_an_image_that_it_does_not_take_is_named(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        body(replace(ASK, messages=(*ASK.messages, UserMessage((ImagePart(url),)))))
    assert caught.value.param == "messages[1].content[0].image_url.url"


@pytest.mark.parametrize("arguments", ["{", "[1]", "[" * 5000])
def test_arguments_that_are_no_object_are_named(arguments: str) -> None:
    call = ToolCall(id="a", name="f", arguments=arguments)
    with pytest.raises(InvalidValue) as caught:
        body(replace(ASK, messages=(AssistantMessage(tool_calls=(call,)),)))
    assert caught.value.param == "messages[0].tool_calls[0].function.arguments"


def test_what_is_passed_through_goes_with_the_model_s_own_fields() -> None:
    extra = {"additionalModelRequestFields": {"a": 1}, "b": 2, "serviceTier": {"type": "flex"}}
    assert body(replace(ASK, extra=extra)) == {
        **body(ASK),
        "additionalModelRequestFields": {"a": 1, "b": 2},
        "serviceTier": {"type": "flex"},
    }
    with pytest.raises(InvalidValue):
        body(replace(ASK, extra={"additionalModelRequestFields": 1}))
    # What it has a place for is not passed through.
    assert body(replace(ASK, extra={"max_completion_tokens": 5}))["inferenceConfig"] == {
        "maxTokens": 5
    }


def test_a_whole_reply_is_read() -> None:
    call = ToolCall(
        id="tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", name="top_song", arguments='{"sign":"WZPZ"}'
    )
    assert BEDROCK.read_chat(golden("bedrock_chat_reply.json")) == ChatCompletion(
        choices=(
            ChatChoice(
                text="I look it up.",
                reasoning="A city was named.",
                tool_calls=(call,),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(130, 628, 90),
    )


def test_a_whole_reply_that_is_none_is_an_error() -> None:
    for wrong in (b"{}", b'{"message": "no"}', b'{"output": {}}', b"[]", b"<html>"):
        with pytest.raises(UpstreamError):
            BEDROCK.read_chat(wrong)


@pytest.mark.parametrize("pieces", [1, 7, 500])
def test_a_stream_with_thoughts_and_two_calls_is_read(pieces: int) -> None:
    events = [json.loads(line) for line in golden("bedrock_tool_stream.jsonl").splitlines()]
    data = b"".join(amazon.event(*next(iter(event.items()))) for event in events)
    deltas = read(data, pieces)
    assert [call for delta in deltas for call in delta.tool_calls] == [
        ToolCallDelta(index=0, id="tooluse_a", name="get_weather"),
        ToolCallDelta(index=0, arguments='{"city":'),
        ToolCallDelta(index=0, arguments=' "Rome"}'),
        ToolCallDelta(index=1, id="tooluse_b", name="now"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    fold = ChatFold()
    for delta in deltas:
        fold.add(delta)
    (choice,) = fold.done().choices
    assert (choice.reasoning, choice.text) == ("Two cities.", "I look it up.")
    assert choice.finish_reason == "tool_calls"
    assert fold.done().usage == Usage(47, 20)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_are_four(theirs: str, ours: str) -> None:
    deltas = read(b"".join(amazon.said("Hi", stop_reason=theirs)))
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == [ours]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_stop_reason_that_is_a_failure_is_one(reason: str) -> None:
    with pytest.raises(UpstreamError):
        read(b"".join(amazon.said("Hi", stop_reason=reason)))


def test_a_stream_that_stops_early_is_an_error() -> None:
    events = amazon.said("Hi", "there")
    with pytest.raises(UpstreamError):
        read(b"".join(events[:3]))
    with pytest.raises(UpstreamError):
        read(b"".join(events)[:-1])


def test_a_stream_that_makes_no_sense_is_an_error() -> None:
    stray = {"contentBlockIndex": 4, "delta": {"toolUse": {"input": "{}"}}}
    for event in (
        amazon.event("contentBlockDelta", stray),
        amazon.event("contentBlockDelta", "text"),
        amazon.framed({":message-type": "event", ":event-type": "messageStop"}, b"{"),
    ):
        with pytest.raises(UpstreamError):
            read(event)
    # What isn't known may come with a later version.
    assert read(amazon.event("new", {"a": 1}) + b"".join(amazon.said("Hi")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", RateLimited),
        ("validationException", CallerError),
        ("modelStreamErrorException", UpstreamError),
        ("internalServerException", InternalError),
        ("serviceUnavailableException", Unavailable),
        ("somethingNewException", UpstreamError),
    ],
)
def test_an_exception_in_the_middle_is_an_error_of_its_kind(
    name: str, kind: type[ApiError]
) -> None:
    start = b"".join(amazon.said("Hi")[:2])
    with pytest.raises(kind, match="too bad") as caught:
        read(start + amazon.exception(name, "too bad"))
    assert type(caught.value) is kind


def test_an_error_without_a_name_or_words_is_one_too() -> None:
    unnamed = {":message-type": "error", ":error-code": "Throttling", ":error-message": "slow down"}
    with pytest.raises(UpstreamError, match="slow down"):
        read(amazon.framed(unnamed, b""))
    for headers in ({}, {":message-type": "exception"}):
        with pytest.raises(UpstreamError, match="without a message"):
            read(amazon.framed(headers, b"not json"))


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "ValidationException", CallerError),
        (403, "AccessDeniedException", Unauthorized),
        (404, "ResourceNotFoundException", NotFound),
        (408, "ModelTimeoutException", DeadlineExceeded),
        (424, "ModelErrorException", UpstreamError),
        (429, "ThrottlingException", RateLimited),
        (429, "ModelNotReadyException", ModelNotReady),
        (500, "InternalServerException", InternalError),
        (503, "ServiceUnavailableException", Unavailable),
    ],
)
def test_failures_are_told_apart_by_name(status: int, name: str, kind: type[ApiError]) -> None:
    said = json.dumps({"message": "too bad"}).encode()
    named = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/x/"}
    error = BEDROCK.read_error(status, named, said)
    assert (type(error), error.message) == (kind, "too bad")
    said = json.dumps({"__type": f"com.amazon#{name}", "message": "too bad"}).encode()
    assert type(BEDROCK.read_error(status, {}, said)) is kind


def test_a_failure_without_a_name_is_told_by_its_status() -> None:
    assert type(BEDROCK.read_error(503, {}, b"<html>")) is Unavailable
    assert type(BEDROCK.read_error(429, {}, b'{"message": "slow"}')) is RateLimited
