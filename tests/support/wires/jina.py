"""Jina's wire.

Source: Jina AI Search Foundation API: embeddings.
"""

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, json_reply
from .script import LENGTH, Served, authorized, vector

_KNOWN = frozenset(
    [
        "model", "input", "task", "dimensions", "late_chunking", "normalized", "embedding_type",
        "truncate",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (Served("embedding"), Served("image-embedding"))


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers):
        return json_reply({"detail": "Invalid API key"}, 401)
    body = request.json()
    extra = [name for name in body if name not in _KNOWN]
    if extra:
        detail = [{"type": "extra_forbidden", "loc": ["body", extra[0]], "msg": "Extra inputs"}]
        return json_reply({"detail": detail}, 422)
    if not request.path.endswith("/embeddings"):
        return json_reply({"detail": "Not Found"}, 404)
    inputs = body["input"]
    assert isinstance(inputs, list)
    length = body.get("dimensions") or LENGTH
    assert isinstance(length, int)
    data = [
        {"object": "embedding", "index": place, "embedding": vector(str(each), length)}
        for place, each in enumerate(inputs)
    ]
    usage = {"total_tokens": len(data), "prompt_tokens": len(data)}
    return json_reply({"model": "theirs", "object": "list", "usage": usage, "data": data})
