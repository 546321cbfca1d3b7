"""The backend that repeats what it is told."""

import struct

import pytest

from interlingua.backends.base import CallContext
from interlingua.backends.echo import CARD, EchoBackend, create
from interlingua.backends.engines.model import EngineModel
from interlingua.catalog.card import StoredModel
from interlingua.types.chat import (
    AssistantMessage,
    ChatRequest,
    SystemMessage,
    TextPart,
    UserMessage,
)
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.models import Capabilities

CALL = CallContext(id="0" * 32)
pytestmark = pytest.mark.anyio


async def test_chat_repeats_the_last_user_message_word_by_word() -> None:
    request = ChatRequest(
        messages=(
            SystemMessage("be brief"),
            UserMessage((TextPart("say  this"), TextPart("again"))),
            AssistantMessage("well"),
        )
    )
    deltas = [delta async for delta in EchoBackend().chat(request, CALL)]
    assert [delta.text for delta in deltas] == ["say", "  this", "\nagain", ""]
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.prompt_tokens == 6
    assert deltas[-1].usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("max_tokens", "stop", "text", "reason"),
    [
        (None, (), "one two three", "stop"),
        (2, (), "one two", "length"),
        (0, (), "", "length"),
        (3, (), "one two three", "stop"),
        (None, ("x", "three", "two"), "one ", "stop"),
    ],
)
async def test_completions_honour_stop_and_max_tokens(
    max_tokens: int | None, stop: tuple[str, ...], text: str, reason: str
) -> None:
    request = CompletionRequest(prompts=("one two three", (7, 8)), max_tokens=max_tokens, stop=stop)
    deltas = [delta async for delta in EchoBackend().complete(request, CALL)]
    first = [delta for delta in deltas if delta.index == 0]
    assert "".join(delta.text for delta in first) == text
    assert first[-1].finish_reason == reason
    assert [delta.usage is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]


async def test_a_chat_without_text_is_empty() -> None:
    request = ChatRequest(messages=(AssistantMessage(None),))
    deltas = [delta async for delta in EchoBackend().chat(request, CALL)]
    assert [delta.finish_reason for delta in deltas] == ["stop"]


async def test_embeddings_are_unit_vectors_that_follow_from_the_text() -> None:
    backend = EchoBackend()
    request = EmbeddingsRequest(inputs=("a", "b", "a"), dimensions=256)
    made = await backend.embed(request, CALL)
    again = await backend.embed(request, CALL)
    assert made == again
    assert made.vectors[0] == made.vectors[2] != made.vectors[1]
    numbers = struct.unpack("<256f", made.vectors[0])
    assert sum(number * number for number in numbers) == pytest.approx(1, abs=1e-5)
    assert made.usage.prompt_tokens == 3


async def test_token_ids_and_images_are_embedded() -> None:
    backend = EchoBackend()
    tokens = await backend.embed(EmbeddingsRequest(inputs=((1, 2), (3,))), CALL)
    assert [len(vector) for vector in tokens.vectors] == [256, 256]
    images = ImageEmbeddingsRequest(inputs=(ImageInput(image="data:,x"), ImageInput(text="t")))
    assert len((await backend.embed_images(images, CALL)).vectors) == 2


async def test_it_is_made_under_the_deployments_name_and_limits() -> None:
    model = EngineModel(
        name="ci",
        stored=StoredModel(card=CARD, files={}),
        capabilities=Capabilities(operations=frozenset({"embeddings"})),
    )
    backend = create(model)
    await backend.open()
    assert backend.info.model_name == "ci"
    assert backend.capabilities.operations == frozenset(["embeddings"])
    assert backend.capabilities.embedding_length == 64
    await backend.close()
