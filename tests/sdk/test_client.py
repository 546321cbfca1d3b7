"""The client against recorded bytes on a real socket."""

import json
import socket
import struct
import subprocess
import sys
from contextlib import closing

import pytest
from scripted_wire import WAIT_S, Reply, Wire, chunk, events, stream

from interlingua.errors import (
    ConfigError,
    DeadlineExceeded,
    ParameterNotSupported,
    Unauthorized,
    Unavailable,
    UpstreamError,
)
from interlingua.sdk.client import Client
from interlingua.types.chat import ChatRequest, UserMessage
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

KEY = "k-123"
HELLO = ChatRequest(messages=(UserMessage("hello"),), max_tokens=5, seed=7)
TEXTS = EmbeddingsRequest(inputs=("a", "b"))


def vectors(*rows: list[float]) -> Reply:
    data = [
        {"index": index, "object": "embedding", "embedding": row} for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    body = {"id": "0f8c", "object": "list", "model": "m", "data": data, "usage": usage}
    return Reply((json.dumps(body).encode(),))


def test_an_answer_comes_delta_by_delta(wire: Wire) -> None:
    replies = events(chunk("", role="assistant"), chunk(" The"), chunk("", "stop"))
    wire.answer("/chat/completions", replies)
    with Client(wire.url, KEY) as client:
        deltas = list(client.chat(HELLO))
    assert "".join(delta.text for delta in deltas) == " The"
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage == Usage(18, 2)


def test_a_call_carries_the_key_in_both_headers_and_asks_for_a_stream(wire: Wire) -> None:
    wire.answer("/models/chat/completions", events(chunk("", "stop")))
    with Client(f"{wire.url}/models/", KEY, model="phi") as client:
        list(client.chat(HELLO))
    (heard,) = wire.heard
    assert heard.path == "/models/chat/completions?api-version=2025-04-01"
    assert heard.headers["api-key"] == KEY
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["user-agent"].startswith("interlingua/")
    body = heard.json()
    assert body["stream"] is True
    assert body["model"] == "phi"
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert body["max_tokens"] == 5


def test_without_a_key_no_credential_is_sent(wire: Wire) -> None:
    wire.answer("/chat/completions", events(chunk("", "stop")))
    with Client(wire.url, None) as client:
        list(client.chat(HELLO))
    assert {"api-key", "authorization"} & set(wire.heard[0].headers) == set()


@pytest.mark.parametrize(
    ("endpoint", "given", "sent"),
    [
        ("", None, "2025-04-01"),
        ("?api-version=2024-05-01-preview", None, "2024-05-01-preview"),
        ("?api-version=2024-05-01-preview", "2025-05-01", "2025-05-01"),
    ],
)
def test_the_api_version_is_the_given_one_else_the_endpoints(
    wire: Wire, endpoint: str, given: str | None, sent: str
) -> None:
    wire.answer("/chat/completions", events(chunk("", "stop")))
    with Client(wire.url + endpoint, KEY, api_version=given) as client:
        list(client.chat(HELLO))
    assert wire.heard[0].path == f"/chat/completions?api-version={sent}"


def test_reasoning_is_told_apart_from_the_answer(wire: Wire) -> None:
    thought = chunk("", reasoning_content="hm")
    wire.answer("/chat/completions", events(thought, chunk("42"), chunk("", "stop")))
    with Client(wire.url, KEY) as client:
        deltas = list(client.chat(HELLO))
    assert "".join(delta.reasoning for delta in deltas) == "hm"
    assert "".join(delta.text for delta in deltas) == "42"


def test_a_character_cut_in_two_by_the_network_arrives_whole(wire: Wire) -> None:
    data = json.loads(chunk("é"))
    whole = f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    half = whole.index("é".encode()) + 1
    rest = events(chunk("", "stop")).chunks
    reply = Reply((whole[:half], whole[half:], *rest), content_type="text/event-stream")
    wire.answer("/chat/completions", reply)
    with Client(wire.url, KEY) as client:
        assert "".join(delta.text for delta in client.chat(HELLO)) == "é"


def test_a_stream_whose_last_event_lacks_its_empty_line_is_whole(wire: Wire) -> None:
    last = f"data: {chunk('', 'stop')}\n".encode()
    wire.answer("/chat/completions", Reply((last,), content_type="text/event-stream"))
    with Client(wire.url, KEY) as client:
        assert [delta.finish_reason for delta in client.chat(HELLO)] == ["stop"]


def test_a_stream_cut_by_the_connection_is_an_error(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("half"), end="cut"))
    with Client(wire.url, KEY) as client, pytest.raises(UpstreamError, match="broke"):
        list(client.chat(HELLO))


def test_a_stream_that_ends_without_a_finish_reason_is_an_error(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("half")))
    with Client(wire.url, KEY) as client, pytest.raises(UpstreamError):
        list(client.chat(HELLO))


def test_an_error_inside_a_stream_is_raised_with_its_message(wire: Wire) -> None:
    failure = '{"error":{"code":"model_not_ready","message":"the engine crashed"}}'
    wire.answer("/chat/completions", stream(chunk("half"), failure, end="cut"))
    with Client(wire.url, KEY) as client, pytest.raises(Exception, match="the engine crashed"):
        list(client.chat(HELLO))


def test_closing_the_generator_cancels_the_call(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("one"), end="hold"))
    with Client(wire.url, KEY) as client:
        with closing(client.chat(HELLO)) as deltas:
            assert next(deltas).text == "one"
        assert wire.left.wait(WAIT_S)


def test_what_follows_done_is_not_waited_for(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("", "stop"), "[DONE]", end="hold"))
    with Client(wire.url, KEY) as client:
        assert [delta.finish_reason for delta in client.chat(HELLO)] == ["stop"]


def test_an_error_reply_becomes_the_error_it_states(wire: Wire) -> None:
    refused = {"code": "unauthorized", "message": "Auth token validation failed", "status": 401}
    reply = Reply((json.dumps({"error": refused}).encode(),), status=401)
    wire.answer("/embeddings", reply)
    failed = pytest.raises(Unauthorized, match="Auth token validation failed")
    with Client(wire.url, "wrong") as client, failed as caught:
        client.embed(TEXTS)
    assert "wrong" not in str(caught.value)


def test_a_refused_parameter_is_named(wire: Wire) -> None:
    message = "This model has vectors of 384 numbers only."
    detail = [{"loc": ["body", "dimensions"], "input": 7, "value": 7}]
    error = {"code": "parameter_not_supported", "message": message, "status": 422}
    body = {"error": error, "status": 422, "code": error["code"], "detail": detail}
    wire.answer("/embeddings", Reply((json.dumps(body).encode(),), status=422))
    with Client(wire.url, KEY) as client, pytest.raises(ParameterNotSupported, match="384"):
        client.embed(TEXTS)


def test_an_error_page_of_some_proxy_is_an_error_too(wire: Wire) -> None:
    page = Reply((b"<html>" + b"x" * 2_000_000,), status=502, content_type="text/html")
    wire.answer("/embeddings", page)
    with Client(wire.url, KEY) as client, pytest.raises(UpstreamError):
        client.embed(TEXTS)


def test_a_redirection_is_not_followed_with_the_key(wire: Wire) -> None:
    away = Reply(status=307, headers={"location": "https://example.com/"})
    wire.answer("/embeddings", away)
    told = pytest.raises(UpstreamError, match=r"307 to https://example\.com/: give that")
    with Client(wire.url, KEY) as client, told:
        client.embed(TEXTS)


def test_text_embeddings_come_as_float32_in_order(wire: Wire) -> None:
    wire.answer("/embeddings", vectors([0.5, -1.0], [0.25, 2.0]))
    with Client(wire.url, KEY) as client:
        embeddings = client.embed(TEXTS)
    assert embeddings.vectors == (struct.pack("<2f", 0.5, -1), struct.pack("<2f", 0.25, 2))
    assert embeddings.usage.prompt_tokens == 3
    assert wire.heard[0].json()["input"] == ["a", "b"]


def test_image_embeddings_go_to_their_own_route(wire: Wire) -> None:
    wire.answer("/images/embeddings", vectors([1.0]))
    image = ImageInput(image="data:image/png;base64,AAAA", text="tt")
    with Client(wire.url, KEY) as client:
        client.embed_images(ImageEmbeddingsRequest(inputs=(image,)))
    assert wire.heard[0].json()["input"] == [{"image": image.image, "text": "tt"}]


def test_fewer_vectors_than_inputs_are_an_error(wire: Wire) -> None:
    wire.answer("/embeddings", vectors([1.0]))
    with Client(wire.url, KEY) as client, pytest.raises(UpstreamError, match=r"1 vectors .* 2"):
        client.embed(TEXTS)


def test_texts_are_completed_in_a_stream(wire: Wire) -> None:
    choice = {"index": 0, "text": ", indeed", "finish_reason": "stop"}
    data = {"id": "1", "object": "text_completion", "created": 1, "model": "m"}
    wire.answer("/completions", events(json.dumps({**data, "choices": [choice]})))
    with Client(wire.url, KEY) as client:
        deltas = list(client.complete(CompletionRequest(prompts=("Good",))))
    assert "".join(delta.text for delta in deltas) == ", indeed"


def test_info_says_what_answers(wire: Wire) -> None:
    info = b'{"model_name":"phi","model_type":"chat-completion","model_provider_name":"Microsoft"}'
    wire.answer("/info", Reply((info,)))
    with Client(wire.url, KEY) as client:
        assert client.info().model_name == "phi"


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


def test_a_list_of_models_that_is_none_is_an_error(wire: Wire) -> None:
    wire.answer("/v1/models", Reply((b'{"models": []}',)))
    with Client(wire.url, KEY) as client, pytest.raises(UpstreamError, match="makes no sense"):
        client.models()


def test_a_silent_server_is_given_up(wire: Wire) -> None:
    wire.answer("/info", Reply((b"{",), end="hold"))
    with Client(wire.url, KEY, timeout_s=0.1) as client, pytest.raises(DeadlineExceeded):
        client.info()


def test_where_nothing_listens_the_endpoint_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, KEY) as client, pytest.raises(Unavailable, match=url):
            client.info()


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1:8080",
        "ftp://example.com",
        "http://",
        "http://h:x",
        "http://[::1",
        "/models",
        "http://a\x7fb",
    ],
)
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"not an? .*URL"):
        Client(endpoint, KEY)


def test_credentials_in_the_url_are_refused_without_repeating_them() -> None:
    with pytest.raises(ConfigError) as caught:
        Client("http://me:secret@example.com", KEY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["with space", "line\nend", "ü", ""])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client("http://127.0.0.1", key)
    assert not key or key not in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    wire.answer("/v1/models", Reply((b'{"data":[]}',)))
    with Client(wire.url, KEY) as client:
        assert client.models() == ()


def test_the_client_needs_no_server_and_no_engine() -> None:
    code = (
        "import sys, interlingua.sdk.client; "
        "heavy = {'uvicorn', 'aiohttp', 'numpy', 'rich', 'click'}; "
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
