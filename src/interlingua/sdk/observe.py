"""The seam for tracing: whoever watches is told of every call, whole or streamed.

Rules of this file:
- Every call of every client, sync and async, passes through ``exchange.operate``, and that
  asks :func:`watch` once, before anything is sent.
- What is told: ``begin(call)`` → ``headers()`` → one ``replied(result)`` for a whole answer,
  or ``opened()`` and then one ``updated(update)`` a chunk for a streamed one → ``ended(error)``,
  exactly once, in every case: ``None`` when all went well, the exception otherwise,
  ``GeneratorExit`` when the reader closed a stream before its end.
- It runs where the call runs (same thread, same task), and must not block or raise.
- Without an observer nothing is built and nothing is told: a chunk costs nothing more.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

Operation = Literal["chat", "completions", "embeddings", "image_embeddings", "info", "models"]


class Call(NamedTuple):
    """One call of one operation, before it is an HTTP request.

    ``parameters`` is the JSON object that is sent, with message and content objects as the
    caller gave them (both they and plain dicts are mappings); it is empty where the caller
    gave bytes. ``model`` is what the call asks for, ``None`` when it names none.
    """

    operation: Operation | None
    method: str
    #: Below the endpoint: ``/chat/completions``.
    path: str
    parameters: Mapping[str, Any] = {}
    #: Bytes to send as they are, instead of the parameters.
    body: bytes | None = None
    model: str | None = None
    streams: bool = False
    #: The endpoint's host and port; the port is the scheme's own where the URL has none.
    host: str = ""
    port: int = 443
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


class Watch(Protocol):
    """What watches one call, from before its request until after its last byte."""

    def headers(self) -> Mapping[str, str]:
        """Headers to add to the request, as ``traceparent``. Asked once, before sending."""
        ...

    def replied(self, result: Any) -> None:
        """A whole answer came: ``ChatCompletions``, ``EmbeddingsResult``, …"""
        ...

    def opened(self) -> None:
        """A stream begins."""
        ...

    def updated(self, update: Any) -> None:
        """A chunk of it came: ``StreamingChatCompletionsUpdate``, …"""
        ...

    def ended(self, error: BaseException | None) -> None: ...


class Observer(Protocol):
    """What wants to know of calls. One at a time, for the whole process."""

    def begin(self, call: Call) -> Watch | None:
        """Begin to watch; ``None`` when this call doesn't matter."""
        ...


class Observing:
    """Who watches: set by instrumentation, for the whole process, as Microsoft's does."""

    observer: ClassVar[Observer | None] = None


def watch(call: Call) -> Watch | None:
    observer = Observing.observer
    return None if observer is None else observer.begin(call)
