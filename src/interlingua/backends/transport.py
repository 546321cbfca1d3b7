"""The one transport: HTTP over TCP or a Unix socket, by aiohttp."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from urllib.parse import quote

import aiohttp
from yarl import URL

from interlingua.errors import ConnectionLost, DeadlineExceeded, Unreachable, UpstreamError
from interlingua.http import HttpCall, HttpReply

CONNECT_TIMEOUT_S = 10.0
#: What a path may hold as it is, what is encoded already included.
_IN_PATHS = "/%:@!$&'()*+,;=~"


def request_url(base_url: str, path: str, query: Mapping[str, str]) -> URL:
    """Where a call goes, spelled as on the wire: what is encoded stays so (aiohttp would decode
    the colons of AWS's model names, which are signed encoded).
    """
    base = URL(base_url)
    url = base.with_path(base.raw_path.rstrip("/") + quote(path, safe=_IN_PATHS), encoded=True)
    return url.with_query(query) if query else url


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
        self._base_url = base_url
        self._socket_path = socket_path
        self._fresh = fresh_connections
        self._connect_timeout_s = connect_timeout_s
        self._first_byte_timeout_s = first_byte_timeout_s
        self._session: aiohttp.ClientSession | None = None

    def send(
        self, call: HttpCall, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[HttpReply]:
        """See :meth:`interlingua.http.Transport.send`."""
        return self._exchange(call, timeout_s)

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _exchange(self, call: HttpCall, timeout_s: float | None) -> AsyncGenerator[HttpReply]:
        response = await self._request(call, timeout_s)
        try:
            yield HttpReply(
                status=response.status,
                headers=_lower(response.headers),
                chunks=_chunks(response),
            )
        finally:
            # Closing, unlike releasing, tells the upstream at once that nobody listens.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _request(self, call: HttpCall, timeout_s: float | None) -> aiohttp.ClientResponse:
        session = self._open_session()
        first_byte_s = self._first_byte_timeout_s or timeout_s
        while True:
            trace = SimpleNamespace(reused=False)
            try:
                response = await session.request(
                    call.method,
                    request_url(self._base_url, call.path, call.query),
                    headers={"accept-encoding": "identity", **call.headers},
                    data=call.body or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        connect=self._connect_timeout_s,
                        sock_read=first_byte_s,
                    ),
                    trace_request_ctx=trace,
                )
                break
            except aiohttp.ClientConnectorError as error:
                raise Unreachable("The upstream can't be reached.") from error
            except aiohttp.ConnectionTimeoutError as error:
                raise Unreachable(
                    f"The upstream can't be reached within {self._connect_timeout_s:g} seconds."
                ) from error
            except aiohttp.ServerTimeoutError as error:
                raise _silent(first_byte_s) from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # Each try takes a stale connection out of the pool, so this ends.
                if not trace.reused:
                    raise ConnectionLost("The upstream closed the connection.") from error
            except aiohttp.ClientError as error:
                raise UpstreamError("The upstream's reply is not valid HTTP.") from error
        if first_byte_s != timeout_s and response.connection is not None:
            protocol = response.connection.protocol
            if protocol is not None:
                protocol.read_timeout = timeout_s
                protocol.start_timeout()
        return response

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("user-agent",),
                trace_configs=[] if self._fresh else [_reuse_tracer()],
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        if self._socket_path is None:
            return aiohttp.TCPConnector(limit=0, force_close=self._fresh)
        return aiohttp.UnixConnector(self._socket_path, limit=0, force_close=self._fresh)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except aiohttp.ServerTimeoutError as error:
        raise _silent(None) from error
    except aiohttp.ClientError as error:
        raise UpstreamError("The upstream broke its reply off.") from error


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by lower-case name; of a repeated one the first value."""
    first: dict[str, str] = {}
    for name, value in headers.items():
        first.setdefault(name.lower(), value)
    return first


def _silent(timeout_s: float | None) -> DeadlineExceeded:
    within = "in time" if timeout_s is None else f"within {timeout_s:g} seconds"
    return DeadlineExceeded(f"The upstream sent nothing {within}.")


def _reuse_tracer() -> aiohttp.TraceConfig:
    tracer = aiohttp.TraceConfig()

    async def reused(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceConnectionReuseconnParams,
    ) -> None:
        context.trace_request_ctx.reused = True

    tracer.on_connection_reuseconn.append(reused)
    return tracer
