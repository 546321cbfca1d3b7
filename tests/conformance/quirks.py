"""What providers do besides their documents' plain case, each with who tells of it.

Rules of this file:
- A quirk is a reply of a provider and what the caller of our server must get for it, whole
  and streamed.
- ``source`` is the provider's document, or the thread where others met it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..support.scripted_upstream import (
    Reply,
    chat_chunk,
    chat_whole,
    error,
    events,
    html,
    json_reply,
    usage,
    usage_chunk,
)

TEXT = "Grüße 🌍 to you"
_PARTS = ("Grüße 🌍", " to", " you")
CALL = {"name": "get_weather", "arguments": '{"unit":"c"}'}


@dataclass(frozen=True)
class Quirk:
    name: str
    source: str
    reply: Reply
    #: What the answer says; ``None``: it is no answer.
    text: str | None = TEXT
    calls: int = 0
    finish: str = "stop"
    reasoning: str = ""
    #: Prompt and completion tokens.
    counted: tuple[int, int] = (3, 2)
    status: int = 200
    #: What the error's message holds, and what it names.
    says: str = ""
    retry_after: str | None = None
    #: Whether a stream begins before it fails.
    breaks: bool = False


def _said(*parts: str, last: Mapping[str, Any] | None = None, reason: str = "stop") -> list[Any]:
    return [
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": part}) for part in parts or _PARTS),
        chat_chunk({}, reason, usage=last),
    ]


def _raw(*pieces: bytes) -> Reply:
    return Reply(pieces, content_type="text/event-stream")


def _bytes_of(reply: Reply) -> bytes:
    return b"".join(reply.chunks)


def _calls(*pieces: Mapping[str, Any], reason: str = "tool_calls") -> Reply:
    deltas = [chat_chunk({"tool_calls": [piece]}) for piece in pieces]
    head = chat_chunk({"role": "assistant", "content": None})
    return events(head, *deltas, chat_chunk({}, reason), usage_chunk())


_PLAIN = events(*_said(), usage_chunk())
_COUNTING = [{**chunk, "usage": usage(3, place)} for place, chunk in enumerate(_said()[:-1])]
_USAGE = (
    Quirk("usage in a chunk without choices", "OpenAI: stream_options", _PLAIN),
    Quirk(
        "usage on the last choice, unasked",
        "Mistral: chat completion, streaming",
        events(*_said(last=usage())),
    ),
    Quirk(
        "usage missing",
        "BerriAI/litellm#8450",
        events(*_said()),
        counted=(0, 0),
    ),
    Quirk(
        "usage on every chunk, counting on",
        "Gemini: OpenAI compatibility",
        events(*_COUNTING, chat_chunk({}, "stop", usage=usage())),
    ),
    Quirk(
        "usage twice, on the last choice and alone",
        "BerriAI/litellm#28735",
        events(*_said(last=usage()), usage_chunk()),
    ),
    Quirk(
        "usage null on every chunk",
        "OpenAI: stream_options, usage is null until the last chunk",
        events(*({**chunk, "usage": None} for chunk in _said()), usage_chunk()),
    ),
)
_TOOLS = tuple(
    replace(quirk, text="", finish="tool_calls")
    for quirk in (
        Quirk(
            "two calls, both at index 0, each with its id",
            "BerriAI/litellm#33678, ollama/ollama#7881",
            _calls(
                {"index": 0, "id": "a", "type": "function", "function": CALL},
                {"index": 0, "id": "b", "type": "function", "function": CALL},
            ),
            calls=2,
        ),
        Quirk(
            "calls without an index",
            "Gemini: OpenAI compatibility; vllm-project/vllm#9693",
            _calls(
                {"id": "a", "type": "function", "function": CALL},
                {"id": "b", "type": "function", "function": CALL},
            ),
            calls=2,
        ),
        Quirk(
            "calls without ids",
            "ollama/ollama#7881",
            _calls({"index": 0, "function": CALL}, {"index": 1, "function": CALL}),
            calls=2,
        ),
        Quirk(
            "the id again with every piece",
            "openai/codex#7517",
            _calls(
                {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": ""}},
                {"index": 0, "id": "a", "function": {"name": "", "arguments": '{"unit"'}},
                {"index": 0, "id": "a", "function": {"name": None, "arguments": ':"c"}'}},
            ),
            calls=1,
        ),
        Quirk(
            "arguments as an object",
            "Text Generation Inference: guidance, tools",
            _calls({"index": 0, "id": "0", "function": {**CALL, "arguments": {"unit": "c"}}}),
            calls=1,
        ),
        Quirk(
            "the finish reason stop after a call",
            "Azure OpenAI: function calling, a named tool_choice",
            _calls({"index": 0, "id": "a", "function": CALL}, reason="stop"),
            calls=1,
        ),
    )
)
_SPELLED = (
    Quirk(
        "the role with every chunk, content null beside it",
        "Azure AI: recorded streams; Together: chat completions",
        events(
            chat_chunk({"role": "assistant", "content": None}),
            *(chat_chunk({"role": "assistant", "content": part}) for part in _PARTS),
            chat_chunk({"role": "assistant", "content": None}, "stop"),
            usage_chunk(),
        ),
    ),
    Quirk(
        "a first chunk without choices",
        "Azure OpenAI: prompt_filter_results",
        events({"id": "", "choices": [], "prompt_filter_results": []}, *_said(), usage_chunk()),
    ),
    Quirk("[DONE] missing", "Perplexity: streaming", events(*_said(), usage_chunk(), done=False)),
    Quirk(
        "carriage returns",
        "HTML standard 9.2.6: a line may end with CR LF",
        _raw(_bytes_of(_PLAIN).replace(b"\n", b"\r\n")),
    ),
    Quirk(
        "comments between events",
        "OpenRouter: streaming; DeepSeek: rate limit",
        _raw(
            b": OPENROUTER PROCESSING\n\n",
            _bytes_of(_PLAIN).replace(b"\n\n", b"\n\n: keep-alive\n\n"),
        ),
    ),
    Quirk(
        "pings as events of their own",
        "Anthropic: streaming, ping events, as gateways pass them on",
        _raw(b'event: ping\ndata: {"type": "ping"}\n\n', _bytes_of(_PLAIN)),
    ),
    Quirk(
        "data without a space, a byte order mark, ids and retries",
        "HTML standard 9.2.6",
        _raw(
            b"\xef\xbb\xbfretry: 3000\n\n", _bytes_of(_PLAIN).replace(b"data: {", b"id: 1\ndata:{")
        ),
    ),
    Quirk(
        "a byte at a time",
        "TCP: a character may be cut",
        _raw(*(bytes([byte]) for byte in _bytes_of(_PLAIN))),
    ),
    Quirk("one whole answer where a stream was asked for", "OpenAI: stream", chat_whole(TEXT)),
    Quirk(
        "an empty text before the stream ends, and empty lines",
        "DeepSeek: rate limit (empty lines keep a connection alive)",
        _raw(b"\n\n\n", _bytes_of(events(*_said(*_PARTS, ""), usage_chunk()))),
    ),
)
_REASONS = tuple(
    Quirk(
        f"the finish reason {reason}",
        source,
        events(*_said(reason=reason), usage_chunk()),
        finish=means,
    )
    for reason, means, source in (
        ("eos", "stop", "Together: chat completions"),
        ("eos_token", "stop", "Text Generation Inference"),
        ("stop_sequence", "stop", "Text Generation Inference"),
        ("model_length", "length", "Mistral: chat completion"),
        ("max_tokens", "length", "Anthropic: stop reasons, as gateways pass them on"),
        ("content_filter", "content_filter", "OpenAI: chat completion chunk"),
        ("a-reason-of-tomorrow", "stop", "any provider's next version"),
    )
)
_THOUGHTS = tuple(
    Quirk(
        f"reasoning as {spelled}",
        source,
        events(
            chat_chunk({"role": "assistant", "content": ""}),
            chat_chunk({**fields("Let me "), "content": None}),
            chat_chunk({**fields("think."), "content": ""}),
            *_said()[1:],
            usage_chunk(),
        ),
        reasoning="Let me think.",
    )
    for spelled, source, fields in (
        ("reasoning_content", "DeepSeek: reasoning model", lambda t: {"reasoning_content": t}),
        ("reasoning", "OpenRouter: reasoning tokens", lambda t: {"reasoning": t}),
        (
            "both at once",
            "vLLM: reasoning outputs, while a member is renamed",
            lambda t: {"reasoning_content": t, "reasoning": t},
        ),
    )
)
_DETAIL = {
    "type": "extra_forbidden",
    "loc": ["body", "seed"],
    "msg": "Extra inputs are not permitted",
    "input": 7,
}
_REFUSALS = tuple(
    replace(quirk, text=None)
    for quirk in (
        Quirk(
            "422 extra_forbidden as an object's message",
            "Mistral; BerriAI/litellm#11696",
            json_reply({"object": "error", "message": {"detail": [_DETAIL]}}, 422),
            status=422,
            says="seed",
        ),
        Quirk(
            "422 extra_forbidden as a detail",
            "FastAPI: validation errors, as vLLM and NVIDIA NIM send them",
            json_reply({"detail": [_DETAIL]}, 422),
            status=422,
            says="seed",
        ),
        Quirk(
            "400 with the parameter",
            "OpenAI: errors",
            json_reply(
                {
                    "error": {
                        "message": "Unsupported: seed",
                        "param": "seed",
                        "code": "unsupported_parameter",
                    }
                },
                400,
            ),
            status=400,
            says="seed",
        ),
        Quirk(
            "400 with error as a text",
            "Text Generation Inference, Ollama: errors",
            json_reply({"error": "seed is not known", "error_type": "validation"}, 400),
            status=400,
            says="seed",
        ),
        Quirk("a page with status 502", "nginx, Cloudflare", html(502), status=502),
        Quirk("a page with status 200", "a proxy's login", html(200), status=502),
        Quirk("an empty reply with status 200", "a proxy", Reply(()), status=502),
        Quirk(
            "an error with status 200, whole",
            "OpenRouter: errors (the code in the body)",
            json_reply({"error": {"code": 429, "message": "Rate limited upstream"}}),
            status=429,
            says="Rate limited",
            retry_after="1",
        ),
        Quirk(
            "an error with status 200, the first event",
            "OpenRouter: errors during streaming",
            events({"error": {"code": 503, "message": "No instances"}}),
            status=503,
            says="No instances",
            retry_after="1",
        ),
        Quirk(
            "an error in the middle of a stream",
            "OpenRouter: errors during streaming",
            events(*_said()[:3], {"error": {"code": 502, "message": "It broke"}}),
            status=502,
            says="It broke",
            breaks=True,
        ),
        Quirk(
            "the finish reason error",
            "OpenRouter: errors during streaming; Mistral: finish_reason",
            events(*_said(reason="error"), usage_chunk()),
            status=502,
            breaks=True,
        ),
        Quirk(
            "a stream that is cut",
            "any provider's restart",
            events(*_said()[:3], done=False).ending("cut"),
            status=502,
            breaks=True,
        ),
        Quirk(
            "a stream that ends without a finish reason",
            "any proxy's time-out",
            events(*_said()[:3]),
            status=502,
            breaks=True,
        ),
        Quirk(
            "an event that isn't JSON",
            "any proxy's page in a stream",
            events(*_said()[:3], "<html>"),
            status=502,
            breaks=True,
        ),
        Quirk(
            "our key refused",
            "OpenAI: errors, 401",
            error(401, "invalid_api_key", "Incorrect API key provided"),
            status=502,
            says="credential",
        ),
        Quirk(
            "a redirect",
            "RFC 9110 15.4",
            Reply((), status=307, headers={"location": "http://127.0.0.1:9/"}),
            status=502,
        ),
        Quirk("no reply at all", "any provider's crash", Reply((), end="drop"), status=502),
    )
)
_WAITS = tuple(
    Quirk(
        f"{status} with {said or 'no Retry-After'}",
        source,
        error(status, "rate_limit", "Slow down", **headers),
        text=None,
        status=status,
        retry_after=wait,
    )
    for status, headers, wait, said, source in (
        (429, {}, "1", "", "a proxy"),
        (429, {"retry_after": "7"}, "7", "seconds", "RFC 9110 10.2.3; OpenAI: rate limits"),
        (429, {"retry_after": "0.2"}, "1", "a fraction", "Groq: rate limits"),
        (429, {"retry_after_ms": "2500"}, "3", "retry-after-ms", "Azure OpenAI: quotas"),
        (429, {"retry_after": "soon"}, "1", "nonsense", "RFC 9110 10.2.3"),
        (
            503,
            {
                "retry_after": "Mon, 02 Nov 2026 10:00:30 GMT",
                "date": "Mon, 02 Nov 2026 10:00:00 GMT",
            },
            "30",
            "a date",
            "RFC 9110 10.2.3",
        ),
    )
)
QUIRKS: tuple[Quirk, ...] = (
    *_USAGE,
    *_TOOLS,
    *_SPELLED,
    *_REASONS,
    *_THOUGHTS,
    *_REFUSALS,
    *_WAITS,
)
