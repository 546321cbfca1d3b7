"""The one upstream class over real sockets: the published wires, and what breaks on them."""

import asyncio
import base64
import json
import struct
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from interlingua.errors import (
    CallerError,
    DeadlineExceeded,
    ExtraForbidden,
    InvalidValue,
    RateLimited,
    Unavailable,
    UpstreamError,
)
from interlingua.types.chat import ImagePart, TextPart, Tool, UserMessage
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

from ...support import scripted_upstream as wire
from ...support.scripted_upstream import ScriptedUpstream
from .upstreams import CALL, CANARY, answer, ask, continued, deltas, opened

pytestmark = pytest.mark.anyio

CHAT = "/chat/completions"


def replace_chunks(reply: wire.Reply, *chunks: bytes) -> wire.Reply:
    return wire.Reply(chunks, content_type=reply.content_type)


ROLE = wire.chat_chunk({"role": "assistant", "content": ""})


# -- What goes out --------------------------------------------------------------------------


async def test_a_chat_is_asked_for_as_a_stream_with_usage_and_our_own_headers() -> None:
    with ScriptedUpstream(answers={f"/v1{CHAT}": wire.chat_stream("He", "llo")}) as upstream:
        async with opened(upstream.url + "/v1") as provider:
            whole = await answer(provider, ask(max_tokens=7, stop=("x",), extra={"foo": {"a": 1}}))
    assert whole.choices[0].text == "Hello"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage == Usage(3, 2)
    (request,) = upstream.requests
    assert (request.method, request.target) == ("POST", f"/v1{CHAT}")
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.headers["user-agent"].startswith("interlingua/")
    assert "api-key" not in request.headers
    assert "extra-parameters" not in request.headers
    assert request.json() == {
        "model": "theirs",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 7,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "foo": {"a": 1},
    }


async def test_azure_gets_its_api_version_both_headers_and_is_told_of_extra_parameters() -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("Hi")}) as upstream:
        async with opened(upstream.url, "azure") as provider:
            await answer(provider, ask())
            await answer(provider, ask(n=2))
    plain, extra = upstream.requests
    assert plain.query == {"api-version": "2024-05-01-preview"}
    assert plain.headers["api-key"] == CANARY
    assert plain.headers["authorization"] == f"Bearer {CANARY}"
    assert "extra-parameters" not in plain.headers
    assert "stream_options" not in plain.json()
    assert extra.headers["extra-parameters"] == "pass-through"


async def test_azure_openai_has_the_model_in_its_path() -> None:
    path = f"/openai/deployments/my gpt/../4{CHAT}"
    with ScriptedUpstream(answers={path: wire.chat_stream("Hi")}) as upstream:
        async with opened(
            upstream.url, "azure-openai", model="my gpt/../4", api_version="2025-01-01"
        ) as provider:
            await answer(provider)
    (request,) = upstream.requests
    assert request.target == (f"/openai/deployments/my%20gpt%2F..%2F4{CHAT}?api-version=2025-01-01")
    assert request.headers["api-key"] == CANARY
    assert "authorization" not in request.headers


async def test_a_row_may_not_ask_for_usage_and_rename() -> None:
    with ScriptedUpstream(answers={f"/v1{CHAT}": wire.chat_stream("Hi")}) as upstream:
        async with opened(upstream.url + "/v1", "mistral") as provider:
            await answer(provider, ask(seed=7, max_tokens=5, limit_name="max_completion_tokens"))
    body = upstream.requests[0].json()
    assert "stream_options" not in body
    assert (body["random_seed"], body["max_tokens"]) == (7, 5)
    assert "seed" not in body
    assert "max_completion_tokens" not in body


async def test_without_a_model_of_its_own_the_callers_goes_on_and_without_a_key_none() -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("Hi")}) as upstream:
        async with opened(upstream.url, "vllm", model=None, key=None) as provider:
            await answer(provider, ask(model="any/name"))
            await answer(provider, ask(limit_name="max_completion_tokens", max_tokens=1))
    named, unnamed = upstream.requests
    assert named.json()["model"] == "any/name"
    assert "model" not in unnamed.json()
    assert unnamed.json()["max_completion_tokens"] == 1
    assert not {"authorization", "api-key"} & set(named.headers)


async def test_images_and_tools_go_on_as_they_are() -> None:
    picture = UserMessage(content=(TextPart("What is it?"), ImagePart("data:image/png;base64,AA")))
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("A cat")}) as upstream:
        async with opened(upstream.url) as provider:
            await answer(provider, ask(tools=(Tool(name="f"),)))
            await answer(provider, replace(ask(), messages=(picture,)))
    tools, image = (request.json() for request in upstream.requests)
    assert tools["tools"] == [{"type": "function", "function": {"name": "f"}}]
    content = image["messages"][0]["content"]  # type: ignore[index]  # JSON
    assert content[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


# -- What comes back ------------------------------------------------------------------------


async def test_tool_calls_without_an_index_are_told_apart() -> None:
    """Mistral on Azure: recorded streams; LiteLLM #33678: every call at index 0."""
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"function": {"arguments": "1}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]
    for index in ({}, {"index": 0}):
        chunks = [wire.chat_chunk({"tool_calls": [{**index, **call}]}) for call in calls]
        reply = wire.events(ROLE, *chunks, wire.chat_chunk({}, "tool_calls", usage=wire.usage()))
        with ScriptedUpstream(answers={CHAT: reply}) as upstream:
            async with opened(upstream.url) as provider:
                choice = (await answer(provider)).choices[0]
        made = [(call.id, call.name, call.arguments) for call in choice.tool_calls]
        assert made == [("a", "f", '{"x":1}'), ("b", "g", "{}")]
        assert choice.finish_reason == "tool_calls"


async def test_reasoning_is_reasoning_whatever_it_is_called() -> None:
    for name in ("reasoning_content", "reasoning"):
        reply = wire.events(
            ROLE,
            wire.chat_chunk({name: "Hm. "}),
            wire.chat_chunk({"content": "Yes"}),
            wire.chat_chunk({}, "stop"),
        )
        with ScriptedUpstream(answers={CHAT: reply}) as upstream:
            async with opened(upstream.url) as provider:
                choice = (await answer(provider)).choices[0]
        assert (choice.reasoning, choice.text) == ("Hm. ", "Yes")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("model_length", "length"),
        ("eos", "stop"),
    ],
)
async def test_finish_reasons_are_four(theirs: str, ours: str) -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("Hi", finish_reason=theirs)}) as upstream:
        async with opened(upstream.url) as provider:
            assert (await answer(provider)).choices[0].finish_reason == ours


async def test_usage_may_ride_on_the_last_choice_or_come_in_every_chunk() -> None:
    counted = [
        wire.chat_chunk({"content": "a"}, usage=wire.usage(3, 1)),
        wire.chat_chunk({"content": "b"}, "stop", usage=wire.usage(3, 2)),
    ]
    with ScriptedUpstream(answers={CHAT: wire.events(*counted)}) as upstream:
        async with opened(upstream.url) as provider:
            made = await deltas(provider)
    assert [delta.usage for delta in made if delta.usage] == [Usage(3, 2)]


async def test_a_provider_that_does_not_stream_is_understood() -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_whole("All at once", "length")}) as upstream:
        async with opened(upstream.url) as provider:
            whole = await answer(provider)
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("All at once", "length")
    assert whole.usage == Usage(3, 2)


async def test_a_provider_that_continues_texts_at_once_is_understood() -> None:
    body = {
        "choices": [{"index": 0, "text": "upon a time", "finish_reason": "length"}],
        "usage": wire.usage(),
    }
    with ScriptedUpstream(answers={"/completions": wire.json_reply(body)}) as upstream:
        async with opened(upstream.url, "vllm") as provider:
            whole = await continued(provider, CompletionRequest(prompts=("Once",)))
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("upon a time", "length")
    assert whole.usage == Usage(3, 2)


async def test_a_last_event_without_its_empty_line_counts() -> None:
    whole = wire.events(wire.chat_chunk({"content": "Hi"}, "stop"), done=False)
    reply = replace_chunks(whole, b"".join(whole.chunks).rstrip(b"\n"))
    with ScriptedUpstream(answers={CHAT: reply}) as upstream:
        async with opened(upstream.url) as provider:
            assert (await answer(provider)).choices[0].text == "Hi"


async def test_a_stream_that_stays_open_after_its_end_is_not_waited_for() -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("Hi").ending("hold")}) as upstream:
        async with opened(upstream.url, timeout_s=60) as provider:
            async with asyncio.timeout(10):
                assert (await answer(provider)).choices[0].text == "Hi"
            assert await asyncio.to_thread(upstream.left.wait, 5)


async def test_text_completions_stream() -> None:
    with ScriptedUpstream(answers={"/completions": wire.completion_stream("on", "ce")}) as upstream:
        async with opened(upstream.url, "vllm") as provider:
            whole = await continued(provider, CompletionRequest(prompts=("It was",), max_tokens=3))
    assert (whole.choices[0].text, whole.usage) == ("once", Usage(3, 2))
    body = upstream.requests[0].json()
    assert (body["prompt"], body["stream"], body["max_tokens"]) == ("It was", True, 3)


@pytest.mark.parametrize(("provider", "encoded"), [("openai", True), ("vllm", False)])
async def test_embeddings_come_in_full_precision_whatever_the_caller_wants(
    provider: str, encoded: bool
) -> None:
    vectors = [(0.25, -1.0), (2.0, 0.5)]
    reply = wire.embeddings(vectors, encoded=encoded)
    with ScriptedUpstream(answers={"/embeddings": reply}) as upstream:
        async with opened(upstream.url, provider, type="embedding") as backend:
            request = EmbeddingsRequest(inputs=("a", "b"), encoding_format="int8", dimensions=2)
            made = await backend.embed(request, CALL)
    assert made.vectors == tuple(struct.pack("<2f", *vector) for vector in vectors)
    assert made.usage == Usage(5)
    asked = {"model": "theirs", "input": ["a", "b"], "dimensions": 2}
    assert upstream.requests[0].json() == asked | ({"encoding_format": "base64"} if encoded else {})


async def test_image_embeddings_are_azures() -> None:
    with ScriptedUpstream(answers={"/images/embeddings": wire.embeddings([(1.0,)])}) as upstream:
        async with opened(upstream.url, "azure", type="image-embedding") as backend:
            item = ImageInput(image="data:image/png;base64,AA", text="a cat")
            request = ImageEmbeddingsRequest(inputs=(item,), input_type="document")
            assert len((await backend.embed_images(request, CALL)).vectors) == 1
    assert upstream.requests[0].json() == {
        "model": "theirs",
        "input": [{"image": "data:image/png;base64,AA", "text": "a cat"}],
        "input_type": "document",
    }


async def test_a_connection_is_used_again_after_a_stream() -> None:
    with ScriptedUpstream(answers={CHAT: wire.chat_stream("Hi")}) as upstream:
        async with opened(upstream.url) as provider:
            for _ in range(3):
                await answer(provider)
    assert upstream.connections == 1


# -- What breaks ----------------------------------------------------------------------------

_HELLO = wire.chat_chunk({"content": "Hello"})
_CUT = wire.events(ROLE, _HELLO, done=False)
BROKEN = {
    "an empty stream": wire.events(done=False),
    "a stream of [DONE] alone": wire.events(),
    "a stream cut by a clean end": _CUT,
    "a stream with [DONE] but no end": wire.events(ROLE, _HELLO),
    "a stream that breaks off": _CUT.ending("cut"),
    "an event that is not JSON": wire.events(ROLE, "{nonsense"),
    "an event of the wrong shape": wire.events({"choices": 7}),
    "a page with status 200": wire.html(200),
    "an error with status 200": wire.json_reply({"error": {"message": "No", "code": "boom"}}),
    "a text as an error": wire.events({"error": "overloaded"}),
    "an error in the stream": wire.events(ROLE, _HELLO, {"error": {"message": "No"}}),
    "a finish that is an error": wire.chat_stream("Hi", finish_reason="error"),
    "JSON that is no chat": wire.json_reply({"object": "error", "message": "No"}),
    "no reply": wire.Reply(end="drop"),
    "a page with status 502": wire.html(502),
    "a failure": wire.error(500, "internal", "It broke"),
    "an unknown status": wire.error(529, None, "Overloaded"),
    "an error longer than is read": wire.error(500, None, "x" * 300_000),
    "an error that breaks off": wire.error(500, None, "It broke").ending("cut"),
    "a wrong method": wire.error(405, None, "Method not allowed"),
    "our key refused with status 200": wire.json_reply({"error": {"code": 401, "message": "No"}}),
    "a redirect": wire.Reply(status=302, headers={"location": "http://127.0.0.1:1/"}),
    "nothing": wire.Reply(status=204),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_no_answer_is_a_bad_gateway(case: str) -> None:
    with ScriptedUpstream(answers={CHAT: BROKEN[case]}) as upstream:
        async with opened(upstream.url) as provider:
            with pytest.raises(UpstreamError) as caught:
                await deltas(provider)
    assert caught.value.status == 502
    assert "<html" not in caught.value.message


async def test_silence_is_a_timeout_before_and_in_a_stream() -> None:
    for reply in (wire.Reply(end="silent"), _CUT.ending("hold")):
        with ScriptedUpstream(answers={CHAT: reply}) as upstream:
            async with opened(upstream.url, timeout_s=0.1) as provider:
                with pytest.raises(DeadlineExceeded) as caught:
                    await deltas(provider)
            assert caught.value.status == 504
            assert await asyncio.to_thread(upstream.left.wait, 5)


async def test_nobody_there_is_unavailable() -> None:
    with ScriptedUpstream() as upstream:
        url = upstream.url
    async with opened(url) as provider:
        with pytest.raises(Unavailable):
            await deltas(provider)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_our_own_credential_is_never_the_callers_fault(status: int) -> None:
    said = f"Incorrect API key provided: {CANARY[:9]}*****. Bearer {CANARY}"
    with ScriptedUpstream(answers={CHAT: wire.error(status, "invalid_api_key", said)}) as upstream:
        async with opened(upstream.url) as provider:
            with pytest.raises(UpstreamError, match="this server's own credential") as caught:
                await deltas(provider)
    assert "cnry" not in caught.value.message
    assert caught.value.__cause__ is None


async def test_a_pinned_model_that_is_unknown_is_ours_and_the_callers_is_theirs() -> None:
    reply = wire.error(404, "model_not_found", "The model `theirs` does not exist")
    with ScriptedUpstream(answers={CHAT: reply}) as upstream:
        async with opened(upstream.url) as provider:
            with pytest.raises(UpstreamError, match="check model and base_url"):
                await deltas(provider)
        async with opened(upstream.url, model=None) as provider:
            with pytest.raises(CallerError) as caught:
                await deltas(provider, ask(model="theirs"))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 1),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "2.5"}, 3),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "Wed, 21 Oct 2026 07:33333333333333333333333:00 GMT"}, 1),
        ({"retry-after": "999999999"}, 3600),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 2),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30,
        ),
    ],
)
async def test_a_limit_tells_how_long_to_wait(headers: dict[str, str], wait: int) -> None:
    limited = wire.error(429, "rate_limit_exceeded", "Slow down")
    with ScriptedUpstream() as upstream:
        upstream.on(CHAT, wire.Reply(limited.chunks, status=429, headers=headers))
        async with opened(upstream.url) as provider:
            with pytest.raises(RateLimited, match="Slow down") as caught:
                await deltas(provider)
    assert caught.value.retry_after_s == wait


async def test_overload_is_unavailable() -> None:
    with ScriptedUpstream() as upstream:
        upstream.on(CHAT, wire.error(503, None, "Overloaded", retry_after="4"))
        async with opened(upstream.url) as provider:
            with pytest.raises(Unavailable) as caught:
                await deltas(provider)
    assert caught.value.retry_after_s == 4


async def test_a_refusal_of_the_callers_request_keeps_its_place() -> None:
    inner = '{"detail": [{"type": "extra_forbidden", "loc": ["body", "safe"], "msg": "x"}]}'
    model_error = {"error": {"code": "Invalid input", "message": inner, "status": 422}}
    mistral = {"object": "error", "message": json.loads(inner), "code": None}
    detail = {"detail": [{"loc": ["body", "top_p"], "msg": "too big", "input": 7}]}
    with ScriptedUpstream() as upstream:
        upstream.on(
            CHAT,
            wire.json_reply(model_error, 422),
            wire.json_reply(mistral, 422),
            wire.json_reply(detail, 422),
            wire.error(400, "bad", "temperature is too hot"),
        )
        async with opened(upstream.url, "azure") as provider:
            for _ in range(2):
                with pytest.raises(ExtraForbidden) as forbidden:
                    await deltas(provider)
                assert forbidden.value.location == ("body", "safe")
            with pytest.raises(InvalidValue, match="too big") as invalid:
                await deltas(provider)
            with pytest.raises(CallerError, match="too hot") as plain:
                await deltas(provider)
    assert (invalid.value.location, invalid.value.value) == (("body", "top_p"), 7)
    assert plain.value.status == 400


@pytest.mark.parametrize(
    "vectors",
    [[], [(1.0,)], [(1.0,), ()]],
)
async def test_vectors_that_are_missing_or_empty_are_no_answer(vectors: list[object]) -> None:
    with ScriptedUpstream(answers={"/embeddings": wire.embeddings(vectors)}) as upstream:  # type: ignore[arg-type]  # tuples
        async with opened(upstream.url, type="embedding") as backend:
            with pytest.raises(UpstreamError, match="vectors for 2 inputs"):
                await backend.embed(EmbeddingsRequest(inputs=("a", "b")), CALL)


async def test_bytes_that_are_no_vector_are_no_answer() -> None:
    bad = {"data": [{"index": 0, "embedding": base64.b64encode(b"abc").decode()}]}
    with ScriptedUpstream(answers={"/embeddings": wire.json_reply(bad)}) as upstream:
        async with opened(upstream.url, type="embedding") as backend:
            with pytest.raises(UpstreamError):
                await backend.embed(EmbeddingsRequest(inputs=("a",)), CALL)


# -- Leaving --------------------------------------------------------------------------------


async def test_leaving_a_stream_closes_the_upstream_at_once() -> None:
    with ScriptedUpstream(answers={CHAT: _CUT.ending("hold")}) as upstream:
        async with opened(upstream.url) as provider:
            async with aclosing(provider.chat(ask(), CALL)) as stream:
                async for _ in stream:
                    break
            assert await asyncio.to_thread(upstream.left.wait, 5)


async def test_leaving_before_the_first_byte_closes_the_upstream_at_once() -> None:
    with ScriptedUpstream(answers={CHAT: wire.Reply(end="silent")}) as upstream:
        async with opened(upstream.url, timeout_s=60) as provider:
            task = asyncio.create_task(answer(provider))
            while not upstream.requests:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(upstream.left.wait, 5)
