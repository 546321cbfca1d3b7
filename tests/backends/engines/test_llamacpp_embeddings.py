"""Text embeddings of a real GGUF model."""

import math
from array import array
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from interlingua.backends.engines.llamacpp import LlamaCpp
from interlingua.backends.engines.llamacpp_embeddings import shortened
from interlingua.catalog.card import Card, StoredModel, TextEmbedding
from interlingua.errors import ContextLengthExceeded, InvalidValue, ParameterNotSupported
from interlingua.types.embeddings import EmbeddingsRequest

from ...support.engines import CALL, backend, opened
from ...support.tiny_phi3 import build_tiny_phi3

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_phi3(tmp_path_factory.mktemp("embedding") / "tiny.gguf")


def stored(path: Path, how: TextEmbedding | None) -> StoredModel:
    card = Card(
        name="tiny",
        title="Tiny",
        publisher="test",
        type="embedding",
        license="Apache-2.0",
        text_embedding=how,
    )
    return StoredModel(card=card, files={"model": path})


@pytest.fixture(scope="module")
async def engine(path: Path) -> AsyncGenerator[LlamaCpp]:
    how = TextEmbedding(max_tokens=64, prefixes={"query": "query: "})
    async with opened(stored(path, how)) as engine:
        yield engine


async def embed(engine: LlamaCpp, *inputs: object, **fields: object):
    request = EmbeddingsRequest(inputs=inputs, **fields)
    return await engine.embed(request, CALL)


def values(vector: bytes) -> array:
    return array("f", vector)


def likeness(a: bytes, b: bytes) -> float:
    return sum(x * y for x, y in zip(values(a), values(b), strict=True))


async def test_every_input_has_a_vector_of_length_one(engine):
    found = await embed(engine, *(f"text {i}" for i in range(70)))
    assert len(found.vectors) == 70
    assert {len(vector) for vector in found.vectors} == {4 * 384}
    assert all(math.isclose(likeness(v, v), 1, rel_tol=1e-4) for v in found.vectors)
    assert found.usage.prompt_tokens > 70 * 5
    assert found.usage.total_tokens == found.usage.prompt_tokens


async def test_the_order_of_the_inputs_is_kept(engine):
    both = (await embed(engine, "aaaa", "x" * 500, "bbbb")).vectors
    alone = [(await embed(engine, text)).vectors[0] for text in ("aaaa", "x" * 500, "bbbb")]
    assert all(likeness(a, b) > 0.999 for a, b in zip(both, alone, strict=True))
    assert likeness(both[0], both[2]) < 0.99


async def test_token_ids_are_taken(engine):
    ids = await engine._embeddings._server.tokenize("hello", control=True, begin=True)
    by_ids, by_text = await embed(engine, tuple(ids)), await embed(engine, "hello")
    assert likeness(by_ids.vectors[0], by_text.vectors[0]) > 0.999
    assert by_ids.usage.prompt_tokens == len(ids)


async def test_a_prefix_goes_before_a_text_of_its_type(engine):
    prefixed = (await embed(engine, "hello", input_type="query")).vectors[0]
    by_hand = (await embed(engine, "query: hello", input_type="text")).vectors[0]
    assert likeness(prefixed, by_hand) > 0.999
    with pytest.raises(ParameterNotSupported) as raised:
        await embed(engine, "hello", input_type="document")
    assert raised.value.param == "input_type"


async def test_control_tokens_in_a_text_are_plain_text(engine):
    (end,) = await engine._embeddings._server.tokenize("<|end|>", control=True)
    assert (await embed(engine, "<|end|>")).usage.prompt_tokens > 5
    assert (await embed(engine, (end,))).usage.prompt_tokens == 1


async def test_dimensions_shorten_to_length_one_again(engine):
    whole = (await embed(engine, "hello")).vectors[0]
    short = (await embed(engine, "hello", dimensions=8)).vectors[0]
    assert len(values(short)) == 8
    assert math.isclose(likeness(short, short), 1, rel_tol=1e-4)
    assert short == shortened(whole, 8)


def test_a_vector_of_nothing_stays_nothing():
    assert shortened(bytes(16), 2) == bytes(8)


async def test_too_long_a_text_follows_the_card(engine, path):
    found = await embed(engine, "x" * 1000)
    assert found.usage.prompt_tokens == 64
    how = TextEmbedding(max_tokens=64, too_long="refuse")
    async with opened(stored(path, how)) as refusing:
        with pytest.raises(ContextLengthExceeded, match="1001 tokens") as raised:
            await embed(refusing, "short", "x" * 1000)
        assert raised.value.param == "input[1]"


@pytest.mark.parametrize(
    ("given", "param"), [("", "input"), ((), "input[0]"), ((10**6,), "input[0]")]
)
async def test_an_input_that_makes_no_sense_is_422(engine, given, param):
    with pytest.raises(InvalidValue) as raised:
        await embed(engine, given)
    assert raised.value.param == param


async def test_what_it_can_do_follows_from_card_and_file(path):
    engine = backend(stored(path, None))
    can = engine.capabilities
    assert can.operations == {"embeddings"}
    assert (can.embedding_length, can.context_length) == (384, 2048)
    assert can.input_types == {"text"}
    assert can.dimensions == frozenset()
