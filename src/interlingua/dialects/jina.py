"""Jina AI's embeddings, as a client speaks them: texts and images go to one address.

Source: Jina AI Search Foundation API: POST /v1/embeddings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from interlingua import sse
from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, InputType

from .base import Target
from .data_url import read_data_url
from .embeddings_wire import read_embeddings_reply
from .error_wire import read_error
from .json_call import post
from .partial import PartialWire
from .vectors_wire import texts_of

_TASKS: dict[InputType, str] = {"query": "retrieval.query", "document": "retrieval.passage"}


class JinaDialect(PartialWire):
    """The client's side of the wire. An input is a text or an image, never both."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"embeddings", "image_embeddings"}),
        parameters=frozenset({"dimensions", "encoding_format", "input_type"}),
        input_types=frozenset({"text", "query", "document"}),
        encoding_formats=frozenset({"float", "base64", "int8", "uint8", "binary", "ubinary"}),
        image_text=False,
        fetches_images=False,
    )

    def event_decoder(self) -> sse.Decoder:
        return sse.Decoder()

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        return _call(request, texts_of(request), target)

    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall:
        images = [
            {"image": read_data_url(item.image or "", ("body", "input", place, "image")).data}
            for place, item in enumerate(request.inputs)
        ]
        return _call(request, images, target)

    def read_embeddings(self, body: bytes) -> Embeddings:
        return read_embeddings_reply(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        # {"detail": …}
        return read_error(status, headers, body)


def _call(
    request: EmbeddingsRequest | ImageEmbeddingsRequest,
    inputs: Sequence[object],
    target: Target,
) -> HttpCall:
    fields: dict[str, Any] = {"input": inputs}
    name = target.model or request.model
    if name is not None:
        fields["model"] = name
    if request.input_type in _TASKS:
        fields["task"] = _TASKS[request.input_type]
    if request.dimensions is not None:
        fields["dimensions"] = request.dimensions
    return post("/embeddings", fields, request.extra, target)
