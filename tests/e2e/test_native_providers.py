"""One server in front of providers with wires of their own: the caller changes the name alone."""

import base64
import json
import struct
from collections.abc import Iterator

import httpx2
import pytest

from ..support import amazon_events as amazon
from ..support import scripted_upstream as wire
from ..support.scripted_upstream import Reply, Request, ScriptedUpstream
from .conftest import Server, serving
from .pictures import data_url, picture

CHATS = ("bedrock-signed", "bedrock-key", "cohere-chat", "mistral-chat")
TEXTS = ("cohere-texts", "voyage-texts", "jina-texts")
IMAGES = ("cohere-images", "voyage-images", "jina-images")
KINDS = {"chat": "chat-completion", "texts": "embedding", "images": "image-embedding"}
PROVIDERS = {"bedrock": "bedrock", "cohere": "cohere-v2"}
MODEL = "us.vendor.model-v1:0"
DEPLOYMENT = """
[[deployment]]
name = "{name}"
provider = "{provider}"
base_url = "{url}"
model = "{model}"
type = "{kind}"
"""
SIGNED = """
[deployment.aws]
region = "eu-central-1"
access_key_id = "${AWS_ID}"
secret_access_key = "${AWS_SECRET}"
"""
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def front(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = '[server]\nport = 0\nkeys = ["${E2E_KEY}"]\n'
    for name in (*CHATS, *TEXTS, *IMAGES):
        who, _, what = name.partition("-")
        config += DEPLOYMENT.format(
            name=name,
            provider=PROVIDERS.get(who, who),
            url=f"{upstream.url}/{who}",
            model=MODEL,
            kind=KINDS.get(what, "chat-completion"),
        )
        config += SIGNED if name == "bedrock-signed" else 'key = "${UPSTREAM_KEY}"\n'
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UPSTREAM_KEY", "cnry-upstream-key-5f0e")
        environment.setenv("AWS_ID", "AKIDEXAMPLE")
        environment.setenv("AWS_SECRET", "cnry-aws-secret-91ab")
        with serving(config, tmp_path_factory.mktemp("native")) as running:
            yield running
            logged = running.log.read_text()
            assert "Traceback" not in logged, logged
            assert "cnry" not in logged


def post(front: Server, path: str, body: object, **headers: str) -> httpx2.Response:
    return httpx2.post(
        f"{front.url}/models{path}",
        json=body,
        headers={"api-key": front.key, **{k.replace("_", "-"): v for k, v in headers.items()}},
        timeout=30,
    )


def script_chats(upstream: ScriptedUpstream) -> None:
    """The same answer on every wire: a thought, two words and a tool call."""
    events = [
        ("messageStart", {"role": "assistant"}),
        at(0, {"reasoningContent": {"text": "Hm"}}),
        at(1, {"text": "He"}),
        at(1, {"text": "llo"}),
        ("contentBlockStart", call_start(2)),
        at(2, {"toolUse": {"input": "{}"}}),
        ("contentBlockStop", {"contentBlockIndex": 2}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}),
    ]
    converse = amazon.stream(*(amazon.event(*event) for event in events))
    upstream.on(f"/bedrock/model/{MODEL}/converse-stream", converse)
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm"}}},
        {"text": "Hello"},
        {"toolUse": {"toolUseId": "abcdefghi", "name": "get_weather", "input": {}}},
    ]
    whole = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    }
    upstream.on(f"/bedrock/model/{MODEL}/converse", wire.json_reply(whole))
    call = {"id": "abcdefghi", "function": {"name": "get_weather", "arguments": "{}"}}
    end = {
        "finish_reason": "TOOL_CALL",
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
    }
    cohere = wire.events(
        {"type": "message-start", "delta": {"message": {"role": "assistant"}}},
        piece({"content": {"thinking": "Hm"}}),
        piece({"content": {"text": "He"}}),
        piece({"content": {"text": "llo"}}),
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
        {"type": "message-end", "delta": end},
    )
    upstream.on("/cohere/chat", cohere)
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]
    mistral = wire.events(
        wire.chat_chunk({"role": "assistant", "content": thought}),
        wire.chat_chunk({"content": "He"}),
        wire.chat_chunk({"content": "llo"}),
        wire.chat_chunk({"tool_calls": [call]}, "tool_calls", usage=wire.usage()),
    )
    upstream.on("/mistral/chat/completions", mistral)


def at(block: int, delta: object) -> tuple[str, object]:
    return ("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})


def call_start(block: int) -> object:
    call = {"toolUseId": "abcdefghi", "name": "get_weather"}
    return {"contentBlockIndex": block, "start": {"toolUse": call}}


def piece(message: object) -> object:
    return {"type": "content-delta", "index": 0, "delta": {"message": message}}


def asked(name: str, **fields: object) -> dict[str, object]:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    return {"model": name, "messages": messages, "tools": [TOOL], **fields}


@pytest.mark.parametrize("streamed", [False, True])
def test_every_wire_gives_the_same_answer(
    front: Server, upstream: ScriptedUpstream, streamed: bool
) -> None:
    script_chats(upstream)
    answers = []
    for name in CHATS:
        reply = post(
            front,
            "/chat/completions?api-version=2025-04-01",
            asked(name, max_tokens=9, stop=["END"], temperature=0.5, stream=streamed),
        )
        assert reply.status_code == 200, reply.text
        said = reply.text.replace(f'"{name}"', '"name"')
        answers.append(strip(said, streamed))
    assert answers == [answers[0]] * len(CHATS)
    if not streamed:
        message = answers[0]["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("Hm", "Hello")
        assert message["tool_calls"] == [{"type": "function", **CALLED}]
        assert answers[0]["choices"][0]["finish_reason"] == "tool_calls"
        assert answers[0]["usage"] == wire.usage()


CALLED = {"id": "abcdefghi", "function": {"name": "get_weather", "arguments": "{}"}}


def strip(text: str, streamed: bool) -> object:
    """What doesn't differ from call to call. Pieces of a tool call may be cut anywhere."""
    if not streamed:
        body = json.loads(text)
        return {name: body[name] for name in ("choices", "usage", "model", "object")}
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert text.endswith("data: [DONE]\n\n")
    deltas = [choice for event in events for choice in event["choices"]]
    calls = [call for each in deltas for call in each["delta"].get("tool_calls") or ()]
    return (
        [each["delta"].get("content") for each in deltas if each["delta"].get("content")],
        "".join(each["delta"].get("reasoning_content") or "" for each in deltas),
        [(call["index"], call["id"], call["function"]["name"]) for call in calls if "id" in call],
        "".join(call["function"]["arguments"] for call in calls),
        [each["finish_reason"] for each in deltas if each["finish_reason"]],
        [event["usage"] for event in events if event.get("usage")],
    )


def test_calls_are_signed_where_the_config_says_so(
    front: Server, upstream: ScriptedUpstream
) -> None:
    script_chats(upstream)
    for name, how in (
        ("bedrock-signed", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        ("bedrock-key", "Bearer cnry-upstream-key-5f0e"),
    ):
        assert post(front, "/chat/completions", asked(name)).status_code == 200
        request = upstream.requests[-1]
        assert request.headers["authorization"].startswith(how)
        assert request.target.endswith("/model/us.vendor.model-v1%3A0/converse")
    signed = upstream.requests[-2].headers["authorization"]
    assert (
        "/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date" in signed
    )


def test_what_is_called_otherwise_is_said(front: Server, upstream: ScriptedUpstream) -> None:
    script_chats(upstream)
    given = {"seed": 7, "top_p": 0.5, "stop": ["x"]}
    told = {
        "cohere-chat": 'renamed=("top_p";to="p" "stop";to="stop_sequences")',
        "mistral-chat": 'renamed=("seed";to="random_seed")',
    }
    for name, changes in told.items():
        reply = post(front, "/chat/completions", asked(name, **given))
        assert reply.headers["x-interlingua-changes"] == changes
    refused = post(front, "/chat/completions", asked("bedrock-key", **given))
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "seed"
    passed = post(
        front,
        "/chat/completions",
        asked("bedrock-key", top_k=5),
        extra_parameters="pass-through",
    )
    assert passed.status_code == 200
    assert upstream.requests[-1].json()["additionalModelRequestFields"] == {"top_k": 5}


def test_a_stream_that_fails_in_the_middle_does_not_end_well(
    front: Server, upstream: ScriptedUpstream
) -> None:
    path = f"/bedrock/model/{MODEL}/converse-stream"
    begun = amazon.said("Hi")[:2]
    for reply in (
        amazon.stream(*begun, amazon.exception("throttlingException", "Too many tokens")),
        amazon.stream(*begun).ending("cut"),
    ):
        upstream.on(path, reply)
        with (
            pytest.raises(httpx2.RemoteProtocolError),
            httpx2.stream(
                "POST",
                f"{front.url}/models/chat/completions",
                json=asked("bedrock-key", stream=True),
                headers={"api-key": front.key},
            ) as streamed,
        ):
            assert "[DONE]" not in streamed.read().decode()


def test_a_provider_s_limit_is_a_limit(front: Server, upstream: ScriptedUpstream) -> None:
    limits = {
        f"/bedrock/model/{MODEL}/converse": ("bedrock-signed", "ThrottlingException"),
        "/cohere/chat": ("cohere-chat", "x"),
        "/mistral/chat/completions": ("mistral-chat", "x"),
    }
    for path, (name, kind) in limits.items():
        said = {"x-amzn-errortype": kind, "retry-after": "3"}
        upstream.on(path, wire.json_reply({"message": "slow down"}, 429, **said))
        reply = post(front, "/chat/completions", asked(name))
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "3"), reply.text
        assert reply.json()["error"]["message"] == "slow down"


def vectors(request: Request) -> Reply:
    """One vector an input, on each of the three wires; whole numbers where they are wanted."""
    body = request.json()
    inputs = body.get("input") or body.get("inputs") or body.get("texts") or body["images"]
    (kind,) = body.get("embedding_types", ["float"])  # type: ignore[misc]  # JSON
    whole = kind == "int8" or body.get("output_dtype") == "int8"
    values = [[3, -7] if whole else [0.5, -0.25] for _ in inputs]  # type: ignore[attr-defined]  # JSON
    if kind == "base64" or body.get("encoding_format") == "base64":
        values = [base64.b64encode(struct.pack("<2f", *each)).decode() for each in values]
    if "embedding_types" in body:
        billed = {"billed_units": {"input_tokens": len(values)}}
        return wire.json_reply({"embeddings": {kind: values}, "meta": billed})
    data = [{"index": place, "embedding": each} for place, each in enumerate(values)]
    return wire.json_reply({"data": data, "usage": {"total_tokens": len(values)}})


def script_vectors(upstream: ScriptedUpstream) -> None:
    for path in ("cohere/embed", "voyage/embeddings", "voyage/multimodalembeddings"):
        upstream.on(f"/{path}", vectors)
    upstream.on("/jina/embeddings", vectors)


def test_embeddings_have_one_shape(front: Server, upstream: ScriptedUpstream) -> None:
    script_vectors(upstream)
    packed = base64.b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    for encoding, wanted in (
        (None, [0.5, -0.25]),
        ("float", [0.5, -0.25]),
        ("base64", packed),
        # Jina's are made here, the others' are their own.
        ("int8", None),
    ):
        for name in TEXTS:
            body = {"model": name, "input": ["a", "b"], "input_type": "query", "dimensions": 256}
            reply = post(
                front, "/embeddings", body | ({"encoding_format": encoding} if encoding else {})
            )
            assert reply.status_code == 200, reply.text
            made = reply.json()
            expected = wanted or ([127, -64] if name.startswith("jina") else [3, -7])
            assert [each["embedding"] for each in made["data"]] == [expected] * 2
            assert made["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_image_embeddings_have_one_shape(front: Server, upstream: ScriptedUpstream) -> None:
    script_vectors(upstream)
    image = data_url(picture("red"))
    for name in IMAGES:
        body = {"model": name, "input": [{"image": image}, {"image": image}]}
        reply = post(front, "/images/embeddings", body)
        assert reply.status_code == 200, reply.text
        assert [each["embedding"] for each in reply.json()["data"]] == [[0.5, -0.25]] * 2
    with_text = {"model": "jina-images", "input": [{"image": image, "text": "x"}]}
    refused = post(front, "/images/embeddings", with_text)
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "input[0].text"
    remote = {"model": "voyage-images", "input": [{"image": "https://example.com/x.png"}]}
    assert post(front, "/images/embeddings", remote).status_code == 422


def test_more_inputs_than_a_provider_takes_are_one_answer(
    front: Server, upstream: ScriptedUpstream
) -> None:
    script_vectors(upstream)
    for name, calls in (("cohere-texts", 13), ("voyage-texts", 2)):
        before = len(upstream.requests)
        reply = post(front, "/embeddings", {"model": name, "input": ["x"] * 1200}).json()
        assert len(upstream.requests) - before == calls
        assert [each["index"] for each in reply["data"]] == list(range(1200))
        assert reply["usage"]["prompt_tokens"] == 1200
