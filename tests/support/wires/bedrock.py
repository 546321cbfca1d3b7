"""Amazon Bedrock's Converse, and ConverseStream in Amazon's event stream encoding.

Source: Amazon Bedrock Runtime 2023-09-30: Converse, ConverseStream, its errors; Bedrock API keys.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from interlingua.backends.providers.registry import Row

from .. import amazon_events as amazon
from ..scripted_upstream import Reply, Request, json_reply
from .script import THOUGHTS, Said, Served, authorized, cut, say

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KNOWN = frozenset(
    [
        "messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields",
        "outputConfig", "performanceConfig", "guardrailConfig", "requestMetadata",
        "additionalModelResponseFieldPaths", "promptVariables", "serviceTier",
    ]
)  # fmt: skip


def served(row: Row) -> tuple[Served, ...]:
    del row
    return (Served("chat-completion", model="us.vendor.m-v1:0", capabilities={"reasoning": True}),)


def answer(row: Row, request: Request) -> Reply:
    del row
    if not authorized(request.headers):
        return json_reply({"message": "The security token included is invalid."}, 403)
    if not request.path.endswith(("/converse-stream", "/converse")):
        return json_reply({"message": "not found"}, 404)
    body = request.json()
    extra = [name for name in body if name not in _KNOWN]
    extra += (body.get("additionalModelRequestFields") or {}).keys()
    if extra:
        message = f"extraneous key [{extra[0]}] is not permitted"
        return json_reply({"message": message}, 400, x_amzn_errortype="ValidationException")
    if request.path.endswith("/converse"):
        return json_reply(_whole(_said(body)))
    frames = [amazon.event(*event) for event in _events(_said(body))]
    pieces = tuple(piece for frame in frames for piece in cut(frame))
    return amazon.stream(*pieces)


def _said(body: Mapping[str, Any]) -> Said:
    texts = [
        " ".join(str(part.get("text", "")) for part in message["content"])
        for message in body["messages"]
    ]
    settings = body.get("inferenceConfig") or {}
    tools = body.get("toolConfig") or {}
    tool = None
    if {"any", "tool"} & (tools.get("toolChoice") or {}).keys():
        tool = tools["tools"][0]["toolSpec"]["name"]
    return say(
        texts,
        limit=settings.get("maxTokens"),
        stop=settings.get("stopSequences") or (),
        as_json="outputConfig" in body,
        tool=tool,
        calls=2,
    )


def _whole(said: Said) -> dict[str, object]:
    thought = {"reasoningContent": {"reasoningText": {"text": "".join(THOUGHTS)}}}
    content: list[dict[str, object]] = [thought]
    if said.text:
        content.append({"text": said.text})
    for place, text in enumerate(said.arguments, start=1):
        call = {"toolUseId": f"tooluse_{place}", "name": said.tool, "input": json.loads(text)}
        content.append({"toolUse": call})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _STOPS[said.finish],
        "usage": _usage(said),
        "metrics": {"latencyMs": 1},
    }


def _usage(said: Said) -> dict[str, int]:
    return {
        "inputTokens": said.prompt_tokens,
        "outputTokens": said.completion_tokens,
        "totalTokens": said.prompt_tokens + said.completion_tokens,
    }


def _events(said: Said) -> Iterator[tuple[str, object]]:
    def delta(block: int, said: object) -> tuple[str, object]:
        return "contentBlockDelta", {"contentBlockIndex": block, "delta": said}

    yield "messageStart", {"role": "assistant"}
    for thought in THOUGHTS:
        yield delta(0, {"reasoningContent": {"text": thought}})
    yield "contentBlockStop", {"contentBlockIndex": 0}
    for word in said.words:
        yield delta(1, {"text": word})
    for place, text in enumerate(said.arguments, start=1):
        call = {"toolUse": {"toolUseId": f"tooluse_{place}", "name": said.tool}}
        yield "contentBlockStart", {"contentBlockIndex": place, "start": call}
        for piece in (text[:5], text[5:]):
            yield delta(place, {"toolUse": {"input": piece}})
        yield "contentBlockStop", {"contentBlockIndex": place}
    yield "messageStop", {"stopReason": _STOPS[said.finish]}
    yield "metadata", {"usage": _usage(said), "metrics": {"latencyMs": 1}}
