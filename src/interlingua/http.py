"""HTTP as values: what dialects read and write, and transports carry. No I/O here."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whichever side it is seen from.

    ``path`` is decoded and begins with ``/``. Header names are lower-case; of a repeated
    header or query parameter the first value counts.
    """

    method: str = "POST"
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a reply, and its body as it arrives.

    Whoever opened the exchange closes it; ``chunks`` raises
    :class:`~interlingua.errors.UpstreamError` when the body breaks off.
    """

    status: int
    headers: Mapping[str, str] = {}
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Carries a call to one upstream. Safe for concurrent calls on one event loop."""

    def send(
        self, call: HttpCall, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[HttpReply]:
        """Open an exchange; leaving the context before the body's end cancels it.

        ``timeout_s`` is the longest silence, before the head and between chunks.

        Raises:
            Unavailable: the upstream can't be reached.
            UpstreamError: it broke the exchange off.
            DeadlineExceeded: it stayed silent for longer than ``timeout_s``.
        """
        ...

    async def close(self) -> None: ...
