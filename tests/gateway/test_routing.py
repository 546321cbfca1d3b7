"""The chain of a call: who is asked, and who is passed over."""

import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator

import pytest

from interlingua.backends.base import CallContext
from interlingua.errors import Forbidden, ModelNotReady, UpstreamError
from interlingua.gateway.deployments import Deployment
from interlingua.gateway.directory import Route
from interlingua.gateway.gateway import Gateway
from interlingua.gateway.routing import Router
from interlingua.types.chat import ChatDelta, ChatRequest, UserMessage
from interlingua.types.models import Capabilities, Operation

from .backend import Script

ASK = Route(operation="chat_completions")
HELLO = ChatRequest(messages=(UserMessage(content="Hello"),))
SAID = [ChatDelta(text="Hi"), ChatDelta(finish_reason="stop")]


def deployment(
    name: str,
    *fallback: str,
    operation: Operation = "chat_completions",
    says: list[ChatDelta | Exception] | None = None,
) -> Deployment:
    can = Capabilities(operations=frozenset({operation}))
    backend = Script(SAID if says is None else says, capabilities=can)
    return Deployment(name=name, backend=backend, fallback=fallback)


def chain(gateway: Gateway, route: Route, model: str | None = None) -> list[str]:
    return [each.name for each in Router(gateway.directory).chain(route, model)]


def test_stand_ins_come_in_their_order_once_and_are_not_followed_further() -> None:
    gateway = Gateway(
        [deployment("a", "c", "b"), deployment("b", "d"), deployment("c", "a"), deployment("d")],
        {"some": {"b": 2, "a": 1}},
        choose={"SOME": "ordered"},
    )
    assert chain(gateway, ASK, "a") == ["a", "c", "b"]
    assert chain(gateway, ASK, "d") == ["d"]
    everywhere = Route(operation="chat_completions", endpoint="some")
    assert chain(gateway, everywhere) == ["b", "a", "d", "c"]
    named = Route(operation="chat_completions", endpoint="some", header_deployment="b")
    assert chain(gateway, named) == ["b", "d"]


def test_stand_ins_without_the_operation_or_the_permission_are_passed_over() -> None:
    vectors = deployment("vectors", operation="embeddings")
    gateway = Gateway([deployment("a", "vectors", "b", "c"), vectors, *map(deployment, "bc")])
    assert chain(gateway, ASK, "a") == ["a", "b", "c"]
    some = Route(operation="chat_completions", permitted=frozenset({"a", "c"}))
    assert chain(gateway, some, "a") == ["a", "c"]
    with pytest.raises(Forbidden, match="'b'"):
        chain(gateway, some, "b")


@pytest.mark.anyio
async def test_an_engine_that_cannot_load_is_answered_for() -> None:
    first = deployment("a", "b")
    assert isinstance(first.backend, Script)
    first.backend.open_error = ModelNotReady("no file")
    answer = await Gateway([first, deployment("b")]).chat(HELLO, ASK, None, CallContext(id="1"))
    assert answer.deployment.name == "b"
    assert [delta async for delta in answer.deltas] == SAID
    assert first.fallbacks == 1


@pytest.mark.anyio
async def test_each_is_asked_once_and_its_generator_closed() -> None:
    broken = [deployment(name, *"abc", says=[UpstreamError(name)]) for name in "abc"]
    with pytest.raises(UpstreamError, match="a"):
        await Gateway(broken).chat(HELLO, ASK, None, CallContext(id="1"))
    backends = [each.backend for each in broken]
    assert [(b.started, b.closed) for b in backends if isinstance(b, Script)] == [(1, 1)] * 3
    assert [each.fallbacks for each in broken] == [1, 1, 0]
    assert [each.calls_under_way for each in broken] == [0, 0, 0]


@pytest.mark.anyio
async def test_a_defect_is_no_reason_to_ask_elsewhere() -> None:
    spare = deployment("b")
    gateway = Gateway([deployment("a", "b", says=[ZeroDivisionError()]), spare])
    with pytest.raises(ZeroDivisionError):
        await gateway.chat(HELLO, ASK, None, CallContext(id="1"))
    assert isinstance(spare.backend, Script)
    assert spare.backend.started == 0


class Failing(Script):
    """Makes its failure anew each time, as real ones do."""

    async def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        raise UpstreamError("broken")
        yield


@pytest.mark.anyio
async def test_a_call_that_failed_leaves_nothing_to_the_collector() -> None:
    class Text(str):
        __slots__ = ("__weakref__",)

    gateway = Gateway([Deployment(name=n, backend=Failing(), fallback=("a", "b")) for n in "ab"])
    text = Text("a very large image")
    left = weakref.ref(text)
    request = ChatRequest(messages=(UserMessage(content=text),))
    del text
    gc.disable()
    try:
        with contextlib.suppress(UpstreamError):
            await gateway.chat(request, ASK, None, CallContext(id="1"))
        del request
        assert left() is None
    finally:
        gc.enable()
