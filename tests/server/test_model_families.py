"""What callers see of what is known of a provider's model: one program for every family."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from interlingua.backends.providers.http import create
from interlingua.backends.providers.registry import ProviderModel, find

from ..support import scripted_upstream as wire
from ..support.scripted_upstream import ScriptedUpstream
from .service import app_of, client_of, error_of

pytestmark = pytest.mark.anyio

PATH = "/chat/completions"
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
MODELS = ("gpt-4o", "o3-mini", "o1-mini", "Phi-3.5-mini-instruct", "deepseek-r1")


@pytest.fixture
def upstream():
    with ScriptedUpstream() as scripted:
        scripted.on(PATH, wire.chat_stream("<think>Short.</think>", "Hi."))
        yield scripted


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[httpx2.AsyncClient]:
    row = find("openai")
    assert row is not None
    backends = [
        create(
            ProviderModel(
                name=model, row=row, base_url=upstream.url, model=model, key="k", publisher="p"
            )
        )
        for model in MODELS
    ]
    async with client_of(app_of(*backends)) as opened:
        yield opened
    for backend in backends:
        await backend.close()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("gpt-4o", None),
        ("o3-mini", 'renamed=("max_tokens";to="max_completion_tokens")'),
        (
            "o1-mini",
            'renamed=("max_tokens";to="max_completion_tokens"), folded=("system";to="user")',
        ),
        ("Phi-3.5-mini-instruct", 'folded=("system";to="user")'),
    ],
)
async def test_the_same_call_fits_each_model_and_the_reply_says_how(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, model: str, says: str | None
) -> None:
    body = {"model": model, "messages": ASK, "max_tokens": 5}
    reply = await client.post(PATH, json=body)
    assert reply.status_code == 200
    assert reply.headers.get("x-interlingua-changes") == says
    sent = upstream.requests[-1].json()
    assert ("max_completion_tokens" in sent) == ("renamed" in (says or ""))
    folded = [{"role": "user", "content": "Be brief.\n\nHello"}]
    assert sent["messages"] == (folded if "folded" in (says or "") else ASK)


async def test_what_it_does_not_take_is_refused_before_anything_is_sent(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    body = {"model": "o3-mini", "messages": ASK, "temperature": 0.2}
    reply = await client.post(PATH, json=body)
    assert reply.status_code == 422
    assert "'temperature'" in error_of(reply)["message"]
    assert upstream.requests == []
    # One is what it does anyway.
    assert (await client.post(PATH, json={**body, "temperature": 1})).status_code == 200
    assert "temperature" not in upstream.requests[-1].json()


@pytest.mark.parametrize(
    ("version", "content", "reasoning"),
    [
        ("2024-05-01-preview", "<think>\nShort.\n</think>\n\nHi.", None),
        ("2025-04-01", "Hi.", "Short."),
    ],
)
async def test_thoughts_stand_where_the_api_version_has_them(
    client: httpx2.AsyncClient, version: str, content: str, reasoning: str | None
) -> None:
    body = {"model": "deepseek-r1", "messages": ASK}
    reply = await client.post(PATH, params={"api-version": version}, json=body)
    said = reply.json()["choices"][0]["message"]
    assert (said["content"], said.get("reasoning_content")) == (content, reasoning)


async def test_the_catalog_says_what_each_can_do(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/catalog/models")).json()
    told = {each["name"]: each["interlingua"] for each in listed}
    parameters = told["o3-mini"]["parameters"]["chat_completions"]
    assert parameters["max_tokens"] == {"state": "renamed", "to": "max_completion_tokens"}
    assert parameters["temperature"] == {"state": "refused"}
    assert told["Phi-3.5-mini-instruct"]["capabilities"]["context_length"] == 131072
