"""OpenAI's wire, as each compatible provider speaks it: one row, one set of quirks.

Source: OpenAI API reference (chat completions, completions, embeddings, errors), and for each
row the document that ``registry.toml`` names; a quirk has its own source beside it.
"""

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interlingua.backends.providers.registry import Row

from ..scripted_upstream import Reply, Request, error, json_reply
from .script import KEY, THOUGHTS, Said, Served, cut, dumps, say, vector

BOTH = ("chat-completion", "embedding")


@dataclass(frozen=True)
class Quirks:
    """What a provider does otherwise than OpenAI, each as its document says."""

    types: tuple[Any, ...] = ("chat-completion",)
    #: Where a stream's usage is: asked for, in a chunk without choices; on the last choice,
    #: unasked; on every chunk, counting; or nowhere.
    usage: Literal["asked", "last", "every", "never"] = "asked"
    #: Names that are refused; ``None``: all that the document doesn't list.
    refuses: frozenset[str] | None = frozenset()
    #: The member that has the reasoning; empty: the models don't reason.
    reasoning: str = ""
    #: How tool calls are streamed.
    calls: Literal["pieces", "whole", "index 0", "no index", "no ids", "objects"] = "pieces"
    #: What ends an answer that is complete.
    stop: str = "stop"
    #: A line that is no event, before events.
    comment: bytes = b""
    line_end: bytes = b"\n"
    done: bool = True
    #: What else a chunk has.
    beside: Mapping[str, object] | None = None
    #: A first chunk without choices.
    prelude: bool = False
    source: str = ""


_EXTRA = frozenset({"stream_options", "max_completion_tokens", "seed", "logit_bias", "n_probs"})
QUIRKS: dict[str, Quirks] = {
    "azure-openai": Quirks(
        types=BOTH,
        prelude=True,
        beside={"system_fingerprint": "fp_1"},
        source="Azure OpenAI: content filtering, annotations in streams (prompt_filter_results)",
    ),
    "cerebras": Quirks(
        reasoning="reasoning",
        beside={"time_info": {"queue_time": 0.1}},
        source="Cerebras: reasoning; chat completions, time_info",
    ),
    "cohere": Quirks(
        types=BOTH,
        usage="last",
        refuses=frozenset({"stream_options"}),
        source="Cohere: compatibility API, unsupported parameters",
    ),
    "deepseek": Quirks(
        reasoning="reasoning_content",
        comment=b": keep-alive\n\n",
        source="DeepSeek: rate limit (keep-alive comments); reasoning model",
    ),
    "fireworks": Quirks(
        types=BOTH,
        usage="last",
        reasoning="reasoning_content",
        source="Fireworks: querying text models (usage in the last chunk)",
    ),
    "foundry": Quirks(
        types=BOTH,
        prelude=True,
        source="Azure AI Foundry: the v1 API; content filtering in streams",
    ),
    "gemini-openai": Quirks(
        types=BOTH,
        usage="every",
        calls="no index",
        source="Gemini: OpenAI compatibility; usage counts on in each chunk",
    ),
    "groq": Quirks(
        reasoning="reasoning",
        beside={"x_groq": {"id": "req_1"}},
        source="Groq: API reference (x_groq); reasoning (reasoning_format parsed)",
    ),
    "huggingface": Quirks(source="Hugging Face: inference providers, chat completion"),
    "llama-server": Quirks(
        types=BOTH,
        reasoning="reasoning_content",
        beside={"timings": {"predicted_n": 1}},
        source="llama.cpp: tools/server README (timings, reasoning_content)",
    ),
    "lm-studio": Quirks(
        types=BOTH,
        reasoning="reasoning",
        source="LM Studio: OpenAI compatibility; reasoning in its own member",
    ),
    "mistral": Quirks(
        types=BOTH,
        usage="last",
        refuses=None,
        calls="whole",
        source="Mistral: API, chat completion; BerriAI/litellm#11696 (422 extra_forbidden)",
    ),
    "nvidia": Quirks(
        types=BOTH,
        reasoning="reasoning_content",
        source="NVIDIA NIM for LLMs: API reference; reasoning models",
    ),
    "ollama": Quirks(
        types=BOTH,
        reasoning="reasoning",
        calls="index 0",
        source="Ollama: OpenAI compatibility; ollama/ollama#7881 (every call has index 0)",
    ),
    "openai": Quirks(types=BOTH, source="OpenAI: API reference, chat completion chunks"),
    "openrouter": Quirks(
        reasoning="reasoning",
        comment=b": OPENROUTER PROCESSING\n\n",
        source="OpenRouter: streaming (comments); reasoning tokens",
    ),
    "perplexity": Quirks(
        usage="every",
        line_end=b"\r\n",
        done=False,
        beside={"citations": ["https://example.com"]},
        source="Perplexity: OpenAI compatibility; streamed chunks with usage and citations",
    ),
    "sglang": Quirks(
        types=BOTH,
        reasoning="reasoning_content",
        beside={"matched_stop": None},
        source="SGLang: OpenAI-compatible APIs; reasoning parser",
    ),
    "tei": Quirks(
        types=("embedding",), source="Text Embeddings Inference: OpenAPI, /v1/embeddings"
    ),
    "tgi": Quirks(
        calls="objects",
        stop="eos_token",
        source="Text Generation Inference: messages API, guidance (arguments are an object)",
    ),
    "together": Quirks(
        types=BOTH,
        stop="eos",
        reasoning="reasoning",
        source="Together: chat completions (finish reason eos)",
    ),
    "vllm": Quirks(
        types=BOTH,
        reasoning="reasoning",
        calls="index 0",
        source="vLLM: reasoning outputs; vllm-project/vllm#9693 (tool calls without an index)",
    ),
    "xai": Quirks(
        reasoning="reasoning_content",
        calls="whole",
        source="xAI: function calling (a call comes in one chunk); reasoning",
    ),
}
#: What Mistral's document lists; whatever else comes is extra_forbidden.
_LISTED = frozenset(
    [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "stream",
        "stop",
        "random_seed",
        "response_format",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "prediction",
        "parallel_tool_calls",
        "prompt_mode",
        "safe_prompt",
        "input",
        "encoding_format",
        "output_dimension",
        "output_dtype",
        "prompt",
        "suffix",
        "metadata",
    ]
)


def served(row: Row) -> tuple[Served, ...]:
    """The models of a row.

    Raises:
        KeyError: nobody has written down what this provider does otherwise.
    """
    quirks = QUIRKS[row.name]
    thinks = {"reasoning": True} if quirks.reasoning else {}
    return tuple(
        Served(kind, capabilities=thinks if kind == "chat-completion" else {})
        for kind in quirks.types
    )


def answer(row: Row, request: Request) -> Reply:
    quirks = QUIRKS[row.name]
    if row.key_headers and not any(KEY in value for value in request.headers.values()):
        return error(401, "invalid_api_key", f"Incorrect API key provided: {KEY[:9]}***")
    body = request.json()
    refused = _refused(quirks, body)
    if refused is not None:
        return refused
    if request.path.endswith("/chat/completions"):
        return chat(body, quirks)
    if request.path.endswith("/completions"):
        return completion(body, quirks)
    if request.path.endswith("/embeddings"):
        return embeddings(body)
    return error(404, "not_found", "Not Found")


def _refused(quirks: Quirks, body: Mapping[str, Any]) -> Reply | None:
    refused = [
        name
        for name in body
        if (name not in _LISTED if quirks.refuses is None else name in quirks.refuses)
    ]
    if not refused:
        return None
    if quirks.refuses is None:
        detail = [
            {
                "type": "extra_forbidden",
                "loc": ["body", name],
                "msg": "Extra inputs are not permitted",
                "input": body[name],
            }
            for name in refused
        ]
        return json_reply({"object": "error", "message": {"detail": detail}}, 422)
    return json_reply({"message": f"invalid request: {refused[0]} is not supported"}, 422)


# -- Chat -----------------------------------------------------------------------------------


def chat(body: Mapping[str, Any], quirks: Quirks) -> Reply:
    said = _said(body, 2 if quirks.calls == "pieces" else 1)
    if not body.get("stream"):
        return json_reply(_whole(body, said, quirks))
    events = list(_events(body, said, quirks))
    return stream(events, quirks)


def _whole(body: Mapping[str, Any], said: Said, quirks: Quirks) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if quirks.reasoning:
        message[quirks.reasoning] = "".join(THOUGHTS)
    calls = [
        {
            "id": f"call_{place}",
            "type": "function",
            "function": {
                "name": said.tool,
                "arguments": json.loads(text) if quirks.calls == "objects" else text,
            },
        }
        for place, text in enumerate(said.arguments)
    ]
    if quirks.calls == "no ids":
        calls = [{name: call[name] for name in ("type", "function")} for call in calls]
    if calls:
        message["tool_calls"] = calls
    reason = quirks.stop if said.finish == "stop" else said.finish
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1730000000,
        "model": body.get("model", "theirs"),
        "choices": [choice],
        **({} if quirks.usage == "never" else {"usage": usage(said)}),
        **(quirks.beside or {}),
    }


def _said(body: Mapping[str, Any], calls: int) -> Said:
    texts = [_text(message.get("content")) for message in body["messages"]]
    choice = body.get("tool_choice")
    wanted = choice == "required" or choice == "any" or isinstance(choice, dict)
    tool = body["tools"][0]["function"]["name"] if wanted and body.get("tools") else None
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    kind = (body.get("response_format") or {}).get("type", "text")
    stop = body.get("stop") or ()
    stop = (stop,) if isinstance(stop, str) else stop
    return say(texts, limit=limit, stop=stop, as_json=kind != "text", tool=tool, calls=calls)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", f"[{part['type']}]") for part in content)
    return content or ""


def _events(body: Mapping[str, Any], said: Said, quirks: Quirks) -> Iterator[dict[str, Any]]:
    asked = (body.get("stream_options") or {}).get("include_usage")
    count = usage(said)
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1730000000,
        "model": body.get("model", "theirs"),
        **(quirks.beside or {}),
    }
    if quirks.prelude:
        yield {
            **head,
            "id": "",
            "model": "",
            "created": 0,
            "choices": [],
            "prompt_filter_results": [],
        }
    yield _chunk(head, {"role": "assistant", "content": None})
    if quirks.reasoning:
        for thought in THOUGHTS:
            yield _chunk(head, {quirks.reasoning: thought, "content": None})
    for place, word in enumerate(said.words):
        event = _chunk(head, {"content": word})
        if quirks.usage == "every":
            event["usage"] = {**count, "completion_tokens": place + 1, "total_tokens": place + 1}
        yield event
    for delta in _call_deltas(said, quirks):
        yield _chunk(head, delta)
    reason = quirks.stop if said.finish == "stop" else said.finish
    last = _chunk(head, {"content": "", "tool_calls": None}, reason)
    if quirks.usage in {"last", "every"}:
        last["usage"] = count
    yield last
    if quirks.usage == "asked" and asked:
        yield {**head, "choices": [], "usage": count}


def _chunk(
    head: Mapping[str, Any], delta: Mapping[str, Any], reason: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": reason}
    return {**head, "choices": [choice]}


def _call_deltas(said: Said, quirks: Quirks) -> Iterator[dict[str, Any]]:
    for place, text in enumerate(said.arguments):
        function: dict[str, Any] = {"name": said.tool, "arguments": text}
        call = {"index": place, "id": f"call_{place}", "type": "function", "function": function}
        match quirks.calls:
            case "pieces":
                yield {"tool_calls": [{**call, "function": {"name": said.tool, "arguments": ""}}]}
                for start in range(0, len(text), 4):
                    piece = {"arguments": text[start : start + 4]}
                    yield {"tool_calls": [{"index": place, "function": piece}]}
            case "index 0":
                yield {"tool_calls": [{**call, "index": 0}]}
            case "no index":
                yield {"tool_calls": [{key: call[key] for key in ("id", "type", "function")}]}
            case "no ids":
                yield {"tool_calls": [{"index": place, "function": function}]}
            case "objects":
                function = {"name": said.tool, "arguments": json.loads(text)}
                yield {"tool_calls": [{**call, "function": function}]}
            case "whole":
                yield {"tool_calls": [call]}


def usage(said: Said) -> dict[str, Any]:
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.completion_tokens,
        "total_tokens": said.prompt_tokens + said.completion_tokens,
    }


def stream(events: list[dict[str, Any]], quirks: Quirks) -> Reply:
    """The events, their bytes cut where they fall."""
    end = quirks.line_end * 2
    lines = [f"data: {dumps(event)}".encode() + end for event in events]
    if quirks.done:
        lines.append(b"data: [DONE]" + end)
    pieces = [piece for line in lines for piece in (quirks.comment, *cut(line)) if piece]
    return Reply(tuple(pieces), content_type="text/event-stream")


# -- The other operations -------------------------------------------------------------------


def completion(body: Mapping[str, Any], quirks: Quirks) -> Reply:
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    prompts = [prompts] if isinstance(prompts[0], int) else prompts
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1730000000, "model": "theirs"}
    events: list[dict[str, Any]] = []
    total = [0, 0]
    for index, prompt in enumerate(prompts):
        said = say([str(prompt)], limit=body.get("max_tokens"))
        total = [total[0] + said.prompt_tokens, total[1] + said.completion_tokens]
        for word in said.words:
            choice = {"index": index, "text": word, "finish_reason": None, "logprobs": None}
            events.append({**head, "choices": [choice]})
        events.append(
            {**head, "choices": [{"index": index, "text": "", "finish_reason": said.finish}]}
        )
    count = {"prompt_tokens": total[0], "completion_tokens": total[1], "total_tokens": sum(total)}
    if not body.get("stream"):
        return json_reply({**head, "choices": _joined(events), "usage": count})
    if quirks.usage != "asked":
        events[-1]["usage"] = count
    elif (body.get("stream_options") or {}).get("include_usage"):
        events.append({**head, "choices": [], "usage": count})
    return stream(events, quirks)


def _joined(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        (choice,) = event["choices"]
        known = choices.setdefault(choice["index"], {**choice, "text": "", "logprobs": None})
        known["text"] += choice["text"]
        known["finish_reason"] = choice["finish_reason"]
    return list(choices.values())


def embeddings(body: Mapping[str, Any]) -> Reply:
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    inputs = [inputs] if isinstance(inputs[0], int) else inputs
    length = body.get("dimensions") or 16
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(str(item), length, body)}
        for place, item in enumerate(inputs)
    ]
    count = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return json_reply({"object": "list", "model": "theirs", "data": data, "usage": count})


def _vector(text: str, length: int, body: Mapping[str, Any]) -> object:
    numbers = vector(text, length)
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{length}f", *numbers)).decode()
    return numbers
