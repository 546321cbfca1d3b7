"""What clients vary without thinking of it: versions, bases, names, headers, bodies."""

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import httpx2
import pytest
from azure.ai.inference import ChatCompletionsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError

from interlingua.backends.base import CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.models import Capabilities

from .service import CHAT, KEY, app_of, client_of, error_of, failing, served

pytestmark = pytest.mark.anyio

GITHUB = ["/inference", "/orgs/acme/inference", ""]


class Thinking(EchoBackend):
    """Thinks before it answers."""

    async def chat(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, call: CallContext
    ) -> AsyncGenerator[ChatDelta]:
        yield ChatDelta(reasoning="hm")
        yield ChatDelta(text="yes")
        yield ChatDelta(finish_reason="stop")


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """Of a server with the deployments echo, thinking and failing."""
    async with client_of(app_of(EchoBackend(), Thinking(name="thinking"), failing())) as client:
        yield client


# -- api-version ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "apart"),
    [
        ("", False),
        ("?api-version=2024-05-01-preview", False),
        ("?api-version=2024-08-01-preview", False),
        ("?api-version=2025-02-01-preview", False),
        ("?api-version=2025-04-01", True),
        ("?api-version=2025-05-15-preview", True),
        ("?api-version=2025-08-28", True),
        ("?api-version=2025-04-01&api-version=2024-05-01-preview", True),
        ("?api-version=2024-05-01-preview&api-version=2025-04-01", False),
        ("?api-version=", False),
        ("?api-version=latest", True),
        ("?API-Version=2025-04-01", False),
    ],
)
async def test_the_api_version_decides_on_reasoning_alone(
    client: httpx2.AsyncClient, query: str, apart: bool
) -> None:
    reply = await client.post(f"/chat/completions{query}", json={**CHAT, "model": "thinking"})
    assert reply.status_code == 200, reply.text
    message = reply.json()["choices"][0]["message"]
    if apart:
        assert (message["reasoning_content"], message["content"]) == ("hm", "yes")
    else:
        assert message["content"].startswith("<think>")
        assert "reasoning_content" not in message
    for path in ("/embeddings", "/v1/embeddings", "/openai/deployments/echo/embeddings"):
        assert (await client.post(path + query, json={"input": ["a"]})).status_code == 200
    assert (await client.get(f"/info{query}")).status_code == 200


async def test_a_json_schema_works_at_the_version_that_the_sdk_pins() -> None:
    # The hosted service refused it there; what echo lacks is refused by name instead.
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    async with client_of(app_of(EchoBackend())) as client:
        for version in ("2024-05-01-preview", "2025-04-01"):
            reply = await client.post(
                f"/chat/completions?api-version={version}", json={**CHAT, "response_format": schema}
            )
            assert error_of(reply)["code"] == "parameter_not_supported"
            assert error_of(reply)["param"] == "response_format"


@pytest.mark.parametrize("version", [None, "2024-05-01-preview", "2025-04-01", "2025-08-28"])
async def test_a_json_schema_reaches_a_model_that_can_at_every_version(version: str | None) -> None:
    can = Capabilities(response_formats=frozenset({"json_schema"}))
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    async with client_of(app_of(EchoBackend(capabilities=can))) as client:
        for base in ("", "/models", "/v1"):
            reply = await client.post(
                f"{base}/chat/completions",
                params={"api-version": version} if version else {},
                json={**CHAT, "response_format": schema},
            )
            assert reply.status_code == 200, reply.text


# -- Names and paths ------------------------------------------------------------------------


@pytest.mark.parametrize("base", GITHUB)
@pytest.mark.parametrize("model", ["echo", "interlingua/echo", "openai/Echo", "ECHO"])
async def test_github_models_paths_take_publisher_and_name(
    client: httpx2.AsyncClient, base: str, model: str
) -> None:
    token = {"authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(
        transport=client._transport, base_url="http://test", headers=token
    ) as caller:
        reply = await caller.post(f"{base}/chat/completions", json={**CHAT, "model": model})
        assert reply.status_code == 200
        assert reply.json()["model"] == "echo"
        vectors = await caller.post(f"{base}/embeddings", json={"input": ["a"], "model": model})
        assert vectors.status_code == 200


@pytest.mark.parametrize("base", GITHUB)
async def test_github_models_say_unknown_model(client: httpx2.AsyncClient, base: str) -> None:
    reply = await client.post(f"{base}/chat/completions", json={**CHAT, "model": "openai/none"})
    assert reply.status_code == 400
    assert error_of(reply)["code"] == reply.headers["x-ms-error-code"] == "unknown_model"
    assert "openai/none" in str(error_of(reply)["message"])


@pytest.mark.parametrize("header", ["azureml-model-deployment", "x-ms-model-mesh-model-name"])
async def test_a_header_names_the_deployment(client: httpx2.AsyncClient, header: str) -> None:
    for path in ("/chat/completions", "/models/chat/completions", "/v1/chat/completions"):
        reply = await client.post(path, json=CHAT, headers={header: "thinking"})
        assert reply.json()["model"] == "thinking"
        assert reply.headers["azureml-model-deployment"] == "thinking"
        assert reply.headers["x-ms-model-mesh-model-name"] == "thinking"
    reply = await client.post("/chat/completions", json=CHAT, headers={header: "none"})
    assert error_of(reply)["code"] == "unknown_model"
    # A sample sends the header without a value where its variable isn't set.
    reply = await client.post("/chat/completions", json=CHAT, headers={header: ""})
    assert reply.json()["model"] == "echo"


async def test_of_both_headers_the_managed_endpoints_own_counts(
    client: httpx2.AsyncClient,
) -> None:
    headers = {"azureml-model-deployment": "thinking", "x-ms-model-mesh-model-name": "none"}
    reply = await client.post("/chat/completions", json={**CHAT, "model": "x"}, headers=headers)
    assert reply.json()["model"] == "thinking"


# -- Dialects -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "azure"),
    [
        ("", True),
        ("/models", True),
        ("/api/models", True),
        ("/inference", True),
        ("/orgs/acme/inference", True),
        ("/v1", False),
        ("/openai/v1", False),
        ("/openai/deployments/echo", False),
        ("/models/deployments/echo", False),
    ],
)
async def test_ids_usage_and_extra_parameters_follow_the_base(
    client: httpx2.AsyncClient, base: str, azure: bool
) -> None:
    whole = (await client.post(f"{base}/chat/completions", json=CHAT)).json()
    assert whole["object"] == "chat.completion"
    assert whole["id"].startswith("chatcmpl-") is not azure
    stream = await client.post(f"{base}/chat/completions", json={**CHAT, "stream": True})
    chunks = chunks_of(stream)
    with_usage = [chunk for chunk in chunks if chunk.get("usage")]
    assert with_usage == ([chunks[-1]] if azure else [])
    assert all(chunk["choices"] for chunk in chunks)
    extra = await client.post(f"{base}/chat/completions", json={**CHAT, "custom": 1})
    assert extra.status_code == (400 if azure else 200)
    if azure:
        assert extra.json()["detail"].startswith("Extra parameters ['custom'] are not allowed")
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    reply = await client.post(f"{base}/chat/completions", json=asked)
    if azure:
        assert reply.status_code == 400
    else:
        assert [c["choices"] for c in chunks_of(reply) if c.get("usage")] == [[]]


@pytest.mark.parametrize(
    ("base", "azure"),
    [("", True), ("/models", True), ("/v1", False), ("/openai/deployments/echo", False)],
)
async def test_texts_and_vectors_follow_the_base_too(
    client: httpx2.AsyncClient, base: str, azure: bool
) -> None:
    ask = {"prompt": "one two", "max_tokens": 8}
    whole = (await client.post(f"{base}/completions", json=ask)).json()
    assert whole["object"] == "text_completion"
    assert whole["id"].startswith("cmpl-") is not azure
    chunks = chunks_of(await client.post(f"{base}/completions", json={**ask, "stream": True}))
    assert {(chunk["object"], chunk["id"]) for chunk in chunks} == {
        ("text_completion", chunks[0]["id"])
    }
    assert [chunk for chunk in chunks if chunk.get("usage")] == ([chunks[-1]] if azure else [])
    vectors = (await client.post(f"{base}/embeddings", json={"input": ["a"]})).json()
    assert ("id" in vectors) is azure
    assert vectors["usage"]["total_tokens"] == vectors["usage"]["prompt_tokens"]


@pytest.mark.parametrize("base", ["", "/models", "/v1"])
async def test_the_documentations_own_word_for_drop_is_refused_as_the_service_did(
    client: httpx2.AsyncClient, base: str
) -> None:
    reply = await client.post(
        f"{base}/completions", json={"prompt": "a"}, headers={"extra-parameters": "ignore"}
    )
    assert reply.status_code == 400
    assert error_of(reply)["message"] == (
        "Unexpected EXTRA_PARAMETERS option ignore, expected options are "
        "['error', 'drop', 'pass-through']"
    )


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "image/png", ""])
async def test_a_stream_is_sent_whatever_is_accepted(
    client: httpx2.AsyncClient, accept: str
) -> None:
    # The official client asks for application/json when it wants a stream.
    reply = await client.post(
        "/chat/completions", json={**CHAT, "stream": True}, headers={"accept": accept}
    )
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert chunks_of(reply)


async def test_retry_after_stands_on_429_and_503_alone(client: httpx2.AsyncClient) -> None:
    calls = [
        ("/chat/completions", {**CHAT, "model": "failing"}, 503),
        ("/v1/chat/completions", {**CHAT, "model": "failing"}, 503),
        ("/chat/completions", {**CHAT, "custom": 1}, 400),
        ("/chat/completions", {**CHAT, "temperature": 9}, 422),
        ("/chat/completions", {**CHAT, "model": "none"}, 400),
        ("/openai/deployments/none/chat/completions", CHAT, 404),
        ("/embeddings", {"input": []}, 422),
        ("/info", {}, 405),
    ]
    for path, body, status in calls:
        reply = await client.post(path, json=body)
        assert reply.status_code == status, path
        assert ("retry-after" in reply.headers) == (status in {429, 503})


def chunks_of(reply: httpx2.Response) -> list[dict[str, object]]:
    events = [e.removeprefix("data: ") for e in reply.text.split("\n\n") if e]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


# -- Bodies of the official client ----------------------------------------------------------


@pytest.fixture(scope="module")
def official() -> Iterator[ChatCompletionsClient]:
    with (
        served(app_of(EchoBackend())) as url,
        ChatCompletionsClient(url + "/", AzureKeyCredential(KEY)) as client,
    ):
        yield client


def test_dict_and_bytes_bodies_go_as_they_are(official: ChatCompletionsClient) -> None:
    raw = json.dumps(CHAT).encode()
    for body in (CHAT, io.BytesIO(raw)):
        answer = official.complete(body)
        assert answer.choices[0].message.content == "one two three"
    for body in ({**CHAT, "custom": 1}, io.BytesIO(raw[:-1] + b', "custom": 1}')):
        with pytest.raises(HttpResponseError, match="'custom'") as caught:
            official.complete(body)
        assert caught.value.status_code == 400


def test_model_extras_pass_through_or_are_the_models_to_refuse(
    official: ChatCompletionsClient,
) -> None:
    with pytest.raises(HttpResponseError, match="Extra inputs are not permitted") as caught:
        official.complete(messages=CHAT["messages"], model_extras={"custom": 1})
    assert caught.value.status_code == 422


def test_an_api_version_in_the_endpoint_makes_two() -> None:
    with served(app_of(EchoBackend())) as url:
        doubled = f"{url}/models?api-version=2025-04-01"
        with ChatCompletionsClient(doubled, AzureKeyCredential(KEY)) as client:
            assert client.complete(messages=CHAT["messages"]).model == "echo"
