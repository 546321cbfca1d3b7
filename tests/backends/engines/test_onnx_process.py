"""The engine's own HTTP: its key, its routes, its bounds, and callers that leave."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from interlingua.backends.engines import onnx_process
from interlingua.backends.engines.onnx_models import Models, Settings
from interlingua.backends.engines.onnx_process import EngineApp
from interlingua.backends.engines.onnx_wire import (
    EMBED,
    EMBED_IMAGES,
    ImageCall,
    TextCall,
    read_failure,
)
from interlingua.catalog.card import StoredModel
from interlingua.catalog.local import card_for_path
from interlingua.errors import ApiError, InvalidValue, ModelNotReady, RateLimited
from interlingua.types.embeddings import Embeddings, ImageInput

from ...support.tiny_sentence import build_tiny_sentence

pytestmark = pytest.mark.anyio

KEY = "the key"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return card_for_path(build_tiny_sentence(tmp_path_factory.mktemp("sentences")))


@pytest.fixture
def models(stored: StoredModel) -> Models:
    card = stored.card.text_embedding
    assert card
    paths = {"text": str(stored.files["model"]), "tokenizer": str(stored.files["tokenizer"])}
    return Models(Settings(socket="", key=KEY, text_embedding=card, **paths))


class Exchange:
    """One call as the HTTP server would make it; the caller leaves when told to."""

    def __init__(self, path: str, body: bytes = b"", *, key: str = KEY, method: str = "POST"):
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"authorization", f"Bearer {key}".encode())],
        }
        self.pieces = [body[:5], body[5:]]
        self.left = asyncio.Event()
        self.cut = False
        self.status = 0
        self.body = b""

    async def receive(self) -> dict[str, object]:
        if self.pieces and not self.cut:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        if not self.cut:
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message["body"]

    async def run(self, app: EngineApp) -> "Exchange":
        await app(self.scope, self.receive, self.send)
        return self

    def failure(self) -> ApiError:
        return read_failure(self.body)


def packed(*texts: str, **rest: object) -> bytes:
    return msgspec.msgpack.encode(TextCall(texts=texts, **rest))


async def test_health_is_open_and_all_else_needs_the_key(models: Models) -> None:
    app = EngineApp(models, key=KEY)
    assert (await Exchange("/health", method="GET", key="").run(app)).status == 200
    for path in (EMBED, EMBED_IMAGES, "/", "/docs"):
        assert (await Exchange(path, packed("cat"), key="other").run(app)).status == 401
    assert (await Exchange("/", packed("cat")).run(app)).status == 404
    assert (await Exchange(EMBED, method="GET").run(app)).status == 404


async def test_a_call_without_any_header_is_refused(models: Models) -> None:
    exchange = Exchange(EMBED, packed("cat"))
    exchange.scope["headers"] = []
    assert (await exchange.run(EngineApp(models, key=KEY))).status == 401


async def test_texts_are_answered_with_vectors(models: Models) -> None:
    done = await Exchange(EMBED, packed("cat", "dog", dimensions=8)).run(EngineApp(models, key=KEY))
    assert done.status == 200
    found = msgspec.msgpack.decode(done.body, type=Embeddings)
    assert [len(vector) for vector in found.vectors] == [32, 32]
    assert found.usage.prompt_tokens == 6


async def test_a_failure_keeps_its_class_place_and_value(models: Models) -> None:
    body = msgspec.msgpack.encode(TextCall(ids=((5,), (5000,))))
    done = await Exchange(EMBED, body).run(EngineApp(models, key=KEY))
    failure = done.failure()
    assert done.status == 422
    assert isinstance(failure, InvalidValue)
    assert (failure.location, failure.value) == (("body", "input", 1), 5000)


async def test_images_are_refused_by_a_model_of_texts(models: Models) -> None:
    call = ImageCall(inputs=(ImageInput(text="cat"), ImageInput(image="data:")))
    done = await Exchange(EMBED_IMAGES, msgspec.msgpack.encode(call)).run(
        EngineApp(models, key=KEY)
    )
    assert isinstance(done.failure(), InvalidValue)
    assert done.failure().location == ("body", "input", 1, "image")


async def test_bodies_beyond_the_bound_are_refused(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_process, "_MOST_BYTES", 10)
    app = EngineApp(models, key=KEY)
    failure = (await Exchange(EMBED, packed("cat")).run(app)).failure()
    assert isinstance(failure, RateLimited)
    assert failure.retry_after_s == 1
    monkeypatch.setattr(onnx_process, "_MOST_BYTES", 1000)
    assert (await Exchange(EMBED, packed("cat")).run(app)).status == 200


@pytest.fixture
def gate(models: Models) -> Iterator[threading.Event]:
    """Holds the only worker until it is set."""
    gate = threading.Event()
    models._texts._batcher._executor.submit(gate.wait, 10)
    yield gate
    gate.set()


async def test_a_caller_that_leaves_is_not_answered_and_blocks_nobody(
    models: Models, gate: threading.Event
) -> None:
    app = EngineApp(models, key=KEY)
    leaves = Exchange(EMBED, packed(*["cat"] * 2048))
    task = asyncio.create_task(leaves.run(app))
    batcher = models._texts._batcher
    while not batcher._waiting_items:
        await asyncio.sleep(0)
    leaves.left.set()
    await task
    assert leaves.status == 0
    assert batcher._waiting_items == 0
    gate.set()
    assert (await Exchange(EMBED, packed("dog")).run(app)).status == 200
    assert app._bytes == 0


async def test_a_body_that_breaks_off_is_dropped(models: Models) -> None:
    exchange = Exchange(EMBED, packed("cat"))
    exchange.cut = True
    assert (await exchange.run(EngineApp(models, key=KEY))).status == 0


async def test_a_defect_is_a_model_that_is_not_ready() -> None:
    for body in (b"", b"Internal Server Error", b"\x00", msgspec.msgpack.encode({"kind": 1})):
        assert isinstance(read_failure(body), ModelNotReady)


async def test_texts_beyond_a_few_thousand_characters_are_read_in_a_thread(
    models: Models, tmp_path: Path
) -> None:
    done = await Exchange(EMBED, packed("cat " * 5000, "dog")).run(EngineApp(models, key=KEY))
    found = msgspec.msgpack.decode(done.body, type=Embeddings)
    assert found.usage.prompt_tokens == 24 + 3
