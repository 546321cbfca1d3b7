"""GGUF models as engines for tests: the tiny one built here, and the packaged one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlingua.backends.base import CallContext
from interlingua.backends.engines.llamacpp import LlamaCpp, create
from interlingua.backends.engines.model import EngineModel
from interlingua.catalog.card import StoredModel
from interlingua.catalog.catalog import require
from interlingua.catalog.local import card_for_path
from interlingua.catalog.store import Store
from interlingua.config.load import child_environment, data_dir
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest, UserMessage
from interlingua.types.chat_fold import ChatFold

CALL = CallContext(id="test")


def packaged(name: str) -> StoredModel:
    """A model of the catalogue that ``make test`` has pulled."""
    store = Store(data_dir(None))
    stored = store.get(require(name))
    if stored is None:
        pytest.fail(f"{name} is not in {store.root}: run 'interlingua models pull {name}' first")
    return stored


def backend(stored: StoredModel | Path, **options: object) -> LlamaCpp:
    """A backend that is not open yet. One thread, so that a busy machine doesn't slow it."""
    if isinstance(stored, Path):
        stored = card_for_path(stored)
    fields = {"threads": 1, "slots": 2, "environment": child_environment(), **options}
    made = create(EngineModel(name="tiny", stored=stored, **fields))  # type: ignore[arg-type]  # a test's choice
    assert isinstance(made, LlamaCpp)
    return made


@asynccontextmanager
async def opened(stored: StoredModel | Path, **options: object) -> AsyncGenerator[LlamaCpp]:
    made = backend(stored, **options)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


def ask(text: str = "Hi", **fields: object) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(content=text),), **fields)  # type: ignore[arg-type]  # a test's choice


async def deltas(engine: LlamaCpp, request: ChatRequest) -> list[ChatDelta]:
    return [delta async for delta in engine.chat(request, CALL)]


async def answer(engine: LlamaCpp, request: ChatRequest) -> ChatCompletion:
    fold = ChatFold()
    for delta in await deltas(engine, request):
        fold.add(delta)
    return fold.done()
