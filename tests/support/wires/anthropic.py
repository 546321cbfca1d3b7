"""Anthropic's Messages.

Source: Claude API reference: create a message; streaming messages; errors.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, json_reply
from .script import THOUGHTS, Said, Served, authorized, named_events, say

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KNOWN = frozenset(
    [
        "messages", "model", "max_tokens", "system", "stream", "temperature", "top_p", "top_k",
        "stop_sequences", "tools", "tool_choice", "thinking", "output_config", "metadata",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (Served("chat-completion", capabilities={"reasoning": True}),)


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers) or "anthropic-version" not in request.headers:
        return _error(401, "authentication_error", "invalid x-api-key")
    if not request.path.endswith("/messages"):
        return _error(404, "not_found_error", "Not found")
    body = request.json()
    extra = [name for name in body if name not in _KNOWN]
    if extra:
        return _error(400, "invalid_request_error", f"{extra[0]}: Extra inputs are not permitted")
    if "max_tokens" not in body:
        return _error(400, "invalid_request_error", "max_tokens: Field required")
    said = _said(body)
    if not body.get("stream"):
        return json_reply(_whole(said))
    return Reply(named_events(*_events(said)), content_type="text/event-stream")


def _error(status: int, kind: str, message: str) -> Reply:
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status)


def _said(body: Mapping[str, Any]) -> Said:
    texts = [_text(message["content"]) for message in body["messages"]]
    choice = body.get("tool_choice") or {}
    tool = body["tools"][0]["name"] if choice.get("type") in {"any", "tool"} else None
    as_json = "format" in (body.get("output_config") or {})
    stop = body.get("stop_sequences") or ()
    return say(texts, limit=body["max_tokens"], stop=stop, as_json=as_json, tool=tool, calls=2)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", part["type"])) for part in content)


def _whole(said: Said) -> dict[str, object]:
    content: list[dict[str, object]] = [
        {"type": "thinking", "thinking": "".join(THOUGHTS), "signature": "c2lnbmVk"}
    ]
    if said.text:
        content.append({"type": "text", "text": said.text})
    for place, text in enumerate(said.arguments, start=1):
        call = {"id": f"toolu_{place}", "name": said.tool, "input": json.loads(text)}
        content.append({"type": "tool_use", **call})
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "theirs",
        "content": content,
        "stop_reason": _STOPS[said.finish],
        "stop_sequence": None,
        "usage": {"input_tokens": said.prompt_tokens, "output_tokens": said.completion_tokens},
    }


def _events(said: Said) -> Iterator[tuple[str, object]]:
    def event(kind: str, **fields: object) -> tuple[str, object]:
        return kind, {"type": kind, **fields}

    counted = {"input_tokens": said.prompt_tokens, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "theirs"}
    yield event("message_start", message={**message, "content": [], "usage": counted})
    yield event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
    yield event("ping")
    for thought in THOUGHTS:
        delta = {"type": "thinking_delta", "thinking": thought}
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    if said.words:
        yield event("content_block_start", index=1, content_block={"type": "text", "text": ""})
        for word in said.words:
            yield event("content_block_delta", index=1, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=1)
    for place, text in enumerate(said.arguments, start=1):
        call = {"type": "tool_use", "id": f"toolu_{place}", "name": said.tool, "input": {}}
        yield event("content_block_start", index=place, content_block=call)
        for piece in (text[:5], text[5:]):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=place, delta=delta)
        yield event("content_block_stop", index=place)
    end = {"stop_reason": _STOPS[said.finish], "stop_sequence": None}
    yield event("message_delta", delta=end, usage={"output_tokens": said.completion_tokens})
    yield event("message_stop")
