"""Providers with wires of their own, behind a whole server: one program, one shape."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from openai import OpenAI

from interlingua.backends.providers.http import Upstream, create
from interlingua.backends.providers.registry import ProviderModel, find
from interlingua.gateway.circuit import Circuit
from interlingua.server.app import App

from ..support import scripted_upstream as wire
from ..support.recorded import recorded
from ..support.scripted_upstream import Reply, ScriptedUpstream
from .service import KEY, app_of, served

CANARY = "cnry-7f3a91d2-5e64-secret-value-0b8c"
PATHS = {"anthropic": "/messages", "gemini": "/models/theirs:streamGenerateContent"}
#: Where a whole answer is asked for, if elsewhere.
WHOLE = {**PATHS, "gemini": "/models/theirs:generateContent"}
HELLO = [{"role": "user", "content": "Hello"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object"}},
}


class Both:
    """A server of both providers' models, and the upstream that plays them."""

    def __init__(self, url: str, upstream: ScriptedUpstream, app: App) -> None:
        self.url, self.upstream = url, upstream
        self._app = app
        self._client = httpx2.Client(base_url=url, headers={"api-key": KEY}, timeout=10)

    def ask(
        self, model: str, reply: Reply, body: dict[str, Any] | None = None, **headers: str
    ) -> httpx2.Response:
        for each in self._app.gateway.deployments:  # earlier failures are other tests'
            each.circuit = Circuit(each.name)
        for path in {PATHS[model], WHOLE[model]}:
            self.upstream.on(path, reply)
        content = {"messages": HELLO, **(body or {}), "model": model}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post("/chat/completions", json=content, headers=named)

    def embed(self, reply: Reply, **fields: Any) -> httpx2.Response:
        self.upstream.on("/models/theirs:batchEmbedContents", reply)
        return self._client.post("/embeddings", json={"model": "vectors", **fields})

    def close(self) -> None:
        self._client.close()

    @property
    def asked(self) -> dict[str, Any]:
        return self.upstream.requests[-1].json()


def provider(kind: str, url: str, **settings: Any) -> Upstream:
    row = find(kind)
    assert row is not None
    return create(
        ProviderModel(
            **{
                "name": kind,
                "row": row,
                "base_url": url,
                "model": "theirs",
                "key": CANARY,
                "publisher": row.title,
                "timeout_s": 0.5,
                **settings,
            }
        )
    )


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with ScriptedUpstream() as upstream:
        backends = [provider(name, upstream.url) for name in PATHS]
        backends.append(provider("gemini", upstream.url, name="vectors", type="embedding"))
        app = app_of(*backends)
        with served(app) as url:
            running = Both(url, upstream, app)
            yield running
            running.close()
        with start_blocking_portal() as portal:
            for backend in backends:
                portal.call(backend.close)


def events(body: str) -> list[Any]:
    lines = [line[6:] for line in body.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(data) for data in lines]


def shape(value: Any) -> Any:
    """What a value is made of, without what it says."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def test_one_program_gets_one_shape_whole_and_streamed(both: Both) -> None:
    whole, streamed = {}, {}
    for name in PATHS:
        reply = recorded(f"{name}_stream.sse")
        whole[name] = both.ask(name, reply).json()
        chunks = both.ask(name, reply, {"stream": True})
        assert chunks.headers["content-type"].startswith("text/event-stream")
        streamed[name] = events(chunks.text)
        texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in streamed[name]]
        assert "".join(texts) == whole[name]["choices"][0]["message"]["content"]
        assert streamed[name][-1]["usage"] == whole[name]["usage"]
        assert whole[name]["model"] == name
        assert whole[name]["choices"][0]["finish_reason"] == "stop"
    assert shape(whole["anthropic"]) == shape(whole["gemini"])
    assert [shape(each) for each in streamed["anthropic"]] == [
        shape(each) for each in streamed["gemini"]
    ]


def test_a_provider_that_answers_whole_is_understood(both: Both) -> None:
    for name in PATHS:
        choice = both.ask(name, recorded(f"{name}_reply.json")).json()["choices"][0]
        assert choice["message"]["content"]
        assert choice["finish_reason"] in {"tool_calls", "length"}


def test_the_key_goes_where_the_provider_wants_it(both: Both) -> None:
    both.ask("anthropic", recorded("anthropic_stream.sse"))
    headers = both.upstream.requests[-1].headers
    assert (headers["x-api-key"], headers["anthropic-version"]) == (CANARY, "2023-06-01")
    both.ask("gemini", recorded("gemini_stream.sse"))
    assert both.upstream.requests[-1].target == WHOLE["gemini"]
    both.ask("gemini", recorded("gemini_stream.sse"), {"stream": True})
    request = both.upstream.requests[-1]
    assert request.headers["x-goog-api-key"] == CANARY
    assert request.target == f"{PATHS['gemini']}?alt=sse"
    assert "authorization" not in headers.keys() | request.headers.keys()


@pytest.mark.parametrize("name", PATHS)
def test_a_round_of_tools(both: Both, name: str) -> None:
    """With the official client of OpenAI: parallel calls, streamed, then their results."""
    both.upstream.on(PATHS[name], recorded(f"{name}_tool_stream.sse"))
    messages: list[Any] = [*HELLO]
    with OpenAI(base_url=f"{both.url}/v1", api_key=KEY, max_retries=0) as client:
        calls: dict[int, dict[str, str]] = {}
        asked: Any = {"model": name, "messages": messages, "tools": [WEATHER]}
        for chunk in client.chat.completions.create(**asked, stream=True):
            for piece in (chunk.choices and chunk.choices[0].delta.tool_calls) or ():
                call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.id or ""
                if piece.function is not None:
                    call["name"] += piece.function.name or ""
                    call["arguments"] += piece.function.arguments or ""
        assert len(calls) == (2 if name == "anthropic" else 3)
        assert [json.loads(call["arguments"]) for call in calls.values()][-1] == {}
        made = [
            {"id": c["id"], "type": "function",
             "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls.values()
        ]  # fmt: skip
        messages.append({"role": "assistant", "content": "", "tool_calls": made})
        messages += [{"role": "tool", "tool_call_id": c["id"], "content": "7"} for c in made]
        both.upstream.on(PATHS[name], recorded(f"{name}_stream.sse"))
        done = client.chat.completions.create(**asked)
    assert done.choices[0].message.content
    turns = both.asked["messages" if name == "anthropic" else "contents"]
    assert len(turns) == 3
    told = turns[-1]["content" if name == "anthropic" else "parts"]
    if name == "anthropic":
        assert [block["tool_use_id"] for block in told] == [call["id"] for call in made]
    else:
        assert [part["functionResponse"]["id"] for part in told] == [call["id"] for call in made]


@pytest.mark.parametrize("name", PATHS)
def test_reasoning_is_where_the_api_version_has_it(both: Both, name: str) -> None:
    reply = recorded(f"{name}_thinking_stream.sse")
    both.upstream.on(WHOLE[name], reply)
    body = {"messages": HELLO, "model": name}
    newer = httpx2.post(
        f"{both.url}/chat/completions?api-version=2025-04-01", json=body, headers={"api-key": KEY}
    ).json()
    message = newer["choices"][0]["message"]
    assert message["reasoning_content"]
    older = both.ask(name, reply).json()["choices"][0]["message"]["content"]
    assert older == f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
    usage = newer["usage"]
    details = (usage["prompt_tokens_details"], usage["completion_tokens_details"])
    cached, thought = {"anthropic": (1000, 60), "gemini": (8, 31)}[name]
    assert details == ({"cached_tokens": cached}, {"reasoning_tokens": thought})


@pytest.mark.parametrize("name", PATHS)
def test_images_go_on_as_bytes_or_as_addresses(both: Both, name: str) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": url}}
        for url in (PIXEL, "https://example.com/a.png")
    ]
    body = {"messages": [{"role": "user", "content": parts}]}
    assert both.ask(name, recorded(f"{name}_stream.sse"), body).status_code == 200
    if name == "anthropic":
        sent = [block["source"]["type"] for block in both.asked["messages"][0]["content"]]
        assert sent == ["base64", "url"]
    else:
        sent = [next(iter(part)) for part in both.asked["contents"][0]["parts"]]
        assert sent == ["inlineData", "fileData"]
    parts[0]["image_url"]["url"] = "data:image/png,raw"  # type: ignore[index]  # JSON
    refused = both.ask(name, recorded(f"{name}_stream.sse"), body)
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "messages[0].content[0].image_url.url"


def test_what_a_wire_has_no_place_for_is_refused_before_anything_is_sent(both: Both) -> None:
    sent = len(both.upstream.requests)
    for fields, param in (
        ({"seed": 7}, "seed"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 1.7}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ):
        refused = both.ask("anthropic", recorded("anthropic_stream.sse"), fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)
    assert len(both.upstream.requests) == sent
    honoured = both.ask("gemini", recorded("gemini_stream.sse"), {"seed": 7, "temperature": 1.7})
    assert honoured.status_code == 200
    assert both.asked["generationConfig"] == {"seed": 7, "temperature": 1.7}


@pytest.mark.parametrize("name", PATHS)
def test_unknown_names_follow_the_header(both: Both, name: str) -> None:
    reply, body = recorded(f"{name}_stream.sse"), {"safe": 1}
    assert both.ask(name, reply, body).status_code == 400
    dropped = both.ask(name, reply, body, extra_parameters="drop")
    assert dropped.headers["x-interlingua-changes"] == 'dropped=("safe")'
    assert "safe" not in both.asked
    assert both.ask(name, reply, body, extra_parameters="pass-through").status_code == 200
    assert both.asked["safe"] == 1


def anthropic_error(kind: str, status: int, message: str = "No", **headers: str) -> Reply:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return wire.json_reply(body, status, **headers)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("name", "reply", "status", "code", "param"),
    [
        ("anthropic", anthropic_error("rate_limit_error", 429, retry_after="7"), 429,
         "too_many_requests", None),
        ("anthropic", anthropic_error("overloaded_error", 529), 503, "service_unavailable", None),
        ("anthropic", anthropic_error("authentication_error", 401, CANARY), 502,
         "bad_gateway", None),
        ("anthropic", anthropic_error("not_found_error", 404, "model: theirs"), 502,
         "bad_gateway", None),
        ("anthropic", anthropic_error("invalid_request_error", 400, "max_tokens: too many"), 400,
         "bad_request", "max_tokens"),
        ("anthropic", anthropic_error("api_error", 500, CANARY), 502, "bad_gateway", None),
        ("anthropic", anthropic_error("overloaded_error", 200), 503, "service_unavailable", None),
        ("anthropic", wire.html(503), 503, "service_unavailable", None),
        ("anthropic", wire.events(done=False), 502, "bad_gateway", None),
        ("anthropic", wire.chat_stream("Hi"), 502, "bad_gateway", None),
        ("gemini", recorded("gemini_error_quota.json", 429), 429, "too_many_requests", None),
        ("gemini", recorded("gemini_error_key.json", 400), 502, "bad_gateway", None),
        ("gemini", recorded("gemini_error_argument.json", 400), 400, "bad_request", "temperature"),
        ("gemini", wire.json_reply({"error": {"status": "UNAVAILABLE"}}, 503), 503,
         "service_unavailable", None),
        ("gemini", wire.events({"error": {"status": "INTERNAL", "message": CANARY}}), 502,
         "bad_gateway", None),
        ("gemini", wire.chat_stream("Hi"), 502, "bad_gateway", None),
    ],
)  # fmt: skip
def test_failures_before_the_first_token_keep_their_status(
    both: Both, name: str, reply: Reply, status: int, code: str, param: str | None, streamed: bool
) -> None:
    response = both.ask(name, reply, {"stream": streamed})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert CANARY not in response.text
    waits = {"anthropic": "7", "gemini": "35"}
    assert response.headers.get("retry-after") == {429: waits[name], 503: "1"}.get(status)


def _cut(name: str) -> Reply:
    """The stream without its last event, which ends it."""
    (body,) = recorded(name).chunks
    end = b"\r\n\r\n" if b"\r" in body else b"\n\n"
    head = end.join(body.split(end)[:-2]) + end
    return Reply((head,), content_type="text/event-stream")


@pytest.mark.parametrize(
    "reply",
    [
        ("anthropic", _cut("anthropic_stream.sse")),
        ("anthropic", _cut("anthropic_stream.sse").ending("cut")),
        ("anthropic", _cut("anthropic_tool_stream.sse").ending("hold")),
        ("anthropic", recorded("anthropic_error_stream.sse")),
        ("gemini", _cut("gemini_stream.sse")),
        ("gemini", _cut("gemini_stream.sse").ending("cut")),
        ("gemini", _cut("gemini_tool_stream.sse").ending("hold")),
    ],
)
def test_a_stream_that_ends_too_early_is_never_an_answer(
    both: Both, reply: tuple[str, Reply]
) -> None:
    assert both.ask(*reply).status_code in {502, 503, 504}
    with pytest.raises(httpx2.RemoteProtocolError):
        both.ask(*reply, {"stream": True})


@pytest.mark.parametrize("name", PATHS)
def test_a_block_is_a_content_filter(both: Both, name: str) -> None:
    reply = {"anthropic": "anthropic_refusal_reply.json", "gemini": "gemini_blocked_reply.json"}
    (choice,) = both.ask(name, recorded(reply[name])).json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "")


def test_geminis_embeddings_come_in_every_encoding(both: Both) -> None:
    reply = recorded("gemini_embeddings_reply.json")
    made = both.embed(reply, input=["a", "b"], dimensions=3, input_type="document").json()
    assert [item["embedding"] for item in made["data"]] == [[0.25, -1.5, 0], [1, 0.5, -0.125]]
    assert made["usage"] == {"prompt_tokens": 13, "total_tokens": 13}
    asked = both.asked["requests"]
    assert [each["taskType"] for each in asked] == ["RETRIEVAL_DOCUMENT"] * 2
    assert asked[0]["outputDimensionality"] == 3
    small = both.embed(reply, input=["a", "b"], encoding_format="ubinary").json()
    assert [item["embedding"] for item in small["data"]] == [[128], [192]]
    fewer = both.embed(reply, input=["a"])
    assert (fewer.status_code, fewer.json()["error"]["code"]) == (502, "bad_gateway")
    limited = both.embed(recorded("gemini_error_quota.json", 429), input=["a"])
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "35")


def test_a_stream_that_stays_open_after_its_last_event_is_not_waited_for(both: Both) -> None:
    reply = recorded("anthropic_stream.sse").ending("hold")
    assert both.ask("anthropic", reply, {"stream": True}).text.endswith("data: [DONE]\n\n")
