"""Voyage's and Jina's embeddings: golden requests and replies."""

import json
import struct

import pytest

from interlingua.dialects.base import ClientDialect, Target
from interlingua.dialects.jina import JinaDialect
from interlingua.dialects.voyage import VoyageDialect
from interlingua.errors import InvalidValue, ParameterNotSupported, RateLimited
from interlingua.types.embeddings import (
    Embeddings,
    EmbeddingsRequest,
    ImageEmbeddingsRequest,
    ImageInput,
)
from interlingua.types.usage import Usage

from .wires import golden

VOYAGE, JINA = VoyageDialect(), JinaDialect()
BOTH: tuple[ClientDialect, ...] = (VOYAGE, JINA)
PNG = "data:image/png;base64,iVBORw0KGgo="
JPEG = "data:image/jpeg;base64,/9j/4AAQSkZJRg=="
VECTORS = (struct.pack("<2f", 0.5, -0.25), struct.pack("<2f", 0.125, 1.0))


def test_voyage_embeds_texts() -> None:
    request = EmbeddingsRequest(
        inputs=("Sample text 1", "Sample text 2"),
        input_type="document",
        dimensions=256,
        encoding_format="uint8",
        extra={"truncation": False},
    )
    call = VOYAGE.write_embeddings_call(request, Target(model="voyage-3.5"))
    assert json.loads(call.body) == json.loads(golden("voyage_embeddings_request.json"))
    assert call.path == "/embeddings"
    assert VOYAGE.read_embeddings(golden("voyage_embeddings_reply.json")) == Embeddings(
        vectors=VECTORS, usage=Usage(10)
    )
    plain = EmbeddingsRequest(inputs=("a",), input_type="text", encoding_format="base64", model="m")
    assert json.loads(VOYAGE.write_embeddings_call(plain, Target()).body) == {
        "input": ["a"],
        "model": "m",
        "encoding_format": "base64",
    }


def test_voyage_embeds_images() -> None:
    request = ImageEmbeddingsRequest(
        inputs=(ImageInput(image=JPEG, text="This is a banana."), ImageInput(image=PNG)),
        input_type="query",
    )
    call = VOYAGE.write_image_embeddings_call(request, Target(model="voyage-multimodal-3.5"))
    assert json.loads(call.body) == json.loads(golden("voyage_multimodal_request.json"))
    assert call.path == "/multimodalembeddings"
    assert VOYAGE.read_embeddings(golden("voyage_multimodal_reply.json")).usage == Usage(3576)


def test_jina_embeds_texts() -> None:
    request = EmbeddingsRequest(
        inputs=("Organic skincare", "Neue Make-up-Trends"),
        input_type="document",
        dimensions=512,
        extra={"late_chunking": True},
    )
    call = JINA.write_embeddings_call(request, Target(model="jina-embeddings-v3"))
    assert json.loads(call.body) == json.loads(golden("jina_embeddings_request.json"))
    assert JINA.read_embeddings(golden("jina_embeddings_reply.json")) == Embeddings(
        vectors=VECTORS, usage=Usage(14)
    )
    plain = EmbeddingsRequest(inputs=("a",), input_type="text", model="m")
    assert json.loads(JINA.write_embeddings_call(plain, Target()).body) == {
        "input": ["a"],
        "model": "m",
    }


def test_jina_embeds_images_at_the_same_address() -> None:
    request = ImageEmbeddingsRequest(
        inputs=(ImageInput(image=PNG), ImageInput(image=JPEG)), input_type="query"
    )
    call = JINA.write_image_embeddings_call(request, Target(model="jina-clip-v2"))
    assert json.loads(call.body) == json.loads(golden("jina_image_request.json"))
    assert call.path == "/embeddings"


@pytest.mark.parametrize("dialect", BOTH)
def test_what_neither_takes_is_named(dialect: ClientDialect) -> None:
    with pytest.raises(ParameterNotSupported):
        dialect.write_embeddings_call(EmbeddingsRequest(inputs=((1, 2),)), Target())
    remote = ImageEmbeddingsRequest(inputs=(ImageInput(image="https://x/y.png"),))
    with pytest.raises(InvalidValue) as caught:
        dialect.write_image_embeddings_call(remote, Target())
    assert caught.value.param == "input[0].image"


@pytest.mark.parametrize("dialect", BOTH)
def test_failures_are_told_by_their_status(dialect: ClientDialect) -> None:
    error = dialect.read_error(429, {}, b'{"detail": "You are too fast."}')
    assert (type(error), error.message) == (RateLimited, "You are too fast.")
    assert dialect.event_decoder().finish() == []


@pytest.mark.parametrize(
    ("dialect", "name"), [(VOYAGE, "output_dimension"), (JINA, "dimensions"), (JINA, "input")]
)
def test_what_is_said_already_is_not_passed_through(dialect: ClientDialect, name: str) -> None:
    request = EmbeddingsRequest(inputs=("a",), dimensions=2, extra={name: 3})
    with pytest.raises(InvalidValue) as caught:
        dialect.write_embeddings_call(request, Target())
    assert caught.value.param == name
