"""One HTTP/1.1 connection to an upstream, on httptools' parser.

Rules of this file:
- One exchange at a time. What comes outside of one, or after its end, ends the connection.
- A reply is read in bounded memory: a reader that is slow slows the upstream.
- A body is whole when its length, its last chunk, or, where it has neither, a proper end of
  the connection says so; any other end is a failure.
"""

import asyncio
from collections import deque
from typing import Literal, cast

import httptools

from interlingua.errors import ApiError, ConnectionLost, DeadlineExceeded, UpstreamError

#: Body bytes that wait for their reader before the upstream is slowed.
_HIGH_WATER = 64 * 1024
_LONGEST_HEAD = 64 * 1024


class Connection(asyncio.Protocol):
    """Also the reply's body: iterating it gives the pieces as they come, and raises what broke
    it off.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        self.idle_since = 0.0
        self._reset(None)
        self._under_way = False

    def _reset(self, timeout_s: float | None) -> None:
        self._under_way = True
        self.status = 0
        self.headers: dict[str, str] = {}
        #: Whether any byte of the reply has come.
        self.heard = False
        self._head_bytes = 0
        self._has_head = False
        self._interim = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._complete = False
        self._keeps = False
        self._failure: ApiError | None = None
        self._timeout_s = timeout_s
        self._waits: asyncio.Future[None] | None = None
        self._waits_since = 0.0

    # -- The exchange, in order

    async def request(self, head: bytes, body: bytes, timeout_s: float | None) -> None:
        """Send a request, and return when the head of its reply has come.

        Raises:
            UpstreamError: the connection ended before, or this is no HTTP.
            DeadlineExceeded: nothing came within ``timeout_s``.
        """
        self._reset(timeout_s)
        assert self._transport is not None
        if self.closed:
            raise ConnectionLost("The upstream closed the connection.")
        self._transport.write(head + body if len(body) < _HIGH_WATER else head)
        if len(body) >= _HIGH_WATER:
            self._transport.write(body)
        while not self._has_head:
            if self._failure is not None:
                raise self._failure
            await self._waiting()

    def silent_for(self, timeout_s: float | None) -> None:
        """The longest silence from now on."""
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            self._stop_timer()

    def __aiter__(self) -> "Connection":
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._chunks:
                return self._taken()
            if self._failure is not None:
                raise self._failure
            if self._complete:
                raise StopAsyncIteration
            await self._waiting()

    def finish(self) -> bool:
        """End the exchange; whether the connection can carry another one. One that can't is
        closed at once, so that the upstream knows that nobody listens.
        """
        self._under_way = False
        self._stop_timer()
        whole = self._complete and not self._chunks and self._keeps and self._failure is None
        if whole and not self.closed:
            self.idle_since = self._loop.time()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """End the connection now. Idempotent."""
        self._stop_timer()
        if self._transport is not None and not self.closed:
            self._transport.abort()

    # -- What asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # typing.override is 3.12's
        # uvloop's is one by what it does.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]  # see above
        if not self._under_way:
            self.abort()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # A callback's own refusal comes as a parser's error, too.
            self._fail(UpstreamError("The upstream's reply is not valid HTTP."))
            self.abort()

    def eof_received(self) -> Literal[False]:  # type: ignore[explicit-override]  # see above
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override]  # see above
        self.closed = True
        if not self._under_way or self._complete:
            return
        if not self._has_head:
            self._fail(ConnectionLost("The upstream closed the connection."))
        elif exc is None and not self._is_delimited():
            self._complete = True
            self._wake()
        else:
            self._fail(UpstreamError("The upstream broke its reply off."))

    # -- What the parser tells

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _LONGEST_HEAD:
            raise ValueError("a head without an end")
        # Of a repeated one the first counts.
        self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._interim = self.status < 200
        if self._interim:
            self.headers = {}
            return
        self._has_head = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._interim:
            return
        self._complete = True
        self._keeps = self._parser.should_keep_alive()
        self._wake()

    # -- Inside

    def _is_delimited(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    def _taken(self) -> bytes:
        """All that has come since the last piece was taken."""
        chunks = self._chunks
        if len(chunks) == 1:
            taken = chunks.popleft()
        else:
            taken = b"".join(chunks)
            chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self._transport.resume_reading()
        return taken

    def _fail(self, failure: ApiError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        waits, self._waits = self._waits, None
        if waits is not None and not waits.done():
            waits.set_result(None)

    def _waiting(self) -> asyncio.Future[None]:
        """Done when something has come, or is over."""
        waits = self._waits = self._loop.create_future()
        self._waits_since = self._loop.time()
        if self._timer is None and self._timeout_s is not None:
            # One timer serves many waits: see _look.
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        return waits

    def _look(self) -> None:
        """Whether it has been silent for too long; else look again when it could be."""
        self._timer = None
        if self._waits is None or self._timeout_s is None:
            return
        left = self._waits_since + self._timeout_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._fail(
            DeadlineExceeded(f"The upstream sent nothing within {self._timeout_s:g} seconds.")
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
