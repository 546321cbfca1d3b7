"""Fault × operation on the callers' side: a call that breaks is over, and on record once."""

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from ..server.service import KEY
from ..support.fault_proxy import Fault
from .stand import CALLS, Call, Stand, standing

_NO_LINGER = struct.pack("ii", 1, 0)
#: One kind of provider: which one it is makes no difference to a caller.
ONES = [call for call in CALLS if call.provider == "azure"]


def _request(call: Call) -> bytes:
    path, body = call.target
    lines = [
        f"POST {path} HTTP/1.1",
        "host: test",
        f"api-key: {KEY}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    return "\r\n".join((*lines, "", "")).encode() + body


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    end.close()


def _in_small_pieces(end: socket.socket, request: bytes) -> bytes:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(request), 3):
        end.sendall(request[start : start + 3])
    return _rest(end)


def _leaving_in_the_head(end: socket.socket, request: bytes) -> bytes:
    end.sendall(request[:40])
    _reset(end)
    return b""


def _leaving_in_the_body(end: socket.socket, request: bytes) -> bytes:
    end.sendall(request[:-5])
    _reset(end)
    return b""


def _leaving_at_once(end: socket.socket, request: bytes) -> bytes:
    end.sendall(request)
    _reset(end)
    return b""


def _leaving_with_the_first_byte(end: socket.socket, request: bytes) -> bytes:
    end.sendall(request)
    end.recv(1)
    _reset(end)
    return b""


def _saying_more_than_once(end: socket.socket, request: bytes) -> bytes:
    """Two requests in one piece; the first says that it is the last."""
    end.sendall(request + request)
    return _rest(end)


def _rest(end: socket.socket) -> bytes:
    pieces = []
    while piece := end.recv(64 * 1024):
        pieces.append(piece)
    return b"".join(pieces)


FAULTS = {
    _in_small_pieces: True,
    _saying_more_than_once: True,
    _leaving_in_the_head: False,
    _leaving_in_the_body: False,
    _leaving_at_once: False,
    _leaving_with_the_first_byte: False,
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("callers")) as running:
        # So that a caller can leave before the reply is there.
        running.proxy.fault = Fault("late", delay_s=0.05)
        yield running


@pytest.mark.parametrize("call", ONES, ids=str)
@pytest.mark.parametrize("behave", FAULTS, ids=lambda behave: behave.__name__.strip("_"))
def test_a_callers_fault_is_its_own(
    behave: Callable[[socket.socket, bytes], bytes], call: Call, stand: Stand
) -> None:
    before = stand.statuses()
    with socket.create_connection(("127.0.0.1", stand.port), timeout=10) as end:
        reply = behave(end, _request(call))
    deadline = time.monotonic() + 5
    while stand.under_way() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stand.under_way() == 0
    after = stand.ask(call)
    assert (after.status, after.whole) == (200, True)
    new = [told for name, told in stand.statuses().items() if name not in {*before, after.id}]
    if FAULTS[behave]:
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.count(b"HTTP/1.1") == 1
        assert new == [[200]]
    elif behave is _leaving_in_the_head:
        assert new == []
    elif behave is _leaving_with_the_first_byte:
        # All of a short reply has left by then.
        assert new in ([[200]], [[499]])
    else:
        assert new == [[499]]
