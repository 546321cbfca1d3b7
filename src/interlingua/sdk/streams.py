"""Streamed answers: an iterator of updates that is a context manager; closing it cancels.

``Updates`` is the part without I/O; the two classes of streams only fetch bytes for it.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from interlingua.errors import UpstreamError
from interlingua.sse import Decoder

from .changes import HEADER, Changes, read_changes
from .failures import (
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ODataV4Format,
    failure,
)
from .mapped import Mapped, decode
from .observe import Watch
from .replies import AsyncReply, Reply, SyncReply
from .results import StreamingChatCompletionsUpdate, StreamingCompletionsUpdate

U = TypeVar("U", bound=Mapped)


class Updates(Generic[U]):
    """Bytes of a streamed reply → updates. One a reply; not safe to share."""

    def __init__(self, kind: type[U], reply: Reply, watching: Watch | None) -> None:
        self._kind = kind
        self._reply = reply
        self._watching = watching
        self._events = Decoder()
        self._finished = False
        self.ready: deque[U] = deque()
        #: Whether ``[DONE]`` was read: nothing that follows belongs to the answer.
        self.done = False

    @property
    def changes(self) -> Changes:
        return read_changes(self._reply.headers.get(HEADER)) or Changes()

    def feed(self, data: bytes) -> None:
        """Make ready what these bytes complete.

        Raises:
            HttpResponseError: the stream states a failure.
            DecodeError: it makes no sense.
        """
        try:
            self._take(self._events.feed(data))
        except (UpstreamError, ValueError, TypeError) as error:
            text = f"the stream makes no sense: {error}"
            raise failure(DecodeError, text, error=error) from error

    def end(self) -> None:
        """No more bytes come.

        Raises:
            IncompleteReadError: the answer isn't over.
        """
        if not self.done:
            self._take(self._events.finish())
            self.done = True
            if not self._finished:
                raise failure(IncompleteReadError, "the stream ended before its answer did")

    def closed(self, error: BaseException | None) -> None:
        """Tell who watches, once."""
        watching, self._watching = self._watching, None
        if watching:
            watching.ended(error if error or self.done else GeneratorExit())

    def told(self, update: U) -> U:
        if self._watching:
            self._watching.updated(update)
        return update

    def _take(self, events: list[bytes]) -> None:
        for event in events:
            if event == b"[DONE]":
                self.done = True
                return
            raw = decode(event)
            if "error" in raw and not raw.get("choices"):
                raise self._stated(raw)
            choices = raw.get("choices")
            # What has neither is skipped, as Microsoft's client does.
            if choices or raw.get("usage"):
                self._finished = self._finished or _ends(choices)
                self.ready.append(self._kind.view(raw))

    def _stated(self, raw: dict[str, object]) -> Exception:
        """A failure in the middle: the status was 200, so the stream's own text counts."""
        try:
            stated = ODataV4Format(raw)
        except ValueError:
            return failure(HttpResponseError, f"the stream states a failure: {raw['error']}")
        error = failure(HttpResponseError, str(stated))
        if isinstance(error, HttpResponseError):
            error.error = stated
            error.status_code = self._reply.status_code
        return error


def _ends(choices: object) -> bool:
    if not isinstance(choices, list):
        return False
    return any(isinstance(each, dict) and each.get("finish_reason") for each in choices)


class StreamingUpdates(Generic[U]):
    """The updates of one answer, as they come."""

    def __init__(self, reply: SyncReply, updates: Updates[U]) -> None:
        self._reply = reply
        self._updates = updates
        self._chunks: Iterator[bytes] = reply.iter_bytes()

    @property
    def changes(self) -> Changes:
        """What the server changed in the request."""
        return self._updates.changes

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> U:
        updates = self._updates
        while not updates.ready:
            if updates.done:
                self.close()
                raise StopIteration
            self._fetch()
        return updates.told(updates.ready.popleft())

    def _fetch(self) -> None:
        try:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._updates.end()
            else:
                self._updates.feed(chunk)
        except BaseException as error:
            self._updates.closed(error)
            self._reply.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what hasn't come yet."""
        self._updates.closed(None)
        self._reply.close()


class AsyncStreamingUpdates(Generic[U]):
    """The updates of one answer, as they come."""

    def __init__(self, reply: AsyncReply, updates: Updates[U]) -> None:
        self._reply = reply
        self._updates = updates
        self._chunks: AsyncIterator[bytes] = reply.iter_bytes()

    @property
    def changes(self) -> Changes:
        """What the server changed in the request."""
        return self._updates.changes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> U:
        updates = self._updates
        while not updates.ready:
            if updates.done:
                await self.aclose()
                raise StopAsyncIteration
            await self._fetch()
        return updates.told(updates.ready.popleft())

    async def _fetch(self) -> None:
        try:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._updates.end()
            else:
                self._updates.feed(chunk)
        except BaseException as error:
            self._updates.closed(error)
            await self._reply.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what hasn't come yet."""
        self._updates.closed(None)
        await self._reply.close()


class StreamingChatCompletions(StreamingUpdates[StreamingChatCompletionsUpdate]):
    """A chat's answer, chunk by chunk."""


class AsyncStreamingChatCompletions(AsyncStreamingUpdates[StreamingChatCompletionsUpdate]):
    """A chat's answer, chunk by chunk."""


class StreamingCompletions(StreamingUpdates[StreamingCompletionsUpdate]):
    """A text, chunk by chunk."""


class AsyncStreamingCompletions(AsyncStreamingUpdates[StreamingCompletionsUpdate]):
    """A text, chunk by chunk."""
