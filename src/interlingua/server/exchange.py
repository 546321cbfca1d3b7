"""One HTTP exchange: what came, and what goes back.

Rules of this file:
- Headers that every reply has are set here, and every header value is made harmless: what a
  caller sent can never end a header line.
- After ``begin_stream`` only ``send_event``, ``end_stream`` or ``abort`` may follow.
- It knows uvicorn in one place: how to break a connection off quietly.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from secrets import token_hex
from typing import Protocol, cast, runtime_checkable
from urllib.parse import parse_qsl

from interlingua.errors import BodyTooLarge, CallerError, RequestTimeout
from interlingua.headers import (
    CACHE_CONTROL,
    CLIENT_REQUEST_ID,
    CLIENT_REQUEST_ID_BACK,
    NO_BUFFERING,
    NO_SNIFFING,
    REQUEST_IDS,
)

from .asgi import RawHeaders, Receive, Scope, Send

#: How long a body may take to arrive …
BODY_TIMEOUT_S = 30.0
#: … and longer as long as so many bytes a second came on average beyond that.
LEAST_BYTES_A_S = 16 * 1024
#: How long a client may take none of what was sent before it is given up.
STALL_S = 60.0
#: How long an oversized body is read on, unkept, so that its sender gets to read the reply;
#: and how long a client may take to read the end of what is broken off.
_LINGER_S = 5.0
_OWN_IDS = tuple(header.name.encode() for header in REQUEST_IDS)
_NO_SNIFFING = (NO_SNIFFING.name.encode(), b"nosniff")
_CLIENT_ID_BACK = CLIENT_REQUEST_ID_BACK.name.encode()
_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,128}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


#: Where a scope holds the server's connection.
CONNECTION = "interlingua.connection"


class Connected(Protocol):
    """A connection that tells of its end."""

    def watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """Have ``leave`` called when the client leaves, at once if it has; what ends that."""
        ...


class ClientGone(Exception):
    """The client has left; nobody reads a reply."""


@runtime_checkable
class _Cycle(Protocol):
    """uvicorn's request-response cycle (httptools and h11 alike)."""

    disconnected: bool
    transport: asyncio.Transport


class Exchange:
    """One request and its reply. Lives as long as the call."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = token_hex(16)
        self.method = cast(str, scope["method"])
        self.path = cast(str, scope["path"])
        self.raw_headers = tuple(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        self.started = False
        self.streams = False
        self.finished = False
        #: Told the status just before the last byte of a proper reply leaves.
        self.on_end: Callable[[int], None] | None = None
        #: The server's own connection, where it is one that tells of its end.
        self._connection = cast("Connected | None", scope.get(CONNECTION))
        #: Headers that every reply of this caller has, as they are when it begins.
        self.stated: Callable[[], Mapping[str, str]] | None = None
        self._query = cast(bytes, scope.get("query_string", b""))
        self._receive = receive
        self._send = send
        self._oversized = False
        self._sending = False
        self._sent = 0
        self._leave: Callable[[], None] | None = None
        self._stall_check: asyncio.TimerHandle | None = None

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; of repeated ones the first counts."""
        return _headers(self.raw_headers)

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Of repeated parameters the first counts (Azure: a client may send api-version
        twice).
        """
        try:
            pairs = parse_qsl(
                self._query.decode("latin-1"), keep_blank_values=True, max_num_fields=64
            )
        except ValueError as error:
            raise CallerError("The query has more than 64 parameters.") from error
        query: dict[str, str] = {}
        for name, value in pairs:
            query.setdefault(name, value)
        return query

    async def read_body(self, limit: int, clock: asyncio.Timeout) -> bytes:
        """The whole body; ``clock`` limits the time.

        Raises:
            BodyTooLarge: it has more than ``limit`` bytes; known before it is read where its
                length is stated.
            RequestTimeout: it didn't arrive in time.
            ClientGone: it broke off.
        """
        stated = self.headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > limit:
            self._refuse_size(limit)
        try:
            async with clock:
                return await self._collect(limit, clock)
        except TimeoutError as error:
            raise RequestTimeout("The body of the request didn't arrive in time.") from error

    async def _collect(self, limit: int, clock: asyncio.Timeout) -> bytes:
        chunks: list[bytes] = []
        size = 0
        first = end = clock.when()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = cast(bytes, message.get("body", b""))
            size += len(chunk)
            if size > limit:
                self._refuse_size(limit)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)
            # Unless a server that stops has cut it short.
            if first is not None and clock.when() == end:
                end = first + size / LEAST_BYTES_A_S
                clock.reschedule(end)

    def _refuse_size(self, limit: int) -> None:
        self._oversized = True
        raise BodyTooLarge(
            f"The body is longer than {limit} bytes, the most that this server takes "
            "(max_body_bytes)."
        )

    @contextlib.asynccontextmanager
    async def cancelled_when_gone(self) -> AsyncIterator[None]:
        """Cancel what runs inside as soon as the client leaves.

        Raises:
            ClientGone: it has left.
        """
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        gone = False

        def leave() -> None:
            nonlocal gone
            if not self.finished:
                gone = True
                task.cancel()

        self._leave = leave
        stop_watching = self._watch(leave)
        try:
            yield
        except asyncio.CancelledError:
            if gone and task.uncancel() <= before:
                raise ClientGone from None
            raise
        finally:
            stop_watching()
            if self._stall_check is not None:
                self._stall_check.cancel()

    def _watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """Have ``leave`` called when the client does; what ends the watch."""
        if self._connection is not None:
            return self._connection.watch(leave)

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            leave()

        return asyncio.create_task(watch()).cancel

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole reply."""
        if self._oversized:
            headers = {**headers, "connection": "close"}
        await self._start(status, {**headers, "content-length": str(len(body))})
        if self._oversized:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self._linger()
            body = b""
        self._end(status)
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self, headers: Mapping[str, str]) -> None:
        """Send status 200 and the head of an event stream.

        Inside ``cancelled_when_gone`` a client that takes nothing for ``STALL_S`` counts as
        gone: one timer a stream, since one a delta would cost a third of sending it.
        """
        self.streams = True
        self._check_stall(-1)
        await self._start(
            200,
            {
                **headers,
                "content-type": "text/event-stream; charset=utf-8",
                CACHE_CONTROL.name: "no-cache",
                NO_BUFFERING.name: "no",
            },
        )

    async def send_event(self, data: bytes) -> None:
        """Send complete events. Waits while the client doesn't read."""
        self._sending = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending = False
        self._sent += 1

    async def end_stream(self, data: bytes) -> None:
        """Send the last events and end the stream properly."""
        self._end(200)
        await self.send_event(data)
        await self._send({"type": "http.response.body", "body": b""})

    def _end(self, status: int) -> None:
        self.finished = True
        if self.on_end is not None:
            self.on_end(status)

    def abort(self, *, flush: bool = True) -> None:
        """Break the connection off without a proper end, so that every client notices.

        An event stream that ends properly looks whole to some clients whatever its last event
        says. Raising would do as well, but uvicorn logs a traceback then.

        Raises:
            ConnectionAbortedError: the server isn't uvicorn, and must close by itself.
        """
        self.finished = True
        cycle = getattr(self._send, "__self__", None)
        if not isinstance(cycle, _Cycle):
            raise ConnectionAbortedError
        cycle.disconnected = True
        if flush:
            cycle.transport.close()
            asyncio.get_running_loop().call_later(_LINGER_S, cycle.transport.abort)
        else:
            cycle.transport.abort()

    def _check_stall(self, sent_before: int) -> None:
        if self._sending and self._sent == sent_before and self._leave is not None:
            self._leave()
            return
        loop = asyncio.get_running_loop()
        self._stall_check = loop.call_later(STALL_S, self._check_stall, self._sent)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        own = self.id.encode()
        pairs = [
            *((name, own) for name in _OWN_IDS),
            _NO_SNIFFING,
            *((name.encode(), _harmless(value)) for name, value in headers.items()),
        ]
        theirs = self.headers.get(CLIENT_REQUEST_ID.name)
        if theirs is not None and _CLIENT_ID.fullmatch(theirs):
            pairs.append((_CLIENT_ID_BACK, theirs.encode()))
        if self.stated is not None:
            pairs += [(name.encode(), value.encode()) for name, value in self.stated().items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _linger(self) -> None:
        """Read on for a moment: closing on unread bytes would reset the connection, and the
        sender would never see the reply.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return


def _harmless(value: str) -> bytes:
    """The value as a header may hold it: nothing in it ends a line."""
    if value.isascii() and value.isprintable():
        return value.encode()
    return _UNPRINTABLE.sub("?", value).encode("ascii")


def _headers(raw: RawHeaders) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers
