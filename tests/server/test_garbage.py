"""What a call made is gone when it ends: nothing of it waits for the collector."""

import gc
import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.backends.providers.http import create
from interlingua.backends.providers.registry import ProviderModel, find
from interlingua.gateway.limits import Limit

from ..support import scripted_upstream as wire
from .service import CHAT, KEY, app_of, failing, served

CALLS = 20
PATH = "/chat/completions"
SAID = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
WHOLE = wire.json_reply({"id": "1", "object": "chat.completion", "model": "m", "choices": [SAID]})
FAILS = {"messages": [{"role": "user", "content": "fail"}], "model": "far"}


@pytest.fixture
def port() -> Iterator[int]:
    with wire.ScriptedUpstream() as upstream:
        upstream.on(PATH, _answer)
        row = find("openai")
        assert row is not None
        far = create(
            ProviderModel(
                name="far", row=row, base_url=upstream.url, key="k", model="m", publisher="P"
            )
        )
        app = app_of(EchoBackend(), far, failing(), limit=Limit(requests_per_minute=10**6))
        with served(app) as url:
            yield int(url.rpartition(":")[2])


def _answer(request: wire.Request) -> wire.Reply:
    asked = json.loads(request.body)
    if asked["messages"][0]["content"] == "fail":
        return wire.error(500, None, "It failed.")
    return wire.chat_stream("Hello") if asked.get("stream") else WHOLE


@pytest.fixture
def collected() -> Iterator[None]:
    """The collector stands still, and frees nothing."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def left_by(port: int, path: str, body: object, status: int) -> dict[str, int]:
    """What of ours is garbage after some calls, and how often."""
    assert ask(port, path, body) == status  # what the first one sets up is nobody's garbage
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    for _ in range(CALLS):
        ask(port, path, body)
    gc.collect()
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    return {kind: count for kind, count in kinds.items() if kind.startswith("interlingua")}


def ask(port: int, path: str, body: object) -> int:
    """The status, once all of the reply is there."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + data)
        return int(connection.makefile("rb").read().split(b" ", 2)[1])


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (PATH, {**CHAT, "model": "echo"}, 200),
        (PATH, {**CHAT, "model": "echo", "stream": True}, 200),
        (PATH, {**CHAT, "model": "far"}, 200),
        (PATH, {**CHAT, "model": "far", "stream": True}, 200),
        (PATH, FAILS, 502),
        (PATH, {**FAILS, "stream": True}, 502),
        ("/embeddings", {"input": ["one"], "model": "echo"}, 200),
        (PATH, {**CHAT, "model": "failing"}, 503),
        (PATH, {**CHAT, "model": "failing", "stream": True}, 200),
        (PATH, {**CHAT, "model": "nobody"}, 400),
        (PATH, {**CHAT, "model": "echo", "temperature": "hot"}, 422),
        (PATH, {}, 422),
        ("/nowhere", {}, 404),
    ],
    ids=str,
)
def test_no_call_leaves_a_cycle(port: int, path: str, body: object, status: int) -> None:
    left = left_by(port, path, body, status)
    # A connection is one with its parser. Of the last call the server may be about to let go.
    left.pop("interlingua.server.protocol.Connection", None)
    assert {kind: count for kind, count in left.items() if count >= CALLS - 1} == {}
