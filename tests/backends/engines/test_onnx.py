"""Embeddings by real engine processes: the packaged models, and tiny ones built here."""

import asyncio
import base64
import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
from PIL import Image

from interlingua.backends.base import CallContext
from interlingua.backends.engines.model import EngineModel
from interlingua.backends.engines.onnx import OnnxBackend, create
from interlingua.catalog.card import StoredModel
from interlingua.catalog.catalog import require
from interlingua.catalog.local import card_for_path
from interlingua.catalog.store import Store
from interlingua.config.load import data_dir
from interlingua.errors import InvalidValue, ModelFileError, ModelNotReady, Unavailable
from interlingua.types.embeddings import (
    Embeddings,
    EmbeddingsRequest,
    ImageEmbeddingsRequest,
    ImageInput,
)
from interlingua.types.models import Capabilities

from ...support import tiny_clip, tiny_sentence

pytestmark = pytest.mark.anyio

CALL = CallContext(id="a" * 32)


@contextlib.asynccontextmanager
async def running(stored: StoredModel, **rest: object) -> AsyncIterator[OnnxBackend]:
    backend = create(EngineModel(name="tested", stored=stored, **rest))
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def packaged(name: str) -> StoredModel:
    stored = Store(data_dir(None)).get(require(name))
    assert stored, f"{name} isn't pulled: `make` it, or `interlingua models pull --defaults`"
    return stored


@pytest.fixture
def sentences(tmp_path: Path) -> StoredModel:
    prompts = {"query": "query: ", "passage": "passage: "}
    folder = tiny_sentence.build_tiny_sentence(
        tmp_path / "tiny-sentence", prompts=prompts, lengths=(8, 16)
    )
    return card_for_path(folder)


@pytest.fixture
def joint(tmp_path: Path) -> StoredModel:
    return card_for_path(tiny_clip.build_tiny_clip(tmp_path / "tiny-clip"))


def vectors(found: Embeddings) -> np.ndarray:
    return np.stack([np.frombuffer(vector, "<f4") for vector in found.vectors])


async def embed(backend: OnnxBackend, *inputs: object, **rest: object) -> np.ndarray:
    return vectors(await backend.embed(EmbeddingsRequest(inputs=inputs, **rest), CALL))


async def embed_images(backend: OnnxBackend, *inputs: ImageInput) -> np.ndarray:
    return vectors(await backend.embed_images(ImageEmbeddingsRequest(inputs=inputs), CALL))


def url(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def plain(colour: str | tuple[int, int, int]) -> str:
    return url(Image.new("RGB", (40, 30), colour))


async def test_the_packaged_model_tells_meanings_apart() -> None:
    pairs = (
        ("A cat sits on the mat.", "A kitten rests on a rug."),
        ("The stock market fell sharply.", "Share prices dropped a lot."),
        ("How do I reset my password?", "I forgot my login, how can I change it?"),
    )
    async with running(packaged("all-minilm-l6-v2")) as backend:
        found = await embed(backend, *(text for pair in pairs for text in pair))
        assert backend.capabilities.embedding_length == found.shape[1] == 384
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    likeness = found @ found.T
    np.fill_diagonal(likeness, -1)
    assert list(likeness.argmax(axis=1)) == [1, 0, 3, 2, 5, 4]


async def test_company_in_a_run_changes_no_vector() -> None:
    texts = [" ".join(["word", "cat", "market"][: 1 + n % 3] * (1 + n % 7)) for n in range(40)]
    async with running(packaged("all-minilm-l6-v2")) as backend:
        alone = np.stack([(await embed(backend, text))[0] for text in texts])
        together = await embed(backend, *texts)
        apart = await asyncio.gather(*(embed(backend, text) for text in texts))
    assert (alone * together).sum(axis=1).min() > 0.9999
    assert (alone * np.concatenate(apart)).sum(axis=1).min() > 0.9999


async def test_odd_texts_are_answered() -> None:
    odd = (
        "",
        " ",
        "\0",
        "\u202e\ufeff",
        "👩‍👩‍👧‍👦" * 50,
        "a" * 100_000,
        "\ud7ff\uffff",
        "é" * 3,
        "漢字 " * 400,
    )
    async with running(packaged("all-minilm-l6-v2")) as backend:
        found = await backend.embed(EmbeddingsRequest(inputs=odd), CALL)
        assert np.isfinite(vectors(found)).all()
        assert 2 * len(odd) <= found.usage.prompt_tokens <= 256 * len(odd)
        with pytest.raises(InvalidValue) as refused:
            await embed(backend, "fine", "\ud800")
        assert refused.value.location == ("body", "input", 1)
        with pytest.raises(InvalidValue) as refused:
            await embed(backend, (5,), (5,), (2**70,))
        assert refused.value.location == ("body", "input", 2)


async def test_two_thousand_texts_are_answered_and_hold_a_single_one_not_up(
    sentences: StoredModel,
) -> None:
    async with running(sentences) as backend:
        many = asyncio.create_task(embed(backend, *["the cat sat"] * 2048))
        one = await embed(backend, "dog")
        assert one.shape == (1, tiny_sentence.LENGTH)
        assert (await many).shape == (2048, tiny_sentence.LENGTH)


async def test_a_tiny_export_is_served_with_its_prefixes_and_lengths(
    sentences: StoredModel,
) -> None:
    async with running(sentences) as backend:
        can = backend.capabilities
        assert can.operations == {"embeddings"}
        assert can.parameters == {"dimensions", "encoding_format", "input_type"}
        assert (can.dimensions, can.embedding_length) == ({8, 16}, tiny_sentence.LENGTH)
        assert can.input_types == {"text", "query", "document"}
        assert can.image_text is False
        cat, kitten, market = await embed(backend, "the cat", "a kitten", "the market")
        assert cat @ kitten > 0.5 > cat @ market
        short = await embed(backend, "the cat", dimensions=8)
        assert short[0] == pytest.approx(cat[:8] / np.linalg.norm(cat[:8]), abs=1e-6)
        query = await backend.embed(
            EmbeddingsRequest(inputs=("the cat",), input_type="query"), CALL
        )
        assert query.usage.prompt_tokens == 6
        assert not np.allclose(vectors(query)[0], cat)
        ids = tuple(map(tiny_sentence.words().index, ("the", "cat")))
        assert (await embed(backend, ids))[0] == pytest.approx(cat, abs=1e-6)


async def test_images_and_texts_share_one_space(joint: StoredModel) -> None:
    colours = list(tiny_clip.COLOURS)
    async with running(joint) as backend:
        can = backend.capabilities
        assert can.operations == {"embeddings", "image_embeddings"}
        assert can.image_text is True
        assert can.embedding_length == tiny_clip.LENGTH
        texts = await embed(backend, *(f"a photo of a {colour} thing" for colour in colours))
        images = await embed_images(
            backend, *(ImageInput(image=plain(tiny_clip.COLOURS[name])) for name in colours)
        )
        assert list((images @ texts.T).argmax(axis=1)) == list(range(len(colours)))
        said = await embed_images(backend, ImageInput(text="red"), ImageInput(text="a blue thing"))
        assert said[0] == pytest.approx(texts[colours.index("red")], abs=1e-5)


async def test_an_image_with_a_text_lies_between_them(joint: StoredModel) -> None:
    async with running(joint) as backend:
        request = ImageEmbeddingsRequest(
            inputs=(
                ImageInput(image=plain("red"), text="blue"),
                ImageInput(image=plain("red")),
                ImageInput(text="blue"),
            )
        )
        found = await backend.embed_images(request, CALL)
    both, red, blue = vectors(found)
    assert both == pytest.approx((red + blue) / np.linalg.norm(red + blue), abs=1e-5)
    assert found.usage.prompt_tokens == 6  # two texts of one word, and nothing for pixels


async def test_the_packaged_image_model_tells_pictures_apart() -> None:
    def scene(turn: int) -> Image.Image:
        noise = np.random.default_rng(turn).integers(0, 60, (60, 80, 3), np.uint8)
        noise[20:40, 20 + turn : 50 + turn] += np.array([180, 20, 20], np.uint8)
        return Image.fromarray(noise).resize((320, 240))

    stripes = Image.fromarray(np.tile(np.array([[0], [255]], np.uint8), (120, 320)))
    async with running(packaged("efficientnet-lite0")) as backend:
        assert backend.capabilities.operations == {"image_embeddings"}
        pictures = (scene(0), scene(5), stripes)
        found = await embed_images(backend, *(ImageInput(image=url(one)) for one in pictures))
        jpeg = await embed_images(backend, ImageInput(image=url(scene(0), "JPEG")))
    assert found.shape == (3, 1280)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
    assert found[0] @ jpeg[0] > 0.8


async def test_a_bad_image_names_its_input_and_the_others_go_on(joint: StoredModel) -> None:
    async with running(joint) as backend:
        bad = embed_images(backend, ImageInput(image=plain("red")), ImageInput(image="data:,x"))
        good = embed_images(backend, ImageInput(image=plain("red")))
        results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], InvalidValue)
    assert results[0].location == ("body", "input", 1, "image")
    assert "data:image/png;base64," in results[0].message
    assert isinstance(results[1], np.ndarray)


async def test_a_cancelled_call_frees_the_engine(sentences: StoredModel) -> None:
    async with running(sentences) as backend:
        gone = asyncio.create_task(embed(backend, *["the cat sat on the dog"] * 2048))
        await embed(backend, "cat")
        gone.cancel()
        await asyncio.wait([gone])
        with anyio.fail_after(60):
            assert (await embed(backend, "dog")).shape == (1, tiny_sentence.LENGTH)


async def test_a_killed_engine_fails_its_calls_as_not_ready_and_comes_back(
    sentences: StoredModel,
) -> None:
    async with running(sentences) as backend:
        pid = backend.process.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)  # so that calls are under way when the end comes
        calls = [asyncio.create_task(embed(backend, "cat")) for _ in range(3)]
        await asyncio.wait(calls, timeout=0.5)
        os.kill(pid, signal.SIGKILL)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        # What wasn't sent yet, or went out on a connection that had been used, is sent again.
        for end in ends:
            assert isinstance(end, Unavailable | np.ndarray)
            assert isinstance(end, np.ndarray) or end.retry_after_s
        with anyio.fail_after(60):
            assert (await embed(backend, "dog")).shape == (1, tiny_sentence.LENGTH)
        assert backend.process.pid != pid


@pytest.mark.parametrize(
    ("role", "content"), [("model", b"no graph"), ("tokenizer", b"{}"), ("model", b"")]
)
async def test_a_bad_file_is_named_when_the_model_is_opened(
    sentences: StoredModel, role: str, content: bytes
) -> None:
    sentences.files[role].write_bytes(content)
    with pytest.raises(ModelNotReady) as refused:
        async with running(sentences):
            pass
    assert sentences.files[role].name in refused.value.message


def test_a_model_that_lacks_a_file_is_refused(sentences: StoredModel) -> None:
    lacking = msgspec.structs.replace(sentences, files={"model": sentences.files["model"]})
    with pytest.raises(ModelFileError, match="tokenizer"):
        create(EngineModel(name="tested", stored=lacking))


def test_the_config_overrides_the_card(sentences: StoredModel) -> None:
    stated = Capabilities(dimensions=frozenset({4}), input_types=frozenset({"text"}))
    backend = create(EngineModel(name="mine", stored=sentences, capabilities=stated))
    assert backend.capabilities.dimensions == {4}
    assert backend.capabilities.input_types == {"text"}
    assert backend.capabilities.parameters == {"dimensions", "encoding_format"}
    assert backend.info.model_name == "mine"


def test_the_server_side_imports_no_engine_library() -> None:
    program = (
        "import sys, interlingua.backends.engines.onnx\n"
        "loaded = {'numpy', 'onnxruntime', 'onnx', 'PIL', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(' '.join(loaded) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
