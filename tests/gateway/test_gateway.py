"""One call through the gateway: the first-delta gate, whole answers, closing."""

import asyncio

import pytest

from interlingua.backends.base import CallContext
from interlingua.errors import ModelNotReady, ParameterNotSupported, UpstreamError
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.directory import Route
from interlingua.gateway.gateway import Gateway
from interlingua.types.chat import ChatChoice, ChatCompletion, ChatDelta, ChatRequest, UserMessage
from interlingua.types.completions import Completion, CompletionChoice, CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.models import Capabilities
from interlingua.types.usage import Usage

from .backend import Script

pytestmark = pytest.mark.anyio
ASK = Route(operation="chat_completions")
CALL = CallContext(id="1")
HELLO = ChatRequest(messages=(UserMessage(content="Hello"),))
SAID = [ChatDelta(), ChatDelta(text="Hi"), ChatDelta(finish_reason="stop", usage=Usage(1, 1))]


def gateway(backend: Script, **limits: float) -> Gateway:
    return Gateway([Deployment(name="d", backend=backend, limits=Limits(**limits))])


async def test_the_answer_has_all_deltas_in_order() -> None:
    answer = await gateway(Script(SAID)).chat(HELLO, ASK, None, CALL)
    assert [delta async for delta in answer.deltas] == SAID


async def test_a_failure_before_anything_is_said_keeps_its_status() -> None:
    backend = Script([ChatDelta(), ModelNotReady("crashed")])
    with pytest.raises(ModelNotReady):
        await gateway(backend).chat(HELLO, ASK, None, CALL)
    assert backend.closed == 1


async def test_a_failure_after_the_first_word_comes_with_the_deltas() -> None:
    answer = await gateway(Script([SAID[1], UpstreamError("cut")])).chat(HELLO, ASK, None, CALL)
    with pytest.raises(UpstreamError):
        [delta async for delta in answer.deltas]


async def test_an_answer_that_says_nothing_is_a_failure() -> None:
    for deltas in ([], [ChatDelta()]):
        with pytest.raises(UpstreamError):
            await gateway(Script(deltas)).chat(HELLO, ASK, None, CALL)


async def test_closing_an_answer_that_was_never_read_frees_its_place() -> None:
    backend = Script(SAID, concurrency=1)
    server = gateway(backend, max_waiting=0)
    for _ in range(3):
        answer = await server.chat(HELLO, ASK, None, CALL)
        await answer.deltas.aclose()
    assert backend.closed == 3


async def test_a_caller_that_leaves_before_the_first_word_frees_its_place() -> None:
    backend = Script(SAID, concurrency=1)
    backend.hold = asyncio.Event()
    server = gateway(backend, max_waiting=0)
    call = asyncio.create_task(server.chat(HELLO, ASK, None, CALL))
    while not backend.started:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert backend.closed == 1
    backend.hold.set()
    answer = await server.chat(HELLO, ASK, None, CALL)
    await answer.deltas.aclose()


async def test_a_refusal_never_reaches_the_backend() -> None:
    can = Capabilities(operations=frozenset({"chat_completions"}), parameters=frozenset())
    backend = Script(SAID, capabilities=can)
    request = ChatRequest(messages=HELLO.messages, temperature=1)
    with pytest.raises(ParameterNotSupported):
        await gateway(backend).chat(request, ASK, None, CALL)
    assert (backend.opens, backend.started) == (0, 0)


async def test_what_was_dropped_comes_with_the_answer() -> None:
    request = ChatRequest(messages=HELLO.messages, extra={"foo": 1})
    answer = await gateway(Script(SAID)).chat(request, ASK, "drop", CALL)
    assert answer.changes.header() == 'dropped=("foo")'
    await answer.deltas.aclose()


async def test_embeddings_come_whole() -> None:
    backend = Script(capabilities=Capabilities(operations=frozenset({"embeddings"})))
    request = EmbeddingsRequest(inputs=("a", "b"))
    route = Route(operation="embeddings")
    whole = await gateway(backend).embed(request, route, None, CALL)
    assert len(whole.answer.vectors) == 2


async def test_a_whole_answer_is_the_fold_of_what_its_backend_yields() -> None:
    backend = Script(SAID)
    whole = await gateway(backend).chat_whole(HELLO, ASK, None, CALL)
    assert [(choice.text, choice.finish_reason) for choice in whole.answer.choices] == [
        ("Hi", "stop")
    ]
    assert whole.answer.usage == Usage(1, 1)
    assert backend.closed == 1


async def test_a_backend_that_gets_answers_whole_is_asked_so() -> None:
    class Wholly(Script):
        async def chat_whole(self, request: ChatRequest, call: CallContext) -> ChatCompletion:
            return ChatCompletion(choices=(ChatChoice(text="All"),))

        async def complete_whole(self, request: CompletionRequest, call: CallContext) -> Completion:
            return Completion(choices=(CompletionChoice(text="of it"),))

    can = Capabilities(operations=frozenset({"chat_completions", "completions"}))
    backend = Wholly(SAID, capabilities=can)
    whole = await gateway(backend).chat_whole(HELLO, ASK, None, CALL)
    assert whole.answer.choices[0].text == "All"
    text = await gateway(backend).complete_whole(
        CompletionRequest(prompts=("a",)), Route(operation="completions"), None, CALL
    )
    assert text.answer.choices[0].text == "of it"
    assert backend.started == 0


async def test_a_whole_answer_that_says_nothing_is_a_failure() -> None:
    for deltas in ([], [ChatDelta()], [ChatDelta(usage=Usage(1, 0))]):
        with pytest.raises(UpstreamError, match="without an answer"):
            await gateway(Script(deltas)).chat_whole(HELLO, ASK, None, CALL)


async def test_a_whole_answer_that_breaks_is_asked_for_elsewhere() -> None:
    broken = Deployment(name="a", backend=Script([SAID[1], UpstreamError("cut")]), fallback=("b",))
    server = Gateway([broken, Deployment(name="b", backend=Script(SAID))])
    whole = await server.chat_whole(HELLO, ASK, None, CALL)
    assert whole.deployment.name == "b"


async def test_a_caller_of_a_whole_answer_that_leaves_frees_its_place() -> None:
    backend = Script(SAID, concurrency=1)
    backend.hold = asyncio.Event()
    server = gateway(backend, max_waiting=0)
    call = asyncio.create_task(server.chat_whole(HELLO, ASK, None, CALL))
    while not backend.started:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    backend.hold.set()
    assert (await server.chat_whole(HELLO, ASK, None, CALL)).answer.choices
    assert backend.closed == 2


async def test_managed_deployments_load_at_start_and_all_close_at_the_end() -> None:
    managed, serverless = Script(), Script()
    server = Gateway(
        [
            Deployment(name="m", backend=managed, limits=Limits(compute="managed")),
            Deployment(name="s", backend=serverless),
        ]
    )
    await server.open()
    while server.deployments[0].state != "ready":
        await asyncio.sleep(0)
    assert server.deployments[1].state == "cold"
    await server.close()
    assert (managed.closes, serverless.closes) == (1, 1)


async def test_a_managed_deployment_that_cannot_load_says_so_and_stops_nothing() -> None:
    backend = Script()
    backend.open_error = ModelNotReady("no file")
    server = Gateway([Deployment(name="m", backend=backend, limits=Limits(compute="managed"))])
    await server.open()
    while server.deployments[0].state != "failed":
        await asyncio.sleep(0)
    await server.close()
