"""ASGI's shapes, as far as this server uses them."""

from collections.abc import Awaitable, Callable, Mapping

Scope = Mapping[str, object]
Message = Mapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Names and values as they came; names in lower case.
RawHeaders = tuple[tuple[bytes, bytes], ...]
