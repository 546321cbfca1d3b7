"""One HTTP exchange: what came, and what goes back.

Rules of this file:
- Headers that every reply has are set here, and every header value is made harmless: what a
  caller sent can never end a header line.
- After ``begin_stream`` only ``send_event``, ``end_stream`` or ``abort`` may follow.
- It knows uvicorn in one place: how to break a connection off quietly.
"""

import asyncio
import contextlib
import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
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

from .asgi import HttpScope, RawHeaders, Receive, Scope, Send

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
#: Ids are no secrets, so they need no system call each.
_chance = random.Random()  # noqa: S311 - seeded by the system; see above
os.register_at_fork(after_in_child=_chance.seed)
#: Headers of replies that are kept as they were sent last.
_REMEMBERED = 512
_NO_QUERY: Mapping[str, str] = MappingProxyType({})


#: Where a scope holds the server's connection.
CONNECTION = "interlingua.connection"


class Connected(Protocol):
    """A connection that tells of its end."""

    def arrived(self, receive: Receive) -> bytes | None:
        """The whole body of the request that ``receive`` belongs to, taken, if all of it is
        there already.
        """
        ...

    def answer(
        self, send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        """Send a whole reply in one piece, if that can be done without waiting and ``send``
        is the connection's own; else nothing is sent, and it goes the long way.
        """
        ...

    def send(self, send: Send, data: bytes, *, last: bool = False) -> bool:
        """Send a piece of a streamed reply that has begun, on the same conditions; ``last``:
        and its end.
        """
        ...

    def flush(self) -> None:
        """Write what was sent so far."""
        ...

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

    # What nearly no exchange changes stands here once, not in each.
    started = False
    streams = False
    finished = False
    #: Told the status just before the last byte of a proper reply leaves.
    on_end: Callable[[int], None] | None = None
    #: Headers that every reply of this caller has, as they are when it begins.
    stated: Callable[[], Sequence[tuple[bytes, bytes]]] | None = None
    #: Looks from time to time whether the client of a stream takes anything.
    _stall_check: asyncio.TimerHandle | None = None
    _headers: Mapping[str, str] | None = None
    _oversized = False
    #: The rest of the request isn't waited for.
    _closes = False
    _sending = False
    _sent = 0
    _leave: Callable[[], None] | None = None
    _unwatch: Callable[[], object] | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = cast("HttpScope", scope)
        self.id = _new_id()
        self.method = http["method"]
        self.path = http["path"]
        self.raw_headers = tuple(http["headers"])
        #: The server's own connection, where it is one that tells of its end.
        self._connection = cast("Connected | None", scope.get(CONNECTION))
        self._query = http.get("query_string", b"")
        self._receive = receive
        self._send = send

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; of repeated ones the first counts."""
        if self._headers is None:
            self._headers = _headers(self.raw_headers)
        return self._headers

    @property
    def query(self) -> Mapping[str, str]:
        """Of repeated parameters the first counts (Azure: a client may send api-version
        twice).
        """
        if not self._query:
            return _NO_QUERY
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

    def arrived(self, limit: int) -> bytes | None:
        """The whole body if it is there already; else :meth:`read_body` waits for it.

        Raises:
            BodyTooLarge: it has more than ``limit`` bytes.
        """
        connection = self._connection
        body = None if connection is None else connection.arrived(self._receive)
        if body is not None and len(body) > limit:
            self._refuse_size(limit)
        return body

    async def read_body(self, limit: int, clock: asyncio.Timeout) -> bytes:
        """The rest of the body; ``clock`` limits the time.

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
            self._closes = True
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
        self._oversized = self._closes = True
        raise BodyTooLarge(
            f"The body is longer than {limit} bytes, the most that this server takes "
            "(max_body_bytes)."
        )

    def watch(self, leave: Callable[[], None]) -> None:
        """Have ``leave`` called when the client does, or takes nothing of a stream for
        ``STALL_S``, until :meth:`unwatch`.
        """
        self._leave = leave
        if self._connection is not None:
            self._unwatch = self._connection.watch(leave)
            return

        async def wait() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            leave()

        self._unwatch = asyncio.create_task(wait()).cancel

    def unwatch(self) -> None:
        """End the watch. What watched is let go of, so that nothing of a call is a cycle that
        stays until the collector comes: the next call would get other memory, and cold.
        """
        if self._unwatch is not None:
            self._unwatch()
        self._leave = self._unwatch = None
        if self._stall_check is not None:
            self._stall_check.cancel()

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole reply."""
        self.started = True
        if self._closes:
            headers = {**headers, "connection": "close"}
        head = self._head({**headers, "content-length": str(len(body))})
        if self._oversized:
            await self._send({"type": "http.response.start", "status": status, "headers": head})
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self._linger()
            self._end(status)
            await self._send({"type": "http.response.body", "body": b""})
            return
        self._end(status)
        connection = None if self._closes else self._connection
        if connection is None or not connection.answer(self._send, status, head, body):
            await self._send({"type": "http.response.start", "status": status, "headers": head})
            await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self, headers: Mapping[str, str]) -> None:
        """Send status 200 and the head of an event stream.

        Inside :class:`~.attended.Attended` a client that takes nothing for ``STALL_S`` counts as
        gone: one timer a stream, since one a delta would cost a third of sending it.
        """
        self.streams = True
        self._check_stall(-1)
        self.started = True
        head = self._head(
            {
                **headers,
                "content-type": "text/event-stream; charset=utf-8",
                CACHE_CONTROL.name: "no-cache",
                NO_BUFFERING.name: "no",
            }
        )
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    def sends_event(self, data: bytes) -> bool:
        """Send complete events if nothing need be waited for; whether they were sent."""
        if self._connection is None or not self._connection.send(self._send, data):
            return False
        self._sent += 1
        return True

    async def send_event(self, data: bytes) -> None:
        """Send complete events. Waits while the client doesn't read."""
        if self.sends_event(data):
            return
        self._sending = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending = False
        self._sent += 1

    async def end_stream(self, data: bytes) -> None:
        """Send the last events and end the stream properly."""
        self._end(200)
        if self._connection is None or not self._connection.send(self._send, data, last=True):
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
        if flush and self._connection is not None:
            self._connection.flush()
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

    def _head(self, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """All headers of the reply."""
        own = self.id.encode()
        pairs = [(name, own) for name in _OWN_IDS]
        pairs.append(_NO_SNIFFING)
        pairs += map(_pair, headers.items())
        theirs = self.headers.get(CLIENT_REQUEST_ID.name)
        if theirs is not None and _CLIENT_ID.fullmatch(theirs):
            pairs.append((_CLIENT_ID_BACK, theirs.encode()))
        if self.stated is not None:
            pairs += self.stated()
        return pairs

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


def _new_id() -> str:
    """32 hex digits: the time in milliseconds, then chance, as in UUIDv7 (RFC 9562). Ids that
    grow with time cost whoever keeps them in order a tenth of what random ones do.
    """
    return f"{time.time_ns() // 1_000_000:012x}{_chance.getrandbits(80):020x}"


@lru_cache(_REMEMBERED)
def _pair(header: tuple[str, str]) -> tuple[bytes, bytes]:
    """A header as it may be sent: nothing in its value ends a line. The same ones are sent
    again and again.
    """
    name, value = header
    if not (value.isascii() and value.isprintable()):
        value = _UNPRINTABLE.sub("?", value)
    return name.encode(), value.encode("ascii")


def _headers(raw: RawHeaders) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers
