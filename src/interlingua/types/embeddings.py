"""Text and image embeddings: requests, and vectors as packed float32."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from .models import EncodingFormat, InputType
from .usage import Usage

MAX_INPUTS = 2048


class _EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    encoding_format: EncodingFormat | None = None
    input_type: InputType | None = None
    #: Top-level fields that the dialect doesn't know, as decoded JSON.
    extra: Mapping[str, object] = {}


class EmbeddingsRequest(_EmbeddingsRequest, frozen=True, kw_only=True):
    """1 to 2,048 texts, or lists of token ids, to be embedded."""

    inputs: tuple[str, ...] | tuple[tuple[int, ...], ...]


class ImageInput(msgspec.Struct, frozen=True, kw_only=True):
    """``image`` is a ``data:`` URL or, where the config allows, a remote one.

    At least one of the two is given; both together make one joint vector.
    """

    image: str | None = None
    text: str | None = None


class ImageEmbeddingsRequest(_EmbeddingsRequest, frozen=True, kw_only=True):
    """1 to 2,048 images to be embedded."""

    inputs: tuple[ImageInput, ...]


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """One vector an input, in order: each is little-endian float32, ``4 * length`` bytes.

    ``encoding``: the numbers are already those of this encoding, as the model's provider makes
    them; ``None``: they are of full precision.
    """

    vectors: tuple[bytes, ...]
    encoding: EncodingFormat | None = None
    usage: Usage = Usage()
