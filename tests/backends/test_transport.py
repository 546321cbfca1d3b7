"""The transport over real sockets: what goes out, what comes back, what breaks."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlingua.backends.transport import HttpTransport
from interlingua.errors import DeadlineExceeded, Unavailable, UpstreamError
from interlingua.http import HttpCall

pytestmark = pytest.mark.anyio

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Twice: a\r\nX-Twice: b\r\n\r\nhi"


@asynccontextmanager
async def upstream(peer: Peer, **options: bool) -> AsyncGenerator[HttpTransport]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s")
        server = await asyncio.start_unix_server(served, path)
        transport = HttpTransport(socket_path=path, **options)
        try:
            async with server:
                yield transport
                await transport.close()
        finally:
            await transport.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def text(transport: HttpTransport, call: HttpCall, timeout_s: float | None = None) -> bytes:
    async with transport.send(call, timeout_s=timeout_s) as reply:
        return b"".join([chunk async for chunk in reply.chunks])


async def test_a_call_arrives_as_it_was_given_and_the_reply_comes_back():
    seen: list[bytes] = []

    async def peer(reader, writer):
        seen.append(await head(reader) + await reader.readexactly(4))
        writer.write(OK)
        await writer.drain()

    call = HttpCall(path="/a", query={"q": "1"}, headers={"api-key": "k"}, body=b"body")
    async with upstream(peer) as transport, transport.send(call) as reply:
        assert reply.status == 200
        assert reply.headers["x-twice"] == "a"
        assert b"".join([chunk async for chunk in reply.chunks]) == b"hi"
    request = seen[0].lower()
    assert request.startswith(b"post /a?q=1 http/1.1\r\n")
    assert b"api-key: k" in request
    assert b"accept-encoding: identity" in request
    assert b"user-agent" not in request
    assert request.endswith(b"body")


async def test_a_body_that_breaks_off_is_an_upstream_error():
    async def peer(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await writer.drain()

    async with upstream(peer) as transport:
        with pytest.raises(UpstreamError, match="broke its reply off"):
            await text(transport, HttpCall(path="/"))


async def test_a_connection_closed_before_the_reply_is_an_upstream_error():
    async def peer(reader, writer):
        await head(reader)

    async with upstream(peer, fresh_connections=True) as transport:
        with pytest.raises(UpstreamError, match="closed the connection"):
            await text(transport, HttpCall(path="/"))


async def test_a_reply_that_is_no_http_is_an_upstream_error():
    async def peer(reader, writer):
        await head(reader)
        writer.write(b"gibberish\r\n\r\n")
        await writer.drain()

    async with upstream(peer) as transport:
        with pytest.raises(UpstreamError, match="not valid HTTP"):
            await text(transport, HttpCall(path="/"))


async def test_an_upstream_that_is_not_there_is_unavailable(tmp_path):
    transport = HttpTransport(socket_path=str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="can't be reached"):
        await text(transport, HttpCall(path="/"))
    await transport.close()
    await transport.close()


async def test_an_address_where_nobody_listens_is_unavailable():
    async def peer(reader, writer): ...

    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport = HttpTransport(f"http://127.0.0.1:{port}/")
    with pytest.raises(Unavailable):
        await text(transport, HttpCall(path="/"))
    await transport.close()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"])
async def test_silence_longer_than_allowed_exceeds_the_deadline(start):
    left = asyncio.Event()

    async def peer(reader, writer):
        await head(reader)
        writer.write(start)
        await writer.drain()
        await left.wait()

    async with upstream(peer) as transport:
        with pytest.raises(DeadlineExceeded, match="sent nothing"):
            await text(transport, HttpCall(path="/"), timeout_s=0.05)
        left.set()


async def test_leaving_early_closes_the_connection_at_once():
    closed = asyncio.Event()

    async def peer(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await writer.drain()
        assert await reader.read() == b""
        closed.set()

    async with upstream(peer) as transport:
        async with transport.send(HttpCall(path="/")) as reply:
            async for _ in reply.chunks:
                break
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_call_that_dies_on_a_reused_connection_is_sent_again_on_a_fresh_one():
    connections = 0

    async def peer(reader, writer):
        nonlocal connections
        connections += 1
        await head(reader)
        writer.write(OK)
        await writer.drain()
        if connections == 1:
            await head(reader)  # the second call: closed on without an answer

    async with upstream(peer) as transport:
        assert await text(transport, HttpCall(path="/")) == b"hi"
        assert await text(transport, HttpCall(path="/")) == b"hi"
    assert connections == 2


async def test_fresh_connections_are_never_shared():
    connections = 0

    async def peer(reader, writer):
        nonlocal connections
        connections += 1
        await head(reader)
        writer.write(OK)
        await writer.drain()

    async with upstream(peer, fresh_connections=True) as transport:
        for _ in range(3):
            assert await text(transport, HttpCall(path="/")) == b"hi"
    assert connections == 3


async def test_redirects_are_not_followed():
    async def peer(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with upstream(peer) as transport, transport.send(HttpCall(path="/")) as reply:
        assert reply.status == 302
