"""The unmodified official Python client against a real server with real models."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from azure.ai.inference import (
    ChatCompletionsClient,
    EmbeddingsClient,
    ImageEmbeddingsClient,
    aio,
    load_client,
)
from azure.ai.inference.models import (
    AssistantMessage,
    ChatCompletionsNamedToolChoice,
    ChatCompletionsNamedToolChoiceFunction,
    ChatCompletionsToolDefinition,
    EmbeddingEncodingFormat,
    FunctionDefinition,
    ImageEmbeddingInput,
    JsonSchemaFormat,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

from .conftest import Server
from .pictures import data_url, picture

ASK = [SystemMessage("You answer briefly."), UserMessage("Name the capital of France.")]
WEATHER = ChatCompletionsToolDefinition(
    function=FunctionDefinition(
        name="get_weather",
        description="Get the weather of a city",
        parameters={
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    )
)


@pytest.fixture(scope="module")
def chat(server: Server) -> Iterator[ChatCompletionsClient]:
    with ChatCompletionsClient(server.url, AzureKeyCredential(server.key)) as client:
        yield client


def test_chat_gives_a_real_answer(chat: ChatCompletionsClient) -> None:
    answer = chat.complete(messages=ASK, max_tokens=32, temperature=0)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.model == "smollm2"
    assert answer.usage.prompt_tokens > 10
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_the_same_in_pieces(chat: ChatCompletionsClient) -> None:
    whole = chat.complete(messages=ASK, max_tokens=32, temperature=0)
    updates = list(chat.complete(messages=ASK, max_tokens=32, temperature=0, stream=True))
    text = "".join(update.choices[0].delta.content or "" for update in updates if update.choices)
    assert text == whole.choices[0].message.content
    assert len(updates) > 5
    assert updates[0].choices[0].delta.role == "assistant"
    assert updates[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert updates[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_forced_tool_is_called_with_what_its_schema_asks(chat: ChatCompletionsClient) -> None:
    named = ChatCompletionsNamedToolChoice(
        function=ChatCompletionsNamedToolChoiceFunction(name="get_weather")
    )
    for choice in ("required", named):
        answer = chat.complete(
            messages=[UserMessage("What is the weather in Paris, in celsius?")],
            tools=[WEATHER],
            tool_choice=choice,
            temperature=0,
            max_tokens=200,
        )
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name == "get_weather"
        arguments = json.loads(call.function.arguments)
        assert set(arguments) == {"city", "unit"}
        assert arguments["unit"] in {"c", "f"}


def test_a_tools_result_can_be_given_back(chat: ChatCompletionsClient) -> None:
    first = chat.complete(
        messages=[UserMessage("What is the weather in Paris?")],
        tools=[WEATHER],
        tool_choice="required",
        temperature=0,
        max_tokens=200,
    )
    calls = first.choices[0].message.tool_calls
    answer = chat.complete(
        messages=[
            UserMessage("What is the weather in Paris?"),
            AssistantMessage(tool_calls=calls),
            ToolMessage("Sunny, 31 degrees", tool_call_id=calls[0].id),
        ],
        tools=[WEATHER],
        tool_choice="none",
        temperature=0,
        max_tokens=40,
    )
    assert answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls


def test_a_json_schema_binds_the_answer(chat: ChatCompletionsClient) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = chat.complete(
        messages=[UserMessage("Name a city and how many people live there.")],
        response_format=JsonSchemaFormat(name="city", schema=schema, strict=True),
        max_tokens=100,
        temperature=0,
    )
    assert answer.choices[0].finish_reason == "stop"
    value = json.loads(answer.choices[0].message.content)
    assert set(value) == {"city", "people"}
    assert isinstance(value["people"], int)


def test_an_extra_parameter_follows_the_callers_policy(chat: ChatCompletionsClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "custom": 1}
    with pytest.raises(HttpResponseError) as caught:
        chat.complete(body)
    assert caught.value.status_code == 400
    assert "Extra parameters ['custom'] are not allowed" in str(caught.value)

    seen: dict[str, str] = {}
    answer = chat.complete(
        body,
        headers={"extra-parameters": "drop"},
        raw_response_hook=lambda reply: seen.update(reply.http_response.headers),
    )
    assert answer.choices
    assert seen["x-interlingua-changes"] == 'dropped=("custom")'

    with pytest.raises(HttpResponseError) as caught:
        chat.complete(messages=ASK, max_tokens=4, model_extras={"custom": 1})
    assert caught.value.status_code == 422
    assert "Extra inputs are not permitted" in str(caught.value)

    two = chat.complete(messages=ASK, max_tokens=4, model_extras={"n": 2})
    assert [choice.index for choice in two.choices] == [0, 1]


def test_a_phi_3_name_of_the_catalogue_is_answered_by_the_phi_3_model(server: Server) -> None:
    with ChatCompletionsClient(
        f"{server.url}/models", AzureKeyCredential(server.key), model="Phi-3-mini-4k-instruct"
    ) as client:
        answer = client.complete(messages=[UserMessage("Hi")], temperature=0)
    assert answer.choices[0].message.content.strip() == "Hello from a tiny Phi-3 model."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "tiny-phi-3"


@pytest.mark.parametrize("encoding", [None, *EmbeddingEncodingFormat])
def test_embeddings_come_in_every_encoding(
    server: Server, encoding: EmbeddingEncodingFormat | None
) -> None:
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stocks fell on Monday."]
    with EmbeddingsClient(server.url, AzureKeyCredential(server.key)) as client:
        answer = client.embed(input=texts, encoding_format=encoding, model="minilm")
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 10
    vectors = np.array([decode(item.embedding, encoding) for item in answer.data], np.float32)
    assert vectors.shape == (3, 384)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.1


def decode(value: object, encoding: EmbeddingEncodingFormat | None) -> np.ndarray:
    match str(getattr(encoding, "value", "float")):
        case "base64":
            assert isinstance(value, str)
            return np.frombuffer(base64.b64decode(value), "<f4")
        case "binary":
            packed = (np.array(value, np.int16) + 128).astype(np.uint8)
            return np.unpackbits(packed).astype(np.float32) - 0.5
        case "ubinary":
            return np.unpackbits(np.array(value, np.uint8)).astype(np.float32) - 0.5
        case "uint8":
            return np.array(value, np.float32) - 128
        case _:
            return np.array(value, np.float32)


def test_an_embedding_option_that_the_model_lacks_is_422_by_name(server: Server) -> None:
    with EmbeddingsClient(server.url, AzureKeyCredential(server.key), model="minilm") as client:
        for option in ({"dimensions": 7}, {"input_type": "query"}):
            with pytest.raises(HttpResponseError) as caught:
                client.embed(input=["a"], **option)
            assert caught.value.status_code == 422
            assert caught.value.error.code == "parameter_not_supported"
            assert next(iter(option)) in str(caught.value)


def test_image_embeddings_tell_pictures_apart(server: Server, tmp_path: Path) -> None:
    files = []
    for name, color in (("a", "red"), ("b", "darkred"), ("c", "blue")):
        files.append(tmp_path / f"{name}.png")
        files[-1].write_bytes(picture(color))
    with ImageEmbeddingsClient(
        server.url, AzureKeyCredential(server.key), model="efficientnet"
    ) as client:
        answer = client.embed(
            input=[
                ImageEmbeddingInput.load(image_file=str(file), image_format="png") for file in files
            ]
        )
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (3, 1280)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_a_joint_model_puts_texts_and_pictures_in_one_space(server: Server) -> None:
    credential = AzureKeyCredential(server.key)
    with (
        ImageEmbeddingsClient(server.url, credential, model="tiny-clip") as images,
        EmbeddingsClient(server.url, credential, model="tiny-clip") as texts,
    ):
        seen = images.embed(input=[ImageEmbeddingInput(image=data_url(picture("red")))])
        both = images.embed(
            input=[ImageEmbeddingInput(image=data_url(picture("red")), text="blue")]
        )
        words = texts.embed(input=["red", "blue"])
    red_picture = np.array(seen.data[0].embedding)
    red, blue = (np.array(item.embedding) for item in words.data)
    mixed = np.array(both.data[0].embedding)
    assert red_picture @ red > red_picture @ blue
    assert mixed @ blue > red_picture @ blue


def test_info_says_what_answers_and_its_name_routes(server: Server) -> None:
    credential = AzureKeyCredential(server.key)
    with ChatCompletionsClient(server.url, credential) as client:
        info = client.get_model_info()
        assert info.model_type == "chat-completion"
        assert info.model_name
        assert info.model_provider_name
        named = client.complete(messages=ASK, max_tokens=2, model=info.model_name)
        assert named.choices
    with (
        pytest.raises(ResourceNotFoundError),
        ChatCompletionsClient(f"{server.url}/openai/deployments/smollm2", credential) as client,
    ):
        client.get_model_info()


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("", ChatCompletionsClient),
        ("/endpoints/minilm", EmbeddingsClient),
        ("/endpoints/efficientnet", ImageEmbeddingsClient),
    ],
)
def test_load_client_finds_the_right_client(server: Server, endpoint: str, kind: type) -> None:
    with load_client(server.url + endpoint, AzureKeyCredential(server.key)) as client:
        assert isinstance(client, kind)


def test_an_endpoint_routes_by_operation_and_by_header(server: Server) -> None:
    credential = AzureKeyCredential(server.key)
    with (
        ChatCompletionsClient(f"{server.url}/endpoints/support", credential) as chat,
        EmbeddingsClient(f"{server.url}/endpoints/support", credential) as vectors,
    ):
        assert chat.complete(messages=ASK, max_tokens=2).model == "tiny-phi-3"
        assert vectors.embed(input=["a"]).model == "minilm"
        with pytest.raises(ResourceNotFoundError):
            chat.complete(messages=ASK, headers={"azureml-model-deployment": "smollm2"})


def test_a_wrong_key_is_401_and_a_wrong_operation_404(server: Server) -> None:
    with ChatCompletionsClient(server.url, AzureKeyCredential("wrong-key")) as client:
        with pytest.raises(ClientAuthenticationError) as caught:
            client.complete(messages=ASK)
        assert "auth token validation failed" in str(caught.value).lower()
    with (
        ChatCompletionsClient(
            f"{server.url}/endpoints/minilm", AzureKeyCredential(server.key)
        ) as client,
        pytest.raises(ResourceNotFoundError),
    ):
        client.complete(messages=ASK)


@pytest.mark.anyio
async def test_the_async_clients_do_the_same(server: Server) -> None:
    credential = AzureKeyCredential(server.key)
    async with aio.ChatCompletionsClient(server.url, credential) as chat:
        whole = await chat.complete(messages=ASK, max_tokens=32, temperature=0)
        assert "Paris" in whole.choices[0].message.content
        text = ""
        stream = await chat.complete(messages=ASK, max_tokens=32, temperature=0, stream=True)
        async for update in stream:
            if update.choices:
                text += update.choices[0].delta.content or ""
        assert text == whole.choices[0].message.content
        info = await chat.get_model_info()
        assert info.model_type == "chat-completion"
    async with aio.EmbeddingsClient(server.url, credential) as texts:
        vectors = await texts.embed(input=["a", "b"])
        assert len(vectors.data[1].embedding) == 384
    async with aio.ImageEmbeddingsClient(server.url, credential) as images:
        vectors = await images.embed(input=[ImageEmbeddingInput(image=data_url(picture("red")))])
        assert len(vectors.data[0].embedding) == 1280
    async with await aio.load_client(server.url, credential) as client:
        assert isinstance(client, aio.ChatCompletionsClient)
