"""ASGI's shapes, as far as this server uses them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypedDict

Scope = Mapping[str, object]


class HttpScope(TypedDict):
    """What a scope of the type ``http`` holds."""

    method: str
    path: str
    query_string: bytes
    headers: list[tuple[bytes, bytes]]


Message = Mapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Names and values as they came; names in lower case.
RawHeaders = tuple[tuple[bytes, bytes], ...]
