"""One client and one server: the same program, with nothing but the model's name changed.

A provider is a line in ``PROVIDERS``: what its model answers, in the wire that it publishes.
Each reply's shape, the names and types of all that is in it, is that of the model here.
"""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

import httpx2
import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient, ImageEmbeddingsClient
from azure.ai.inference.models import ImageEmbeddingInput
from azure.core.credentials import AzureKeyCredential

from ..server.service import KEY
from ..support import scripted_providers
from ..support.scripted_upstream import (
    Reply,
    Request,
    ScriptedUpstream,
    chat_chunk,
    chat_stream,
    chat_whole,
    completion_stream,
    embeddings,
    events,
    usage,
)
from .conftest import Server, serving
from .pictures import data_url, picture

TEXT = "Paris."
LENGTH = 4
LOCAL = {
    "chat": "smollm2-135m-instruct",
    "complete": "smollm2-135m-instruct",
    "embed": "all-minilm-l6-v2",
    "picture": "efficientnet-lite0",
}
TYPES = {
    "chat": "chat-completion",
    "complete": "text-generation",
    "embed": "embedding",
    "picture": "image-embedding",
}
ASK = [{"role": "user", "content": "Name the capital of France."}]
#: What the API has only where the model tells it.
OPTIONAL = {"reasoning_content", "prompt_tokens_details", "completion_tokens_details"}
PICTURE = data_url(picture("red"))


# -- The providers, each in its wire ---------------------------------------------------------


def openai_chat(request: Request) -> Reply:
    """OpenAI: usage comes in a last chunk without choices."""
    return chat_stream("Pa", "ris.") if request.json().get("stream") else chat_whole(TEXT)


def openai_completion(request: Request) -> Reply:
    return completion_stream("Pa", "ris.")


def openai_vectors(request: Request) -> Reply:
    body = request.json()
    vectors = [[0.5] * LENGTH for _ in body["input"]]  # type: ignore[attr-defined]  # a list
    return embeddings(vectors, encoded=body.get("encoding_format") == "base64")


def azure_chat(request: Request) -> Reply:
    """Azure: usage rides on the last chunk, and its details are not told."""
    if not request.json().get("stream"):
        return chat_whole(TEXT)
    return events(
        chat_chunk({"role": "assistant", "content": ""}),
        chat_chunk({"content": "Paris."}),
        chat_chunk({"content": ""}, "stop", usage=usage()),
    )


def mistral_chat(request: Request) -> Reply:
    """Mistral: role and first text together, usage with the finish reason."""
    assert "stream_options" not in request.json()
    return events(
        chat_chunk({"role": "assistant", "content": "Pa"}),
        chat_chunk({"content": "ris."}, "stop", usage=usage()),
    )


def ollama_chat(request: Request) -> Reply:
    """Ollama: every chunk has a role, and the finish reason comes with an empty text."""
    return events(
        chat_chunk({"role": "assistant", "content": "Pa"}),
        chat_chunk({"role": "assistant", "content": "ris."}),
        chat_chunk({"role": "assistant", "content": ""}, "stop"),
        {**chat_chunk(), "choices": [], "usage": usage()},
    )


class Wire(NamedTuple):
    """What a provider has: operations, by the path under its ``base_url``."""

    chat: tuple[str, Callable[[Request], Reply]]
    complete: tuple[str, Callable[[Request], Reply]] | None = None
    embed: tuple[str, Callable[[Request], Reply]] | None = None
    picture: tuple[str, Callable[[Request], Reply]] | None = None
    #: Further lines of its deployments.
    settings: str = ""


CHAT, COMPLETE, EMBED = "/chat/completions", "/completions", "/embeddings"
DEPLOYED = "/openai/deployments/m"
COMPLETES = (COMPLETE, openai_completion)
EMBEDS = (EMBED, openai_vectors)
PROVIDERS = {
    "azure": Wire(
        (CHAT, azure_chat), COMPLETES, EMBEDS, picture=("/images/embeddings", openai_vectors)
    ),
    "azure-openai": Wire((DEPLOYED + CHAT, openai_chat), None, (DEPLOYED + EMBED, openai_vectors)),
    "openai": Wire((CHAT, openai_chat), COMPLETES, EMBEDS),
    "mistral": Wire((CHAT, mistral_chat), None, EMBEDS),
    "ollama": Wire((CHAT, ollama_chat), COMPLETES, EMBEDS),
    "vllm": Wire((CHAT, openai_chat), COMPLETES, EMBEDS),
    "groq": Wire((CHAT, openai_chat)),
}


def deployments(upstream: ScriptedUpstream) -> Iterator[str]:
    """Everything of every provider: ``openai.embed``, …"""
    for provider, wire in PROVIDERS.items():
        for operation, type_ in TYPES.items():
            offered = getattr(wire, operation)
            if offered is None:
                continue
            path, answer = offered
            upstream.on(f"/{provider}{path}", answer)
            yield (
                f'[[deployment]]\nname = "{provider}.{operation}"\nprovider = "{provider}"\n'
                f'base_url = "{upstream.url}/{provider}"\nmodel = "m"\ntype = "{type_}"\n'
                f'key = "${{E2E_KEY}}"\n{wire.settings}\n'
            )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = '[server]\nport = 0\nkeys = ["${E2E_KEY}"]\n'
    for model in sorted(set(LOCAL.values())):
        config += f'[[deployment]]\nname = "{model}"\nmodel = "{model}"\n'
    with ScriptedUpstream() as upstream:
        config += "".join(deployments(upstream))
        with serving(config, tmp_path_factory.mktemp("mixed")) as running:
            yield running
            assert "Traceback" not in running.log.read_text()


# -- The program -----------------------------------------------------------------------------


def ask(server: Server, path: str, body: dict[str, object]) -> object:
    """A reply's JSON; of a stream, that of each event."""
    reply = httpx2.post(server.url + path, json=body, headers={"api-key": server.key}, timeout=300)
    assert reply.status_code == 200, reply.text
    if not body.get("stream"):
        return reply.json()
    events = reply.text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def chat(server: Server, model: str) -> list[object]:
    whole = {"model": model, "messages": ASK, "max_tokens": 2, "temperature": 0}
    streamed = {**whole, "stream": True}
    told = {**streamed, "stream_options": {"include_usage": True}}
    return [
        ask(server, CHAT, whole),
        ask(server, CHAT, streamed),
        ask(server, "/v1" + CHAT, whole),
        ask(server, "/v1" + CHAT, streamed),
        ask(server, "/v1" + CHAT, told),
    ]


def complete(server: Server, model: str) -> list[object]:
    whole = {"model": model, "prompt": "The capital of France is", "max_tokens": 2}
    return [ask(server, "/v1" + COMPLETE, {**whole, "stream": each}) for each in (False, True)]


def embed(server: Server, model: str) -> list[object]:
    texts = {"model": model, "input": ["a cat", "a dog"]}
    encoded = {**texts, "encoding_format": "base64"}
    return [
        ask(server, EMBED, texts),
        ask(server, EMBED, encoded),
        ask(server, "/v1" + EMBED, texts),
    ]


def picture_(server: Server, model: str) -> list[object]:
    return [ask(server, "/images/embeddings", {"model": model, "input": [{"image": PICTURE}]})]


PROGRAM = {"chat": chat, "complete": complete, "embed": embed, "picture": picture_}


def info(server: Server, model: str) -> object:
    query = {"model": model}
    return httpx2.get(f"{server.url}/info", params=query, headers={"api-key": server.key}).json()


def shape(value: object) -> object:
    """Names and types of all that is in it; what repeats is there once."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items() if name not in OPTIONAL}
    if isinstance(value, list):
        shapes: list[object] = []
        for inner in map(shape, value):
            if inner not in shapes:
                shapes.append(inner)
        return shapes
    return type(value).__name__


@pytest.fixture(scope="module")
def local(server: Server) -> dict[str, object]:
    """The shapes of the models here, by operation."""
    return {name: shape(run(server, LOCAL[name])) for name, run in PROGRAM.items()}


OFFERED = [
    (provider, operation)
    for provider, wire in PROVIDERS.items()
    for operation in TYPES
    if getattr(wire, operation) is not None
]


@pytest.mark.parametrize(("provider", "operation"), OFFERED)
def test_only_the_name_of_the_model_changes(
    server: Server, local: dict[str, object], provider: str, operation: str
) -> None:
    model = f"{provider}.{operation}"
    assert shape(PROGRAM[operation](server, model)) == local[operation]
    assert shape(info(server, model)) == shape(info(server, LOCAL[operation]))


#: Wires of their own shape, behind scripted providers that judge what they are asked.
OPERATIONS = {type_: operation for operation, type_ in TYPES.items()}
NATIVE = [
    (name, OPERATIONS[model.type])
    for name, (row, model) in scripted_providers.deployments().items()
    if row.dialect not in {"azure", "openai"}
]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with scripted_providers.standing(tmp_path_factory.mktemp("native")) as stand:
        yield SimpleNamespace(url=stand.url, key=KEY)


@pytest.mark.parametrize(("model", "operation"), NATIVE)
def test_a_wire_of_another_shape_comes_out_in_the_same(
    native: Server, local: dict[str, object], model: str, operation: str
) -> None:
    assert shape(PROGRAM[operation](native, model)) == local[operation]


def test_the_official_client_asks_them_all(server: Server) -> None:
    key = AzureKeyCredential(server.key)
    chats = [LOCAL["chat"], *(f"{name}.chat" for name in PROVIDERS)]
    with ChatCompletionsClient(server.url, key) as client:
        for model in chats:
            whole = client.complete(messages=ASK, model=model, max_tokens=2, temperature=0)
            updates = client.complete(
                messages=ASK, model=model, max_tokens=2, temperature=0, stream=True
            )
            deltas = [update.choices[0].delta.content for update in updates if update.choices]
            assert "".join(text or "" for text in deltas) == whole.choices[0].message.content
            assert whole.choices[0].message.content == TEXT or model == LOCAL["chat"]
            assert whole.model == model
    with EmbeddingsClient(server.url, key) as client:
        for provider in (name for name, wire in PROVIDERS.items() if wire.embed):
            result = client.embed(input=["a", "b"], model=f"{provider}.embed")
            assert [item.embedding for item in result.data] == [[0.5] * LENGTH] * 2
    with ImageEmbeddingsClient(server.url, key) as client:
        for model in (LOCAL["picture"], "azure.picture"):
            result = client.embed(input=[ImageEmbeddingInput(image=PICTURE)], model=model)
            assert result.data[0].embedding
