"""The echo fails as it is told."""

import asyncio

import pytest

from interlingua.backends.base import CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.errors import ApiError, InvalidValue, RateLimited, Unavailable, UpstreamError
from interlingua.types.chat import ChatRequest, SystemMessage, UserMessage
from interlingua.types.completions import CompletionRequest

CALL = CallContext(id="0" * 32)
pytestmark = pytest.mark.anyio


async def heard(text: str) -> tuple[list[str], ApiError | None]:
    """What a chat says, and how it fails."""
    words: list[str] = []
    request = ChatRequest(messages=(SystemMessage("!fail cut"), UserMessage(text)))
    try:
        async for delta in EchoBackend().chat(request, CALL):
            words.append(delta.text)  # noqa: PERF401 - a comprehension would lose what was heard
    except ApiError as error:
        return words, error
    return words, None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504])
async def test_every_status_of_the_api_can_be_asked_for(status: int) -> None:
    words, error = await heard(f"!fail status={status}")
    assert error is not None
    assert (words, error.status) == ([], status)


async def test_it_fails_after_the_words_that_follow_the_command() -> None:
    words, error = await heard("!fail status=503 after=2 retry_after=9\none two three")
    assert words == ["one", " two"]
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == 9
    words, error = await heard("!fail status=429 after=9\none two three")
    assert words == ["one", " two", " three"]
    assert isinstance(error, RateLimited)


@pytest.mark.parametrize("kind", ["cut", "malformed"])
async def test_what_breaks_has_said_something(kind: str) -> None:
    words, error = await heard(f"!fail {kind}\none two")
    assert (words, type(error)) == (["one"], UpstreamError)
    assert await heard(f"!fail {kind} after=0") != (words, error)


async def test_a_stall_never_ends() -> None:
    request = ChatRequest(messages=(UserMessage("!fail stall\none two"),))
    deltas = EchoBackend().chat(request, CALL)
    assert (await anext(deltas)).text == "one"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(deltas), 0.05)


async def test_a_delay_alone_only_delays() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await heard("!fail delay=0.2\none") == (["one", ""], None)
    assert loop.time() - began >= 0.2


async def test_completions_obey_too() -> None:
    request = CompletionRequest(prompts=("a b", "!fail cut\nc d"))
    deltas = EchoBackend().complete(request, CALL)
    heard = [await anext(deltas) for _ in range(4)]
    assert [(d.index, d.text) for d in heard] == [(0, "a"), (0, " b"), (0, ""), (1, "c")]
    with pytest.raises(UpstreamError):
        await anext(deltas)


@pytest.mark.parametrize("text", ["!failure is an option", "don't !fail", "! fail"])
async def test_other_texts_are_repeated(text: str) -> None:
    words, error = await heard(text)
    assert ("".join(words), error) == (text, None)


@pytest.mark.parametrize(
    "command", ["status=418", "statsu=503", "cut stall", "cut cut", "delay=x", "after=-1", "now"]
)
async def test_a_command_that_is_not_known_is_refused(command: str) -> None:
    words, error = await heard(f"!fail {command}")
    assert isinstance(error, InvalidValue)
    assert (words, error.location) == ([], ("body", "messages", 1, "content"))
    assert "It takes status=CODE" in error.message
