"""Bytes of the wire against files whose source is named in golden/README.md."""

import json
import struct
from pathlib import Path

import pytest

from interlingua.dialects.base import Reply
from interlingua.errors import ExtraForbidden, ParameterNotSupported, UnknownParameters
from interlingua.sse import Decoder
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ImagePart,
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
from interlingua.types.completions import Completion, CompletionChoice, CompletionRequest
from interlingua.types.embeddings import (
    Embeddings,
    EmbeddingsRequest,
    ImageEmbeddingsRequest,
    ImageInput,
)
from interlingua.types.usage import Usage

from .wires import AZURE, BOTH, OPENAI, REPLY, REPLY_2025, call, events, golden

STREAMED = ChatRequest(messages=(UserMessage("x"),), stream=True)
USAGE = Usage(18, 2)


def test_every_golden_file_has_a_source() -> None:
    folder = Path(__file__).parent / "golden"
    readme = (folder / "README.md").read_text("utf-8")
    for path in folder.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in readme


def test_the_reference_chat_request_is_read() -> None:
    for dialect in BOTH:
        assert dialect.read_chat(call(golden("azure_chat_request.json"))) == ChatRequest(
            messages=(
                SystemMessage("You are a helpful assistant"),
                UserMessage("Explain Riemann's conjecture"),
            ),
            frequency_penalty=0,
            presence_penalty=0,
            max_tokens=256,
            seed=42,
            stop=("<|endoftext|>",),
            temperature=0,
            top_p=1,
            response_format=TextFormat(),
        )


def test_the_official_clients_tool_history_is_read() -> None:
    parameters = {"type": "object", "properties": {"x": {"type": "integer"}}}
    assert AZURE.read_chat(call(golden("azure_sdk_tools_request.json"))) == ChatRequest(
        messages=(
            SystemMessage("s"),
            UserMessage("What is 1?"),
            AssistantMessage(tool_calls=(ToolCall(id="call_1", name="f", arguments='{"x":1}'),)),
            ToolMessage("1", "call_1"),
        ),
        tools=(Tool(name="f", description="Finds x", parameters=parameters),),
        tool_choice=NamedTool("f"),
    )


def test_every_kind_of_content_part_is_read() -> None:
    request = AZURE.read_chat(call(golden("azure_sdk_parts_request.json")))
    assert request.messages[0].content == (
        TextPart("t"),
        ImagePart("data:image/png;base64,AAAA", "high"),
        AudioPart(data="AAAA", format="wav"),
        AudioPart(url="data:audio/mp3;base64,AAAA"),
        ImagePart("data:application/octet-stream;base64,AAAA", "low"),
    )


def test_a_chat_reply_is_written() -> None:
    completion = ChatCompletion(
        choices=(ChatChoice(text="Hello", finish_reason="stop"),), usage=Usage(10, 20)
    )
    expected = json.loads(golden("azure_chat_reply.json"))
    assert json.loads(AZURE.write_chat(completion, REPLY)) == expected
    expected["id"] = "chatcmpl-7a4b2d9c0f5e4b7c9d1e2f3a4b5c6"
    assert json.loads(OPENAI.write_chat(completion, REPLY)) == expected


TEXT = (ChatDelta(text="Hé"), ChatDelta(text='llo "you"'), ChatDelta(finish_reason="stop"))
THOUGHT = (
    ChatDelta(reasoning="Hm"),
    ChatDelta(reasoning="m"),
    ChatDelta(text="Yes", finish_reason="stop"),
)
CALLED = (
    ChatDelta(tool_calls=(ToolCallDelta(id="call_1", name="get_weather"),)),
    ChatDelta(tool_calls=(ToolCallDelta(arguments='{"city":'),)),
    ChatDelta(tool_calls=(ToolCallDelta(arguments='"Rome"}'),)),
    ChatDelta(finish_reason="tool_calls"),
)


@pytest.mark.parametrize(
    ("name", "deltas", "reply"),
    [
        ("azure_chat_stream.sse", TEXT, REPLY),
        ("azure_think_stream.sse", THOUGHT, REPLY),
        ("azure_reasoning_stream.sse", THOUGHT, REPLY_2025),
        ("azure_tool_stream.sse", CALLED, REPLY),
    ],
)
def test_a_stream_is_written(name: str, deltas: tuple[ChatDelta, ...], reply: Reply) -> None:
    writer = AZURE.chat_writer(STREAMED, reply)
    written = b"".join(writer.write(delta) for delta in (*deltas, ChatDelta(usage=USAGE)))
    assert events(written + writer.finish()) == events(golden(name))


def test_an_openai_stream_has_usage_in_a_chunk_of_its_own_when_asked() -> None:
    asked = ChatRequest(messages=(UserMessage("x"),), stream=True, include_usage=True)
    writer = OPENAI.chat_writer(asked, REPLY)
    written = b"".join(writer.write(delta) for delta in (*TEXT, ChatDelta(usage=USAGE)))
    assert events(written + writer.finish()) == events(golden("openai_chat_stream.sse"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "mistral_tool_stream.sse",
            (
                ChatDelta(
                    tool_calls=(
                        ToolCallDelta(
                            id="abc123XYZ", name="get_weather", arguments='{"city": "Seattle"}'
                        ),
                    ),
                    finish_reason="tool_calls",
                    usage=Usage(74, 22),
                ),
            ),
        ),
        (
            "azure_openai_stream.sse",
            (
                ChatDelta(text="Hi"),
                ChatDelta(finish_reason="stop"),
                ChatDelta(usage=Usage(9, 1, 4, 0)),
            ),
        ),
    ],
)
def test_a_recorded_stream_is_read(name: str, expected: tuple[ChatDelta, ...]) -> None:
    reader = OPENAI.chat_reader()
    deltas = [delta for data in Decoder().feed(golden(name)) for delta in reader.read(data)]
    reader.finish()
    assert tuple(deltas) == expected


def test_the_reference_completion_is_read_and_answered() -> None:
    assert AZURE.read_completion(call(golden("azure_completion_request.json"))) == (
        CompletionRequest(
            prompts=("This is a very good text",),
            frequency_penalty=0,
            presence_penalty=0,
            max_tokens=256,
            seed=42,
            stop=("<|endoftext|>",),
            temperature=0,
            top_p=1,
        )
    )
    completion = Completion(
        choices=(CompletionChoice(text=", indeed it is a good one.", finish_reason="stop"),),
        usage=Usage(15, 8),
    )
    assert json.loads(AZURE.write_completion(completion, REPLY)) == json.loads(
        golden("azure_completion_reply.json")
    )


def test_the_official_clients_embeddings_calls_are_read_and_answered() -> None:
    passing = call(golden("azure_embeddings_request.json"), extra_parameters="pass-through")
    assert AZURE.read_embeddings(passing) == EmbeddingsRequest(
        inputs=("a",),
        dimensions=4,
        encoding_format="base64",
        input_type="query",
        model="m",
        extra={"user": "u"},
    )
    image = AZURE.read_image_embeddings(call(golden("azure_image_embeddings_request.json")))
    assert image == ImageEmbeddingsRequest(
        inputs=(ImageInput(image="data:image/png;base64,AAAA", text="tt"),), dimensions=4
    )
    vectors = Embeddings(vectors=(struct.pack("<2f", 0.5, -0.25),), usage=Usage(3))
    assert json.loads(AZURE.write_embeddings(vectors, None, REPLY)) == json.loads(
        golden("azure_embeddings_reply.json")
    )


def test_errors_are_written() -> None:
    unsupported = ParameterNotSupported(
        "This model doesn't support json_object.",
        location=("body", "response_format"),
        value="json_object",
    )
    for name, error in (
        ("azure_error_extra_parameters.json", UnknownParameters(("n",))),
        ("azure_error_unsupported.json", unsupported),
        ("azure_error_model.json", ExtraForbidden("foo", "bar")),
    ):
        written = AZURE.write_error(error)
        assert json.loads(written.body) == json.loads(golden(name))
        assert written.status == error.status
