"""Text embeddings on the Gemini API's ``batchEmbedContents``.

Source: Gemini API reference, *Embeddings*.
"""

from typing import Any

import msgspec

from interlingua.errors import UpstreamError
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest
from interlingua.types.explain import wrong
from interlingua.types.usage import Usage

from .encodings import decode_vector
from .gemini_reply import read_stated
from .reply_wire import decode_reply

_TASKS = {"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}


class _Vector(msgspec.Struct, frozen=True):
    values: list[float] = []


class _Usage(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: int = 0


class _Reply(msgspec.Struct, frozen=True, rename="camel"):
    embeddings: tuple[_Vector, ...] | None = None
    usage_metadata: _Usage = _Usage()
    error: object = None


_DECODER = msgspec.json.Decoder(_Reply)


def write_embeddings(request: EmbeddingsRequest, model: str | None) -> dict[str, Any]:
    """The body's fields: one request an input.

    Raises:
        InvalidValue: an input is a list of token ids.
    """
    rest = {
        "taskType": _TASKS.get(request.input_type or "text"),
        "outputDimensionality": request.dimensions,
    }
    said = {name: value for name, value in rest.items() if value is not None}
    requests = []
    for place, text in enumerate(request.inputs):
        if not isinstance(text, str):
            raise wrong(("body", "input", place), "a string: this model takes no token ids")
        requests.append(
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **said}
        )
    return {"requests": requests}


def read_embeddings(body: bytes) -> Embeddings:
    """The vectors, in the order of the inputs.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    reply = decode_reply(_DECODER, body)
    if reply.error is not None:
        raise read_stated(reply.error)
    if reply.embeddings is None:
        raise UpstreamError("The reply has no embeddings.")
    vectors = tuple(decode_vector(vector.values) for vector in reply.embeddings)
    return Embeddings(vectors=vectors, usage=Usage(reply.usage_metadata.prompt_token_count))
