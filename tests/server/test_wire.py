"""The server on a real port, called by the official clients and by bare sockets."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.ai.inference.aio import ChatCompletionsClient as AsyncChatCompletionsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.errors import ConfigError
from interlingua.server.run import listen, url_of

from .service import CHAT, KEY, SpeakingBackend, app_of, failing, hanging, served

MESSAGES = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def backends() -> list[EchoBackend]:
    return [EchoBackend(), failing(), hanging(words=2)]


@pytest.fixture
def url(backends: list[EchoBackend], caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    with served(app_of(*backends)) as url:
        yield url
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_official_client_chats_and_streams(url: str) -> None:
    with ChatCompletionsClient(url, AzureKeyCredential(KEY)) as client:
        answer = client.complete(messages=MESSAGES)
        assert answer.choices[0].message.content == "one two three"
        chunks = list(client.complete(messages=MESSAGES, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two three"
        assert client.get_model_info()["model_name"] == "echo"
    with EmbeddingsClient(url + "/models", AzureKeyCredential(KEY)) as client:
        assert len(client.embed(input=["a", "b"]).data) == 2


def test_the_official_client_sees_a_stream_that_fails(url: str) -> None:
    said = []
    with ChatCompletionsClient(url, AzureKeyCredential(KEY)) as client:
        answer = client.complete(messages=MESSAGES, stream=True, model="failing")
        with pytest.raises(HttpResponseError):
            said.extend(chunk.choices[0].delta.content for chunk in answer)
        assert "word1 " in said
        # The next call has a connection of its own and goes well.
        assert client.complete(messages=MESSAGES).choices


@pytest.mark.anyio
async def test_the_official_async_client_sees_a_stream_that_fails(url: str) -> None:
    async with AsyncChatCompletionsClient(url, AzureKeyCredential(KEY)) as client:
        answer = await client.complete(messages=MESSAGES, stream=True, model="failing")
        with pytest.raises(HttpResponseError):
            async for _ in answer:
                pass


def test_the_openai_client_sees_why_a_stream_failed(url: str) -> None:
    with openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="failing", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match=r"The engine ended\."):
            for _ in answer:
                pass
        whole = client.chat.completions.create(model="echo", messages=MESSAGES)
        assert whole.choices[0].message.content == "one two three"
        assert client.models.retrieve("echo").id == "echo"
        assert whole._request_id is not None


def test_a_wrong_key_is_the_clients_own_error(url: str) -> None:
    client = ChatCompletionsClient(url, AzureKeyCredential("wrong"))
    with client, pytest.raises(ClientAuthenticationError, match="Auth token validation failed"):
        client.complete(messages=MESSAGES)
    with (
        openai.OpenAI(base_url=url + "/v1", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError, match="Auth token validation failed"),
    ):
        client.models.list()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_its_call(
    url: str, backends: list[EchoBackend], stream: bool
) -> None:
    backend = backends[-1]
    assert isinstance(backend, SpeakingBackend)
    with connected(url) as connection:
        connection.sendall(request({**CHAT, "model": "hanging", "stream": stream}))
        if stream:
            received = b""
            while b"word1" not in received:
                received += connection.recv(4096)
        assert backend.said.wait(10)
        assert not backend.ended.is_set()
    assert backend.ended.wait(10)


def test_a_stream_is_sent_piece_by_piece(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(request({**CHAT, "model": "hanging", "stream": True}))
        received = b""
        while b"word1" not in received:
            received += connection.recv(4096)
    head = received.partition(b"\r\n\r\n")[0].lower()
    assert b"transfer-encoding: chunked" in head
    assert b"\nserver:" not in head


def test_a_hundred_megabytes_are_refused_and_their_sender_reads_why(url: str) -> None:
    big = b"x" * (100 << 20)
    with httpx2.Client(trust_env=False, headers={"api-key": KEY}) as client:
        response = client.post(url + "/chat/completions", content=big)
        assert response.status_code == 413
        assert response.headers["connection"] == "close"
        chunked = client.post(url + "/v1/completions", content=iter([b"x" * (1 << 20)] * 40))
        assert chunked.status_code == 413
        assert client.post(url + "/chat/completions", json=CHAT).status_code == 200


def test_no_spelling_of_a_path_or_host_gets_past_the_key(url: str) -> None:
    targets = [
        "/health/live/../../v1/models",
        "/health/live%2f..%2f..%2fv1/models",
        "//v1/models",
        "/v1/models?/health/live",
        "/v1/models#/health/live",
        "/health/live;/v1/models",
        "http://x/v1/models",
        "/V1/models",
        "/v1/%6dodels",
        "/\\v1/models",
    ]
    for target in targets:
        for host in ("x", "a/health/live?x=", "x@y", "x:99999", "/"):
            with connected(url) as connection:
                connection.sendall(f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                status = int(connection.recv(4096).split()[1])
            assert status in {400, 401, 404}, (target, host)


def test_a_half_sent_request_does_not_hold_the_end_up() -> None:
    server = served(app_of(EchoBackend()), ServerConfig(drain_timeout_s=30))
    url = server.__enter__()
    with connected(url) as half_a_body, connected(url) as half_a_head:
        half_a_body.sendall(request(CHAT)[:-5])
        half_a_head.sendall(b"POST /chat/comp")
        settle(url)
        began = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - began < 10
        assert b" 408 " in half_a_body.recv(4096)
        assert half_a_head.recv(4096) == b""


def test_a_call_under_way_is_told_when_its_time_is_up() -> None:
    backend = hanging(words=2)
    with contextlib.ExitStack() as stack:
        settings = ServerConfig(drain_timeout_s=1)
        server = served(app_of(backend), settings)
        url = server.__enter__()
        connection = stack.enter_context(connected(url))
        connection.sendall(request({**CHAT, "stream": True}))
        assert backend.said.wait(10)
        server.__exit__(None, None, None)
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert b"The server is stopping" in received
    assert b"[DONE]" not in received
    assert not received.endswith(b"0\r\n\r\n")


def test_a_port_that_is_taken_is_told_with_the_remedy() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 already.*--port 0"):
            listen("127.0.0.1", port)


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="can't be listened on"):
        listen("no.such.host.invalid", 0)


def request(body: dict[str, object]) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST /chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n"
    return f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)


def settle(url: str) -> None:
    """Wait until the server has seen what was sent to it before."""
    with httpx2.Client(trust_env=False) as client:
        assert client.get(url + "/health/live").status_code == 200
