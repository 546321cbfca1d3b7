"""Streams of chat: order, usage, cuts, and what providers do differently."""

import json
from typing import Any

import pytest

from interlingua.dialects.json_wire import JsonWire
from interlingua.errors import (
    ApiError,
    ContextLengthExceeded,
    RateLimited,
    Unavailable,
    UpstreamError,
)
from interlingua.types.chat import (
    ChatDelta,
    ChatRequest,
    TokenLogprob,
    UserMessage,
)
from interlingua.types.usage import Usage

from .wires import AZURE, BOTH, OPENAI, REPLY, REPLY_2025, events

ASK = ChatRequest(messages=(UserMessage("x"),), stream=True)
STOP = ChatDelta(finish_reason="stop")
USED = {"prompt_tokens": 3, "completion_tokens": 4}


def written(dialect: JsonWire, *deltas: ChatDelta, reply: Any = REPLY) -> list[Any]:
    writer = dialect.chat_writer(ASK, reply)
    return events(b"".join(writer.write(delta) for delta in deltas) + writer.finish())


def read(*chunks: object) -> list[ChatDelta]:
    reader = AZURE.chat_reader()
    deltas = [delta for chunk in chunks for delta in reader.read(json.dumps(chunk).encode())]
    reader.finish()
    return deltas


def chunk(delta: object, reason: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def test_the_last_chunk_of_azure_waits_for_the_usage() -> None:
    writer = AZURE.chat_writer(ASK, REPLY)
    assert writer.write(ChatDelta(text="a"))
    assert writer.write(STOP) == b""
    assert b'"usage":{' in writer.write(ChatDelta(usage=Usage(1, 1)))
    assert writer.finish() == b"data: [DONE]\n\n"


def test_without_usage_the_last_chunk_goes_out_at_the_end() -> None:
    last = written(AZURE, ChatDelta(text="a"), STOP)[-2]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in last


def test_usage_beside_or_before_the_last_reason_rides_on_it() -> None:
    for deltas in (
        [ChatDelta(finish_reason="stop", usage=Usage(1, 2))],
        [ChatDelta(usage=Usage(1, 2)), STOP],
    ):
        *_, last, done = written(AZURE, ChatDelta(text="a"), *deltas)
        assert done == "[DONE]"
        assert last["usage"]["total_tokens"] == 3


def test_each_choice_begins_with_its_role_and_only_the_last_has_usage() -> None:
    chunks = written(
        AZURE,
        ChatDelta(text="a"),
        ChatDelta(index=1, text="b"),
        STOP,
        ChatDelta(index=1, text="B"),
        ChatDelta(index=1, finish_reason="length"),
        ChatDelta(usage=Usage(1, 2)),
    )[:-1]
    roles = [c["choices"][0]["index"] for c in chunks if "role" in c["choices"][0]["delta"]]
    assert roles == [0, 1]
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [
        *(None, None, None, None),
        "stop",
        None,
        "length",
    ]
    assert ["usage" in c for c in chunks] == [False] * 6 + [True]


def test_empty_deltas_write_nothing() -> None:
    for dialect in BOTH:
        assert dialect.chat_writer(ASK, REPLY).write(ChatDelta()) == b""


def test_openai_has_no_usage_unless_asked() -> None:
    chunks = written(OPENAI, ChatDelta(text="a"), STOP, ChatDelta(usage=Usage(1, 1)))
    assert all("usage" not in c for c in chunks[:-1])


def test_thinking_that_never_answers_is_closed() -> None:
    chunks = written(AZURE, ChatDelta(reasoning="r"), STOP)[:-1]
    text = "".join(c["choices"][0]["delta"]["content"] for c in chunks)
    assert text == "<think>\nr\n</think>\n\n"


def test_text_between_two_thoughts_stays_between_them() -> None:
    deltas = [ChatDelta(reasoning="r"), ChatDelta(text="a"), ChatDelta(text="b")]
    chunks = written(AZURE, *deltas, ChatDelta(reasoning="s"), ChatDelta(text="c"), STOP)[:-1]
    text = "".join(c["choices"][0]["delta"]["content"] for c in chunks)
    assert text == "<think>\nr\n</think>\n\nab<think>\ns\n</think>\n\nc"


def test_new_api_versions_and_openai_have_reasoning_content() -> None:
    for dialect, reply in ((AZURE, REPLY_2025), (OPENAI, REPLY)):
        chunks = written(dialect, ChatDelta(reasoning="r"), STOP, reply=reply)
        delta = chunks[1]["choices"][0]["delta"]
        assert delta == {"content": "", "reasoning_content": "r"}


def test_logprobs_of_a_part_of_a_character_come_with_empty_content() -> None:
    token = TokenLogprob("\ufffd", -0.5, (240,), (TokenLogprob("x", float("-inf")),))
    chunks = written(AZURE, ChatDelta(logprobs=(token,)), STOP)
    choice = chunks[1]["choices"][0]
    assert choice["delta"] == {"content": ""}
    assert choice["logprobs"]["content"][0]["bytes"] == [240]
    assert choice["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] == -9999.0


def test_every_text_survives_the_prepared_halves() -> None:
    for text in ('"content":""', "\\", "\n\r\u2028", "\x00", "é\U0001f600"):
        chunks = written(AZURE, ChatDelta(text="a"), ChatDelta(text=text), STOP)
        assert chunks[2]["choices"][0]["delta"]["content"] == text


def test_what_says_nothing_gives_no_delta() -> None:
    assert read(
        None, chunk({"role": "assistant", "content": ""}), chunk(None), chunk({}, "stop")
    ) == [STOP]
    assert AZURE.chat_reader().read(b"[DONE]") == ()
    assert AZURE.chat_reader().read(b" [DONE]\n") == ()


def test_usage_that_counts_on_in_every_chunk_is_told_once() -> None:
    def usage(count: int) -> dict[str, object]:
        return {"prompt_tokens": 3, "completion_tokens": count, "total_tokens": 3 + count}

    assert read(
        chunk({"content": "a"}, usage=usage(1)),
        chunk({"content": "b"}, usage=usage(2)),
        chunk({}, "stop", usage=usage(2)),
        {"choices": [], "usage": usage(2)},
    ) == [
        ChatDelta(text="a"),
        ChatDelta(text="b"),
        ChatDelta(finish_reason="stop", usage=Usage(3, 2)),
    ]


def test_a_chunk_after_the_finish_reason_may_carry_the_usage() -> None:
    deltas = read(chunk({}, "stop"), chunk({}, usage={"prompt_tokens": 1, "total_tokens": None}))
    assert deltas[-1].usage == Usage(1, 0)


@pytest.mark.parametrize(
    "calls",
    [
        # As OpenAI: by index.
        [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}},
         {"index": 0, "function": {"arguments": "{}"}},
         {"index": 1, "id": "2", "function": {"name": "g", "arguments": "{}"}}],
        # As Mistral: whole calls without an index.
        [{"id": "1", "function": {"name": "f", "arguments": "{}"}},
         {"id": "2", "function": {"name": "g", "arguments": "{}"}}],
        # By order alone.
        [{"id": "1", "function": {"name": "f", "arguments": "{"}},
         {"function": {"arguments": "}"}},
         {"id": "2", "function": {"name": "g", "arguments": {}}}],
        # All at index 0, told apart by id; name and id repeated.
        [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}},
         {"index": 0, "id": "1", "function": {"name": "f", "arguments": "}"}},
         {"index": 0, "id": "2", "function": {"name": "g", "arguments": "{}"}}],
    ],
)  # fmt: skip
def test_tool_calls_are_told_apart(calls: list[object]) -> None:
    deltas = read(*[chunk({"tool_calls": [call]}) for call in calls], chunk({}, "tool_calls"))
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert [(p.index, p.id, p.name) for p in pieces if p.id] == [(0, "1", "f"), (1, "2", "g")]
    assert "".join(p.arguments for p in pieces if p.index == 0) == "{}"
    assert "".join(p.arguments for p in pieces if p.index == 1) == "{}"
    assert all(p.name is None for p in pieces if p.id is None)


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("model_length", "length"), ("function_call", "tool_calls"), ("eos", "stop")],
)
def test_finish_reasons_of_providers_are_translated(reason: str, meaning: str) -> None:
    assert read(chunk({}, reason)) == [ChatDelta(finish_reason=meaning)]  # type: ignore[arg-type]


def test_reasoning_has_two_names_and_content_may_be_a_list() -> None:
    assert read(
        chunk({"reasoning": "r"}),
        chunk({"reasoning_content": "s", "content": [{"type": "text", "text": "a"}]}),
        chunk({}, "stop"),
    ) == [ChatDelta(reasoning="r"), ChatDelta(reasoning="s", text="a"), STOP]


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "r"},
        {"reasoning_content": "r", "reasoning": "r"},
        {"reasoning_content": "", "reasoning": "r"},
        {"reasoning": "r"},
        {"thinking": "r"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "r"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "r"}]},
        # Mistral: ThinkChunk; others write its text at once.
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]},
        {"content": [{"type": "thinking", "thinking": "r"}]},
    ],
)
def test_reasoning_is_read_by_each_of_its_names(said: dict[str, object]) -> None:
    assert read(chunk(said), chunk({}, "stop")) == [ChatDelta(reasoning="r"), STOP]
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    whole = OPENAI.read_chat(json.dumps({"choices": [choice]}).encode())
    assert (whole.choices[0].reasoning, whole.choices[0].text) == ("r", "")


@pytest.mark.parametrize(
    ("told", "cached", "thought"),
    [
        ({"prompt_cache_hit_tokens": 2, "reasoning_tokens": 3}, 2, 3),
        (
            {
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            2,
            3,
        ),
        ({}, None, None),
    ],
)
def test_cached_and_reasoning_tokens_are_read_where_providers_put_them(
    told: dict[str, object], cached: int | None, thought: int | None
) -> None:
    deltas = read(chunk({}, "stop"), {"choices": [], "usage": {**USED, **told}})
    assert deltas[-1].usage == Usage(3, 4, cached, thought)


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_end_in_an_error_is_no_answer(reason: str) -> None:
    with pytest.raises(UpstreamError, match=reason):
        read(chunk({"content": "a"}), chunk({}, reason))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "context_length_exceeded", "message": "m"}, ContextLengthExceeded),
        ({"code": 429, "message": "m"}, RateLimited),
        ({"code": "503", "message": "m"}, Unavailable),
        ({"message": "m"}, UpstreamError),
        ("m", UpstreamError),
    ],
)
def test_an_error_event_is_raised(error: object, kind: type[ApiError]) -> None:
    with pytest.raises(kind, match=r"^m$"):
        read({"error": error})


@pytest.mark.parametrize(
    "data",
    [b"{", b"5", b'{"choices":5}', b"[" * 9999, b'{"choices":[{"delta":{"content":"\xff"}}]}'],
)
def test_what_makes_no_sense_is_an_upstream_error(data: bytes) -> None:
    with pytest.raises(UpstreamError, match="makes no sense") as caught:
        AZURE.chat_reader().read(data)
    assert "\xff" not in caught.value.message


def test_a_finish_reason_error_is_an_upstream_error() -> None:
    with pytest.raises(UpstreamError, match="'error'"):
        read(chunk({}, "error"))


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk({"content": "a"})],
        [chunk({"role": "assistant"})],
        [chunk({}, "stop"), {"choices": [{"index": 1, "delta": {"content": "b"}}]}],
    ],
)
def test_a_stream_that_ends_before_its_finish_reason_was_cut(chunks: list[object]) -> None:
    with pytest.raises(UpstreamError, match="before its finish reason"):
        read(*chunks)
