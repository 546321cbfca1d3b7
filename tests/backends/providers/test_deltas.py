"""What providers leave undone, seen through a real socket."""

import pytest
from tests.support.scripted_upstream import (
    ScriptedUpstream,
    chat_chunk,
    chat_stream,
    chat_whole,
    events,
)

from interlingua.types.chat import ToolCall

from .upstreams import answer, ask, opened

CHAT = "/chat/completions"


@pytest.mark.anyio
async def test_thoughts_inside_the_text_are_told_apart_from_it() -> None:
    with ScriptedUpstream() as upstream:
        upstream.on(CHAT, chat_stream("<", "think>\nWhat", " now", "</think>", "\n\nThis", "."))
        async with opened(upstream.url, model="sonar-reasoning-pro") as provider:
            said = (await answer(provider)).choices[0]
        assert (said.reasoning, said.text) == ("What now", "This.")
        async with opened(upstream.url, model="gpt-4o") as provider:
            assert "<think>" in str((await answer(provider)).choices[0].text)


@pytest.mark.anyio
async def test_calls_without_ids_all_at_index_0_become_calls_of_their_own() -> None:
    # Gemini's compatible API: whole calls, no id, finish reason "stop".
    calls = [{"index": 0, "function": {"name": n, "arguments": '{"a":1}'}} for n in ("f", "g")]
    with ScriptedUpstream() as upstream:
        upstream.on(
            CHAT,
            events(
                *(chat_chunk({"tool_calls": [call]}) for call in calls),
                chat_chunk({}, "stop"),
            ),
        )
        async with opened(upstream.url) as provider:
            said = (await answer(provider)).choices[0]
    first, second = said.tool_calls
    assert said.finish_reason == "tool_calls"
    assert first.id.startswith("call_")
    assert first.id != second.id
    assert [ToolCall(id="", name=c.name, arguments=c.arguments) for c in (first, second)] == [
        ToolCall(id="", name="f", arguments='{"a":1}'),
        ToolCall(id="", name="g", arguments='{"a":1}'),
    ]


@pytest.mark.anyio
async def test_a_model_without_streams_is_asked_for_a_whole_reply() -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/openai/deployments/o1/chat/completions", chat_whole("Hello"))
        async with opened(upstream.url, "azure-openai", model="o1") as provider:
            assert (await answer(provider, ask())).choices[0].text == "Hello"
        sent = upstream.requests[0].json()
    assert "stream_options" not in sent
    assert not sent.get("stream")
