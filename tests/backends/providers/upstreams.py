"""What the tests of providers share: a provider's model at a scripted upstream, and calls."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from interlingua.backends.base import CallContext
from interlingua.backends.providers.http import Upstream, create
from interlingua.backends.providers.registry import ProviderModel, Row, find
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest, UserMessage
from interlingua.types.chat_fold import ChatFold, CompletionFold
from interlingua.types.completions import Completion, CompletionRequest

CALL = CallContext(id="test")
CANARY = "cnry-7f3a91d2-5e64-secret-value-0b8c"


def row(name: str) -> Row:
    found = find(name)
    assert found is not None
    return found


def model_at(url: str, provider: str = "openai", **settings: object) -> ProviderModel:
    fields: dict[str, object] = {
        "name": "mine",
        "row": row(provider),
        "base_url": url,
        "model": "theirs",
        "key": CANARY,
        "publisher": "Somebody",
        "timeout_s": 5.0,
        **settings,
    }
    return ProviderModel(**fields)  # type: ignore[arg-type]  # a test's choice


@asynccontextmanager
async def opened(
    url: str, provider: str = "openai", **settings: object
) -> AsyncGenerator[Upstream]:
    upstream = create(model_at(url, provider, **settings))
    try:
        await upstream.open()
        yield upstream
    finally:
        await upstream.close()


def ask(text: str = "Hi", **fields: object) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(content=text),), **fields)  # type: ignore[arg-type]  # a test's choice


async def deltas(upstream: Upstream, request: ChatRequest | None = None) -> list[ChatDelta]:
    return [delta async for delta in upstream.chat(request or ask(), CALL)]


async def answer(upstream: Upstream, request: ChatRequest | None = None) -> ChatCompletion:
    fold = ChatFold()
    for delta in await deltas(upstream, request):
        fold.add(delta)
    return fold.done()


async def continued(upstream: Upstream, request: CompletionRequest) -> Completion:
    fold = CompletionFold()
    async for delta in upstream.complete(request, CALL):
        fold.add(delta)
    return fold.done()
