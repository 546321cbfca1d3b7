"""The one client of all operations against recorded bytes on a real socket."""

import json
import socket

import pytest
from scripted_wire import Reply, Wire, chunk, events, stream

from interlingua import AsyncClient, Client
from interlingua.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from interlingua.models import StreamingChatCompletions

KEY = "k-123"


def said(updates: StreamingChatCompletions) -> str:
    with updates:
        return "".join(u.choices[0].delta.content or "" for u in updates if u.choices)


def test_a_call_carries_the_key_in_both_headers(wire: Wire) -> None:
    wire.answer("/models/chat/completions", events(chunk("", "stop")))
    with Client(f"{wire.url}/models/", KEY) as client:
        assert said(client.stream_chat("hello", model="phi")) == ""
    (heard,) = wire.heard
    assert heard.path == "/models/chat/completions?api-version=2025-04-01"
    assert heard.headers["api-key"] == KEY
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["user-agent"].startswith("interlingua/")
    messages = [{"role": "user", "content": "hello"}]
    assert heard.json() == {"messages": messages, "model": "phi", "stream": True}


@pytest.mark.parametrize(
    ("endpoint", "given", "sent"),
    [
        ("", {}, "2025-04-01"),
        ("?api-version=2024-05-01-preview", {}, "2024-05-01-preview"),
        ("?api-version=2024-05-01-preview", {"api_version": "2025-05-01"}, "2025-05-01"),
    ],
)
def test_the_api_version_is_the_given_one_else_the_endpoints(
    wire: Wire, endpoint: str, given: dict, sent: str
) -> None:
    wire.answer("/chat/completions", events(chunk("", "stop")))
    with Client(wire.url + endpoint, KEY, **given) as client:
        said(client.stream_chat("hello"))
    assert wire.heard[0].path == f"/chat/completions?api-version={sent}"


def test_a_character_cut_in_two_by_the_network_arrives_whole(wire: Wire) -> None:
    data = json.loads(chunk("é"))
    whole = f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    half = whole.index("é".encode()) + 1
    rest = events(chunk("", "stop")).chunks
    reply = Reply((whole[:half], whole[half:], *rest), content_type="text/event-stream")
    wire.answer("/chat/completions", reply)
    with Client(wire.url, KEY) as client:
        assert said(client.stream_chat("hello")) == "é"


def test_a_stream_whose_last_event_lacks_its_empty_line_is_whole(wire: Wire) -> None:
    last = f"data: {chunk('hi', 'stop')}\n".encode()
    wire.answer("/chat/completions", Reply((last,), content_type="text/event-stream"))
    with Client(wire.url, KEY) as client:
        assert said(client.stream_chat("hello")) == "hi"


def test_what_follows_done_is_not_waited_for(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("hi", "stop"), "[DONE]", end="hold"))
    with Client(wire.url, KEY) as client:
        assert said(client.stream_chat("hello")) == "hi"


def test_a_wrong_key_is_refused_without_repeating_it(wire: Wire) -> None:
    refused = {"code": "unauthorized", "message": "Auth token validation failed", "status": 401}
    wire.answer("/embeddings", Reply((json.dumps({"error": refused}).encode(),), status=401))
    failed = pytest.raises(ClientAuthenticationError, match="Auth token validation failed")
    with Client(wire.url, "wrong") as client, failed as caught:
        client.embed(["a", "b"])
    assert "wrong" not in str(caught.value)


def test_an_error_page_of_some_proxy_is_an_error_too(wire: Wire) -> None:
    page = Reply((b"<html>" + b"x" * 2_000_000,), status=502, content_type="text/html")
    wire.answer("/embeddings", page)
    with Client(wire.url, KEY) as client, pytest.raises(HttpResponseError) as caught:
        client.embed("a")
    assert caught.value.status_code == 502
    assert len(str(caught.value)) < 4096


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/models"),
        ("/models", "/v1/models"),
        ("/endpoints/phi", "/v1/models"),
        ("/openai/v1", "/openai/v1/models"),
    ],
)
def test_the_list_of_models_is_found_from_every_base(wire: Wire, base: str, path: str) -> None:
    wire.answer(path, Reply((b'{"object":"list","data":[{"id":"phi","owned_by":"Microsoft"}]}',)))
    with Client(wire.url + base, KEY) as client:
        assert [(model.id, model.owned_by) for model in client.models()] == [("phi", "Microsoft")]


@pytest.mark.anyio
async def test_a_list_of_models_that_is_none_is_an_error(wire: Wire) -> None:
    wire.answer("/v1/models", *[Reply((b'{"models": []}',))] * 2)
    told = "the list of models makes no sense"
    with Client(wire.url, KEY) as client, pytest.raises(DecodeError, match=told):
        client.models()
    async with AsyncClient(wire.url, KEY) as waiting:
        with pytest.raises(DecodeError, match=told):
            await waiting.models()


def test_a_silent_server_is_given_up(wire: Wire) -> None:
    wire.answer("/info", Reply((b"{",), end="hold"))
    silent = pytest.raises(ServiceResponseTimeoutError)
    with Client(wire.url, KEY, read_timeout=0.1, retry_read=0) as client, silent:
        client.info()


def test_where_nothing_listens_the_request_fails() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, KEY, retry_connect=0) as client, pytest.raises(ServiceRequestError):
            client.info()


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:8080", "ftp://example.com", "http://", "http://h:x", "http://[::1", "/m"],
)
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"not an? .*URL"):
        Client(endpoint, KEY)


def test_credentials_in_the_url_are_refused_without_repeating_them() -> None:
    with pytest.raises(ValueError, match="user name") as caught:
        Client("http://me:secret@example.com", KEY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["with space", "line\nend", "ü"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="no header can carry") as caught:
        Client("http://127.0.0.1", key)
    assert key not in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    wire.answer("/v1/models", Reply((b'{"data":[]}',)))
    with Client(wire.url, KEY) as client:
        assert client.models() == []
