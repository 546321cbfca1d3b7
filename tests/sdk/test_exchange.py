"""Retries, tokens, streams and changes: what our clients do beyond being alike."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scripted_wire import WAIT_S, Reply, Wire, chunk, events, stream

from interlingua import AsyncClient, ChatCompletionsClient, Client, CompletionsClient, aio
from interlingua.credentials import AccessToken, AzureKeyCredential
from interlingua.exceptions import (
    AzureError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from interlingua.models import ChatCompletions, StreamingChatCompletionsUpdate
from interlingua.sdk.address import Address
from interlingua.sdk.changes import Changes, read_changes
from interlingua.sdk.exchange import Access, AskToken, Send, Wait, exchange
from interlingua.sdk.observe import Call, Observing
from interlingua.sdk.replies import HttpRequest, SyncReply
from interlingua.sdk.settings import Clock, Settings

HELLO = [{"role": "user", "content": "hello"}]
WHOLE = Reply(
    (b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]}',)
)


class Stopped(Clock):
    """A clock that only waiting moves, and that never leaves anything to chance."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def now(self) -> float:
        return 1_730_000_000.0 + sum(self.waited)

    def chance(self) -> float:
        return 1.0

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def asleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def replied(request: HttpRequest, status: int, **headers: str) -> SyncReply:
    head = SyncReply(_Head(request, status, headers), lambda: iter(()), lambda: None)
    head.read()
    return head


class _Head(SyncReply):
    def __init__(self, request: HttpRequest, status: int, headers: dict[str, str]) -> None:
        self.request, self.status_code, self.reason = request, status, ""
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def pauses(method: str, *replies: tuple[int, dict[str, str]], **told: Any) -> list[float]:
    """How long the plan waits before each next try, when these replies come."""
    clock = Stopped()
    access = Access(Address.parse("http://127.0.0.1"), "k")
    settings = Settings(clock=clock, **told)
    plan = exchange(HttpRequest(method, "http://127.0.0.1/x"), access, settings, streams=False)
    waiting = list(replies)
    step = next(plan)
    try:
        while True:
            if isinstance(step, Wait):
                clock.sleep(step.seconds)
                step = plan.send(None)
            else:
                assert isinstance(step, Send)
                status, headers = waiting.pop(0)
                step = plan.send(replied(step.request, status, **headers))
    except StopIteration:
        assert waiting == []
    return clock.waited


@pytest.mark.parametrize(
    ("method", "status", "repeated"),
    [
        *(("POST", status, True) for status in (500, 503, 504)),
        *(("POST", status, False) for status in (400, 401, 404, 408, 422, 429, 502)),
        *(("GET", status, True) for status in (408, 429, 500, 502, 503, 504, 507)),
        *(("GET", status, False) for status in (400, 401, 404, 501, 505)),
    ],
)
def test_statuses_are_repeated_as_azure_core_does(method: str, status: int, repeated: bool) -> None:
    replies = [(status, {}), (200, {})] if repeated else [(status, {})]
    assert pauses(method, *replies) == ([0.8] if repeated else [])


def test_a_call_is_repeated_three_times_each_after_twice_as_long() -> None:
    assert pauses("POST", *[(503, {})] * 4) == [0.8, 1.6, 3.2]


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("retry_after", "7", 7.0),
        ("retry_after", "0", 0.0),
        ("retry_after_ms", "250", 0.25),
        ("retry_after", "Sun, 27 Oct 2024 03:33:25 GMT", 5.0),
        ("retry_after", "Sun, 27 Oct 2019 03:33:25 GMT", 0.0),
    ],
)
def test_retry_after_is_honoured(header: str, value: str, seconds: float) -> None:
    assert pauses("POST", (429, {header: value}), (200, {})) == [seconds]


def test_a_retry_after_that_is_no_time_leaves_the_pause_to_the_client() -> None:
    huge = "Sun, 27 Oct 2024 03:333333333333333333333333:25 GMT"
    usual = pauses("POST", (503, {}), (200, {}))
    assert pauses("POST", (503, {"retry_after": huge}), (200, {})) == usual


def test_nothing_is_repeated_beyond_the_timeout() -> None:
    assert pauses("POST", (429, {"retry_after": "60"}), timeout=30.0) == []


def test_retries_can_be_turned_off(wire: Wire) -> None:
    assert pauses("POST", (503, {"retry_after": "1"}), retry_total=0) == []


def test_a_call_waits_and_succeeds(wire: Wire) -> None:
    clock = Stopped()
    wire.answer("/chat/completions", Reply((b"{}",), 429, headers={"retry-after": "3"}), WHOLE)
    with ChatCompletionsClient(wire.url, "k", clock=clock) as client:
        assert client.complete(messages=HELLO).choices[0].message.content == "hi"
    assert clock.waited == [3.0]
    assert len(wire.heard) == 2


def test_silence_is_a_timeout(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("one"), end="hold"))
    with ChatCompletionsClient(wire.url, "k", read_timeout=0.05) as client:
        updates = client.complete(messages=HELLO, stream=True)
        assert next(updates).choices[0].delta.content == "one"
        with pytest.raises(ServiceResponseTimeoutError):
            next(updates)


def test_a_token_is_kept_until_it_nearly_ends() -> None:
    clock = Stopped()
    access = Access(Address.parse("https://example.org"), _Tokens())
    asked = []
    for later in (0.0, 1000.0, 3000.0):
        clock.waited = [later]
        plan = access.authorize(
            request := HttpRequest("GET", "https://example.org"), Settings(clock=clock)
        )
        step = next(plan, None)
        if isinstance(step, AskToken):
            asked.append(step.scopes)
            with pytest.raises(StopIteration):
                plan.send(AccessToken(f"t{len(asked)}", int(clock.now()) + 3200))
        assert request.headers["authorization"] == f"Bearer t{len(asked)}"
    assert asked == [("https://ml.azure.com/.default",)] * 2


class _Tokens:
    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        raise AssertionError(scopes)


def test_a_key_can_be_replaced_and_is_never_shown(wire: Wire) -> None:
    wire.answer("/chat/completions", WHOLE)
    key = AzureKeyCredential("first")
    with ChatCompletionsClient(wire.url, key) as client:
        client.complete(messages=HELLO)
        key.update("second")
        client.complete(messages=HELLO)
        assert "second" not in repr(vars(client))
    assert [heard.headers["api-key"] for heard in wire.heard] == ["first", "second"]


def test_without_a_credential_none_is_sent(wire: Wire) -> None:
    wire.answer("/chat/completions", WHOLE)
    with ChatCompletionsClient(wire.url) as client:
        client.complete(messages=HELLO)
    assert {"api-key", "authorization"} & set(wire.heard[0].headers) == set()


def test_the_credential_goes_to_its_own_server_alone(wire: Wire) -> None:
    wire.answer("/info", Reply((b"{}",)))
    with ChatCompletionsClient("http://127.0.0.1:1", "k") as client:
        assert client.send_request(HttpRequest("GET", f"{wire.url}/info")).json() == {}
    with ChatCompletionsClient(wire.url, "k") as client:
        assert client.send_request(HttpRequest("GET", "/info")).status_code == 200
        assert client.send_request(HttpRequest("GET", "/nowhere")).status_code == 404
    assert [heard.headers.get("api-key") for heard in wire.heard] == [None, "k", "k"]


def test_a_redirection_is_an_error_that_names_the_place(wire: Wire) -> None:
    wire.answer("/chat/completions", Reply((), 307, headers={"location": "http://elsewhere/"}))
    with (
        ChatCompletionsClient(wire.url, "k") as client,
        pytest.raises(HttpResponseError, match="http://elsewhere/"),
    ):
        client.complete(messages=HELLO)
    assert len(wire.heard) == 1


def test_an_unknown_keyword_is_named() -> None:
    with pytest.raises(TypeError, match="warmth"):
        ChatCompletionsClient("http://127.0.0.1", "k", warmth=1)  # type: ignore[call-arg]


def test_closing_a_stream_cancels_the_call(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("one"), end="hold"))
    client = ChatCompletionsClient(wire.url, "k")
    with client, client.complete(messages=HELLO, stream=True) as updates:
        assert next(updates).choices[0].delta.content == "one"
    assert wire.left.wait(WAIT_S)


@pytest.mark.parametrize("end", ["cut", "whole"])
def test_a_stream_that_ends_too_early_is_an_error(wire: Wire, end: Any) -> None:
    wire.answer("/chat/completions", stream(chunk("half"), end=end))
    with ChatCompletionsClient(wire.url, "k") as client, pytest.raises(IncompleteReadError):
        list(client.complete(messages=HELLO, stream=True))


def test_a_failure_inside_a_stream_is_raised_as_it_is_stated(wire: Wire) -> None:
    failure = '{"error":{"code":"model_not_ready","message":"the engine crashed"}}'
    wire.answer("/chat/completions", stream(chunk("half"), failure, end="cut"))
    with (
        ChatCompletionsClient(wire.url, "k") as client,
        pytest.raises(HttpResponseError, match="the engine crashed") as caught,
    ):
        list(client.complete(messages=HELLO, stream=True))
    assert caught.value.error is not None
    assert caught.value.error.code == "model_not_ready"


def test_a_reply_that_makes_no_sense_is_an_error(wire: Wire) -> None:
    for body in (b"<html>", b"[]"):
        wire.answer("/chat/completions", Reply((body,)))
        with ChatCompletionsClient(wire.url, "k") as client, pytest.raises(HttpResponseError):
            client.complete(messages=HELLO)


CHANGED = 'dropped=("seed" "a\\"b" %"%e6%97%a5");more=2, renamed=("max_tokens";to="m")'


def test_the_changes_of_a_reply_are_told(wire: Wire) -> None:
    expected = Changes(("seed", 'a"b', "日"), (("max_tokens", "m"),), 2)
    assert read_changes(CHANGED) == expected
    headers = {"x-interlingua-changes": CHANGED}
    wire.answer("/chat/completions", Reply(WHOLE.chunks, headers=headers), WHOLE)
    with ChatCompletionsClient(wire.url, "k") as client:
        assert client.complete(messages=HELLO).changes == expected
        assert not client.complete(messages=HELLO).changes


def test_a_text_is_completed_whole_and_in_pieces(wire: Wire) -> None:
    piece = {"id": "c", "choices": [{"index": 0, "text": " upon", "finish_reason": "stop"}]}
    wire.answer("/completions", Reply((json.dumps(piece).encode(),)), events(json.dumps(piece)))
    with CompletionsClient(wire.url, "k", max_tokens=3) as client:
        assert client.complete(prompt="Once").choices[0].text == " upon"
        pieces = list(client.complete(prompt="Once", stream=True))
    assert [each.choices[0].text for each in pieces] == [" upon"]
    assert wire.heard[0].json() == {"max_tokens": 3, "prompt": "Once"}


def test_one_client_has_all_operations(wire: Wire) -> None:
    wire.answer("/chat/completions", WHOLE, events(chunk("a"), chunk("", "stop")))
    wire.answer("/embeddings", Reply((b'{"data": [{"index": 0, "embedding": [1.0]}]}',)))
    wire.answer("/images/embeddings", Reply((b'{"data": []}',)))
    wire.answer("/info", Reply((b'{"model_name": "m"}',)))
    wire.answer("/v1/models", Reply((b'{"data": [{"id": "phi"}]}',)))
    with Client(f"{wire.url}/endpoints/e", "k") as client:
        assert [each.id for each in client.models()] == ["phi"]
    with Client(wire.url, "k") as client:
        assert client.chat("hello", model="phi").choices[0].message.content == "hi"
        with client.stream_chat(HELLO) as updates:
            assert "".join(u.choices[0].delta.content or "" for u in updates) == "a"
        assert client.embed("a").data[0].embedding == [1.0]
        assert client.embed_images([]).data == []
        assert client.info().model_name == "m"
    assert wire.heard[1].path == "/chat/completions?api-version=2025-04-01"
    assert wire.heard[1].json() == {"model": "phi", "messages": HELLO}


@pytest.mark.anyio
async def test_asynchronous_clients_do_the_same(wire: Wire) -> None:
    clock = Stopped()
    busy = Reply((b"{}",), status=503, headers={"retry-after": "2"})
    wire.answer("/chat/completions", busy, WHOLE, events(chunk("a"), chunk("b", "stop")))
    async with aio.ChatCompletionsClient(wire.url, "k", clock=clock) as client:
        whole = await client.complete(messages=HELLO)
        assert whole.choices[0].message.content == "hi"
        updates: AsyncIterator[Any] = await client.complete(messages=HELLO, stream=True)
        assert [each.choices[0].delta.content async for each in updates] == ["a", "b"]
    assert clock.waited == [2.0]


@pytest.mark.anyio
async def test_closing_an_asynchronous_stream_cancels_the_call(wire: Wire) -> None:
    wire.answer("/chat/completions", stream(chunk("one"), end="hold"))
    async with aio.ChatCompletionsClient(wire.url, "k") as client:
        async with await client.complete(messages=HELLO, stream=True) as updates:
            assert (await anext(updates)).choices[0].delta.content == "one"
        assert wire.left.wait(WAIT_S)


@pytest.mark.anyio
async def test_asynchronous_tokens_are_awaited(wire: Wire) -> None:
    class Credential:
        async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            return AccessToken("async", int(time.time()) + 3600)

    wire.answer("/info", Reply((b'{"model_type": "embedding"}',)))
    loaded = await aio.load_client(wire.url, Credential(), enforce_https=False)
    async with loaded:
        assert isinstance(loaded, aio.EmbeddingsClient)
    assert wire.heard[0].headers["authorization"] == "Bearer async"
    assert "api-key" not in wire.heard[0].headers


class Notes:
    """An observer and its watch, which writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, call: Call) -> "Notes":
        self.told.append((call.operation, call.model, call.streams, call.host))
        return self

    def headers(self) -> dict[str, str]:
        return {"traceparent": "00-1"}

    def replied(self, result: Any) -> None:
        self.told.append(type(result))

    def opened(self) -> None:
        self.told.append("opened")

    def updated(self, update: Any) -> None:
        self.told.append(type(update))

    def ended(self, error: BaseException | None) -> None:
        self.told.append(type(error))


def test_an_observer_is_told_of_every_call(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    monkeypatch.setattr(Observing, "observer", notes)
    failed = Reply((b"{}",), status=400)
    wire.answer("/chat/completions", WHOLE, events(chunk("", "stop")), events(chunk("a")), failed)
    began = ("chat", "phi", False, "127.0.0.1")
    with ChatCompletionsClient(wire.url, "k", model="phi") as client:
        client.complete(messages=HELLO)
        assert notes.told == [began, ChatCompletions, type(None)]
        notes.told.clear()
        list(client.complete(messages=HELLO, stream=True))
        streamed = ("chat", "phi", True, "127.0.0.1")
        update = StreamingChatCompletionsUpdate
        assert notes.told == [streamed, "opened", update, type(None)]
        notes.told.clear()
        client.complete(messages=HELLO, stream=True).close()
        assert notes.told == [streamed, "opened", GeneratorExit]
        notes.told.clear()
        with pytest.raises(AzureError):
            client.complete(messages=HELLO)
        assert notes.told[-1].__name__ == "HttpResponseError"
    assert wire.heard[0].headers["traceparent"] == "00-1"


@pytest.mark.anyio
async def test_one_asynchronous_client_has_all_operations(wire: Wire) -> None:
    piece = json.dumps({"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]})
    wire.answer("/chat/completions", WHOLE, events(chunk("a"), chunk("", "stop")))
    wire.answer("/completions", Reply((piece.encode(),)), events(piece))
    wire.answer("/embeddings", Reply((b'{"data": [{"index": 0, "embedding": [1.0]}]}',)))
    wire.answer("/images/embeddings", Reply((b'{"data": []}',)))
    wire.answer("/info", Reply((b'{"model_name": "m"}',)))
    wire.answer("/v1/models", Reply((b'{"data": [{"id": "phi"}]}',)))
    async with AsyncClient(wire.url, "k") as client:
        assert (await client.chat("hello")).choices[0].message.content == "hi"
        async with await client.stream_chat("hello") as updates:
            assert not updates.changes
            assert [u.choices[0].delta.content async for u in updates] == ["a", ""]
        assert (await client.complete("a")).choices[0].text == "b"
        pieces = await client.stream_completion("a")
        assert [each.choices[0].text async for each in pieces] == ["b"]
        assert (await client.embed("a")).data[0].embedding == [1.0]
        assert (await client.embed_images([])).data == []
        assert (await client.info()).model_name == "m"
        assert [each.id for each in await client.models()] == ["phi"]
        reply = await client.send_request(HttpRequest("GET", "/info", params={"a": "b"}))
        assert reply.json() == {"model_name": "m"}
        assert str(client).endswith("{'model_name': 'm'}")


@pytest.mark.anyio
@pytest.mark.parametrize("client", [aio.EmbeddingsClient, aio.ImageEmbeddingsClient])
async def test_asynchronous_failures_have_the_same_names(wire: Wire, client: Any) -> None:
    async with client(wire.url, "k") as calls:
        with pytest.raises(ResourceNotFoundError):
            await calls.embed(input=[])
        with pytest.raises(ResourceNotFoundError, match="not_found"):
            await calls.get_model_info()
    async with client("http://127.0.0.1:1", "k") as calls:
        with pytest.raises(ServiceRequestError):
            await calls.embed(input=[])
