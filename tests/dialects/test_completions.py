"""Text completions: prompts, streams, logprobs."""

import json
from typing import Any

import pytest

from interlingua.errors import InvalidValue, UnknownParameters, UpstreamError
from interlingua.types.chat import TokenLogprob
from interlingua.types.completions import (
    Completion,
    CompletionChoice,
    CompletionDelta,
    CompletionRequest,
)
from interlingua.types.usage import Usage

from .wires import AZURE, BOTH, OPENAI, REPLY, call, events

ASK = CompletionRequest(prompts=("x",), stream=True)
STOP = CompletionDelta(finish_reason="stop")


def written(dialect: Any, *deltas: CompletionDelta, request: CompletionRequest = ASK) -> list[Any]:
    writer = dialect.completion_writer(request, REPLY)
    return events(b"".join(writer.write(delta) for delta in deltas) + writer.finish())


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_a_prompt_has_four_forms(prompt: object, prompts: object) -> None:
    for dialect in BOTH:
        assert dialect.read_completion(call({"prompt": prompt})).prompts == prompts


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "prompt must be non-empty."),
        (["a", ""], "prompt[1] must be non-empty."),
        ([], "prompt must be a string or a list of 1 to"),
        ([[]], "prompt[0] must be"),
        (["a", 1], "prompt[1] must be a string as the first is."),
        ([1, [2]], "prompt[1] must be a token id as the first is."),
        ([-1], "prompt[0] must be"),
        ([1.5], "prompt[0] must be"),
        (["a"] * 2049, "prompt must be a list of 1 to 2048 items, not a list of 2049."),
        (None, "prompt must be"),
    ],
)
def test_a_wrong_prompt_is_refused(prompt: object, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        AZURE.read_completion(call({"prompt": prompt}))
    assert caught.value.message.startswith(message)


def test_openais_parameters_are_extra_on_azure() -> None:
    body = {"prompt": "a", "echo": True, "suffix": "s", "best_of": 2, "logprobs": 5, "n": 2}
    with pytest.raises(UnknownParameters):
        AZURE.read_completion(call(body))
    request = OPENAI.read_completion(call(body))
    assert (request.echo, request.suffix, request.best_of, request.n) == (True, "s", 2, 2)
    with pytest.raises(InvalidValue, match="logprobs must be an integer from 0 to 5, not 6"):
        OPENAI.read_completion(call({**body, "logprobs": 6}))


def test_azures_usage_rides_on_the_last_chunk_and_openais_comes_alone() -> None:
    deltas = [
        CompletionDelta(text="a"),
        CompletionDelta(text="b", finish_reason="stop"),
        CompletionDelta(usage=Usage(1, 2)),
    ]
    chunks = written(AZURE, *deltas)
    assert [c["choices"][0]["text"] for c in chunks[:-1]] == ["a", "b", ""]
    assert chunks[-2]["usage"]["total_tokens"] == 3
    assert chunks[-2]["object"] == "text_completion"
    asked = CompletionRequest(prompts=("x",), stream=True, include_usage=True)
    chunks = written(OPENAI, *deltas, request=asked)
    assert chunks[0]["id"].startswith("cmpl-")
    assert chunks[0]["usage"] is None
    assert chunks[-2]["choices"] == []


def test_logprobs_are_four_lists_and_offsets_go_on() -> None:
    first = TokenLogprob("ab", -1.0, None, (TokenLogprob("x", -2.0),))
    chunks = written(
        AZURE,
        CompletionDelta(text="ab", logprobs=(first,)),
        CompletionDelta(text="c", logprobs=(TokenLogprob("c", -0.5),)),
        STOP,
    )
    assert chunks[0]["choices"][0]["logprobs"] == {
        "tokens": ["ab"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"x": -2.0}],
        "text_offset": [0],
    }
    assert chunks[1]["choices"][0]["logprobs"]["text_offset"] == [2]
    assert chunks[1]["choices"][0]["logprobs"]["top_logprobs"] is None


def test_a_providers_reply_is_read() -> None:
    body = {
        "choices": [
            {
                "text": "ab",
                "index": 0,
                "finish_reason": "length",
                "logprobs": {"tokens": ["a", "b"], "token_logprobs": [None, -1], "extra": 1},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    assert AZURE.read_completion(json.dumps(body).encode()) == Completion(
        choices=(
            CompletionChoice(
                text="ab",
                finish_reason="length",
                logprobs=(TokenLogprob("a", 0.0), TokenLogprob("b", -1.0)),
            ),
        ),
        usage=Usage(1, 2),
    )


def test_streams_of_providers_are_read_and_cuts_seen() -> None:
    reader = OPENAI.completion_reader()
    assert reader.read(b"null") == reader.read(b"[DONE]") == ()
    assert reader.read(b'{"choices":[{"text":"a"}]}') == (CompletionDelta(text="a"),)
    with pytest.raises(UpstreamError, match="finish reason"):
        reader.finish()
    assert reader.read(b'{"choices":[{"text":"","finish_reason":"stop"}]}') == (STOP,)
    usage = reader.read(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}')
    assert usage == (CompletionDelta(usage=Usage(1, 1)),)
    reader.finish()
    with pytest.raises(UpstreamError, match=r"^m$"):
        reader.read(b'{"error":{"message":"m"}}')


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b"x", b'{"error":{"message":"m"}}'])
def test_a_reply_without_choices_is_an_error(body: bytes) -> None:
    for read in (AZURE.read_completion, AZURE.read_chat):
        with pytest.raises(UpstreamError):
            read(body)
