"""A server in process, with backends that repeat, break, hang and fail."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import cast

import httpx2

from interlingua.backends.base import Backend, CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import Config, KeyConfig, ServerConfig
from interlingua.errors import Unavailable
from interlingua.gateway.allowance import of_key
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.gateway import Gateway
from interlingua.gateway.limits import Limit, OwnShares
from interlingua.server.app import App
from interlingua.server.asgi import Message
from interlingua.server.live import Live
from interlingua.server.run import listen, server_of, url_of
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.models import Capabilities

KEY = "test-key"
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


class SpeakingBackend(EchoBackend):
    """Says some words, then fails, or hangs where there is no failure."""

    def __init__(self, name: str, *, words: int, failure: Exception | None = None) -> None:
        chat_only = Capabilities(operations=frozenset(["chat_completions"]))
        super().__init__(name=name, capabilities=chat_only)
        self.words = words
        self.failure = failure
        self.spoken = 0
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        #: The same facts for tests outside the server's thread: all words said, and closed.
        self.said = threading.Event()
        self.ended = threading.Event()

    async def chat(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, call: CallContext
    ) -> AsyncGenerator[ChatDelta]:
        self.started.set()
        try:
            for number in range(self.words):
                self.spoken += 1
                yield ChatDelta(text=f"word{number} ")
            self.said.set()
            if self.failure is not None:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.closed.set()
            self.ended.set()


def failing() -> SpeakingBackend:
    return SpeakingBackend("failing", words=2, failure=Unavailable("The engine ended."))


def defective() -> SpeakingBackend:
    return SpeakingBackend("defective", words=0, failure=ZeroDivisionError("secret detail"))


def hanging(words: int = 0) -> SpeakingBackend:
    return SpeakingBackend("hanging", words=words)


def app_of(
    *backends: Backend,
    settings: ServerConfig | None = None,
    limits: Limits | None = None,
    limit: Limit | None = None,
) -> App:
    """``limit``: that of the key."""
    deployments = [
        Deployment(name=backend.info.model_name, backend=backend, limits=limits or Limits())
        for backend in backends
    ]
    gateway = Gateway(deployments, {"support": {deployments[0].name: 1}})
    config = Config(server=settings or ServerConfig(), key=(KeyConfig(name="tests", key=KEY),))
    shares = None if limit is None else OwnShares({of_key("tests"): limit})
    return App(gateway, config, [KEY], shares=shares)


def client_of(app: App, key: str | None = KEY) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]  # looser messages
    headers = {"api-key": key} if key is not None else {}
    return httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def error_of(response: httpx2.Response) -> dict[str, object]:
    """The error's own object; every reply of the server has it as an object."""
    error = response.json()["error"]
    assert isinstance(error, dict)
    return error


@contextlib.contextmanager
def served(
    app: App, settings: ServerConfig | None = None, *, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """The address of the app behind a real server on a real port, until the block ends."""
    listener = listen("127.0.0.1", 0)
    server = server_of(Live(app), settings or ServerConfig(drain_timeout_s=1), tls=tls)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield url_of(listener, "https" if tls else "http")
    finally:
        server.should_exit = True
        thread.join()


class Caller:
    """An ASGI server of one request, which can leave in the middle."""

    def __init__(self, path: str, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        given = {"api-key": KEY, **(headers or {})}
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in given.items()],
        }
        self.sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": False})

    def say(self, body: bytes, *, more: bool) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self, app: App) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def status(self) -> int | None:
        return cast("int", self.sent[0]["status"]) if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(cast("bytes", message.get("body", b"")) for message in self.sent[1:])
