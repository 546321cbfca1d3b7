"""A caller that leaves, at every moment of its call."""

import asyncio
import json

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig

from .service import CHAT, Caller, SpeakingBackend, app_of, failing, hanging

pytestmark = pytest.mark.anyio
BODY = json.dumps(CHAT).encode()
STREAM = json.dumps({**CHAT, "stream": True}).encode()


@pytest.mark.parametrize(("body", "words"), [(BODY, 0), (BODY, 3), (STREAM, 0), (STREAM, 3)])
async def test_a_caller_that_leaves_cancels_its_call(body: bytes, words: int) -> None:
    backend = hanging(words)
    caller = Caller("/chat/completions", body)
    call = asyncio.create_task(caller.call(app_of(backend)))
    async with asyncio.timeout(5):
        await backend.started.wait()
        caller.leave()
        await backend.closed.wait()
        await call


async def test_a_caller_that_leaves_while_it_waits_for_its_place_frees_it() -> None:
    backend = hanging()
    backend.concurrency = 1
    app = app_of(backend)
    first, second = Caller("/chat/completions", BODY), Caller("/chat/completions", BODY)
    calls = [asyncio.create_task(first.call(app))]
    async with asyncio.timeout(5):
        await backend.started.wait()
        calls.append(asyncio.create_task(second.call(app)))
        await asyncio.sleep(0)
        second.leave()
        await calls[1]
        assert not backend.closed.is_set()
        first.leave()
        await calls[0]


async def test_a_caller_that_leaves_within_its_body_gets_nothing() -> None:
    caller = Caller("/chat/completions", b"")
    caller._messages.get_nowait()
    caller.say(b'{"mess', more=True)
    caller.leave()
    await caller.call(app_of(EchoBackend()))
    assert caller.sent == []


async def test_a_cancelled_call_is_cancelled_when_the_server_goes_on() -> None:
    backend = hanging()
    call = asyncio.create_task(Caller("/chat/completions", BODY).call(app_of(backend)))
    async with asyncio.timeout(5):
        await backend.started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert backend.closed.is_set()


async def test_a_call_that_a_stopping_server_cancels_is_told_so() -> None:
    backend = hanging()
    app = app_of(backend)
    caller = Caller("/chat/completions", BODY)
    call = asyncio.create_task(caller.call(app))
    async with asyncio.timeout(5):
        await backend.started.wait()
        app.drain()
        call.cancel()
        await call
    assert caller.status == 503
    assert b"stopping" in caller.body


async def test_a_half_sent_call_does_not_hold_up_a_server_that_stops() -> None:
    app = app_of(EchoBackend())
    caller = Caller("/chat/completions", b"")
    caller._messages.get_nowait()
    caller.say(b'{"mess', more=True)
    call = asyncio.create_task(caller.call(app))
    await asyncio.sleep(0)
    app.drain()
    async with asyncio.timeout(5):
        await call
    assert caller.status == 408


async def test_a_stream_that_fails_is_aborted_after_its_error() -> None:
    caller = Caller("/chat/completions", STREAM)
    with pytest.raises(ConnectionAbortedError):
        await caller.call(app_of(failing()))
    assert caller.status == 200
    assert b"word1" in caller.body
    assert caller.body.rstrip().split(b"\n\n")[-1].startswith(b'data: {"error"')
    assert b"[DONE]" not in caller.body
    assert all(message.get("more_body") for message in caller.sent[1:])


async def test_a_stream_that_takes_too_long_is_aborted_after_its_error() -> None:
    caller = Caller("/v1/chat/completions", STREAM)
    app = app_of(hanging(words=2), settings=ServerConfig(call_timeout_s=0.05))
    with pytest.raises(ConnectionAbortedError):
        await caller.call(app)
    assert b"call_timeout_s" in caller.body
    assert b"[DONE]" not in caller.body


async def test_a_slow_reader_slows_the_backend_down() -> None:
    backend = SpeakingBackend("endless", words=10_000)
    caller = Caller("/chat/completions", STREAM)
    reads = asyncio.Semaphore(3)

    async def send(message: object) -> None:
        await reads.acquire()

    call = asyncio.create_task(app_of(backend)(caller.scope, caller.receive, send))
    for _ in range(100):
        await asyncio.sleep(0)
    assert 2 <= backend.spoken <= 5
    caller.leave()
    async with asyncio.timeout(5):
        await call
    assert backend.closed.is_set()


async def test_a_reader_that_takes_nothing_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlingua.server.exchange.STALL_S", 0.02)
    backend = hanging(words=10)
    caller = Caller("/chat/completions", STREAM)

    async def send(message: object) -> None:
        if backend.spoken > 3:
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await app_of(backend)(caller.scope, caller.receive, send)
    assert backend.closed.is_set()


async def test_a_backend_that_is_slow_is_no_reader_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("interlingua.server.exchange.STALL_S", 0.01)
    caller = Caller("/chat/completions", STREAM)
    app = app_of(hanging(words=2), settings=ServerConfig(call_timeout_s=0.1))
    with pytest.raises(ConnectionAbortedError):
        await caller.call(app)
    assert b"call_timeout_s" in caller.body


async def test_a_reader_that_takes_nothing_does_not_hold_up_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("interlingua.server.app._LAST_WORD_S", 0.02)
    backend = failing()
    caller = Caller("/chat/completions", STREAM)

    async def send(message: object) -> None:
        if backend.closed.is_set():
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionAbortedError):
            await app_of(backend)(caller.scope, caller.receive, send)
