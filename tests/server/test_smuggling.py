"""Requests that two servers would read as different ones: refused, and the connection ends."""

import re
import socket
from collections.abc import Iterator

import pytest

from interlingua.backends.echo import EchoBackend

from .service import KEY, app_of, served

_BODY = b'{"messages":[{"role":"user","content":"hi"}]}'
_HEAD = (
    f"POST /chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n"
    "content-type: application/json\r\n"
).encode()
#: What would be answered as a second request by whoever ends the first one earlier.
_HIDDEN = f"GET /v1/models HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n\r\n".encode()
_CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)

TWO_LENGTHS = {
    "length and chunks": b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(_BODY)
    + _CHUNKED,
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n" + _CHUNKED,
    "two lengths": b"content-length: 4\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY,
    "a length with a sign": b"content-length: +%d\r\n\r\n" % len(_BODY) + _BODY,
    "a length that is none": b"content-length: 0x2d\r\n\r\n" + _BODY,
    "an encoding that is none": b"transfer-encoding: xchunked\r\n\r\n" + _CHUNKED,
    "chunked, and then not": b"transfer-encoding: chunked, identity\r\n\r\n" + _CHUNKED,
    "a folded header": b"transfer-encoding:\r\n chunked\r\n\r\n" + _CHUNKED,
    "a space before the colon": b"content-length : %d\r\n\r\n" % len(_BODY) + _BODY,
    "a bare line feed": b"x: y\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY,
    "a chunk's size that is none": b"transfer-encoding: chunked\r\n\r\n-1\r\n" + _BODY,
    "a header without a name": b": y\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY,
    "a null in a header": b"x: a\0b\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(app_of(EchoBackend())) as url:
        yield url


@pytest.mark.parametrize("rest", TWO_LENGTHS.values(), ids=list(TWO_LENGTHS))
def test_a_request_of_two_readings_is_refused_with_all_that_follows(rest: bytes, url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(_HEAD + rest + _HIDDEN)
        said = b""
        while piece := connection.recv(4096):
            said += piece
    assert re.findall(rb"HTTP/1\.1 (\d+)", said) == [b"400"]
