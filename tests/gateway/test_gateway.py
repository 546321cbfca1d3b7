"""One call through the gateway: the first-delta gate, closing, deadlines."""

import asyncio

import pytest

from interlingua.backends.base import CallContext
from interlingua.errors import DeadlineExceeded, ModelNotReady, ParameterNotSupported, UpstreamError
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.directory import Route
from interlingua.gateway.gateway import Gateway
from interlingua.types.chat import ChatDelta, ChatRequest, UserMessage
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


async def test_a_call_that_waits_too_long_for_its_first_word_is_504() -> None:
    backend = Script(SAID)
    backend.hold = asyncio.Event()
    deadline = asyncio.get_running_loop().time() + 0.02
    with pytest.raises(DeadlineExceeded):
        await gateway(backend).chat(HELLO, ASK, None, CallContext(id="1", deadline=deadline))
    assert backend.closed == 1


async def test_an_answer_that_goes_on_too_long_is_broken_off() -> None:
    loop = asyncio.get_running_loop()
    call = CallContext(id="1", deadline=loop.time() + 0.05)
    answer = await gateway(Script([SAID[1]] * 3)).chat(HELLO, ASK, None, call)
    while loop.time() <= (call.deadline or 0):
        await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        [delta async for delta in answer.deltas]


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


async def test_embeddings_are_made_in_time_or_not_at_all() -> None:
    backend = Script(capabilities=Capabilities(operations=frozenset({"embeddings"})))
    server = gateway(backend)
    request = EmbeddingsRequest(inputs=("a", "b"))
    route = Route(operation="embeddings")
    vectors = await server.embed(request, route, None, CALL)
    assert len(vectors.embeddings.vectors) == 2
    backend.hold = asyncio.Event()
    deadline = asyncio.get_running_loop().time() + 0.02
    with pytest.raises(DeadlineExceeded):
        await server.embed(request, route, None, CallContext(id="1", deadline=deadline))


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
