# mypy: disable-error-code="explicit-override"
# (typing has `override` from Python 3.12)
"""Requests and replies as a caller sees them: in hooks, in ``send_request`` and in failures.

They have the names of azure.core.rest. What moves the bytes is in ``transport``.
"""

import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    MutableMapping,
)
from typing import Any, Self
from urllib.parse import urlencode

from .failures import HttpResponseError, ResponseNotReadError, failure


class HttpRequest:
    """One request. A hook may change its headers, its address and its content."""

    def __init__(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | str | None = None,
    ) -> None:
        """``json`` is written as JSON; ``url`` may be a path below the client's endpoint."""
        self.method = method
        self.url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url
        self.headers: MutableMapping[str, str] = {
            name.lower(): value for name, value in (headers or {}).items()
        }
        if json is not None:
            content = _json(json)
            self.headers.setdefault("content-type", "application/json")
        self.content = content.encode() if isinstance(content, str) else content

    @property
    def body(self) -> bytes | None:
        return self.content

    def __repr__(self) -> str:
        return f"<HttpRequest [{self.method}], url: {self.url!r}>"


class Reply:
    """The head of a reply, and its body once that was read."""

    def __init__(self, request: HttpRequest, status: int, reason: str, headers: Any) -> None:
        self.request = request
        self.status_code = status
        self.reason = reason
        #: Names are found in any case.
        self.headers: Mapping[str, str] = headers
        self._content: bytes | None = None

    @property
    def url(self) -> str:
        return self.request.url

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def content(self) -> bytes:
        """The whole body.

        Raises:
            ResponseNotReadError: it was not read yet, as a stream's isn't.
        """
        if self._content is None:
            raise failure(ResponseNotReadError, "the body has not been read: call read()")
        return self._content

    def body(self) -> bytes:
        return self.content

    def text(self, encoding: str | None = None) -> str:
        return self.content.decode(encoding or "utf-8-sig", "replace")

    def json(self) -> Any:
        return json.loads(self.content)

    def raise_for_status(self) -> None:
        """Raise what a status of 400 and more means.

        Raises:
            HttpResponseError: such a status.
        """
        if self.status_code >= 400:
            raise failure(HttpResponseError, response=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.status_code} {self.reason}>"


class SyncReply(Reply):
    """A reply whose body is read here; closing it early cancels the rest."""

    def __init__(
        self, head: Reply, chunks: Callable[[], Iterator[bytes]], close: Callable[[], None]
    ) -> None:
        super().__init__(head.request, head.status_code, head.reason, head.headers)
        self._chunks = chunks
        self._close = close

    def iter_bytes(self) -> Iterator[bytes]:
        return self._chunks() if self._content is None else iter((self._content,))

    def read(self) -> bytes:
        if self._content is None:
            self._content = b"".join(self._chunks())
        return self._content

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncReply(Reply):
    """A reply whose body is awaited here; closing it early cancels the rest."""

    def __init__(
        self,
        head: Reply,
        chunks: Callable[[], AsyncIterator[bytes]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(head.request, head.status_code, head.reason, head.headers)
        self._chunks = chunks
        self._close = close

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        async for chunk in self._chunks():
            yield chunk

    async def read(self) -> bytes:
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self._chunks()])
        return self._content

    async def close(self) -> None:
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class PipelineRequest:
    """What a ``raw_request_hook`` is given."""

    def __init__(self, request: HttpRequest) -> None:
        self.http_request = request
        self.context: dict[str, Any] = {}


class PipelineResponse:
    """What a ``raw_response_hook`` is given: one for each try."""

    def __init__(self, reply: Reply) -> None:
        self.http_request = reply.request
        self.http_response = reply
        self.context: dict[str, Any] = {}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
