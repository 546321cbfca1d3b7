"""Gemini's own wire.

Source: Gemini API reference, v1beta: generateContent, streamGenerateContent,
batchEmbedContents, errors.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, json_reply
from .script import LENGTH, THOUGHTS, Said, Served, authorized, cut, dumps, say, vector

_STOPS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_KNOWN = frozenset(
    [
        "contents", "systemInstruction", "generationConfig", "tools", "toolConfig",
        "safetySettings", "cachedContent", "requests",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (Served("chat-completion", capabilities={"reasoning": True}), Served("embedding"))


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers):
        return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
    body = request.json()
    extra = [name for name in body if name not in _KNOWN]
    if extra:
        message = f'Invalid JSON payload received. Unknown name "{extra[0]}": Cannot find field.'
        return _error(400, "INVALID_ARGUMENT", message)
    if request.path.endswith(":streamGenerateContent"):
        lines = [f"data: {dumps(event)}\r\n\r\n".encode() for event in _events(_said(body))]
        pieces = tuple(piece for line in lines for piece in cut(line))
        return Reply(pieces, content_type="text/event-stream")
    if request.path.endswith(":generateContent"):
        return json_reply(_whole(_said(body)))
    if request.path.endswith(":batchEmbedContents"):
        return _embeddings(body)
    return _error(404, "NOT_FOUND", "Not found")


def _error(status: int, kind: str, message: str) -> Reply:
    return json_reply({"error": {"code": status, "message": message, "status": kind}}, status)


def _said(body: Mapping[str, Any]) -> Said:
    texts = [
        " ".join(str(part.get("text", "")) for part in content["parts"])
        for content in body["contents"]
    ]
    settings = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    tool = None
    if calling.get("mode") == "ANY":
        tool = body["tools"][0]["functionDeclarations"][0]["name"]
    return say(
        texts,
        limit=settings.get("maxOutputTokens"),
        stop=settings.get("stopSequences") or (),
        as_json="responseMimeType" in settings,
        tool=tool,
        calls=2,
    )


def _events(said: Said) -> Iterator[dict[str, object]]:
    def event(part: dict[str, object], done: int, end: str | None = None) -> dict[str, object]:
        candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
        usage = {
            "promptTokenCount": said.prompt_tokens,
            "candidatesTokenCount": done,
            "totalTokenCount": said.prompt_tokens + done,
        }
        ended = {} if end is None else {"finishReason": end}
        return {
            "candidates": [{**candidate, **ended}],
            "usageMetadata": usage,
            "modelVersion": "theirs",
            "responseId": "r1",
        }

    for thought in THOUGHTS:
        yield event({"text": thought, "thought": True}, 0)
    for place, word in enumerate(said.words):
        yield event({"text": word}, place + 1)
    for text in said.arguments:
        call = {"name": said.tool, "args": json.loads(text)}
        yield event({"functionCall": call}, said.completion_tokens)
    yield event({"text": ""}, said.completion_tokens, _STOPS[said.finish])


def _whole(said: Said) -> dict[str, object]:
    parts: list[dict[str, object]] = [{"text": "".join(THOUGHTS), "thought": True}]
    if said.text:
        parts.append({"text": said.text})
    parts += [{"functionCall": {"name": said.tool, "args": json.loads(a)}} for a in said.arguments]
    candidate = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": _STOPS[said.finish],
        "index": 0,
    }
    usage = {
        "promptTokenCount": said.prompt_tokens,
        "candidatesTokenCount": said.completion_tokens,
        "totalTokenCount": said.prompt_tokens + said.completion_tokens,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": "theirs",
        "responseId": "r1",
    }


def _embeddings(body: Mapping[str, Any]) -> Reply:
    listed = [
        {"values": vector(_text(each), each.get("outputDimensionality") or LENGTH)}
        for each in body["requests"]
    ]
    return json_reply({"embeddings": listed, "usageMetadata": {"promptTokenCount": len(listed)}})


def _text(request: Mapping[str, Any]) -> str:
    return " ".join(part["text"] for part in request["content"]["parts"])
