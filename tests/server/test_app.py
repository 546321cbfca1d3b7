"""The server in process: what it answers, refuses and says about itself."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.gateway.deployments import Limits

from .service import CHAT, KEY, Caller, app_of, client_of, defective, error_of, failing, hanging

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """With a key, of a server with the deployments echo, failing and defective."""
    async with client_of(app_of(EchoBackend(), failing(), defective())) as client:
        yield client


@pytest.mark.parametrize(
    "base",
    [
        "",
        "/models",
        "/api/models",
        "/inference",
        "/orgs/x/inference",
        "/endpoints/support",
        "/v1",
        "/openai/v1",
        "/openai/deployments/echo",
        "/models/deployments/echo",
    ],
)
async def test_all_operations_answer_on_every_base(client: httpx2.AsyncClient, base: str) -> None:
    chat = await client.post(f"{base}/chat/completions", json=CHAT)
    assert chat.status_code == 200, chat.text
    assert chat.json()["choices"][0]["message"]["content"] == "one two three"
    assert chat.json()["model"] == "echo"
    assert chat.headers["content-type"].startswith("application/json")
    text = await client.post(f"{base}/completions", json={"prompt": "a b"})
    assert text.json()["choices"][0]["text"] == "a b"
    vector = await client.post(f"{base}/embeddings", json={"input": ["a"], "dimensions": 8})
    assert len(vector.json()["data"][0]["embedding"]) == 8
    image = await client.post(
        f"{base}/images/embeddings", json={"input": [{"image": "data:image/png;base64,AAAA"}]}
    )
    assert len(image.json()["data"][0]["embedding"]) == 64


async def test_a_stream_is_events_with_the_right_headers(client: httpx2.AsyncClient) -> None:
    response = await client.post("/chat/completions", json={**CHAT, "stream": True})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    events = response.content.split(b"\n\n")
    assert all(event.startswith(b"data: ") for event in events[:-1])
    assert b"\r" not in response.content
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == "one two three"
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}


async def test_a_text_completion_streams(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/completions", json={"prompt": "a b", "stream": True})
    assert response.status_code == 200
    assert response.content.endswith(b"data: [DONE]\n\n")


async def test_info_names_the_model_and_its_spelling_is_configurable() -> None:
    for spelling, expected in (("service", "chat-completion"), ("enum", "chat_completion")):
        configured = ServerConfig(model_type=spelling)  # type: ignore[arg-type]  # one of them
        async with client_of(app_of(EchoBackend(), settings=configured)) as client:
            response = await client.get("/info?model=ECHO")
        assert response.json() == {
            "model_name": "echo",
            "model_type": expected,
            "model_provider_name": "Interlingua",
        }


async def test_every_reply_has_ids_and_no_server_header(client: httpx2.AsyncClient) -> None:
    for path in ("/", "/nothing", "/info"):
        headers = (await client.get(path, headers={"x-ms-client-request-id": "mine-1"})).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-request-id"] == headers["apim-request-id"] == headers["x-ms-request-id"]
        assert headers["x-ms-client-request-id"] == "mine-1"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


async def test_a_client_request_id_that_is_no_plain_text_is_not_echoed(
    client: httpx2.AsyncClient,
) -> None:
    for value in (b"a\x01b", b"\xff", b"x" * 129, b""):
        headers = (await client.get("/", headers={b"x-ms-client-request-id": value})).headers
        assert "x-ms-client-request-id" not in headers


async def test_a_reply_names_the_deployment_and_the_changes(client: httpx2.AsyncClient) -> None:
    response = await client.post(
        "/chat/completions",
        json={**CHAT, "foo\r\nset-cookie: x": 1},
        headers={"extra-parameters": "drop"},
    )
    assert response.headers["azureml-model-deployment"] == "echo"
    assert response.headers["x-interlingua-changes"].startswith("dropped=(")
    assert "set-cookie" not in response.headers


async def test_the_header_picks_the_deployment(client: httpx2.AsyncClient) -> None:
    header = {"azureml-model-deployment": "echo"}
    response = await client.post("/chat/completions", json={**CHAT, "model": "x"}, headers=header)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/v1/models",
        "/info",
        "/catalog/models",
        "/nothing",
        "/endpoints/x/info",
        "/health",
        "/health/live/x",
        "/v1/chat/completions",
        "/score",
    ],
)
async def test_everything_but_health_needs_a_key(path: str) -> None:
    async with client_of(app_of(EchoBackend()), key=None) as client:
        for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
            response = await client.request(method, path)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["x-ms-error-code"]
            if method == "HEAD":
                continue
            message = error_of(response)["message"]
            assert str(message).startswith("Auth token validation failed")


async def test_health_needs_no_key() -> None:
    async with client_of(app_of(EchoBackend()), key=None) as client:
        assert (await client.get("/")).json() == "healthy"
        assert (await client.get("/endpoints/support")).json() == "healthy"
        assert (await client.get("/endpoints/echo")).json() == "healthy"
        assert (await client.get("/endpoints/other")).status_code == 404
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_ready_waits_for_managed_deployments() -> None:
    app = app_of(EchoBackend(), limits=Limits(compute="managed"))
    async with client_of(app, key=None) as client:
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert response.json() == {"status": "waiting", "waiting_for": {"echo": "cold"}}
        await app.gateway.deployments[0].open()
        assert (await client.get("/health/ready")).status_code == 200
        app.drain()
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()) == (503, {"status": "draining"})
        assert (await client.get("/health/live")).status_code == 200


async def test_a_server_that_stops_takes_no_new_calls() -> None:
    app = app_of(EchoBackend())
    app.drain()
    async with client_of(app) as client:
        response = await client.post("/chat/completions", json=CHAT)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/chat/completions", "POST"),
        ("POST", "/info", "GET"),
        ("PUT", "/v1/embeddings", "POST"),
        ("OPTIONS", "/openai/v1/models", "GET"),
        ("HEAD", "/", "GET"),
        ("POST", "/health/live", "GET"),
    ],
)
async def test_a_wrong_method_is_405(
    client: httpx2.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    if method != "HEAD":
        assert "not allowed" in str(error_of(response)["message"])


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/score", "/openai/info", "/v1/info"])
async def test_an_unknown_path_is_404_in_the_error_shape(
    client: httpx2.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert "not found" in str(error_of(response)["message"])


async def test_a_wrong_modality_is_404(client: httpx2.AsyncClient) -> None:
    response = await client.post("/embeddings", json={"input": ["a"], "model": "failing"})
    assert response.status_code == 404
    error_of(response)


async def test_unknown_names_are_errors(client: httpx2.AsyncClient) -> None:
    for path, status in (
        ("/chat/completions", 400),
        ("/v1/chat/completions", 400),
        ("/openai/v1/chat/completions", 404),
    ):
        response = await client.post(path, json={**CHAT, "model": "other"})
        assert response.status_code == status
    response = await client.post("/openai/deployments/other/chat/completions", json=CHAT)
    assert response.status_code == 404
    assert error_of(response)["code"] == "DeploymentNotFound"
    response = await client.get("/v1/models/other")
    assert response.status_code == 404


async def test_too_long_a_body_is_413_before_and_while_it_is_read() -> None:
    app = app_of(EchoBackend(), settings=ServerConfig(max_body_bytes=2048))
    long = b'{"messages": "' + b"x" * 3000

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    async with client_of(app) as client:
        for response in (
            await client.post("/chat/completions", content=long),
            await client.post("/chat/completions", content=chunks()),
            await client.post("/v1/completions", content=chunks()),
        ):
            assert response.status_code == 413
            assert response.headers["connection"] == "close"
            assert "2048" in str(error_of(response)["message"])
        assert (await client.post("/chat/completions", json=CHAT)).status_code == 200


async def test_a_defect_is_500_without_its_details(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.post("/chat/completions", json={**CHAT, "model": "defective"})
    assert response.status_code == 500
    assert "secret detail" not in response.text
    assert response.headers["x-request-id"] in str(error_of(response)["message"])
    assert "ZeroDivisionError" in caplog.text


async def test_a_failure_before_the_answer_keeps_its_status(client: httpx2.AsyncClient) -> None:
    response = await client.post("/chat/completions", json={**CHAT, "model": "failing"})
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


async def test_a_call_that_takes_too_long_is_504() -> None:
    app = app_of(hanging(), settings=ServerConfig(call_timeout_s=0.05))
    async with client_of(app) as client:
        for path in ("/chat/completions", "/v1/chat/completions"):
            response = await client.post(path, json=CHAT)
            assert response.status_code == 504
            assert "call_timeout_s" in str(error_of(response)["message"])


async def test_remote_content_is_refused_by_its_place(client: httpx2.AsyncClient) -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
    ]
    response = await client.post(
        "/chat/completions", json={"messages": [{"role": "user", "content": parts}]}
    )
    assert response.status_code == 422
    assert error_of(response)["param"] == "messages[0].content[1].image_url.url"
    response = await client.post(
        "/images/embeddings", json={"input": [{"image": "file:///etc/passwd"}]}
    )
    assert response.status_code == 422
    assert error_of(response)["param"] == "input[0].image"


async def test_the_first_of_repeated_parameters_counts_and_too_many_are_400(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/info?model=echo&model=other")).status_code == 200
    assert (await client.get("/info?" + "a=1&" * 65)).status_code == 400


async def test_the_models_are_listed_as_openai_and_github_do(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["echo", "failing", "defective"]
    shown = (await client.get("/openai/v1/models/interlingua/Echo")).json()
    assert shown == listed["data"][0]
    assert (await client.get("/openai/models?api-version=2024-10-21")).json() == listed
    assert (await client.get("/openai/models/echo?api-version=2024-10-21")).json() == shown
    assert shown["object"] == "model"
    catalog = (await client.get("/catalog/models")).json()
    assert catalog[0]["id"] == "interlingua/echo"
    assert catalog[0]["supported_output_modalities"] == ["text", "embeddings"]
    assert catalog[1]["capabilities"] == ["streaming"]
    ability = catalog[0]["interlingua"]
    assert "chat_completions" in ability["capabilities"]["operations"]
    assert ability["parameters"]["chat_completions"]["temperature"]["state"] == "honoured"


HEADER_NAMES = st.sampled_from(
    [
        "extra-parameters",
        "azureml-model-deployment",
        "content-type",
        "x-ms-client-request-id",
        "content-length",
        "accept",
        "authorization",
        "x-ms-model-mesh-model-name",
        "expect",
    ]
)
JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\r\n", b"a\r\nset-cookie: x", b"\xff" * 9, b"9" * 5000, b"-1"]),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    headers=st.lists(st.tuples(HEADER_NAMES, JUNK), max_size=4),
    query=st.binary(max_size=40),
    path=st.sampled_from(["/chat/completions", "/v1/chat/completions", "/info", "/v1/models/x"]),
)
async def test_no_header_or_query_makes_a_500(
    headers: list[tuple[str, bytes]], query: bytes, path: str
) -> None:
    caller = Caller(path, json.dumps(CHAT).encode())
    raw = [(name.encode(), value) for name, value in headers]
    caller.scope |= {
        "method": "GET" if path in {"/info", "/v1/models/x"} else "POST",
        "query_string": query,
        "headers": [*raw, (b"api-key", KEY.encode())],
    }
    await caller.call(app_of(EchoBackend()))
    assert caller.status is not None
    assert caller.status < 500
    for name, value in caller.sent[0]["headers"]:
        assert not set(value) & set(b"\r\n\x00"), name
