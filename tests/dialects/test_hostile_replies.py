"""Whatever a provider with a wire of its own says, what is raised is an error of the API."""

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.dialects.anthropic import AnthropicDialect
from interlingua.dialects.base import ClientDialect, Target
from interlingua.dialects.gemini import GeminiDialect
from interlingua.errors import ApiError, CallerError

from .wires import AZURE, call

WIRES = [AnthropicDialect(), GeminiDialect()]
NAMES = [
    "type", "error", "message", "content", "delta", "index", "content_block", "usage", "text",
    "stop_reason", "stop_details", "input", "id", "name", "partial_json", "output_tokens_details",
    "candidates", "parts", "functionCall", "args", "finishReason", "promptFeedback", "blockReason",
    "usageMetadata", "logprobsResult", "chosenCandidates", "status", "details", "fieldViolations",
    "field", "retryDelay", "reason", "embeddings", "values",
]  # fmt: skip
WORDS = [
    "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta",
    "content_block_stop", "tool_use", "text", "thinking", "error", "end_turn", "overloaded_error",
    "invalid_request_error", "STOP", "MALFORMED_RESPONSE", "UNAVAILABLE", "INVALID_ARGUMENT",
    "a.b: c", "1e9s", "\ud800",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=50, deadline=None)
@given(st.lists(JSON, max_size=3), st.binary(max_size=8), st.integers(400, 599))
def test_no_reply_is_more_than_an_error(
    wire: ClientDialect, said: list[object], noise: bytes, status: int
) -> None:
    reader = wire.chat_reader()
    for data in [*(json.dumps(each).encode() for each in said), noise]:
        readers: list[Callable[[bytes], object]] = [reader.read, wire.read_chat]
        if isinstance(wire, GeminiDialect):
            readers.append(wire.read_embeddings)
        for read in readers:
            with suppress(ApiError):
                read(data)
        assert isinstance(wire.read_error(status, {}, data), ApiError)


def test_bytes_that_are_no_text_are_no_crash() -> None:
    block = b'{"type":"tool_use","id":"a","name":"f","input":{"x":"\xff"}}'
    start = b'{"type":"content_block_start","index":0,"content_block":' + block + b"}"
    part = b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"x":"\xff"}}}]}}]}'
    for wire, data in zip(WIRES, (start, part), strict=True):
        with suppress(ApiError):
            wire.chat_reader().read(data)


TEXTS = st.sampled_from(
    ["", "a", "{}", "[", "data:,", "data:image/png;base64,AA", "http://[x", "http://x/[", "\ud800"]
)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})
    | st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXTS})}
    )
    | st.fixed_dictionaries(
        {"type": st.just("input_audio"), "input_audio": st.fixed_dictionaries({"data": TEXTS})}
    ),
    min_size=1,
    max_size=3,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": TEXTS, "type": st.just("function"),
         "function": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS})}
    ),
    max_size=2,
)  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "developer", "tool"]),
         "content": TEXTS | PARTS},
        optional={"tool_calls": CALLS, "tool_call_id": TEXTS},
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=50, deadline=None)
@given(
    MESSAGES, st.dictionaries(st.sampled_from([*NAMES, "top_k", "n", "system"]), JSON, max_size=4)
)
def test_no_request_is_more_than_the_callers_fault(
    wire: ClientDialect, messages: list[object], extra: dict[str, object]
) -> None:
    body = call({**extra, "messages": messages}, extra_parameters="pass-through")
    with suppress(CallerError):
        request = AZURE.read_chat(body)
        made = wire.write_chat_call(request, Target(model="theirs"))
        assert isinstance(json.loads(made.body), dict)
