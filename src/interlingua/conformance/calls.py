"""HTTP as a client of this API sends it, and what came back, byte for byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx2
import msgspec

from .case import Deviation
from .shapes import ErrorBody

Shape = TypeVar("Shape")

#: So much of a reply that isn't as it should is shown.
_SHOWN = 160
_CONNECT_S = 10.0


class Got(msgspec.Struct, frozen=True, kw_only=True):
    """A reply, whole. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> str:
        """Status and the beginning of the body, for a reason."""
        text = self.body[:_SHOWN].decode("utf-8", "replace")
        return f"{self.status} {text}{'…' if len(self.body) > _SHOWN else ''}"

    def read(self, shape: type[Shape]) -> Shape:
        """The body of a 200 reply.

        Raises:
            Deviation: it is another reply, or not of this shape.
        """
        if self.status != 200:
            raise Deviation(f"200 was due and came {self.told}")
        media = self.headers.get("content-type", "").partition(";")[0]
        if media != "application/json":
            raise Deviation(f"the content-type is {media!r}, not application/json")
        return shaped(self.body, shape)

    def error(self, *statuses: int) -> ErrorBody:
        """The error that the reply states.

        Raises:
            Deviation: its status is none of these, or its body no error of this API.
        """
        if self.status not in statuses:
            due = " or ".join(map(str, statuses))
            raise Deviation(f"{due} was due and came {self.told}")
        if "retry-after" in self.headers and self.status not in {429, 503}:
            raise Deviation(f"a reply of {self.status} has Retry-After: clients would repeat it")
        return shaped(self.body, ErrorBody)


def shaped(body: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = body[:_SHOWN].decode("utf-8", "replace")
        raise Deviation(f"{error}: {text}") from error


class Caller:
    """Calls one server. Safe for concurrent calls on one event loop."""

    def __init__(self, http: httpx2.AsyncClient, key: str | None) -> None:
        self._http = http
        self.key = key
        self._keyed = {"api-key": key} if key is not None else {}

    async def call(
        self,
        path: str,
        body: object = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        keyed: bool = True,
    ) -> Got:
        """``body``: bytes as they are, else what JSON says. ``path`` may have a query."""
        async with self._http.stream(
            method, path, content=_content(body), headers=self._named(headers, body, keyed=keyed)
        ) as response:
            return Got(
                status=response.status_code,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=b"".join([piece async for piece in response.aiter_bytes()]),
            )

    async def get(self, path: str) -> Got:
        return await self.call(path, method="GET")

    @asynccontextmanager
    async def leaving(self, path: str, body: object) -> AsyncIterator[AsyncIterator[bytes]]:
        """A reply's pieces as they come; leaving the context leaves the server."""
        async with self._http.stream(
            "POST", path, content=_content(body), headers=self._named(None, body, keyed=True)
        ) as response:
            yield response.aiter_raw()

    async def abandon(self, path: str, body: object, after_s: float) -> None:
        """Send a call and leave before, or shortly after, its reply came."""
        task = asyncio.ensure_future(self.call(path, body))
        await asyncio.wait({task}, timeout=after_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _named(
        self, headers: Mapping[str, str] | None, body: object, *, keyed: bool
    ) -> dict[str, str]:
        # As the official client does, also where a stream is asked for.
        named = {"accept": "application/json"}
        if body is not None:
            named["content-type"] = "application/json"
        return {**named, **(self._keyed if keyed else {}), **(headers or {})}


def _content(body: object) -> bytes | AsyncIterator[bytes] | None:
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, list):  # pieces: the transfer has no length
        return _pieces([bytes(piece) for piece in body])
    return msgspec.json.encode(body)


async def _pieces(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@asynccontextmanager
async def calling(
    url: str, key: str | None, *, timeout_s: float, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Caller]:
    """A caller of the server at ``url``, for as long as the block runs."""
    timeout = httpx2.Timeout(timeout_s, connect=_CONNECT_S)
    limits = httpx2.Limits(max_connections=32, keepalive_expiry=2.0)
    async with httpx2.AsyncClient(
        base_url=url, timeout=timeout, limits=limits, trust_env=False, verify=trust or True
    ) as http:
        yield Caller(http, key)
