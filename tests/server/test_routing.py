"""Fallback, retries, rests and circuits as callers see them: real upstreams, real sockets."""

import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager

import httpx2
import pytest

from interlingua.backends.providers.http import Upstream, create
from interlingua.backends.providers.registry import ProviderModel, find
from interlingua.config.schema import Config, ServerConfig
from interlingua.gateway.choice import Choose
from interlingua.gateway.circuit import FAILURES, FIRST_OPEN_S, Circuit
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.gateway import Gateway
from interlingua.server.app import App
from interlingua.types.models import Capabilities

from ..support import scripted_upstream as wire
from ..support.scripted_upstream import ScriptedUpstream
from .service import CHAT, KEY, Caller, client_of, error_of, served
from .test_metrics import calls, page

pytestmark = pytest.mark.anyio

PATH = "/chat/completions"
EMBED = "/embeddings"
HEADER = "azureml-model-deployment"
DROP = wire.Reply(end="drop")
BUSY = wire.error(503, None, "Overloaded")
_TEXT_ONLY = Capabilities(parameters=frozenset({"max_tokens", "temperature"}))


class Clock:
    """Monotonic seconds that the test moves on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def hello(name: str) -> wire.Reply:
    return wire.chat_stream(f"Hello from {name}")


def far(name: str, url: str, **said: object) -> Upstream:
    row = find(str(said.pop("row", "openai")))
    assert row is not None
    settings = {"key": "a-key-of-the-provider", "model": "theirs", "timeout_s": 5.0, **said}
    return create(
        ProviderModel(name=name, row=row, base_url=url, publisher="Somebody", **settings)  # type: ignore[arg-type]  # as the test says
    )


class Farm:
    """Upstreams named a, b, …, and the app in front of them; ``a`` falls back on the rest."""

    def __init__(self, urls: Mapping[str, str], clock: Clock) -> None:
        self.urls = urls
        self.clock = clock
        self.settings = ServerConfig()

    @asynccontextmanager
    async def app(
        self,
        *,
        choose: Choose = "weighted",
        traffic: Mapping[str, float] | None = None,
        limits: Limits | None = None,
        said: Mapping[str, Mapping[str, object]] = {},
    ) -> AsyncIterator[App]:
        names = list(self.urls)
        deployments = [
            Deployment(
                name=name,
                backend=far(name, url, **said.get(name, {})),
                fallback=tuple(names[1:]) if name == "a" else (),
                limits=limits or Limits(),
            )
            for name, url in self.urls.items()
        ]
        for deployment in deployments:
            deployment.circuit = Circuit(deployment.name, self.clock)
        gateway = Gateway(
            deployments,
            {"all": traffic or dict.fromkeys(names, 1.0)},
            choose={"all": choose},
            chance=random.Random(7),
        )
        yield App(gateway, Config(server=self.settings), [KEY])
        await gateway.close()


@pytest.fixture
def two() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream, Farm]]:
    with ScriptedUpstream() as a, ScriptedUpstream() as b:
        a.on(PATH, hello("a"))
        b.on(PATH, hello("b"))
        yield a, b, Farm({"a": a.url, "b": b.url}, Clock())


Two = tuple[ScriptedUpstream, ScriptedUpstream, Farm]


def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def ask(app: App, path: str = PATH, **fields: object) -> httpx2.Response:
    async with client_of(app) as client:
        return await client.post(path, json={**CHAT, "model": "a", **fields})


async def metrics(app: App) -> dict[str, float]:
    async with client_of(app) as client:
        return await page(client)


def text_of(reply: httpx2.Response) -> str:
    return str(reply.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "failure",
    [
        wire.error(429, None, "Slow down", retry_after="7"),
        BUSY,
        wire.error(500, None, "Broken"),
        wire.error(401, "invalid_api_key", "Bad key"),
        wire.html(502),
        wire.json_reply({"error": {"message": "An error with status 200"}}),
        wire.events(),
        wire.events("{not json"),
        wire.events(wire.chat_chunk({"role": "assistant"}), done=False).ending("cut"),
        wire.Reply(end="silent"),
        wire.Reply(content_type="text/event-stream", end="hold"),
        DROP,
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_whatever_fails_before_the_first_token_is_answered_by_the_next(
    two: Two, failure: wire.Reply, streamed: bool
) -> None:
    a, b, farm = two
    a.on(PATH, failure)
    async with farm.app(said={"a": {"timeout_s": 0.1}}) as app:
        reply = await ask(app, stream=streamed)
        samples = await metrics(app)
    assert reply.status_code == 200
    assert "Hello from b" in reply.text
    assert reply.headers[HEADER] == reply.headers["x-ms-model-mesh-model-name"] == "b"
    assert len(b.requests) == 1
    (name,) = calls(samples)
    assert 'deployment="b"' in name
    assert samples['interlingua_fallbacks_total{deployment="a"}'] == 1
    # Once, by whoever answered.
    tokens = {n: v for n, v in samples.items() if n.startswith("interlingua_tokens_total")}
    assert set(tokens.values()) == {3, 2}
    assert all('deployment="b"' in name for name in tokens)


async def test_embeddings_fall_back_too(two: Two) -> None:
    a, b, farm = two
    a.on(EMBED, BUSY)
    b.on(EMBED, wire.embeddings([[1.0, 2.0]]))
    kind = {"type": "embedding"}
    async with farm.app(said={"a": kind, "b": kind}) as app, client_of(app) as client:
        reply = await client.post(EMBED, json={"input": ["x"], "model": "a"})
    assert reply.json()["data"][0]["embedding"] == [1.0, 2.0]
    assert reply.headers[HEADER] == "b"


async def test_a_connection_that_is_refused_is_tried_again_and_then_elsewhere(two: Two) -> None:
    _, b, farm = two
    farm.urls = {"a": closed_port(), "b": b.url}
    async with farm.app() as app:
        reply = await ask(app)
        samples = await metrics(app)
    assert text_of(reply) == "Hello from b"
    assert samples['interlingua_retries_total{deployment="a"}'] == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_connection_that_dies_before_a_byte_is_tried_again_once(
    two: Two, streamed: bool
) -> None:
    a, b, farm = two
    a.on(PATH, DROP, hello("a"))
    async with farm.app() as app:
        reply = await ask(app, stream=streamed)
        assert "Hello from a" in reply.text
        a.on(PATH, DROP)
        assert (await ask(app)).headers[HEADER] == "b"
    assert len(b.requests) == 1


async def test_nothing_is_begun_again_after_the_first_token(two: Two) -> None:
    a, b, farm = two
    begun = wire.events(wire.chat_chunk({"content": "Half an"}), done=False)
    a.on(PATH, begun.ending("cut"))
    body = json.dumps({**CHAT, "model": "a", "stream": True}).encode()
    async with farm.app() as app:
        caller = Caller(PATH, body)
        with pytest.raises(ConnectionAbortedError):
            await caller.call(app)
        assert b"Half an" in caller.body
        assert b'"error"' in caller.body
        assert b"[DONE]" not in caller.body
    assert len(a.requests) == 1
    assert b.requests == []


async def test_a_whole_answer_that_breaks_off_was_told_to_nobody_and_is_asked_for_elsewhere(
    two: Two,
) -> None:
    a, b, farm = two
    a.on(PATH, wire.events(wire.chat_chunk({"content": "Half an"}), done=False).ending("cut"))
    async with farm.app() as app:
        whole = await ask(app)
    assert whole.status_code == 200
    assert whole.headers["azureml-model-deployment"] == "b"
    assert len(a.requests) == len(b.requests) == 1


async def test_what_is_the_callers_fault_is_told_and_not_asked_elsewhere(two: Two) -> None:
    a, b, farm = two
    a.on(PATH, wire.error(400, "context_length_exceeded", "Too long"))
    async with farm.app() as app:
        for _ in range(FAILURES + 1):
            assert error_of(await ask(app))["code"] == "context_length_exceeded"
    assert len(a.requests) == FAILURES + 1
    assert b.requests == []


async def test_if_all_fail_the_first_failure_is_told(two: Two) -> None:
    a, b, farm = two
    a.on(PATH, wire.error(429, None, "Slow down", retry_after="7"))
    b.on(PATH, wire.error(400, "context_length_exceeded", "Too long"))
    async with farm.app() as app:
        reply = await ask(app)
        (counted,) = calls(await metrics(app))
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "7"
    assert "Slow down" in str(error_of(reply)["message"])
    assert 'deployment="a"' in counted


async def test_retry_after_is_honoured_and_then_over(two: Two) -> None:
    a, b, farm = two
    a.on(PATH, wire.error(429, None, "Slow down", retry_after="20"), hello("a"))
    async with farm.app() as app:
        assert [(await ask(app)).headers[HEADER] for _ in range(3)] == ["b", "b", "b"]
        assert len(a.requests) == 1
        async with client_of(app) as client:
            ready = await client.get("/health/ready")
            samples = await page(client)
        assert ready.status_code == 200
        assert ready.json() == {"status": "ready", "resting": {"a": "cooling"}}
        assert samples['interlingua_circuit_state{deployment="a",state="cooling"}'] == 1
        farm.clock.ahead_s = 21
        assert (await ask(app)).headers[HEADER] == "a"
    assert len(b.requests) == 3


async def test_who_rests_and_has_nobody_tells_how_long(two: Two) -> None:
    a, _, farm = two
    farm.urls = {"a": a.url}
    a.on(PATH, wire.error(429, None, "Slow down", retry_after="3600"))
    async with farm.app() as app:
        first, second = await ask(app), await ask(app)
    assert [first.status_code, second.status_code] == [429, 429]
    assert [first.headers["retry-after"], second.headers["retry-after"]] == ["3600", "60"]
    assert len(a.requests) == 1


async def test_a_circuit_opens_lets_one_call_try_and_closes(two: Two) -> None:
    a, b, farm = two
    a.on(PATH, wire.error(500, None, "Broken"))
    async with farm.app() as app:
        for _ in range(FAILURES + 2):
            assert (await ask(app)).headers[HEADER] == "b"
        assert len(a.requests) == FAILURES
        state = 'interlingua_circuit_state{deployment="a",state='
        assert (await metrics(app))[f'{state}"open"}}'] == 1
        farm.clock.ahead_s = FIRST_OPEN_S + 1
        assert (await ask(app)).headers[HEADER] == "b"
        assert len(a.requests) == FAILURES + 1
        farm.clock.ahead_s += FIRST_OPEN_S + 1
        assert (await ask(app)).headers[HEADER] == "b"
        assert len(a.requests) == FAILURES + 1
        farm.clock.ahead_s += FIRST_OPEN_S
        a.on(PATH, hello("a"))
        assert (await ask(app)).headers[HEADER] == "a"
        assert (await metrics(app))[f'{state}"closed"}}'] == 1
    assert len(b.requests) == FAILURES + 4


async def test_an_open_circuit_without_anybody_else_is_503_with_what_was_said(two: Two) -> None:
    a, _, farm = two
    farm.urls = {"a": a.url}
    a.on(PATH, wire.error(500, None, "The disk is full"))
    async with farm.app() as app:
        replies = [await ask(app) for _ in range(FAILURES + 1)]
    assert [reply.status_code for reply in replies] == [502] * FAILURES + [503]
    assert "The disk is full" in str(error_of(replies[-1])["message"])
    assert replies[-1].headers["retry-after"] == "5"
    assert len(a.requests) == FAILURES


async def test_a_spent_budget_tells_the_failure(two: Two) -> None:
    a, _, farm = two
    farm.urls = {"a": a.url}
    a.on(PATH, DROP)
    async with farm.app() as app:
        replies = await asyncio.gather(*(ask(app) for _ in range(FAILURES)))
        retries = (await metrics(app))['interlingua_retries_total{deployment="a"}']
    assert {reply.status_code for reply in replies} == {502}
    assert 1 <= retries < FAILURES
    assert len(a.requests) == FAILURES + retries


async def test_who_cannot_honour_the_request_is_passed_over(two: Two) -> None:
    a, b, farm = two
    said = {"a": {"stated": _TEXT_ONLY}}
    async with farm.app(said=said) as app:
        assert (await ask(app, seed=7)).headers[HEADER] == "b"
        assert (await ask(app)).headers[HEADER] == "a"
    assert b.requests[0].json()["seed"] == 7
    said = {"a": {"stated": _TEXT_ONLY}, "b": {"stated": Capabilities(parameters=frozenset())}}
    async with farm.app(said=said) as app:
        refused = await ask(app, seed=7, temperature=0.5)
        assert refused.status_code == 422
        assert error_of(refused)["code"] == "parameter_not_supported"
        a.on(PATH, BUSY)
        assert (await ask(app, temperature=0.5)).status_code == 503
    assert len(b.requests) == 1


async def test_the_changes_are_those_of_who_answered(two: Two) -> None:
    a, b, farm = two
    async with farm.app(said={"b": {"row": "mistral"}}) as app:
        assert "x-interlingua-changes" not in (await ask(app, seed=7)).headers
        a.on(PATH, BUSY)
        reply = await ask(app, seed=7)
    assert reply.headers["x-interlingua-changes"] == 'renamed=("seed";to="random_seed")'
    assert reply.json()["model"] == "b"
    assert b.requests[0].json()["random_seed"] == 7


async def test_an_endpoint_shares_by_weight_and_goes_on_where_one_fails(two: Two) -> None:
    a, _, farm = two
    async with farm.app(traffic={"a": 80, "b": 20}) as app, client_of(app) as client:

        async def several(times: int) -> Counter[str]:
            replies = [await client.post("/endpoints/all" + PATH, json=CHAT) for _ in range(times)]
            return Counter(reply.headers[HEADER] for reply in replies)

        assert (await several(60))["a"] / 60 == pytest.approx(0.8, abs=0.12)
        a.on(PATH, BUSY)
        assert await several(10) == {"b": 10}
        named = await client.post("/endpoints/all" + PATH, json=CHAT, headers={HEADER: "b"})
        assert named.headers[HEADER] == "b"
        # From now on it isn't asked first any more.
        asked = len(a.requests)
        assert await several(10) == {"b": 10}
        assert asked == len(a.requests)


async def test_the_least_busy_is_asked(two: Two) -> None:
    a, _, farm = two
    a.on(PATH, wire.Reply(end="silent"))
    async with farm.app(choose="least-busy") as app:
        waiting = Caller(PATH, json.dumps({**CHAT, "model": "a"}).encode())
        call = asyncio.create_task(waiting.call(app))
        while not a.requests:
            await asyncio.sleep(0.005)
        names = [(await ask(app, "/endpoints/all" + PATH)).headers[HEADER] for _ in range(5)]
        waiting.leave()
        await call
    assert names == ["b"] * 5


async def test_a_full_queue_overflows_to_the_next_and_counts_as_no_failure(two: Two) -> None:
    a, _, farm = two
    a.on(PATH, wire.Reply(end="silent"))
    limits = Limits(max_waiting=0)
    async with farm.app(limits=limits, said={"a": {"concurrency": 1}}) as app:
        waiting = Caller(PATH, json.dumps({**CHAT, "model": "a"}).encode())
        call = asyncio.create_task(waiting.call(app))
        while not a.requests:
            await asyncio.sleep(0.005)
        for _ in range(FAILURES + 1):
            assert (await ask(app)).headers[HEADER] == "b"
        assert app.gateway.deployments[0].circuit.state == "closed"
        waiting.leave()
        await call
    assert len(a.requests) == 1


async def test_equal_calls_are_never_put_together(two: Two) -> None:
    a, _, farm = two
    async with farm.app() as app:
        replies = await asyncio.gather(*(ask(app, temperature=0, seed=1) for _ in range(12)))
    assert {text_of(reply) for reply in replies} == {"Hello from a"}
    assert len(a.requests) == 12


async def test_a_queued_call_whose_caller_leaves_never_starts(two: Two) -> None:
    a, b, farm = two
    a.on(PATH, wire.Reply(end="silent"))
    body = json.dumps({**CHAT, "model": "a"}).encode()
    async with farm.app(said={"a": {"concurrency": 1}}) as app:
        first, queued = Caller(PATH, body), Caller(PATH, body)
        tasks = [asyncio.create_task(first.call(app))]
        async with asyncio.timeout(10):
            while not a.requests:
                await asyncio.sleep(0.005)
            tasks.append(asyncio.create_task(queued.call(app)))
            while app.gateway.deployments[0].calls_under_way < 2:
                await asyncio.sleep(0)
            queued.leave()
            await tasks[1]
            first.leave()
            await tasks[0]
            a.on(PATH, hello("a"))
            assert (await ask(app)).headers[HEADER] == "a"
    assert len(a.requests) == 2
    assert b.requests == []


async def test_a_client_that_reads_nothing_holds_the_provider_up(two: Two) -> None:
    a, _, farm = two
    event = b"data: %b\n\n" % json.dumps(wire.chat_chunk({"content": "x" * 16_000})).encode()
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 4000:
            sent += 1
            yield event

    a.on(PATH, wire.Reply(endless(), content_type="text/event-stream"))  # type: ignore[arg-type]  # one at a time
    body = json.dumps({**CHAT, "model": "a", "stream": True}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with farm.app() as app:
        with served(app) as url:
            port = int(url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(head.encode() + body)
                before = -1
                while sent != before or not sent:
                    before = sent
                    await asyncio.sleep(0.1)
                # What the sockets in between hold, and not the 64 MB that there would be.
                assert sent < 2000


@pytest.mark.parametrize("after", ["retry", "fallback"])
async def test_a_caller_may_leave_while_its_call_goes_on_elsewhere(two: Two, after: str) -> None:
    a, b, farm = two
    a.on(PATH, DROP if after == "retry" else BUSY)
    b.on(PATH, wire.Reply(end="silent"))
    async with farm.app() as app:
        caller = Caller(PATH, json.dumps({**CHAT, "model": "a"}).encode())
        call = asyncio.create_task(caller.call(app))
        async with asyncio.timeout(10):
            while not (a.requests if after == "retry" else b.requests):
                await asyncio.sleep(0.001)
            caller.leave()
            await call
            if after == "fallback":
                assert await asyncio.to_thread(b.left.wait, 5)
        assert all(each.calls_under_way == 0 for each in app.gateway.deployments)
    assert caller.sent == []
    assert len(a.requests) == 1


async def test_a_call_ends_at_its_deadline_wherever_it_is(two: Two) -> None:
    a, b, farm = two
    for upstream in (a, b):
        upstream.on(PATH, wire.Reply(end="silent"))
    farm.settings = ServerConfig(call_timeout_s=0.3)
    async with farm.app(said={"a": {"timeout_s": 0.1}}) as app:
        began = time.monotonic()
        reply = await ask(app)
        assert 0.25 < time.monotonic() - began < 2
        assert reply.status_code == 504
        assert app.gateway.deployments[1].circuit.state == "closed"
    assert len(b.requests) == 1


async def test_the_first_byte_and_the_next_have_limits_of_their_own(two: Two) -> None:
    a, _, farm = two
    farm.urls = {"a": a.url}
    begun = wire.events(wire.chat_chunk({"role": "assistant"}), done=False).ending("hold")
    for reply, times in (
        (wire.Reply(end="silent"), {"first_byte_timeout_s": 0.1, "timeout_s": 30}),
        (begun, {"first_byte_timeout_s": 30, "timeout_s": 0.1}),
    ):
        a.on(PATH, reply)
        async with farm.app(said={"a": times}) as app:
            began = time.monotonic()
            told = await ask(app)
        assert told.status_code == 504
        assert "within 0.1 seconds" in str(error_of(told)["message"])
        assert time.monotonic() - began < 5


async def test_an_address_that_swallows_connections_is_given_up_in_time(two: Two) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # Linux keeps one more than the backlog; who comes after gets no answer to its SYN.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        _, b, farm = two
        farm.urls = {"a": f"http://127.0.0.1:{address[1]}", "b": b.url}
        async with farm.app(said={"a": {"connect_timeout_s": 0.1}}) as app:
            assert (await ask(app)).headers[HEADER] == "b"
            farm.urls = {"a": farm.urls["a"]}
        async with farm.app(said={"a": {"connect_timeout_s": 0.1}}) as app:
            told = await ask(app)
    assert told.status_code == 503
    assert "within 0.1 seconds" in str(error_of(told)["message"])
