"""What callers of a whole server see of a provider that fails, and it of callers that leave."""

import asyncio
import json
import time

import pytest

from interlingua.backends.providers.http import Upstream, create
from interlingua.backends.providers.registry import ProviderModel, find

from ..support import scripted_upstream as wire
from ..support.scripted_upstream import ScriptedUpstream
from .service import CHAT, Caller, app_of, client_of, error_of

pytestmark = pytest.mark.anyio

CANARY = "cnry-7f3a91d2-5e64-secret-value-0b8c"
PATH = "/chat/completions"
_BEGUN = wire.events(wire.chat_chunk({"content": "Hello"}), done=False)


def provider(url: str, timeout_s: float = 5.0) -> Upstream:
    row = find("openai")
    assert row is not None
    return create(
        ProviderModel(
            name="far",
            row=row,
            base_url=url,
            model="theirs",
            key=CANARY,
            publisher="Somebody",
            timeout_s=timeout_s,
        )
    )


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (wire.error(401, "invalid_api_key", f"Bad key {CANARY}"), 502, "bad_gateway"),
        (wire.error(429, None, "Slow down", retry_after="7"), 429, "too_many_requests"),
        (wire.error(503, None, "Overloaded"), 503, "service_unavailable"),
        (wire.error(500, None, f"{CANARY} broke"), 502, "bad_gateway"),
        (wire.html(502), 502, "bad_gateway"),
        (wire.json_reply({"error": {"message": CANARY}}), 502, "bad_gateway"),
        (wire.events(), 502, "bad_gateway"),
        (wire.Reply(end="silent"), 504, "timeout"),
        (wire.error(400, "context_length_exceeded", "Too long"), 400, "context_length_exceeded"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", [PATH, "/v1" + PATH])
async def test_failures_before_the_first_token_keep_their_status(
    reply: wire.Reply, status: int, code: str, streamed: bool, path: str
) -> None:
    with ScriptedUpstream(answers={PATH: reply}) as upstream:
        backend = provider(upstream.url, timeout_s=0.1)
        async with client_of(app_of(backend)) as client:
            response = await client.post(path, json={**CHAT, "stream": streamed})
        await backend.close()
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert CANARY not in response.text + str(response.headers)
    assert response.headers.get("retry-after") == ({429: "7", 503: "1"}.get(status))


@pytest.mark.parametrize("end", ["whole", "cut", "hold"])
async def test_a_stream_that_ends_too_early_visibly_breaks(end: str) -> None:
    with ScriptedUpstream(answers={PATH: _BEGUN.ending(end)}) as upstream:  # type: ignore[arg-type]  # one of them
        backend = provider(upstream.url, timeout_s=0.1)
        caller = Caller(PATH, json.dumps({**CHAT, "stream": True}).encode())
        with pytest.raises(ConnectionAbortedError):
            await caller.call(app_of(backend))
        await backend.close()
    assert caller.status == 200
    assert b"Hello" in caller.body
    assert b'"error"' in caller.body
    assert b"[DONE]" not in caller.body


@pytest.mark.parametrize("reply", [wire.Reply(end="silent"), _BEGUN.ending("hold")])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_caller_that_leaves_closes_the_providers_connection_at_once(
    reply: wire.Reply, streamed: bool
) -> None:
    with ScriptedUpstream(answers={PATH: reply}) as upstream:
        backend = provider(upstream.url, timeout_s=60)
        caller = Caller(PATH, json.dumps({**CHAT, "stream": streamed}).encode())
        call = asyncio.create_task(caller.call(app_of(backend)))
        async with asyncio.timeout(10):
            while not upstream.requests:
                await asyncio.sleep(0.005)
            began = time.monotonic()
            caller.leave()
            await call
            assert await asyncio.to_thread(upstream.left.wait, 5)
        took_s = time.monotonic() - began
        await backend.close()
    # 250 ms is the aim; a machine that runs other tests meanwhile gets the benefit.
    assert took_s < 1


async def test_what_was_renamed_is_told_with_the_reply() -> None:
    row = find("mistral")
    assert row is not None
    with ScriptedUpstream(answers={PATH: wire.chat_stream("Hi")}) as upstream:
        backend = create(ProviderModel(name="far", row=row, base_url=upstream.url, publisher="M"))
        async with client_of(app_of(backend)) as client:
            reply = await client.post(PATH, json={**CHAT, "seed": 7})
        await backend.close()
    assert reply.json()["choices"][0]["message"]["content"] == "Hi"
    assert reply.json()["usage"]["total_tokens"] == 5
    assert reply.headers["x-interlingua-changes"] == 'renamed=("seed";to="random_seed")'
    assert upstream.requests[0].json()["random_seed"] == 7
