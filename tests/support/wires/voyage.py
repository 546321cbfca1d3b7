"""Voyage's wire.

Source: Voyage AI API reference: text embeddings, multimodal embeddings.
"""

from collections.abc import Mapping
from typing import Any

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, json_reply
from .script import LENGTH, Served, authorized, encoded, vector

_KNOWN = frozenset(
    [
        "model", "input", "inputs", "input_type", "truncation", "output_dimension",
        "output_dtype", "encoding_format", "output_encoding",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (Served("embedding"), Served("image-embedding"))


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers):
        return json_reply({"detail": "Provided API key is invalid."}, 401)
    body = request.json()
    extra = [name for name in body if name not in _KNOWN]
    if extra:
        return json_reply({"detail": f"Argument '{extra[0]}' is not supported by our API"}, 400)
    if request.path.endswith(("/embeddings", "/multimodalembeddings")):
        return _vectors(body)
    return json_reply({"detail": "Not Found"}, 404)


def _vectors(body: Mapping[str, Any]) -> Reply:
    inputs = body["input"] if "input" in body else body["inputs"]
    inputs = inputs if isinstance(inputs, list) else [inputs]
    kind = body.get("encoding_format") or body.get("output_dtype") or "float"
    length = body.get("output_dimension") or LENGTH
    data = [
        {
            "object": "embedding",
            "embedding": encoded(vector(str(each), length), kind),
            "index": place,
        }
        for place, each in enumerate(inputs)
    ]
    usage = {"total_tokens": len(data)}
    return json_reply({"object": "list", "data": data, "model": "theirs", "usage": usage})
