"""A server in front of another one, which is its provider: the client sees no difference."""

import re
from collections.abc import Iterator

import httpx2
import pytest
from azure.ai.inference import (
    ChatCompletionsClient,
    EmbeddingsClient,
    ImageEmbeddingsClient,
    load_client,
)
from azure.ai.inference.models import (
    ChatCompletionsNamedToolChoice,
    ChatCompletionsNamedToolChoiceFunction,
    ChatCompletionsToolDefinition,
    EmbeddingEncodingFormat,
    FunctionDefinition,
    ImageEmbeddingInput,
    SystemMessage,
    UserMessage,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from openai import OpenAI

from .conftest import Server, serving
from .pictures import data_url, picture

DEPLOYMENT = """
[[deployment]]
name = "{name}"
provider = "{provider}"
base_url = "{url}"
model = "{model}"
type = "{kind}"
key = "${{UPSTREAM_KEY}}"
"""
KINDS = {
    "smollm2": "chat-completion",
    "tiny-phi-3": "chat-completion",
    "minilm": "embedding",
    "tiny-clip": "image-embedding",
}
PROVIDERS = {"azure": "", "openai": "/v1", "vllm": "/openai/v1"}
ASK = [SystemMessage("You answer briefly."), UserMessage("Name the capital of France.")]
TOOL = ChatCompletionsToolDefinition(
    function=FunctionDefinition(
        name="get_weather",
        description="Get the weather of a city",
        parameters={
            "type": "object",
            "properties": {"unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    )
)


@pytest.fixture(scope="module")
def front(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Every model of ``server``, by each provider that it can be: ``azure.minilm``, …"""
    config = '[server]\nport = 0\nkeys = ["${E2E_KEY}"]\n'
    for provider, base in PROVIDERS.items():
        for model, kind in KINDS.items():
            if (provider, kind) == ("vllm", "image-embedding"):
                continue  # vLLM has no such operation
            config += DEPLOYMENT.format(
                name=f"{provider}.{model}",
                provider=provider,
                url=server.url + base,
                model=model,
                kind=kind,
            )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UPSTREAM_KEY", server.key)
        with serving(config, tmp_path_factory.mktemp("front")) as running:
            yield running
            logged = running.log.read_text()
            assert "Traceback" not in logged, logged
            assert server.key not in logged


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(front: Server) -> Iterator[ChatCompletionsClient]:
    with ChatCompletionsClient(front.url, AzureKeyCredential(front.key)) as client:
        yield client


def test_a_chat_is_the_providers(
    server: Server, chat: ChatCompletionsClient, provider: str
) -> None:
    with ChatCompletionsClient(server.url, AzureKeyCredential(server.key)) as direct:
        theirs = direct.complete(messages=ASK, model="smollm2", max_tokens=16, temperature=0)
    ours = chat.complete(messages=ASK, model=f"{provider}.smollm2", max_tokens=16, temperature=0)
    assert ours.choices[0].message.content == theirs.choices[0].message.content
    assert "Paris" in ours.choices[0].message.content
    assert ours.choices[0].finish_reason == theirs.choices[0].finish_reason
    # What came out of the prompt cache depends on who asked first.
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert ours.usage[count] == theirs.usage[count]
    assert ours.model == f"{provider}.smollm2"


def test_a_stream_is_the_same_in_pieces(chat: ChatCompletionsClient, provider: str) -> None:
    updates = list(
        chat.complete(
            messages=ASK, model=f"{provider}.smollm2", max_tokens=16, temperature=0, stream=True
        )
    )
    text = "".join(update.choices[0].delta.content or "" for update in updates if update.choices)
    assert "Paris" in text
    assert len(updates) > 5
    assert updates[-1].usage.completion_tokens > 3


def test_a_forced_tool_is_called(chat: ChatCompletionsClient, provider: str) -> None:
    choice = ChatCompletionsNamedToolChoice(
        function=ChatCompletionsNamedToolChoiceFunction(name="get_weather")
    )
    asked = {
        "messages": ASK,
        "model": f"{provider}.tiny-phi-3",
        "tools": [TOOL],
        "tool_choice": choice,
        "max_tokens": 100,
        "temperature": 0,
    }
    (call,) = chat.complete(**asked).choices[0].message.tool_calls
    assert (call.function.name, call.id != "") == ("get_weather", True)
    assert re.fullmatch(r'\{\s*"unit":\s*"[cf]"\s*\}', call.function.arguments)
    pieces = [
        piece
        for update in chat.complete(**asked, stream=True)
        if update.choices
        for piece in update.choices[0].delta.tool_calls or ()
    ]
    assert pieces[0].function.name == "get_weather"
    streamed = "".join(piece.function.arguments for piece in pieces)
    assert re.fullmatch(r'\{\s*"unit":\s*"[cf]"\s*\}', streamed)


@pytest.mark.parametrize("encoding", [None, *EmbeddingEncodingFormat])
def test_embeddings_are_the_same_in_every_encoding(
    server: Server, front: Server, provider: str, encoding: EmbeddingEncodingFormat | None
) -> None:
    texts = ["a cat on a mat", "a dog in the fog"]
    with (
        EmbeddingsClient(server.url, AzureKeyCredential(server.key), model="minilm") as direct,
        EmbeddingsClient(
            front.url, AzureKeyCredential(front.key), model=f"{provider}.minilm"
        ) as client,
    ):
        theirs = direct.embed(input=texts, encoding_format=encoding)
        ours = client.embed(input=texts, encoding_format=encoding)
    assert [item.embedding for item in ours.data] == [item.embedding for item in theirs.data]
    assert ours.usage.as_dict() == theirs.usage.as_dict()


@pytest.mark.parametrize("provider", ["azure", "openai"])
def test_image_embeddings_with_text_are_the_same(
    server: Server, front: Server, provider: str
) -> None:
    item = ImageEmbeddingInput(image=data_url(picture((200, 30, 30))), text="a cat")
    with (
        ImageEmbeddingsClient(server.url, AzureKeyCredential(server.key)) as direct,
        ImageEmbeddingsClient(front.url, AzureKeyCredential(front.key)) as client,
    ):
        theirs = direct.embed(input=[item], model="tiny-clip")
        ours = client.embed(input=[item], model=f"{provider}.tiny-clip")
    assert ours.data[0].embedding == theirs.data[0].embedding


def test_load_client_and_the_names_of_the_providers_models_work(front: Server) -> None:
    client = load_client(f"{front.url}/endpoints/azure.minilm", AzureKeyCredential(front.key))
    assert isinstance(client, EmbeddingsClient)
    assert client.get_model_info().model_provider_name == "Azure AI"
    assert client.embed(input=["a"], model="minilm").model == "azure.minilm"
    client.close()


def test_text_completions_and_openais_own_client(front: Server) -> None:
    with OpenAI(base_url=f"{front.url}/v1", api_key=front.key) as client:
        done = client.completions.create(
            model="vllm.smollm2", prompt="The capital of France is", max_tokens=5, temperature=0
        )
        assert "Paris" in done.choices[0].text
        raw = client.chat.completions.with_raw_response.create(
            model="azure.smollm2",
            messages=[{"role": "user", "content": "Hi"}],
            max_completion_tokens=5,
            n=2,
        )
    told = raw.headers["x-interlingua-changes"]
    assert told == 'renamed=("max_completion_tokens";to="max_tokens")'
    assert len(raw.parse().choices) == 2
    assert raw.parse().usage.completion_tokens <= 10


def test_the_honest_contract_holds_through_both(
    chat: ChatCompletionsClient, front: Server, provider: str
) -> None:
    model = f"{provider}.smollm2"
    if provider == "azure":
        # model_extras say pass-through, on this wire all the way: the engine refuses by name.
        with pytest.raises(HttpResponseError) as unknown:
            chat.complete(messages=ASK, model=model, max_tokens=2, model_extras={"safe": 1})
        assert unknown.value.status_code == 422
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    headers = {"api-key": front.key}
    url = f"{front.url}/chat/completions"
    refused = httpx2.post(url, json={**body, "safe": 1}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "extra_parameters")
    dropped = httpx2.post(
        url, json={**body, "safe": 1}, headers={**headers, "extra-parameters": "drop"}, timeout=60
    )
    assert dropped.status_code == 200
    assert dropped.headers["x-interlingua-changes"] == 'dropped=("safe")'
    known = httpx2.post(
        f"{front.url}/v1/chat/completions",
        json={**body, "reasoning_effort": "low"},
        headers=headers,
    )
    assert (known.status_code, known.json()["error"]["param"]) == (422, "reasoning_effort")
