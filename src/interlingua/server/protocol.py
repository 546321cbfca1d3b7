"""A connection: uvicorn's, with limits for those who send slowly, and a gentle end.

Rules of this file:
- A request's head arrives within ``HEAD_S`` of its first byte, or the connection ends.
- A server whose place another one takes answers what comes on its idle connections for a
  moment longer: a client may have sent just before the end.
- A whole head in one piece, as nearly every one comes, costs nothing here.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from .asgi import Receive, Send
from .crowd import Crowd
from .exchange import CONNECTION

#: How long a request's head may take from its first byte on.
HEAD_S = 10.0
#: Bytes of a stream that wait for the end of the loop's turn.
_MOST_UNSENT = 64 * 1024


class State(ServerState):
    """What the connections of a server share."""

    def __init__(self, crowd: Crowd) -> None:
        super().__init__()
        self.crowd = crowd
        #: How long an idle connection stays once the server is stopping.
        self.linger_s = 0.0


class Connection(HttpToolsProtocol):
    """One client's connection (``typing.override`` comes with Python 3.12)."""

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._state = server_state
        self._in_head = False
        self._draining = False
        self._lost = False
        self._leave: Callable[[], None] | None = None
        #: Pieces of a streamed reply that leave with this turn of the loop.
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        #: When the last reply was sent, and what looks whether that is too long ago.
        self._idle_since = 0.0
        self._idle_clock: asyncio.TimerHandle | None = None
        #: Ends the connection: in a head that takes too long, or idle while the server stops.
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[explicit-override]  # see above
        self, transport: asyncio.BaseTransport
    ) -> None:
        transport = cast("asyncio.Transport", transport)
        if self._state.crowd.enter(transport):
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]  # see above
        super().data_received(data)
        if self._in_head:
            if self._clock is None:
                self._clock = self.loop.call_later(HEAD_S, self._end)
        elif self._clock is not None:
            self._stop_clock()

    def on_message_begin(self) -> None:  # type: ignore[explicit-override]  # see above
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:  # type: ignore[explicit-override]  # see above
        self._in_head = False
        cast("dict[str, object]", self.scope)[CONNECTION] = self
        super().on_headers_complete()
        if self._draining and self.cycle is not None:
            # It says `Connection: close`.
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:  # type: ignore[explicit-override]  # see above
        """Uvicorn's, but for the timer of an idle connection: one serves many replies."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_clock is None:
            self._idle_clock = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """End a connection that has been idle for too long; else look again when it could be."""
        self._idle_clock = None
        left_s: float = self.timeout_keep_alive
        if not self._in_head and self.cycle.response_complete:
            left_s += self._idle_since - self.loop.time()
        if left_s > 0:
            self._idle_clock = self.loop.call_later(left_s, self._look)
        elif not self.transport.is_closing():
            self.transport.close()

    def eof_received(self) -> None:  # type: ignore[explicit-override]  # see above
        """The client has left: from here on nothing reaches it, so that a call whose answer is
        there, but not sent, isn't on record as one that was answered.
        """
        super().eof_received()
        if self._leave is not None:
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override]  # see above
        self._stop_clock()
        if self._idle_clock is not None:
            self._idle_clock.cancel()
        super().connection_lost(exc)
        self._state.crowd.leave(self.transport)
        self._lost = True
        if self._leave is not None:
            self._leave()

    def arrived(self, receive: Receive) -> bytes | None:
        """See :class:`~.exchange.Connected`."""
        # Not self.cycle: a client that sends several requests at once has several.
        cycle = getattr(receive, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or cycle.more_body:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        return body

    def answer(
        self, send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        """See :class:`~.exchange.Connected`: uvicorn's own way takes two writes and thrice the
        time.
        """
        cycle = getattr(send, "__self__", None)
        if (
            not isinstance(cycle, RequestResponseCycle)
            or cycle.disconnected
            or cycle.response_started
            or cycle.scope["method"] == "HEAD"
            or self.flow.write_paused
        ):
            return False
        lines = [b"%b: %b\r\n" % pair for pair in (*cycle.default_headers, *headers)]
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        self.transport.write(b"".join((STATUS_LINE[status], *lines, body)))
        cycle.response_started = True
        _complete(cycle)
        return True

    def send(self, send: Send, data: bytes, *, last: bool = False) -> bool:
        """See :class:`~.exchange.Connected`. What is sent within one turn of the loop leaves in
        one write.
        """
        cycle = getattr(send, "__self__", None)
        if (
            not isinstance(cycle, RequestResponseCycle)
            or cycle.disconnected
            or not cycle.chunked_encoding
            or self.flow.write_paused
        ):
            self.flush()
            return False
        if data:
            if not self._unsent and not last:
                self.loop.call_soon(self.flush)
            self._unsent.append(b"%x\r\n%b\r\n" % (len(data), data))
            self._unsent_bytes += len(data)
        if last:
            self._unsent.append(b"0\r\n\r\n")
        if last or self._unsent_bytes > _MOST_UNSENT:
            self.flush()
        if last:
            _complete(cycle)
        return True

    def flush(self) -> None:
        """Write what was sent so far."""
        unsent = self._unsent
        if unsent:
            self.transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))
            unsent.clear()
            self._unsent_bytes = 0

    def watch(self, leave: Callable[[], None]) -> Callable[[], None]:
        """See :class:`~.exchange.Connected`."""
        # An end is only noticed while it is read.
        self.flow.resume_reading()
        self._leave = leave
        if self._lost:
            self.loop.call_soon(leave)
        return self._unwatch

    def _unwatch(self) -> None:
        self._leave = None

    def shutdown(self) -> None:  # type: ignore[explicit-override]  # see above
        """The server is stopping: the reply under way is the last one, and an idle connection
        ends, after ``linger_s`` without a byte.
        """
        self._draining = True
        idle = self.cycle is None or self.cycle.response_complete
        if not idle or not self._state.linger_s:
            super().shutdown()
        elif self._clock is None:
            self._clock = self.loop.call_later(self._state.linger_s, self._end)

    def _end(self) -> None:
        self._clock = None
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def _complete(cycle: RequestResponseCycle) -> None:
    """What uvicorn does at the end of a reply."""
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
