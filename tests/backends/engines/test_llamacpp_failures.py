"""What becomes of an engine's failures, by a transport that plays them."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from interlingua.backends.engines.llamacpp import _guarded
from interlingua.backends.engines.llamacpp_chat import ChatEngine
from interlingua.backends.engines.llamacpp_client import LlamaServer
from interlingua.backends.engines.prompting import Prompter
from interlingua.errors import (
    ApiError,
    ContextLengthExceeded,
    InvalidValue,
    ModelNotReady,
    UpstreamError,
)
from interlingua.http import HttpCall, HttpReply
from interlingua.types.chat import JsonObjectFormat, Tool
from interlingua.types.usage import Usage

from ...support.engines import ask

pytestmark = pytest.mark.anyio

WORD = {"content": "word", "tokens_predicted": 1}
LAST = {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 1}


def events(*data: object) -> bytes:
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in data)


class Played:
    """Answers each path with a status and a body."""

    def __init__(self, **replies: tuple[int, bytes]) -> None:
        self.replies = {
            "apply_template": (200, b'{"prompt": "p"}'),
            "tokenize": (200, b'{"tokens": [7]}'),
            **replies,
        }
        self.calls: list[HttpCall] = []

    @asynccontextmanager
    async def send(
        self, call: HttpCall, *, timeout_s: float | None = None
    ) -> AsyncGenerator[HttpReply]:
        self.calls.append(call)
        status, body = self.replies[call.path.strip("/").replace("-", "_")]
        if b"with_pieces" in call.body:
            body = b'{"tokens": [{"piece": "{"}]}'

        async def chunks():
            for start in range(0, len(body), 1024):
                yield body[start : start + 1024]

        yield HttpReply(status=status, chunks=chunks())

    async def close(self) -> None: ...


async def chat(request=None, **replies: tuple[int, bytes]):
    server = LlamaServer(Played(**replies))
    prompter = Prompter(server, template=None, control_tokens=("<|end|>",))
    engine = ChatEngine(server, prompter, reasons=False, at_once=1)
    source = _guarded(engine.answer(request or ask()), "m", ("body", "messages"))
    return [delta async for delta in source]


async def test_an_answer_is_read():
    found = await chat(completion=(200, events(WORD, LAST)))
    assert "".join(delta.text for delta in found) == "word"
    assert found[-1].usage == Usage(0, 1)


@pytest.mark.parametrize(
    "body",
    [
        events(WORD),
        events(WORD, {"error": {"code": 500, "message": "Context size has been exceeded."}}),
        events(WORD) + b"data: gibberish\n\n",
    ],
)
async def test_a_failure_after_the_first_word_is_an_upstream_error(body):
    with pytest.raises(UpstreamError):
        await chat(completion=(200, body))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"data: gibberish\n\n"),
        (200, events({"error": {"code": 500, "message": "x"}})),
        (500, b'{"error": {"code": 500, "message": "secret"}}'),
        (503, b'{"error": {"code": 503, "message": "Loading model"}}'),
        (503, b"<html>" * 100_000),
    ],
)
async def test_a_failure_before_the_first_word_is_503_with_retry_after(status, body):
    with pytest.raises(ModelNotReady) as raised:
        await chat(completion=(status, body))
    assert raised.value.retry_after_s == 1
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": {"code": 400, "message": "no"}}', InvalidValue),
        (b"nothing", InvalidValue),
        (
            b'{"error": {"code": 400, "n_prompt_tokens": 9, "n_ctx": 8}}',
            ContextLengthExceeded,
        ),
    ],
)
async def test_a_refusal_is_the_callers_to_mend(body: bytes, kind: type[ApiError]):
    with pytest.raises(kind):
        await chat(completion=(400, body))


async def test_a_template_that_fails_names_the_messages():
    with pytest.raises(InvalidValue, match="alternate") as raised:
        await chat(apply_template=(400, b'{"error": {"code": 400, "message": "alternate"}}'))
    assert raised.value.param == "messages"


async def test_a_reply_that_makes_no_sense_is_503():
    with pytest.raises(ModelNotReady):
        await chat(apply_template=(200, b"gibberish"))


async def test_text_that_breaks_its_grammar_is_a_failure():
    request = ask(response_format=JsonObjectFormat())
    with pytest.raises(UpstreamError, match="grammar"):
        await chat(request, completion=(200, events(WORD, LAST)))


async def test_a_call_that_breaks_its_grammar_is_a_failure():
    request = ask(tools=(Tool(name="f"),), tool_choice="required")
    with pytest.raises(ModelNotReady) as raised:
        await chat(request, completion=(200, events(WORD, LAST)))
    assert "tool call" in str(raised.value.__cause__)


async def test_a_prompt_is_extended_as_ids_where_it_is_ids_or_the_model_wrote_a_control_token():
    played = Played()
    prompter = Prompter(LlamaServer(played), template=None, control_tokens=("<|end|>",))
    assert await prompter.extended("p", "said", "<x>") == "psaid<x>"
    assert await prompter.extended([1, 2], "", "<x>") == [1, 2, 7]
    assert await prompter.extended("p", "I said <|end|>", "<x>") == [7, 7, 7]
    controls = [json.loads(call.body)["parse_special"] for call in played.calls]
    assert controls == [True, True, False, True]
