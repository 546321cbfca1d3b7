"""The one transport: HTTP/1.1 over TCP, TLS or a Unix socket, connections kept."""

import asyncio
import functools
import re
import ssl
from collections import deque
from types import TracebackType
from urllib.parse import quote, urlencode, urlsplit

from aiohappyeyeballs import start_connection

from interlingua.errors import Unreachable, UpstreamError
from interlingua.http import HttpCall, HttpReply

from .connection import Connection

CONNECT_TIMEOUT_S = 10.0
#: An idle connection is used again within this time: routers forget quiet ones.
_IDLE_S = 15.0
#: RFC 8305: the head start of an address before the next one is tried beside it.
_HEAD_START_S = 0.25
#: What a path may hold as it is; the rest is quoted. Escapes stay: a name may hold a slash.
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/%:@!$&'()*+,;=._~-]*")


def target_of(base_path: str, call: HttpCall) -> str:
    """Path and query as they stand on the wire. What is encoded already stays so."""
    path = base_path + call.path
    if not _PLAIN_PATH.fullmatch(path):
        path = quote(path, safe=_PATH_SAFE)
    return f"{path}?{urlencode(call.query, quote_via=quote)}" if call.query else path


class HttpTransport:
    """Carries calls to one upstream: ``base_url``, through ``socket_path`` where given.

    ``fresh_connections`` gives each call a connection of its own, for upstreams that close
    after a reply while advertising keep-alive. Elsewhere connections are pooled, and a call
    that dies on a reused one before any byte of the reply is sent again.
    No redirects, cookies, proxies from the environment, or decompression.
    """

    def __init__(
        self,
        base_url: str = "http://engine",
        *,
        socket_path: str | None = None,
        fresh_connections: bool = False,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        first_byte_timeout_s: float | None = None,
    ) -> None:
        """``first_byte_timeout_s``: how long the reply's head may take, where that isn't the
        longest silence of the call.
        """
        parts = urlsplit(base_url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or "engine"
        self._port = parts.port or (443 if self._tls else 80)
        self._base_path = parts.path.rstrip("/")
        self._authority = parts.netloc.rpartition("@")[2]
        self._socket_path = socket_path
        self._fresh = fresh_connections
        self._connect_timeout_s = connect_timeout_s
        self.first_byte_timeout_s = first_byte_timeout_s
        #: What the last head was made of, and the head but for its length.
        self._last_head: tuple[object, bytes] = (None, b"")
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def send(self, call: HttpCall, *, timeout_s: float | None = None) -> "Exchange":
        """See :meth:`interlingua.http.Transport.send`."""
        return Exchange(self, call, timeout_s)

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        self._stop_sweep()
        self._idle.clear()
        for connection in self._all:
            connection.abort()
        self._all.clear()
        # Sockets are closed by the loop's next turn.
        await asyncio.sleep(0)

    def head(self, call: HttpCall) -> bytes:
        """The request as it is sent, but for its body."""
        # Most calls of a deployment differ in nothing but their length.
        like, begun = self._last_head
        this = (call.method, call.path, call.query, call.headers)
        if this != like:
            begun = self._head(call)
            self._last_head = ((*this[:2], dict(call.query), dict(call.headers)), begun)
        if call.body or call.method != "GET":
            return b"%bcontent-length: %d\r\n\r\n" % (begun, len(call.body))
        return begun + b"\r\n"

    def _head(self, call: HttpCall) -> bytes:
        lines = [
            f"{call.method} {target_of(self._base_path, call)} HTTP/1.1",
            f"host: {self._authority}",
            "accept-encoding: identity",
            *(f"{name}: {value}" for name, value in call.headers.items()),
        ]
        head = "\r\n".join((*lines, ""))
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):
            raise UpstreamError("A header for the upstream would hold a line's end.")
        return head.encode("latin-1")

    def reusable(self) -> Connection | None:
        """A connection that carried a call before, and waits."""
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.closed:
                self._all.discard(connection)
            elif loop.time() - connection.idle_since > _IDLE_S:
                self._drop(connection)
            else:
                return connection
        return None

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            Unreachable: nobody is there, or doesn't show a certificate that is right.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self._connected()
        except TimeoutError as error:
            raise Unreachable(
                f"The upstream can't be reached within {self._connect_timeout_s:g} seconds."
            ) from error
        except OSError as error:
            raise Unreachable("The upstream can't be reached.") from error
        self._all.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """A call is over; its connection waits for another one if it can."""
        if not connection.finish():
            self._all.discard(connection)
        elif self._fresh:
            self._drop(connection)
        else:
            self._idle.append(connection)
            if self._sweep is None:
                loop = asyncio.get_running_loop()
                self._sweep = loop.call_later(_IDLE_S, self._drop_stale)

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        make = functools.partial(Connection, loop)
        if self._socket_path is not None:
            _, connection = await loop.create_unix_connection(make, self._socket_path)
            return connection
        found = await loop.getaddrinfo(self._host, self._port, type=1)  # SOCK_STREAM
        end = await start_connection(found, happy_eyeballs_delay=_HEAD_START_S, loop=loop)
        try:
            if self._tls:
                _, connection = await loop.create_connection(
                    make, sock=end, ssl=_trust(), server_hostname=self._host
                )
            else:
                _, connection = await loop.create_connection(make, sock=end)
        except BaseException:
            end.close()
            raise
        return connection

    def _drop(self, connection: Connection) -> None:
        self._all.discard(connection)
        connection.abort()

    def _drop_stale(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        while self._idle and loop.time() - self._idle[0].idle_since >= _IDLE_S:
            self._drop(self._idle.popleft())
        if self._idle:
            left = self._idle[0].idle_since + _IDLE_S - loop.time()
            self._sweep = loop.call_later(max(left, 0.1), self._drop_stale)

    def _stop_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None


class Exchange:
    """One call and its reply; leaving it before the reply's end closes the connection."""

    def __init__(self, transport: HttpTransport, call: HttpCall, timeout_s: float | None) -> None:
        self._transport = transport
        self._call = call
        self._timeout_s = timeout_s
        self._connection: Connection | None = None

    async def __aenter__(self) -> HttpReply:
        transport, call = self._transport, self._call
        head = transport.head(call)
        first_byte_s = transport.first_byte_timeout_s or self._timeout_s
        while True:
            connection = transport.reusable()
            reused = connection is not None
            if connection is None:
                connection = await transport.connect()
            try:
                await connection.request(head, call.body, first_byte_s)
            except UpstreamError:
                transport.release(connection)
                # Each try takes a stale connection out of the pool, so this ends.
                if not reused or connection.heard:
                    raise
            except BaseException:
                transport.release(connection)
                raise
            else:
                break
        self._connection = connection
        connection.silent_for(self._timeout_s)
        return HttpReply(status=connection.status, headers=connection.headers, chunks=connection)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._transport.release(self._connection)


@functools.cache
def _trust() -> ssl.SSLContext:
    """What this machine trusts; reading it takes a while."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
