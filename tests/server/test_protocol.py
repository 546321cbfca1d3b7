"""Connections: those who send slowly, and those that are idle when the server ends."""

import socket
import threading
import time

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.server import endpoint, protocol, run
from interlingua.server.live import Live
from interlingua.server.run import listen, server_of

from .service import KEY, app_of, served

HALF_A_CALL = (
    f"POST /chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n"
    'content-type: application/json\r\ncontent-length: 53\r\n\r\n{"messages":'
).encode()


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
