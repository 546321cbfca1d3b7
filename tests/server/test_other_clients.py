"""Requests of clients that can't be run everywhere, byte for byte, over a real socket.

Azure.AI.Inference for .NET and azure-ai-inference for Java: their headers and bodies as those
libraries write them, and their ways of reading a stream.
"""

import base64
import http.client
import json
import re
import socket
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.types.models import Capabilities

from .service import KEY, app_of, served

SEES_AND_HEARS = Capabilities(modalities=frozenset({"text", "image", "audio"}))
CHAT = (
    b'{"messages":[{"content":"You are a helpful assistant.","role":"system"},'
    b'{"content":"How many feet are in a mile?","role":"user"}]}'
)
STREAMED = CHAT[:-1] + b',"stream":true}'
#: .NET: content items of one message; audio_url has no class in the Python package.
ITEMS = (
    b'{"messages":[{"content":[{"text":"Look and listen","type":"text"},'
    b'{"image_url":{"url":"data:image/png;base64,AAAA","detail":"low"},"type":"image_url"},'
    b'{"input_audio":{"data":"AAAA","format":"mp3"},"type":"input_audio"},'
    b'{"audio_url":{"url":"data:audio/mp3;base64,AAAA"},"type":"audio_url"}],"role":"user"}],'
    b'"model":"seeing"}'
)
REQUEST_ID = "6f7b4b5e-9f4b-4a0e-8f6a-2c9d7f3f0a11"
DOTNET = (
    "Host: localhost\r\n"
    "Accept: application/json\r\n"
    f"api-key: {KEY}\r\n"
    f"Authorization: Bearer {KEY}\r\n"
    f"x-ms-client-request-id: {REQUEST_ID}\r\n"
    "x-ms-return-client-request-id: true\r\n"
    "User-Agent: azsdk-net-AI.Inference/1.0.0-beta.5 (.NET 8.0.11; Ubuntu 22.04.5 LTS)\r\n"
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"
)
#: One published version sends the key alone as Authorization, without a scheme.
JAVA = (
    "Host: localhost\r\n"
    "Accept: application/json\r\n"
    f"api-key: {KEY}\r\n"
    f"Authorization: {KEY}\r\n"
    f"x-ms-client-request-id: {REQUEST_ID}\r\n"
    "Date: Sun, 22 Nov 2026 21:00:00 GMT\r\n"
    "User-Agent: azsdk-java-azure-ai-inference/1.0.0-beta.5 (17.0.13; Linux; 6.8.0)\r\n"
)
V05 = "api-version=2024-05-01-preview"
V08 = "api-version=2024-08-01-preview"


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        read = json.loads(self.body)
        assert isinstance(read, dict)
        return read


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(
        app_of(EchoBackend(), EchoBackend(name="seeing", capabilities=SEES_AND_HEARS))
    ) as u:
        yield u


def post(
    url: str, path: str, body: bytes, headers: str = DOTNET, media_type: str = "application/json"
) -> Reply:
    head = f"POST {path} HTTP/1.1\r\n{headers}Content-Type: {media_type}\r\n"
    return exchange(url, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def exchange(url: str, *pieces: bytes) -> Reply:
    """Send the pieces as they are, and read one reply."""
    with connected(url) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return reply_on(connection, pieces[0].split(b" ")[0].decode())


def reply_on(connection: socket.socket, method: str = "POST") -> Reply:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, headers, response.read())


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)


# -- .NET -----------------------------------------------------------------------------------


def test_dotnet_chats_and_gets_its_request_id_back(url: str) -> None:
    reply = post(url, f"/chat/completions?{V05}", CHAT)
    assert reply.status == 200
    assert reply.headers["x-ms-client-request-id"] == REQUEST_ID
    assert reply.headers["content-type"].startswith("application/json")
    read = reply.json()
    # What ChatCompletions' deserializer takes without asking whether it is there.
    assert set(read) >= {"id", "created", "model", "choices", "usage"}
    (choice,) = read["choices"]  # type: ignore[misc]  # a list
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "How many feet are in a mile?"


@pytest.mark.parametrize("base", ["/models", "/openai/deployments/echo", "/inference"])
def test_dotnet_appends_its_paths_to_any_base(url: str, base: str) -> None:
    assert post(url, f"{base}/chat/completions?{V05}", CHAT).status == 200


def test_dotnets_additional_properties_go_with_pass_through(url: str) -> None:
    body = CHAT[:-1] + b',"foo":"bar"}'
    reply = post(
        url, f"/chat/completions?{V05}", body, DOTNET + "extra-parameters: pass-through\r\n"
    )
    # NET: its test of AdditionalProperties looks for this text in the exception's message.
    assert reply.status == 422
    assert b"Extra inputs are not permitted" in reply.body
    assert "retry-after" not in reply.headers
    assert post(url, f"/chat/completions?{V05}", body).status == 400


def test_dotnet_sends_images_and_sounds(url: str) -> None:
    assert post(url, f"/chat/completions?{V05}", ITEMS).status == 200
    refused = post(url, f"/chat/completions?{V05}", ITEMS.replace(b"seeing", b"echo"))
    assert refused.status == 422
    assert b"image" in refused.body


def test_a_chunked_body_is_read_in_any_pieces(url: str) -> None:
    head = f"POST /chat/completions?{V05} HTTP/1.1\r\n{DOTNET}Content-Type: application/json\r\n"
    pieces = [CHAT[place : place + 7] for place in range(0, len(CHAT), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    whole = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
    assert exchange(url, whole).status == 200
    assert (
        exchange(url, *(whole[place : place + 50] for place in range(0, len(whole), 50))).status
        == 200
    )


def test_a_client_that_waits_for_100_continue_gets_it(url: str) -> None:
    head = f"POST /chat/completions?{V05} HTTP/1.1\r\n{DOTNET}Content-Type: application/json\r\n"
    with connected(url) as connection:
        expect = f"{head}Expect: 100-continue\r\nContent-Length: {len(CHAT)}\r\n\r\n"
        connection.sendall(expect.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(CHAT)
        assert reply_on(connection).status == 200


def test_dotnets_stream_reader_gets_data_lines_only(url: str) -> None:
    reply = post(url, f"/chat/completions?{V05}", STREAMED)
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = reply.body.split(b"\n")
    # NET: a line is a field; an event ends with an empty line.
    assert lines[1::2] == [b""] * len(lines[1::2])
    events = [line.removeprefix(b"data: ") for line in lines[::2] if line]
    assert all(line.startswith(b"data: ") for line in lines[::2] if line)
    assert events.pop() == b"[DONE]"
    assert said(events) == "How many feet are in a mile?"


def test_dotnet_asks_for_info_and_embeddings(url: str) -> None:
    info = exchange(url, f"GET /info?{V05} HTTP/1.1\r\n{DOTNET}\r\n".encode())
    assert info.json()["model_type"] == "chat-completion"
    body = b'{"input":["first phrase","second phrase"],"encoding_format":"base64"}'
    vectors = post(url, f"/embeddings?{V05}", body).json()
    packed = vectors["data"][1]["embedding"]  # type: ignore[index]  # a list
    assert len(struct.unpack("<64f", base64.b64decode(packed))) == 64
    images = b'{"input":[{"image":"data:image/png;base64,AAAA"}],"input_type":"document"}'
    assert post(url, f"/images/embeddings?{V05}", images).status == 200


# -- Java -----------------------------------------------------------------------------------


def test_java_chats_with_a_bare_key_in_authorization(url: str) -> None:
    reply = post(url, f"/chat/completions?{V08}", CHAT, JAVA)
    assert reply.status == 200
    assert reply.headers["x-ms-client-request-id"] == REQUEST_ID
    for headers in (
        JAVA.replace(f"api-key: {KEY}\r\n", ""),
        JAVA.replace(f"Authorization: {KEY}", "Authorization: wrong"),
        JAVA.replace(f"api-key: {KEY}", "api-key: wrong"),
    ):
        assert post(url, f"/chat/completions?{V08}", CHAT, headers).status == 200


def test_java_names_a_charset(url: str) -> None:
    media_type = "application/json; charset=utf-8"
    assert post(url, f"/chat/completions?{V08}", CHAT, JAVA, media_type).status == 200


def test_java_cuts_a_stream_at_every_cr_and_lf(url: str) -> None:
    reply = post(url, f"/chat/completions?{V08}", STREAMED, JAVA)
    lines = [line for line in re.split(rb"[\r\n]", reply.body) if line]
    # JAVA: any other line that isn't empty would be read as data.
    assert all(line.startswith(b"data: ") for line in lines)
    events = [line.removeprefix(b"data: ") for line in lines]
    assert events.pop() == b"[DONE]"
    chunks = [json.loads(event) for event in events]
    assert all(chunk["choices"] for chunk in chunks)  # getChoice() takes the first
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert said(events) == "How many feet are in a mile?"


def test_java_rewrites_the_api_version_for_azure_openai(url: str) -> None:
    path = "/openai/deployments/echo/chat/completions?api-version=2024-06-01"
    assert post(url, path, CHAT, JAVA).status == 200


def test_java_asks_for_info_and_embeddings(url: str) -> None:
    info = exchange(url, f"GET /info?{V08} HTTP/1.1\r\n{JAVA}\r\n".encode())
    assert set(info.json()) == {"model_name", "model_type", "model_provider_name"}
    body = b'{"input":["first phrase","second phrase"],"encoding_format":"base64"}'
    vectors = post(url, f"/embeddings?{V08}", body, JAVA).json()
    # JAVA: EmbeddingItem.getEmbeddingAsString().
    assert [type(item["embedding"]) for item in vectors["data"]] == [str, str]  # type: ignore[attr-defined]  # a list


# -- Both -----------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [DOTNET, JAVA], ids=["dotnet", "java"])
def test_an_error_has_its_code_in_an_object_and_in_a_header(url: str, headers: str) -> None:
    for path, body, status in (
        ("/chat/completions", CHAT[:-1], 400),
        ("/chat/completions", b'{"messages":[]}', 422),
        ("/chat/completions", CHAT[:-1] + b',"model":"none"}', 400),
        ("/nothing", CHAT, 404),
    ):
        reply = post(url, f"{path}?{V05}", body, headers)
        assert reply.status == status
        error = reply.json()["error"]
        assert isinstance(error, dict)
        assert error["code"]
        assert error["message"]
        assert reply.headers["x-ms-error-code"]
        assert "retry-after" not in reply.headers


def said(events: list[bytes]) -> str:
    """The text of chunks, by the deltas of their first choices."""
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    return "".join(delta.get("content") or "" for delta in deltas)
