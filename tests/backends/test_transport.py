"""The transport over real sockets: what goes out, what comes back, what breaks."""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlingua.backends import transport as transports
from interlingua.backends.transport import HttpTransport
from interlingua.errors import DeadlineExceeded, Unavailable, UpstreamError
from interlingua.http import HttpCall
from interlingua.server.dev_certificate import kept

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Tests run on asyncio's loop elsewhere; the server runs on uvloop."""
    return "asyncio", {"use_uvloop": request.param}


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Twice: a\r\nX-Twice: b\r\n\r\nhi"


@asynccontextmanager
async def upstream(peer: Peer, **options: bool) -> AsyncGenerator[HttpTransport]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
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


async def answering(*pieces: bytes, call: HttpCall | None = None) -> bytes:
    """The body of a reply that comes in these pieces, each in a turn of its own."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    async with upstream(peer) as transport:
        return await text(transport, call or HttpCall(path="/x"))


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nhi\r\n3;x=y\r\n yo\r\n0\r\nt: r\r\n\r\n"
)


async def test_a_reply_may_come_in_any_pieces():
    assert await answering(*(CHUNKED[n : n + 1] for n in range(len(CHUNKED)))) == b"hi yo"


async def test_a_body_without_a_length_ends_with_its_connection():
    assert await answering(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo") == b"hello"


async def test_what_is_only_interim_is_passed_over():
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    assert await answering(interim, interim + OK) == b"hi"


@pytest.mark.parametrize("pieces", [(CHUNKED[:-7],), (OK[:-1],), (b"HTTP/1.1 200 OK\r\nconte",)])
async def test_a_reply_that_is_cut_is_no_reply(pieces: tuple[bytes, ...]):
    with pytest.raises(UpstreamError):
        await answering(*pieces)


async def test_a_head_without_an_end_is_refused():
    endless = [b"HTTP/1.1 200 OK\r\n", *(b"x-%d: %b\r\n" % (n, b"y" * 1000) for n in range(100))]
    with pytest.raises(UpstreamError, match="not valid HTTP"):
        await answering(*endless)


@pytest.mark.parametrize(("name", "value"), [("x", "a\r\nhost: evil"), ("x\n", "a"), ("x", "a\n")])
async def test_nothing_makes_a_header_out_of_another(name: str, value: str):
    with pytest.raises(UpstreamError, match="line's end"):
        await answering(OK, call=HttpCall(path="/x", headers={name: value}))


async def test_a_second_reply_to_one_call_is_never_given_to_the_next():
    calls = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await head(reader)
        calls += 1
        writer.write(OK + OK.replace(b"hi", b"no"))
        await writer.drain()
        await reader.read()

    async with upstream(peer) as transport:
        for _ in range(3):
            with contextlib.suppress(UpstreamError):
                assert await text(transport, HttpCall(path="/x")) == b"hi"
    assert calls == 3


async def test_paths_and_queries_are_quoted():
    seen: list[bytes] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await head(reader)).split(b" ")[1])
        writer.write(OK)

    async with upstream(peer) as transport:
        path = "/a b/ü?x#y/m%2Fn:predict"
        await text(transport, HttpCall(path=path, query={"api-version": "1&2", "q": "ö /"}))
    assert seen == [b"/a%20b/%C3%BC%3Fx%23y/m%2Fn:predict?api-version=1%262&q=%C3%B6%20%2F"]


async def test_a_slow_reader_slows_the_upstream():
    sent = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    async with upstream(peer) as transport, transport.send(HttpCall(path="/x")) as reply:
        before = -1
        while before != sent:
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
        assert sent < 5_000_000
        size = 0
        async for chunk in reply.chunks:
            size += len(chunk)
        assert size == 50_000_000


async def test_only_certificates_that_are_trusted_open_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cert, key, ca = kept(tmp_path, ("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(peer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for trusted in (False, True):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(ca))
            transports._trust.cache_clear()
            transport = HttpTransport(f"https://127.0.0.1:{port}")
            try:
                if trusted:
                    assert await text(transport, HttpCall(path="/x")) == b"hi"
                else:
                    with pytest.raises(Unavailable):
                        await text(transport, HttpCall(path="/x"))
            finally:
                await transport.close()
    transports._trust.cache_clear()


async def test_redirects_are_not_followed():
    async def peer(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with upstream(peer) as transport, transport.send(HttpCall(path="/")) as reply:
        assert reply.status == 302
