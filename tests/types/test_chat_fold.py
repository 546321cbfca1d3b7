"""A stream's deltas make a whole answer."""

from collections.abc import AsyncIterator

import pytest

from interlingua.types.chat import (
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from interlingua.types.chat_fold import ChatFold, CompletionFold, fold_chat, fold_completion
from interlingua.types.completions import Completion, CompletionChoice, CompletionDelta
from interlingua.types.usage import Usage


def fold(*deltas: ChatDelta) -> ChatCompletion:
    folding = ChatFold()
    for delta in deltas:
        folding.add(delta)
    return folding.done()


def test_texts_of_each_choice_are_joined_in_the_order_of_the_index() -> None:
    answer = fold(
        ChatDelta(index=1, text="b"),
        ChatDelta(text="a"),
        ChatDelta(index=1, text="B", finish_reason="length"),
        ChatDelta(text="A", finish_reason="stop"),
        ChatDelta(usage=Usage(3, 4)),
    )
    assert answer == ChatCompletion(
        choices=(
            ChatChoice(index=0, text="aA", finish_reason="stop"),
            ChatChoice(index=1, text="bB", finish_reason="length"),
        ),
        usage=Usage(3, 4),
    )


def test_a_tool_call_is_joined_from_its_pieces_and_leaves_the_text_null() -> None:
    answer = fold(
        ChatDelta(tool_calls=(ToolCallDelta(index=1, id="2", name="g", arguments="{}"),)),
        ChatDelta(tool_calls=(ToolCallDelta(index=0, id="1", name="f", arguments='{"x"'),)),
        ChatDelta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"),)),
        ChatDelta(finish_reason="tool_calls"),
    )
    assert answer.choices[0].text is None
    assert answer.choices[0].tool_calls == (
        ToolCall(id="1", name="f", arguments='{"x":1}'),
        ToolCall(id="2", name="g", arguments="{}"),
    )


def test_reasoning_refusal_and_logprobs_are_kept_apart_from_the_text() -> None:
    token = TokenLogprob("a", -0.5)
    answer = fold(
        ChatDelta(reasoning="hm"),
        ChatDelta(reasoning="m", logprobs=(token,)),
        ChatDelta(refusal="no"),
        ChatDelta(finish_reason="stop", usage=Usage(1, 1)),
    )
    assert answer.choices == (
        ChatChoice(text="", reasoning="hmm", refusal="no", finish_reason="stop", logprobs=(token,)),
    )
    assert answer.usage == Usage(1, 1)


def test_usage_alone_makes_no_choice() -> None:
    assert fold(ChatDelta(usage=Usage(1))) == ChatCompletion(choices=(), usage=Usage(1))


@pytest.mark.anyio
async def test_a_generator_of_deltas_is_folded() -> None:
    async def chat() -> AsyncIterator[ChatDelta]:
        yield ChatDelta(text="a")
        yield ChatDelta(finish_reason="stop")

    async def complete() -> AsyncIterator[CompletionDelta]:
        yield CompletionDelta(text="a")
        yield CompletionDelta(finish_reason="stop")
        yield CompletionDelta(usage=Usage(1, 1))

    assert (await fold_chat(chat())).choices == (ChatChoice(text="a", finish_reason="stop"),)
    assert await fold_completion(complete()) == Completion(
        choices=(CompletionChoice(text="a", finish_reason="stop"),), usage=Usage(1, 1)
    )


def test_text_completions_fold_by_choice() -> None:
    folding = CompletionFold()
    for delta in (
        CompletionDelta(index=1, text="b", finish_reason="stop"),
        CompletionDelta(text="a", logprobs=(TokenLogprob("a", -1.0),)),
        CompletionDelta(finish_reason="length", usage=Usage(2, 2)),
    ):
        folding.add(delta)
    assert folding.done() == Completion(
        choices=(
            CompletionChoice(text="a", finish_reason="length", logprobs=(TokenLogprob("a", -1.0),)),
            CompletionChoice(index=1, text="b", finish_reason="stop"),
        ),
        usage=Usage(2, 2),
    )
