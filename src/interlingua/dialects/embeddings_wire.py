"""Text and image embeddings: the requests' bodies and the reply.

Source: Azure EmbeddingsOptions, ImageEmbeddingsOptions, EmbeddingsResult; OpenAI "Create
embeddings".
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua.errors import InvalidValue, UpstreamError
from interlingua.types.embeddings import (
    MAX_INPUTS,
    Embeddings,
    EmbeddingsRequest,
    ImageEmbeddingsRequest,
    ImageInput,
)
from interlingua.types.models import EncodingFormat, InputType
from interlingua.types.usage import Usage

from .base import Reply
from .encodings import Encoded, decode_vector, encode_vector, numbers
from .error_wire import read_stated
from .reply_wire import UsageOut, UsageWire, decode_reply, encoded, read_usage
from .sampling_wire import ModelName, write_fields
from .texts_wire import Texts, read_texts


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    model: ModelName = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None,
        Meta(description="The length of the vectors, where the model has several."),
    ] = None
    encoding_format: Annotated[
        EncodingFormat | None, Meta(description="How the vectors are written; float by default.")
    ] = None
    input_type: Annotated[
        InputType | None,
        Meta(description="What the inputs are for, where the model makes a difference."),
    ] = None


class EmbeddingsBody(_Options, frozen=True, kw_only=True):
    """What both APIs know, save that ``input_type`` is Azure's alone; any other name is an extra
    parameter.
    """

    input: Annotated[Texts, Meta(description="What is to be embedded: one vector each.")]


_IMAGE = (
    "A data: URL of a PNG, JPEG, WebP or GIF image; a remote one where the server's setting "
    "remote_images lists its host."
)


class _ImageItem(msgspec.Struct, frozen=True):
    image: Annotated[Annotated[str, Meta(min_length=1)] | None, Meta(description=_IMAGE)] = None
    text: Annotated[str | None, Meta(description="For models of images and texts.")] = None


class ImageEmbeddingsBody(_Options, frozen=True, kw_only=True):
    """What the Azure AI Model Inference API knows; any other name is an extra parameter."""

    input: Annotated[
        tuple[_ImageItem, ...],
        Meta(min_length=1, max_length=MAX_INPUTS, description="One vector each."),
    ]


class _Item(msgspec.Struct, frozen=True):
    index: int
    object: Literal["embedding"]
    embedding: Encoded


class EmbeddingsReply(msgspec.Struct, frozen=True, kw_only=True):
    """A vector for each input, in the inputs' order."""

    id: str | UnsetType
    object: Literal["list"] = "list"
    model: Annotated[str, Meta(description="The deployment that answered.")]
    data: Sequence[_Item]
    usage: UsageOut


class _ItemIn(msgspec.Struct, frozen=True):
    embedding: str | list[float]
    index: int | None = None


class _ListIn(msgspec.Struct, frozen=True):
    data: tuple[_ItemIn, ...] | None = None
    usage: UsageWire | None = None
    error: object = None


_DECODER = msgspec.json.Decoder(_ListIn)


def read_embeddings(body: EmbeddingsBody, extra: Mapping[str, object]) -> EmbeddingsRequest:
    """The request, with every parameter judged.

    Raises:
        InvalidValue: kinds of inputs are mixed, or there are too many.
    """
    fields = msgspec.structs.asdict(body)
    fields["inputs"] = read_texts(fields.pop("input"), "input")
    return EmbeddingsRequest(**fields, extra=extra)


def read_image_embeddings(
    body: ImageEmbeddingsBody, extra: Mapping[str, object]
) -> ImageEmbeddingsRequest:
    """The request, with every parameter judged.

    Raises:
        InvalidValue: an input has neither image nor text.
    """
    for place, item in enumerate(body.input):
        if item.image is None and item.text is None:
            location = ("body", "input", place, "image")
            raise InvalidValue(
                f"input[{place}].image is required: a data: URL of a PNG, JPEG, WebP or GIF image.",
                location=location,
            )
    fields = msgspec.structs.asdict(body)
    fields["inputs"] = tuple(
        ImageInput(image=item.image, text=item.text) for item in fields.pop("input")
    )
    return ImageEmbeddingsRequest(**fields, extra=extra)


def write_embeddings(request: EmbeddingsRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    fields = write_fields(request)
    fields["input"] = fields.pop("inputs")
    if model is not None:
        fields["model"] = model
    return fields


def write_image_embeddings(request: ImageEmbeddingsRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    fields = write_fields(request)
    fields["input"] = [write_fields(item) for item in fields.pop("inputs")]
    if model is not None:
        fields["model"] = model
    return fields


def write_embeddings_reply(
    embeddings: Embeddings, encoding: EncodingFormat | None, reply: Reply, *, has_id: bool
) -> bytes:
    """The reply's body. OpenAI's has no id."""
    data = [
        _Item(
            index,
            "embedding",
            encode_vector(vector, encoding or "float")
            if embeddings.encoding is None
            else [int(number) for number in numbers(vector)],
        )
        for index, vector in enumerate(embeddings.vectors)
    ]
    prompt_tokens = embeddings.usage.prompt_tokens
    return encoded(
        EmbeddingsReply(
            id=reply.id if has_id else UNSET,
            model=reply.model,
            data=data,
            usage=UsageOut(prompt_tokens=prompt_tokens, total_tokens=prompt_tokens),
        )
    )


def read_embeddings_reply(body: bytes) -> Embeddings:
    """A provider's vectors, in the order of the inputs.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    reply = decode_reply(_DECODER, body)
    if reply.error is not None:
        raise read_stated(reply.error)
    if reply.data is None:
        raise UpstreamError("The reply has no data.")
    order = [place if item.index is None else item.index for place, item in enumerate(reply.data)]
    if sorted(order) != list(range(len(order))):
        raise UpstreamError("The reply's vectors don't count from 0.")
    vectors = [b""] * len(order)
    for place, item in zip(order, reply.data, strict=True):
        vectors[place] = decode_vector(item.embedding)
    usage = read_usage(reply.usage) if reply.usage else Usage()
    if reply.usage and not usage.prompt_tokens:
        # Voyage and Jina tell the total alone.
        usage = Usage(reply.usage.total_tokens or 0)
    return Embeddings(vectors=tuple(vectors), usage=usage)
