"""Connections: those who send slowly, and those that are idle when the server ends."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator

import pytest

from interlingua.backends.base import CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.server import endpoint, protocol, run
from interlingua.server.live import Live
from interlingua.server.run import listen, server_of
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.usage import Usage

from .service import KEY, app_of, served

HALF_A_CALL = (
    f"POST /chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n"
    'content-type: application/json\r\ncontent-length: 53\r\n\r\n{"messages":'
).encode()
OTHER_HALF = b'[{"role": "user", "content": "one"}]}'.ljust(41)


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(10)
    return connection


def test_a_head_that_takes_too_long_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    with served(app_of(EchoBackend())) as url, connect(url) as slow, connect(url) as quick:
        slow.sendall(b"GET / HTTP/1.1\r\nho")
        began = time.monotonic()
        assert slow.recv(100) == b""
        assert time.monotonic() - began < 5
        # A whole head in one piece has nothing to fear, nor has a connection without a byte.
        quick.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert quick.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_head_in_pieces_that_comes_in_time_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 5.0)
    with served(app_of(EchoBackend())) as url, connect(url) as connection:
        for place in range(3):
            for piece in (b"GET / HT", b"TP/1.1\r\nho", b"st: x\r\n\r", b"\n"):
                connection.sendall(piece)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200"), place


def test_a_body_that_takes_too_long_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_TIMEOUT_S", 0.3)
    with served(app_of(EchoBackend())) as url, connect(url) as slow:
        slow.sendall(HALF_A_CALL)
        reply = b""
        while piece := slow.recv(4096):
            reply += piece
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in reply


def test_a_connection_is_closed_once_it_has_been_idle_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_KEEP_ALIVE_S", 1)
    with served(app_of(EchoBackend())) as url, connect(url) as connection:
        began = time.monotonic()
        # Every reply begins the time anew.
        while time.monotonic() - began < 1.5:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        last = time.monotonic()
        assert connection.recv(100) == b""
        assert 0.9 < time.monotonic() - last < 8


class Answering(EchoBackend):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(name="answering")
        self.asked = threading.Event()
        self.answers = asyncio.Event()

    async def chat(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, call: CallContext
    ) -> AsyncGenerator[ChatDelta]:
        self.asked.set()
        await self.answers.wait()
        yield ChatDelta(text="one", finish_reason="stop", usage=Usage(1, 1))


def test_a_call_answered_as_its_caller_has_just_left_is_no_completed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer is there in the turn of the loop that sees the connection's end."""
    backend = Answering()
    left = protocol.Connection.eof_received

    def eof_received(self: protocol.Connection) -> None:
        backend.answers.set()
        left(self)

    monkeypatch.setattr(protocol.Connection, "eof_received", eof_received)
    with served(app_of(backend)) as url:
        with connect(url) as leaving:
            leaving.sendall(HALF_A_CALL + OTHER_HALF)
            assert backend.asked.wait(10)
            leaving.shutdown(socket.SHUT_WR)
            assert leaving.recv(1000) == b""
        with connect(url) as asking:
            head = f"GET /metrics HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\nconnection: close"
            asking.sendall(f"{head}\r\n\r\n".encode())
            page = b"".join(iter(lambda: asking.recv(65536), b""))
    assert b'status="499"' in page
    assert b'status="200"' not in page


class Ending:
    """A server whose place another one takes, and that is told to end."""

    def __init__(self) -> None:
        listener = listen("127.0.0.1", 0)
        self.address = listener.getsockname()
        settings = ServerConfig(drain_timeout_s=5)
        app = Live(app_of(EchoBackend()))
        started = threading.Event()
        self.server = server_of(app, settings, on_start=started.set, replaced=True)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self.thread.start()
        started.wait()

    def end(self) -> None:
        self.server.should_exit = True


def test_what_comes_on_an_idle_connection_of_an_ending_server_is_answered() -> None:
    ending = Ending()
    with (
        socket.create_connection(ending.address) as late,
        socket.create_connection(ending.address) as idle,
    ):
        for connection in (late, idle):
            connection.settimeout(10)
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"connection: close" not in connection.recv(1000)
        ending.end()
        began = time.monotonic()
        while ending.server.server_state.connections and time.monotonic() - began < 0.3:
            late.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = late.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")
            if b"connection: close" in answer:
                break
        else:
            pytest.fail("it never said that it ends")
        assert idle.recv(100) == b""
        assert time.monotonic() - began > 0.8
    ending.thread.join()
