"""Voyage AI's embeddings, as a client speaks them.

Source: Voyage AI API reference: Text embeddings, Multimodal embeddings.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from interlingua import sse
from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.embeddings import (
    Embeddings,
    EmbeddingsRequest,
    ImageEmbeddingsRequest,
    ImageInput,
)
from interlingua.types.models import Capabilities

from .base import Target
from .data_url import read_data_url
from .embeddings_wire import read_embeddings_reply
from .error_wire import read_error
from .json_call import post
from .partial import PartialWire
from .vectors_wire import texts_of


class VoyageDialect(PartialWire):
    """The client's side of the wire."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"embeddings", "image_embeddings"}),
        parameters=frozenset({"dimensions", "encoding_format", "input_type"}),
        input_types=frozenset({"text", "query", "document"}),
        encoding_formats=frozenset({"float", "base64", "int8", "uint8", "binary", "ubinary"}),
        image_text=True,
        fetches_images=False,
    )

    def event_decoder(self) -> sse.Decoder:
        return sse.Decoder()

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        fields = _write_options(request, target.model)
        encoding = request.encoding_format
        if encoding == "base64":
            fields["encoding_format"] = encoding
        elif encoding is not None:
            fields["output_dtype"] = encoding
        fields["input"] = texts_of(request)
        return post("/embeddings", fields, request.extra, target)

    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall:
        fields = _write_options(request, target.model)
        fields["inputs"] = [
            {"content": _write_item(item, place)} for place, item in enumerate(request.inputs)
        ]
        return post("/multimodalembeddings", fields, request.extra, target)

    def read_embeddings(self, body: bytes) -> Embeddings:
        return read_embeddings_reply(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        # {"detail": …}
        return read_error(status, headers, body)


def _write_options(
    request: EmbeddingsRequest | ImageEmbeddingsRequest, model: str | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        fields["model"] = name
    if request.input_type in {"query", "document"}:
        fields["input_type"] = request.input_type
    if request.dimensions is not None:
        fields["output_dimension"] = request.dimensions
    return fields


def _write_item(item: ImageInput, place: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if item.text is not None:
        content.append({"type": "text", "text": item.text})
    if item.image is not None:
        kind, data = read_data_url(item.image, ("body", "input", place, "image"))
        content.append({"type": "image_base64", "image_base64": f"data:{kind};base64,{data}"})
    return content
