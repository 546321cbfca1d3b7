"""Bad input gets a 4xx in the error shape, or a right answer; never a 5xx, never a hang."""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from .conftest import Server
from .pictures import data_url, picture

HELLO = [{"role": "user", "content": "Hello"}]
#: Long enough for a busy machine, short enough to call a hang a hang.
PATIENCE_S = 60


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=server.url, headers={"api-key": server.key}, timeout=PATIENCE_S
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def still_alive(server: Server, http: httpx2.Client) -> Iterator[None]:
    """Whatever was sent, the engine that got it answers the next call."""
    before = server.engines("llamacpp_process")
    yield
    answer = http.post("/chat/completions", json={"messages": HELLO, "max_tokens": 1})
    assert answer.status_code == 200
    assert set(before) <= set(server.engines("llamacpp_process"))


def chat(http: httpx2.Client, path: str = "/chat/completions", **fields: Any) -> httpx2.Response:
    return http.post(path, json={"messages": HELLO, "max_tokens": 4, **fields})


def refused(answer: httpx2.Response, status: int, *words: str) -> None:
    """A refusal in the error shape, with words that name what is wrong."""
    assert answer.status_code == status, answer.text[:500]
    body = answer.json()
    assert isinstance(body["error"], dict)
    assert body["error"]["code"]
    assert body["error"]["message"]
    assert answer.headers["x-ms-error-code"]
    assert "retry-after" not in answer.headers
    for word in words:
        assert word in answer.text, answer.text[:500]


BROKEN_BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"messages": [',
    "NaN": b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
    "infinity": b'{"messages": [{"role": "user", "content": "a"}], "temperature": 1e999}',
    "nested lists": b"[" * 200_000,
    "nested lists, closed": b"[" * 200_000 + b"]" * 200_000,
    "nested in a field": b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "nested in an unknown field": b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a huge integer": b'{"messages": [{"role": "user", "content": "a"}], "seed": '
    + b"9" * 5000
    + b"}",
    "a huge unknown integer": b'{"messages": [], "x": ' + b"9" * 5000 + b"}",
    "a list": b"[]",
    "a string": b'"messages"',
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "a lone surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "a lone surrogate as a name": b'{"messages": [], "\\udc00": 1}',
    "a NUL": b"\x00",
    "UTF-16": '{"messages": []}'.encode("utf-16"),
}


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/embeddings", "/images/embeddings"])
@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_broken_body_is_refused(http: httpx2.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text[:300]
    refused(answer, answer.status_code)


def test_a_body_of_100_mb_is_413_with_and_without_a_length(http: httpx2.Client) -> None:
    piece = b" " * (1 << 20)
    sized = http.post("/chat/completions", content=piece * 100)
    refused(sized, 413)
    try:
        chunked = http.post("/chat/completions", content=(piece for _ in range(100)))
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
        return  # the server closed while the client was still sending: as good a refusal
    refused(chunked, 413)


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": [1]}, "messages"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, "role"),
    ({"messages": [{"content": "a"}]}, "role"),
    ({"messages": [{"role": "user"}]}, "content"),
    ({"messages": [{"role": "user", "content": 1}]}, "content"),
    ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "content"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": 1e308}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"),
    ({"seed": 2**63}, "seed"),
    ({"seed": "x"}, "seed"),
    ({"stop": ["x"] * 10_000}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"stop": 1}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"tools": []}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "perhaps"}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
]


@pytest.mark.parametrize(("fields", "name"), WRONG_VALUES, ids=lambda case: str(case)[:50])
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_a_wrong_value_is_422_by_name(
    http: httpx2.Client, path: str, fields: dict[str, Any], name: str
) -> None:
    refused(chat(http, path, **fields), 422, name)


@pytest.mark.parametrize(
    "fields",
    [{"n": 1_000_000}, {"logprobs": True, "top_logprobs": 1_000_000}, {"n": 0}, {"logprobs": 9}],
)
def test_absurd_counts_are_422_on_the_openai_route(
    http: httpx2.Client, fields: dict[str, Any]
) -> None:
    refused(chat(http, "/v1/chat/completions", **fields), 422, next(reversed(fields)))
    passed = http.post(
        "/chat/completions",
        json={"messages": HELLO, **fields},
        headers={"extra-parameters": "pass-through"},
    )
    refused(passed, 422, next(reversed(fields)))


def test_logprobs_of_a_million_in_completions(http: httpx2.Client) -> None:
    answer = http.post("/v1/completions", json={"prompt": "a", "logprobs": 1_000_000})
    refused(answer, 422, "logprobs")


def schema_format(schema: Any) -> dict[str, Any]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    }


SCHEMAS: dict[str, Any] = {
    "a recursive reference": {"$ref": "#"},
    "a remote reference": {"$ref": "http://127.0.0.1:9/schema.json"},
    "a file reference": {"$ref": "file:///etc/passwd"},
    "a reference to nothing": {"$ref": "#/definitions/nothing"},
    "a recursive list": {"type": "array", "items": {"$ref": "#"}},
    "a slow pattern": {"type": "string", "pattern": "^(a+)+$"},
    "a broken pattern": {"type": "string", "pattern": "^(((($"},
    "a huge repeat": {"type": "string", "minLength": 10**9},
    "many items": {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
    "no such type": {"type": "wizard"},
    "a type of the wrong type": {"type": 7},
    "properties of the wrong type": {"type": "object", "properties": [1]},
    "an empty choice": {"enum": []},
    "a deep schema": json.loads('{"type":"array","items":' * 60 + "{}" + "}" * 60),
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_is_held_or_refused_by_name(http: httpx2.Client, schema: Any) -> None:
    answer = chat(http, **schema_format(schema))
    if answer.status_code != 200:
        refused(answer, 422, "response_format")


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("choice", ["required", "auto"])
def test_a_tools_schema_is_held_or_refused_by_its_place(
    http: httpx2.Client, schema: Any, choice: str
) -> None:
    good = {"type": "function", "function": {"name": "good"}}
    bad = {"type": "function", "function": {"name": "bad", "parameters": schema}}
    answer = chat(http, tools=[good, bad], tool_choice=choice)
    if answer.status_code != 200:
        refused(answer, 422, "tools[1].function.parameters")


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_a_prompt_of_a_million_characters_is_400_with_both_counts(
    http: httpx2.Client, path: str
) -> None:
    answer = chat(http, path, messages=[{"role": "user", "content": "word " * 200_000}])
    refused(answer, 400, "context_length_exceeded", "4096")


def test_a_prompt_of_a_million_characters_in_completions(http: httpx2.Client) -> None:
    refused(
        http.post("/completions", json={"prompt": "word " * 200_000}),
        400,
        "context_length_exceeded",
    )


def test_a_text_of_a_million_characters_is_cut_to_what_the_embedder_reads(
    http: httpx2.Client,
) -> None:
    answer = http.post("/embeddings", json={"input": ["word " * 200_000]})
    assert answer.status_code == 200
    assert len(answer.json()["data"][0]["embedding"]) == 384


@pytest.mark.parametrize("ids", [[-1], [10**9], [2**63]])
def test_token_ids_that_do_not_exist_are_422(http: httpx2.Client, ids: list[int]) -> None:
    refused(http.post("/completions", json={"prompt": ids, "max_tokens": 1}), 422, "prompt")
    refused(http.post("/embeddings", json={"input": [ids]}), 422, "input")


def test_too_many_or_no_inputs_are_422(http: httpx2.Client) -> None:
    refused(http.post("/embeddings", json={"input": ["a"] * 2049}), 422, "input")
    for nothing in ([], [[]], None):
        refused(http.post("/embeddings", json={"input": nothing}), 422, "input")
        refused(http.post("/images/embeddings", json={"input": nothing}), 422, "input")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that would fill gigabytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


BAD_IMAGES = {
    "bad base64": "data:image/png;base64,@@@@",
    "empty": "data:image/png;base64,",
    "not an image": data_url(b"hello"),
    "cut off": data_url(picture("red", (400, 300))[:200]),
    "a bomb": data_url(bomb(50_000, 50_000)),
    "a bomb in one direction": data_url(bomb(2_000_000_000, 1)),
    "a path": "/etc/passwd",
    "a file URL": "file:///etc/passwd",
    "a remote URL": "http://127.0.0.1:9/x.png",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "SVG": "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(),
    "nothing": "",
}


@pytest.mark.parametrize("image", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_422_by_its_place(http: httpx2.Client, image: str) -> None:
    good = {"image": data_url(picture("red"))}
    answer = http.post(
        "/images/embeddings", json={"model": "efficientnet", "input": [good, {"image": image}]}
    )
    refused(answer, 422, "input")
    assert answer.json()["error"]["param"].startswith("input[1]")


def test_image_and_audio_content_for_a_text_model_are_422_by_their_place(
    http: httpx2.Client,
) -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": data_url(picture("red"))}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/mp3;base64,AAAA"}},
    ):
        answer = chat(http, messages=[*HELLO, {"role": "user", "content": [part]}])
        refused(answer, 422, "parameter_not_supported")
        assert answer.json()["error"]["param"] == "messages[1].content[0]"


def test_text_beside_an_image_is_422_where_there_is_no_joint_space(http: httpx2.Client) -> None:
    item = {"image": data_url(picture("red")), "text": "red"}
    answer = http.post("/images/embeddings", json={"model": "efficientnet", "input": [item]})
    refused(answer, 422, "text")


def test_names_that_do_not_exist(http: httpx2.Client) -> None:
    refused(chat(http, model="gpt-5"), 400, "unknown_model", "smollm2")
    refused(chat(http, "/openai/deployments/gpt-5/chat/completions"), 404, "DeploymentNotFound")
    refused(chat(http, "/endpoints/nowhere/chat/completions"), 404, "nowhere")
    refused(chat(http, "/nowhere"), 404)
    refused(http.get("/chat/completions"), 405)
    refused(http.post("/embeddings", json={"model": "smollm2", "input": ["a"]}), 404, "minilm")


def test_an_empty_or_absurd_key_is_401(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        for key in ("", "x" * 10_000, "' OR 1=1 --"):
            for header in ("api-key", "authorization"):
                answer = client.post("/chat/completions", json={}, headers={header: key})
                assert answer.status_code in {401, 431, 400}, answer.text
        refused(client.post("/chat/completions", json={}), 401, "Auth token validation failed")


def test_a_wrong_policy_is_400(http: httpx2.Client) -> None:
    answer = http.post(
        "/chat/completions", json={"messages": HELLO}, headers={"extra-parameters": "ignore"}
    )
    refused(answer, 400, "Unexpected EXTRA_PARAMETERS option ignore")


def test_many_or_strange_unknown_names_never_break_a_header(http: httpx2.Client) -> None:
    strange = {"a\r\nset-cookie: x=1": 1, "ü\u2028": 2, '"\\': 3, "x" * 5000: 4}
    answer = http.post(
        "/chat/completions",
        json={"messages": HELLO, "max_tokens": 1, **strange},
        headers={"extra-parameters": "drop"},
    )
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-interlingua-changes"].startswith("dropped=(")
    refused(chat(http, **{f"name{i}": 1 for i in range(65)}), 400)


def test_nothing_to_generate_is_an_empty_text(http: httpx2.Client) -> None:
    choice = chat(http, max_tokens=0).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    choice = http.post("/completions", json={"prompt": "a", "max_tokens": 0}).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("", "length")


def test_odd_but_legal_texts_are_answered(http: httpx2.Client) -> None:
    for text in ("", "\0", "\u202e", "🦙" * 200, "<|im_end|>", "\ufffe"):
        answer = chat(http, messages=[{"role": "user", "content": text}], max_tokens=1)
        assert answer.status_code == 200, answer.text
        assert http.post("/embeddings", json={"input": [text]}).status_code == 200
