"""Connections beyond what a server may hold: sent away with a word, and others served on."""

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.server import crowd

from .service import app_of, served

ASKS = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@contextlib.contextmanager
def server_of(settings: ServerConfig) -> Iterator[int]:
    with served(app_of(EchoBackend()), settings) as url:
        yield int(url.rpartition(":")[2])


def connect(port: int, *, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def answer(connection: socket.socket) -> bytes:
    connection.sendall(ASKS)
    return connection.recv(65536)


def refusal(connection: socket.socket) -> str:
    """What it is told, all of which arrives, whether it has asked already or not."""
    connection.sendall(ASKS)
    head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "http/1.1 503 service unavailable"
    assert {"connection: close", "retry-after: 1", f"content-length: {len(body)}"} <= {*lines}
    message = json.loads(body)["error"]["message"]
    assert isinstance(message, str)
    return message


def room(port: int, *, source: str = "127.0.0.1") -> bool:
    """Whether one more is let in, once the server has noticed who left."""
    for _ in range(200):
        with connect(port, source=source) as connection:
            if answer(connection).startswith(b"HTTP/1.1 200"):
                return True
    return False


def test_one_connection_too_many_is_told_so_and_the_others_are_served_on() -> None:
    with server_of(ServerConfig(max_connections=2)) as port, connect(port) as first:
        with connect(port) as second:
            for connection in (first, second):
                assert answer(connection).startswith(b"HTTP/1.1 200")
            with connect(port) as third:
                assert "server.max_connections = 2" in refusal(third)
            for connection in (first, second):
                assert answer(connection).startswith(b"HTTP/1.1 200")
        assert room(port)


def test_an_address_with_too_many_keeps_no_other_out() -> None:
    with server_of(ServerConfig(max_connections_by_address=1)) as port:
        with connect(port) as first:
            assert answer(first).startswith(b"HTTP/1.1 200")
            with connect(port) as second:
                assert "server.max_connections_by_address = 1" in refusal(second)
            with connect(port, source="127.0.0.2") as other:
                assert answer(other).startswith(b"HTTP/1.1 200")
            assert answer(first).startswith(b"HTTP/1.1 200")
        assert room(port)


def test_who_does_not_go_when_told_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "_READING_S", 0.1)
    with (
        server_of(ServerConfig(max_connections=1)) as port,
        connect(port) as first,
        connect(port) as second,
    ):
        assert answer(first).startswith(b"HTTP/1.1 200")
        assert b"server.max_connections" in second.makefile("rb").read()


def test_who_comes_by_the_hundred_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "_MOST_READING", 0)
    monkeypatch.setattr(crowd, "_READING_S", 3600.0)
    with (
        server_of(ServerConfig(max_connections=1)) as port,
        connect(port) as first,
        connect(port) as second,
    ):
        assert answer(first).startswith(b"HTTP/1.1 200")
        assert b"server.max_connections" in second.makefile("rb").read()


class Peer:
    """A transport as far as its origin is asked."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get_extra_info(self, name: str) -> tuple[str, int, int, int]:
        assert name == "peername"
        return self.address, 1, 0, 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_network_that_one_caller_may_have_is_one_origin(one: str, other: str, same: bool) -> None:
    origins = {crowd._origin(Peer(address)) for address in (one, other)}  # type: ignore[arg-type]
    assert (len(origins) == 1) == same
