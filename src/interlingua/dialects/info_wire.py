"""Model information, and the three spellings of ``model_type``.

Source: Azure ModelInfo, whose specification, documentation and live service spelled the types
differently. Every spelling here is one that the official ``load_client`` takes for its type.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from interlingua.errors import UpstreamError
from interlingua.types.models import ModelInfo, ModelType

from .base import ModelTypeSpelling
from .error_wire import read_stated
from .reply_wire import decode_reply, encoded

_SPELLINGS: dict[ModelTypeSpelling, dict[ModelType, str]] = {
    # The live service said "embedding" of image models too; load_client then made the wrong
    # client, so they have the spelling that it takes for an image client.
    "service": {
        "chat-completion": "chat-completion",
        "embedding": "embedding",
        "image-embedding": "image-embedding",
        "text-generation": "text-generation",
    },
    "documentation": {
        "chat-completion": "chat-completions",
        "embedding": "embeddings",
        "image-embedding": "image-embeddings",
        "text-generation": "text-generation",
    },
    "enum": {
        "chat-completion": "chat_completion",
        "embedding": "embeddings",
        "image-embedding": "image_embeddings",
        "text-generation": "text_generation",
    },
}

#: After lower case, hyphens for the rest, and without a plural's s.
_TYPES: dict[str, ModelType] = {
    "chat-completion": "chat-completion",
    "chat": "chat-completion",
    "completion": "chat-completion",
    "embedding": "embedding",
    "text-embedding": "embedding",
    "image-embedding": "image-embedding",
    "text-generation": "text-generation",
}


class InfoReply(msgspec.Struct, frozen=True):
    """Which model answers, and of which type it is."""

    model_name: Annotated[str, Meta(description="A name that calls may ask for.")]
    model_type: Annotated[
        str,
        Meta(
            description="The setting `model_type` of the server decides on the spelling.",
            extra_json_schema={
                "enum": sorted({word for words in _SPELLINGS.values() for word in words.values()})
            },
        ),
    ]
    model_provider_name: str


class _InfoIn(msgspec.Struct, frozen=True):
    model_name: str | None = None
    model_type: str | None = None
    model_provider_name: str | None = None
    error: object = None


_DECODER = msgspec.json.Decoder(_InfoIn)


def write_info(info: ModelInfo, spelling: ModelTypeSpelling) -> bytes:
    kind = _SPELLINGS[spelling][info.model_type]
    return encoded(InfoReply(info.model_name, kind, info.model_provider_name))


def read_info(body: bytes) -> ModelInfo:
    """What an endpoint says of its model, in any spelling.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    info = decode_reply(_DECODER, body)
    if info.error is not None:
        raise read_stated(info.error)
    spelled = (info.model_type or "").lower().replace("_", "-").replace(" ", "-")
    kind = _TYPES.get(spelled.removesuffix("s"))
    if kind is None:
        raise UpstreamError("The reply names no type of model that this API knows.")
    return ModelInfo(
        model_name=info.model_name or "",
        model_type=kind,
        model_provider_name=info.model_provider_name or "",
    )
