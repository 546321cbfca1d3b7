"""One client, one server: a model here and models at seven providers, told apart by name alone."""

import json
from collections.abc import Iterator

import pytest

from interlingua.backends.base import Backend
from interlingua.backends.echo import EchoBackend
from interlingua.backends.providers.http import create
from interlingua.backends.providers.registry import ProviderModel, find
from interlingua.types.models import Capabilities

from ..support import scripted_upstream as wire
from ..support.scripted_upstream import Request, ScriptedUpstream
from .service import app_of, client_of

pytestmark = pytest.mark.anyio

PROVIDERS = ("azure", "azure-openai", "groq", "mistral", "ollama", "openai", "vllm")
_ALL = Capabilities(
    operations=frozenset({"chat_completions", "completions", "embeddings", "image_embeddings"})
)
IMAGE = "data:image/png;base64,iVBORw0KGgo="
CALLS = {
    "/chat/completions": {"messages": [{"role": "user", "content": "Hello there"}]},
    "/completions": {"prompt": "Hello there"},
    "/embeddings": {"input": ["Hello", "there"]},
    "/images/embeddings": {"input": [{"image": IMAGE}, {"image": IMAGE}]},
}


def _answer(request: Request) -> wire.Reply:
    """What a provider of any kind says; where it has the usage differs."""
    if request.path.endswith("/chat/completions"):
        if "stream_options" in request.json():
            return wire.chat_stream("Hello ", "there")
        end = wire.chat_chunk({"content": "there"}, "stop", usage=wire.usage())
        return wire.events(wire.chat_chunk({"role": "assistant", "content": "Hello "}), end)
    if request.path.endswith("/completions"):
        return wire.completion_stream("Hello ", "there")
    encoded = request.json().get("encoding_format") == "base64"
    return wire.embeddings([(0.5, 1.0)] * 2, encoded=encoded)


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    with ScriptedUpstream() as upstream:
        made: list[Backend] = [EchoBackend(name="here", capabilities=_ALL)]
        for name in PROVIDERS:
            row = find(name)
            assert row is not None
            for path in CALLS:
                upstream.on(f"/{name}{row.path.replace('{model}', 'm')}{path}", _answer)
            made.append(
                create(
                    ProviderModel(
                        name=name,
                        row=row,
                        base_url=f"{upstream.url}/{name}",
                        model="m",
                        key="secret-key-of-it",
                        publisher=row.title,
                        stated=_ALL,
                    )
                )
            )
        yield made


def _shape(value: object) -> object:
    """Names and kinds; of a list the kinds of its items, each once."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(inner), sort_keys=True) for inner in value})
    return type(value).__name__


async def test_the_same_calls_get_the_same_shapes_whoever_answers(
    backends: list[Backend],
) -> None:
    shapes: dict[str, dict[str, object]] = {}
    async with client_of(app_of(*backends)) as client:
        for backend in backends:
            name = backend.info.model_name
            seen = shapes[name] = {}
            info = await client.get(f"/endpoints/{name}/info")
            assert info.json()["model_name"] == name
            seen["info"] = _shape(info.json())
            for path, body in CALLS.items():
                reply = await client.post(path, json={**body, "model": name})
                assert reply.status_code == 200, reply.text
                assert reply.json()["model"] == name
                assert reply.headers["azureml-model-deployment"] == name
                seen[path] = _shape(reply.json())
            for path in ("/chat/completions", "/v1/chat/completions"):
                asked = {**CALLS["/chat/completions"], "model": name, "stream": True}
                stream = await client.post(path, json=asked)
                *data, done = [line for line in stream.text.split("\n\n") if line]
                assert done == "data: [DONE]"
                seen[f"{path}, streamed"] = _shape([json.loads(line[6:]) for line in data])
            await backend.close()
    assert len(shapes) == 8
    for name, seen in shapes.items():
        assert seen == shapes["here"], name
