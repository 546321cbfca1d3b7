"""Cohere's own wire, v2.

Source: Cohere API reference: Chat (v2), Chat with streaming (v2), Embed (v2), errors.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, json_reply
from .script import (
    LENGTH,
    THOUGHTS,
    Said,
    Served,
    authorized,
    encoded,
    named_events,
    say,
    vector,
)

_STOPS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
_CHAT = frozenset(
    [
        "model", "messages", "stream", "tools", "tool_choice", "strict_tools", "documents",
        "citation_options", "response_format", "safety_mode", "max_tokens", "stop_sequences",
        "temperature", "seed", "frequency_penalty", "presence_penalty", "k", "p", "logprobs",
        "thinking", "priority",
    ]
)  # fmt: skip
_EMBED = frozenset(
    [
        "model", "texts", "images", "inputs", "input_type", "embedding_types", "truncate",
        "output_dimension", "max_tokens", "priority",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (
        Served("chat-completion", capabilities={"reasoning": True}),
        Served("embedding"),
        Served("image-embedding"),
    )


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers):
        return json_reply({"id": "1", "message": "invalid api token"}, 401)
    body = request.json()
    known = _CHAT if request.path.endswith("/chat") else _EMBED
    extra = [name for name in body if name not in known]
    if extra:
        return json_reply({"id": "1", "message": f"unknown field: parameter '{extra[0]}'"}, 422)
    if request.path.endswith("/chat"):
        if not body.get("stream"):
            return json_reply(_whole(_said(body)))
        return Reply(named_events(*_events(_said(body))), content_type="text/event-stream")
    if request.path.endswith("/embed"):
        return _embed(body)
    return json_reply({"id": "1", "message": "not found"}, 404)


def _said(body: Mapping[str, Any]) -> Said:
    texts = [_text(message.get("content")) for message in body["messages"]]
    tool = body["tools"][0]["function"]["name"] if body.get("tool_choice") == "REQUIRED" else None
    return say(
        texts,
        limit=body.get("max_tokens"),
        stop=body.get("stop_sequences") or (),
        as_json=(body.get("response_format") or {}).get("type") == "json_object",
        tool=tool,
        calls=2,
    )


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", part["type"])) for part in content)
    return content or ""


def _whole(said: Said) -> dict[str, object]:
    content: list[dict[str, object]] = [{"type": "thinking", "thinking": "".join(THOUGHTS)}]
    if said.text:
        content.append({"type": "text", "text": said.text})
    message: dict[str, object] = {"role": "assistant", "content": content}
    if said.arguments:
        message["tool_calls"] = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {"name": said.tool, "arguments": text},
            }
            for place, text in enumerate(said.arguments)
        ]
    counted = {"input_tokens": said.prompt_tokens, "output_tokens": said.completion_tokens}
    return {
        "id": "1",
        "finish_reason": _STOPS[said.finish],
        "message": message,
        "usage": {"billed_units": counted, "tokens": counted},
    }


def _events(said: Said) -> Iterator[tuple[str, object]]:
    def event(kind: str, index: int, message: object) -> tuple[str, object]:
        return kind, {"type": kind, "index": index, "delta": {"message": message}}

    yield "message-start", {"id": "1", "type": "message-start", "delta": {"message": {}}}
    for thought in THOUGHTS:
        yield event("content-delta", 0, {"content": {"thinking": thought}})
    for word in said.words:
        yield event("content-delta", 1, {"content": {"text": word}})
    for place, text in enumerate(said.arguments):
        call = {"id": f"call_{place}", "type": "function"}
        function = {"name": said.tool, "arguments": ""}
        yield event("tool-call-start", place, {"tool_calls": {**call, "function": function}})
        for piece in (text[:5], text[5:]):
            delta = {"tool_calls": {"function": {"arguments": piece}}}
            yield event("tool-call-delta", place, delta)
        yield "tool-call-end", {"type": "tool-call-end", "index": place}
    counted = {"input_tokens": said.prompt_tokens, "output_tokens": said.completion_tokens}
    end = {"finish_reason": _STOPS[said.finish], "usage": {"tokens": counted}}
    yield "message-end", {"type": "message-end", "delta": end}


def _embed(body: Mapping[str, Any]) -> Reply:
    inputs = [str(each) for name in ("texts", "images", "inputs") for each in body.get(name) or ()]
    length = body.get("output_dimension") or LENGTH
    vectors = [vector(text, length) for text in inputs]
    kinds = body.get("embedding_types") or ["float"]
    return json_reply(
        {
            "id": "1",
            "embeddings": {kind: [encoded(each, kind) for each in vectors] for kind in kinds},
            "texts": body.get("texts", []),
            "meta": {"billed_units": {"input_tokens": len(inputs)}},
            "response_type": "embeddings_by_type",
        }
    )
