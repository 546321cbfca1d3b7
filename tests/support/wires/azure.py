"""The Azure AI Model Inference API, as managed online endpoints speak it.

Source: Azure AI Model Inference REST reference; the scoring containers' own server: an unknown
name without ``extra-parameters`` is 400, an api-version is always sent, usage comes on the last
choice's chunk, unasked.
"""

from typing import Any

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, error, json_reply
from . import openai
from .script import KEY, Served, vector

_QUIRKS = openai.Quirks(types=(), usage="last", calls="whole", reasoning="reasoning_content")
_KNOWN = frozenset(
    [
        "messages",
        "model",
        "frequency_penalty",
        "presence_penalty",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "stream",
        "response_format",
        "tools",
        "tool_choice",
        "seed",
        "modalities",
        "user_security_context",
        "prompt",
        "input",
        "dimensions",
        "encoding_format",
        "input_type",
    ]
)


def served(row: Row) -> tuple[Served, ...]:
    del row
    version = {"api_version": "2025-04-01"}
    return (
        Served("chat-completion", settings=version, capabilities={"reasoning": True}),
        Served("embedding"),
        Served("image-embedding"),
    )


def answer(row: Row, request: Request) -> Reply:
    del row
    if request.headers.get("api-key") != KEY:
        return error(401, "Unauthorized", "Auth token validation failed")
    if "api-version" not in request.query:
        return error(400, "BadRequest", "api-version is missing")
    body = request.json()
    policy = request.headers.get("extra-parameters", "error")
    extra = [name for name in body if name not in _KNOWN]
    if extra and policy == "error":
        return json_reply({"detail": f"Extra parameters {extra} are not allowed"}, 400)
    if request.path.endswith("/chat/completions"):
        return openai.chat(body, _QUIRKS)
    if request.path.endswith("/images/embeddings"):
        return _images(body)
    if request.path.endswith("/completions"):
        return openai.completion(body, _QUIRKS)
    if request.path.endswith("/embeddings"):
        return openai.embeddings(body)
    return error(404, "404", "Resource not found")


def _images(body: dict[str, Any]) -> Reply:
    length = body.get("dimensions") or 16
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": vector(str(item.get("image")) + str(item.get("text")), length),
        }
        for place, item in enumerate(body["input"])
    ]
    count = {"prompt_tokens": len(data), "total_tokens": len(data)}
    return json_reply({"object": "list", "model": "theirs", "data": data, "usage": count})
